"""A node that is played: it registers itself, binds pods and runs what they stand for.

No kubelet: a pod of GKM's Jobs is the real extraction program as a process of this machine, on the
folder of its claim's volume (its init container is skipped: it only changes owners); a pod of
GKM's agent is the real agent; any other pod is a reader that stays until it is deleted. What is
real is what everybody else sees: binding, phases, exit codes, termination messages, and that a
deleted pod stays until the node confirms it.
"""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gkm.core.podlayer import checks
from gkm.core.podnode import node_of
from gkm.kube.errors import ApiError
from tests.faults import podstatus, trees
from tests.faults.agent import Agent, is_agent
from tests.faults.disks import Disks
from tests.faults.podstatus import now, place
from tests.faults.program import Spawner
from tests.faults.recorder import CLAIM, POD, VOLUME, Admin, Recorder, Seen, ours
from tests.faults.runner import Ended, Runner
from tests.faults.trees import Tree

Json = dict[str, Any]
_HEARTBEAT_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_PATIENCE = 90.0


@dataclass
class Site:
    """What the nodes of one stack share."""

    client: Admin
    recorder: Recorder
    disks: Disks
    scratch: Path
    extractions: Spawner
    expected: dict[str, str]
    """Of each digest that was pushed: the hash of its tree, extracted in peace."""
    held: str = ""
    """Namespace in which extractions stand still."""
    problems: list[str] = field(default_factory=list)
    """Violations of what pods may see, and faults of the harness."""
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(self, namespace: str) -> None:
        """Let the extractions of a namespace stand still."""
        self.held = namespace
        self._released.clear()

    def release(self) -> None:
        """Let them go on."""
        self.held = ""
        self._released.set()

    async def may_extract(self, namespace: str) -> None:
        """Wait until the extractions of a namespace may go on."""
        if namespace == self.held:
            await self._released.wait()


