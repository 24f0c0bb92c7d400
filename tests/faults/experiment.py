"""Runs one plan on one stack, from an empty cluster to an empty cluster, and judges it."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import dump, oracles, trees
from tests.faults.canonical import Leaves, differences, differing
from tests.faults.plans import Plan
from tests.faults.stack import Seat, Stack
from tests.faults.workloads import WORKLOADS, World, clean, nothing_left

QUIET = 1.0
_PATIENCE = 60.0
_LOOK = 0.05
_RENEWAL = '"resource": "leases"'
"""Of the traces, what is of no interest in a failure."""
_generations = itertools.count(1)


@dataclass
class Run:
    """What one run was like."""

    plan: Plan
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Differences from the reference that are no failure, but should be known."""
    end: Leaves = field(default_factory=dict)
    made: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    struck: bool = False
    """Whether every fault of the plan happened."""
    convergence: float = 0.0
    """Seconds from the last fault to the last change."""
    seconds: float = 0.0
    log: str = ""
    """What operators and proxies wrote down during the run."""


@dataclass(frozen=True)
class Reference:
    """The same without a fault, twice; ``mask`` is what differed between the two."""

    first: Run
    mask: frozenset[str]
    writes: int

    @classmethod
    def of(cls, one: Run, other: Run) -> "Reference":
        return cls(one, differing(one.end, other.end), max(one.writes, other.writes))

    def judge(self, run: Run) -> None:
        """Add what is different: O1 always, O2 as a note where a stale write may make children."""
        run.problems += [f"O1: {line}" for line in differences(self.first.end, run.end, self.mask)]
        uneven = oracles.unequal(self.first.made, run.made)
        (run.notes if run.plan.holds else run.problems).extend(uneven)


async def quiet(
    stack: Stack, seat: Seat, what: str, look: Callable[[], bool], patience: float = _PATIENCE
) -> None:
    """Wait until ``look`` is true, the operator leads, and nothing has happened for a second."""
    until = time.monotonic() + patience
    while True:
        now = time.monotonic()
        stack.check()
        if seat.operator.exit_code is not None and not seat.operator.killed.is_set():
            raise RuntimeError(f"the operator ended by itself: {seat.operator.exit_code}")
        latest = max(stack.recorder.last_change, seat.proxy.last_write, seat.proxy.led)
        if now - latest >= QUIET and look():
            return
        if now > until:
            there = "\n        ".join(dump.standing(stack.recorder))
            raise TimeoutError(f"{what}: not within {patience:.0f} s\n        {there}")
        await asyncio.sleep(_LOOK)


@asynccontextmanager
async def kept(stack: Stack, seat: Seat) -> AsyncIterator[None]:
    """Start the operator again each time that it is killed."""

    async def keep() -> None:
        while True:
            await seat.operator.killed.wait()
            await seat.operator.gone()
            await stack.give_lease_back()
            seat.proxy.resume()
            await seat.operator.start()

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def told(run: Run) -> Iterator[None]:
    """Turn what a run waited for in vain into a problem of it."""
    try:
        yield
    except (TimeoutError, RuntimeError) as error:
        run.problems.append(f"{type(error).__name__}: {error}")


class Bench:
    """One stack, and what its runs share: a generation in all names, how far logs are read."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._generation = ""
        self._read: Counter[str] = Counter()

    async def run(self, plan: Plan, reference: Reference | None = None) -> Run:
        """Run a plan of kills."""
        run, begun = Run(plan), time.monotonic()
        world, mark = await self.begin(run)
        seat = self.stack.seat
        async with kept(self.stack, seat):
            with told(run):
                await self._through(world, seat, run)
            self.judge(world, run, mark, reference)
            with told(run):
                await self.clean(world, seat)
        self.finish(run, begun)
        return run

    async def begin(self, run: Run) -> tuple[World, int]:
        """Names for the run, and where its history begins."""
        if not self._generation:
            self._generation = f"g{next(_generations)}s{self.stack.number}"
        world = World(self.stack, run.plan.storage, self._generation)
        mark = len(self.stack.recorder.history)
        await world.spaces()
        return world, mark

    async def _through(self, world: World, seat: Seat, run: Run) -> None:
        workload = WORKLOADS[run.plan.workload]
        await workload.prepare(world)
        await quiet(self.stack, seat, "prepared", lambda: True)
        seat.proxy.begin(run.plan.rules)
        acting = time.monotonic()
        await workload.act(world)
        await quiet(self.stack, seat, "settled", lambda: workload.settled(world))
        fault = max(acting, seat.proxy.ended)
        run.convergence = max(0.0, self.stack.recorder.last_change - fault)
        run.writes = seat.proxy.rulebook.number
        run.struck = seat.proxy.rulebook.left == 0
        seat.proxy.begin()

    def judge(self, world: World, run: Run, mark: int, reference: Reference | None) -> None:
        """Look at the end state and at the history that led to it."""
        history = self.stack.recorder.since(mark)
        words = dump.words(world, history)
        run.end, run.made = dump.end(world, words), oracles.counts(history, words)
        if reference is not None and not run.problems:
            reference.judge(run)

    async def clean(self, world: World, seat: Seat) -> None:
        """Delete everything; nothing may be left."""
        seat.proxy.begin()
        await clean(world)
        await quiet(self.stack, seat, "nothing is left", lambda: nothing_left(world))

    def finish(self, run: Run, begun: float) -> None:
        """What has to be right in every run; a run with a problem makes way for new names."""
        run.problems += [f"left behind: {name}" for name in trees.remains(self.stack.volumes)]
        run.problems += oracles.violations(self.stack.recorder.since(0))
        run.problems += self.stack.problems()
        run.log = "\n".join(map(self._new, self._logs()))
        run.problems += oracles.tracebacks(run.log)
        self.stack.recorder.history.clear()
        run.seconds = time.monotonic() - begun
        if run.problems:
            self._generation = ""

    def _logs(self) -> list[Path]:
        return [path for s in self.stack.seats for path in (s.operator.log, s.proxy.trace)]

    def _new(self, file: Path) -> str:
        """What was added to a file since the last run."""
        with file.open() as lines:
            lines.seek(self._read[file.name])
            added = lines.read()
            self._read[file.name] = lines.tell()
        return "\n".join(line for line in added.splitlines() if _RENEWAL not in line)
