"""The work queue: nothing twice at once, nothing forgotten."""

import asyncio

from gkm.operator.queue import WorkQueue


def opened() -> WorkQueue[str]:
    queue: WorkQueue[str] = WorkQueue()
    queue.open()
    return queue


async def soon(queue: WorkQueue[str]) -> str | None:
    try:
        return await asyncio.wait_for(queue.get(), 0.05)
    except TimeoutError:
        return None


async def test_nothing_is_given_out_before_the_queue_opens() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await soon(queue) is None
    queue.open()
    assert await soon(queue) == "a"


async def test_adding_twice_is_adding_once() -> None:
    queue = opened()
    queue.add("a")
    queue.add("a")
    assert await soon(queue) == "a"
    assert await soon(queue) is None


async def test_a_key_is_never_worked_on_twice_at_once_and_runs_again_afterwards() -> None:
    queue = opened()
    queue.add("a")
    assert await soon(queue) == "a"
    queue.add("a")
    assert await soon(queue) is None
    queue.done("a")
    assert await soon(queue) == "a"


async def test_the_earliest_of_several_times_counts() -> None:
    queue = opened()
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    queue.add_after("a", 30)
    assert await soon(queue) == "a"


async def test_adding_now_cancels_a_later_time() -> None:
    queue = opened()
    queue.add_after("a", 0.02)
    queue.add("a")
    assert await soon(queue) == "a"
    queue.done("a")
    assert await soon(queue) is None