class Node:
    """Runs the pods that are its own; ``main``: those, too, that are nobody's."""

    def __init__(self, name: str, site: Site, agent: Agent, *, main: bool) -> None:
        self._runner = Runner(site.extractions)
        self.name, self.agent, self.here = name, agent, False
        self.uids: list[str] = []
        """Of each Node object that it has ever been, in their order."""
        self._site, self._main = site, main
        self._beat: asyncio.Task[None] | None = None
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._seen_by: dict[str, tuple[Path, Tree]] = {}
        site.recorder.listeners.append(self._listen)

    async def join(self) -> None:
        """Register, and stay ready."""
        labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": self.name}
        meta = {"name": self.name, "labels": labels}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": meta}
        self.here = True  # its first pods come before the answer does
        made = await self._site.client.send("POST", "/api/v1/nodes", body)
        self.uids.append(made["metadata"]["uid"])
        self._site.disks.there[self.name] = self.uids[-1]
        self._beat = asyncio.create_task(self._stay())

    async def leave(self) -> None:
        """Go for good, with the disk, the programs and the pods.

        The pods are cleared away at once, which Kubernetes itself does after a minute.
        """
        self.here = False
        del self._site.disks.there[self.name]
        await self._stop()
        await self._site.client.send("DELETE", f"/api/v1/nodes/{self.name}")
        for pod in self._site.recorder.all(POD):
            if pod["spec"].get("nodeName") == self.name:
                await self._confirm(pod)
        self._seen_by.clear()
        self._site.disks.renew(self.name)

    def kill(self) -> None:
        """Kill every program that runs here, at once."""
        self.agent.program.kill()
        self._runner.kill()

    async def stop(self) -> None:
        """End everything that runs here; the Node object stays."""
        self.here = False
        await self._stop()
        await self.agent.stop()

    async def _stop(self) -> None:
        tasks = [task for task in (self._beat, *self._pods.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pods.clear()

    async def _stay(self) -> None:
        while True:
            at = now()
            ready = {"type": "Ready", "status": "True", "reason": "Played", "message": ""}
            ready |= {"lastHeartbeatTime": at, "lastTransitionTime": at}
            status = {"status": {"conditions": [ready]}}
            where = f"/api/v1/nodes/{self.name}/status"
            await self._site.client.send("PATCH", where, status, patch=True)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def _listen(self, seen: Seen) -> None:
        if seen.kind != POD or not self.here or not self._is_mine(seen.obj):
            return
        known, going = self._pods.get(seen.uid), "deletionTimestamp" in seen.obj["metadata"]
        if (going or seen.event == "DELETED") and known is not None:
            known.cancel()
        if seen.event == "DELETED":
            return
        if going:
            self._start(f"{seen.uid} end", self._end(seen.obj, known))
        elif known is None and (_mounts(seen.obj) or is_agent(seen.obj)):
            self._start(seen.uid, self._begin(seen.obj))

    def _is_mine(self, pod: Json) -> bool:
        where = node_of(pod["spec"], {})
        return where == self.name if where else self._main

    def _start(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        if key in self._pods:
            work.close()
            return
        self._pods[key] = task = asyncio.create_task(work)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self._site.problems.append(f"harness: the node failed: {task.exception()!r}")

    async def _begin(self, pod: Json) -> None:
        """Bind a pod once its claim is bound, and run it."""
        try:
            if is_agent(pod):
                await self._bind(pod)
                await self.agent.run(pod)
                return
            folder = await self._mounted(pod["metadata"]["namespace"], _mounts(pod)[0])
            await self._bind(pod)
            await (self._extract(pod, folder) if ours(pod) else self._read(pod, folder))
        except ApiError as error:
            # Deleted in the meantime: what is left to do is `_end`'s.
            if not (error.not_found or error.conflict):
                raise

    async def _bind(self, pod: Json) -> None:
        meta = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": self.name}
        name = {key: meta[key] for key in ("name", "namespace", "uid")}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": name, "target": target}
        await self._site.client.send("POST", place(meta, "binding"), body)

    async def _mounted(self, namespace: str, claim: str) -> Path:
        """Wait until a claim is bound; the folder of its volume, made if need be."""
        until, recorder = time.monotonic() + _PATIENCE, self._site.recorder
        while time.monotonic() < until:
            found = recorder.find(CLAIM, namespace, claim)
            if found is not None and (found.get("status") or {}).get("phase") == "Bound":
                volume = recorder.find(VOLUME, "", found["spec"]["volumeName"])
                if volume is not None:
                    return self._site.disks.mounted(volume)
            await asyncio.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"claim {namespace}/{claim} is not bound after {_PATIENCE:.0f} s")

    async def _extract(self, pod: Json, folder: Path) -> None:
        container, meta = pod["spec"]["containers"][0], pod["metadata"]
        await podstatus.running(self._site.client, pod)
        await self._site.may_extract(meta["namespace"])
        ended = await self._runner.run(container, folder, self._site.scratch / meta["uid"])
        await podstatus.over(self._site.client, pod, ended)

    async def _read(self, pod: Json, folder: Path) -> None:
        """Be a workload: what it sees at its start must be one complete digest."""
        name, found = pod["metadata"]["name"], trees.read(folder)
        while checks(pod["spec"]) and not found.digest:
            # The init container that the webhook gave it fails, and is tried again.
            await asyncio.sleep(_LOOK_SECONDS)
            found = trees.read(folder)
        if not found.digest or self._site.expected.get(found.digest) != found.hash:
            self._site.problems.append(f"S1: pod {name} sees a tree that no image has: {found}")
        self._seen_by[pod["metadata"]["uid"]] = (folder, found)
        await podstatus.running(self._site.client, pod)

    async def _end(self, pod: Json, begun: "asyncio.Task[None] | None") -> None:
        """Confirm that a pod is gone, as soon as it is."""
        meta = pod["metadata"]
        if begun is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.gather(begun, return_exceptions=True)
        if meta["uid"] in self._seen_by:
            folder, before = self._seen_by.pop(meta["uid"])
            if trees.read(folder) != before:
                self._site.problems.append(f"S1: the tree changed under pod {meta['name']}")
        with suppress(ApiError):
            if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                await podstatus.over(self._site.client, pod, Ended(143, ""))
        await self._confirm(pod)

    async def _confirm(self, pod: Json) -> None:
        meta = pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        with suppress(ApiError):
            await self._site.client.send("DELETE", place(meta), options)


def _mounts(pod: Json) -> list[str]:
    """Names of the claims that a pod mounts; pods without one are nobody's business here."""
    volumes = pod["spec"].get("volumes") or ()
    return [v[key]["claimName"] for v in volumes for key in v if key == "persistentVolumeClaim"]
