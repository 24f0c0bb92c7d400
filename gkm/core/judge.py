"""Which copies are wanted, and where each stands.

A copy is wanted if its target stands and its digest is the pinned one, or if it is what its target
serves while the pinned digest is not filled there yet: a bad new image never costs the good one.
While the digest is not known, an unfinished copy is neither filled nor removed: it may be the one,
begun by an operator that did not live to write the pin down.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gkm.api import names
from gkm.core import copy as life
from gkm.core.copy import Observed, Phase, Step
from gkm.core.objects import CopyRef, claim_input, job_input, makes_volume
from gkm.core.observe import Copy, Inputs, copies, observe
from gkm.core.pin import Pin
from gkm.core.quantity import to_bytes
from gkm.core.retry import QUOTA_EXCEEDED, telling
from gkm.core.targets import Target
from gkm.core.view import Cache, Settings, Trouble, View


@dataclass(frozen=True)
class Judged:
    """One copy with its states, its phase and its next step."""

    copy: Copy
    seen: Observed
    phase: Phase
    step: Step
    trouble: Trouble | None = None

    @property
    def serves(self) -> bool:
        """Whether pods can mount it."""
        return self.seen.serving is life.Claim.BOUND and self.seen.volume is life.Volume.SERVING

    @property
    def filled(self) -> bool:
        """Whether the content is complete on the volume."""
        return self.seen.volume is life.Volume.SERVING or self.seen.job is life.Job.DONE


def volume_size(cache: Cache, pin: Pin) -> int:
    """Bytes to ask for: what the user says, else what the image needs."""
    return to_bytes(cache.spec.storage_size) if cache.spec.storage_size else pin.size or 0


def goal(cache: Cache, pin: Pin, target: Target) -> CopyRef:
    """The copy that a target should have."""
    key = cache.key
    copy = names.copy_id(key, cache.uid, target.namespace, "", pin.digest)
    return CopyRef(copy, key, cache.uid, target.namespace, pin.digest)


def judge(
    view: View, settings: Settings, pin: Pin, targets: Iterable[Target], now: float
) -> tuple[Judged, ...]:
    """Judge every copy that is there or should be; those that should be come first."""
    there = copies(view, settings.namespace)
    standing = {t.namespace for t in targets if not t.obstacle}
    judged: dict[str, Judged] = {}
    inputs = None
    if view.cache is not None and pin.current:
        inputs = _inputs(view.cache, settings, pin)
        for target in targets:
            if not target.obstacle:
                ref = goal(view.cache, pin, target)
                one = there.pop(ref.id, None) or Copy(ref, settings.namespace, pods=view.pods)
                judged[ref.id] = _judged(view, one, observe(one, inputs, now), now, wanted=True)
    filled = {j.copy.ref.target for j in judged.values() if j.filled}
    for one in there.values():
        seen = observe(one, None, now)
        ours = one.ref.target in standing and _of(view, one)
        stage = life.phase(replace(seen, wanted=True))
        kept = ours and stage is Phase.PUBLISHED and one.ref.target not in filled
        found = _judged(view, one, seen, now, wanted=kept)
        undecided = pin.pending and ours and not kept and stage is not Phase.RETIRING
        judged[one.ref.id] = replace(found, step=Step.WAIT) if undecided else found
    return tuple(judged.values())


def _of(view: View, one: Copy) -> bool:
    """Whether the copy is this very Cache's, not that of a predecessor of its name."""
    return view.cache is not None and view.cache.uid == one.ref.cache_uid


def _inputs(cache: Cache, settings: Settings, pin: Pin) -> Inputs:
    size = volume_size(cache, pin)
    ours = makes_volume(cache.spec, settings)
    return Inputs(
        claim_input(cache.spec, size, settings), job_input(cache.spec, settings), ours=ours
    )


def _judged(view: View, one: Copy, seen: Observed, now: float, *, wanted: bool) -> Judged:
    seen = replace(seen, wanted=wanted, name_free=_name_free(view, one.ref))
    trouble = view.troubles.get(one.ref.id)
    held = trouble is not None and (trouble.final or now < trouble.again)
    step = Step.WAIT if held else life.next_step(seen)
    phase = life.phase(seen)
    told = trouble is not None and telling(trouble) and not _passing(trouble, phase)
    shown = trouble if held and told else None
    return Judged(one, seen, phase, step, shown)


def _passing(trouble: Trouble, phase: Phase) -> bool:
    """A quota counts the staging claim for a moment after it made room for the serving claim."""
    early = trouble.attempts < 3
    return early and trouble.reason == QUOTA_EXCEEDED and phase is Phase.RESERVED


def _name_free(view: View, ref: CopyRef) -> bool:
    place = (ref.target, ref.serving)
    held = any((c.namespace, c.name) == place and c.copy != ref.id for c in view.claims)
    return not held and place not in view.namesakes
