"""The sample that continuous integration runs: kills at every kind of write, and stale leaders."""

from random import Random

import pytest

from tests.faults import plans, report
from tests.faults.stack import say
from tests.faults.sweep import FAILURES, HELD, Sweep

pytestmark = pytest.mark.cluster
SEED = 1
KILLS, PAIRS, HOLDS = 66, 6, 6


async def test_the_operator_may_die_or_be_replaced_at_any_write() -> None:
    random = Random(SEED)
    async with Sweep(2, FAILURES) as sweep:
        await sweep.measure()
        chosen = plans.sample(plans.kills(sweep.writes), KILLS, random)
        chosen += plans.pairs(sweep.writes, random, PAIRS)
        chosen += plans.sample(plans.holds(sweep.writes, HELD), HOLDS, random)
        await sweep.run(chosen)
    say(report.table(sweep.runs))
    failed = [report.told(run) for run in sweep.runs if run.problems]
    assert not failed, "\n".join(failed)
    assert sum(run.struck for run in sweep.runs) >= 60, "too few of the chosen faults happened"
