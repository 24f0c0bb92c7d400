"""Which volumes of a pod are Caches: by their claim's name, or by what we made of it before."""

from typing import Any, Final

from gkm.api import names
from gkm.core.known import Known, KnownCache

Json = dict[str, Any]

_HASH: Final = 13
"""Length of what ends a per-node claim's name."""


def caches_of(pod: Json, spec: Json, namespace: str, known: Known) -> dict[str, KnownCache]:
    """The volumes that are Caches, by name."""
    before = marked(pod)
    found = {}
    for volume, claim in claims_of(spec):
        earlier = known.cache(namespace, before.get(volume, ""))
        if earlier is None or not _made_for(claim, earlier):
            earlier = known.cache(namespace, claim)
        if earlier is not None:
            found[volume] = earlier
    return found


def marked(pod: Json) -> dict[str, str]:
    """What the pod's annotation says was a Cache, and which, when we changed the pod."""
    marks = (pod.get("metadata") or {}).get("annotations") or {}
    said = (marks.get(names.ANNOTATION_MUTATED) or "").split(",")
    return dict(mark.split("=", 1) for mark in said if "=" in mark)


def claims_of(spec: Json) -> list[tuple[str, str]]:
    """Name and claim of each volume that has one."""
    return [
        (volume.get("name") or "", volume["persistentVolumeClaim"].get("claimName") or "")
        for volume in spec.get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    ]


def _made_for(claim: str, cache: KnownCache) -> bool:
    """Whether a claim's name is one of those of a per-node Cache: they differ in their ends only.

    The annotation alone proves nothing: it may have come with a copied pod template.
    """
    pattern = names.waiting_name(cache.key, cache.uid, "")
    return not cache.shared and claim[:-_HASH] == pattern[:-_HASH]
