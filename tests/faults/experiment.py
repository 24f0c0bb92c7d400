"""Runs one plan on one stack, from an empty cluster to an empty cluster, and judges it."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import dump, oracles, trees
from tests.faults.canonical import Leaves, differences, differing
from tests.faults.plans import OPERATOR, Plan
from tests.faults.stack import Seat, Stack
from tests.faults.workloads import WORKLOADS, Workload, clean, nothing_left
from tests.faults.world import World

QUIET, _SHORT = 1.0, 0.4
"""Seconds without news after which a run is judged, and after which nothing is judged yet."""
_PATIENCE = 60.0
_LOOK = 0.05
_MOST_MASKED = 12
"""Fields in which two runs without a fault may differ: nothing is compared there."""
_LONGEST_PARTING = 10.0
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
    writes: dict[str, int] = field(default_factory=dict)
    """How many writes (or reviews) each victim made."""
    struck: bool = False
    """Whether every fault of the plan happened."""
    convergence: float = 0.0
    """Seconds from the last fault to the last change."""
    seconds: float = 0.0
    log: str = ""
    """What programs and proxies wrote down during the run."""


Act = Callable[[Stack, World, Run], Awaitable[None]]
"""What happens under faults."""


@dataclass(frozen=True)
class Reference:
    """The same without a fault, twice; ``mask`` is what differed between the two."""

    first: Run
    mask: frozenset[str]
    writes: dict[str, int]

    @classmethod
    def of(cls, one: Run, other: Run) -> "Reference":
        most = {who: max(count, other.writes[who]) for who, count in one.writes.items()}
        mask = differing(one.end, other.end)
        if len(mask) > _MOST_MASKED:
            one.problems.append(f"O1: two runs without a fault differ in {len(mask)} fields")
        return cls(one, mask, most)

    def judge(self, run: Run) -> None:
        """Add what is different: O1 always, O2 as a note where the plan may make more."""
        run.problems += [f"O1: {line}" for line in differences(self.first.end, run.end, self.mask)]
        made, most = run.writes.get(OPERATOR, 0), 2 * self.writes[OPERATOR]
        if run.plan.drill and made > most:
            run.problems.append(f"B1: {made} writes, {most} at most")
        uneven = oracles.unequal(self.first.made, run.made)
        (run.notes if run.plan.uneven else run.problems).extend(uneven)


async def quiet(
    stack: Stack,
    seat: Seat,
    what: str,
    look: Callable[[], bool],
    seconds: float = QUIET,
) -> None:
    """Wait until ``look`` is true, all programs run, and nothing has happened for ``seconds``."""
    until = time.monotonic() + _PATIENCE
    while True:
        now = time.monotonic()
        stack.check()
        if seat.operator.exit_code is not None and not seat.operator.killed.is_set():
            raise RuntimeError(f"the operator ended by itself: {seat.operator.exit_code}")
        writes = max(seat.proxy.last_write, seat.proxy.led, stack.last_write)
        if now - max(stack.recorder.last_change, writes) >= seconds and stack.up and look():
            return
        if now > until:
            there = "\n        ".join(dump.standing(stack.recorder))
            raise TimeoutError(f"{what}: not within {_PATIENCE:.0f} s\n        {there}")
        await asyncio.sleep(_LOOK)


@asynccontextmanager
async def kept(stack: Stack, seat: Seat, run: Run) -> AsyncIterator[None]:
    """Start the operator again each time that it is killed, or ends because it was asked to."""

    async def keep() -> None:
        while True:
            await seat.operator.killed.wait()
            if seat.operator.asked:
                run.problems += await _parting(stack, seat)
            else:
                await seat.operator.gone()
                await stack.give_lease_back()
            await asyncio.sleep(stack.rest)
            seat.proxy.resume()
            await seat.operator.start()

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _parting(stack: Stack, seat: Seat) -> list[str]:
    """How an operator that was asked to end did so: soon, well, and without its Lease."""
    begun = time.monotonic()
    code = await seat.operator.gone()
    seconds, holder = time.monotonic() - begun, await stack.holder()
    late = [f"F5: it took {seconds:.1f} s to end"] if seconds > _LONGEST_PARTING else []
    bad = [f"F5: it ended with {code}"] if code else []
    held = [f"F5: the Lease is still {holder}'s"] if holder else []
    return [*late, *bad, *held]


@contextmanager
def told(run: Run) -> Iterator[None]:
    """Turn what a run waited for in vain into a problem of it."""
    try:
        yield
    except (TimeoutError, RuntimeError) as error:
        run.problems.append(f"{type(error).__name__}: {error}")


async def acting(_: Stack, world: World, run: Run) -> None:
    """Do what the workload does."""
    await WORKLOADS[run.plan.workload].act(world)


class Bench:
    """One stack, and what its runs share: a generation in all names, how far logs are read."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._generation, self._turn = "", 0
        self._read: Counter[str] = Counter()

    async def run(self, plan: Plan, reference: Reference | None = None, act: Act = acting) -> Run:
        """Run a plan with one operator."""
        run, begun = Run(plan), time.monotonic()
        await self.stack.alone()
        world, mark = await self.begin(run)
        seat = self.stack.seat
        async with kept(self.stack, seat, run):
            with told(run):
                await self._through(world, seat, run, act)
            self.judge(world, run, mark, reference)
            with told(run):
                await self.clean(world, seat)
        self.finish(run, begun)
        return run

    async def begin(self, run: Run) -> tuple[World, int]:
        """Names for the run, and where its history begins."""
        if not self._generation:
            self._generation = f"g{next(_generations)}s{self.stack.number}"
        self._turn += 1
        world = World(self.stack, run.plan.storage, self._generation, self._turn)
        mark = len(self.stack.recorder.history)
        await world.begin()
        return world, mark

    async def prepare(self, world: World, seat: Seat, plan: Plan) -> Workload:
        """Do what comes before the faults, and set them up."""
        workload = WORKLOADS[plan.workload]
        await workload.prepare(world)
        await quiet(self.stack, seat, "prepared", lambda: True, _SHORT)
        for name, victim in self.stack.victims.items():
            victim.begin(plan.rules if name == plan.victim else ())
        return workload

    async def _through(self, world: World, seat: Seat, run: Run, act: Act) -> None:
        workload = await self.prepare(world, seat, run.plan)
        begun = time.monotonic()
        await act(self.stack, world, run)
        await quiet(self.stack, seat, "settled", lambda: workload.settled(world))
        victims = self.stack.victims
        victim = victims[run.plan.victim]
        fault = max(begun, victim.ended)
        run.convergence = max(0.0, self.stack.recorder.last_change - fault)
        run.writes = {name: one.rulebook.number for name, one in victims.items()}
        run.struck = victim.rulebook.left == 0

    def judge(self, world: World, run: Run, mark: int, reference: Reference | None) -> None:
        """Look at the end state and at the history that led to it."""
        history = self.stack.recorder.since(mark)
        words = dump.words(world, history)
        run.end, run.made = dump.end(world, words), oracles.counts(history, words)
        if reference is not None and not run.problems:
            reference.judge(run)

    async def clean(self, world: World, seat: Seat) -> None:
        """Delete everything; nothing may be left."""
        for victim in self.stack.victims.values():
            victim.begin()
        await clean(world)
        await quiet(self.stack, seat, "nothing is left", lambda: nothing_left(world), _SHORT)

    def finish(self, run: Run, begun: float) -> None:
        """What has to be right in every run; a run with a problem makes way for new names."""
        for root in self.stack.site.disks.roots():
            run.problems += [f"left behind: {name}" for name in trees.remains(root)]
        run.problems += oracles.violations(self.stack.recorder.since(0))
        run.problems += self.stack.problems()
        wrote = self.stack.admission.proxy.writes
        run.problems += [f"S13: the webhook wrote {write}" for write in wrote]
        run.log = "\n".join(map(self._new, self._logs()))
        run.problems += oracles.tracebacks(run.log)
        self.stack.recorder.history.clear()
        run.seconds = time.monotonic() - begun
        if run.problems:
            self._generation = ""

    def _logs(self) -> list[Path]:
        pairs = [(s.operator, s.proxy) for s in self.stack.seats]
        pairs += [(node.agent.program, node.agent.proxy) for node in self.stack.nodes]
        pairs.append((self.stack.admission.program, self.stack.admission.proxy))
        return [file for program, proxy in pairs for file in (program.log, proxy.trace)]

    def _new(self, file: Path) -> str:
        """What was added to a file since the last run."""
        with file.open() as lines:
            lines.seek(self._read[file.name])
            added = lines.read()
            self._read[file.name] = lines.tell()
        kept = [line for line in added.splitlines() if _RENEWAL not in line]
        return "\n".join([f"--- {file.name}", *kept]) if kept else ""
