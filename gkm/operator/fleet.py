"""The operator's picture of the cluster, and what it remembers of its own attempts.

Fed by kopf (the Caches), by informers (everything else) and by the operator's own writes, whose
answers count at once: so nothing is planned on a picture older than what was just done. It decides
nothing; it only says which Caches a change concerns.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gkm.api.meta import CACHE_NODE, CLUSTER_CACHE_NODE
from gkm.api.names import CACHE, CLUSTER_CACHE, CacheKey
from gkm.core import parse
from gkm.core.image import ImageFacts
from gkm.core.parse import NOT_READY
from gkm.core.view import Cache, Claim, Job, JobPod, Looked, Said, Trouble, Use, View, Volume
from gkm.kube.informer import newer, parsed
from gkm.operator.slots import Slots, running
from gkm.operator.surroundings import Surroundings, Thing

AGENT_POD = "AgentPod"
"""What the pods of agents are filed under: those of Jobs are another matter."""
Json = dict[str, Any]
Item = Cache | Claim | Volume | Job | JobPod | Thing

_PARSERS: dict[str, Callable[[Json], Item | None]] = {
    CACHE: partial(parse.cache, CACHE),
    CLUSTER_CACHE: partial(parse.cache, CLUSTER_CACHE),
    "Namespace": parse.namespace,
    "StorageClass": parse.storage_class,
    "Node": parse.node,
    AGENT_POD: parse.agent_pod,
    CACHE_NODE: parse.report,
    CLUSTER_CACHE_NODE: parse.report,
    "PersistentVolumeClaim": parse.claim,
    "PersistentVolume": parse.volume,
    "Job": parse.job,
    "Pod": parse.job_pod,
}
CHILDREN = ("PersistentVolumeClaim", "PersistentVolume", "Job", "Pod")
"""Kinds that carry our labels; informers select by them."""
SURROUNDINGS = ("Namespace", "StorageClass", "Node", CACHE_NODE, CLUSTER_CACHE_NODE)
"""Kinds that others write, and that are followed whole."""
_REMEMBERED_DELETIONS = 10_000
_EVENTS_A_MINUTE = 10


@dataclass
class Memory:
    """What this process remembers of one Cache; losing it costs time, never truth."""

    uid: str = ""
    generation: int = 0
    image: str = ""
    resolution: ImageFacts | Trouble | None = None
    looked: Looked = field(default_factory=Looked)
    failing: float | None = None
    """Since when (epoch seconds) every pass has failed."""
    unsaid: Trouble | None = None
    """Why the status could not be written."""
    uses: dict[str, Use] = field(default_factory=dict)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    leaving: dict[str, float] = field(default_factory=dict)
    told: list[float] = field(default_factory=list)
    """When (epoch s) the last events were posted."""

    def follow(self, cache: Cache) -> None:
        """An edit makes every attempt start anew; another image makes a new question."""
        if cache.uid != self.uid:
            self.uid, self.generation, self.image = cache.uid, 0, ""
            self.uses, self.said = {}, {}
            self.looked = Looked(time.time(), cache.status.resolved_digest or "")
        if cache.generation != self.generation:
            self.generation, self.failing, self.troubles = cache.generation, None, {}
            self.unsaid = None
            if cache.spec.image != self.image or isinstance(self.resolution, Trouble):
                self.image, self.resolution = cache.spec.image, None

    def may_tell(self, now: float) -> bool:
        """Take note of an event; False for one too many: a Cache that flaps must not flood."""
        self.told = [time for time in self.told if now - 60 < time <= now][-_EVENTS_A_MINUTE:]
        if len(self.told) == _EVENTS_A_MINUTE:
            return False
        self.told.append(now)
        return True

    def note_leaving(self, leaving: Collection[str], now: float) -> None:
        """Remember since when each of these nodes (by uid) and copies (by id) has been leaving."""
        self.leaving = {one: self.leaving.get(one, now) for one in leaving}

    def keep(self, present: Collection[str]) -> None:
        """Forget what was noted of children (by uid) that are gone."""
        self.uses = {uid: use for uid, use in self.uses.items() if uid in present}
        self.said = {uid: said for uid, said in self.said.items() if uid in present}


class Fleet:
    """Keeps the latest of every object; calls ``concern`` with each key to be looked at again."""

    def __init__(self, concern: Callable[[CacheKey], None], slots: Slots) -> None:
        self._concern = concern
        self._items: dict[str, dict[str, Item]] = {kind: {} for kind in _PARSERS}
        self._children: dict[CacheKey, dict[str, Item]] = {}
        self._caches: dict[CacheKey, Cache] = {}
        self._by_name: dict[str, set[CacheKey]] = {}
        self._around = Surroundings()
        self._slots = slots
        self._gone: dict[str, str] = {}
        self._memory: dict[CacheKey, Memory] = {}

    def replace(self, kind: str, objects: list[Json], version: str) -> None:
        """Take a complete list as of ``version``: what is not in it, and is no newer, is gone.

        Newer is what we made ourselves while the list was on its way.
        """
        listed = {obj["metadata"]["uid"] for obj in objects}
        known = list(self._items[kind].items())
        for uid, item in known:
            if uid not in listed and not newer(item.version, version):
                self._forget(kind, uid, version)
        for obj in objects:
            self.observe(kind, "MODIFIED", obj)

    def observe(self, kind: str, event: str, obj: Json) -> None:
        """Take one change: ADDED, MODIFIED, DELETED."""
        meta = obj["metadata"]
        if event == "DELETED":
            self._forget(kind, meta["uid"], meta.get("resourceVersion", ""))
            return
        old = self._items[kind].get(meta["uid"])
        if self._is_late(meta):
            return
        new = parsed(_PARSERS[kind], kind, obj)
        if new is None:
            self._drop(kind, meta["uid"])
            return
        if _over(new):
            self._forget(kind, meta["uid"], "")
            return
        if old is not None and not newer(new.version, old.version):
            return
        if old is not None and _owner(old) != _owner(new):
            self._drop(kind, new.uid)
        self._store(kind, new)
        if old is None or replace(old, version=new.version) != new:
            self._announce(old, new)

    def all_keys(self) -> set[CacheKey]:
        """Every Cache that exists or left children behind."""
        return {*self._caches, *(key for key, items in self._children.items() if items)}

    def memory(self, key: CacheKey) -> Memory:
        """What is remembered of a Cache."""
        return self._memory.setdefault(key, Memory())

    def view(self, key: CacheKey) -> View:
        """Everything that a plan for ``key`` may look at."""
        cache, memory = self._caches.get(key), self.memory(key)
        if cache is not None:
            memory.follow(cache)
        memory.keep(self._children.get(key, {}))
        items = sorted(self._children.get(key, {}).values(), key=lambda item: item.uid)
        return View(
            key=key,
            cache=cache,
            namespaces=self._targets_of(cache),
            classes=self._around.classes,
            nodes=self._around.nodes,
            reports=self._around.reports,
            entries=self._around.entries(key),
            silent=self._around.silent(),
            leaving=dict(memory.leaving),
            slots=self._slots.free(key, self._running()),
            shadowed=self._shadowed(key),
            claims=tuple(item for item in items if isinstance(item, Claim)),
            volumes=tuple(item for item in items if isinstance(item, Volume)),
            jobs=tuple(item for item in items if isinstance(item, Job)),
            pods=tuple(item for item in items if isinstance(item, JobPod)),
            namesakes=self._namesakes(key),
            resolution=memory.resolution,
            looked=memory.looked,
            uses=dict(memory.uses),
            troubles=dict(memory.troubles),
            said=dict(memory.said),
        )

    def forget_memories(self) -> None:
        """Drop all that is remembered of Caches."""
        self._memory.clear()

    def forget_if_gone(self, key: CacheKey) -> None:
        """Drop the memory of a Cache of which nothing is left."""
        if key not in self._caches and not self._children.get(key):
            self._memory.pop(key, None)

    def _shadowed(self, key: CacheKey) -> frozenset[str]:
        if key.kind == CACHE:
            return frozenset()
        same = (k for k in self._same_name(key) if k in self._caches)
        return frozenset(k.namespace for k in same if k.kind == CACHE)

    def _targets_of(self, cache: Cache | None) -> dict[str, bool]:
        """Of the namespaces that the Cache names and that exist: whether each is terminating."""
        named = (cache.key.namespace, *cache.spec.workload_namespaces) if cache else ()
        found = (self._around.namespaces.get(name) for name in named)
        return {namespace.name: namespace.deleting for namespace in found if namespace}

    def _running(self) -> list[CacheKey]:
        """Whose extractions are under way."""
        jobs = (item for item in self._items["Job"].values() if isinstance(item, Job))
        pods = (item for item in self._items["Pod"].values() if isinstance(item, JobPod))
        unheard = {name for name, node in self._around.nodes.items() if node.trouble == NOT_READY}
        return running(jobs, pods, unheard, time.time())

    def _same_name(self, key: CacheKey) -> set[CacheKey]:
        """Keys of other Caches of this name, or of what such Caches left behind."""
        return self._by_name.get(key.name, set()) - {key}

    def _namesakes(self, key: CacheKey) -> frozenset[tuple[str, str]]:
        others = (self._children.get(k, {}) for k in self._same_name(key))
        claims = (item for items in others for item in items.values() if isinstance(item, Claim))
        return frozenset((claim.namespace, claim.name) for claim in claims)

    def _store(self, kind: str, new: Item) -> None:
        self._items[kind][new.uid] = new
        if isinstance(new, Thing):
            self._around.store(new)
            return
        self._by_name.setdefault(new.key.name, set()).add(new.key)
        if isinstance(new, Cache):
            self._caches[new.key] = new
        else:
            self._children.setdefault(new.key, {})[new.uid] = new

    def _is_late(self, meta: Json) -> bool:
        """Whether this is older than what took the object away.

        What left a watch's selector, because somebody took its labels off, may come back to it.
        """
        gone = self._gone.get(meta["uid"])
        return gone is not None and not (gone and newer(meta["resourceVersion"], gone))

    def _forget(self, kind: str, uid: str, version: str) -> None:
        """Drop what is gone since ``version``; empty: what is deleted for good.

        Late news must not bring it back, so that is kept a while.
        """
        self._gone[uid] = version
        if len(self._gone) > _REMEMBERED_DELETIONS:
            self._gone.pop(next(iter(self._gone)))
        self._drop(kind, uid)

    def _drop(self, kind: str, uid: str) -> None:
        old = self._items[kind].pop(uid, None)
        if old is None:
            return
        if isinstance(old, Cache):
            if self._caches.get(old.key) == old:
                del self._caches[old.key]
        elif isinstance(old, Thing):
            self._around.drop(old)
        else:
            self._children[old.key].pop(uid, None)
        if not isinstance(old, Thing):
            self._tidy(old.key)
        self._announce(old, None)

    def _tidy(self, key: CacheKey) -> None:
        """Keep no place for a Cache of which nothing is left."""
        if key in self._caches or self._children.get(key):
            return
        self._children.pop(key, None)
        keys = self._by_name.get(key.name, set())
        keys.discard(key)
        if not keys:
            self._by_name.pop(key.name, None)

    def _announce(self, old: Item | None, new: Item | None) -> None:
        item = new or old
        if isinstance(item, Thing):
            for key in list(self._around.concerned(old, new, self._caches)):  # type: ignore[arg-type]
                self._concern(key)
            return
        if item is None:
            return
        self._concern(item.key)
        if isinstance(item, Job) and (new is None or item.ended):
            self._slots.ended(self._running())
        if isinstance(item, Cache | Claim):
            for key in self._same_name(item.key):
                if key in self._caches:
                    self._concern(key)


class FiledAs:
    """Passes objects of one kind on under another name, so that they are read in another way."""

    def __init__(self, kind: str, fleet: Fleet) -> None:
        self._kind = kind
        self._fleet = fleet

    def replace(self, _kind: str, objects: list[Json], version: str) -> None:
        """Take a complete list, as ``Fleet.replace`` does."""
        self._fleet.replace(self._kind, objects, version)

    def observe(self, _kind: str, event: str, obj: Json) -> None:
        """Take one change, as ``Fleet.observe`` does."""
        self._fleet.observe(self._kind, event, obj)


def _owner(item: Item) -> CacheKey | None:
    return None if isinstance(item, Thing) else item.key


def _over(item: Item) -> bool:
    """Whether this is a Cache's last state: the API server dropped it with its last finalizer."""
    return isinstance(item, Cache) and item.deleting and not item.finalizers
