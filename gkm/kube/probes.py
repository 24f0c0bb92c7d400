"""What the kubelet asks a program: is it alive (``/healthz``), is it ready (``/readyz``)."""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

_PORT = 8080
_LONGEST_SILENCE = 120.0
"""Seconds in which whoever watches gets somewhere, if only to an error. A server that is away is no
reason to start a program again."""


def application(alive: Callable[[], float], ready: Callable[[], bool]) -> web.Application:
    """``alive`` is when (monotonic seconds) the slowest part last got anywhere."""

    async def lives(_: web.Request) -> web.Response:
        silence = time.monotonic() - alive()
        return _answer(silence <= _LONGEST_SILENCE, f"silent for {silence:.0f} s")

    async def serves(_: web.Request) -> web.Response:
        return _answer(ready(), "not ready")

    app = web.Application()
    app.add_routes([web.get("/healthz", lives), web.get("/readyz", serves)])
    return app


def _answer(good: bool, why: str) -> web.Response:
    return web.Response(text="ok") if good else web.Response(status=503, text=why)


async def serve(app: web.Application, port: int = _PORT) -> None:
    """Answer until cancelled, on every address of the pod."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
