"""What an agent sees of its node, as small frozen values, and how they are read from JSON.

Like ``core.view`` for the operator: what the report does not depend on is left out, so that two
equal values mean that there is nothing new to say.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gkm.api import names
from gkm.api.names import CACHE, CacheKey
from gkm.core.objects import SERVING, STAGING

Json = dict[str, Any]

_OVER = ("Succeeded", "Failed")
_LONGEST_NAME = 63
_DIGEST = re.compile(r"[a-z0-9]{1,16}:[0-9a-f]{32,128}")
"""Both bound what a claim that somebody else made can add to a report."""


@dataclass(frozen=True)
class ThisNode:
    """The agent's Node; ``simulated`` is the text of its annotation, if it has one."""

    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    simulated: str = ""


@dataclass(frozen=True)
class NodeClaim:
    """A claim of ours that may concern the node.

    ``shared`` claims are for every node; the others for the one with ``node_uid``. ``targets`` and
    ``failed`` are texts of annotations; ``superseded`` is Outdated, Deleting or empty.
    """

    namespace: str
    name: str
    key: CacheKey
    digest: str
    role: str
    shared: bool
    node_uid: str = ""
    targets: str = ""
    failed: str = ""
    superseded: str = ""


@dataclass(frozen=True)
class NodePod:
    """A pod of the node that is not over, and the claims that it names."""

    uid: str
    namespace: str
    claims: frozenset[str]


def node(obj: Json) -> ThisNode:
    """Read a Node."""
    meta = obj["metadata"]
    simulated = _annotations(obj).get(names.ANNOTATION_SIMULATED, "")
    return ThisNode(meta["name"], meta["uid"], meta.get("labels") or {}, simulated)


def claim(obj: Json) -> NodeClaim | None:
    """Read a claim; None if it is not where, or as, GKM itself would have made it."""
    meta, annotations = obj["metadata"], _annotations(obj)
    labels = meta.get("labels") or {}
    key = CacheKey.parse(annotations.get(names.ANNOTATION_CACHE, ""))
    digest, role = annotations.get(names.ANNOTATION_DIGEST, ""), labels.get(names.LABEL_ROLE)
    if key is None or role not in (STAGING, SERVING):
        return None
    if len(key.name) > _LONGEST_NAME or not _DIGEST.fullmatch(digest):
        return None
    if key.namespace != (meta["namespace"] if key.kind == CACHE else ""):
        return None
    return NodeClaim(
        namespace=meta["namespace"],
        name=meta["name"],
        key=key,
        digest=digest,
        role=role,
        shared=labels.get(names.LABEL_NODE) == names.SHARED,
        node_uid=annotations.get(names.ANNOTATION_NODE_UID, ""),
        targets=annotations.get(names.ANNOTATION_TARGETS, ""),
        failed=annotations.get(names.ANNOTATION_FAILED, ""),
        superseded=_superseded(obj),
    )


def pod(obj: Json) -> NodePod | None:
    """Read a pod; None if it uses no claim. One that terminates uses its claims to the end."""
    meta, spec = obj["metadata"], obj["spec"]
    if (obj.get("status") or {}).get("phase") in _OVER or not spec.get("nodeName"):
        return None
    found = (one.get("persistentVolumeClaim") for one in spec.get("volumes") or ())
    claims = frozenset(one["claimName"] for one in found if one)
    return NodePod(meta["uid"], meta["namespace"], claims) if claims else None


def _superseded(obj: Json) -> str:
    """A claim that is being deleted says so itself: no new pod gets it."""
    said = _annotations(obj).get(names.ANNOTATION_SUPERSEDED, "")
    if said == names.DELETING or "deletionTimestamp" in obj["metadata"]:
        return names.DELETING
    return names.OUTDATED if said else ""


def _annotations(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}
