"""How many extractions run at once in the whole cluster, and whose turn it is.

A registry, and the cluster's way to it, are shared by all: a thousand nodes that pull at once get
slower, not faster. Caches that wait stand in line: one slot is kept for the first of them, who goes
to the end when it has begun something, and the more wait, the fewer each may have.
"""

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

    def free(self, key: CacheKey, running: Collection[CacheKey]) -> int:
        """How many extractions a Cache may begin now; ``running``: whose are under way."""
        first, others = self._first(), len(self._line.keys() - {key})
        kept = 1 if first not in (None, key) else 0
        left = self._limit - len(running) - sum(self._promised.values()) - kept
        mine = list(running).count(key) + self._promised.get(key, 0)
        share = max(1, self._limit // (1 + others))
        return max(0, min(left, share - mine))

    def planned(self, key: CacheKey, *, waits: bool, begun: int) -> None:
        """Note what came of a turn: what is begun, and whether there is more to begin."""
        before = self._first()
        if not waits or begun:
            self._line.pop(key, None)
        if waits:
            self._line.setdefault(key)
        if self._first() != before:
            self._call()

    def ended(self) -> None:
        """An extraction is over: it is the turn of the first in line."""
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

    def _first(self) -> CacheKey | None:
        return next(iter(self._line), None)

    def _call(self) -> None:
        first = self._first()
        if first is not None:
            self._concern(first)


def running(
    jobs: Iterable[Job], pods: Iterable[JobPod], silent: Collection[str], now: float
) -> list[CacheKey]:
    """Whose extractions hold a slot; those on nodes that are ``silent`` (names) do not."""
    at_work = {pod.job_uid for pod in pods if pod.phase == "Running"}
    return [
        job.key
        for job in jobs
        if job.role == EXTRACT and not (job.done or job.failed or job.deleting)
        if job.node not in silent and (now < job.created + START or job.uid in at_work)
    ]
