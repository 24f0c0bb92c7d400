"""What runs for ever goes on after whatever stops it, in pauses that grow, and ends when told."""

import asyncio
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.5, 40.0, 1.5
"""After a failure that has lasted for a while the next pause is about half as long as that: so
everything is back soon after a short one, and few ask a server that has been away for long."""
_WELL_SECONDS = 10.0


class Pause:
    """Growing, jittered pauses (seconds) after failures in a row."""

    def __init__(self, longest: float = _LONGEST_PAUSE) -> None:
        self._longest = longest
        self._seconds = _FIRST_PAUSE
        self._since = time.monotonic()

    def reset(self) -> None:
        """Begin anew: all is well."""
        self._seconds = _FIRST_PAUSE

    def next(self) -> float:
        """How long to wait; the first again, if all was well for longer than that."""
        now = time.monotonic()
        if now - self._since > max(_WELL_SECONDS, self._seconds):
            self.reset()
        seconds = self._seconds * random.uniform(0.75, 1.0)
        self._seconds = min(self._longest, self._seconds * _GROWTH)
        self._since = now + seconds
        return seconds


async def keep(name: str, part: Callable[[], Awaitable[None]]) -> None:
    """Run a part of a program until cancelled: a bug in one must not end the others."""
    pause = Pause()
    while True:
        try:
            await part()
        except Exception:  # noqa: BLE001 - whatever it was, the others go on
            seconds = pause.next()
            _log.exception("bug in %s; it is started again in %.1f s", name, seconds)
            await asyncio.sleep(seconds)
        else:
            return


def leave(code: int) -> NoReturn:
    """End the process now: its threads may wait for a registry or a driver for minutes."""
    logging.shutdown()
    os._exit(code)
