"""A fair world for copies: what Kubernetes, Jobs and users do after each step of ours.

Fair means that everything that can end does: Jobs finish, users leave, provisioners delete, a
refused image is replaced by new input. Only states move here, no objects; the real world is tested
by the end-to-end suite.
"""

from dataclasses import replace
from typing import Any

from gkm.core.copy import Claim, Job, Observed, Step, Volume

_HOLDER = {"staging": Volume.STAGING, "serving": Volume.SERVING, "reclaim": Volume.RECLAIM}


def carry_out(step: Step, seen: Observed) -> Observed:
    """The API writes of one step."""
    return replace(seen, **_writes(step, seen))


def _writes(  # noqa: C901, PLR0911, PLR0912 - one case per step
    step: Step, seen: Observed
) -> dict[str, Any]:
    match step:
        case Step.STAGE:
            staging = Claim.PENDING if seen.staging is Claim.NONE else seen.staging
            made = seen.ours and seen.volume is Volume.NONE
            return {"staging": staging, "volume": Volume.STAGING if made else seen.volume}
        case Step.REARM:
            return {"stale_ref": False}
        case Step.NUDGE:
            return {name: Claim.BOUND for name in _HOLDER if getattr(seen, name) is Claim.NUDGE}
        case Step.RUN:
            return {"job": Job.RUNNING}
        case Step.RECORD:
            return {"job": Job.COOLING}
        case Step.DROP_JOB:
            return {name: Job.GOING for name in ("job", "emptying") if _is(seen, name)}
        case Step.DROP_STAGING:
            return _unfinished(seen)
        case Step.RESERVE:
            return {"volume": Volume.SERVING, "stale_ref": False}
        case Step.PUBLISH:
            return {"serving": Claim.PENDING}
        case Step.UNPUBLISH:
            return {"serving": Claim.GOING, **_unfinished(seen)}
        case Step.RECLAIM:
            emptying = _going(seen.emptying)
            if seen.reclaim is Claim.UNFIT:
                return {"reclaim": Claim.GOING, "emptying": emptying}
            held = {"volume": Volume.RECLAIM, "stale_ref": False, "reclaim": Claim.PENDING}
            return {**held, "emptying": emptying}
        case Step.EMPTY:
            return {"emptying": Job.RUNNING}
        case Step.DISCARD:
            mine = seen.ours and seen.volume is not Volume.NONE
            return {
                "volume": Volume.GOING if mine else seen.volume,
                "emptying": _going(seen.emptying),
                "reclaim": _leaving(seen.reclaim),
            }
        case Step.LET_GO:
            return {"volume": Volume.NONE, "stale_ref": False}
        case Step.RESTORE:
            return {"superseded": False}
        case Step.WAIT:
            return {}


def _unfinished(seen: Observed) -> dict[str, Any]:
    unfit = seen.reclaim is Claim.UNFIT
    return {
        "staging": _leaving(seen.staging),
        "job": _going(seen.job),
        "emptying": _going(seen.emptying),
        "reclaim": Claim.GOING if unfit else seen.reclaim,
    }


def turn(seen: Observed) -> Observed:
    """Everybody else moves on."""
    seen = replace(
        seen,
        name_free=True,
        job=_job_moves(seen.job),
        emptying=_job_moves(seen.emptying),
    )
    for name, role in _HOLDER.items():
        seen = _claim_moves(seen, name, role)
    if seen.volume is Volume.TAKEN:
        seen = _released(replace(seen, volume=Volume.RECLAIM))
    if seen.volume is Volume.GOING:
        held = seen.ours and seen.reclaim not in (Claim.NONE, Claim.GOING)
        seen = seen if held else replace(seen, volume=Volume.NONE)
    return replace(
        seen,
        stale_ref=seen.stale_ref and seen.volume is not Volume.NONE,
        superseded=seen.superseded and seen.serving is not Claim.NONE,
    )


def _claim_moves(seen: Observed, name: str, role: Volume) -> Observed:
    def to(state: Claim) -> Observed:
        moved: dict[str, Any] = {name: state}
        return replace(seen, **moved)

    claim = getattr(seen, name)
    mine = seen.volume is role and not seen.stale_ref
    match claim:
        case Claim.GOING:
            gone = to(Claim.NONE)
            return _released(gone) if seen.volume is role else gone
        case Claim.PENDING | Claim.NUDGE if mine:
            return to(Claim.NUDGE)
        case Claim.PENDING if name == "staging" and not seen.ours and seen.job is Job.DONE:
            return replace(seen, staging=Claim.BOUND, volume=Volume.STAGING)
        case Claim.NUDGE:
            return to(Claim.PENDING)
        case Claim.BOUND if seen.volume is not role:
            handed_on = name == "staging" and seen.volume is Volume.SERVING
            return seen if handed_on else to(Claim.UNFIT)
        case _:
            return seen


def _released(seen: Observed) -> Observed:
    """The claim of a volume is gone: only a provisioner deletes the volume then."""
    stays = seen.ours or seen.kept
    return replace(seen, stale_ref=True) if stays else replace(seen, volume=Volume.GOING)


def _job_moves(job: Job) -> Job:
    moves = {
        Job.RUNNING: Job.DONE,
        Job.COOLING: Job.DUE,
        Job.REFUSED: Job.STALE,
        Job.GOING: Job.NONE,
    }
    return moves.get(job, job)


def _is(seen: Observed, name: str) -> bool:
    return getattr(seen, name) not in (Job.NONE, Job.GOING)


def _going(job: Job) -> Job:
    return Job.NONE if job is Job.NONE else Job.GOING


def _leaving(claim: Claim) -> Claim:
    return Claim.NONE if claim is Claim.NONE else Claim.GOING
