"""From objects to states: sorts a Cache's children into copies and says what is there of each.

The only place where claims, Jobs and volumes are looked at together; ``core.copy`` then decides on
the states alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gkm.core import copy as life
from gkm.core import objects
from gkm.core.genuine import has_own_id, is_genuine
from gkm.core.objects import CopyRef
from gkm.core.retry import Failure, waits
from gkm.core.view import Child, Claim, Job, JobPod, View, Volume

POD_PATIENCE, STORAGE_PATIENCE = 3.0, 10.0
"""What a scheduler or a provisioner settles within this (seconds) is not worth a word to a user."""
_EMPTYING_PAUSE = 60.0
_POD_LAG = 30.0
"""How long after a Job's end the end of its pod is waited for."""
_BINDER_PATIENCE = 2.0
"""Creation times are whole seconds: this is between one and two."""
_NUDGE_PAUSE, _LONGEST_NUDGE_PAUSE = 0.5, 60.0
"""A nudge works within 0.3 s or not at all; more of them only get into the binder's way."""


@dataclass(frozen=True)
class Copy:
    """One copy and the objects that are there of it."""

    ref: CopyRef
    home: str
    """GKM's own namespace, where volumes are given back."""
    staging: Claim | None = None
    serving: Claim | None = None
    reclaim: Claim | None = None
    volume: Volume | None = None
    job: Job | None = None
    emptying: Job | None = None
    pods: tuple[JobPod, ...] = ()

    @property
    def serving_name(self) -> str:
        """Name of the serving claim that is there, or for which the volume is reserved."""
        if self.serving is not None:
            return self.serving.name
        volume, ref = self.volume, self.ref
        reserved = volume is not None and volume.claim_namespace == ref.target
        if volume is not None and reserved and volume.claim_name in ref.serving_names:
            return volume.claim_name
        return ref.waiting

    @property
    def failure(self) -> Failure | None:
        """What the staging claim remembers of failed attempts."""
        return Failure.parse(self.staging.failed) if self.staging else None

    def pod_of(self, job: Job | None) -> JobPod | None:
        """The pod of one of the copy's Jobs, the one that ended if there are several."""
        place = (job.namespace, job.uid) if job is not None else None
        mine = [pod for pod in self.pods if (pod.namespace, pod.job_uid) == place]
        ended = [pod for pod in mine if pod.phase in ("Succeeded", "Failed")]
        return next(iter(ended or mine), None)


@dataclass(frozen=True)
class Inputs:
    """What the Cache asks for now; children made from anything else are not fit."""

    claim: str
    job: str
    ours: bool


def copies(view: View, home: str) -> dict[str, Copy]:
    """Every copy of which anything is there, by its id; ``home`` is GKM's own namespace.

    Labels and annotations are what anybody may write into objects of their own, so a child counts
    only where and as GKM itself would have made it.
    """
    found: dict[str, Copy] = {}
    for child in (*view.claims, *view.volumes, *view.jobs):
        slot = _slot(child)
        if slot and _genuine(child, home):
            known = found.get(child.copy) or Copy(_ref(child), home)
            found[child.copy] = replace(known, **{slot: child})  # type: ignore[arg-type]
    pods: dict[str, list[JobPod]] = {}
    for pod in view.pods:
        pods.setdefault(pod.job_uid, []).append(pod)
    return {key: _with_pods(one, pods) for key, one in found.items()}


def _with_pods(one: Copy, pods: Mapping[str, list[JobPod]]) -> Copy:
    jobs = (job for job in (one.job, one.emptying) if job is not None)
    return replace(one, pods=tuple(pod for job in jobs for pod in pods.get(job.uid, ())))


def observe(one: Copy, inputs: Inputs | None, now: float) -> life.Observed:
    """Derive the states of a copy; the caller adds ``wanted`` and ``name_free``.

    ``inputs`` is None where the Cache asks for nothing any more.
    """
    ours = bool(one.volume.host_path) if one.volume else bool(inputs and inputs.ours)
    return life.Observed(
        wanted=False,
        ours=ours,
        kept=_kept(one.volume),
        staging=_claim_state(one.staging, one.volume, inputs, now),
        job=_extracting(one, inputs, now),
        volume=_volume_state(one),
        stale_ref=_stale(one),
        serving=_claim_state(one.serving, one.volume, None, now),
        reclaim=_claim_state(one.reclaim, one.volume, None, now),
        emptying=_emptying(one, now),
        superseded=bool(one.serving and one.serving.superseded),
    )


def wake(one: Copy) -> list[float]:
    """Times at which a state of the copy changes by itself."""
    pending = [c for c in (one.staging, one.serving, one.reclaim) if c and c.phase == "Pending"]
    times = [_next_nudge(claim, one.volume) for claim in pending if one.volume]
    if one.failure is not None and not one.failure.final and one.job is not None:
        times.append(one.failure.due())
    if one.job is not None and one.job.ended:
        times.append(one.job.ended + _POD_LAG)
    if one.emptying is not None:
        times.append(one.emptying.created + _EMPTYING_PAUSE)
    times += [job.created + POD_PATIENCE for job in (one.job, one.emptying) if job is not None]
    if one.volume is not None and one.volume.phase == "Released":
        times.append(one.volume.phase_since + STORAGE_PATIENCE)
    return times


def _slot(child: Child) -> str:
    if isinstance(child, Volume):
        return "volume"
    if isinstance(child, Job):
        return {objects.EXTRACT: "job", objects.EMPTY: "emptying"}.get(child.role, "")
    known = (objects.STAGING, objects.SERVING, objects.RECLAIM)
    return child.role if child.role in known else ""


