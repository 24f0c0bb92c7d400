"""A leader that was replaced without knowing, in two ways: of one its last write arrives late, the
other does not know that time has passed.

A write is *held* until the successor is finished, and then gets through as it was. Once a write is
held, everything else that the old leader writes is cut off at its proxy, renewals of its Lease
first: in a cluster its Lease would have run out by then, and its own check of the Lease would stop
it. Only what was already on its way can still arrive.

A leader that is *frozen* keeps its Lease until that runs out: nobody gives it back here. Nothing
that it writes after it was thawed may be accepted before it leads again.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tests.faults.experiment import Bench, Reference, Run, quiet, told
from tests.faults.plans import Plan
from tests.faults.rules import Fault
from tests.faults.stack import Seat, Stack
from tests.faults.workloads import WORKLOADS, Workload
from tests.faults.world import World

_PATIENCE = 30.0
_WAKING = 5.0
"""Seconds in which a thawed leader shows what it would do."""


async def run(bench: Bench, plan: Plan, reference: Reference | None = None) -> Run:
    """Run such a plan; in the end the second operator has become the first."""
    result, begun = Run(plan), time.monotonic()
    leader, successor = await _two(bench.stack)
    world, mark = await bench.begin(result)
    with told(result):
        workload = await bench.prepare(world, leader, plan)
        successor.proxy.resume()
        await workload.act(world)
        through = _frozen if plan.has(Fault.FREEZE) else _held
        await through(world, leader, successor, result)
    bench.judge(world, result, mark, reference)
    with told(result):
        await _replace(bench.stack, leader, successor)
        await bench.clean(world, successor)
    bench.finish(result, begun)
    return result


async def _two(stack: Stack) -> tuple[Seat, Seat]:
    """The operator that leads, and one that stands by."""
    if len(stack.seats) == 1:
        seat = await stack.sit()
        await seat.operator.start()
    return stack.seats[0], stack.seats[1]


async def _held(world: World, leader: Seat, successor: Seat, result: Run) -> None:
    stack, over = world.stack, _over(world, result)
    result.struck = await _either(leader.proxy.held.wait(), world, leader, over)
    if not result.struck:
        return
    struck = time.monotonic()
    await stack.give_lease_back()
    await quiet(stack, successor, "settled under the successor", over)
    result.convergence = max(0.0, stack.recorder.last_change - struck)
    leader.proxy.release()
    await asyncio.wait_for(leader.proxy.finished_held.wait(), _PATIENCE)
    released = time.monotonic()
    await quiet(
        stack, successor, "settled after the stale write", lambda: over() and _since(released)
    )


async def _frozen(world: World, leader: Seat, successor: Seat, result: Run) -> None:
    stack, over = world.stack, _over(world, result)
    result.struck = await _either(leader.proxy.struck.wait(), world, leader, over)
    if not result.struck:
        return
    await quiet(stack, successor, "settled under the successor", over)
    result.convergence = max(0.0, stack.recorder.last_change - leader.proxy.ended)
    thawed = time.monotonic()
    leader.operator.thaw()
    await asyncio.sleep(_WAKING)
    stale = [write for at, write in leader.proxy.accepted if at > thawed]
    result.problems += [f"S9: the thawed leader wrote {write}" for write in stale]
    await quiet(stack, successor, "settled after the thaw", over)


def _over(world: World, result: Run) -> Callable[[], bool]:
    workload: Workload = WORKLOADS[result.plan.workload]
    return lambda: workload.settled(world)


def _since(moment: float) -> bool:
    return time.monotonic() - moment > 1.0


async def _either(
    struck: Coroutine[Any, Any, object], world: World, leader: Seat, over: Callable[[], bool]
) -> bool:
    """Wait until the fault happened; False if all is over without it."""
    fault = asyncio.create_task(struck)
    settled = asyncio.create_task(quiet(world.stack, leader, "struck", over))
    done, waiting = await asyncio.wait({fault, settled}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return fault in done


async def _replace(stack: Stack, leader: Seat, successor: Seat) -> None:
    """End the old leader, and let a new process stand by in its place.

    Not before the successor leads, which it does not yet if nothing happened to the leader.
    """
    leader.proxy.begin()
    leader.operator.kill()
    await leader.operator.gone()
    if math.isinf(successor.proxy.led):
        await stack.give_lease_back()
        await quiet(stack, successor, "the successor leads", lambda: True)
    leader.proxy.resume()
    await leader.operator.start()
    stack.seats.reverse()
