"""Why something waits, in one line for a user: the only place that puts it into words.

Conditions, events and the per-namespace status all take their words from here.
"""

from dataclasses import dataclass

from gkm.core.copy import Phase
from gkm.core.judge import Judged
from gkm.core.observe import POD_PATIENCE, STORAGE_PATIENCE, Copy
from gkm.core.retry import QUOTA_EXCEEDED
from gkm.core.view import Trouble, Use, View, Volume

PENDING = "Pending"
DOWNLOADING = "Downloading"
EXTRACTED = "Extracted"
OUTDATED = "Outdated"
ERROR = "Error"
DELETING = "Deleting"


# One text from the first byte until it is served: the last steps take less than a second, and are
# not worth a write of the status.
_COPYING = "the image is being copied into the volume"
_RAISE = "raise the quota"
_WAITING = {
    Phase.RETIRING: "an earlier copy is being removed first",
    Phase.LOST: "the volume is gone: the cache is extracted again once no pod uses the claim",
}


@dataclass(frozen=True)
class State:
    """What a user sees of one target: a word of the STATUS column and the reason behind it."""

    word: str
    message: str = ""


def of_copy(view: View, one: Judged, now: float) -> State:
    """Explain a wanted copy."""
    copy, phase = one.copy, one.phase
    if phase is Phase.PUBLISHED:
        return State(EXTRACTED, _unreachable(copy.volume))
    failure = copy.failure
    if failure is not None and phase is Phase.FILLING:
        return State(
            ERROR, _failed(failure.reason, failure.message, failure.attempts, failure.final)
        )
    if one.trouble is not None:
        return State(ERROR, refused(one.trouble))
    if phase is Phase.ABSENT:
        return State(PENDING, "the volume claim for the extraction is being created")
    if phase is Phase.FILLING:
        return _filling(view, copy, now)
    if phase in (Phase.FILLED, Phase.RESERVED):
        return State(DOWNLOADING, _COPYING)
    return State(PENDING, _WAITING.get(phase) or _blocked(view, copy))


def of_retiring(one: Copy, use: Use | None, now: float) -> str:
    """Say what keeps a copy that is no longer wanted."""
    claim = f"claim {one.ref.target}/{one.ref.serving}"
    if use is not None and use.pods:
        return f"{claim} is used by {_some(use.pods)}: delete them or scale them to zero"
    if one.serving is not None and one.serving.deleting and use is not None and use.finished:
        return f"{claim} stays while finished pods name it: delete {_some(use.finished)}"
    pod = one.pod_of(one.emptying)
    if pod is not None and pod.phase == "Failed":
        why = pod.outcome.message if pod.outcome else pod.ended
        return f"volume {one.ref.volume} could not be emptied: {why}"
    late = one.emptying is not None and now >= one.emptying.created + POD_PATIENCE
    if pod is not None and pod.waiting and late:
        return f"volume {one.ref.volume} is being emptied by pod {pod.name}: {pod.waiting}"
    if one.volume is not None and _left_behind(one.volume, now):
        name = one.volume.name
        return f"volume {name} is being deleted by its provisioner: kubectl describe pv {name}"
    return f"the copy in namespace {one.ref.target} is being removed"


def _left_behind(volume: Volume, now: float) -> bool:
    """Whether a provisioner takes its time to delete the volume, or has given up."""
    late = now >= volume.phase_since + STORAGE_PATIENCE
    return volume.phase == "Failed" or (volume.phase == "Released" and late)


def outdated(use: Use | None, newer: State) -> State:
    """Explain a target that an older copy serves."""
    if newer.word == ERROR:
        instead = ", or delete the Cache and create it again"
        more = instead if newer.message.endswith(_RAISE) else ""
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
        if claim.uid in view.said and view.said[claim.uid].message:
            return State(PENDING, f"claim {claim.name}: {view.said[claim.uid].message}")
    if pod is not None and pod.waiting:
        return State(PENDING, f"extraction pod {pod.name}: {pod.waiting}")
    if pod is None and job.uid in view.said and view.said[job.uid].message:
        return State(PENDING, f"extraction Job {job.name}: {view.said[job.uid].message}")
    return State(DOWNLOADING, _COPYING)


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


def refused(trouble: Trouble) -> str:
    """Say why something could not be done."""
    said = f"{trouble.reason}: {trouble.message}"
    return f"{said}; {_RAISE}" if trouble.reason == QUOTA_EXCEEDED else said


def _unreachable(volume: Volume | None) -> str:
    if volume is None or not volume.nodes:
        return ""
    return (
        f"volume {volume.name} can be reached from nodes with {volume.nodes} only, pods elsewhere "
        "stay Pending: use storage that all nodes share"
    )


def _blocked(view: View, copy: Copy) -> str:
    """Say what stands in the way of a copy that may not move."""
    here, volume = (copy.ref.target, copy.ref.serving), copy.volume
    going = next((c for c in (copy.serving, copy.staging) if c and c.deleting), None)
    if going is not None:
        use = view.uses.get(going.uid)
        waits = f", which finished {_some(use.finished)} hold up" if use and use.finished else ""
        return f"claim {going.namespace}/{going.name} is being deleted{waits}"
    if volume is not None and (volume.deleting or copy.ref.target != volume.claim_namespace):
        return f"volume {volume.name} is being deleted, or in other hands"
    holders = [c for c in view.claims if (c.namespace, c.name) == here]
    uses = [view.uses[c.uid].pods for c in holders if c.uid in view.uses]
    users = next((f", used by {_some(pods)}" for pods in uses if pods), "")
    return f"claim {'/'.join(here)} still belongs to another Cache of this name{users}"


def _failed(reason: str, message: str, attempts: int, final: bool) -> str:
    if final:
        return f"{reason}: {message} (not tried again until the Cache's spec changes)"
    tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return f"{reason}: {message} ({tries}; tried again within 5 minutes)"
