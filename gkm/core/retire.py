"""When a serving claim may be deleted: the proof that nobody uses it.

Two live lists of the pods that name the claim, at least five seconds apart, both empty. A list
that failed proves nothing; a pod that is not finished uses the claim, scheduled or not.
"""

from collections.abc import Iterable
from typing import Any

from gkm.core.view import Use

Json = dict[str, Any]
APART = 5.0
_LONGEST, _LONGEST_UNSEEN = 60.0, 15.0
_STALE = 3 * APART
"""A list from longer ago says nothing about the time since."""


def unused_since_two_lists(use: Use | None, now: float) -> bool:
    """Whether the proof stands: two empty lists, five seconds apart, the later one fresh."""
    if use is None or use.free_since is None:
        return False
    return use.checked - use.free_since >= APART and 0 <= now - use.checked < APART


def noted(earlier: Use | None, pods: Iterable[Json], claim: str, now: float) -> Use:
    """Add one live list (API JSON, the claim's namespace) to what is known of the claim's use."""
    naming = [pod for pod in pods if claim in _claims(pod)]
    users = _names(pod for pod in naming if not _finished(pod))
    finished = _names(pod for pod in naming if _finished(pod))
    if users:
        return Use(users, now, None, (earlier.used_lists if earlier else 0) + 1, finished)
    unbroken = earlier is not None and 0 <= now - earlier.checked <= _STALE
    free = earlier.free_since if earlier is not None and unbroken else None
    return Use((), now, now if free is None else free, 0, finished)


def slim(pod: Json) -> Json:
    """What ``noted`` reads of a pod (API JSON): users may make them large."""
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    key = "persistentVolumeClaim"
    kept = [{key: volume[key]} for volume in volumes if key in volume]
    status = {"phase": (pod.get("status") or {}).get("phase")}
    name = {"name": pod["metadata"]["name"]}
    return {"metadata": name, "spec": {"volumes": kept}, "status": status}


def next_list(use: Use, *, seen: bool) -> float:
    """Time of the next list: five seconds on, growing to a minute while pods stay.

    A ``use`` from the future is of a clock that was wrong: the caller lists at once.

    ``seen``: agents report pods that use the claim, and will report their end. Of others, such as
    pods that no node runs yet, nobody tells.
    """
    if not use.pods:
        return use.checked + APART
    longest = _LONGEST if seen else _LONGEST_UNSEEN
    return use.checked + min(longest, APART * 2.0 ** min(use.used_lists - 1, 5))


def _names(pods: Iterable[Json]) -> tuple[str, ...]:
    return tuple(sorted(pod["metadata"]["name"] for pod in pods))


def _finished(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _claims(pod: Json) -> set[str]:
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return {(v.get("persistentVolumeClaim") or {}).get("claimName", "") for v in volumes}
