"""Why something waits, in one line for a user: the only place that puts it into words.

Conditions, events and the per-namespace status all take their words from here.
"""

from dataclasses import dataclass

from gkm.api import names
from gkm.core.copy import Phase
from gkm.core.copy import Volume as VolumeState
from gkm.core.judge import Judged
from gkm.core.observe import POD_PATIENCE, STORAGE_PATIENCE, Copy
from gkm.core.outcome import Outcome
from gkm.core.parse import NOT_READY
from gkm.core.retry import QUOTA_EXCEEDED, Failure
from gkm.core.view import Claim, Job, JobPod, Trouble, Use, View, Volume

PENDING = "Pending"
DOWNLOADING = "Downloading"
EXTRACTED = "Extracted"
RUNNING = "Running"
OUTDATED = names.OUTDATED
ERROR = "Error"
DELETING = names.DELETING


# One text from the first byte until it is served: the last steps take less than a second, and are
# not worth a write of the status.
_COPYING = "the image is being copied into the volume"
_WAITING = {
    Phase.RETIRING: "an earlier copy is being removed first",
    Phase.LOST: "the volume is gone: the cache is extracted again once no pod uses the claim",
}


@dataclass(frozen=True)
class State:
    """What a user sees of one target: a word of the STATUS column and the reason behind it."""

    word: str
    message: str = ""
    reason: str = ""
    """The failure's own word, where one failed."""
    outcome: Outcome | None = None
    """What the extraction said in the end, where it is known."""


def of_copy(view: View, one: Judged, now: float) -> State:
    """Explain a wanted copy."""
    copy, phase = one.copy, one.phase
    if phase is Phase.PUBLISHED:
        said = "" if copy.ref.node_uid else _unreachable(copy.volume)
        return State(EXTRACTED, said, outcome=copy.volume.outcome if copy.volume else None)
    if one.held:
        return State(PENDING, one.held)
    failure = copy.failure
    if failure is not None and phase is Phase.FILLING:
        return State(ERROR, _failed(failure), failure.reason)
    if one.trouble is not None:
        return refused(one.trouble)
    if phase is Phase.ABSENT and copy.volume is None:
        return State(PENDING, "the volume claim for the extraction is being created")
    if phase is Phase.FILLING:
        return _filling(view, copy, now)
    if phase in (Phase.ABSENT, Phase.FILLED, Phase.RESERVED):
        return State(DOWNLOADING, _COPYING)
    return State(PENDING, _WAITING.get(phase) or _blocked(view, one))


def of_retiring(view: View, one: Judged, now: float) -> str:
    """Say what keeps a copy that is no longer wanted."""
    copy, use = one.copy, use_of(view, one.copy.serving)
    claim = f"claim {copy.ref.target}/{copy.serving_name}"
    if use is not None and use.pods:
        return f"{claim} is used by {_some(use.pods)}: delete them or scale them to zero"
    if copy.serving is not None and copy.serving.deleting and use is not None and use.finished:
        return f"{claim} stays while finished pods name it: delete {_some(use.finished)}"
    if one.trouble is not None:
        return f"{claim} cannot be cleared away: {refused(one.trouble).message}"
    return (
        _reclaiming(view, copy, now) or f"the copy in namespace {copy.ref.where} is being removed"
    )


def use_of(view: View, claim: Claim | None) -> Use | None:
    """What the pod lists said of a claim."""
    return view.uses.get(claim.uid) if claim is not None else None


def _reclaiming(view: View, copy: Copy, now: float) -> str:
    """What the way of the volume waits for; empty while all goes well."""
    job, volume = copy.emptying, copy.volume
    pod = copy.pod_of(job)
    if pod is not None and pod.phase == "Failed":
        why = pod.outcome.message if pod.outcome else pod.ended
        return f"volume {copy.ref.volume} could not be emptied: {why}"
    if job is not None and now >= job.created + POD_PATIENCE:
        waits = _of_job(view, job, pod)
        return f"volume {copy.ref.volume} is being emptied by {waits}" if waits else ""
    if volume is not None and _left_behind(volume, now):
        return _deleting(volume)
    return ""


def _of_job(view: View, job: Job, pod: JobPod | None) -> str:
    """What a Job that does not get on waits for, in the words of whoever knows."""
    if pod is not None and pod.waiting:
        return f"pod {pod.name}: {pod.waiting}"
    if pod is not None and _unheard(view, pod):
        return (
            f"pod {pod.name} is on node {pod.node}, which is not ready: it goes on when the node "
            "is back, and begins anew once the Node object is deleted"
        )
    behind = f"pod {pod.name}" if pod is not None else f"Job {job.name}"
    said = _heard(view, pod.uid if pod is not None else job.uid, log=False)
    return f"{behind}: {said}" if said else ""


def _unheard(view: View, pod: JobPod) -> bool:
    node = view.nodes.get(pod.node)
    return node is not None and node.trouble == NOT_READY


