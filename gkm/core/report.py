"""What there is to say about each target of a Cache, from the copies as they were judged.

``core.explain`` has the words, ``core.rollup`` makes one status of them.
"""

from dataclasses import dataclass
from functools import cached_property

from gkm.core import explain, rollup
from gkm.core.conditions import RESOLVING
from gkm.core.copy import Phase
from gkm.core.explain import State
from gkm.core.judge import Judged, age, goal
from gkm.core.numbers import counts, known_entries
from gkm.core.pin import Pin
from gkm.core.retry import telling
from gkm.core.rollup import Place
from gkm.core.targets import Meant, Standing, Target, why_none, why_not
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
        entries = known_entries(self.view, (one.copy for one in self.judged))
        return rollup.Report(
            self.pin,
            states,
            leaving,
            counts=counts(self.view, self.pin, self.nodes, states, entries),
            used=frozenset(entry.namespace for _, entry in entries if entry.pods),
            no_node=None if states else self._no_node(),
            left_out="" if cache is None or cache.spec.shared else why_not(self.nodes),
            silent=self._silent(),
        )

    def _silent(self) -> tuple[str, ...]:
        """Nodes that concern the Cache and whose agent has not been running for a while."""
        concerned = {one.node.name for one in self.nodes if one.meant is Meant.YES}
        late = (node for node, since in self.view.silent.items() if self.now >= since + PATIENCE)
        return tuple(sorted(concerned.intersection(late)))

    def _no_node(self) -> rollup.NoNode | None:
        """Why a Cache in per-node mode has no node, once it is known what to look for."""
        cache, told = self.view.cache, any(one.meant is Meant.YES for one in self.nodes)
        if cache is None or cache.deleting or cache.spec.shared or told or not self.pin.digest:
            return None
        misfits = bool(self.nodes) and all(one.misfit for one in self.nodes)
        return rollup.NoNode(why_none(self.nodes), misfits)

    @cached_property
    def _by_id(self) -> dict[str, Judged]:
        return {one.copy.ref.id: one for one in self.judged}

    @cached_property
    def _serving(self) -> dict[tuple[str, str], Judged]:
        """Of each place the newest copy that serves."""
        found: dict[tuple[str, str], Judged] = {}
        for one in sorted((j for j in self.judged if j.serves), key=lambda j: age(j.copy)):
            found[one.copy.ref.place] = one
        return found

    @cached_property
    def _places(self) -> set[tuple[str, str]]:
        return {one.copy.ref.place for one in self.judged}

    def _told(self, target: Target) -> bool:
        """A node that is not meant for the Cache counts only for what it still has."""
        return target.meant or target.place in self._places

    def _state(self, cache: Cache, target: Target) -> Place:
        if target.obstacle:
            state = State(target.obstacle, target.message)
        else:
            copy = goal(cache, self.pin, target).id
            state = self._served(target, copy, self._wanted(target, copy))
        return Place(target.namespace, target.node, state)

    def _wanted(self, target: Target, copy: str) -> State:
        """The state of the copy (id) that the target should have."""
        found = self._by_id.get(copy)
        state = State(explain.PENDING, target.held)
        if found is not None and found.seen.wanted:
            state = explain.of_copy(self.view, found, self.now)
        if self.pin.current or (self._serving and state.word != explain.EXTRACTED):
            return state
        fact = self.pin.fact
        if self._refused():
            return State(explain.ERROR, f"{fact.reason}: {fact.message}", fact.reason)
        return State(explain.PENDING, fact.message)

    def _refused(self) -> bool:
        """Whether the image cannot be looked up, for a reason that is worth a user's attention."""
        trouble = self.view.resolution
        if isinstance(trouble, Trouble):
            return telling(trouble)
        return not self.pin.fact.true and self.pin.fact.reason != RESOLVING

    def _served(self, target: Target, copy: str, wanted: State) -> State:
        """The state of the target, which an earlier copy may serve while the wanted one comes."""
        one = self._serving.get(target.place)
        if wanted.word == explain.EXTRACTED or one is None:
            return wanted
        if one.copy.ref.id == copy and not one.seen.wanted:
            return State(explain.OUTDATED, self._leaving(one))
        if not target.meant:
            return State(explain.OUTDATED, f"the earlier image serves on: {target.held}")
        waits = None if target.node_uid else explain.use_of(self.view, one.copy.serving)
        return explain.outdated(waits, wanted)

    def _leaving(self, one: Judged) -> str:
        return explain.of_retiring(self.view, one, self.now)
