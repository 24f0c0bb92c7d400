"""Writes the node's CacheNodes: only what differs, each at most once a second.

A change settles a moment first, so that a burst is one patch. What only takes entries away waits
longer: while a copy is handed from its staging claim to its serving claim there is none of it for
a moment, which nobody needs to know.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from gkm.agent.picture import Picture
from gkm.agent.steps import Create, Delete, Step, Write, kind_of, steps
from gkm.api.errors import Retry
from gkm.core.mergepatch import difference
from gkm.core.nodereport import CLUSTER, Look, report
from gkm.core.nodeview import ThisNode
from gkm.kube.client import Client
from gkm.kube.errors import ApiError
from gkm.kube.supervise import Pause

_log = logging.getLogger(__name__)

_SETTLE = 0.3
_BETWEEN = 1.0
_REMOVAL = 5.0
_LONGEST_PAUSE = 60.0
"""Seconds. The last is how often a write is tried that the API server refuses, as in a namespace
that is being deleted."""


@dataclass
class _Pace:
    """When a place may be written next, in seconds of the loop's clock."""

    removes: float | None = None
    """Since when entries have been missing, and nothing else differs."""
    not_before: float = float("-inf")
    pause: Pause = field(default_factory=lambda: Pause(_LONGEST_PAUSE))

    def due(self, step: Step, now: float) -> float:
        """When to take the step, which may be over already."""
        if isinstance(step, Create) or not step.removes:
            self.removes = None
            return self.not_before
        self.removes = now if self.removes is None else self.removes
        return max(self.not_before, self.removes + _REMOVAL)


class Reporter:
    """The one writer of the node's CacheNodes."""

    def __init__(self, client: Client, picture: Picture, look: Callable[[], Look]) -> None:
        self.reported = asyncio.Event()
        """Set once the node's own report is in the API server."""
        self._client = client
        self._picture = picture
        self._gpus = look
        self._changed = asyncio.Event()
        self._paces: dict[str, _Pace] = {}

    def wake(self) -> None:
        """Look again soon: something changed."""
        self._changed.set()

    async def run(self) -> None:
        """Write what differs until cancelled; the picture must be complete."""
        while True:
            self._changed.clear()
            wait = await self._look()
            if wait == 0:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):  # not wait_for, which may swallow a cancellation
                    await self._changed.wait()
                await asyncio.sleep(_SETTLE)

    async def _look(self) -> float | None:
        """Take the steps that are due; seconds until the next one is, None if there is none."""
        node = self._picture.node
        if node is None:
            return None
        found = self._steps(node)
        if CLUSTER not in found:
            self.reported.set()
        self._rest(set(found))
        later = [await self._take(node.name, place, step) for place, step in found.items()]
        return max(0.0, min(later) - _now()) if later else None

    def _steps(self, node: ThisNode) -> dict[str, Step]:
        wanted = report(node, self._gpus(), self._picture.claims, self._picture.pods)
        return steps(node, wanted, self._picture.own, datetime.now(UTC).replace(microsecond=0))

    def _rest(self, busy: set[str]) -> None:
        """Forget the pace of places where nothing is to be done, once they may be written again."""
        for place in self._paces.keys() - busy:
            self._paces[place].removes = None
            if self._paces[place].not_before <= _now():
                del self._paces[place]

    async def _take(self, name: str, place: str, step: Step) -> float:
        """Take one step if it is due; when to look at the place again."""
        pace = self._paces.setdefault(place, _Pace())
        due = pace.due(step, _now())
        if due > _now():
            return due
        try:
            await self._write(name, place, step)
        except (ApiError, Retry, aiohttp.ClientError, TimeoutError, OSError) as error:
            asked = (error.after or 0.0) if isinstance(error, ApiError) else 0.0
            seconds = max(asked, pace.pause.next())
            _log.warning("%s: %r; again in %.1f s", _name(place), error, seconds)
            pace.not_before = _now() + seconds
            return pace.not_before
        pace.pause.reset()
        if isinstance(step, Create):  # its status follows at once
            return _now()
        pace.not_before = _now() + _BETWEEN
        return pace.not_before

    async def _write(self, name: str, place: str, step: Step) -> None:
        kind = kind_of(place)
        if isinstance(step, Create):
            answer = await self._client.create(kind, place, step.body)
        elif isinstance(step, Delete):
            await self._client.delete(kind, place, name, step.own.uid)
            self._picture.forget(step.own)
            _log.info("%s: deleted", _name(place))
            return
        else:
            answer = await self._client.patch(kind, place, name, step.patch, "status")
        self._picture.observe(kind, "MODIFIED", answer)
        if isinstance(step, Write) and difference(answer.get("status") or {}, step.status):
            # Else it would be written again at once, and for ever.
            raise Retry("NotKept", "a part of the report is not kept: are GKM's CRDs up to date?")
        _log.info("%s: %s", _name(place), "created" if isinstance(step, Create) else "reported")


def _name(place: str) -> str:
    return f"{kind_of(place)} in {place}" if place else kind_of(place)


def _now() -> float:
    return asyncio.get_running_loop().time()
