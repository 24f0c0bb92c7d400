"""Whether a user's podTemplate admits a node, by the scheduler's own rules.

Selector, required node affinity and tolerations. Taints of ``node.kubernetes.io/`` do not count:
Kubernetes sets them on nodes that are cordoned or in trouble, which passes. Source of the rules:
https://kubernetes.io/docs/concepts/scheduling-eviction/ (assign-pod-node, taint-and-toleration).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gkm.api.cache import PodSpec
from gkm.core.view import Node, Taint

Json = Mapping[str, Any]
_OF_KUBERNETES: Final = "node.kubernetes.io/"
_KEEPS_OUT: Final = ("NoSchedule", "NoExecute")
_DAEMON: Final = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)

DAEMON_TOLERATIONS: Final[tuple[Json, ...]] = tuple(
    {"key": _OF_KUBERNETES + key, "operator": "Exists", "effect": effect} for key, effect in _DAEMON
)
"""What the pods of a DaemonSet tolerate: a copy must get wherever they get."""


def refusal(spec: PodSpec, node: Node) -> str:
    """Why the template keeps the node out, in words for a user; empty if it admits it."""
    for key, value in spec.node_selector.items():
        if node.labels.get(key) != value:
            return f"spec.podTemplate's nodeSelector asks for {key}={value}"
    required = _required(spec.affinity or {})
    if required is not None and not any(_meets(term, node) for term in required):
        return "spec.podTemplate's affinity keeps it out"
    for taint in node.taints:
        if _bars(taint) and not any(_tolerates(one, taint) for one in spec.tolerations):
            said = f"{taint.key}={taint.value}" if taint.value else taint.key
            return f"spec.podTemplate does not tolerate its taint {said}:{taint.effect}"
    return ""


def pinned(affinity: Json | None, node: str) -> dict[str, Any]:
    """The affinity with the node required in every term, since one term that holds is enough."""
    wanted: dict[str, Any] = dict(affinity or {})
    terms = _required(wanted)
    pin = {"key": "metadata.name", "operator": "In", "values": [node]}
    narrowed = [
        {**term, "matchFields": [*(term.get("matchFields") or ()), pin]}
        for term in ([{}] if terms is None else terms)
    ]
    required = {"nodeSelectorTerms": narrowed}
    of_nodes = {**(wanted.get("nodeAffinity") or {}), _REQUIRED: required}
    return {**wanted, "nodeAffinity": of_nodes}


_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


def _required(affinity: Json) -> list[Json] | None:
    """The terms of which a node has to meet one; None if nothing is required."""
    required = (affinity.get("nodeAffinity") or {}).get(_REQUIRED)
    return None if required is None else list(required.get("nodeSelectorTerms") or ())


def _meets(term: Json, node: Node) -> bool:
    """Whether a node meets a term; an empty one is met by no node."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    by_name = {"metadata.name": node.name}
    return bool(expressions or fields) and all(
        (*(_holds(e, node.labels) for e in expressions), *(_holds(f, by_name) for f in fields))
    )


def _holds(requirement: Json, found: Mapping[str, str]) -> bool:
    has, values = found.get(requirement["key"]), requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return has in values
        case "NotIn":
            return has not in values
        case "Exists":
            return has is not None
        case "DoesNotExist":
            return has is None
        case "Gt":
            return _compare(has, values) > 0
        case "Lt":
            return _compare(has, values) < 0
        case _:
            return False


def _compare(has: str | None, values: Iterable[str]) -> int:
    """The sign of a label less the one value; 0, which nobody asks for, if one is no number."""
    try:
        difference = int(has or "") - int(*values)
    except (ValueError, TypeError):
        return 0
    return (difference > 0) - (difference < 0)


def _bars(taint: Taint) -> bool:
    return taint.effect in _KEEPS_OUT and not taint.key.startswith(_OF_KUBERNETES)


def _tolerates(toleration: Json, taint: Taint) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    key, operator = toleration.get("key", ""), toleration.get("operator") or "Equal"
    if not key:
        return bool(operator == "Exists")
    same = key == taint.key
    return same and (operator == "Exists" or toleration.get("value", "") == taint.value)
