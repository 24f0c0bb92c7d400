"""The webhook's picture of the cluster, fed by informers: Caches, published claims, nodes.

Of each object only what ``core.known`` holds is kept, and much of a list never gets further than
``SCOPES``: ten thousand claims fit into a small pod. Each kind has one informer, so a list is the
whole truth about its kind.
"""

import logging
from collections.abc import Callable
from sys import intern
from typing import Any, Final

from gkm.api import names
from gkm.api.cache import SHARED_MODES
from gkm.api.names import CACHE, CLUSTER_CACHE, CacheKey
from gkm.core.genuine import is_genuine, ref_of
from gkm.core.known import Known, KnownCache, Published, Target
from gkm.core.objects import SERVING, CopyRef
from gkm.kube.client import Scope

Json = dict[str, Any]
_log = logging.getLogger(__name__)

CLAIM: Final = "PersistentVolumeClaim"
NODE: Final = "Node"
_KEPT: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
)


def _slim(obj: Json) -> Json:
    """The parts of any of the objects that are looked at."""
    status = obj.get("status") or {}
    said = {name: status.get(name) for name in ("phase", "resolvedDigest", "environment")}
    meta = {name: value for name, value in obj["metadata"].items() if name in _KEPT}
    return {"metadata": meta, "spec": obj.get("spec"), "status": said}


SCOPES: Final = {
    CACHE: Scope(slim=_slim),
    CLUSTER_CACHE: Scope(slim=_slim),
    CLAIM: Scope(
        labels=f"{names.MANAGED_BY}={names.MANAGER},{names.LABEL_ROLE}={SERVING}",
        slim=lambda obj: _slim(obj) | {"spec": None},
    ),
    NODE: Scope(metadata=True, slim=_slim),
}
"""What the informers are to follow."""


def _serving(meta: Json) -> CopyRef | None:
    """Whose per-node copy a claim serves; None if it is none, or only says so."""
    ref = ref_of(meta)
    if ref is None or not ref.node_uid:
        return None
    own = is_genuine(ref, SERVING, meta["namespace"], meta["name"], home="")
    return ref if own else None


class Picture:
    """Keeps ``known`` up to date."""

    def __init__(self) -> None:
        self._caches: dict[CacheKey, KnownCache] = {}
        self._claims: dict[Target, dict[str, Published]] = {}
        self._targets: dict[str, Target] = {}
        self._nodes: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        self._host_of: dict[str, str] = {}
        self.known = Known(self._caches, self._claims, self._nodes, self._hosts)

    def replace(self, kind: str, objects: list[Json], _version: str) -> None:
        """Take a complete list."""
        own: dict[str, tuple[dict[Any, Any], ...]] = {
            CLAIM: (self._claims, self._targets),
            NODE: (self._nodes, self._hosts, self._host_of),
        }
        for mapping in own.get(kind, ()):
            mapping.clear()
        for key in [key for key in self._caches if key.kind == kind]:
            del self._caches[key]
        for obj in objects:
            self.observe(kind, "ADDED", obj)

    def observe(self, kind: str, event: str, obj: Json) -> None:
        """Take one change. What cannot be read is not there, and must not stop the others."""
        take: Callable[[str, Json, bool], None] = {CLAIM: self._claim, NODE: self._node}.get(
            kind, self._cache
        )
        try:
            take(kind, obj, event == "DELETED")
        except Exception:  # noqa: BLE001 - anybody may write the strangest things into labels
            meta = obj["metadata"]
            _log.exception("%s %s/%s cannot be read", kind, meta.get("namespace", ""), meta["name"])

    def _cache(self, kind: str, obj: Json, gone: bool) -> None:
        meta, spec, status = obj["metadata"], obj["spec"], obj["status"]
        key = CacheKey(kind, meta.get("namespace", ""), meta["name"])
        self._caches.pop(key, None)
        if not gone:
            self._caches[key] = KnownCache(
                key=key,
                uid=meta["uid"],
                shared=not SHARED_MODES.isdisjoint(spec["accessModes"]),
                mount_path=spec["mountPath"],
                digest=status["resolvedDigest"] or "",
                environment=tuple(status["environment"] or ()),
                namespaces=frozenset(spec.get("workloadNamespaces") or ()),
                deleting="deletionTimestamp" in meta,
            )

    def _claim(self, _kind: str, obj: Json, gone: bool) -> None:
        meta = obj["metadata"]
        uid: str = meta["uid"]
        self._forget_claim(uid)
        ref = _serving(meta)
        bound = obj["status"]["phase"] == "Bound" and "deletionTimestamp" not in meta
        if gone or not bound or ref is None:
            return
        # Thousands of claims have few namespaces, Caches, nodes and digests between them.
        target = (intern(ref.target), intern(ref.cache_uid), intern(ref.node_uid))
        published = Published(meta["name"], intern(ref.digest), meta["creationTimestamp"])
        self._targets[uid] = target
        self._claims.setdefault(target, {})[uid] = published

    def _forget_claim(self, uid: str) -> None:
        target = self._targets.pop(uid, None)
        if target is not None:
            del self._claims[target][uid]
            if not self._claims[target]:
                del self._claims[target]

    def _node(self, _kind: str, obj: Json, gone: bool) -> None:
        meta = obj["metadata"]
        name: str = meta["name"]
        host = (meta.get("labels") or {}).get(names.LABEL_HOSTNAME, name)
        if gone or self._host_of.get(name) != host:
            self._forget_host(name)
        if gone:
            self._nodes.pop(name, None)
        else:
            self._nodes[name], self._hosts[host], self._host_of[name] = meta["uid"], name, host

    def _forget_host(self, name: str) -> None:
        """Take a node from its host; another node of the same label gets it back."""
        host = self._host_of.pop(name, "")
        if self._hosts.get(host) == name:
            del self._hosts[host]
            self._hosts.update((host, node) for node, own in self._host_of.items() if own == host)
