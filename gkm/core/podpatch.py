"""What the webhook makes of a pod: claims for Caches' names, layers, second mounts, variables.

Pure, and the same again on its own result, also when the picture has changed in between: then only
the claims are others. What is not changed is shared with the pod that came in, so nothing is lost.
"""

import posixpath
from dataclasses import dataclass
from typing import Any, Final

from gkm.api import names
from gkm.api.errors import Rejected
from gkm.core.known import Known, KnownCache
from gkm.core.podlayer import Program, free_names, layer_container, layer_volume, layers, side
from gkm.core.podnode import node_of
from gkm.core.podshape import is_pod

Json = dict[str, Any]

_HASH: Final = 13
"""Length of what ends a per-node claim's name."""
_PARTS: Final = ("initContainers", "containers", "ephemeralContainers")
_MOST: Final = 20_000
"""Caches times mounts: the work grows with it while others wait, here to a tenth of a second."""


@dataclass(frozen=True)
class Share:
    """One volume of the pod that is a Cache."""

    volume: str
    cache: KnownCache
    claim: str
    layer: str
    """Name of the layer over it, should a container want one."""


def patch(pod: Json, namespace: str, known: Known, program: Program) -> Json:
    """Return the pod as it shall be; ``namespace`` is where it is created.

    Raises Rejected, in words for whoever creates the pod.
    """
    if not is_pod(pod):
        raise Rejected("Malformed", "this is no pod: a field has a value of another type")
    spec: Json = pod.get("spec") or {}
    shares = _shares(pod, spec, namespace, known)
    meta: Json = pod.get("metadata") or {}
    marks = ",".join(f"{share.volume}={share.cache.key.name}" for share in shares)
    annotations = (meta.get("annotations") or {}) | {names.ANNOTATION_MUTATED: marks}
    return pod | {
        "metadata": meta | {"annotations": annotations},
        "spec": _patched(spec, shares, program),
    }


def _shares(pod: Json, spec: Json, namespace: str, known: Known) -> list[Share]:
    found = _caches(pod, spec, namespace, known)
    if not found:
        raise _no_cache(spec, namespace)
    if len(found) * (len(found) + _size(spec)) > _MOST:
        raise Rejected("TooLarge", "the pod has too many caches, containers, mounts and variables")
    for cache in found.values():
        if cache.deleting:
            raise Rejected(
                "CacheDeleting",
                f"{_named(cache)} is being deleted: wait until it is gone, then create it again",
            )
    node_uid = _node_uid(spec, found, known)
    existing, free = layers(spec), free_names(spec)
    return [
        Share(
            volume,
            cache,
            known.claim(cache, namespace, node_uid),
            existing.get(volume) or free.pop(0),
        )
        for volume, cache in found.items()
    ]


def _caches(pod: Json, spec: Json, namespace: str, known: Known) -> dict[str, KnownCache]:
    """The volumes that are Caches: by their claim's name, or by what we made of it before."""
    marks = (pod.get("metadata") or {}).get("annotations") or {}
    before = dict(
        mark.split("=", 1)
        for mark in (marks.get(names.ANNOTATION_MUTATED) or "").split(",")
        if "=" in mark
    )
    found = {}
    for volume, claim in _claims(spec):
        earlier = known.cache(namespace, before.get(volume, ""))
        if earlier is None or not _made_for(claim, earlier):
            earlier = known.cache(namespace, claim)
        if earlier is not None:
            found[volume] = earlier
    return found


def _claims(spec: Json) -> list[tuple[str, str]]:
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


def _no_cache(spec: Json, namespace: str) -> Rejected:
    claims = ", ".join(sorted({claim for _, claim in _claims(spec)}))
    said = f"its claims are: {claims}" if claims else "it has none"
    return Rejected(
        "NoCache",
        f'the pod is labelled {names.LABEL_MUTATION}="true", but no volume claim of it is called '
        f"like a GKM cache in namespace {namespace} ({said}): create the GKMCache first, or list "
        "the namespace in workloadNamespaces of a ClusterGKMCache; a controller then creates the "
        "pod again by itself. A pod without caches needs no such label",
    )


