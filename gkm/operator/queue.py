"""Which Cache to look at next: each at most once at a time, none forgotten, none in a hurry.

The contract of every level-triggered controller: adding a key twice is adding it once, adding it
while it is worked on runs it once more afterwards, and a key may be added for later.
"""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """Keys to work on. For one event loop; closed until ``open`` is called."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._running: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._opened = asyncio.Event()

    def open(self) -> None:
        """Let workers begin: the picture is complete."""
        self._opened.set()

    def opened(self) -> bool:
        """Whether it was opened."""
        return self._opened.is_set()

    def add(self, key: Key) -> None:
        """Look at ``key`` soon."""
        self._cancel(key)
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._running:
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at ``key`` in ``seconds``, or sooner if something else asks for it."""
        loop = asyncio.get_running_loop()
        known = self._later.get(key)
        if known is not None and known.when() <= loop.time() + seconds:
            return
        self._cancel(key)
        self._later[key] = loop.call_later(max(0.0, seconds), self.add, key)

    async def get(self) -> Key:
        """Wait for a key; the caller says ``done`` when it is finished with it."""
        await self._opened.wait()
        key = await self._ready.get()
        self._waiting.discard(key)
        self._running.add(key)
        return key

    def done(self, key: Key) -> None:
        """Finish with ``key``; if it was added meanwhile, it is ready again."""
        self._running.discard(key)
        if key in self._waiting:
            self._ready.put_nowait(key)

    def _cancel(self, key: Key) -> None:
        timer = self._later.pop(key, None)
        if timer is not None:
            timer.cancel()
