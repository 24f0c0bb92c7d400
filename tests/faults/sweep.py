"""Measures each case without a fault, then runs plans on all stacks side by side."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self, TypeVar

from tests.cluster import cache
from tests.faults import hold, report
from tests.faults.building import running
from tests.faults.drills import DRILLS
from tests.faults.experiment import Bench, Reference, Run, acting
from tests.faults.plans import Case, Plan
from tests.faults.rules import Fault
from tests.faults.stack import say
from tests.faults.workloads import WORKLOADS

T = TypeVar("T")
CASES: tuple[Case, ...] = tuple(
    (workload.name, storage) for workload in WORKLOADS.values() for storage in workload.storages
)

FAILURES = Path(".faults")
"""Where failing plans are written, with their logs, for ``replay``."""


class Sweep:
    """Some stacks, what was measured on them, and every run so far. An async context manager."""

    def __init__(self, stacks: int, failures: Path, first: int = 1) -> None:
        self.runs: list[Run] = []
        self.references: dict[Case, Reference] = {}
        self._numbers, self._failures = range(first, first + stacks), failures
        self._benches: list[Bench] = []
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # The names of the stacks are the machine's: a second sweep waits for the first.
        self._exit.enter_context(cache.locked(cache.root() / "clusters" / ".faults.lock"))
        stacks = (running(number) for number in self._numbers)
        started = await asyncio.gather(*map(self._exit.enter_async_context, stacks))
        self._benches += map(Bench, started)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    @property
    def writes(self) -> dict[Case, dict[str, int]]:
        """How many writes each victim makes in each case without a fault."""
        return {case: reference.writes for case, reference in self.references.items()}

    async def measure(self, cases: Iterable[Case] = CASES) -> None:
        """Run each case twice without a fault."""
        wanted = [case for case in cases if case not in self.references]
        await self._spread(wanted, self._measure)

    async def run(self, plans: Sequence[Plan]) -> None:
        """Run plans; a failing one is written to a file of its own."""
        await self._spread(plans, self._run)

    async def _measure(self, bench: Bench, case: Case) -> None:
        one, other = [await bench.run(Plan(*case)) for _ in range(2)]
        found = Reference.of(one, other)
        bad = [run for run in (one, other) if run.problems]
        if bad:
            self._write(bad[0], "reference")
            raise AssertionError("without a fault:\n" + "\n".join(map(report.told, bad)))
        self.references[case] = found
        made = ", ".join(f"{who} {count}" for who, count in found.writes.items())
        say(f"reference {' / '.join(case)}: {made}; {one.seconds:.1f} s")
        for path in sorted(found.mask):
            say(f"    masked: {path}")

    async def _run(self, bench: Bench, plan: Plan) -> None:
        reference = self.references[plan.case]
        if plan.has(Fault.HOLD, Fault.FREEZE):
            run = await hold.run(bench, plan, reference)
        else:
            run = await bench.run(plan, reference, DRILLS.get(plan.drill, acting))
        self.runs.append(run)
        say(report.told(run))
        if run.problems:
            self._write(run, f"{len(self.runs):04}")

    def _write(self, run: Run, number: str) -> None:
        """Write a failing plan down, and what was said while it ran."""
        plan = run.plan
        name = f"{number}-{plan.workload}-{plan.variant}.yaml".replace(" ", "-")
        plan.save(self._failures / name, run.problems)
        (self._failures / name).with_suffix(".log").write_text(run.log)

    async def _spread(self, work: Sequence[T], do: Callable[[Bench, T], Awaitable[None]]) -> None:
        begun, waiting = time.monotonic(), list(reversed(work))

        async def serve(bench: Bench) -> None:
            while waiting:
                await do(bench, waiting.pop())

        async with asyncio.TaskGroup() as group:
            for bench in self._benches:
                group.create_task(serve(bench))
        say(f"{len(work)} done in {time.monotonic() - begun:.0f} s")
