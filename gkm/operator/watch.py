"""Watches the Caches with kopf, whatever the API server does.

kopf ends on much of what an API server may do, goes on blindly after some of it, and asks for some
of it many times a second; when it ends it cancels every task of the loop that it runs in. So it
runs in a thread with a loop of its own, for one life after the other: at the first sign of trouble
this life is over, and the next begins after a pause, as with every other watch.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
import kopf

from gkm.api.meta import RESOURCES
from gkm.api.names import CACHE, CLUSTER_CACHE
from gkm.kube.access import Access
from gkm.kube.client import after, read_body
from gkm.kube.supervise import Pause, keep
from gkm.operator.handlers import Observe, registry, settings

_log = logging.getLogger(__name__)

_LONGEST_SILENCE = 50.0
"""Seconds. kopf itself opens a watch again after fewer."""
_LOOK = 1.0
_GOODBYE = 3.0
_SHORTEST = 1.0


Rest = Callable[[float, float], Awaitable[None]]
"""Sleeps for so many seconds, or until there is a reason to go on, but for so many in any case."""


class Trouble(Exception):  # noqa: N818 - what it is, not that it is an error, is the point
    """kopf was about to ask again what it has just asked."""


class _Answer(aiohttp.ClientResponse):
    """An answer of which no more is read than can be one."""

    async def read(self) -> bytes:
        if self._body is None:
            self._body = await read_body(self)
        return self._body


class Life:
    """kopf from its start to its end, in a thread; ``over`` is set in the loop that made this.

    What kopf still does after that, for it is slow to die, does no harm.
    """

    def __init__(self, access: Access, observe: Observe) -> None:
        self.over = asyncio.Event()
        self.wait = 0.0
        """For how many seconds a busy server wants to be left in peace."""
        self._access = access
        self._home = asyncio.get_running_loop()
        self._observe = observe
        self._asked: dict[str, float] = {}
        watched = (RESOURCES[kind].path("", "", "") for kind in (CACHE, CLUSTER_CACHE))
        self._heard = dict.fromkeys(watched, time.monotonic())
        self._watches: set[str] = set()
        self._end: Callable[[], object] = lambda: None
        threading.Thread(target=self._main, name="kopf", daemon=True).start()

    @property
    def settled(self) -> bool:
        """Whether it has listed both kinds, and watches them."""
        return self._watches == self._heard.keys()

    def silence(self) -> float:
        """For how many seconds nothing was heard of one of the kinds."""
        return time.monotonic() - min(self._heard.values())

    def end(self) -> None:
        """Let it end; some time later ``over`` is set."""
        with suppress(RuntimeError):  # its loop is closed: it is over
            self._end()

    def _main(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 - whatever it was, the next life begins
            _log.warning("kopf ended: %r", error)
        self._ended()

    def _ended(self) -> None:
        with suppress(RuntimeError):  # the program ended first
            self._home.call_soon_threadsafe(self.over.set)

    async def _live(self) -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.set_exception_handler(_forgotten)
        self._end = partial(loop.call_soon_threadsafe, stop.set)
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._asks)
        trace.on_request_end.append(self._hears)
        connector = aiohttp.TCPConnector(ssl=self._access.tls())
        async with aiohttp.ClientSession(
            connector=connector, trace_configs=[trace], response_class=_Answer
        ) as session:
            await kopf.operator(
                registry=registry(self._tell, self._ended, self._access.server, session),
                settings=settings(),
                clusterwide=True,
                identity="gkm",  # type: ignore[arg-type] # else it asks for a user's name: pods have none
                stop_flag=stop,
            )

    def _tell(self, kind: str, event: str, obj: dict[str, Any]) -> None:
        with suppress(RuntimeError):
            self._home.call_soon_threadsafe(self._observe, kind, event, obj)

    async def _asks(self, _: object, __: object, asked: aiohttp.TraceRequestStartParams) -> None:
        """Log in with the token of the moment; end this life if it begins to turn in circles."""
        asked.headers["Authorization"] = f"Bearer {self._access.token()}"
        if "continue" in asked.url.query:
            return
        watch, now = "watch" in asked.url.query, time.monotonic()
        question = f"{'watch' if watch else 'get'} {asked.url.path}"
        before = self._asked.get(question)
        if before is not None and (not watch or now - before < _SHORTEST):
            raise Trouble(f"{question}: once more, after {now - before:.1f} s")
        self._asked[question] = now

    async def _hears(self, _: object, __: object, heard: aiohttp.TraceRequestEndParams) -> None:
        self.wait = after(heard.response.headers) or 0.0
        if heard.url.path in self._heard:
            self._heard[heard.url.path] = time.monotonic()
            if "watch" in heard.url.query and heard.response.ok:
                self._watches.add(heard.url.path)


class Watch:
    """One life of kopf after the other. Calls ``settled`` when one has seen what is there."""

    def __init__(
        self, access: Access, rest: Rest, observe: Observe, settled: Callable[[], object]
    ) -> None:
        self.alive = time.monotonic()
        """When it last looked after the present life."""
        self._access = access
        self._rest = rest
        self._observe = observe
        self._settled = settled

    async def run(self) -> None:
        """Watch until cancelled."""
        await keep("the watch of Caches", self._run)

    async def _run(self) -> None:
        pause = Pause()
        while True:
            life = Life(self._access, self._observe)
            try:
                await self._follow(life)
            finally:
                await _ended(life)
            seconds = max(pause.next(), life.wait)
            _log.warning("kopf is started again in %.1f s", seconds)
            self.alive = time.monotonic()
            await self._rest(seconds, life.wait)

    async def _follow(self, life: Life) -> None:
        """Wait until a life is over, or no use any more."""
        settled = False
        while not life.over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await life.over.wait()
            self.alive = time.monotonic()
            if life.silence() > _LONGEST_SILENCE:
                _log.warning("kopf has heard nothing for %.0f s", life.silence())
                return
            if life.settled and not settled:
                settled = True
                self._settled()


def _forgotten(_: object, what: dict[str, Any]) -> None:
    """What a life of kopf left behind when it ended is over with it."""
    _log.debug("kopf: %s", what.get("message"))


async def _ended(life: Life) -> None:
    """End a life, and wait a while for it; one that hangs is left alone."""
    life.end()
    with suppress(TimeoutError):
        async with asyncio.timeout(_GOODBYE):
            await life.over.wait()
