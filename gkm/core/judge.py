"""Which copies are wanted, and where each stands.

A copy is wanted if its target stands and its digest is the pinned one, unless that is not for the
node's GPUs, or if it is the newest that its target serves while the pinned digest is not filled
(per node: not published) there yet: a bad new image never costs the good one, and an image that
cannot be looked up costs nobody the pinned.
While a new image is being looked up, an unfinished copy of another digest is neither filled nor
removed: it may be the one, begun by an operator that did not live to write the pin down.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gkm.api import names
from gkm.core import copy as life
from gkm.core.copy import Observed, Phase, Step
from gkm.core.objects import CopyRef, claim_input, job_input, makes_volume
from gkm.core.observe import Copy, Inputs, copies, observe
from gkm.core.pin import Pin
from gkm.core.quantity import to_bytes
from gkm.core.retry import QUOTA_EXCEEDED, telling, waits
from gkm.core.targets import Target
from gkm.core.view import Cache, Settings, Trouble, View

Taken = Mapping[tuple[str, str], set[str]]
"""Ids of copies by namespace and name of a claim; an empty id is another Cache's."""


@dataclass(frozen=True)
class Judged:
    """One copy with its states, its phase and its next step."""

    copy: Copy
    seen: Observed
    phase: Phase
    step: Step
    trouble: Trouble | None = None
    serving: str = ""
    """Name that its serving claim has or is to have; empty while somebody else holds the name."""
    held: str = ""
    """Why its next step is not taken now, in words for a user."""
    in_line: bool = False
    """It waits for other extractions to end."""

    @property
    def serves(self) -> bool:
        """Whether pods can mount it."""
        return self.seen.serving is life.Claim.BOUND and self.seen.volume is life.Volume.SERVING

    @property
    def filled(self) -> bool:
        """Whether it replaces what its target served until now."""
        if self.copy.ref.node_uid:
            return self.phase is Phase.PUBLISHED
        return self.seen.volume is life.Volume.SERVING or self.seen.job is life.Job.DONE


def volume_size(cache: Cache, pin: Pin) -> int:
    """Bytes to ask for: what the user says, else what the image needs."""
    return to_bytes(cache.spec.storage_size) if cache.spec.storage_size else pin.size or 0


def goal(cache: Cache, pin: Pin, target: Target) -> CopyRef:
    """The copy that a target should have."""
    key = cache.key
    copy = names.copy_id(key, cache.uid, target.namespace, target.node_uid, pin.digest)
    place = (target.namespace, pin.digest, target.node, target.node_uid)
    return CopyRef(copy, key, cache.uid, *place)


def judge(
    view: View, settings: Settings, pin: Pin, targets: Iterable[Target], now: float
) -> tuple[Judged, ...]:
    """Judge every copy that is there or should be; those that should be come first."""
    there, goals = copies(view, settings.namespace), tuple(targets)
    taken = _taken(view)
    judged: dict[str, Judged] = {}
    if view.cache is not None and pin.digest:
        inputs = _inputs(view.cache, settings, pin)
        for target in goals:
            ref = goal(view.cache, pin, target)
            if _may_have(target) and (target.meant or ref.id in there):
                one = there.pop(ref.id, None) or Copy(ref, settings.namespace)
                seen = observe(one, inputs, now)
                judged[ref.id] = _held(_judged(view, taken, one, seen, now, wanted=True), target)
    filled = {j.copy.ref.place for j in judged.values() if j.filled}
    observed = {ref: observe(one, None, now) for ref, one in there.items()}
    stages = {ref: life.phase(replace(seen, wanted=True)) for ref, seen in observed.items()}
    published = [one for ref, one in there.items() if stages[ref] is Phase.PUBLISHED]
    kept = _kept(view, pin, published, goals)
    standing = {target.place for target in goals if not target.obstacle}
    for one in there.values():
        seen = observed[one.ref.id]
        place, ours = one.ref.place, _of(view, one)
        wanted = one.ref.id in kept and place not in filled
        found = _judged(view, taken, one, seen, now, wanted=wanted)
        retiring = stages[one.ref.id] is Phase.RETIRING
        undecided = pin.pending and ours and place in standing and not wanted and not retiring
        judged[one.ref.id] = replace(found, step=Step.WAIT) if undecided else found
    return _in_turn(tuple(judged.values()), view.slots, settings)


