"""When a serving claim may be deleted: the proof that nobody uses it.

Two live lists of the pods that name the claim, at least five seconds apart, both empty. A list
that failed proves nothing; a pod that is not finished uses the claim, scheduled or not.
"""

from collections.abc import Iterable
from typing import Any

from gkm.core.view import Use

APART = 5.0
_LONGEST = 60.0


def unused_since_two_lists(use: Use | None, now: float) -> bool:
    """Whether the proof stands: two empty lists, five seconds apart, the later one fresh."""
    if use is None or use.free_since is None:
        return False
    return use.checked - use.free_since >= APART and now - use.checked < APART


def pods_using(pods: Iterable[dict[str, Any]], claim: str) -> tuple[str, ...]:
    """Names of the pods (API JSON, one namespace) that name the claim and are not finished."""
    return tuple(
        sorted(
            pod["metadata"]["name"]
            for pod in pods
            if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
            and claim in _claims(pod)
        )
    )


def noted(earlier: Use | None, pods: tuple[str, ...], now: float) -> Use:
    """Add one live list to what is known of a claim's use."""
    if pods:
        return Use(pods, now, None, (earlier.used_lists if earlier else 0) + 1)
    free = earlier.free_since if earlier and earlier.free_since is not None else now
    return Use((), now, free)


def next_list(use: Use) -> float:
    """Time of the next list: five seconds on, growing to a minute while pods stay."""
    if not use.pods:
        return use.checked + APART
    return use.checked + min(_LONGEST, APART * 2.0 ** min(use.used_lists - 1, 5))


def _claims(pod: dict[str, Any]) -> set[str]:
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return {(v.get("persistentVolumeClaim") or {}).get("claimName", "") for v in volumes}
