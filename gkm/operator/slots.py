"""How many extractions run at once in the whole cluster, and whose turn it is.

A registry, and the cluster's way to it, are shared by all: a thousand nodes that pull at once get
slower, not faster. Caches that wait get their turn in the order in which they asked, and the more
wait, the fewer each may have.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from gkm.api.names import CacheKey
from gkm.core.objects import EXTRACT
from gkm.core.view import Job, JobPod

UNSCHEDULABLE = 30.0
"""A pod that no node takes for this long (seconds) does not keep others waiting."""


class Slots:
    """Places for extractions; ``concern`` is called with a Cache whose turn has come."""

    def __init__(self, limit: int, concern: Callable[[CacheKey], None]) -> None:
        self._limit = limit
        self._concern = concern
        self._line: dict[CacheKey, None] = {}
        self._promised: dict[CacheKey, int] = {}

    def free(self, key: CacheKey, jobs: Iterable[Job], pods: Iterable[JobPod], now: float) -> int:
        """How many extractions a Cache may begin now, given every Job and pod of the cluster."""
        stuck = {pod.job_uid for pod in pods if pod.phase == "Pending" and pod.waiting}
        running = [job.key for job in jobs if _runs(job) and not _is_stuck(job, stuck, now)]
        used = len(running) + sum(self._promised.values())
        others = len(self._line.keys() - {key})
        share = max(1, self._limit // (1 + others))
        mine = running.count(key) + self._promised.get(key, 0)
        return max(0, min(self._limit - used, share - mine))

    def wait(self, key: CacheKey) -> None:
        """Stand in line."""
        self._line.setdefault(key)

    def ended(self) -> None:
        """An extraction is over: the next in line has its turn."""
        key = next(iter(self._line), None)
        if key is not None:
            del self._line[key]
            self._concern(key)

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


def _runs(job: Job) -> bool:
    return job.role == EXTRACT and not (job.done or job.failed or job.deleting)


def _is_stuck(job: Job, stuck: set[str], now: float) -> bool:
    return job.uid in stuck and now >= job.created + UNSCHEDULABLE
