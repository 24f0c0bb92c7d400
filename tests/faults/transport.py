"""The part of the proxy that makes requests go wrong for a while: reads above all."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from tests.faults.streams import watched
from tests.faults.troubles import GET, LIST, WATCH, WRITE, Request, Trouble, Troubles, What

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LOCAL = frozenset({"connection", "content-length", "transfer-encoding", "content-encoding"})
_DRIP = 1024
_NOTHING = Trouble(What.DELAY)
Ask = Callable[[web.BaseRequest, bytes | None], Any]


@dataclass(frozen=True)
class Asked:
    """A request that came, and when (monotonic seconds)."""

    at: float
    verb: str
    resource: str


class Transport:
    """Stands before a proxy: makes trouble, counts, and passes reads on. ``ask`` forwards."""

    def __init__(self, ask: Ask) -> None:
        self.asked: deque[Asked] = deque(maxlen=200_000)
        self.troubles = Troubles()
        self._ask = ask
        self._lists: dict[str, bytes] = {}
        self._calm = asyncio.Event()
        self._cut = asyncio.Event()

    def begin(self, *troubles: Trouble, seed: int = 1) -> None:
        """From now on these; what is stalled or swallowed by earlier ones stays so."""
        self._calm = asyncio.Event()
        self.troubles = Troubles(troubles, seed)

    def cut(self) -> None:
        """Close every watch cleanly, so that it is opened again in the present weather."""
        cut, self._cut = self._cut, asyncio.Event()
        cut.set()

    def end(self) -> None:
        """All is well again: whoever still waits for an answer is cut off."""
        self.troubles = Troubles()
        self._calm.set()

    def count(self, since: float, verb: str, resource: str) -> int:
        """How many such requests came."""
        return Counter((a.verb, a.resource) for a in self.asked if a.at >= since)[verb, resource]

    async def meet(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Do what the weather does to a request; None: a write may go its way."""
        asked = read(request)
        self.asked.append(Asked(time.monotonic(), asked.verb, asked.resource))
        trouble = self.troubles.take(asked)
        if trouble is not None:
            answer = await self._spoil(request, trouble)
            if answer is not None:
                return answer
        if asked.verb == WRITE:
            return None
        return await self._pass(request, asked, trouble)

    async def _spoil(self, request: web.BaseRequest, trouble: Trouble) -> web.StreamResponse | None:
        """Answer instead of the API server; None if it is to be asked all the same."""
        match trouble.what:
            case What.STATUS:
                return _refusal(trouble)
            case What.RESET:
                return _reset(request)
            case What.RESET_AFTER:
                async with self._ask(request, await request.read()) as reply:
                    await reply.read()
                return _reset(request)
            case What.BLACK_HOLE:
                await self._calm.wait()
                return _reset(request)
            case What.BODY:
                return web.Response(body=trouble.body, content_type="application/json")
            case What.STALE if (kept := self._lists.get(_place(request))) is not None:
                return web.Response(body=kept, content_type="application/json")
            case What.DELAY:
                await asyncio.sleep(trouble.seconds)
        return None

    async def _pass(
        self, request: web.BaseRequest, asked: Request, trouble: Trouble | None
    ) -> web.StreamResponse:
        """Pass a read on as it comes: a watch has no end that is worth waiting for."""
        async with self._ask(request, None) as reply:
            headers = {k: v for k, v in reply.headers.items() if k.lower() not in _LOCAL}
            if asked.verb == LIST and reply.status == 200:
                whole = await reply.read()
                if trouble is None and not asked.continued:
                    self._lists[_place(request)] = whole
            answer = web.StreamResponse(status=reply.status, headers=headers)
            with suppress(ConnectionError):  # whoever asked is gone
                await answer.prepare(request)
                async for chunk in self._spoilt(reply, trouble, asked):
                    await answer.write(chunk)
                await answer.write_eof()
            return answer

    async def _spoilt(
        self, reply: aiohttp.ClientResponse, trouble: Trouble | None, asked: Request
    ) -> AsyncIterator[bytes]:
        """The body, with what happens to it on its way."""
        if asked.verb != WATCH or reply.status != 200:
            body = await reply.read()
            size = _DRIP if trouble and trouble.what is What.DRIP else max(1, len(body))
            for start in range(0, len(body), size):
                yield body[start : start + size]
                await asyncio.sleep(1.0 if size == _DRIP else 0)
            return
        if trouble is not None and trouble.what is What.LINES:
            yield trouble.body
            return
        async for line in watched(reply, trouble or _NOTHING, self.troubles, self._cut):
            yield line


def read(request: web.BaseRequest) -> Request:
    """What a request is about."""
    parts = request.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    resource, name, subresource = (*parts, "", "", "")[:3]
    if request.method in _WRITES:
        return Request(WRITE, f"{resource}/{subresource}" if subresource else resource, name)
    verb = WATCH if "watch" in request.query else GET if name or not resource else LIST
    return Request(verb, resource, name, "continue" in request.query)


def _place(request: web.BaseRequest) -> str:
    query = sorted((k, v) for k, v in request.query.items() if k != "limit")
    return f"{request.path}?{query}"


def _reset(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refusal(trouble: Trouble) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": trouble.code}
    headers = {"Retry-After": trouble.after} if trouble.after else {}
    reason = {410: "Expired", 403: "Forbidden", 401: "Unauthorized", 404: "NotFound"}
    body = {**status, "reason": reason.get(trouble.code, "Fault"), "message": "asked for"}
    return web.json_response(body, status=trouble.code, headers=headers)
