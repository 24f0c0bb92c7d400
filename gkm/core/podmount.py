"""What a container gets that mounts a Cache: the layer or the volume, a second mount, variables.

Also how much there is to look at in a pod, because that is what the work grows with.
"""

import posixpath
from dataclasses import dataclass
from typing import Any, Final

from gkm.api.errors import Rejected
from gkm.core.known import KnownCache
from gkm.core.podlayer import side

Json = dict[str, Any]

PARTS: Final = ("initContainers", "containers")
_MOST: Final = 20_000
"""Caches times mounts: the work grows with it while others wait, here to a tenth of a second."""


@dataclass(frozen=True)
class Share:
    """One volume of the pod that is a Cache."""

    volume: str
    cache: KnownCache
    layer: str
    """Name of the layer over it, should a container want one."""
    claim: str = ""
    """The claim that the volume gets; empty where volumes stay as they are."""
    waits: bool = False
    """Whether the claim is one that is still to come."""


def mounting(container: Json, shares: list[Share]) -> Json:
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


def mounted(containers: list[Json]) -> set[str]:
    """Names of the volumes that any of the containers mounts."""
    return {
        mount.get("name") or "" for one in containers for mount in one.get("volumeMounts") or ()
    }


def check_size(caches: int, containers: list[Json]) -> None:
    """Raise Rejected(TooLarge) for a pod that would keep all others waiting."""
    parts = ("volumeMounts", "env")
    size = sum(1 + len(one.get(part) or ()) for one in containers for part in parts)
    if caches * (caches + size) > _MOST:
        raise Rejected("TooLarge", "the pod has too many caches, containers, mounts and variables")


def containers_of(spec: Json) -> list[Json]:
    """The containers that a pod is created with."""
    return [container for part in PARTS for container in spec.get(part) or ()]
