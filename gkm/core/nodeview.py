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
from gkm.core.genuine import is_genuine, ref_of
from gkm.core.objects import SERVING, STAGING, CopyRef

Json = dict[str, Any]

_OVER = ("Succeeded", "Failed")
_LONGEST_NAME = 63
_DIGEST = re.compile(r"[a-z0-9]{1,16}:[0-9a-f]{32,128}")
"""Both bound what one claim adds to a report: whoever may make claims of any name can forge one."""
_LONGEST_TEXT = 5120
"""Characters of an annotation, of which 256 KiB are allowed: a failure is what a Job can say in its
4 KiB, and so many kinds of GPUs (about seventy) nothing is compiled for."""
_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_LABELS = (names.LABEL_CACHE_UID, names.LABEL_COPY, names.LABEL_NODE, names.LABEL_ROLE)
_ANNOTATIONS = (
    names.ANNOTATION_CACHE,
    names.ANNOTATION_DIGEST,
    names.ANNOTATION_FAILED,
    names.ANNOTATION_NODE,
    names.ANNOTATION_NODE_UID,
    names.ANNOTATION_SUPERSEDED,
    names.ANNOTATION_TARGET,
    names.ANNOTATION_TARGETS,
)


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
    ``failed`` are texts of annotations; ``superseded`` is Outdated, Deleting or empty; ``created``
    is when, as the API server writes it.
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
    created: str = ""


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
    labels, ref = meta.get("labels") or {}, ref_of(meta)
    role = labels.get(names.LABEL_ROLE, "")
    if ref is None or role not in (STAGING, SERVING) or not _fits(ref):
        return None
    if not is_genuine(ref, role, meta["namespace"], meta["name"], ""):
        return None
    return NodeClaim(
        namespace=meta["namespace"],
        name=meta["name"],
        key=ref.key,
        digest=ref.digest,
        role=role,
        shared=labels.get(names.LABEL_NODE) == names.SHARED,
        node_uid=ref.node_uid,
        targets=annotations.get(names.ANNOTATION_TARGETS, ""),
        failed=annotations.get(names.ANNOTATION_FAILED, ""),
        superseded=_superseded(obj),
        created=meta.get("creationTimestamp", ""),
    )


def slim_claim(obj: Json) -> Json:
    """Keep of a claim what ``claim`` reads, and no text that is longer than any of GKM's."""
    meta, labels, said = obj["metadata"], obj["metadata"].get("labels") or {}, _annotations(obj)
    texts = {name: said[name] for name in _ANNOTATIONS if name in said}
    kept = {name: meta[name] for name in _META if name in meta}
    kept["labels"] = {name: labels[name] for name in _LABELS if name in labels}
    kept["annotations"] = {name: t for name, t in texts.items() if len(t) <= _LONGEST_TEXT}
    return {"metadata": kept}


def pod(obj: Json) -> NodePod | None:
    """Read a pod; None if it uses no claim. One that terminates uses its claims to the end."""
    meta, spec = obj["metadata"], obj["spec"]
    if (obj.get("status") or {}).get("phase") in _OVER or not spec.get("nodeName"):
        return None
    found = (one.get("persistentVolumeClaim") for one in spec.get("volumes") or ())
    claims = frozenset(one["claimName"] for one in found if one)
    return NodePod(meta["uid"], meta["namespace"], claims) if claims else None


def slim_pod(obj: Json) -> Json:
    """Keep of a pod what ``pod`` reads: a node has a hundred, and some are large."""
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    claims = [one.get("persistentVolumeClaim") for one in spec.get("volumes") or ()]
    volumes = [{"persistentVolumeClaim": one} for one in claims if one]
    return {
        "metadata": {name: meta[name] for name in _META if name in meta},
        "spec": {"nodeName": spec.get("nodeName"), "volumes": volumes},
        "status": {"phase": status.get("phase")},
    }


def _fits(ref: CopyRef) -> bool:
    """Whether its Cache is of the claim's own namespace or of the cluster, and its words are short.

    ``is_genuine`` does not ask of which kind the Cache is; here the kind decides what a namespace
    may speak about.
    """
    if len(ref.key.name) > _LONGEST_NAME or not _DIGEST.fullmatch(ref.digest):
        return False
    return ref.key.namespace == (ref.target if ref.key.kind == CACHE else "")


def _superseded(obj: Json) -> str:
    """A claim that is being deleted says so itself: no new pod gets it."""
    said = _annotations(obj).get(names.ANNOTATION_SUPERSEDED, "")
    if said == names.DELETING or "deletionTimestamp" in obj["metadata"]:
        return names.DELETING
    return names.OUTDATED if said else ""


def _annotations(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}
