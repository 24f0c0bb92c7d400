"""The end state of a run in canonical words: every object, and every tree on a volume."""

from collections.abc import Sequence
from typing import Any

from gkm.api.names import CacheKey
from tests.faults import trees
from tests.faults.agent import is_agent
from tests.faults.canonical import Leaves, Words, meanings
from tests.faults.recorder import CLAIM, KINDS, POD, VOLUME, Recorder, Seen, is_cache
from tests.faults.world import World

Json = dict[str, Any]


def words(world: World, history: Sequence[Seen]) -> Words:
    """What this run's names stand for."""
    stack = world.stack
    caches = {(_key(seen), seen.uid) for seen in history if is_cache(seen.kind)}
    spaces = {world.space(number): f"SPACE-{number}" for number in (1, 2, 3, 4)}
    digests = {image.digest: f"IMAGE-{n}" for n, image in enumerate(stack.images, 1)}
    places = {
        world.cache: "KERNELS",
        str(stack.folder): "FOLDER",
        stack.cluster.registry: "REGISTRY",
    }
    base = meanings(caches, spaces, digests, world.lives()) | places
    # A provisioner names a volume by the uid of the claim that it was made for.
    canon = Words(base)
    claims = {seen.uid: canon.key("for", seen.obj) for seen in history if seen.kind == CLAIM}
    return Words(base | claims)


def end(world: World, canon: Words) -> Leaves:
    """Everything that is there now."""
    recorder, leaves = world.stack.recorder, Leaves()
    for kind in KINDS:
        for obj in recorder.all(kind):
            # What the harness itself says of the agents is nobody's doing.
            leaves |= {} if kind == POD and is_agent(obj) else canon.leaves(kind, obj)
    for volume in recorder.all(VOLUME):
        found = trees.read(world.stack.site.disks.folder(volume))
        name = canon.key(VOLUME, volume)
        leaves[f"{name} tree"] = canon.text(f"{found.hash} complete for {found.digest}")
    return leaves


def standing(recorder: Recorder) -> list[str]:
    """What is there, one line each: why a run does not settle is mostly seen from this."""
    lines = []
    for kind in KINDS:
        for obj in recorder.all(kind):
            meta: Json = obj["metadata"]
            status: Json = obj.get("status") or {}
            ready: Json = next(iter(status.get("conditions") or ()), {})
            words = [
                f"{kind} {meta.get('namespace', '')}/{meta['name']}",
                status.get("phase", ""),
                "deleting" if "deletionTimestamp" in meta else "",
                f"finalizers {meta['finalizers']}" if meta.get("finalizers") else "",
                f"{ready.get('reason', '')} {ready.get('message', '')}",
                f"claimRef {obj['spec'].get('claimRef')}" if kind == VOLUME else "",
            ]
            lines.append("there: " + " ".join(filter(str.strip, words)))
    return lines


def _key(seen: Seen) -> CacheKey:
    meta = seen.obj["metadata"]
    return CacheKey(seen.kind, meta.get("namespace", ""), meta["name"])
