"""The HTTPS server: reads a request within limits, answers it, and never with a fault of ours.

The API server refuses the pod when it gets anything but an answer, and then shows its own words;
so whatever goes wrong becomes an answer with words of ours.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp import web

from gkm.api.errors import Rejected
from gkm.core.known import Known
from gkm.core.podlayer import Program
from webhook.certificate import Certificate
from webhook.door import Door
from webhook.review import BadReview, Review, allow, decide, decode, refuse

_log = logging.getLogger(__name__)

_LARGEST: Final = 4 * 1024 * 1024
_BODY_SECONDS: Final = 10.0
_HANDSHAKE_SECONDS: Final = 5.0
_KEEPALIVE_SECONDS: Final = 120.0
"""Longer than the 90 s after which the API server itself closes an idle connection: if we did, a
request could be on its way already."""
_SHUTDOWN_SECONDS: Final = 10.0
_UNAVAILABLE: Final = "the webhook's picture of the cluster is not up to date: ask another replica"


class Server:
    """Answers reviews; ``ready`` says whether the picture can be relied on."""

    def __init__(self, known: Known, program: Program, ready: Callable[[], bool]) -> None:
        self._known = known
        self._program = program
        self._ready = ready
        self._leaving = False
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_post("/mutate-pods", self._mutate)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,  # a few bytes could hold gigabytes
            keepalive_timeout=_KEEPALIVE_SECONDS,
            lingering_time=1.0,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )

    async def start(self, host: str, port: int, certificate: Certificate) -> int:
        """Listen; returns the port, which is chosen if ``port`` is 0."""
        await self._runner.setup()
        if self._runner.server is None:
            raise RuntimeError("the server was not made")
        self._door = Door(self._runner.server)
        self._listener = await asyncio.get_running_loop().create_server(
            self._door,
            host,
            port,
            ssl=certificate.context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=1.0,
        )
        chosen: int = self._listener.sockets[0].getsockname()[1]
        return chosen

    async def stop(self, pause: float) -> None:
        """Say that we leave, wait until everybody knows, then finish what is running."""
        self._leaving = True
        await asyncio.sleep(pause)
        self._listener.close()
        await self._runner.cleanup()

    async def _mutate(self, request: web.Request) -> web.Response:
        self._door.heard(request.protocol)
        body = await _body(request)
        if not self._ready():
            raise _unavailable()
        try:
            review = decode(body)
        except BadReview as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        response = web.Response(body=self._answer(review), content_type="application/json")
        if self._leaving:
            response.force_close()
        return response

    def _answer(self, review: Review) -> bytes:
        try:
            return allow(review, decide(review, self._known, self._program))
        except Rejected as word:
            _log.info("refused a pod in %.253r: %s", review.namespace, word)
            return refuse(review, f"GKM: {word.message}")
        except Exception:  # noqa: BLE001 - the pod's owner must get words, whatever it was
            _log.exception("review %.64r", review.uid)
            return refuse(review, "GKM: the webhook has a fault; its log tells more")

    async def _healthz(self, request: web.Request) -> web.Response:
        self._door.heard(request.protocol)
        return web.Response(text="ok")

    async def _readyz(self, request: web.Request) -> web.Response:
        self._door.heard(request.protocol)
        if self._leaving or not self._ready():
            raise web.HTTPServiceUnavailable(text="not ready")
        return web.Response(text="ok")


def _unavailable() -> web.HTTPServiceUnavailable:
    """Send the API server to another replica: connections that are open outlive readiness.

    A refusal would be final for the pod. This is asked again within the webhook's timeout, because
    of ``Retry-After``, and over a new connection, which finds a replica that is ready.
    """
    response = web.HTTPServiceUnavailable(text=_UNAVAILABLE, headers={"Retry-After": "1"})
    response.force_close()
    return response


async def _body(request: web.Request) -> bytes:
    if "Content-Encoding" in request.headers:
        raise web.HTTPUnsupportedMediaType(text="the body must not be compressed")
    with suppress(TimeoutError):
        async with asyncio.timeout(_BODY_SECONDS):
            try:
                return await request.read()
            except web.RequestPayloadError as error:
                raise web.HTTPBadRequest(text=f"the body cannot be read: {error}") from None
    raise web.HTTPRequestTimeout(text="the body did not come in time")
