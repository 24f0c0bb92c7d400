"""A leader that was replaced without knowing: one write of its is held back until its successor is
finished, and then gets through as it was.

Once a write is held, everything else that the old leader writes is cut off at its proxy, renewals
of its Lease first: in a cluster its Lease would have run out by then, and its own check of the
Lease would stop it. Only what was already on its way can still arrive.
"""

import asyncio
import math
import time
from collections.abc import Callable

from tests.faults.experiment import Bench, Reference, Run, quiet, told
from tests.faults.plans import Plan
from tests.faults.stack import Seat, Stack
from tests.faults.workloads import WORKLOADS, World

_PATIENCE = 30.0


async def run(bench: Bench, plan: Plan, reference: Reference | None = None) -> Run:
    """Run a plan that holds a write; in the end the second operator has become the first."""
    result, begun = Run(plan), time.monotonic()
    leader, successor = await _two(bench.stack)
    world, mark = await bench.begin(result)
    with told(result):
        await _through(world, leader, successor, result)
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


async def _through(world: World, leader: Seat, successor: Seat, result: Run) -> None:
    stack, workload = world.stack, WORKLOADS[result.plan.workload]

    def over() -> bool:
        return workload.settled(world)

    await workload.prepare(world)
    await quiet(stack, leader, "prepared", lambda: True)
    leader.proxy.begin(result.plan.rules)
    successor.proxy.resume()
    await workload.act(world)
    result.struck = await _held(world, leader, over)
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
    result.writes = leader.proxy.rulebook.number


def _since(moment: float) -> bool:
    return time.monotonic() - moment > 1.0


async def _held(world: World, leader: Seat, over: Callable[[], bool]) -> bool:
    """Wait until the write is held; False if all is over without it."""
    held = asyncio.create_task(leader.proxy.held.wait())
    settled = asyncio.create_task(quiet(world.stack, leader, "held", over))
    done, waiting = await asyncio.wait({held, settled}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return held in done


async def _replace(stack: Stack, leader: Seat, successor: Seat) -> None:
    """End the old leader, and let a new process stand by in its place.

    Not before the successor leads, which it does not yet if no write was held.
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
