"""What to write next about each CacheNode: pure, from what is wanted and what is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gkm.agent.picture import Own
from gkm.api import names
from gkm.api.cachenode import CacheEntry, CacheNodeStatus
from gkm.api.meta import CACHE_NODE, CLUSTER_CACHE_NODE
from gkm.core.mergepatch import difference
from gkm.core.nodereport import CLUSTER, read, stamped
from gkm.core.nodeview import ThisNode

Json = dict[str, Any]


@dataclass(frozen=True)
class Create:
    """The object is missing. Its status is another step: the API server ignores it in a POST."""

    body: Json


@dataclass(frozen=True)
class Write:
    """The status differs from ``status``; ``removes``: only because entries are to go."""

    patch: Json
    status: Json
    removes: bool


@dataclass(frozen=True)
class Delete:
    """Nobody needs the object any more, or it belongs to a Node that had this name before."""

    own: Own
    removes: bool


Step = Create | Write | Delete


def kind_of(place: str) -> str:
    """Kind of the CacheNode at a place."""
    return CACHE_NODE if place else CLUSTER_CACHE_NODE


def steps(
    node: ThisNode,
    wanted: Mapping[str, CacheNodeStatus],
    own: Mapping[str, Own],
    now: datetime,
) -> dict[str, Step]:
    """Return the next step at each place where one is needed; the cluster's place comes first."""
    places = sorted({*wanted, *own})
    found = (
        (place, _step(node, place, wanted.get(place), own.get(place), now)) for place in places
    )
    return {place: step for place, step in found if step is not None}


def _step(
    node: ThisNode, place: str, wanted: CacheNodeStatus | None, own: Own | None, now: datetime
) -> Step | None:
    if own is None:
        return Create(_body(node, place)) if wanted else None
    if own.deleting:
        return None
    if wanted is None or own.owners != (node.uid,):
        return Delete(own, removes=wanted is None)
    old = read(own.status)
    new = stamped(wanted, old, now)
    status = new.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    patch = difference(own.status, status)
    if not patch:
        return None
    fence = {"metadata": {"resourceVersion": own.version}}
    return Write(fence | {"status": patch}, status, removes=_removes(new, old))


def _body(node: ThisNode, place: str) -> Json:
    owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.uid}
    labels = {names.MANAGED_BY: names.MANAGER, names.LABEL_HOSTNAME: names.node_label(node.name)}
    meta: Json = {"name": node.name, "labels": labels, "ownerReferences": [owner]}
    meta |= {"namespace": place} if place != CLUSTER else {}
    return {"apiVersion": names.API_VERSION, "kind": kind_of(place), "metadata": meta}


def _removes(new: CacheNodeStatus, old: CacheNodeStatus) -> bool:
    """Whether entries go and nothing else is said."""
    left, before = _entries(new), _entries(old)
    rest: Json = {"caches": {}, "counts": None}
    same = new.model_copy(update=rest) == old.model_copy(update=rest)
    return same and len(left) < len(before) and left.items() <= before.items()


def _entries(status: CacheNodeStatus) -> dict[tuple[str, str], CacheEntry]:
    return {
        (name, digest): entry
        for name, versions in status.caches.items()
        for digest, entry in versions.items()
    }
