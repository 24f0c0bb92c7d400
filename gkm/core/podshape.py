"""Checks that a pod has the form which the API server gives to pods, where the webhook reads it.

The API server sends no other; anybody else in the cluster may, and gets an answer, too.
"""

from typing import Any, Final

from gkm.api import names
from gkm.api.errors import Rejected

_MAP: Final[dict[str, Any]] = {}
_CONTAINER: Final = {
    "name": str,
    "args": [str],
    "env": [{"name": str}],
    "resources": {"limits": _MAP},
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
}
_TERM: Final = {"matchFields": [{"key": str, "operator": str, "values": [str]}]}
_NODES: Final = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_TERM]}}
_POD: Final = {
    "metadata": {"annotations": {names.ANNOTATION_MUTATED: str}, "labels": _MAP},
    "spec": {
        "affinity": {"nodeAffinity": _NODES},
        "nodeName": str,
        "nodeSelector": {names.LABEL_HOSTNAME: str},
        "securityContext": {"runAsUser": int},
        "volumes": [{"name": str, "persistentVolumeClaim": {"claimName": str}}],
        "initContainers": [_CONTAINER],
        "containers": [_CONTAINER],
        "ephemeralContainers": [_CONTAINER],
    },
}


def check_pod(value: object) -> None:
    """Raise Rejected unless what the webhook reads of a pod is of its type, or missing."""
    if value is None or not _fits(value, _POD):
        raise Rejected("Malformed", "this is no pod: a field has a value of another type")


def _fits(value: object, shape: Any) -> bool:
    if value is None:
        return True
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(
            _fits(value.get(key), part) for key, part in shape.items()
        )
    if isinstance(shape, list):
        return isinstance(value, list) and all(
            item is not None and _fits(item, shape[0]) for item in value
        )
    return isinstance(value, shape)
