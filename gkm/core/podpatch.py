"""What the webhook makes of a pod: claims for Caches' names, layers, second mounts, variables.

Pure, and the same again on its own result, also when the picture has changed in between: then only
the claims are others. What is not changed is shared with the pod that came in, so nothing is lost.
"""

from dataclasses import dataclass
from typing import Any

from gkm.api import names
from gkm.core.known import Known, KnownCache
from gkm.core.podcaches import caches_of, claims_of
from gkm.core.podlayer import (
    CHECK,
    LAYER,
    Program,
    check_container,
    checks,
    free_names,
    layer_container,
    layer_volume,
    layers,
)
from gkm.core.podmount import PARTS, Share, check_size, containers_of, mounted, mounting
from gkm.core.podnode import node_of
from gkm.core.podshape import check_pod
from gkm.core.podwords import deleting, no_cache, no_node, unknown_node, waits

Json = dict[str, Any]


@dataclass(frozen=True)
class Patched:
    """The pod as it shall be, and what whoever creates it should know."""

    pod: Json
    warnings: tuple[str, ...] = ()


def patch(pod: Json, namespace: str, known: Known, program: Program) -> Patched:
    """Say what becomes of a pod; ``namespace`` is where it is created.

    Raises Rejected, in words for whoever creates the pod.
    """
    check_pod(pod)
    spec: Json = pod.get("spec") or {}
    found = _found(pod, spec, namespace, known)
    node = _node(spec, found, known)
    shares = _shares(spec, found, namespace, known, known.nodes.get(node, ""))
    meta: Json = pod.get("metadata") or {}
    marks = ",".join(f"{share.volume}={share.cache.key.name}" for share in shares)
    annotations = (meta.get("annotations") or {}) | {names.ANNOTATION_MUTATED: marks}
    changed = {"metadata": meta | {"annotations": annotations}}
    waiting = dict.fromkeys(share.cache for share in shares if share.waits)
    return Patched(
        pod | changed | {"spec": _patched(spec, shares, program)},
        tuple(waits(cache, node) for cache in waiting),
    )


def _found(pod: Json, spec: Json, namespace: str, known: Known) -> dict[str, KnownCache]:
    found = caches_of(pod, spec, namespace, known)
    if not found:
        raise no_cache((claim for _, claim in claims_of(spec)), namespace)
    check_size(len(found), containers_of(spec))
    for cache in found.values():
        if cache.deleting:
            raise deleting(cache)
    return found


def _node(spec: Json, found: dict[str, KnownCache], known: Known) -> str:
    """Name of the pod's node; empty where every Cache is shared."""
    cache = next((cache for cache in found.values() if not cache.shared), None)
    if cache is None:
        return ""
    node = node_of(spec, known.hosts)
    if not node:
        raise no_node(cache)
    if node not in known.nodes:
        raise unknown_node(node)
    return node


def _shares(
    spec: Json, found: dict[str, KnownCache], namespace: str, known: Known, node_uid: str
) -> list[Share]:
    existing, free = layers(spec), free_names(spec, LAYER)
    return [
        Share(
            volume,
            cache,
            existing.get(volume) or free.pop(0),
            known.claim(cache, namespace, node_uid),
            known.waits(cache, namespace, node_uid),
        )
        for volume, cache in found.items()
    ]


def _patched(spec: Json, shares: list[Share], program: Program) -> Json:
    claims = {share.volume: share.claim for share in shares}
    ours = {share.layer for share in shares} & set(layers(spec).values())
    ours |= {name for volume, name in checks(spec).items() if volume in claims}
    new = {"volumes": [_claiming(volume, claims) for volume in spec.get("volumes") or ()]}
    for part in PARTS:
        if spec.get(part):
            new[part] = [
                one if one.get("name") in ours else mounting(one, shares) for one in spec[part]
            ]
    return _with_checks(_with_layers(spec | new, shares, program), shares, program)


def _claiming(volume: Json, claims: dict[str, str]) -> Json:
    claim = claims.get(volume.get("name") or "")
    if claim is None:
        return volume
    source = volume["persistentVolumeClaim"] | {"claimName": claim, "readOnly": True}
    return volume | {"persistentVolumeClaim": source}


def _with_layers(spec: Json, shares: list[Share], program: Program) -> Json:
    """Add the volumes and init containers of the layers that are mounted and not yet there."""
    missing = mounted(containers_of(spec)) - set(layers(spec).values())
    new = [share for share in shares if share.layer in missing]
    if not new:
        return spec
    fill = [layer_container(spec, share.volume, share.layer, program) for share in new]
    return spec | {
        "volumes": [*spec["volumes"], *(layer_volume(share.layer) for share in new)],
        "initContainers": [*fill, *(spec.get("initContainers") or ())],
    }


def _with_checks(spec: Json, shares: list[Share], program: Program) -> Json:
    """Add an init container for each per-node volume that is mounted and has no layer.

    A node that was replaced under its name may come with an empty folder where the volume was, and
    the pod would run on nothing; the layer's program looks by itself. A shared volume lies on no
    node, so no node that goes takes its content with it, and its pods are spared the container.
    """
    missing = mounted(containers_of(spec)) - layers(spec).keys() - checks(spec).keys()
    wanted = [one.volume for one in shares if one.volume in missing and not one.cache.shared]
    if not wanted:
        return spec
    free = free_names(spec, CHECK)
    new = [check_container(spec, volume, free.pop(0), program) for volume in wanted]
    return spec | {"initContainers": [*new, *(spec.get("initContainers") or ())]}
