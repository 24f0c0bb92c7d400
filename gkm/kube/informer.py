"""Keeps a picture of one kind up to date: list, then watch, for ever, whatever the server does.

The numerous kinds come through here and not through kopf: about thirty times less CPU per event,
and a watch that dies, stalls or expires is only a reason to begin again. The picture itself is the
receiver's; nothing is stored here.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import aiohttp

from gkm.kube.client import BOOKMARK, EVERYTHING, WATCH_SECONDS, Client, Scope
from gkm.kube.errors import ApiError
from gkm.kube.supervise import Pause, keep

Json = dict[str, Any]
T = TypeVar("T")
_log = logging.getLogger(__name__)

_SHORTEST_WATCH = 1.0


class Receiver(Protocol):
    """Who keeps the picture."""

    def replace(self, kind: str, objects: list[Json], version: str) -> None:
        """Take a complete list as of ``version``: what is not in it, and no newer, is gone."""

    def observe(self, kind: str, event: str, obj: Json) -> None:
        """Take one change: ADDED, MODIFIED or DELETED."""


def newer(version: str, than: str) -> bool:
    """Whether one resourceVersion is later than another of the same kind."""
    try:
        return int(version) > int(than)
    except ValueError:
        return version != than


def parsed(parse: Callable[[Json], T], kind: str, obj: Json) -> T | None:
    """Read an object; one that cannot be read is not ours, and must not stop the others."""
    try:
        return parse(obj)
    except Exception:  # noqa: BLE001 - anybody may write the strangest things into labels
        meta = obj["metadata"]
        _log.exception("%s %s/%s cannot be read", kind, meta.get("namespace", ""), meta["name"])
        return None


class Informer:
    """Feeds a receiver with one kind, or only with what of it is in ``scope``.

    Every ``resync`` seconds it lists again, which repairs a gap that nobody noticed. No watch is
    longer than ``longest`` seconds, so that ``progress`` is at most so old while all is well.
    """

    def __init__(
        self,
        client: Client,
        kind: str,
        receiver: Receiver,
        *,
        resync: float,
        scope: Scope = EVERYTHING,
        longest: float = WATCH_SECONDS,
    ) -> None:
        self.kind = kind
        self.synced = asyncio.Event()
        """Set once the first complete list was taken."""
        self.progress = time.monotonic()
        """When the server was last heard of: how old the picture may be."""
        self.alive = self.progress
        """When it last got anywhere, be it to an error: not our fault."""
        self._client = client
        self._receiver = receiver
        self._scope = scope
        self._longest = longest
        self._resync = resync

    async def run(self) -> None:
        """List and watch until cancelled."""
        await keep(f"the watch of {self.kind}", self._run)

    async def _run(self) -> None:
        pause = Pause()
        while True:
            try:
                version = await self._list()
                await self._follow(version, pause)
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                asked = error.after if isinstance(error, ApiError) else None
                seconds = max(pause.next(), asked or 0.0)
                _log.warning("watch of %s: %r; again in %.1f s", self.kind, error, seconds)
                self.alive = time.monotonic()
                await self._client.rest(seconds, asked or 0.0)

    async def _list(self) -> str:
        objects, version = await self._client.list(self.kind, self._scope, self._read)
        self._receiver.replace(self.kind, objects, version)
        self._heard()
        self.synced.set()
        return version

    def _read(self) -> None:
        """A page was read: many of them may take a slow server long."""
        self.alive = time.monotonic()

    def _heard(self) -> None:
        self.progress = self.alive = time.monotonic()

    async def _follow(self, version: str, pause: Pause) -> None:
        """Watch from ``version``, over normal ends of the stream, until it is time to list."""
        until = time.monotonic() + self._resync * random.uniform(0.8, 1.2)
        while (begun := time.monotonic()) < until:
            seconds = min(self._longest, until - begun)
            stream = self._client.watch(self.kind, version, self._scope, seconds=seconds)
            async for event, obj in stream:
                self._heard()
                version = obj["metadata"]["resourceVersion"]
                if event != BOOKMARK:
                    self._receiver.observe(self.kind, event, obj)
            self.alive = time.monotonic()
            if time.monotonic() - begun < _SHORTEST_WATCH:
                await asyncio.sleep(_SHORTEST_WATCH + pause.next())