def _genuine(child: Child, home: str) -> bool:
    if isinstance(child, Volume):
        # Volumes belong to no namespace: whoever may write one is an administrator.
        return has_own_id(_ref(child))
    return is_genuine(_ref(child), child.role, child.namespace, child.name, home)


def _ref(child: Child) -> CopyRef:
    who = (child.copy, child.key, child.cache_uid, child.target, child.digest)
    return CopyRef(*who, child.node, child.node_uid)


def _stale(one: Copy) -> bool:
    """Whether the volume's claimRef carries the uid of a claim that is gone."""
    claims = (one.staging, one.serving, one.reclaim)
    held = one.volume is not None and one.volume.claim_uid
    return bool(held) and all(c is None or c.uid != held for c in claims)


def _claim_state(
    claim: Claim | None, volume: Volume | None, inputs: Inputs | None, now: float
) -> life.Claim:
    if claim is None:
        return life.Claim.NONE
    if claim.deleting:
        return life.Claim.GOING
    if claim.phase == "Lost" or (inputs is not None and claim.input_hash != inputs.claim):
        return life.Claim.UNFIT
    if claim.phase == "Bound":
        return life.Claim.BOUND
    waits = volume is not None and now >= _next_nudge(claim, volume)
    return life.Claim.NUDGE if waits else life.Claim.PENDING


def _next_nudge(claim: Claim, volume: Volume) -> float:
    """When to make the binder look at a pending claim (again); never if it has no volume yet.

    The binder's workers get into each other's way at either of two points: after the volume was
    bound, or before; only the first can be told at once from a binder that is still at work, and
    only for a claim that names its volume (``objects.HOST_PATH_CLASS``).
    """
    patient = volume.storage_class == objects.HOST_PATH_CLASS
    if volume.phase == "Bound" and volume.claim_uid == claim.uid and not patient:
        return claim.nudged + _nudge_pause(claim)
    named = (volume.claim_namespace, volume.claim_name) == (claim.namespace, claim.name)
    if named and volume.claim_uid in ("", claim.uid):
        return max(claim.created + _BINDER_PATIENCE, claim.nudged + _nudge_pause(claim))
    return float("inf")


def _nudge_pause(claim: Claim) -> float:
    """As long as the claim has waited: a binder that is away gets a few nudges, not a stream."""
    return min(_LONGEST_NUDGE_PAUSE, max(_NUDGE_PAUSE, claim.nudged - claim.created))


def _volume_state(one: Copy) -> life.Volume:
    volume = one.volume
    if volume is None:
        held = one.staging is not None and one.staging.volume and one.staging.phase == "Bound"
        return life.Volume.STAGING if held else life.Volume.NONE
    if volume.deleting or _left_to_provisioner(volume, stale=_stale(one)):
        return life.Volume.GOING
    name = (volume.claim_namespace, volume.claim_name)
    if name == (one.ref.target, one.ref.staging):
        return life.Volume.STAGING
    if volume.claim_namespace == one.ref.target and volume.claim_name in one.ref.serving_names:
        return life.Volume.SERVING
    if name == (one.home, one.ref.reclaim) or volume.phase == "Released":
        return life.Volume.RECLAIM
    return life.Volume.TAKEN


def _left_to_provisioner(volume: Volume, *, stale: bool) -> bool:
    """Its claim is gone and the policy is Delete: its provisioner may be deleting it already.

    To take it back now could mean to publish a volume that is being wiped.
    """
    over = stale or volume.phase in ("Released", "Failed")
    return over and volume.reclaim_policy == "Delete" and volume.provisioned


def _kept(volume: Volume | None) -> bool:
    return volume is not None and not volume.provisioned and not volume.host_path


def _extracting(one: Copy, inputs: Inputs | None, now: float) -> life.Job:
    job, staging = one.job, one.staging
    if job is None:
        return life.Job.NONE
    if job.deleting:
        return life.Job.GOING
    if staging is None or job.staging_uid != staging.uid:
        return life.Job.STALE
    pod = one.pod_of(job)
    if pod is not None and pod.phase == "Succeeded" and _said(pod, job):
        return life.Job.DONE
    if inputs is not None and job.input_hash != inputs.job:
        return life.Job.STALE
    if pod is not None and pod.phase in ("Succeeded", "Failed"):
        return _failed(job, one.failure, now)
    # Jobs and pods are two watches: the end of a Job may be seen before that of its pod.
    over = (job.done or job.failed) and now >= job.ended + _POD_LAG
    return _failed(job, one.failure, now) if over else life.Job.RUNNING


def _said(pod: JobPod, job: Job) -> bool:
    return pod.outcome is not None and pod.outcome.digest == job.digest


def _failed(job: Job, failure: Failure | None, now: float) -> life.Job:
    if failure is None or failure.job != job.uid:
        return life.Job.FAILED
    if failure.final:
        return life.Job.REFUSED
    return life.Job.COOLING if waits(failure.due(), now) else life.Job.DUE


def _emptying(one: Copy, now: float) -> life.Job:
    job = one.emptying
    if job is None:
        return life.Job.NONE
    if job.deleting:
        return life.Job.GOING
    pod = one.pod_of(job)
    if job.done or (pod is not None and pod.phase == "Succeeded"):
        return life.Job.DONE
    if job.failed or (pod is not None and pod.phase == "Failed"):
        return life.Job.DUE if now >= job.created + _EMPTYING_PAUSE else life.Job.COOLING
    return life.Job.RUNNING
