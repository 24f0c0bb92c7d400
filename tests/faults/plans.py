"""A plan is one run that can be repeated: who does what on which storage, and what goes wrong."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import yaml

from tests.faults.rules import KILLS, Fault, Rule

Case = tuple[str, str]
"""Workload and storage."""
Numbers = Mapping[str, int]
"""How many writes each victim makes."""
OPERATOR = "operator"
_LONGEST_RECOVERY = 6


@dataclass(frozen=True)
class Plan:
    """One run under faults; in some a second operator takes over.

    ``rules`` are about the writes of ``victim``; ``drill`` is a fault that is no single write's.
    """

    workload: str
    storage: str
    rules: tuple[Rule, ...] = ()
    victim: str = OPERATOR
    drill: str = ""

    @property
    def case(self) -> Case:
        return self.workload, self.storage

    @property
    def variant(self) -> str:
        """The kind of fault, as the table has it."""
        who = "" if self.victim == OPERATOR else f"{self.victim} "
        if len(self.rules) > 1:
            return f"{who}two kills"
        return who + (str(self.rules[0].fault) if self.rules else self.drill or "none")

    def has(self, *faults: Fault) -> bool:
        """Whether a rule is one of these faults."""
        return any(rule.fault in faults for rule in self.rules)

    @property
    def uneven(self) -> bool:
        """Whether children may be made more often than without the fault: a stale write makes one
        that is cleared away, an extraction that was killed is begun again."""
        return self.has(Fault.HOLD, Fault.FREEZE, Fault.KILL_EVERYTHING)

    def __str__(self) -> str:
        writes = ",".join(str(rule.number or rule.name) for rule in self.rules)
        return f"{self.workload} / {self.storage} / {self.variant} at {writes or 'once'}"

    def save(self, file: Path, remarks: Iterable[str] = ()) -> None:
        """Write the plan down so that ``replay`` can repeat it; remarks are for people."""
        raw = {
            "workload": self.workload,
            "storage": self.storage,
            "rules": [rule.dump() for rule in self.rules],
            "victim": self.victim,
            "drill": self.drill,
            "remarks": list(remarks),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(raw, sort_keys=False, width=100))

    @classmethod
    def load(cls, file: Path) -> "Plan":
        """Read what ``save`` wrote."""
        raw = yaml.safe_load(file.read_text())
        rules = tuple(Rule.load(rule) for rule in raw["rules"])
        return cls(raw["workload"], raw["storage"], rules, raw["victim"], raw["drill"])


def strikes(writes: Mapping[Case, Numbers], *faults: Fault, victim: str = OPERATOR) -> list[Plan]:
    """Each of these faults at every write of a victim, in every case."""
    return [
        Plan(*case, (Rule(fault, number),), victim)
        for case, counts in writes.items()
        for fault in faults
        for number in range(1, counts[victim] + 1)
    ]


def pairs(writes: Mapping[Case, Numbers], random: Random, count: int) -> list[Plan]:
    """A few plans with a second kill during the recovery from the first."""
    chosen = []
    for _ in range(count):
        case = random.choice(sorted(writes))
        first = random.randint(1, max(1, writes[case][OPERATOR] - 1))
        second = first + random.randint(1, _LONGEST_RECOVERY)
        rules = (Rule(random.choice(KILLS), first), Rule(random.choice(KILLS), second))
        chosen.append(Plan(*case, rules))
    return chosen


def of(every: Iterable[Plan], workloads: Iterable[str]) -> list[Plan]:
    """Those plans that are about one of these workloads."""
    wanted = set(workloads)
    return [plan for plan in every if plan.workload in wanted]


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
