"""What there is to say about each target of a Cache, from the copies as they were judged.

``core.explain`` has the words, ``core.rollup`` makes one status of them.
"""

from dataclasses import dataclass

from gkm.core import explain, rollup
from gkm.core.copy import Phase
from gkm.core.explain import State
from gkm.core.judge import Judged, goal
from gkm.core.numbers import counts, known_entries
from gkm.core.pin import Pin
from gkm.core.retry import telling
from gkm.core.rollup import Place
from gkm.core.targets import Meant, Standing, Target, why_none
from gkm.core.view import Cache, Trouble, View

PATIENCE = 60.0
"""Seconds after which a silent agent is worth a word: one that is updated is back in less."""


@dataclass(frozen=True)
class Scene:
    """One Cache as a pass found it; ``now`` in seconds of the epoch."""

    view: View
    pin: Pin
    nodes: tuple[Standing, ...]
    goals: tuple[Target, ...]
    judged: tuple[Judged, ...]
    now: float

    def report(self) -> rollup.Report:
        """Say how every target stands, and what is being removed."""
        cache = self.view.cache
        if cache is None or cache.deleting:
            leaving = [self._leaving(one) for one in self.judged]
            states = [
                Place(one.copy.ref.target, one.copy.ref.node, State(explain.DELETING, why))
                for one, why in zip(self.judged, leaving, strict=True)
            ]
        else:
            states = [self._state(cache, target) for target in self.goals if self._told(target)]
            here = {target.place for target in self.goals if not target.obstacle}
            leaving = [
                self._leaving(one)
                for one in self.judged
                if one.phase is Phase.RETIRING and one.copy.ref.place not in here
            ]
        numbers = counts(self.view, self.pin, self.nodes, states)
        entries = known_entries(self.view)
        used = frozenset(entry.namespace for _, entry in entries if entry.pods)
        return rollup.Report(
            self.pin, states, leaving, numbers, used, self._no_node(), self._silent()
        )

    def _silent(self) -> tuple[str, ...]:
        """Nodes that concern the Cache and whose agent has not been running for a while."""
        concerned = {one.node.name for one in self.nodes if one.meant is Meant.YES}
        late = (node for node, since in self.view.silent.items() if self.now >= since + PATIENCE)
        return tuple(sorted(concerned.intersection(late)))

    def _no_node(self) -> rollup.NoNode | None:
        """Why a Cache in per-node mode has no node, once it is known what to look for."""
        cache, told = self.view.cache, any(one.meant is Meant.YES for one in self.nodes)
        if cache is None or cache.deleting or cache.spec.shared or told or not self.pin.current:
            return None
        misfits = bool(self.nodes) and all(one.misfit for one in self.nodes)
        return rollup.NoNode(why_none(self.nodes), misfits)

    def _told(self, target: Target) -> bool:
        """A node that is not meant for the Cache counts only for what it still has."""
        return target.meant or any(one.copy.ref.place == target.place for one in self.judged)

    def _state(self, cache: Cache, target: Target) -> Place:
        name, node = target.namespace, target.node
        if target.obstacle:
            return Place(name, node, State(target.obstacle, target.message))
        new = self._wanted(cache, target)
        if new.word == explain.EXTRACTED:
            return Place(name, node, new)
        here = (one for one in self.judged if one.copy.ref.place == target.place)
        older = next((one for one in here if one.serves), None)
        if older is None:
            return Place(name, node, new)
        use = explain.use_of(self.view, older.copy.serving)
        return Place(name, node, explain.outdated(use, new))

    def _wanted(self, cache: Cache, target: Target) -> State:
        """The state of the copy that the target should have."""
        if not self.pin.current:
            trouble = self.view.resolution
            if isinstance(trouble, Trouble) and telling(trouble):
                return explain.refused(trouble)
            return State(explain.PENDING, self.pin.fact.message)
        ref = goal(cache, self.pin, target)
        one = next((one for one in self.judged if one.copy.ref.id == ref.id), None)
        if one is None:
            return State(explain.PENDING, target.held)
        return explain.of_copy(self.view, one, self.now)

    def _leaving(self, one: Judged) -> str:
        return explain.of_retiring(self.view, one, self.now)
