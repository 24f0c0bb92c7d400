"""What users do while GKM is being killed: each prepares, acts, and knows when it is over.

Only ``act`` is under faults. The names of ``reliability.md`` section 6:

| workload | name | workload | name |
|---|---|---|---|
| W1, W2 | create-1 (W2: per node) | W7 | node-replaced |
| W3 | namespace-missing | W8 | registry-down |
| W4 | image-change, image-change-in-use | W9 | namespace-deleted |
| W5 | delete-idle | W10 | recreated |
| W6 | delete-in-use | W11 | namespace-removed |
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gkm.api import names
from gkm.core import explain
from gkm.core.objects import SERVING
from gkm.core.targets import NO_NAMESPACE, SHADOWED
from gkm.kube.client import path
from gkm.kube.errors import ApiError
from tests.faults.recorder import CLAIM, JOB, POD, REPORTS, VOLUME, ours
from tests.faults.world import PER_NODE, READER, SHARED, World

Json = dict[str, Any]
_MOMENT = 0.2
CACHE, CLUSTER_CACHE = names.CACHE, names.CLUSTER_CACHE


def serves(world: World, kind: str, *numbers: int, image: int = 0, word: str = "") -> bool:
    """Whether the Cache serves this image in exactly these namespaces, with nothing left to do."""
    wanted = {world.space(number): word or explain.EXTRACTED for number in numbers}
    return says(world, kind, wanted, image) and _all_there(world, len(numbers))


def says(world: World, kind: str, phases: dict[str, str], image: int = 0) -> bool:
    """Whether the Cache's status says this of namespaces, of this image, and that it is settled."""
    cache = world.found(kind)
    status: Json = (cache or {}).get("status") or {}
    if cache is None or status.get("observedGeneration") != cache["metadata"]["generation"]:
        return False
    found = {one["namespace"]: one["phase"] for one in status.get("namespaces") or ()}
    reasons = {one["type"]: one["reason"] for one in status["conditions"]}
    digest = status.get("resolvedDigest") == world.stack.images[image].digest
    return digest and found == phases and reasons["Progressing"] == "Settled"


def _all_there(world: World, spaces: int) -> bool:
    """Whether there is what so many namespaces need, and nothing else."""
    copies = spaces * world.copies
    return children(world) == {CLAIM: copies, VOLUME: copies, JOB: 0, POD: 0}


def children(world: World) -> dict[str, int]:
    """How many objects of GKM there are, by kind; reader pods do not count.

    A provisioned volume gets GKM's labels when it is reserved: before, it counts by its claim.
    """
    recorder = world.stack.recorder
    found = {kind: sum(map(ours, recorder.all(kind))) for kind in (CLAIM, JOB, POD)}
    return {**found, VOLUME: len(recorder.all(VOLUME))}


def nothing_left(world: World) -> bool:
    """Whether no Cache and no child is there, and no agent speaks of one."""
    recorder = world.stack.recorder
    caches = any(True for _ in recorder.caches())
    told = [(r.get("status") or {}).get("caches") for k in REPORTS for r in recorder.all(k)]
    return not caches and not any(children(world).values()) and not any(told) and not world.used()


@dataclass(frozen=True)
class Workload:
    """One thing that a user does."""

    name: str
    prepare: Callable[[World], Awaitable[None]]
    act: Callable[[World], Awaitable[None]]
    settled: Callable[[World], bool]
    storages: tuple[str, ...] = (*SHARED, *PER_NODE)


async def _nothing(_: World) -> None:
    pass


async def _one(world: World) -> None:
    await world.apply(CACHE)


async def _one_ready(world: World) -> None:
    await world.apply(CACHE)
    await world.until("the Cache is extracted", lambda: serves(world, CACHE, 1))


async def _one_in_use(world: World) -> None:
    await _one_ready(world)
    await world.use()
    await world.until("the pods run", world.readers)
    await world.until("the status says so", lambda: in_use(world))


def in_use(world: World, image: int = 0) -> bool:
    """Whether the Cache serves this image, and pods run on it wherever they can."""
    return serves(world, CACHE, 1, image=image, word=explain.RUNNING) and world.readers(image)


def _spaces(world: World) -> tuple[int, ...]:
    """The namespaces of a ClusterGKMCache; where each has three copies two are enough."""
    return (1, 2) if world.per_node else (1, 2, 3)


async def _many(world: World) -> None:
    await world.apply(CLUSTER_CACHE, *_spaces(world))


def _many_serve(world: World) -> bool:
    return serves(world, CLUSTER_CACHE, *_spaces(world))


async def _many_ready(world: World) -> None:
    await _many(world)
    await world.until("copies everywhere", lambda: _many_serve(world))


async def _change_image(world: World) -> None:
    await world.edit(CACHE, {"image": world.stack.images[1].reference})


async def _change_image_in_use(world: World) -> None:
    await _change_image(world)

    def beside() -> bool:
        digest = world.stack.images[1].digest
        found = [claim for claim in world.stack.recorder.all(CLAIM) if _is_bound(claim, digest)]
        return len(found) == world.copies

    def waits() -> bool:
        ready = world.ready(CACHE)
        return ready["reason"] == explain.OUTDATED and READER in ready["message"]

    await world.until("pods are outdated", beside if world.per_node else waits)
    await asyncio.sleep(_MOMENT)
    await world.restart()