def _deleting(volume: Volume) -> str:
    name = volume.name
    return f"volume {name} is being deleted by its provisioner: kubectl describe pv {name}"


def _left_behind(volume: Volume, now: float) -> bool:
    """Whether a provisioner takes its time to delete the volume, or has given up."""
    late = volume.provisioned and now >= volume.phase_since + STORAGE_PATIENCE
    return volume.phase == "Failed" or (volume.phase == "Released" and late)


def outdated(use: Use | None, newer: State) -> State:
    """Explain a target that an older copy serves."""
    if newer.word == ERROR:
        instead = ", or delete the Cache and create it again"
        more = instead if newer.reason == QUOTA_EXCEEDED else ""
        return State(OUTDATED, f"the earlier image serves; the new one: {newer.message}{more}")
    if use is not None and use.pods:
        waits = f"the new image waits for {_some(use.pods)}: delete them or scale them to zero"
        return State(OUTDATED, waits)
    return State(OUTDATED, "the earlier image serves until the new one is ready")


def _some(pods: tuple[str, ...]) -> str:
    more = f" and {len(pods) - 5} more" if len(pods) > 5 else ""
    return f"{'pod' if len(pods) == 1 else 'pods'} {', '.join(pods[:5])}{more}"


def _filling(view: View, copy: Copy, now: float) -> State:
    claim, job, pod = copy.staging, copy.job, copy.pod_of(copy.job)
    if job is None or now < job.created + POD_PATIENCE:
        return State(DOWNLOADING, _COPYING)
    if claim is not None and claim.phase == "Pending":
        lacking = "" if copy.volume else no_class(view)
        if lacking and pod is not None and pod.waiting:
            return State(ERROR, lacking)
        said = _heard(view, claim.uid, log=False)
        if said:
            return State(PENDING, f"claim {claim.name}: {said}")
    waits = _of_job(view, job, pod)
    if waits:
        return State(PENDING, f"extraction {waits}")
    far = _heard(view, pod.uid, log=True) if pod is not None and pod.started else ""
    return State(DOWNLOADING, f"{_COPYING}: {far}" if far else _COPYING)


def _heard(view: View, uid: str, *, log: bool) -> str:
    """What events, or the log, said last of a child."""
    said = view.said.get(uid)
    return said.message if said is not None and said.log is log else ""


def no_class(view: View) -> str:
    """Say that the storage class which the Cache asks for does not exist; empty if it does."""
    wanted = view.cache.spec.storage_class_name if view.cache else None
    if wanted in view.classes:
        return ""
    known = ", ".join(sorted(view.classes)) or "none"
    again = f"delete the Cache and create it again with one that exists ({known})"
    if wanted:
        return f"there is no StorageClass {wanted}: create it, or {again}"
    if any(found.default for found in view.classes.values()):
        return ""
    return (
        "spec.storageClassName is not set and the cluster has no default StorageClass: "
        f"make one the default, or {again}"
    )


def refused(trouble: Trouble) -> State:
    """Say why something could not be done."""
    said = f"{trouble.reason}: {trouble.message}"
    more = "; raise the quota" if trouble.reason == QUOTA_EXCEEDED else ""
    return State(ERROR, said + more, trouble.reason)


def _unreachable(volume: Volume | None) -> str:
    if volume is None or not volume.nodes:
        return ""
    return (
        f"volume {volume.name} can be reached from nodes with {volume.nodes} only, pods elsewhere "
        "stay Pending: use storage that all nodes share"
    )


def _blocked(view: View, one: Judged) -> str:
    """Say what stands in the way of a copy that may not move."""
    copy, volume = one.copy, one.copy.volume
    going = next((c for c in (copy.serving, copy.staging) if c and c.deleting), None)
    if going is not None:
        use = use_of(view, going)
        waits = f", which finished {_some(use.finished)} hold up" if use and use.finished else ""
        return f"claim {going.namespace}/{going.name} is being deleted{waits}"
    if volume is not None and one.seen.volume is VolumeState.GOING:
        return _deleting(volume)
    if volume is not None and one.seen.volume is VolumeState.TAKEN:
        holder = f"{volume.claim_namespace}/{volume.claim_name}"
        return f"volume {volume.name} is held by claim {holder}, which is not this Cache's"
    here = (copy.ref.target, copy.serving_name)
    uses = [use_of(view, c) for c in view.claims if (c.namespace, c.name) == here]
    users = next((f", used by {_some(use.pods)}" for use in uses if use and use.pods), "")
    return f"claim {'/'.join(here)} still belongs to another Cache of this name{users}"


def _failed(failure: Failure) -> str:
    said = f"{failure.reason}: {failure.message}"
    if failure.final:
        return f"{said} (not tried again until the Cache's spec changes)"
    tries = "1 attempt" if failure.attempts == 1 else f"{failure.attempts} attempts"
    return f"{said} ({tries}; tried again within 5 minutes)"
