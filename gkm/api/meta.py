"""What the API server is told about our four kinds besides their fields: names, scope, columns.

Apart from the models, and without pydantic, because clients that only need a path import it too.
It describes kinds; it knows no object of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gkm.api.names import API_VERSION, CACHE, CLUSTER_CACHE, GROUP

CACHE_NODE: Final = "GKMCacheNode"
CLUSTER_CACHE_NODE: Final = "ClusterGKMCacheNode"
CATEGORY: Final = "gkm"
"""``kubectl get gkm`` lists the objects of all four kinds."""


@dataclass(frozen=True)
class Column:
    """One column of ``kubectl get``; priority 1 shows with ``-o wide`` only."""

    name: str
    path: str
    type: str = "integer"
    priority: int = 0


@dataclass(frozen=True)
class Resource:
    """How one kind is called and reached, and what ``kubectl get`` shows of it."""

    kind: str
    plural: str
    short_name: str
    namespaced: bool
    columns: tuple[Column, ...]

    @property
    def singular(self) -> str:
        """The kind in lower case, as users may type it."""
        return self.kind.lower()

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of one object, or of the list (in all namespaces if none is given)."""
        parts = [f"/apis/{API_VERSION}"]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


def plural(kind: str) -> str:
    """Plural of one of our kinds, as in URLs and RBAC rules."""
    return RESOURCES[kind].plural


def _count(name: str, field: str) -> Column:
    return Column(name, f".status.counts.{field}")


_NODES = (
    _count("Node-In-Use", "nodeInUseCnt"),
    _count("Node-Not-In-Use", "nodeNotInUseCnt"),
    _count("Node-Error", "nodeErrorCnt"),
    _count("Pod-Running", "podRunningCnt"),
)
_OUTDATED = _count("Pod-Outdated", "podOutdatedCnt")
_DELETING = _count("Pod-Deleting", "podDeletingCnt")

# The order differs between the two kinds, and AGE precedes STATUS: so it is in the original.
_BEFORE = (
    Column("Age", ".metadata.creationTimestamp", "date"),
    Column("Status", ".status.conditions[0].reason", "string"),
    _count("Nodes", "nodeCnt"),
    *_NODES,
)
_LAST_UPDATED = Column("Last-Updated", ".status.lastUpdated", "string", priority=1)

RESOURCES: Final[Mapping[str, Resource]] = MappingProxyType(
    {
        resource.kind: resource
        for resource in (
            Resource(
                CACHE, "gkmcaches", "gkmc", True, (*_BEFORE, _OUTDATED, _DELETING, _LAST_UPDATED)
            ),
            Resource(
                CLUSTER_CACHE,
                "clustergkmcaches",
                "cgkmc",
                False,
                (*_BEFORE, _DELETING, _OUTDATED, _LAST_UPDATED),
            ),
            Resource(CACHE_NODE, "gkmcachenodes", "gkmcn", True, (*_NODES, _DELETING, _OUTDATED)),
            Resource(
                CLUSTER_CACHE_NODE,
                "clustergkmcachenodes",
                "cgkmcn",
                False,
                (*_NODES, _DELETING, _OUTDATED),
            ),
        )
    }
)