def _node_uid(spec: Json, found: dict[str, KnownCache], known: Known) -> str:
    """Uid of the pod's node; empty where every Cache is shared."""
    cache = next((cache for cache in found.values() if not cache.shared), None)
    if cache is None:
        return ""
    node = node_of(spec, known.hosts)
    if not node:
        raise Rejected(
            "NoNode",
            f"{_named(cache)} has one volume per node, so the pod's node must be known when it is "
            "created: use a DaemonSet, or set spec.nodeName or a nodeSelector on "
            "kubernetes.io/hostname; or give the cache storage that all nodes share "
            "(accessModes: [ReadOnlyMany])",
        )
    if node not in known.nodes:
        raise Rejected(
            "UnknownNode", f"the pod is meant for node {node}, and the cluster has no such node"
        )
    return known.nodes[node]


def _named(cache: KnownCache) -> str:
    place = f"{cache.key.namespace}/" if cache.key.namespace else ""
    return f"{cache.key.kind} {place}{cache.key.name}"


def _patched(spec: Json, shares: list[Share], program: Program) -> Json:
    claims = {share.volume: share.claim for share in shares}
    ours = {share.layer for share in shares} & set(layers(spec).values())
    new = {"volumes": [_claiming(volume, claims) for volume in spec.get("volumes") or ()]}
    for part in _PARTS:
        if spec.get(part):
            new[part] = [
                one if one.get("name") in ours else _mounting(one, shares) for one in spec[part]
            ]
    return _with_layers(spec | new, shares, program)


def _claiming(volume: Json, claims: dict[str, str]) -> Json:
    claim = claims.get(volume.get("name") or "")
    if claim is None:
        return volume
    source = volume["persistentVolumeClaim"] | {"claimName": claim, "readOnly": True}
    return volume | {"persistentVolumeClaim": source}


def _mounting(container: Json, shares: list[Share]) -> Json:
    """A container with everything that belongs to the caches which it mounts."""
    for share in shares:
        mounts: list[Json] = container.get("volumeMounts") or []
        if any(mount.get("name") in (share.volume, share.layer) for mount in mounts):
            env = _environment(container.get("env") or [], share.cache)
            container = container | {"volumeMounts": _mounts(mounts, share)}
            container |= {"env": env} if env else {}
    return container


def _mounts(mounts: list[Json], share: Share) -> list[Json]:
    new = [mount | {"name": share.layer} if _writable(mount, share) else mount for mount in mounts]
    layered = any(mount.get("name") == share.layer for mount in new)
    paths = {posixpath.normpath(mount.get("mountPath") or "/") for mount in new}
    if share.cache.mount_path not in paths:
        # Paths inside the cache were rewritten to it.
        what = {"name": share.layer} if layered else {"name": share.volume, "readOnly": True}
        new.append(what | {"mountPath": share.cache.mount_path})
    if layered and side(share.volume) not in paths:
        new.append({"name": share.volume, "mountPath": side(share.volume), "readOnly": True})
    return new


def _writable(mount: Json, share: Share) -> bool:
    return mount.get("name") == share.volume and not mount.get("readOnly")


def _environment(env: list[Json], cache: KnownCache) -> list[Json]:
    have = {variable.get("name") for variable in env}
    missing = [name for name in cache.environment if name not in have]
    return [*env, *({"name": name, "value": cache.mount_path} for name in missing)]


def _containers(spec: Json) -> list[Json]:
    """Every container of the pod, of whatever kind."""
    return [container for part in _PARTS for container in spec.get(part) or ()]


def _size(spec: Json) -> int:
    """How much there is to look at for each cache."""
    parts = ("volumeMounts", "env")
    return sum(1 + len(one.get(part) or ()) for one in _containers(spec) for part in parts)


def _with_layers(spec: Json, shares: list[Share], program: Program) -> Json:
    """Add the volumes and init containers of the layers that are mounted and not yet there."""
    mounted = {m.get("name") for one in _containers(spec) for m in one.get("volumeMounts") or ()}
    there = set(layers(spec).values())
    new = [share for share in shares if share.layer in mounted - there]
    if not new:
        return spec
    fill = [layer_container(spec, share.volume, share.layer, program) for share in new]
    return spec | {
        "volumes": [*spec["volumes"], *(layer_volume(share.layer) for share in new)],
        "initContainers": [*fill, *(spec.get("initContainers") or ())],
    }
