"""What goes wrong, as data: which write, and what happens to it.

Pure: the proxy asks ``Rulebook`` about each write and does what it is told.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

UNNUMBERED = frozenset({"leases", "events"})
"""Written by the clock, or for people only: numbering them would make no run like another."""


class Fault(StrEnum):
    """What happens to a write, and to its writer, which is killed by SIGKILL."""

    KILL_BEFORE = "kill-before"
    """Not forwarded."""
    KILL_AFTER_COMMIT = "kill-after-commit"
    """Forwarded and committed; the reply is lost."""
    KILL_AFTER_REPLY = "kill-after-reply"
    """Answered; the writer dies before its next write gets through."""
    TERMINATE = "terminate"
    """Forwarded, while its writer is asked to end (SIGTERM)."""
    KILL_EVERYTHING = "kill-everything"
    """Forwarded; then all programs of GKM, the API server and etcd are killed."""
    FREEZE = "freeze"
    """Forwarded, while its writer is stopped (SIGSTOP)."""
    RESET_BEFORE = "reset-before"
    RESET_AFTER = "reset-after"
    STATUS = "status"
    """Not forwarded, answered with an error."""
    DELAY = "delay"
    HOLD = "hold"
    """Kept back until it is released, then forwarded as it was; all later writes are cut off."""


KILLS = (Fault.KILL_BEFORE, Fault.KILL_AFTER_COMMIT, Fault.KILL_AFTER_REPLY)


@dataclass(frozen=True)
class Write:
    """One write as the proxy sees it; ``number`` counts from 1, and is 0 where none is given."""

    number: int
    verb: str
    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.number} {self.verb} {self.resource} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Rule:
    """A fault, and the one write that it is for: by number, or the nth that fits the patterns."""

    fault: Fault
    number: int = 0
    verb: str = "*"
    resource: str = "*"
    name: str = "*"
    nth: int = 1
    code: int = 503
    seconds: float = 1.0

    def fits(self, write: Write) -> bool:
        """Whether the patterns fit, however many writes did before."""
        return (
            write.number > 0
            and fnmatchcase(write.verb, self.verb)
            and fnmatchcase(write.resource, self.resource)
            and fnmatchcase(write.name, self.name)
        )

    def dump(self) -> dict[str, Any]:
        """As YAML has it, without what is as usual."""
        usual = {field.name: field.default for field in fields(self)}
        return {k: v for k, v in asdict(self).items() if v != usual[k]} | {"fault": str(self.fault)}

    @classmethod
    def load(cls, raw: dict[str, Any]) -> "Rule":
        """Read what ``dump`` wrote."""
        return cls(**{**raw, "fault": Fault(raw["fault"])})


class Rulebook:
    """Numbers the writes of one run, and says which rule is for each. Every rule strikes once."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.number = 0
        self._rules = list(rules)
        self._fitted: Counter[Rule] = Counter()

    def take(
        self, verb: str, resource: str, namespace: str, name: str
    ) -> tuple[Write, Rule | None]:
        """Number a write and find its rule."""
        numbered = resource not in UNNUMBERED
        self.number += numbered
        write = Write(self.number if numbered else 0, verb, resource, namespace, name)
        return write, self._rule(write)

    def _rule(self, write: Write) -> Rule | None:
        struck = None
        for rule in list(self._rules):
            if not rule.fits(write):
                continue
            self._fitted[rule] += 1
            due = rule.number == write.number if rule.number else self._fitted[rule] == rule.nth
            if due and struck is None:
                struck = rule
                self._rules.remove(rule)
        return struck

    @property
    def left(self) -> int:
        """Rules that have not struck."""
        return len(self._rules)
