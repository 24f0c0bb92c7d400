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
from gkm.core.known import Known, KnownCache, Published, Target
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
        labels=f"{names.MANAGED_BY}={names.MANAGER},{names.LABEL_ROLE}=serving",
        slim=lambda obj: _slim(obj) | {"spec": None},
    ),
    NODE: Scope(metadata=True, slim=_slim),
}
"""What the informers are to follow."""


class Picture:
    """Keeps ``known`` up to date."""

    def __init__(self) -> None:
        self._caches: dict[CacheKey, KnownCache] = {}
        self._claims: dict[Target, dict[str, Published]] = {}
        self._targets: dict[str, Target] = {}
        self._nodes: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        self.known = Known(self._caches, self._claims, self._nodes, self._hosts)

    def replace(self, kind: str, objects: list[Json], _version: str) -> None:
        """Take a complete list."""
        own: dict[str, tuple[dict[Any, Any], ...]] = {
            CLAIM: (self._claims, self._targets),
            NODE: (self._nodes, self._hosts),
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
        node_uid = (meta.get("annotations") or {}).get(names.ANNOTATION_NODE_UID)
        bound = obj["status"]["phase"] == "Bound" and "deletionTimestamp" not in meta
        if gone or not bound or not node_uid:
            return
        # Thousands of claims have few namespaces, Caches, nodes and digests between them.
        target = (
            intern(meta["namespace"]),
            intern(meta["labels"][names.LABEL_CACHE_UID]),
            intern(node_uid),
        )
        digest = intern(meta["annotations"].get(names.ANNOTATION_DIGEST, ""))
        published = Published(meta["name"], digest, meta["creationTimestamp"])
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
        if gone:
            self._nodes.pop(name, None)
            self._hosts.pop(host, None)
        else:
            self._nodes[name], self._hosts[host] = meta["uid"], name