def _may_have(target: Target) -> bool:
    return not target.obstacle and not target.released


def _kept(view: View, pin: Pin, published: Iterable[Copy], targets: Iterable[Target]) -> set[str]:
    """Of each place the newest earlier copy that serves: it goes on until the wanted one does."""
    at = {target.place: target for target in targets if not target.obstacle}
    newest: dict[tuple[str, str], Copy] = {}
    for one in published:
        target = at.get(one.ref.place)
        if target is None or not _of(view, one):
            continue
        if target.released and one.ref.digest == pin.digest:
            continue
        known = newest.get(one.ref.place)
        if known is None or age(known) < age(one):
            newest[one.ref.place] = one
    return {one.ref.id for one in newest.values()}


def age(one: Copy) -> tuple[float, str]:
    """What sorts copies that serve, the newest last, as the webhook does (``core.known``)."""
    return (one.serving.created, one.serving.name) if one.serving else (0.0, "")


def _held(one: Judged, target: Target) -> Judged:
    """Begin nothing where nothing can be begun now."""
    if target.held and one.step is Step.STAGE:
        return replace(one, step=Step.WAIT, held=target.held)
    if not target.meant and one.step is Step.RESTORE:
        return replace(one, step=Step.WAIT)  # it may be on its way out since before a restart
    return one


def _in_turn(judged: tuple[Judged, ...], slots: int, settings: Settings) -> tuple[Judged, ...]:
    """Begin as many extractions as there are slots; the others wait their turn."""
    beginning = [one.copy.ref.id for one in judged if one.step is Step.RUN]
    late = set(beginning[slots:])
    said = f"waits its turn: all caches together may have {settings.parallel} extractions at once"
    return tuple(
        replace(one, step=Step.WAIT, held=said, in_line=True) if one.copy.ref.id in late else one
        for one in judged
    )


def _of(view: View, one: Copy) -> bool:
    """Whether the copy is this very Cache's, not that of a predecessor of its name."""
    return view.cache is not None and view.cache.uid == one.ref.cache_uid


def _inputs(cache: Cache, settings: Settings, pin: Pin) -> Inputs:
    size = volume_size(cache, pin)
    ours = makes_volume(cache.spec, settings)
    return Inputs(
        claim_input(cache.spec, size, settings), job_input(cache.spec, settings), ours=ours
    )


def _judged(
    view: View, taken: Taken, one: Copy, seen: Observed, now: float, *, wanted: bool
) -> Judged:
    serving = _serving_name(taken, one)
    gone = bool(one.ref.node_uid) and not _is_there(view, one.ref)
    seen = replace(seen, wanted=wanted, name_free=bool(serving), node_gone=gone)
    trouble = view.troubles.get(one.ref.id)
    held = trouble is not None and (trouble.final or waits(trouble.again, now))
    step = Step.WAIT if held else life.next_step(seen)
    phase = life.phase(seen)
    told = trouble is not None and telling(trouble) and not _passing(trouble, phase)
    shown = trouble if held and told else None
    return Judged(one, seen, phase, step, shown, serving)


def _passing(trouble: Trouble, phase: Phase) -> bool:
    """A quota counts the staging claim for a moment after it made room for the serving claim."""
    early = trouble.attempts < 3
    return early and trouble.reason == QUOTA_EXCEEDED and phase is Phase.RESERVED


def _is_there(view: View, ref: CopyRef) -> bool:
    node = view.nodes.get(ref.node)
    return node is not None and node.uid == ref.node_uid


def _taken(view: View) -> Taken:
    """Every claim's name that is there, or that a volume is reserved for, and by which copies."""
    found: dict[tuple[str, str], set[str]] = {place: {""} for place in view.namesakes}
    for claim in view.claims:
        found.setdefault((claim.namespace, claim.name), set()).add(claim.copy)
    for volume in view.volumes:
        if not volume.claim_uid:
            place = (volume.claim_namespace, volume.claim_name)
            found.setdefault(place, set()).add(volume.copy)
    return found


def _serving_name(taken: Taken, one: Copy) -> str:
    """The first of its names that nobody else has, or is to have; empty if all are taken."""
    ref = one.ref
    if one.serving is not None or one.serving_name != ref.waiting:
        return one.serving_name
    own = {ref.id}
    free = (n for n in ref.serving_names if taken.get((ref.target, n), own) <= own)
    return next(free, "")
