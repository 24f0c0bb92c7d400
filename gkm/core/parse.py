"""From the API server's JSON to the values of ``core.view``.

Strict about what is ours: an object without readable labels and annotations of GKM is None, so
nothing that merely looks like a child is ever touched. Lenient about everything else.
"""

import math
from datetime import datetime
from typing import Any, TypedDict

from gkm.api import names
from gkm.api.cache import CacheSpec, CacheStatus
from gkm.api.names import CacheKey
from gkm.core import nodegpus, nodereport
from gkm.core.genuine import ref_of
from gkm.core.outcome import Outcome
from gkm.core.view import (
    AgentPod,
    Cache,
    Claim,
    Entry,
    Job,
    JobPod,
    Namespace,
    Node,
    Report,
    StorageClass,
    Taint,
    Volume,
)

Json = dict[str, Any]
NOT_READY = "NotReady"
"""Trouble of a node that nobody hears of."""


def cache(kind: str, obj: Json) -> Cache:
    """Read a Cache. Raises pydantic's ValidationError for what the CRD would have refused."""
    meta = obj["metadata"]
    return Cache(
        key=CacheKey(kind, meta.get("namespace", ""), meta["name"]),
        uid=meta["uid"],
        version=meta["resourceVersion"],
        generation=meta.get("generation", 0),
        spec=CacheSpec.model_validate(obj.get("spec") or {}),
        status=CacheStatus.model_validate(obj.get("status") or {}),
        finalizers=tuple(meta.get("finalizers") or ()),
        deleting="deletionTimestamp" in meta,
    )


def namespace(obj: Json) -> Namespace:
    """Read a namespace."""
    meta = obj["metadata"]
    going = "deletionTimestamp" in meta or _status(obj).get("phase") == "Terminating"
    return Namespace(meta["name"], meta["uid"], meta["resourceVersion"], going)


def storage_class(obj: Json) -> StorageClass:
    """Read a storage class."""
    meta = obj["metadata"]
    default = _annotations(obj).get(names.ANNOTATION_DEFAULT_CLASS) == "true"
    return StorageClass(meta["name"], meta["uid"], meta["resourceVersion"], default)


