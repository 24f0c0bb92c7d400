"""Builds the children of a Cache as JSON: claims, volumes, Jobs. Decides nothing, talks to nobody.

Every child carries the same labels and annotations (``marks``), from which ``core.parse`` reads it
back; ownership follows the rule that garbage collection may take what is unfinished (staging
claim, Job) and never what a pod may use (serving claim, volume).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gkm.api import names
from gkm.api.cache import CacheSpec
from gkm.core.quantity import to_bytes
from gkm.core.scheduling import DAEMON_TOLERATIONS, pinned
from gkm.core.view import Cache, Settings, Volume

Json = dict[str, Any]

STAGING = "staging"
SERVING = "serving"
RECLAIM = "reclaim"
EXTRACT = "extract"
EMPTY = "empty"

HOST_PATH_CLASS = "gkm-host-path"
"""Class of the volumes that GKM makes and of the claims on them; no StorageClass has this name.

Each such volume is reserved for a claim by name at all times, so a claim of this class finds its
own volume and no other without naming it. That matters: the binder's two workers get into each
other's way, and lose 15 s, only over claims that name their volume.
"""
_UID = 1000
"""The user of our image; KIND's permission fix makes hostPath folders its own."""


@dataclass(frozen=True)
class CopyRef:
    """Who a child belongs to: enough to build and to name it, also after its Cache is gone."""

    id: str
    key: names.CacheKey
    cache_uid: str
    target: str
    digest: str
    node: str = ""
    """Name of the node; empty in shared mode, as its uid."""
    node_uid: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and node uid: at each place one copy serves."""
        return self.target, self.node_uid

    @property
    def where(self) -> str:
        """The place in words."""
        return f"{self.target} on node {self.node}" if self.node else self.target

    @property
    def staging(self) -> str:
        return names.staging_name(self.key.name, self.id)

    @property
    def waiting(self) -> str:
        """Name of the serving claim, if it is free: what pods may wait for."""
        if not self.node_uid:
            return self.key.name
        return names.waiting_name(self.key, self.cache_uid, self.node_uid)

    @property
    def serving_names(self) -> tuple[str, ...]:
        """Names that the serving claim may have: on a node several copies may serve."""
        own = names.child_name(self.key.name, self.id)
        return (self.waiting, own) if self.node_uid else (self.waiting,)

    @property
    def reclaim(self) -> str:
        return names.reclaim_name(self.key.name, self.id)

    @property
    def job(self) -> str:
        return names.child_name(self.key.name, self.id)

    @property
    def volume(self) -> str:
        """Name of the volume, where GKM makes it."""
        return names.child_name(self.key.name, self.id)


def marks(copy: CopyRef, role: str) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations of a child."""
    labels = {
        names.MANAGED_BY: names.MANAGER,
        names.LABEL_CACHE_UID: copy.cache_uid,
        names.LABEL_COPY: copy.id,
        names.LABEL_ROLE: role,
        names.LABEL_DIGEST: names.short_digest(copy.digest),
        names.LABEL_NODE: names.node_label(copy.node) if copy.node_uid else names.SHARED,
    }
    annotations = {
        names.ANNOTATION_CACHE: str(copy.key),
        names.ANNOTATION_DIGEST: copy.digest,
        names.ANNOTATION_TARGET: copy.target,
    }
    if copy.node_uid:
        annotations |= {
            names.ANNOTATION_NODE: copy.node,
            names.ANNOTATION_NODE_UID: copy.node_uid,
        }
    return labels, annotations


def makes_volume(spec: CacheSpec, settings: Settings) -> bool:
    """Whether GKM makes the volume itself: in KIND mode, for a Cache that names no class."""
    return bool(settings.host_path) and not spec.storage_class_name


def staging_mode(spec: CacheSpec) -> str:
    """The one access mode that the staging claim asks for: it has a single writer."""
    return "ReadWriteMany" if "ReadWriteMany" in spec.access_modes else "ReadWriteOnce"


def claim_input(spec: CacheSpec, size: int, settings: Settings) -> str:
    """Hash of what a staging claim is made from."""
    ours = makes_volume(spec, settings)
    return _hash([size, spec.storage_class_name, staging_mode(spec), ours])


def job_input(spec: CacheSpec, settings: Settings) -> str:
    """Hash of what an extraction Job is made from, besides the digest."""
    shape = spec.pod_template.dump()
    secrets = [secret.name for secret in spec.image_pull_secrets]
    return _hash([shape, spec.mount_path, spec.storage_size, secrets, settings.registry])


