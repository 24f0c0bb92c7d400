"""What the webhook says to people whose pods ask for caches: refusals and warnings."""

from collections.abc import Iterable

from gkm.api import names
from gkm.api.errors import Rejected
from gkm.core.known import KnownCache


def no_cache(claims: Iterable[str], namespace: str) -> Rejected:
    """Make the refusal of a pod whose label says that it wants a cache, though it names none."""
    every = ", ".join(sorted(set(claims)))
    said = f"its claims are: {every}" if every else "it has none"
    return Rejected(
        "NoCache",
        f'the pod is labelled {names.LABEL_MUTATION}="true", but no volume claim of it is called '
        f"like a GKM cache in namespace {namespace} ({said}): create the GKMCache first, or list "
        "the namespace in workloadNamespaces of a ClusterGKMCache; a controller then creates the "
        "pod again by itself. A pod without caches needs no such label",
    )


def deleting(cache: KnownCache) -> Rejected:
    """Make the refusal of a pod whose cache is about to go."""
    return Rejected(
        "CacheDeleting",
        f"{_named(cache)} is being deleted: wait until it is gone, then create it again",
    )


def no_node(cache: KnownCache) -> Rejected:
    """Make the refusal of a pod that may run anywhere, though its cache has a volume per node."""
    return Rejected(
        "NoNode",
        f"{_named(cache)} has one volume per node, so the pod's node must be known when it is "
        "created: use a DaemonSet, or set spec.nodeName or a nodeSelector on "
        "kubernetes.io/hostname; or give the cache storage that all nodes share "
        "(accessModes: [ReadOnlyMany])",
    )


def unknown_node(node: str) -> Rejected:
    """Make the refusal of a pod for a node that is not there."""
    return Rejected(
        "UnknownNode", f"the pod is meant for node {node}, and the cluster has no such node"
    )


def waits(cache: KnownCache, node: str) -> str:
    """Warn that a pod will be created and stay Pending, maybe for ever: nothing else would say so.

    Only people see it. A controller's pods are shown by what the Cache itself says.
    """
    place = f" -n {cache.key.namespace}" if cache.key.namespace else ""
    return (
        f"the pod waits for {_named(cache)} to be brought to node {node}; "
        f"`kubectl describe {cache.key.kind.lower()} {cache.key.name}{place}` says how far it is, "
        "or why the node is not meant for it"
    )


def _named(cache: KnownCache) -> str:
    place = f"{cache.key.namespace}/" if cache.key.namespace else ""
    return f"{cache.key.kind} {place}{cache.key.name}"
