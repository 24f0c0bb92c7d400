"""How many extractions run at once in the whole cluster, and whose turn it is.

A registry, and the cluster's way to it, are shared by all: a thousand nodes that pull at once get
slower, not faster. Caches that wait stand in line: one slot is kept for the first of them that has
less than its share, and who has begun something goes to the end. The more wait, the smaller the
share.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from gkm.api.names import CacheKey
from gkm.core.objects import EXTRACT
from gkm.core.view import Job, JobPod

START = 30.0
"""Seconds within which a Job's pod should run: one that does not, for whatever reason, keeps nobody
waiting after them."""


class Slots:
    """Places for extractions; ``concern`` is called with a Cache whose turn has come."""

    def __init__(self, limit: int, concern: Callable[[CacheKey], None]) -> None:
        self._limit = limit
        self._concern = concern
        self._line: dict[CacheKey, None] = {}
        self._promised: dict[CacheKey, int] = {}
        self._running: Counter[CacheKey] = Counter()

    def free(self, key: CacheKey, running: Iterable[CacheKey]) -> int:
        """How many extractions a Cache may begin now; ``running``: whose are under way."""
        self._running = Counter(running)
        kept = 1 if self._next() not in (None, key) else 0
        left = self._limit - self._running.total() - sum(self._promised.values()) - kept
        return max(0, min(left, self._share(key) - self._has(key)))

    def planned(self, key: CacheKey, *, waits: bool, begun: int) -> None:
        """Note what came of a turn: what is begun, and whether there is more to begin."""
        before = self._next()
        if not waits or begun:
            self._line.pop(key, None)
        if waits:
            self._line.setdefault(key)
        if self._next() not in (before, key):
            self._call()

    def ended(self, running: Iterable[CacheKey]) -> None:
        """An extraction is over: somebody in line has a turn."""
        self._running = Counter(running)
        self._call()

    @contextmanager
    def promise(self, key: CacheKey, count: int) -> Iterator[None]:
        """Count Jobs that are being made, and are not in the picture yet."""
        self._promised[key] = self._promised.get(key, 0) + count
        try:
            yield
        finally:
            left = self._promised.pop(key) - count
            if left:
                self._promised[key] = left
            if count:
                self._call()  # while they were made they counted twice

    def _next(self) -> CacheKey | None:
        """Who has the next turn: the first in line with less than its share."""
        return next((key for key in self._line if self._has(key) < self._share(key)), None)

    def _share(self, key: CacheKey) -> int:
        """How many extractions a Cache may have, rounded up so that no slot is idle."""
        return -(-self._limit // (1 + len(self._line.keys() - {key})))

    def _has(self, key: CacheKey) -> int:
        return self._running[key] + self._promised.get(key, 0)

    def _call(self) -> None:
        key = self._next()
        if key is not None:
            self._concern(key)


def running(
    jobs: Iterable[Job], pods: Iterable[JobPod], unheard: Collection[str], now: float
) -> list[CacheKey]:
    """Whose extractions hold a slot; those on nodes (names) of which nothing is heard do not."""
    at_work = {pod.job_uid for pod in pods if pod.phase == "Running"}
    return [
        job.key
        for job in jobs
        if job.role == EXTRACT and not (job.done or job.failed or job.deleting)
        if job.node not in unheard and (now < job.created + START or job.uid in at_work)
    ]
