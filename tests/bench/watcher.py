"""Notes when each object of a cluster first showed what: times as a client of the API sees them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gkm.kube.client import Client

Json = dict[str, Any]
KINDS = ("GKMCache", "PersistentVolumeClaim", "Job", "Pod")
_PATIENCE = 180.0


class Watcher:
    """Follows some kinds; ``first`` says when an object first was in some state."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seen: list[tuple[float, str, str, Json]] = []
        self._news = asyncio.Condition()

    async def follow(self, kind: str, ready: asyncio.Event) -> None:
        """Note every change of a kind until cancelled."""
        _, version = await self._client.list(kind)
        ready.set()
        while True:
            async for event, obj in self._client.watch(kind, version):
                version = obj["metadata"]["resourceVersion"]
                async with self._news:
                    self._seen.append((time.monotonic(), kind, event, obj))
                    self._news.notify_all()

    async def first(self, kind: str, test: Callable[[Json], bool], count: int = 1) -> float:
        """Wait until ``count`` objects of a kind passed ``test``; when the last of them did."""
        async with asyncio.timeout(_PATIENCE), self._news:
            while True:
                times = self._times(kind, test)
                if len(times) >= count:
                    return sorted(times.values())[count - 1]
                await self._news.wait()

    def _times(self, kind: str, test: Callable[[Json], bool]) -> dict[str, float]:
        times: dict[str, float] = {}
        for moment, found, event, obj in self._seen:
            if found == kind and event in ("ADDED", "MODIFIED") and test(obj):
                times.setdefault(obj["metadata"]["uid"], moment)
        return times


@asynccontextmanager
async def watching(client: Client) -> AsyncIterator[Watcher]:
    """A watcher that follows every kind, from before the block begins."""
    watcher = Watcher(client)
    ready = [asyncio.Event() for _ in KINDS]
    pairs = zip(KINDS, ready, strict=True)
    tasks = [asyncio.create_task(watcher.follow(kind, event)) for kind, event in pairs]
    try:
        await asyncio.gather(*(event.wait() for event in ready))
        yield watcher
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
