"""A dynamic provisioner of folders for the class ``fault-shared``: makes them, and deletes them.

A claim that says on which node it is to be used gets a volume on that node's disk.

As real ones do, it looks at the volume again before it deletes anything: a volume that was taken
back in the meantime is not its own any more.
"""

import asyncio
import shutil
from contextlib import suppress
from typing import Any

from gkm.api import names
from gkm.kube.client import path
from gkm.kube.errors import ApiError
from tests.faults.disks import Disks
from tests.faults.recorder import CLAIM, VOLUME, Admin, Recorder, Seen

Json = dict[str, Any]
CLASS = "fault-shared"
PROVISIONER = "gkm.test/fault"


def storage_class() -> Json:
    """The class."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS},
        "provisioner": PROVISIONER,
        "volumeBindingMode": "Immediate",
        "reclaimPolicy": "Delete",
    }


class Provisioner:
    """Serves the class on one stack."""

    def __init__(self, client: Admin, recorder: Recorder, disks: Disks) -> None:
        self._client, self._disks = client, disks
        self._at: dict[str, asyncio.Task[None]] = {}
        self.problems: list[str] = []
        recorder.listeners.append(self._listen)

    def _listen(self, seen: Seen) -> None:
        if seen.event == "DELETED":
            return
        if seen.kind == CLAIM and _wants(seen.obj):
            self._start(f"make {seen.uid}", self._make(seen.obj))
        elif seen.kind == VOLUME and _given_back(seen.obj):
            self._start(f"delete {seen.uid}", self._delete(seen.obj["metadata"]["name"]))

    def _start(self, key: str, work: Any) -> None:
        if key in self._at and not self._at[key].done():
            work.close()
            return
        self._at[key] = task = asyncio.create_task(work)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self.problems.append(f"harness: the provisioner failed: {task.exception()!r}")

    async def _make(self, claim: Json) -> None:
        meta, spec = claim["metadata"], claim["spec"]
        name = f"pvc-{meta['uid']}"
        node = (meta.get("annotations") or {}).get(names.ANNOTATION_SELECTED_NODE, "")
        reference = {"apiVersion": "v1", "kind": CLAIM}
        reference |= {key: meta[key] for key in ("namespace", "name", "uid", "resourceVersion")}
        volume: Json = {
            "apiVersion": "v1",
            "kind": VOLUME,
            "metadata": {"name": name, "annotations": {names.ANNOTATION_PROVISIONER: PROVISIONER}},
            "spec": {
                "capacity": spec["resources"]["requests"],
                "accessModes": spec["accessModes"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": CLASS,
                "hostPath": {"path": str(self._disks.shared / name), "type": "DirectoryOrCreate"},
                "claimRef": reference,
                **({"nodeAffinity": _only(node)} if node else {}),
            },
        }
        self._disks.mounted(volume)
        try:
            await self._client.create(VOLUME, "", volume)
        except ApiError as error:
            if not error.conflict:
                raise

    async def _delete(self, name: str) -> None:
        volume = await self._client.get(VOLUME, "", name)
        if volume is None or not _given_back(volume):
            return
        shutil.rmtree(self._disks.folder(volume), ignore_errors=True)
        options = {"preconditions": {"uid": volume["metadata"]["uid"]}}
        with suppress(ApiError):
            await self._client.send("DELETE", path(VOLUME, "", name), options)


def _only(node: str) -> Json:
    host = {"key": names.LABEL_HOSTNAME, "operator": "In", "values": [node]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}}


def _wants(claim: Json) -> bool:
    spec = claim["spec"]
    pending = (claim.get("status") or {}).get("phase", "Pending") == "Pending"
    going = "deletionTimestamp" in claim["metadata"]
    return (
        pending
        and not going
        and spec.get("storageClassName") == CLASS
        and not spec.get("volumeName")
    )


def _given_back(volume: Json) -> bool:
    annotations = volume["metadata"].get("annotations") or {}
    return (
        annotations.get(names.ANNOTATION_PROVISIONER) == PROVISIONER
        and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        and (volume.get("status") or {}).get("phase") == "Released"
    )
