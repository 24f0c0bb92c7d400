"""One run's names on one stack, and what users do there: Caches, namespaces, pods, nodes.

Names carry the stack's present generation, so that what a failed run leaves behind cannot get into
the next one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from gkm.api import names
from gkm.kube.client import path
from gkm.kube.errors import ApiError
from tests.faults import install
from tests.faults.provisioner import CLASS
from tests.faults.recorder import CLAIM, POD
from tests.faults.stack import Stack

Json = dict[str, Any]
SHARED = ("made by GKM", "provisioned")
PER_NODE = ("per node", "per node, provisioned")
READER = "reader"
_DAEMONSETS = "/apis/apps/v1/namespaces/{}/daemonsets"
_PATIENCE = 60.0
_LOOK = 0.05


@dataclass(frozen=True)
class World:
    """What a workload has in its hands."""

    stack: Stack
    storage: str
    generation: str
    turn: int
    """Of the run, among all of its stack."""
    first: dict[str, int] = field(default_factory=dict)
    """Which life of each node was its first in this run."""

    @property
    def cache(self) -> str:
        """Name of every Cache."""
        return f"kernels-{self.generation}"

    @property
    def per_node(self) -> bool:
        """Whether Caches have a copy on each node."""
        return self.storage in PER_NODE

    @property
    def copies(self) -> int:
        """How many copies a namespace gets."""
        return len(self.stack.present) if self.per_node else 1

    def lives(self) -> dict[str, str]:
        """Words for the uids of all nodes, also of those that they had before."""
        return {
            uid: f"{node.name.upper()}.{life - self.first.get(node.name, 0)}"
            for node in self.stack.nodes
            for life, uid in enumerate(node.uids)
        }

    def space(self, number: int) -> str:
        """A workload namespace; the fourth is the run's own, and not there at first."""
        return f"space-{number}-{self.generation}{f'-{self.turn}' if number == 4 else ''}"

    async def begin(self) -> None:
        """Make the first three namespaces; those that are there may stay."""
        self.first.update({node.name: len(node.uids) - 1 for node in self.stack.nodes})
        for number in (1, 2, 3):
            await self.make_space(number)

    async def make_space(self, number: int) -> None:
        """Make a namespace in which pods can be made."""
        name, client = self.space(number), self.stack.client
        if await client.get("Namespace", "", name) is None:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await client.create("Namespace", "", body)
            account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            await self.until("the service account is there", lambda: self._exists(account))

    async def delete_space(self, number: int) -> None:
        """Delete a namespace, if it is there, and wait until it is gone."""
        where = path("Namespace", "", self.space(number))
        await self.remove(where)

        async def gone() -> bool:
            return not await self._exists(where)

        await self.until("the namespace is gone", gone)

    async def remove(self, where: str) -> None:
        """Delete an object that may be gone already."""
        try:
            await self.stack.client.send("DELETE", where)
        except ApiError as error:
            if not error.not_found:
                raise

    async def _exists(self, where: str) -> bool:
        try:
            await self.stack.client.send("GET", where)
        except ApiError as error:
            if not error.not_found:
                raise
            return False
        return True

    async def apply(self, kind: str, *numbers: int, image: int = 0) -> None:
        """Make the Cache; a ClusterGKMCache for the namespaces with these numbers."""
        mode = "ReadWriteOnce" if self.per_node else "ReadOnlyMany"
        spec: Json = {"image": self.stack.images[image].reference, "accessModes": [mode]}
        if self.storage.endswith("provisioned"):
            spec["storageClassName"] = CLASS
        if kind == names.CLUSTER_CACHE:
            spec["workloadNamespaces"] = [self.space(number) for number in numbers]
        meta = {"name": self.cache}
        meta |= {"namespace": self.place(kind)} if self.place(kind) else {}
        body = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": meta, "spec": spec}
        await self.stack.client.create(kind, self.place(kind), body)

    async def edit(self, kind: str, spec: Json) -> None:
        """Change the spec."""
        await self.stack.client.patch(kind, self.place(kind), self.cache, {"spec": spec})

    async def delete(self, kind: str) -> None:
        """Delete the Cache; it goes when its finalizer does."""
        await self.stack.client.send("DELETE", path(kind, self.place(kind), self.cache))

    def place(self, kind: str) -> str:
        """Namespace of a Cache."""
        return self.space(1) if kind == names.CACHE else ""

    def found(self, kind: str) -> Json | None:
        """The Cache as it is now."""
        return self.stack.recorder.find(kind, self.place(kind), self.cache)

    def ready(self, kind: str) -> Json:
        """Its first condition."""
        status: Json = (self.found(kind) or {}).get("status") or {}
        found: Json = next(iter(status.get("conditions") or ()), {"reason": "", "message": ""})
        return found

    async def use(self) -> None:
        """Let pods use the cache in the first namespace: one, or one on each node."""
        volume = {"name": "cache", "persistentVolumeClaim": {"claimName": self.cache}}
        mount = {"name": "cache", "mountPath": "/cache", "readOnly": True}
        container = {"name": "main", "image": "example.com/reader:faults", "volumeMounts": [mount]}
        labels = {"app": READER} | ({names.LABEL_MUTATION: "true"} if self.per_node else {})
        template: Json = {
            "metadata": {"labels": labels},
            "spec": {"containers": [container], "volumes": [volume]},
        }
        if not self.per_node:
            meta = {"name": READER, "namespace": self.space(1), "labels": labels}
            body = template | {"apiVersion": "v1", "kind": POD, "metadata": meta}
            await self.stack.client.create(POD, self.space(1), body)
            return
        spec = {"selector": {"matchLabels": {"app": READER}}, "template": template}
        body = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": READER}}
        await self.stack.client.send(
            "POST", _DAEMONSETS.format(self.space(1)), {**body, "spec": spec}
        )

    def readers(self, image: int = 0) -> bool:
        """Whether the pods that use the cache run, each on a claim of this image."""
        found = [pod for pod in self._pods() if "deletionTimestamp" not in pod["metadata"]]
        running = [p for p in found if (p.get("status") or {}).get("phase") == "Running"]
        digest = self.stack.images[image].digest
        right = all(self._digest(pod) == digest for pod in running)
        return right and len(running) == len(found) == self.copies

    def _digest(self, pod: Json) -> str:
        volumes = pod["spec"]["volumes"]
        claims = [v["persistentVolumeClaim"] for v in volumes if "persistentVolumeClaim" in v]
        place = (pod["metadata"]["namespace"], claims[0]["claimName"])
        claim = self.stack.recorder.find(CLAIM, *place)
        return str(claim["metadata"]["annotations"][names.ANNOTATION_DIGEST]) if claim else ""

    def _pods(self) -> list[Json]:
        every = self.stack.recorder.all(POD)
        return [p for p in every if (p["metadata"].get("labels") or {}).get("app") == READER]

    async def restart(self) -> None:
        """Delete the pods that use the cache; those on nodes are made again."""
        for pod in self._pods():
            meta = pod["metadata"]
            await self.remove(path(POD, meta["namespace"], meta["name"]))

    async def release(self) -> None:
        """Let nobody use the cache any more."""
        if self.per_node:
            await self.remove(f"{_DAEMONSETS.format(self.space(1))}/{READER}")
        else:
            await self.restart()

    def used(self) -> bool:
        """Whether a pod is there that uses the cache."""
        return bool(self._pods())

    def cut_registry(self, *, off: bool) -> None:
        """Let the registry refuse connections, or serve again."""
        install.cut_registry(self.stack.cluster, off=off)

    async def until(
        self, what: str, look: Callable[[], bool] | Callable[[], Awaitable[bool]]
    ) -> None:
        """Wait until there is something to see."""
        end = time.monotonic() + _PATIENCE
        while True:
            found = look()
            if found is True or (not isinstance(found, bool) and await found):
                return
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {_PATIENCE:.0f} s")
            await asyncio.sleep(_LOOK)
