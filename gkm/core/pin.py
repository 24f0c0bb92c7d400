"""Which digest a Cache's copies are made of.

A tag is looked up once, when ``spec.image`` is new, and then pinned in the status: a namespace or
node that joins a year later gets the same bytes, and a registry that is down delays a new image
but never an edit or a deletion. While a new image is being looked up, the old pin stands. Only
``spec.refresh`` makes the tag be looked up again; what cannot be looked up then changes nothing.
"""

from dataclasses import dataclass, replace

from gkm.api.cache import CacheStatus
from gkm.core import conditions
from gkm.core.conditions import REFRESH_FAILED, RESOLVED, RESOLVING, Fact
from gkm.core.gputargets import UNSAID, Target, Targets, from_labels
from gkm.core.image import ImageFacts, environment, storage_request
from gkm.core.refresh import next_look
from gkm.core.retry import telling, waits
from gkm.core.view import Cache, Trouble, View


@dataclass(frozen=True)
class Pin:
    """A digest, the image it belongs to, the bytes that its volumes need, and its labels' words.

    ``current``: the image is ``spec.image``. ``fact`` is the condition Resolved; ``ask``: the
    registry must be asked now, ``again``: or then (epoch s); ``pending``: it may yet answer.
    """

    fact: Fact
    image: str = ""
    digest: str = ""
    size: int | None = None
    compiled: Targets = UNSAID
    environment: tuple[str, ...] = ()
    current: bool = False
    ask: bool = False
    again: float = float("inf")
    pending: bool = False


def pin(view: View, now: float) -> Pin:
    """Decide what the Cache is pinned to now."""
    cache, found = view.cache, view.resolution
    if cache is None or cache.deleting:
        return _kept(cache)
    kept = _kept(cache)
    if kept.digest and kept.image == cache.spec.image:
        return _followed(view, cache, replace(kept, current=True), now)
    if isinstance(found, ImageFacts):
        return _new(cache, found)
    if isinstance(found, Trouble):
        fact, pending = conditions.unresolved(found.reason, found.message), not found.final
        again = found.again if pending else float("inf")
        ask = pending and not waits(again, now)
        return replace(kept, fact=fact, ask=ask, again=again, pending=pending)
    fact = _refused_before(cache) or conditions.resolving(cache.spec.image)
    return replace(kept, fact=fact, ask=True, pending=True)


def _refused_before(cache: Cache) -> Fact | None:
    """What the status says of this very image: it stands until the registry is heard again."""
    told = (
        Fact(RESOLVED, False, c.reason, c.message)
        for c in cache.status.conditions
        if (c.type, c.status) == (RESOLVED, "False") and c.reason != RESOLVING
        if c.observed_generation == cache.generation
    )
    return next(told, None)


def _followed(view: View, cache: Cache, kept: Pin, now: float) -> Pin:
    """The pin of an image whose tag is looked up again now and then, if the user says so."""
    looked = view.looked.at if view.looked.at <= now else 0.0  # else a clock was wrong
    again = next_look(cache, looked)
    if again == float("inf"):
        return kept
    # An answer that was given when another digest was pinned is older than the pin.
    found = view.resolution if view.looked.digest == kept.digest else None
    if isinstance(found, ImageFacts):
        if found.digest != kept.digest:
            return _new(cache, found)
        return replace(kept, ask=now >= again, again=again)
    if isinstance(found, Trouble):
        failed = conditions.not_refreshed(kept.digest, found.reason, found.message)
        fact = failed if telling(found) else kept.fact
        if not found.final:
            again = found.again if waits(found.again, now) else now
        return replace(kept, fact=fact, ask=now >= again, again=again)
    before = _failed_before(cache)
    ask = before is not None or now >= again
    return replace(kept, fact=before or kept.fact, ask=ask, again=again)


def _failed_before(cache: Cache) -> Fact | None:
    """What the status says of a look that failed: it stands until the next one."""
    told = (c for c in cache.status.conditions if c.type == RESOLVED and c.reason == REFRESH_FAILED)
    return next((Fact(RESOLVED, True, c.reason, c.message) for c in told), None)


def _new(cache: Cache, found: ImageFacts) -> Pin:
    return Pin(
        conditions.pinned(found.digest),
        cache.spec.image,
        found.digest,
        storage_request(found),
        from_labels(found.labels),
        environment(found.labels),
        current=True,
    )


def _kept(cache: Cache | None) -> Pin:
    if cache is None or not cache.status.resolved_digest:
        return Pin(conditions.resolving(cache.spec.image if cache else ""))
    status, digest = cache.status, cache.status.resolved_digest
    return Pin(
        conditions.pinned(digest),
        status.resolved_image or "",
        digest,
        status.resolved_bytes,
        _compiled(status),
        status.environment,
    )


def _compiled(status: CacheStatus) -> Targets:
    said = status.compiled_for
    if said is None:
        return UNSAID
    known = (Target(t.backend, t.arch, t.warp_size, t.cuda_version) for t in said.targets)
    return Targets(tuple(known), said.doubt)
