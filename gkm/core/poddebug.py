"""What the webhook makes of ephemeral containers, which people add to running pods to look inside.

Nothing else of a running pod can be changed: no volume and no init container comes, so a container
gets a layer only where the pod has one already, and otherwise reads the cache itself.
"""

from typing import Any, Final

from gkm.core.known import Known, KnownCache
from gkm.core.podcaches import caches_of, marked
from gkm.core.podlayer import LAYER, free_names, layers
from gkm.core.podmount import Share, check_size, mounting
from gkm.core.podshape import check_pod

Json = dict[str, Any]
_PART: Final = "ephemeralContainers"


def patch_debug(pod: Json, old: Json, namespace: str, known: Known) -> Json:
    """Return the pod with its new ephemeral containers as they shall be; ``old`` is without them.

    Only volumes that were caches when the pod was created count; what became of those caches since
    then does not, for whoever looks inside a pod may do so because of that. Where a Cache is gone,
    its volume is mounted as asked: the pod's volumes are read-only by themselves.

    Raises Rejected.
    """
    check_pod(pod)
    check_pod(old)
    spec: Json = pod.get("spec") or {}
    before = {one.get("name") for one in (old.get("spec") or {}).get(_PART) or ()}
    new = [one for one in spec.get(_PART) or () if one.get("name") not in before]
    marks = marked(pod)
    caches = caches_of(pod, spec, namespace, known).items()
    found = {volume: cache for volume, cache in caches if volume in marks}
    if not new or not found:
        return pod
    check_size(len(found), new)
    shares = _shares(spec, found)
    every = [one if one.get("name") in before else _debug(one, spec, shares) for one in spec[_PART]]
    return pod | {"spec": spec | {_PART: every}}


def _shares(spec: Json, found: dict[str, KnownCache]) -> list[Share]:
    existing, free = layers(spec), free_names(spec, LAYER)
    return [
        Share(volume, cache, existing.get(volume) or free.pop(0)) for volume, cache in found.items()
    ]


def _debug(container: Json, spec: Json, shares: list[Share]) -> Json:
    plain = {share.volume for share in shares} - layers(spec).keys()
    mounts = container.get("volumeMounts") or ()
    if any(mount.get("name") in plain for mount in mounts):
        read = [one | {"readOnly": True} if one.get("name") in plain else one for one in mounts]
        container = container | {"volumeMounts": read}
    return mounting(container, shares)
