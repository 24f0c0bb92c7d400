"""The agent's picture: its Node, the pods and claims that concern it, and its own CacheNodes.

Fed by informers, and by the agent's own writes, whose answers count at once. It decides nothing; it
only says that something changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gkm.api.meta import CACHE_NODE, CLUSTER_CACHE_NODE
from gkm.core import nodeview
from gkm.core.nodeview import NodeClaim, NodePod, ThisNode
from gkm.kube.informer import newer, parsed

Json = dict[str, Any]

CLAIM: Final = "PersistentVolumeClaim"
POD: Final = "Pod"
NODE: Final = "Node"


@dataclass(frozen=True)
class Own:
    """A CacheNode of ours as it was last seen; ``owners`` are the uids of the Nodes that own it."""

    place: str
    uid: str
    version: str
    owners: tuple[str, ...]
    deleting: bool
    status: Json


Item = ThisNode | NodeClaim | NodePod | Own


class Picture:
    """Keeps the latest of every object; calls ``changed`` with the kind of what is different."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._items: dict[str, dict[str, Item]] = {kind: {} for kind in _PARSERS}

    @property
    def node(self) -> ThisNode | None:
        """The agent's Node; None while it is not there."""
        return next((one for one in self._of(NODE) if isinstance(one, ThisNode)), None)

    @property
    def claims(self) -> list[NodeClaim]:
        """Claims that may concern the node."""
        return [one for one in self._of(CLAIM) if isinstance(one, NodeClaim)]

    @property
    def pods(self) -> list[NodePod]:
        """Pods of the node that use a claim."""
        return [one for one in self._of(POD) if isinstance(one, NodePod)]

    @property
    def own(self) -> dict[str, Own]:
        """The node's CacheNodes, by place."""
        every = [*self._of(CACHE_NODE), *self._of(CLUSTER_CACHE_NODE)]
        return {one.place: one for one in every if isinstance(one, Own)}

    def replace(self, kind: str, objects: list[Json], version: str) -> None:
        """Take a complete list as of ``version``: what is not in it, and is no newer, is gone.

        Newer is what the agent made itself while the list was on its way.
        """
        listed = {obj["metadata"]["uid"] for obj in objects}
        for uid, item in list(self._items[kind].items()):
            if uid not in listed and not (isinstance(item, Own) and newer(item.version, version)):
                self._put(kind, uid, None)
        for obj in objects:
            self.observe(kind, "MODIFIED", obj)

    def observe(self, kind: str, event: str, obj: Json) -> None:
        """Take one change: ADDED, MODIFIED, DELETED."""
        uid = obj["metadata"]["uid"]
        new = parsed(_PARSERS[kind], kind, obj) if event != "DELETED" else None
        old = self._items[kind].get(uid)
        if isinstance(new, Own) and isinstance(old, Own) and not newer(new.version, old.version):
            return
        self._put(kind, uid, new)

    def forget(self, own: Own) -> None:
        """Drop a CacheNode that the agent has deleted."""
        self._put(CACHE_NODE if own.place else CLUSTER_CACHE_NODE, own.uid, None)

    def _of(self, kind: str) -> list[Item]:
        return list(self._items[kind].values())

    def _put(self, kind: str, uid: str, new: Item | None) -> None:
        old = self._items[kind].pop(uid, None)
        if new is not None:
            self._items[kind][uid] = new
        if old != new:
            self._changed(kind)


def _own(obj: Json) -> Own:
    meta = obj["metadata"]
    return Own(
        place=meta.get("namespace", ""),
        uid=meta["uid"],
        version=meta["resourceVersion"],
        owners=tuple(one["uid"] for one in meta.get("ownerReferences") or ()),
        deleting="deletionTimestamp" in meta,
        status=obj.get("status") or {},
    )


_PARSERS: Final[dict[str, Callable[[Json], Item | None]]] = {
    NODE: nodeview.node,
    POD: nodeview.pod,
    CLAIM: nodeview.claim,
    CACHE_NODE: _own,
    CLUSTER_CACHE_NODE: _own,
}
