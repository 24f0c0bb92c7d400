"""The sample that continuous integration runs: every workload, every kind of fault."""

from collections import Counter
from random import Random

import pytest

from tests.faults import plans, report
from tests.faults.parts import PARTS
from tests.faults.plans import OPERATOR, Case
from tests.faults.rules import KILLS, Fault
from tests.faults.stack import say
from tests.faults.sweep import FAILURES, Sweep
from tests.faults.workloads import WORKLOADS
from tests.faults.world import PER_NODE, SHARED

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
SEED = 1
OWN, PROVISIONED, LOCAL = SHARED[0], SHARED[1], PER_NODE[0]
CASES: tuple[Case, ...] = (
    ("create-1", OWN),
    ("create-1", LOCAL),
    ("create-3", PROVISIONED),
    ("namespace-missing", OWN),
    ("image-change", PROVISIONED),
    ("image-change-in-use", OWN),
    ("image-change-in-use", LOCAL),
    ("delete-idle", PROVISIONED),
    ("delete-idle", LOCAL),
    ("delete-in-use", OWN),
    ("delete-in-use", PER_NODE[1]),
    ("node-replaced", LOCAL),
    ("registry-down", PROVISIONED),
    ("namespace-deleted", LOCAL),
    ("recreated", OWN),
    ("namespace-removed", PROVISIONED),
    ("two-kinds", OWN),
)
COUNTS = {
    "everything": 1,
    "freeze": 1,
    "blind": 1,
    "hold": 3,
    "signal": 4,
    "agent": 4,
    "webhook": 3,
    "sweep": 82,
}
"""How many plans of each kind, the slowest first; a crash loop takes too long."""


async def test_any_program_may_die_or_be_replaced_at_any_write() -> None:
    assert {workload for workload, _ in CASES} == set(WORKLOADS)
    random = Random(SEED)
    async with Sweep(2, FAILURES) as sweep:
        await sweep.measure(CASES)
        chosen = []
        for name, count in COUNTS.items():
            every = PARTS[name].build(sweep.writes, random)
            chosen += plans.sample(every, count, random)
        await sweep.run(chosen)
    say(report.table(sweep.runs))
    failed = [report.told(run) for run in sweep.runs if run.problems]
    assert not failed, "\n".join(failed)
    struck = Counter(run.plan.victim for run in sweep.runs if run.struck)
    assert struck[OPERATOR] >= 80, "too few of the chosen faults happened"
    assert {"agent", "webhook"} <= set(struck)
    faults = {rule.fault for run in sweep.runs if run.struck for rule in run.plan.rules}
    assert faults >= {*KILLS, Fault.TERMINATE, Fault.HOLD, Fault.FREEZE, Fault.KILL_EVERYTHING}
