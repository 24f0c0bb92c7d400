"""The life of one copy: a total function from what is observed to a phase, and one step per phase.

A copy is one digest at one target: a staging claim, a Job that fills it, a volume, and later the
serving claim that workloads mount. Nothing is remembered elsewhere: a crash between any two steps
is repaired from what is there. This module knows states, not objects; ``core.observe`` derives the
states and ``core.steps`` turns a step into API writes.
"""

from dataclasses import dataclass
from enum import Enum


class Claim(Enum):
    """State of a staging, serving or reclaim claim."""

    NONE = "none"
    PENDING = "pending"
    NUDGE = "nudge"
    """Pending for no good reason: the binder needs a nudge (``core.steps``)."""
    BOUND = "bound"
    UNFIT = "unfit"
    """Lost, or asking for what is no longer wanted (another size or class)."""
    GOING = "going"


class Job(Enum):
    """State of the extraction Job, or of the Job that empties a volume."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Ended without success, and not yet written down on the claim."""
    COOLING = "cooling"
    """Written down; the next attempt is not due."""
    DUE = "due"
    """Written down, and the next attempt may start."""
    REFUSED = "refused"
    """Written down; only new input helps."""
    STALE = "stale"
    """Made for another staging claim or from other input."""
    GOING = "going"


class Volume(Enum):
    """Whom the copy's volume is for, by the name in its claimRef."""

    NONE = "none"
    STAGING = "staging"
    """The staging claim. A volume that GKM did not make is known from that claim until reserved."""
    SERVING = "serving"
    RECLAIM = "reclaim"
    TAKEN = "taken"
    """A claim that is not GKM's: nothing may be done to it."""
    GOING = "going"
    """Terminating, or released to its provisioner, which deletes it."""


class Phase(Enum):
    """Where the copy stands."""

    GONE = "Gone"
    BLOCKED = "Blocked"
    ABSENT = "Absent"
    FILLING = "Filling"
    FILLED = "Filled"
    RESERVED = "Reserved"
    PUBLISHED = "Published"
    LOST = "Lost"
    RETIRING = "Retiring"


class Step(Enum):
    """What to do next. Every step may be repeated; WAIT: an event will tell."""

    WAIT = "wait"
    RESTORE = "take the mark off a serving claim that is wanted again"
    STAGE = "create the staging claim, and before it the volume if GKM makes it"
    REARM = "take the uid of a claim that is gone out of the volume's claimRef"
    NUDGE = "make the binder look at the claim again"
    RUN = "create the extraction Job"
    RECORD = "write the failure down on the staging claim"
    DROP_JOB = "delete the Job"
    DROP_STAGING = "delete the Job and the staging claim"
    RESERVE = "point the volume at the serving claim"
    PUBLISH = "create the serving claim"
    UNPUBLISH = "delete what is unfinished, and the unused serving claim"
    RECLAIM = "hand the volume to a claim in GKM's own namespace"
    EMPTY = "create the Job that empties a volume which GKM made"
    DISCARD = "delete the reclaim claim, and before it the volume if GKM made it"
    LET_GO = "take GKM's labels off a volume that an administrator made"


@dataclass(frozen=True)
class Observed:
    """What is there of one copy."""

    wanted: bool
    name_free: bool = True
    """Nobody else holds the serving name."""
    ours: bool = False
    """GKM makes the volume (hostPath); else a provisioner does."""
    kept: bool = False
    """An administrator made the volume: GKM neither empties nor deletes it."""
    staging: Claim = Claim.NONE
    job: Job = Job.NONE
    volume: Volume = Volume.NONE
    stale_ref: bool = False
    """The volume's claimRef carries the uid of a claim that is gone."""
    serving: Claim = Claim.NONE
    reclaim: Claim = Claim.NONE
    emptying: Job = Job.NONE
    node_gone: bool = False
    """The node of a per-node copy is gone, and with it what was on its disk."""
    superseded: bool = False
    """The serving claim is marked as not wanted any more."""


def phase(seen: Observed) -> Phase:
    """Say where a copy stands; total over every combination of states."""
    if _nothing(seen):
        return Phase.ABSENT if seen.wanted else Phase.GONE
    if not seen.wanted or _reclaiming(seen):
        return Phase.RETIRING
    if seen.serving is not Claim.NONE:
        return _phase_with_serving(seen)
    if seen.volume in (Volume.GOING, Volume.TAKEN):
        return Phase.BLOCKED
    if seen.volume is Volume.SERVING:
        return Phase.RESERVED
    return _phase_before_reserving(seen)


