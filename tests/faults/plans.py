"""A plan is one run that can be repeated: who does what on which storage, and what goes wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import yaml

from tests.faults.rules import KILLS, Fault, Rule

Case = tuple[str, str]
"""Workload and storage."""
_LONGEST_RECOVERY = 6


@dataclass(frozen=True)
class Plan:
    """One run under faults; ``hold`` plans have a second operator that takes over."""

    workload: str
    storage: str
    rules: tuple[Rule, ...] = ()

    @property
    def case(self) -> Case:
        return self.workload, self.storage

    @property
    def variant(self) -> str:
        """The kind of fault, as the table has it."""
        if len(self.rules) > 1:
            return "two kills"
        return str(self.rules[0].fault) if self.rules else "none"

    @property
    def holds(self) -> bool:
        return any(rule.fault is Fault.HOLD for rule in self.rules)

    def __str__(self) -> str:
        writes = ",".join(str(rule.number or rule.name) for rule in self.rules)
        return f"{self.workload} / {self.storage} / {self.variant} at {writes}"

    def save(self, file: Path, remarks: Iterable[str] = ()) -> None:
        """Write the plan down so that ``replay`` can repeat it; remarks are for people."""
        raw = {
            "workload": self.workload,
            "storage": self.storage,
            "rules": [rule.dump() for rule in self.rules],
            "remarks": list(remarks),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(raw, sort_keys=False, width=100))

    @classmethod
    def load(cls, file: Path) -> "Plan":
        """Read what ``save`` wrote."""
        raw = yaml.safe_load(file.read_text())
        rules = tuple(Rule.load(rule) for rule in raw["rules"])
        return cls(raw["workload"], raw["storage"], rules)


def kills(writes: dict[Case, int]) -> list[Plan]:
    """Every kill at every write of every case."""
    return [
        Plan(*case, (Rule(fault, number),))
        for case, count in writes.items()
        for fault in KILLS
        for number in range(1, count + 1)
    ]


def pairs(writes: dict[Case, int], random: Random, count: int) -> list[Plan]:
    """A few plans with a second kill during the recovery from the first."""
    chosen = []
    for _ in range(count):
        case = random.choice(sorted(writes))
        first = random.randint(1, max(1, writes[case] - 1))
        second = first + random.randint(1, _LONGEST_RECOVERY)
        rules = (Rule(random.choice(KILLS), first), Rule(random.choice(KILLS), second))
        chosen.append(Plan(*case, rules))
    return chosen


def holds(writes: dict[Case, int], workloads: Iterable[str]) -> list[Plan]:
    """Every write held, of these workloads."""
    return [
        Plan(*case, (Rule(Fault.HOLD, number),))
        for case, count in writes.items()
        if case[0] in set(workloads)
        for number in range(1, count + 1)
    ]


def sample(plans: Iterable[Plan], count: int, random: Random) -> list[Plan]:
    """Pick ``count`` plans, evenly over workload, storage and variant."""
    groups: dict[tuple[str, str, str], list[Plan]] = {}
    for plan in plans:
        groups.setdefault((*plan.case, plan.variant), []).append(plan)
    for group in groups.values():
        random.shuffle(group)
    chosen: list[Plan] = []
    while len(chosen) < count and any(groups.values()):
        for group in groups.values():
            if group and len(chosen) < count:
                chosen.append(group.pop())
    return chosen