def node(obj: Json) -> Node:
    """Read a node."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    taints = (Taint(t["key"], t.get("value", ""), t["effect"]) for t in spec.get("taints") or ())
    return Node(
        meta["name"],
        meta["uid"],
        meta["resourceVersion"],
        labels=meta.get("labels") or {},
        taints=tuple(taints),
        trouble=_node_trouble(_status(obj)),
        deleting="deletionTimestamp" in meta,
    )


def report(obj: Json) -> Report:
    """Read a CacheNode of either kind."""
    meta, status = obj["metadata"], nodereport.read(_status(obj))
    owners = (o["uid"] for o in meta.get("ownerReferences") or () if o["kind"] == "Node")
    namespace = meta.get("namespace", "")
    return Report(
        meta["name"],
        meta["uid"],
        meta["resourceVersion"],
        namespace,
        node_uid=next(owners, ""),
        gpus=None if namespace else nodegpus.reported(status),
        entries=tuple(
            Entry(cache, digest, said.namespace, said.claim, said.pods)
            for cache, digests in sorted(status.caches.items())
            for digest, entry in sorted(digests.items())
            for said in entry.claims
        ),
    )


def claim(obj: Json) -> Claim | None:
    """Read a claim of ours."""
    marks = _marks(obj)
    if marks is None:
        return None
    return Claim(
        **marks,
        phase=_status(obj).get("phase", "Pending"),
        volume=obj["spec"].get("volumeName", ""),
        failed=_annotations(obj).get(names.ANNOTATION_FAILED, ""),
        created=_time(obj["metadata"].get("creationTimestamp", "")),
        nudged=_number(_annotations(obj).get(names.ANNOTATION_NUDGE, "")),
        superseded=_annotations(obj).get(names.ANNOTATION_SUPERSEDED, ""),
    )


def volume(obj: Json) -> Volume | None:
    """Read a volume that carries our labels."""
    marks = _marks(obj)
    if marks is None:
        return None
    spec = obj["spec"]
    ref = spec.get("claimRef") or {}
    return Volume(
        **marks,
        phase=_status(obj).get("phase", "Pending"),
        phase_since=_time(_status(obj).get("lastPhaseTransitionTime") or ""),
        claim_namespace=ref.get("namespace", ""),
        claim_name=ref.get("name", ""),
        claim_uid=ref.get("uid", ""),
        storage_class=spec.get("storageClassName", ""),
        capacity=spec["capacity"]["storage"],
        access_mode=spec["accessModes"][0],
        reclaim_policy=spec.get("persistentVolumeReclaimPolicy", "Retain"),
        host_path=_annotations(obj).get(names.ANNOTATION_HOST_PATH, ""),
        provisioned=names.ANNOTATION_PROVISIONER in _annotations(obj),
        nodes=_reachable_from(spec),
        targets=_annotations(obj).get(names.ANNOTATION_TARGETS, ""),
        outcome=Outcome.parse(_annotations(obj).get(names.ANNOTATION_OUTCOME, "")),
    )


def job(obj: Json) -> Job | None:
    """Read a Job of ours."""
    marks = _marks(obj)
    if marks is None:
        return None
    true = [c for c in _status(obj).get("conditions") or () if c.get("status") == "True"]
    conditions = {c["type"]: c.get("reason", "Failed") for c in true}
    conditions_at = [c["lastTransitionTime"] for c in true if c["type"] in ("Complete", "Failed")]
    return Job(
        **marks,
        created=_time(obj["metadata"].get("creationTimestamp", "")),
        staging_uid=_annotations(obj).get(names.ANNOTATION_STAGING, ""),
        ended=max(map(_time, conditions_at), default=0.0),
        done="Complete" in conditions,
        failed=conditions.get("Failed", ""),
    )


def job_pod(obj: Json) -> JobPod | None:
    """Read a pod of one of our Jobs."""
    key = CacheKey.parse(_annotations(obj).get(names.ANNOTATION_CACHE, ""))
    meta, status = obj["metadata"], _status(obj)
    owner = next((o for o in meta.get("ownerReferences") or () if o["kind"] == "Job"), None)
    if key is None or owner is None:
        return None
    ended = _terminated(status)
    return JobPod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=meta["resourceVersion"],
        key=key,
        job_uid=owner["uid"],
        phase=status.get("phase", "Pending"),
        node=(obj.get("spec") or {}).get("nodeName", ""),
        started=_started(status),
        waiting=_waiting(status),
        exit_code=ended.get("exitCode"),
        outcome=Outcome.parse(ended.get("message", "")),
        ended=_ending(status, ended),
    )


def agent_pod(obj: Json) -> AgentPod | None:
    """Read the pod of an agent; None until it is on a node."""
    meta, node = obj["metadata"], (obj.get("spec") or {}).get("nodeName", "")
    conditions = _status(obj).get("conditions") or ()
    ready = next((c for c in conditions if c["type"] == "Ready"), None)
    if not node or ready is None:
        return None
    silent = 0.0 if ready["status"] == "True" else _time(ready["lastTransitionTime"])
    return AgentPod(meta["name"], meta["uid"], meta["resourceVersion"], node, silent)


class _Marks(TypedDict):
    namespace: str
    name: str
    uid: str
    version: str
    key: CacheKey
    cache_uid: str
    copy: str
    digest: str
    target: str
    role: str
    input_hash: str
    deleting: bool
    node: str
    node_uid: str


def _marks(obj: Json) -> _Marks | None:
    meta, annotations = obj["metadata"], _annotations(obj)
    ref = ref_of(meta)
    if ref is None:
        return None
    return _Marks(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        uid=meta["uid"],
        version=meta["resourceVersion"],
        key=ref.key,
        cache_uid=ref.cache_uid,
        copy=ref.id,
        digest=ref.digest,
        target=ref.target,
        role=(meta.get("labels") or {}).get(names.LABEL_ROLE, ""),
        input_hash=annotations.get(names.ANNOTATION_INPUT, ""),
        deleting="deletionTimestamp" in meta,
        node=ref.node,
        node_uid=ref.node_uid,
    )


def _node_trouble(status: Json) -> str:
    """The first condition of the node because of which it takes no new pods."""
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    if conditions.get("Ready") != "True":
        return NOT_READY
    return next((t for t, s in conditions.items() if t.endswith("Pressure") and s == "True"), "")


def _reachable_from(spec: Json) -> str:
    """The nodes of a volume's required node affinity, as ``kubectl describe pv`` says them."""
    required = (spec.get("nodeAffinity") or {}).get("required") or {}
    terms = [
        " and ".join(
            f"{r['key']} {r['operator'].lower()} ({', '.join(r.get('values') or ())})"
            for r in (*(term.get("matchExpressions") or ()), *(term.get("matchFields") or ()))
        )
        for term in required.get("nodeSelectorTerms") or ()
    ]
    return ", or ".join(terms)


def _annotations(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def _status(obj: Json) -> Json:
    return obj.get("status") or {}


def _terminated(status: Json) -> Json:
    """The end of the container that ended, the main one before an init container."""
    every = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    ends = [(c.get("state") or {}).get("terminated") for c in every]
    bad = [end for end in ends if end and end.get("exitCode")]
    return next(iter(bad), None) or next((end for end in ends if end), None) or {}


def _started(status: Json) -> float:
    """When the main container began, if it runs now."""
    states = [c.get("state") or {} for c in status.get("containerStatuses") or ()]
    running = [state["running"] for state in states if state.get("running")]
    return _time(running[0].get("startedAt") or "") if running else 0.0


def _ending(status: Json, ended: Json) -> str:
    if status.get("phase") != "Failed":
        return ""
    reason: str = status.get("reason") or ended.get("reason") or "Failed"
    return reason


def _waiting(status: Json) -> str:
    """What the scheduler or the kubelet says a pending pod waits for; empty if nothing is wrong."""
    if status.get("phase") != "Pending":
        return ""
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    every = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in every:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    return ""


def _number(text: str) -> float:
    """A time from an annotation that anybody may have written."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
