"""Schemas of the parts of core/v1 that users may put into ``podTemplate``.

Tolerations and node affinity are spelled out: ``kubectl explain`` shows them, a typing error is
refused at once, and the operator, which reads both to find a Cache's nodes, can rely on their form.
Pod affinity is left open: spelled out it is 500 lines that nothing of ours reads, and the API
server checks it when the Job is created. Python keeps all of them as JSON, as the user wrote them.
"""

from typing import Final

from pydantic import JsonValue

Schema = dict[str, JsonValue]


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _object(description: str, required: tuple[str, ...] = (), **properties: JsonValue) -> Schema:
    said: Schema = {"type": "object", "description": description, "properties": properties}
    return {**said, "required": list(required)} if required else said


def _list(description: str, items: Schema) -> Schema:
    return {
        "type": "array",
        "description": description,
        "items": items,
        "x-kubernetes-list-type": "atomic",
    }


def _open(description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "x-kubernetes-preserve-unknown-fields": True,
    }


_REQUIREMENT: Final = _object(
    "A requirement that a node has to meet.",
    ("key", "operator"),
    key=_text("Label or field of the node."),
    operator=_text("In, NotIn, Exists, DoesNotExist, Gt or Lt."),
    values=_list(
        "Values to compare with: none for Exists and DoesNotExist, one number for Gt and Lt.",
        {"type": "string"},
    ),
)
_TERM: Final = _object(
    "Requirements that a node has to meet all at once.",
    matchExpressions=_list("Requirements on the node's labels.", _REQUIREMENT),
    matchFields=_list("Requirements on the node's fields, such as metadata.name.", _REQUIREMENT),
)
_PREFERENCE: Final = _object(
    "A preference and how much it counts.",
    ("preference", "weight"),
    preference=_TERM,
    weight={"type": "integer", "format": "int32", "description": "From 1 to 100."},
)
_NODE_AFFINITY: Final = _object(
    "Which nodes the pod may or should run on.",
    requiredDuringSchedulingIgnoredDuringExecution=_object(
        "Nodes that the pod may run on.",
        ("nodeSelectorTerms",),
        nodeSelectorTerms=_list("Terms of which a node has to meet at least one.", _TERM),
    ),
    preferredDuringSchedulingIgnoredDuringExecution=_list(
        "Nodes that the scheduler prefers.", _PREFERENCE
    ),
)

AFFINITY: Final[Schema] = {
    "type": "object",
    "properties": {
        "nodeAffinity": _NODE_AFFINITY,
        "podAffinity": _open("Pods that the pod should run near; as in any pod."),
        "podAntiAffinity": _open("Pods that the pod should keep away from; as in any pod."),
    },
}
TOLERATION: Final = _object(
    "A taint that the pod tolerates.",
    key=_text("Key of the taint; empty, with operator Exists, for all taints."),
    operator=_text("Equal (the default) or Exists."),
    value=_text("Value of the taint; none with operator Exists."),
    effect=_text("NoSchedule, PreferNoSchedule or NoExecute; empty for all three."),
    tolerationSeconds={
        "type": "integer",
        "format": "int64",
        "description": "Seconds for which NoExecute is tolerated; without it, for ever.",
    },
)
