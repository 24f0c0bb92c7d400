"""Which write a fault strikes, and that a plan survives being written down."""

from pathlib import Path
from random import Random

import pytest

from tests.faults import plans
from tests.faults.plans import Plan
from tests.faults.rules import KILLS, Fault, Rule, Rulebook

WRITES = [
    ("PATCH", "gkmcaches", "a", "kernels"),
    ("PATCH", "leases", "gkm-system", "gkm-operator"),
    ("POST", "jobs", "a", "kernels-1"),
    ("POST", "events", "a", ""),
    ("POST", "jobs", "a", "kernels-2"),
    ("DELETE", "jobs", "a", "kernels-1"),
]


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        (Rule(Fault.KILL_BEFORE, number=2), "2 POST jobs a/kernels-1"),
        (Rule(Fault.HOLD, verb="POST", resource="jobs", nth=2), "3 POST jobs a/kernels-2"),
        (Rule(Fault.STATUS, name="*-1", nth=2), "4 DELETE jobs a/kernels-1"),
        (Rule(Fault.DELAY, resource="leases"), None),
    ],
)
def test_a_rule_strikes_one_write_and_leases_and_events_are_not_numbered(
    rule: Rule, struck: str | None
) -> None:
    book = Rulebook([rule])
    taken = [book.take(*write) for write in WRITES]
    assert [str(write) for write, found in taken if found] == ([struck] if struck else [])
    assert (book.number, book.left) == (4, 0 if struck else 1)


def test_two_rules_strike_one_after_the_other() -> None:
    book = Rulebook([Rule(Fault.KILL_BEFORE, number=1), Rule(Fault.KILL_AFTER_REPLY, number=3)])
    found = [book.take(*write)[1] for write in WRITES]
    assert [rule.fault for rule in found if rule] == [Fault.KILL_BEFORE, Fault.KILL_AFTER_REPLY]


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    rules = (Rule(Fault.KILL_BEFORE, number=3), Rule(Fault.STATUS, verb="POST", nth=2, code=500))
    plan = Plan("create-1", "provisioned", rules, "agent")
    plan.save(tmp_path / "plan.yaml", ["what went wrong"])
    assert Plan.load(tmp_path / "plan.yaml") == plan


def test_a_sample_is_spread_evenly_and_always_the_same() -> None:
    writes = {("create-1", "provisioned"): {"operator": 30}, ("delete-idle", "x"): {"operator": 3}}
    every = plans.strikes(writes, *KILLS)
    assert len(every) == 99
    one, again = (plans.sample(every, 12, Random(1)) for _ in range(2))
    assert one == again
    groups = {(plan.workload, plan.variant) for plan in one}
    assert len(groups) == 6
    assert len(set(one)) == 12
