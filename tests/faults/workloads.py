"""What users do while the operator is being killed: each prepares, acts, and knows when it is over.

Only ``act`` is under faults. Names carry the stack's present generation, so that what a failed run
leaves behind cannot get into the next one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gkm.api import names
from gkm.core import explain
from gkm.kube.client import path
from tests.faults.provisioner import CLASS
from tests.faults.recorder import CLAIM, JOB, POD, VOLUME, ours
from tests.faults.stack import Stack

Json = dict[str, Any]
STORAGES = ("made by GKM", "provisioned")
_PATIENCE = 60.0
_MOMENT = 0.2


@dataclass(frozen=True)
class World:
    """One run's names on one stack."""

    stack: Stack
    storage: str
    generation: str

    @property
    def cache(self) -> str:
        return f"kernels-{self.generation}"

    def space(self, number: int) -> str:
        """A workload namespace."""
        return f"space-{number}-{self.generation}"

    async def spaces(self) -> None:
        """Make the namespaces; those that are there may stay."""
        for number in (1, 2, 3):
            name = self.space(number)
            found = await self.stack.client.get("Namespace", "", name)
            if found is None:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                await self.stack.client.create("Namespace", "", body)

    async def apply(self, kind: str, *numbers: int, image: int = 0) -> None:
        """Make the Cache; a ClusterGKMCache for the namespaces with these numbers."""
        spec: Json = {
            "image": self.stack.images[image].reference,
            "accessModes": ["ReadOnlyMany"],
        }
        if self.storage == "provisioned":
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

    async def pod(self, name: str) -> None:
        """Start a pod that uses the cache in the first namespace."""
        volume = {"name": "cache", "persistentVolumeClaim": {"claimName": self.cache}}
        container = {"name": "main", "image": "example.com/reader:faults"}
        body = {
            "apiVersion": "v1",
            "kind": POD,
            "metadata": {"name": name, "namespace": self.space(1)},
            "spec": {"containers": [container], "volumes": [volume]},
        }
        await self.stack.client.create(POD, self.space(1), body)

    async def delete_pod(self, name: str) -> None:
        """Delete a pod; the node confirms it."""
        await self.stack.client.send("DELETE", path(POD, self.space(1), name))

    async def until(self, what: str, look: Callable[[], bool]) -> None:
        """Wait until there is something to see."""
        end = time.monotonic() + _PATIENCE
        while not look():
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {_PATIENCE:.0f} s")
            await asyncio.sleep(0.05)


def serves(world: World, kind: str, *numbers: int, image: int = 0) -> bool:
    """Whether the Cache serves this image in exactly these namespaces, with nothing left to do."""
    cache = world.found(kind)
    status: Json = (cache or {}).get("status") or {}
    if cache is None or status.get("observedGeneration") != cache["metadata"]["generation"]:
        return False
    phases = {one["namespace"]: one["phase"] for one in status.get("namespaces") or ()}
    wanted = {world.space(number): explain.EXTRACTED for number in numbers}
    reasons = {one["type"]: one["reason"] for one in status["conditions"]}
    digest = status.get("resolvedDigest") == world.stack.images[image].digest
    return (
        digest
        and phases == wanted
        and reasons["Progressing"] == "Settled"
        and children(world) == {CLAIM: len(numbers), VOLUME: len(numbers), JOB: 0, POD: 0}
    )


def children(world: World) -> dict[str, int]:
    """How many objects of GKM there are, by kind; reader pods do not count.

    A provisioned volume gets GKM's labels when it is reserved: before, it counts by its claim.
    """
    recorder = world.stack.recorder
    found = {kind: sum(map(ours, recorder.all(kind))) for kind in (CLAIM, JOB, POD)}
    return {**found, VOLUME: len(recorder.all(VOLUME))}


def nothing_left(world: World) -> bool:
    """Whether no Cache and no child is there."""
    recorder = world.stack.recorder
    caches = any(True for _ in recorder.caches())
    return not caches and not any(children(world).values())


@dataclass(frozen=True)
class Workload:
    """One thing that a user does."""

    name: str
    prepare: Callable[[World], Awaitable[None]]
    act: Callable[[World], Awaitable[None]]
    settled: Callable[[World], bool]


async def _nothing(_: World) -> None:
    pass


async def _one(world: World) -> None:
    await world.apply(names.CACHE)


async def _one_ready(world: World) -> None:
    await world.apply(names.CACHE)
    await world.until("the Cache is extracted", lambda: serves(world, names.CACHE, 1))


async def _one_in_use(world: World) -> None:
    await _one_ready(world)
    await world.pod("reader")

    def runs() -> bool:
        pod = world.stack.recorder.find(POD, world.space(1), "reader")
        return bool(pod and (pod.get("status") or {}).get("phase") == "Running")

    await world.until("the pod runs", runs)


async def _three(world: World) -> None:
    await world.apply(names.CLUSTER_CACHE, 1, 2, 3)


async def _three_ready(world: World) -> None:
    await _three(world)
    await world.until("three copies", lambda: serves(world, names.CLUSTER_CACHE, 1, 2, 3))


async def _change_image(world: World) -> None:
    await world.edit(names.CACHE, {"image": world.stack.images[1].reference})


async def _delete(world: World) -> None:
    await world.delete(names.CACHE)


async def _delete_in_use(world: World) -> None:
    await world.delete(names.CACHE)

    def named() -> bool:
        cache = world.found(names.CACHE) or {}
        conditions: list[Json] = (cache.get("status") or {}).get("conditions") or [{}]
        return "reader" in conditions[0].get("message", "")

    await world.until("the status names the pod", named)
    await asyncio.sleep(_MOMENT)
    await world.delete_pod("reader")


async def _remove_namespace(world: World) -> None:
    spaces = [world.space(1), world.space(3)]
    await world.edit(names.CLUSTER_CACHE, {"workloadNamespaces": spaces})


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("create-1", _nothing, _one, lambda w: serves(w, names.CACHE, 1)),
        Workload("create-3", _nothing, _three, lambda w: serves(w, names.CLUSTER_CACHE, 1, 2, 3)),
        Workload(
            "image-change", _one_ready, _change_image, lambda w: serves(w, names.CACHE, 1, image=1)
        ),
        Workload("delete-idle", _one_ready, _delete, nothing_left),
        Workload("delete-in-use", _one_in_use, _delete_in_use, nothing_left),
        Workload(
            "namespace-removed",
            _three_ready,
            _remove_namespace,
            lambda w: serves(w, names.CLUSTER_CACHE, 1, 3),
        ),
    )
}


async def clean(world: World) -> None:
    """Take every Cache and pod away."""
    client, recorder = world.stack.client, world.stack.recorder
    for pod in recorder.all(POD):
        if not ours(pod) and "deletionTimestamp" not in pod["metadata"]:
            await client.send("DELETE", path(POD, *_place(pod)))
    for kind, cache in recorder.caches():
        if "deletionTimestamp" not in cache["metadata"]:
            await client.send("DELETE", path(kind, *_place(cache)))


def _place(obj: Json) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