def serving_mode(copy: CopyRef) -> str:
    """The one access mode that the serving claim asks for."""
    return "ReadWriteOnce" if copy.node_uid else "ReadOnlyMany"


@dataclass(frozen=True)
class Wish:
    """What volumes are asked for: their bytes, and for which GPUs (JSON) their content is."""

    size: int
    targets: str
    settings: Settings


def staging_claim(cache: Cache, copy: CopyRef, wish: Wish) -> Json:
    """The claim that the extraction Job fills; dies with the Cache.

    For a node it says at once which: a class that binds at once must not choose another zone.
    """
    size, settings = wish.size, wish.settings
    labels, annotations = marks(copy, STAGING)
    annotations[names.ANNOTATION_INPUT] = claim_input(cache.spec, size, settings)
    annotations[names.ANNOTATION_TARGETS] = wish.targets
    spec: Json = {
        "accessModes": [staging_mode(cache.spec)],
        "resources": {"requests": {"storage": _mebibytes(size)}},
    }
    if makes_volume(cache.spec, settings):
        spec["storageClassName"] = HOST_PATH_CLASS
    else:
        if cache.spec.storage_class_name:
            spec["storageClassName"] = cache.spec.storage_class_name
        if copy.node:
            annotations[names.ANNOTATION_SELECTED_NODE] = copy.node
    meta = _meta(copy.target, copy.staging, labels, annotations)
    meta["ownerReferences"] = [_owner(cache)]
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}


def host_path_volume(cache: Cache, copy: CopyRef, wish: Wish, hostname: str) -> Json:
    """A volume in the folder that all nodes share, reserved by name for the staging claim.

    One for a node is bound to it, by its label ``kubernetes.io/hostname``.
    """
    labels, annotations = marks(copy, STAGING)
    path = f"{wish.settings.host_path.rstrip('/')}/{copy.volume}"
    annotations[names.ANNOTATION_HOST_PATH] = path
    meta = _meta("", copy.volume, labels, annotations)
    spec: Json = {
        "capacity": {"storage": _mebibytes(wish.size)},
        "accessModes": [staging_mode(cache.spec)],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": HOST_PATH_CLASS,
        "volumeMode": "Filesystem",
        "hostPath": {"path": path, "type": "DirectoryOrCreate"},
        "claimRef": claim_ref(copy.target, copy.staging),
    }
    if copy.node_uid:
        only = {"key": names.LABEL_HOSTNAME, "operator": "In", "values": [hostname]}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [only]}]}
        spec["nodeAffinity"] = {"required": terms}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": spec}


def claim_ref(namespace: str, name: str) -> Json:
    """A claimRef by name only: in a merge patch it lets go of whoever held the volume."""
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return kind | {"namespace": namespace, "name": name, "uid": None, "resourceVersion": None}


def serving_claim(copy: CopyRef, volume: Volume) -> Json:
    """The claim that workloads mount, on the volume that is reserved for it by this name."""
    place = (volume.claim_namespace, volume.claim_name)
    claim = _claim_on(copy, SERVING, place, volume, serving_mode(copy))
    claim["metadata"]["annotations"][names.ANNOTATION_TARGETS] = volume.targets
    return claim


def reclaim_claim(copy: CopyRef, volume: Volume, settings: Settings) -> Json:
    """The claim in GKM's namespace through which a volume is emptied or given back."""
    place = (settings.namespace, copy.reclaim)
    return _claim_on(copy, RECLAIM, place, volume, volume.access_mode)


def extract_job(
    cache: Cache, copy: CopyRef, staging_uid: str, settings: Settings, ref: str
) -> Json:
    """The Job that fills the staging claim; ``ref`` is ``repository@digest``."""
    labels, annotations = marks(copy, EXTRACT)
    annotations |= {
        names.ANNOTATION_INPUT: job_input(cache.spec, settings),
        names.ANNOTATION_STAGING: staging_uid,
    }
    args = ["extract", ref, "/volume", "--mount-path", cache.spec.mount_path]
    if cache.spec.storage_size:
        args += ["--at-most", str(to_bytes(cache.spec.storage_size))]
    pod = _pod(copy.staging, args, settings)
    pod["activeDeadlineSeconds"] = settings.deadline  # of the pod: a Job's runs while it waits, too
    if cache.spec.image_pull_secrets:
        _mount_secrets(pod, [secret.name for secret in cache.spec.image_pull_secrets])
    if makes_volume(cache.spec, settings):
        pod["initContainers"] = [_permission_fix(settings)]
    meta = _meta(copy.target, copy.job, labels, annotations)
    meta["ownerReferences"] = [_owner(cache)]
    job = _job(meta, labels, annotations, pod)
    _customise(job["spec"]["template"], cache.spec)
    _pin(pod, copy, DAEMON_TOLERATIONS)
    return job


