"""What is known when a pod comes: Caches, published claims and nodes, and which claim it gets.

Small on purpose: the webhook keeps tens of thousands of these. Each look-up is by key, so that a
pod costs as much in a large cluster as in a small one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gkm.api import names
from gkm.api.names import CacheKey

Target = tuple[str, str, str]
"""Namespace of the pod, uid of the Cache, uid of the node."""


@dataclass(frozen=True, slots=True)
class KnownCache:
    """What a pod must be told of a Cache."""

    key: CacheKey
    uid: str
    shared: bool
    mount_path: str
    digest: str = ""
    """``status.resolvedDigest``; empty while nothing is resolved."""
    environment: tuple[str, ...] = ()
    namespaces: frozenset[str] = frozenset()
    """A ClusterGKMCache's workload namespaces."""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """A serving claim of a node that is bound and stays: its content is complete."""

    name: str
    digest: str
    created: str
    """Creation time as the API server writes it: those sort as text."""


@dataclass(frozen=True)
class Known:
    """The picture; whoever keeps it may go on changing the mappings."""

    caches: Mapping[CacheKey, KnownCache]
    claims: Mapping[Target, Mapping[str, Published]]
    """By uid, for each target that has any."""
    nodes: Mapping[str, str]
    """Uids of the nodes, by their names."""
    hosts: Mapping[str, str]
    """Names of the nodes, by their hostname label."""

    def cache(self, namespace: str, name: str) -> KnownCache | None:
        """The Cache that a pod of ``namespace`` means by ``name``: its own namespace's first."""
        own = self.caches.get(CacheKey(names.CACHE, namespace, name))
        if own is not None:
            return own
        shared = self.caches.get(CacheKey(names.CLUSTER_CACHE, "", name))
        return shared if shared is not None and namespace in shared.namespaces else None

    def claim(self, cache: KnownCache, namespace: str, node_uid: str) -> str:
        """Name of the claim for a pod on a node, or anywhere if the Cache is shared.

        The wanted digest if it is published, else the newest that is, else the name to wait for.
        """
        if cache.shared:
            return cache.key.name
        if self.waits(cache, namespace, node_uid):
            return names.waiting_name(cache.key, cache.uid, node_uid)
        published = self.claims[namespace, cache.uid, node_uid].values()
        best = max(published, key=lambda one: (one.digest == cache.digest, one.created, one.name))
        return best.name

    def waits(self, cache: KnownCache, namespace: str, node_uid: str) -> bool:
        """Whether a pod has to wait for the Cache; of a shared one that is not known."""
        return not cache.shared and not self.claims.get((namespace, cache.uid, node_uid))
