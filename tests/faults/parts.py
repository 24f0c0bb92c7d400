"""What a whole sweep is made of: for each kind of fault, the plans that there are for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from tests.faults import plans
from tests.faults.drills import CRASH_LOOP, NO_POD_LIST
from tests.faults.plans import Case, Numbers, Plan
from tests.faults.rules import KILLS, Fault

Writes = Mapping[Case, Numbers]
HELD = ("create-1", "image-change", "delete-idle")
"""Workloads in which every kind of write is made once: each may arrive late."""
LISTED = ("delete-idle", "delete-in-use")
"""Workloads in which pods are listed before anything is deleted."""
_PAIRS_OF_ALL = 20
"""One plan with a second kill for so many with one."""


@dataclass(frozen=True)
class Part:
    """A kind of fault; ``few``: of how many of its plans ``all`` is made, because each is slow."""

    what: str
    build: Callable[[Writes, Random], list[Plan]]
    few: int | None = None


def _kills(writes: Writes, random: Random) -> list[Plan]:
    every = plans.strikes(writes, *KILLS)
    return every + plans.pairs(writes, random, max(1, len(every) // _PAIRS_OF_ALL))


def _loops(writes: Writes, _: Random) -> list[Plan]:
    return [Plan(*case, drill=CRASH_LOOP) for case in writes]


def _blind(writes: Writes, _: Random) -> list[Plan]:
    return plans.of([Plan(*case, drill=NO_POD_LIST) for case in writes], LISTED)


PARTS = {
    "sweep": Part("kill the operator at every write", _kills),
    "agent": Part(
        "kill a node's agent at each of its writes",
        lambda writes, _: plans.strikes(writes, *KILLS, victim="agent"),
    ),
    "webhook": Part(
        "kill the webhook at each review",
        lambda writes, _: plans.strikes(writes, *KILLS, victim="webhook"),
    ),
    "signal": Part(
        "ask the operator to end, at every write",
        lambda writes, _: plans.strikes(writes, Fault.TERMINATE),
    ),
    "everything": Part(
        "kill all programs and the control plane, at every write of the operator",
        lambda writes, _: plans.strikes(writes, Fault.KILL_EVERYTHING),
        few=60,
    ),
    "loop": Part("let the operator die again and again for a minute", _loops, few=6),
    "blind": Part("let nobody list pods while a Cache is deleted", _blind),
    "hold": Part(
        "hold every write of a leader that is replaced",
        lambda writes, _: plans.of(plans.strikes(writes, Fault.HOLD), HELD),
    ),
    "freeze": Part(
        "stop a leader at every write until it is replaced",
        lambda writes, _: plans.of(plans.strikes(writes, Fault.FREEZE), HELD),
        few=30,
    ),
}
"""In the order in which they run: those with a second operator come last."""