def empty_job(copy: CopyRef, settings: Settings) -> Json:
    """The Job that empties a volume which GKM made, before the volume object goes."""
    labels, annotations = marks(copy, EMPTY)
    pod = _pod(copy.reclaim, ["extract", "--empty", "/volume"], settings)
    meta = _meta(settings.namespace, copy.reclaim, labels, annotations)
    _pin(pod, copy, ({"operator": "Exists"},))  # its Cache, which knew the taints, may be gone
    return _job(meta, labels, annotations, pod)


def _claim_on(copy: CopyRef, role: str, place: tuple[str, str], volume: Volume, mode: str) -> Json:
    labels, annotations = marks(copy, role)
    spec: Json = {
        "accessModes": [mode],
        "resources": {"requests": {"storage": volume.capacity}},
        "storageClassName": volume.storage_class,
    }
    if volume.storage_class != HOST_PATH_CLASS:
        spec["volumeName"] = volume.name
    meta = _meta(*place, labels, annotations)
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}


def _meta(
    namespace: str, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> Json:
    meta: Json = {"name": name, "labels": dict(labels), "annotations": dict(annotations)}
    return meta | {"namespace": namespace} if namespace else meta


def _owner(cache: Cache) -> Json:
    return {
        "apiVersion": names.API_VERSION,
        "kind": cache.key.kind,
        "name": cache.key.name,
        "uid": cache.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _job(meta: Json, labels: Json, annotations: Json, pod: Json) -> Json:
    template = {"metadata": {"labels": dict(labels), "annotations": dict(annotations)}, "spec": pod}
    spec = {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


def _pod(claim: str, args: list[str], settings: Settings) -> Json:
    container = {
        "name": "extract",
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": args,
        "env": [{"name": "GKM_REGISTRY", "value": settings.registry}],
        "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
        "resources": json.loads(settings.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "fsGroup": _UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim}}],
    }


def _mount_secrets(pod: Json, secrets: list[str]) -> None:
    """Give the extraction its logins as files; a Secret that is not there holds up nothing."""
    keys = names.DOCKER_CONFIG_KEYS
    sources = [
        {
            "secret": {
                "name": name,
                "optional": True,
                "items": [{"key": key, "path": f"{number}/{key}"} for key in keys],
            }
        }
        for number, name in enumerate(secrets)
    ]
    pod["volumes"].append({"name": "secrets", "projected": {"sources": sources}})
    mount = {"name": "secrets", "mountPath": names.SECRETS_FOLDER, "readOnly": True}
    pod["containers"][0]["volumeMounts"].append(mount)


def _permission_fix(settings: Settings) -> Json:
    """KIND only: the kubelet makes a hostPath folder as root and applies no fsGroup to it."""
    script = (
        "import os; os.chown('/volume', 1000, 1000); os.chmod('/volume', 0o775)"  # one folder: ours
    )
    return {
        "name": "fix-permissions",
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["/opt/gkm/bin/python", "-c", script],
        "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "FOWNER"]},
            "readOnlyRootFilesystem": True,
        },
    }


def _customise(template: Json, spec: CacheSpec) -> None:
    """Apply the user's podTemplate; our own labels stay, because we find our pods by them."""
    custom = spec.pod_template
    meta = template["metadata"]
    meta["labels"] = custom.metadata.labels | meta["labels"]
    meta["annotations"] = custom.metadata.annotations | meta["annotations"]
    template["spec"] |= custom.spec.model_dump(by_alias=True, exclude_defaults=True, mode="json")


def _pin(pod: Json, copy: CopyRef, tolerations: Iterable[Mapping[str, Any]]) -> None:
    """Let the pod of a per-node copy run on its node only, and there in any case."""
    if copy.node_uid:
        pod["affinity"] = pinned(pod.get("affinity"), copy.node)
        pod["tolerations"] = [*(pod.get("tolerations") or ()), *map(dict, tolerations)]


def _mebibytes(size: int) -> str:
    """A size that a person can read in ``kubectl get``, rounded up."""
    return f"{-(-size // 1024**2)}Mi"


def _hash(parts: list[Any]) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
