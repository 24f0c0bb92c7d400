"""Why something waits, in one line for a user: the only place that puts it into words.

Conditions, events and the per-namespace status all take their words from here.
"""

from dataclasses import dataclass

from gkm.core.copy import Phase
from gkm.core.observe import Copy
from gkm.core.view import Trouble, Use

PENDING = "Pending"
DOWNLOADING = "Downloading"
EXTRACTED = "Extracted"
OUTDATED = "Outdated"
ERROR = "Error"
DELETING = "Deleting"


# One text from the first byte until it is served: the last steps take less than a second, and are
# not worth a write of the status.
_COPYING = "the image is being copied into the volume"


@dataclass(frozen=True)
class State:
    """What a user sees of one target: a word of the STATUS column and the reason behind it."""

    word: str
    message: str = ""


def of_copy(one: Copy | None, phase: Phase, trouble: Trouble | None) -> State:
    """Explain a wanted copy."""
    if phase is Phase.PUBLISHED:
        return State(EXTRACTED)
    failure = one.failure if one else None
    if failure is not None and phase is Phase.FILLING:
        return State(
            ERROR, _failed(failure.reason, failure.message, failure.attempts, failure.final)
        )
    if trouble is not None:
        return State(ERROR, f"{trouble.reason}: {trouble.message}")
    if one is None or phase is Phase.ABSENT:
        return State(PENDING, "the volume claim for the extraction is being created")
    return _waiting(one, phase)


def of_retiring(one: Copy, use: Use | None) -> str:
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
    if one.volume is not None and one.volume.phase == "Failed":
        name = one.volume.name
        return f"volume {name} could not be deleted: kubectl describe pv {name} says why"
    return f"the copy in namespace {one.ref.target} is being removed"


def outdated(use: Use | None, newer: State) -> State:
    """Explain a target that an older copy serves."""
    if newer.word == ERROR:
        return State(OUTDATED, f"the earlier image serves; the new one: {newer.message}")
    if use is not None and use.pods:
        waits = f"the new image waits for {_some(use.pods)}: delete them or scale them to zero"
        return State(OUTDATED, waits)
    return State(OUTDATED, "the earlier image serves until the new one is ready")


def _some(pods: tuple[str, ...]) -> str:
    more = f" and {len(pods) - 5} more" if len(pods) > 5 else ""
    return f"{'pod' if len(pods) == 1 else 'pods'} {', '.join(pods[:5])}{more}"


def _waiting(one: Copy, phase: Phase) -> State:
    if phase is Phase.FILLING:
        pod = one.pod_of(one.job)
        if pod is not None and pod.waiting:
            return State(PENDING, f"extraction pod {pod.name}: {pod.waiting}")
        return State(DOWNLOADING, _COPYING)
    messages = {
        Phase.FILLED: _COPYING,
        Phase.RESERVED: _COPYING,
        Phase.BLOCKED: "an object of this name, or its volume, is in other hands or going away",
        Phase.RETIRING: "an earlier copy is being removed first",
        Phase.LOST: "the volume is gone: the cache is extracted again once no pod uses the claim",
    }
    word = DOWNLOADING if phase in (Phase.FILLED, Phase.RESERVED) else PENDING
    return State(word, messages.get(phase, ""))


def _failed(reason: str, message: str, attempts: int, final: bool) -> str:
    if final:
        return f"{reason}: {message} (not tried again until the Cache's spec changes)"
    tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return f"{reason}: {message} ({tries}; tried again within 5 minutes)"
