"""What the kubelet asks the agent: is it alive (``/healthz``), has it reported (``/readyz``)."""

import asyncio
from collections.abc import Callable

from aiohttp import web

_PORT = 8080
_LONGEST_SILENCE = 180.0
"""Bookmarks come about once a minute."""


def application(silence: Callable[[], float], reported: asyncio.Event) -> web.Application:
    """``silence`` is for how many seconds the quietest watch has heard nothing."""

    async def alive(_: web.Request) -> web.Response:
        seconds = silence()
        return web.Response(status=200 if seconds <= _LONGEST_SILENCE else 503)

    async def ready(_: web.Request) -> web.Response:
        return web.Response(status=200 if reported.is_set() else 503)

    app = web.Application()
    app.add_routes([web.get("/healthz", alive), web.get("/readyz", ready)])
    return app


async def serve(app: web.Application, port: int = _PORT) -> None:
    """Answer until cancelled, on every address of the pod."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
