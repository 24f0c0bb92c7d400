"""Where copies of a Cache go: to a namespace (shared mode), or to a node for a namespace.

In per-node mode two questions are apart. Is the node meant for the Cache? That follows from
``podTemplate`` and from the node's GPUs, and what is not known yet neither brings a copy nor takes
one away. And can the node be filled now?
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from gkm.api.names import CACHE
from gkm.core.fit import Verdict, fit_node
from gkm.core.gputargets import Targets
from gkm.core.scheduling import refusal
from gkm.core.view import Cache, Node, View

NO_NAMESPACE = "NoNamespace"
SHADOWED = "Shadowed"
RELEASED_AFTER = 600.0
"""Seconds for which a node must have been unfit before its copy is taken away."""


class Meant(Enum):
    """Whether a node is meant for a Cache."""

    YES = "yes"
    UNKNOWN = "unknown"
    """Nobody says what GPUs it has, or that it has any: a driver may be late."""
    NO = "no"


@dataclass(frozen=True)
class Standing:
    """How one node stands to a Cache, and why, in words for a user."""

    node: Node
    meant: Meant
    reason: str = ""
    misfit: bool = False
    """The reason is that no GPU of the node fits."""

    @property
    def key(self) -> str:
        """What is remembered of a node that is not meant: each kind of reason has its own time."""
        return f"{self.node.uid}/{'misfit' if self.misfit else 'kept out'}"


@dataclass(frozen=True)
class Target:
    """Where one copy goes; with an obstacle there is none, and ``message`` says why."""

    namespace: str
    node: str = ""
    node_uid: str = ""
    obstacle: str = ""
    message: str = ""
    meant: bool = True
    """Else the node only keeps what it has."""
    released: bool = False
    """The wanted image has not been for this node's GPUs for so long that a copy of it goes, too;
    an earlier image serves on."""
    held: str = ""
    """Why nothing may be begun here now; what has been begun goes on."""

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and node uid: at each place one copy serves."""
        return self.namespace, self.node_uid


def standings(view: View, compiled: Targets) -> tuple[Standing, ...]:
    """How every node stands to the Cache, by name."""
    cache = view.cache
    if cache is None:
        return ()
    return tuple(_standing(view, cache, node, compiled) for _, node in sorted(view.nodes.items()))


def targets(view: View, nodes: Iterable[Standing], now: float) -> tuple[Target, ...]:
    """The targets of the Cache: namespaces in the order of its spec, nodes by name."""
    cache = view.cache
    if cache is None or cache.deleting:
        return ()
    if cache.key.kind == CACHE:
        names = [cache.key.namespace]
    else:
        names = list(dict.fromkeys(cache.spec.workload_namespaces))
    namespaces = [_namespace(view, name) for name in names]
    if cache.spec.shared:
        return tuple(namespaces)
    standing = [one for one in nodes if one.misfit or not _released(view, one, now)]
    return tuple(
        target
        for namespace in namespaces
        for target in (
            [namespace]
            if namespace.obstacle
            else [_on_node(view, namespace.namespace, one, now) for one in standing]
        )
    )


def why_none(nodes: Iterable[Standing]) -> str:
    """Why no node is meant for the Cache, cause by cause."""
    causes = why_not(nodes)
    return f"no node is meant for this cache ({causes})" if causes else "the cluster has no node"


def why_not(nodes: Iterable[Standing]) -> str:
    """Why nodes are not meant for the Cache, cause by cause; empty if all are."""
    causes = Counter(one.reason for one in nodes if one.meant is not Meant.YES)
    said = [f"{count} {_nodes(count)}: {cause}" for cause, count in causes.most_common(3)]
    more = f"; and {len(causes) - 3} more causes" if len(causes) > 3 else ""
    return "; ".join(said) + more


def _nodes(count: int) -> str:
    return "node" if count == 1 else "nodes"


def _released(view: View, one: Standing, now: float) -> bool:
    """Whether the node has not been meant for the Cache for so long that its copies go."""
    since = view.leaving.get(one.key, now)
    return one.meant is Meant.NO and now >= since + RELEASED_AFTER


def _on_node(view: View, namespace: str, one: Standing, now: float) -> Target:
    node, released = one.node, _released(view, one, now)
    meant = one.meant is Meant.YES
    held = _not_now(node) if meant else one.reason
    return Target(namespace, node.name, node.uid, meant=meant, released=released, held=held)


def _not_now(node: Node) -> str:
    if node.deleting:
        return f"node {node.name} is being deleted"
    return f"node {node.name} is {node.trouble}" if node.trouble else ""


def _standing(view: View, cache: Cache, node: Node, compiled: Targets) -> Standing:
    kept_out = refusal(cache.spec.pod_template.spec, node)
    if kept_out:
        return Standing(node, Meant.NO, kept_out)
    report = view.reports.get(node.name)
    if report is None or report.node_uid != node.uid or report.gpus is None:
        return Standing(node, Meant.UNKNOWN, "GKM's agent has not reported its GPUs yet")
    if not report.gpus:
        return Standing(node, Meant.UNKNOWN, "it has no GPU")
    fit = fit_node(compiled, report.gpus)
    if fit.verdict is Verdict.UNFIT:
        return Standing(node, Meant.NO, f"the cache {fit.message}", misfit=True)
    return Standing(node, Meant.YES)


def _namespace(view: View, namespace: str) -> Target:
    if namespace in view.shadowed:
        said = (
            f"the GKMCache {namespace}/{view.key.name} stands before this ClusterGKMCache; "
            "delete one of the two, or rename it"
        )
        return Target(namespace, obstacle=SHADOWED, message=said)
    if namespace not in view.namespaces:
        said = f"namespace {namespace} does not exist: create it"
        return Target(namespace, obstacle=NO_NAMESPACE, message=said)
    if view.namespaces[namespace]:
        said = f"namespace {namespace} is being deleted"
        return Target(namespace, obstacle=NO_NAMESPACE, message=said)
    return Target(namespace)