def next_step(seen: Observed) -> Step:
    """Give the one next step of a copy."""
    match phase(seen):
        case Phase.ABSENT:
            return Step.STAGE
        case Phase.FILLING:
            return _fill(seen)
        case Phase.FILLED:
            return Step.RESERVE
        case Phase.RESERVED:
            return _publish(seen)
        case Phase.PUBLISHED:
            return _drop_staging(seen) or (Step.RESTORE if seen.superseded else Step.WAIT)
        case Phase.LOST:
            return Step.UNPUBLISH
        case Phase.RETIRING:
            return _retire(seen)
        case Phase.GONE | Phase.BLOCKED:
            return Step.WAIT


def _nothing(seen: Observed) -> bool:
    return (
        seen.volume is Volume.NONE
        and seen.job is seen.emptying is Job.NONE
        and seen.staging is seen.serving is seen.reclaim is Claim.NONE
    )


def _reclaiming(seen: Observed) -> bool:
    """Giving a volume back is finished once begun: half emptied, it is no good to anybody."""
    begun = seen.reclaim is not Claim.NONE or seen.emptying is not Job.NONE
    return begun or seen.volume is Volume.RECLAIM


def _phase_with_serving(seen: Observed) -> Phase:
    if seen.serving is Claim.GOING:
        return Phase.BLOCKED
    if seen.volume is not Volume.SERVING or seen.serving is Claim.UNFIT:
        return Phase.LOST
    if seen.serving is Claim.BOUND:
        return Phase.PUBLISHED
    return Phase.RESERVED


def _phase_before_reserving(seen: Observed) -> Phase:
    if seen.staging is Claim.GOING:
        return Phase.BLOCKED
    if seen.staging is Claim.NONE:
        return Phase.ABSENT
    if seen.staging is Claim.BOUND and seen.volume is Volume.STAGING and seen.job is Job.DONE:
        return Phase.FILLED if seen.name_free else Phase.BLOCKED
    return Phase.FILLING


def _fill(seen: Observed) -> Step:
    if seen.staging is Claim.UNFIT:
        return Step.DROP_STAGING
    if seen.ours and seen.volume is Volume.NONE:
        return Step.STAGE
    if seen.stale_ref:
        return Step.REARM
    if seen.staging is Claim.NUDGE:
        return Step.NUDGE
    match seen.job:
        case Job.NONE:
            return Step.RUN
        case Job.FAILED:
            return Step.RECORD
        case Job.DUE | Job.STALE:
            return Step.DROP_JOB
        case _:
            return Step.WAIT


def _publish(seen: Observed) -> Step:
    drop = _drop_staging(seen)
    if drop is not None:
        return drop
    if seen.stale_ref:
        return Step.REARM
    if seen.serving is Claim.NONE:
        return Step.PUBLISH
    return Step.NUDGE if seen.serving is Claim.NUDGE else Step.WAIT


def _drop_staging(seen: Observed) -> Step | None:
    """Delete Job and staging claim; None when both are gone."""
    if seen.staging is Claim.NONE and seen.job is Job.NONE:
        return None
    going = seen.staging in (Claim.NONE, Claim.GOING) and seen.job in (Job.NONE, Job.GOING)
    return Step.WAIT if going else Step.DROP_STAGING


def _retire(seen: Observed) -> Step:
    if seen.serving is not Claim.NONE:
        return Step.WAIT if seen.serving is Claim.GOING else Step.UNPUBLISH
    drop = _drop_staging(seen)
    if drop is not None:
        return drop
    if seen.kept and seen.volume is not Volume.NONE:
        return Step.LET_GO
    if seen.volume in (Volume.NONE, Volume.GOING, Volume.TAKEN):
        left = seen.reclaim not in (Claim.NONE, Claim.GOING)
        left = left or seen.emptying not in (Job.NONE, Job.GOING)
        return Step.DISCARD if left else Step.WAIT
    if seen.node_gone and seen.ours:
        return Step.DISCARD
    return _reclaim(seen)


def _reclaim(seen: Observed) -> Step:
    match seen.reclaim:
        case Claim.GOING:
            return Step.WAIT
        case Claim.NONE | Claim.UNFIT:
            return Step.RECLAIM
        case Claim.NUDGE:
            return Step.NUDGE
        case Claim.PENDING:
            lost = seen.volume is not Volume.RECLAIM or seen.stale_ref
            return Step.RECLAIM if lost else Step.WAIT
        case Claim.BOUND:
            return _empty(seen)


def _empty(seen: Observed) -> Step:
    if not seen.ours or seen.emptying is Job.DONE:
        return Step.DISCARD
    match seen.emptying:
        case Job.NONE:
            return Step.EMPTY
        case Job.RUNNING | Job.COOLING | Job.GOING:
            return Step.WAIT
        case _:
            return Step.DROP_JOB
