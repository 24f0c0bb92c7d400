"""What there is to say about each target of a Cache, from the copies as they were judged.

``core.explain`` has the words, ``core.rollup`` makes one status of them.
"""

from dataclasses import dataclass

from gkm.core import explain, rollup
from gkm.core.copy import Phase
from gkm.core.explain import State
from gkm.core.judge import Judged, goal
from gkm.core.pin import Pin
from gkm.core.retry import telling
from gkm.core.targets import Target
from gkm.core.view import Cache, Trouble, View


@dataclass(frozen=True)
class Scene:
    """One Cache as a pass found it; ``now`` in seconds of the epoch."""

    view: View
    pin: Pin
    goals: tuple[Target, ...]
    judged: tuple[Judged, ...]
    now: float

    def report(self) -> rollup.Report:
        """Say how every target stands, and what is being removed."""
        cache = self.view.cache
        if cache is None or cache.deleting:
            leaving = [self._leaving(one) for one in self.judged]
            states = [
                (one.copy.ref.target, "", State(explain.DELETING, why))
                for one, why in zip(self.judged, leaving, strict=True)
            ]
        else:
            states = [self._state(cache, target) for target in self.goals]
            here = {target.namespace for target in self.goals if not target.obstacle}
            leaving = [
                self._leaving(one)
                for one in self.judged
                if one.phase is Phase.RETIRING and one.copy.ref.target not in here
            ]
        pin = self.pin
        return rollup.Report(pin.fact, pin.digest, pin.image, pin.size, states, leaving)

    def _state(self, cache: Cache, target: Target) -> tuple[str, str, State]:
        """Name of the namespace, the claim to mount there (or ""), and its state."""
        name = target.namespace
        if target.obstacle:
            return name, "", State(target.obstacle, target.message)
        new, claim = self._wanted(cache, target), cache.key.name
        if new.word == explain.EXTRACTED:
            return name, claim, new
        here = (one for one in self.judged if one.copy.ref.target == name)
        older = next((one for one in here if one.serves), None)
        if older is None:
            return name, "", new
        return name, claim, explain.outdated(explain.use_of(self.view, older.copy.serving), new)

    def _wanted(self, cache: Cache, target: Target) -> State:
        """The state of the copy that the target should have."""
        if not self.pin.current:
            trouble = self.view.resolution
            if isinstance(trouble, Trouble) and telling(trouble):
                return explain.refused(trouble)
            return State(explain.PENDING, self.pin.fact.message)
        ref = goal(cache, self.pin, target)
        one = next(one for one in self.judged if one.copy.ref.id == ref.id)
        return explain.of_copy(self.view, one, self.now)

    def _leaving(self, one: Judged) -> str:
        return explain.of_retiring(self.view, one, self.now)
