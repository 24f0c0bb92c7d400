"""Builders for tests of the plan: a Cache and a tiny API server that obeys its actions.

The server holds objects as JSON and parses them as the operator does; storage and Jobs move only
when a test says so.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from gkm.api import names
from gkm.api.names import CACHE, CLUSTER_CACHE, SHARED, CacheKey
from gkm.core import inquire, parse, publish, retire
from gkm.core.actions import (
    Action,
    CheckUse,
    Create,
    Delete,
    DropStaging,
    Inquire,
    Patch,
    Plan,
    Reserve,
    Resolve,
)
from gkm.core.image import ImageFacts
from gkm.core.outcome import Outcome
from gkm.core.plan import plan
from gkm.core.view import (
    Claim,
    Entry,
    Job,
    JobPod,
    Looked,
    Node,
    Report,
    Said,
    Settings,
    StorageClass,
    Trouble,
    Use,
    View,
    Volume,
)

Json = dict[str, Any]
DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
IMAGE = "registry.test/kernels:v1"
KEY = CacheKey(CACHE, "a", "kernels")
FOUND = ImageFacts(DIGEST, {}, 1000)
SETTINGS = Settings(namespace="gkm-system", image="registry.test/gkm:1")
ON_HOST = replace(SETTINGS, host_path="/shared")
_PARSERS = {
    "PersistentVolumeClaim": parse.claim,
    "PersistentVolume": parse.volume,
    "Job": parse.job,
    "Pod": parse.job_pod,
}
Place = tuple[str, str, str]
STANDARD = StorageClass("standard", "uid-class", "1", default=True)


@dataclass
class World:
    """One Cache, its namespaces, and the objects that the plan's actions made."""

    key: CacheKey = KEY
    spec: Json = field(default_factory=dict)
    settings: Settings = SETTINGS
    now: float = 1000.0
    objects: dict[Place, Json] = field(default_factory=dict)
    namespaces: dict[str, bool] = field(default_factory=lambda: {"a": False})
    shadowed: frozenset[str] = frozenset()
    resolution: ImageFacts | Trouble | None = FOUND
    looked: Looked = field(default_factory=lambda: Looked(1000.0))
    uses: dict[str, Use] = field(default_factory=dict)
    users: list[Json] = field(default_factory=list)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    classes: dict[str, StorageClass] = field(default_factory=lambda: {"standard": STANDARD})
    events: dict[str, list[Json]] = field(default_factory=dict)
    """What Kubernetes says of an object, by its name."""
    logs: dict[str, str] = field(default_factory=dict)
    """Of each pod, by its name."""
    said: dict[str, Said] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    entries: tuple[tuple[str, Entry], ...] = ()
    silent: dict[str, float] = field(default_factory=dict)
    leaving: dict[str, float] = field(default_factory=dict)
    slots: int = 32
    writes: list[str] = field(default_factory=list)
    lists: int = 0
    """How often the pods of a namespace were listed."""
    version: int = 0

    def __post_init__(self) -> None:
        spec = {"image": IMAGE, "accessModes": ["ReadOnlyMany"], **self.spec}
        meta = {"name": self.key.name, "namespace": self.key.namespace, "generation": 1}
        self._put({"kind": self.key.kind, "metadata": meta, "spec": spec})

    # what a test does

    def settle(self) -> Plan:
        """Plan and obey until there is nothing to do; the status is stored as the operator does."""
        for _ in range(30):
            wanted = self.plan()
            self.leaving = {u: self.leaving.get(u, self.now) for u in wanted.leaving}
            if not wanted.actions:
                self._store_status(wanted)
                return wanted
            for action in wanted.actions:
                self.obey(action)
        raise AssertionError(f"never quiet: {self.writes[-10:]}")

    def plan(self) -> Plan:
        return plan(self.view(), self.settings, self.now)

    def edit(self, **spec: Any) -> None:
        """Change the Cache's spec."""
        cache = self.objects[self._cache]
        cache["spec"] |= spec
        cache["metadata"]["generation"] += 1
        self._put(cache)

    def delete_cache(self) -> None:
        cache = self.objects[self._cache]
        if cache["metadata"].get("finalizers"):
            cache["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self._put(cache)
        else:
            del self.objects[self._cache]

    def bind(self, claim: str, volume: str = "", *, namespace: str = "a") -> None:
        """Bind a claim, to a provisioned volume if it has none."""
        found = self.get("PersistentVolumeClaim", namespace, claim)
        volume = volume or found["spec"].get("volumeName") or self._reserved(namespace, claim)
        if ("PersistentVolume", "", volume) not in self.objects:
            self._put(_provisioned(volume, found))
        held = self.get("PersistentVolume", "", volume)
        held["spec"]["claimRef"] = {
            "namespace": namespace,
            "name": claim,
            "uid": found["metadata"]["uid"],
        }
        held["status"] = {"phase": "Bound"}
        self._put(held)
        found["spec"]["volumeName"] = volume
        found["status"] = {"phase": "Bound"}
        self._put(found)

    def _reserved(self, namespace: str, claim: str) -> str:
        """The volume whose claimRef names the claim, or a name for one that is provisioned."""
        for volume in self.all("PersistentVolume"):
            ref = volume["spec"].get("claimRef") or {}
            if (ref.get("namespace"), ref.get("name")) == (namespace, claim):
                return str(volume["metadata"]["name"])
        return f"pv-{claim}"

    def end_job(
        self, outcome: Outcome | None, *, code: int = 0, namespace: str = "a", node: str = SHARED
    ) -> None:
        """End the only Job of a namespace (and node), with what it had to say."""
        jobs = (o for o in self.all("Job") if o["metadata"]["namespace"] == namespace)
        job = next(o for o in jobs if _node(o) == node)
        ended: Json = {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
        if outcome is not None:
            ended["message"] = outcome.to_json()
        phase = "Succeeded" if code == 0 else "Failed"
        status = {"phase": phase, "containerStatuses": [{"state": {"terminated": ended}}]}
        self.put_pod(job, status)

    def put_pod(self, job: Json, status: Json, node: str = "") -> None:
        """Make a Job's pod, or change its status and place."""
        meta = {
            **job["spec"]["template"]["metadata"],
            "name": f"{job['metadata']['name']}-x",
            "namespace": job["metadata"]["namespace"],
            "ownerReferences": [{"kind": "Job", "uid": job["metadata"]["uid"]}],
        }
        spec = {"nodeName": node}
        self._put({"kind": "Pod", "metadata": meta, "spec": spec, "status": status})

    def change(self, obj: Json) -> None:
        """Change an object as somebody else would."""
        self._put(obj)

    def finish(self, digest: str = DIGEST, *, namespace: str = "a", node: str = SHARED) -> None:
        """Bind the staging claim and let the Job succeed."""
        for claim in self.all("PersistentVolumeClaim"):
            meta = claim["metadata"]
            here = meta["namespace"] == namespace and _node(claim) == node
            if meta["name"].endswith("-staging") and here:
                self.bind(meta["name"], namespace=namespace)
        self.end_job(Outcome("Extracted", "done", digest), namespace=namespace, node=node)

    def serve(self) -> Plan:
        """From nothing to Extracted."""
        self.settle()
        self.finish()
        self.settle()
        self.bind(self.key.name)
        return self.settle()

    # what a test looks at

    def view(self) -> View:
        cache = self.objects.get(self._cache)
        parsed = [_PARSERS[o["kind"]](o) for o in self.objects.values() if o["kind"] in _PARSERS]
        return View(
            key=self.key,
            cache=parse.cache(self.key.kind, cache) if cache else None,
            namespaces=self.namespaces,
            classes=self.classes,
            nodes=self.nodes,
            reports=self.reports,
            entries=self.entries,
            silent=self.silent,
            leaving=self.leaving,
            slots=self.slots,
            shadowed=self.shadowed,
            claims=tuple(o for o in parsed if isinstance(o, Claim)),
            volumes=tuple(o for o in parsed if isinstance(o, Volume)),
            jobs=tuple(o for o in parsed if isinstance(o, Job)),
            pods=tuple(o for o in parsed if isinstance(o, JobPod)),
            resolution=self.resolution,
            looked=self.looked,
            uses=self.uses,
            troubles=self.troubles,
            said=self.said,
        )

    @property
    def status(self) -> Json:
        return dict(self.objects[self._cache].get("status") or {})

    @property
    def ready(self) -> Json:
        return dict(self.status["conditions"][0])

    def get(self, kind: str, namespace: str, name: str) -> Json:
        return copy.deepcopy(self.objects[kind, namespace, name])

    def all(self, kind: str) -> list[Json]:
        return [copy.deepcopy(o) for place, o in self.objects.items() if place[0] == kind]

    def children(self) -> list[str]:
        """Kind and name of everything but the Cache, pods and unlabelled volumes."""
        kinds = ("PersistentVolumeClaim", "PersistentVolume", "Job")
        return sorted(f"{kind} {name}" for kind, _, name in self.objects if kind in kinds)

    # how it obeys

    @property
    def _cache(self) -> Place:
        return (self.key.kind, self.key.namespace, self.key.name)

    def obey(self, action: Action) -> None:  # noqa: C901 - one case per action
        match action:
            case Create(kind, body, _):
                meta = body["metadata"]
                place = (kind, meta.get("namespace", ""), meta["name"])
                assert place not in self.objects, f"{place} exists"
                self.writes.append(f"create {kind}")
                known = {"status": {"phase": "Available"}} if kind == "PersistentVolume" else {}
                self._put({**copy.deepcopy(body), "kind": kind, **known})
            case Patch(kind, namespace, name, body, _):
                self.writes.append(f"patch {kind}")
                patched = _merged(self.get(kind, namespace, name), body)
                if "claimRef" in body.get("spec", {}):
                    patched["status"] = {"phase": "Available"}  # as the binder says at once
                self._put(patched)
                self._drop_finished_cache()
            case Delete(kind, namespace, name, uid, _):
                self._delete(kind, namespace, name, uid)
            case DropStaging(namespace, name, uid):
                self._delete("PersistentVolumeClaim", namespace, name, uid)
            case Reserve():
                self.writes.append("patch PersistentVolume")
                volume = self.get("PersistentVolume", "", action.volume)
                self._put(_merged(volume, publish.reservation(volume, action)))
            case CheckUse(_, looks):
                self.lists += 1
                for one in looks:
                    earlier = self.uses.get(one.uid)
                    self.uses[one.uid] = retire.noted(earlier, self.users, one.claim, self.now)
            case Inquire("Log", _, name, uid, _):
                self.said[uid] = inquire.far(self.logs.get(name, ""), self.now)
            case Inquire(_, _, name, uid, _):
                found = self.events.get(name, [])
                self.said[uid] = inquire.heard(found, self.said.get(uid), self.now)
            case Resolve():
                raise AssertionError("the test gave no resolution")

    def _delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        self.writes.append(f"delete {kind}")
        gone = self.objects.pop((kind, namespace, name))
        assert gone["metadata"]["uid"] == uid
        for place in [p for p, o in self.objects.items() if _owned_by_job(o, uid)]:
            del self.objects[place]
        for volume in self._held_by(uid):
            if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
                del self.objects["PersistentVolume", "", volume["metadata"]["name"]]
            else:
                self._put({**volume, "status": {"phase": "Released"}})

    def _held_by(self, uid: str) -> Iterator[Json]:
        for volume in self.all("PersistentVolume"):
            if (volume["spec"].get("claimRef") or {}).get("uid") == uid:
                yield volume

    def _drop_finished_cache(self) -> None:
        cache = self.objects.get(self._cache)
        meta = cache["metadata"] if cache else {}
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            del self.objects[self._cache]

    def _store_status(self, wanted: Plan) -> None:
        cache = self.objects.get(self._cache)
        if cache is None or wanted.status is None:
            return
        before = parse.cache(self.key.kind, cache).status.dump()
        if wanted.status != before:
            self.writes.append("status")
            self._put({**cache, "status": json.loads(json.dumps(wanted.status))})

    def _put(self, obj: Json) -> None:
        obj = _merged({}, obj)
        meta = obj["metadata"]
        self.version += 1
        meta.setdefault("uid", f"uid-{self.version}")
        meta["resourceVersion"] = str(self.version)
        meta.setdefault("creationTimestamp", datetime.fromtimestamp(self.now, UTC).isoformat())
        self.objects[obj["kind"], meta.get("namespace", ""), meta["name"]] = obj


def cluster_world(*namespaces: str, **options: Any) -> World:
    """A ClusterGKMCache for these namespaces, all of which exist."""
    return World(
        key=CacheKey(CLUSTER_CACHE, "", "kernels"),
        spec={"workloadNamespaces": list(namespaces)},
        namespaces=dict.fromkeys(namespaces, False),
        **options,
    )


def _provisioned(name: str, claim: Json) -> Json:
    spec = claim["spec"]
    return {
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {names.ANNOTATION_PROVISIONER: "test"}},
        "spec": {
            "capacity": spec["resources"]["requests"],
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "standard",
        },
    }


def _node(obj: Json) -> str:
    return str(obj["metadata"]["labels"].get(names.LABEL_NODE, ""))


def _owned_by_job(obj: Json, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences", ()))


def _merged(obj: Json, patch: Json) -> Json:
    """RFC 7386, with the API server's check of a resourceVersion."""
    for key, value in patch.items():
        if key == "resourceVersion" and key in obj:
            assert obj[key] == value, "conflict"
        elif value is None:
            obj.pop(key, None)
        elif isinstance(value, dict):
            obj[key] = _merged(dict(obj.get(key) or {}), value)
        else:
            obj[key] = value
    return obj
