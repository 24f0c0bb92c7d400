"""The loop that works keys off: what goes wrong with one is that one's affair."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gkm.api.cache import CacheSpec, CacheStatus
from gkm.api.errors import Rejected, Retry
from gkm.api.names import CACHE, CacheKey
from gkm.core.actions import Plan
from gkm.core.view import Cache
from gkm.operator.controller import Controller
from gkm.operator.fleet import Memory
from gkm.operator.queue import WorkQueue

Json = dict[str, Any]
BAD, GOOD = (CacheKey(CACHE, "ns", name) for name in ("bad", "good"))


class Stand:
    """A controller whose passes fail as a test says."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.passes: list[CacheKey] = []
        self.memory = {BAD: Memory(), GOOD: Memory()}
        self.queue: WorkQueue[CacheKey] = WorkQueue()
        self.queue.open()
        nothing: Any = SimpleNamespace(planned=lambda *_, **__: None, memory=self.memory.get)
        self.controller = Controller(nothing, nothing, self.queue, nothing, nothing, nothing)
        self.controller._reconcile = self.reconcile  # type: ignore[method-assign]

    async def reconcile(self, key: CacheKey) -> None:
        self.passes.append(key)
        if key == BAD:
            raise self.failure

    async def work(self, seconds: float = 0.2) -> None:
        task = asyncio.create_task(self.controller.work())
        await asyncio.sleep(seconds)
        assert not task.done()
        task.cancel()


@pytest.mark.parametrize(
    "failure",
    [KeyError("bug"), RuntimeError(), Retry("Busy", "busy"), Rejected("Invalid", "no"), OSError()],
    ids=lambda failure: type(failure).__name__,
)
async def test_whatever_a_pass_raises_the_others_go_on(failure: Exception) -> None:  # F18
    at = Stand(failure)
    for key in (BAD, GOOD, BAD, GOOD):
        at.queue.add(key)
    await at.work()
    assert at.passes == [BAD, GOOD]
    assert BAD in at.queue._later


async def test_passes_that_others_cause_do_not_make_the_pause_longer() -> None:  # F34
    at = Stand(OSError())
    for _ in range(20):
        at.queue.add(BAD)
        await at.work(0.01)
    assert len(at.passes) == 20
    left = at.queue._later[BAD].when() - asyncio.get_running_loop().time()
    assert left <= 2


async def test_a_status_that_is_refused_is_not_tried_with_every_change_and_an_edit_resets() -> None:
    """F30."""
    tried: list[Json] = []

    async def refuse(_: Cache, status: Json) -> None:
        tried.append(status)
        raise Rejected("Invalid", "status: too long")

    at = Stand(OSError())
    at.controller._applier = SimpleNamespace(write_status=refuse)  # type: ignore[assignment]
    cache, memory = Cache(BAD, "uid", "1", 1, CacheSpec(image="i"), CacheStatus()), Memory()
    for _ in range(20):
        with suppress(Rejected):
            await at.controller._report(cache, Plan(status={"a": 1}), memory)
    assert len(tried) == 1
    assert BAD in at.queue._later
    memory.follow(replace(cache, generation=2))
    with pytest.raises(Rejected):
        await at.controller._report(cache, Plan(status={"a": 1}), memory)
