"""A watch on its way through the proxy, with what happens to its events."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import aiohttp

from tests.faults.troubles import Trouble, Troubles, What

_TICK = 0.25
Line = tuple[float, bytes]
"""When it came, and what it says; empty at the end of the watch."""


async def watched(
    reply: aiohttp.ClientResponse, trouble: Trouble, troubles: Troubles, cut: asyncio.Event
) -> AsyncIterator[bytes]:
    """The lines as they are passed on, until the watch ends or is cut."""
    lines: asyncio.Queue[Line] = asyncio.Queue()
    pump = asyncio.create_task(_pump(reply, lines))
    begun, held, fitted = time.monotonic(), b"", itertools.count(1)
    try:
        while not cut.is_set():
            if trouble.what is What.CLOSE and time.monotonic() > begun + trouble.seconds:
                return
            line = await _next(lines, trouble)
            if line == b"":
                if trouble.what is What.STALL:
                    await cut.wait()
                return
            if trouble.what is What.REORDER:
                now, held = ([line, held], b"") if line and held else ([held], line or b"")
            else:
                now = [] if line is None else passed(line, trouble, fitted)
                troubles.lost += line is not None and not now
            for one in filter(None, now):
                yield one
    finally:
        pump.cancel()


def passed(line: bytes, trouble: Trouble, fitted: Iterator[int]) -> list[bytes]:
    """What comes through of an event; ``fitted`` counts those that the trouble is for."""
    match trouble.what:
        case What.STALL:
            return []
        case What.DROP if trouble.event in ("*", json.loads(line)["type"]):
            return [] if trouble.nth_event in (0, next(fitted)) else [line]
        case What.DUPLICATE:
            return [line, line]
    return [line]


async def _next(lines: asyncio.Queue[Line], trouble: Trouble) -> bytes | None:
    """The next line; None if there is none for a moment."""
    with suppress(TimeoutError):
        came, line = await asyncio.wait_for(lines.get(), _TICK)
        if trouble.what is What.LAG:
            await asyncio.sleep(max(0.0, came + trouble.seconds - time.monotonic()))
        return line
    return None


async def _pump(reply: aiohttp.ClientResponse, lines: asyncio.Queue[Line]) -> None:
    rest = b""
    with suppress(aiohttp.ClientError, OSError):
        async for chunk in reply.content.iter_any():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                lines.put_nowait((time.monotonic(), line + b"\n"))
    lines.put_nowait((time.monotonic(), b""))
