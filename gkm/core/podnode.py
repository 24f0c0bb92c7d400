"""On which node a pod will run, if that is settled before the scheduler sees it."""

from collections.abc import Mapping
from typing import Any

from gkm.api import names

Json = dict[str, Any]


def node_of(spec: Json, hosts: Mapping[str, str]) -> str:
    """Name of the node of a pod's spec; empty if it is open.

    ``hosts`` are the nodes' names by their hostname label. DaemonSets pin their pods by required
    affinity, people write ``nodeName`` or a selector.
    """
    selected: str = (spec.get("nodeSelector") or {}).get(names.LABEL_HOSTNAME, "")
    return _pinned(spec) or spec.get("nodeName") or hosts.get(selected, selected)


def _pinned(spec: Json) -> str:
    """The one node that every required term names: the terms are alternatives."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    named = {_named(term) for term in required.get("nodeSelectorTerms") or ()}
    return named.pop() if len(named) == 1 else ""


def _named(term: Json) -> str:
    for field in term.get("matchFields") or ():
        values: list[str] = field.get("values") or []
        by_name = field.get("key") == "metadata.name" and field.get("operator") == "In"
        if by_name and len(values) == 1:
            return values[0]
    return ""
