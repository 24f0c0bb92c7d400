"""Where copies of a Cache go. In shared mode a target is a workload namespace.

Per-node targets are added beside this when the node agent exists.
"""

from dataclasses import dataclass

from gkm.api.names import CACHE
from gkm.core.view import View

NO_NAMESPACE = "NoNamespace"
SHADOWED = "Shadowed"


@dataclass(frozen=True)
class Target:
    """One workload namespace; with an obstacle it gets no copy, and ``message`` says why."""

    namespace: str
    obstacle: str = ""
    message: str = ""


def targets(view: View) -> tuple[Target, ...]:
    """The targets of the Cache in the order of its spec, each once."""
    cache = view.cache
    if cache is None or cache.deleting or not cache.spec.shared:
        return ()
    if cache.key.kind == CACHE:
        names = [cache.key.namespace]
    else:
        names = list(dict.fromkeys(cache.spec.workload_namespaces))
    return tuple(_target(view, name) for name in names)


def _target(view: View, namespace: str) -> Target:
    if namespace in view.shadowed:
        return Target(
            namespace,
            SHADOWED,
            f"the GKMCache {namespace}/{view.key.name} stands before this ClusterGKMCache; "
            "delete one of the two, or rename it",
        )
    if namespace not in view.namespaces:
        return Target(namespace, NO_NAMESPACE, f"namespace {namespace} does not exist: create it")
    if view.namespaces[namespace]:
        return Target(namespace, NO_NAMESPACE, f"namespace {namespace} is being deleted")
    return Target(namespace)
