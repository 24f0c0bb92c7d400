"""A node that is played: it registers itself, binds pods and runs what they stand for.

No kubelet: a pod of GKM's Jobs is the real extraction program as a process of this machine, on the
directory of its claim's volume (init containers are skipped: they only change owners); any other
pod is a reader that stays until it is deleted. What is real is what everybody else sees: binding,
phases, exit codes, termination messages, and that a deleted pod stays until the node confirms it.
"""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gkm.kube.client import path
from gkm.kube.errors import ApiError
from tests.faults import runner, trees
from tests.faults.recorder import CLAIM, POD, VOLUME, Admin, Recorder, Seen, ours
from tests.faults.trees import Tree

Json = dict[str, Any]
NAME = "fault-node"
_HEARTBEAT_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_PATIENCE = 90.0


class Node:
    """Runs the pods of one stack; ``problems`` are violations of what pods may see."""

    def __init__(self, client: Admin, recorder: Recorder, folder: Path) -> None:
        self.problems: list[str] = []
        self.expected: dict[str, str] = {}
        """Of each digest that was pushed: the hash of its tree, extracted in peace."""
        self._client, self._recorder, self._folder = client, recorder, folder
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._seen_by: dict[str, tuple[Path, Tree]] = {}
        recorder.listeners.append(self._listen)

    async def run(self) -> None:
        """Register, and stay ready until cancelled."""
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}}
        await self._client.send("POST", "/api/v1/nodes", body)
        while True:
            now = _now()
            ready = {"type": "Ready", "status": "True", "reason": "Played", "message": ""}
            ready |= {"lastHeartbeatTime": now, "lastTransitionTime": now}
            status = {"status": {"conditions": [ready]}}
            await self._client.send("PATCH", f"/api/v1/nodes/{NAME}/status", status, patch=True)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def _listen(self, seen: Seen) -> None:
        if seen.kind != POD or seen.event == "DELETED":
            return
        known, going = self._pods.get(seen.uid), "deletionTimestamp" in seen.obj["metadata"]
        if going:
            if known is not None and not known.done():
                known.cancel()
            self._start(f"{seen.uid} end", self._end(seen.obj, known))
        elif known is None and _mounts(seen.obj):
            self._start(seen.uid, self._begin(seen.obj))

    def _start(self, key: str, work: Any) -> None:
        if key in self._pods:
            work.close()
            return
        self._pods[key] = task = asyncio.create_task(work)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self.problems.append(f"harness: the node failed: {task.exception()!r}")

    async def _begin(self, pod: Json) -> None:
        """Bind a pod once its claim is bound, and run it."""
        meta = pod["metadata"]
        folder = await self._mounted(meta["namespace"], _mounts(pod)[0])
        target = {"apiVersion": "v1", "kind": "Node", "name": NAME}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": _name(meta), "target": target}
        try:
            await self._client.send("POST", _place(meta, "binding"), body)
            if ours(pod):
                await self._extract(pod, folder)
            else:
                await self._read(pod, folder)
        except ApiError as error:
            # Deleted in the meantime: what is left to do is `_end`'s.
            if not (error.not_found or error.conflict):
                raise

    async def _mounted(self, namespace: str, claim: str) -> Path:
        """Wait until a claim is bound; the folder of its volume, made if need be."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            found = self._recorder.find(CLAIM, namespace, claim)
            if found is not None and (found.get("status") or {}).get("phase") == "Bound":
                volume = self._recorder.find(VOLUME, "", found["spec"]["volumeName"])
                if volume is not None:
                    return _folder(volume)
            await asyncio.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"claim {namespace}/{claim} is not bound after {_PATIENCE:.0f} s")

    async def _extract(self, pod: Json, folder: Path) -> None:
        container = pod["spec"]["containers"][0]
        await self._report(pod, "Running", {"running": {"startedAt": _now()}})
        ended = await runner.run(container, folder, self._folder / pod["metadata"]["uid"])
        await self._report(pod, *_over(ended))

    async def _read(self, pod: Json, folder: Path) -> None:
        """Be a workload: what it sees at its start must be one complete digest."""
        name, found = pod["metadata"]["name"], trees.read(folder)
        if not found.digest or self.expected.get(found.digest) != found.hash:
            self.problems.append(f"S1: pod {name} sees a tree that no image has: {found}")
        self._seen_by[pod["metadata"]["uid"]] = (folder, found)
        await self._report(pod, "Running", {"running": {"startedAt": _now()}})

    async def _end(self, pod: Json, begun: "asyncio.Task[None] | None") -> None:
        """Confirm that a pod is gone, as soon as it is."""
        meta = pod["metadata"]
        if begun is not None:
            with suppress(asyncio.CancelledError):
                await begun
        if meta["uid"] in self._seen_by:
            folder, before = self._seen_by.pop(meta["uid"])
            if trees.read(folder) != before:
                self.problems.append(f"S1: the tree changed under pod {meta['name']}")
        with suppress(ApiError):
            if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                killed = runner.Ended(143, "")
                await self._report(pod, *_over(killed))
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        with suppress(ApiError):
            await self._client.send("DELETE", _place(meta), options)

    async def _report(self, pod: Json, phase: str, state: Json) -> None:
        container = pod["spec"]["containers"][0]
        ready = phase == "Running"
        status = {
            "phase": phase,
            "startTime": _now(),
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": ready,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        await self._client.send("PATCH", _place(pod["metadata"], "status"), body, patch=True)


def _over(ended: runner.Ended) -> tuple[str, Json]:
    word = "Completed" if ended.code == 0 else "Error"
    terminated = {"exitCode": ended.code, "reason": word, "message": ended.message}
    return "Succeeded" if ended.code == 0 else "Failed", {
        "terminated": terminated | {"finishedAt": _now(), "startedAt": _now()}
    }


def _folder(volume: Json) -> Path:
    """The directory of a volume, made if need be: DirectoryOrCreate."""
    folder = Path(volume["spec"]["hostPath"]["path"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _mounts(pod: Json) -> list[str]:
    """Names of the claims that a pod mounts; pods without one are nobody's business here."""
    volumes = pod["spec"].get("volumes") or ()
    return [v[key]["claimName"] for v in volumes for key in v if key == "persistentVolumeClaim"]


def _name(meta: Json) -> Json:
    return {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}


def _place(meta: Json, subresource: str = "") -> str:
    return path("Pod", meta["namespace"], meta["name"], subresource)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