def _is_bound(claim: Json, digest: str) -> bool:
    meta = claim["metadata"]
    serving = (meta.get("labels") or {}).get(names.LABEL_ROLE) == SERVING
    right = (meta.get("annotations") or {}).get(names.ANNOTATION_DIGEST) == digest
    return serving and right and (claim.get("status") or {}).get("phase") == "Bound"


def _changed_in_use(world: World) -> bool:
    return in_use(world, 1) if world.per_node else serves(world, CACHE, 1, image=1)


async def _delete(world: World) -> None:
    await world.delete(CACHE)


async def _delete_in_use(world: World) -> None:
    await world.delete(CACHE)
    await world.until("the status names the pods", lambda: READER in world.ready(CACHE)["message"])
    await asyncio.sleep(_MOMENT)
    await world.release()


async def _delete_and_create(world: World) -> None:
    await world.delete(CACHE)

    async def again() -> bool:
        try:
            await world.apply(CACHE)
        except ApiError as error:
            if not error.conflict:
                raise
            return False
        return True

    await world.until("the name is free", again)


async def _remove_namespace(world: World) -> None:
    spaces = [world.space(number) for number in _spaces(world) if number != 2]
    await world.edit(CLUSTER_CACHE, {"workloadNamespaces": spaces})


async def _namespace_comes(world: World) -> None:
    await world.apply(CLUSTER_CACHE, 1, 4)
    wanted = {world.space(1): explain.EXTRACTED, world.space(4): NO_NAMESPACE}

    def served() -> bool:
        status: Json = (world.found(CLUSTER_CACHE) or {}).get("status") or {}
        found = {one["namespace"]: one["phase"] for one in status.get("namespaces") or ()}
        return found == wanted and _all_there(world, 1)

    await world.until("the namespace that is there has it", served)
    await world.make_space(4)


async def _registry_comes(world: World) -> None:
    """The registry is down while the image is looked up."""
    await asyncio.to_thread(world.cut_registry, off=True)
    try:
        await world.apply(CACHE)
        await world.until(
            "the status says so", lambda: world.ready(CACHE)["reason"] == explain.ERROR
        )
        await asyncio.sleep(_MOMENT)
    finally:
        await asyncio.to_thread(world.cut_registry, off=False)


async def _delete_namespace(world: World) -> None:
    """In the middle of an extraction."""
    world.stack.site.hold(world.space(1))
    try:
        await world.apply(CACHE)

        def extracts() -> bool:
            mine = [pod for pod in world.stack.recorder.all(POD) if ours(pod)]
            running = [p for p in mine if (p.get("status") or {}).get("phase") == "Running"]
            return len(running) == world.copies

        await world.until("extractions run", extracts)
        await world.delete_space(1)
    finally:
        world.stack.site.release()


async def _own_beside(world: World) -> None:
    await world.apply(CLUSTER_CACHE, 1, 2)
    await world.until("copies", lambda: serves(world, CLUSTER_CACHE, 1, 2))


def _both_serve(world: World) -> bool:
    others = {world.space(1): SHADOWED, world.space(2): explain.EXTRACTED}
    own = {world.space(1): explain.EXTRACTED}
    every = _all_there(world, 2)
    return every and says(world, CACHE, own) and says(world, CLUSTER_CACHE, others)


async def _one_node_away(world: World) -> None:
    await world.stack.nodes[0].leave()
    await _one_in_use(world)


async def _node_comes_and_goes(world: World) -> None:
    node = world.stack.nodes[0]
    await node.join()
    await world.until("its pod runs, too", world.readers)
    await node.leave()
    await node.join()


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("create-1", _nothing, _one, lambda w: serves(w, CACHE, 1)),
        Workload("create-3", _nothing, _many, _many_serve),
        Workload(
            "namespace-missing",
            _nothing,
            _namespace_comes,
            lambda w: serves(w, CLUSTER_CACHE, 1, 4),
        ),
        Workload("image-change", _one_ready, _change_image, lambda w: serves(w, CACHE, 1, image=1)),
        Workload("image-change-in-use", _one_in_use, _change_image_in_use, _changed_in_use),
        Workload("delete-idle", _one_ready, _delete, nothing_left),
        Workload("delete-in-use", _one_in_use, _delete_in_use, nothing_left),
        Workload("node-replaced", _one_node_away, _node_comes_and_goes, in_use, PER_NODE[:1]),
        Workload("registry-down", _nothing, _registry_comes, lambda w: serves(w, CACHE, 1)),
        Workload("namespace-deleted", _nothing, _delete_namespace, nothing_left),
        Workload("recreated", _one_ready, _delete_and_create, lambda w: serves(w, CACHE, 1)),
        Workload(
            "namespace-removed",
            _many_ready,
            _remove_namespace,
            lambda w: serves(w, CLUSTER_CACHE, *(n for n in _spaces(w) if n != 2)),
        ),
        Workload("two-kinds", _own_beside, _one, _both_serve),
    )
}


async def clean(world: World) -> None:
    """Take every Cache and pod away; bring back whatever is away."""
    for node in world.stack.nodes:
        if not node.here:
            await node.join()
    await world.release()
    for kind, cache in list(world.stack.recorder.caches()):
        meta = cache["metadata"]
        if "deletionTimestamp" not in meta:
            await world.remove(path(kind, meta.get("namespace", ""), meta["name"]))
    await world.remove(path("Namespace", "", world.space(4)))
