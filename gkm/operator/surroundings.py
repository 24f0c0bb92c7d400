"""What Caches live among: namespaces, storage classes, nodes, and what the nodes' agents report.

Kept by name, because that is how Caches refer to them; of two objects of one name the later counts.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gkm.api.names import CACHE, CLUSTER_CACHE, CacheKey
from gkm.core.view import AgentPod, Cache, Entry, Namespace, Node, Report, StorageClass

Thing = Namespace | StorageClass | Node | Report | AgentPod


class Surroundings:
    """The latest of each, and which Caches a change of one concerns."""

    def __init__(self) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self.classes: dict[str, StorageClass] = {}
        self.nodes: dict[str, Node] = {}
        self.reports: dict[str, Report] = {}
        """Of whole nodes, by the node's name."""
        self._agents: dict[str, AgentPod] = {}
        self._left: dict[str, float] = {}
        """When (epoch seconds) the pod of an agent was seen to go, by its node."""
        self._local: dict[tuple[str, str], Report] = {}
        self._entries: dict[CacheKey, dict[str, tuple[Entry, ...]]] = {}

    def store(self, new: Thing) -> None:
        """Take the present state of one of them."""
        shelf, name = self._shelf(new)
        if isinstance(new, Report):
            self._file(shelf.get(name), new)
        if isinstance(new, AgentPod):
            self._left.pop(new.node, None)
        shelf[name] = new

    def drop(self, old: Thing) -> None:
        """Forget one, unless another took its name meanwhile."""
        shelf, name = self._shelf(old)
        if shelf.get(name) == old:
            del shelf[name]
            if isinstance(old, Report):
                self._file(old, None)
            if isinstance(old, AgentPod):
                self._left[old.node] = time.time()

    def silent(self) -> dict[str, float]:
        """Nodes that have reported and whose agent does not run, and since when (epoch seconds)."""
        reported = (name for name in self.reports if name in self.nodes)
        agents = ((name, self._agents.get(name)) for name in reported)
        return {
            name: agent.silent if agent else self._left.get(name, 0.0)
            for name, agent in agents
            if agent is None or agent.silent
        }

    def entries(self, key: CacheKey) -> tuple[tuple[str, Entry], ...]:
        """(node, entry): what agents say of a Cache, of nodes that are there, by node."""
        found = self._entries.get(key, {})
        return tuple(
            (node, entry) for node in sorted(found) if node in self.nodes for entry in found[node]
        )

    def concerned(
        self, old: Thing | None, new: Thing | None, caches: Mapping[CacheKey, Cache]
    ) -> Iterator[CacheKey]:
        """The Caches that have to be looked at again after a change."""
        thing = new or old
        if isinstance(thing, Namespace):
            for key, cache in caches.items():
                if thing.name in (key.namespace, *cache.spec.workload_namespaces):
                    yield key
        elif isinstance(thing, Report) and _gpus(old) == _gpus(new):
            yield from dict.fromkeys(_changed(thing, _told(old), _told(new)))
        else:
            yield from caches

    def _shelf(self, thing: Thing) -> tuple[dict[Any, Any], Any]:
        match thing:
            case Namespace():
                return self.namespaces, thing.name
            case StorageClass():
                return self.classes, thing.name
            case Node():
                return self.nodes, thing.name
            case AgentPod():
                return self._agents, thing.node
            case Report(namespace=""):
                return self.reports, thing.name
            case Report():
                return self._local, (thing.namespace, thing.name)

    def _file(self, old: Report | None, new: Report | None) -> None:
        for report in filter(None, (old, new)):
            for entry in report.entries:
                self._entries.get(_key(report, entry), {}).pop(report.name, None)
        if new is not None:
            for entry in new.entries:
                nodes = self._entries.setdefault(_key(new, entry), {})
                nodes[new.name] = (*nodes.get(new.name, ()), entry)


def _key(report: Report, entry: Entry) -> CacheKey:
    kind = CACHE if report.namespace else CLUSTER_CACHE
    return CacheKey(kind, report.namespace, entry.cache)


def _gpus(thing: Thing | None) -> object:
    """What a report says of its node; that of a namespace says nothing of it."""
    if not isinstance(thing, Report) or thing.namespace:
        return None
    return thing.node_uid, thing.gpus


def _told(thing: Thing | None) -> frozenset[Entry]:
    return frozenset(thing.entries if isinstance(thing, Report) else ())


def _changed(report: Report, old: frozenset[Entry], new: frozenset[Entry]) -> Iterable[CacheKey]:
    return (_key(report, entry) for entry in old ^ new)
