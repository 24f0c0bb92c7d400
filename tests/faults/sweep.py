"""Measures each case without a fault, then runs plans on all stacks side by side."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self, TypeVar

from tests.cluster import cache
from tests.faults import hold, report
from tests.faults.experiment import Bench, Reference, Run
from tests.faults.plans import Case, Plan
from tests.faults.stack import running, say
from tests.faults.workloads import STORAGES, WORKLOADS

T = TypeVar("T")
CASES: tuple[Case, ...] = tuple((name, storage) for name in WORKLOADS for storage in STORAGES)

FAILURES = Path(".faults")
"""Where failing plans are written, with their logs, for ``replay``."""
HELD = ("create-1", "image-change", "delete-idle")
"""Workloads in which every kind of write is made once: each may arrive late."""


class Sweep:
    """Some stacks, what was measured on them, and every run so far. An async context manager."""

    def __init__(self, stacks: int, failures: Path) -> None:
        self.runs: list[Run] = []
        self.references: dict[Case, Reference] = {}
        self._stacks, self._failures = stacks, failures
        self._benches: list[Bench] = []
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # The names of the stacks are the machine's: a second sweep waits for the first.
        self._exit.enter_context(cache.locked(cache.root() / "clusters" / ".faults.lock"))
        stacks = (running(number) for number in range(1, self._stacks + 1))
        started = await asyncio.gather(*map(self._exit.enter_async_context, stacks))
        for stack in started:
            await stack.seat.operator.start()
            self._benches.append(Bench(stack))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    @property
    def writes(self) -> dict[Case, int]:
        """How many writes each case makes without a fault."""
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
        if one.problems or other.problems:
            told = "\n".join(f"{report.told(run)}\n{run.log}" for run in (one, other))
            raise AssertionError(f"without a fault:\n{told}")
        self.references[case] = found = Reference.of(one, other)
        say(f"reference {' / '.join(case)}: {found.writes} writes, {one.seconds:.1f} s")
        for path in sorted(found.mask):
            say(f"    masked: {path}")

    async def _run(self, bench: Bench, plan: Plan) -> None:
        runner = hold.run if plan.holds else Bench.run
        run = await runner(bench, plan, self.references[plan.case])
        self.runs.append(run)
        say(report.told(run))
        if run.problems:
            name = f"{len(self.runs):04}-{plan.workload}-{plan.variant.replace(' ', '-')}.yaml"
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
