"""Which digest a Cache's copies are made of.

A tag is looked up once, when ``spec.image`` is new, and then pinned in the status: a namespace or
node that joins a year later gets the same bytes, and a registry that is down delays a new image
but never an edit or a deletion. While a new image is being looked up, the old pin stands.
"""

from dataclasses import dataclass, replace

from gkm.core import conditions
from gkm.core.conditions import Fact
from gkm.core.image import ImageFacts, storage_request
from gkm.core.view import Cache, Trouble, View


@dataclass(frozen=True)
class Pin:
    """A digest, the image it belongs to, and the bytes that its volumes need.

    ``current``: the image is ``spec.image``; only then are new copies made. ``fact`` is the
    condition Resolved; ``ask``: the registry must be asked; ``pending``: it may yet answer.
    """

    fact: Fact
    image: str = ""
    digest: str = ""
    size: int | None = None
    current: bool = False
    ask: bool = False
    pending: bool = False


def pin(view: View, now: float) -> Pin:
    """Decide what the Cache is pinned to now."""
    cache, found = view.cache, view.resolution
    if cache is None or cache.deleting:
        return _kept(cache)
    kept = _kept(cache)
    if kept.digest and kept.image == cache.spec.image:
        return replace(kept, current=True)
    if isinstance(found, ImageFacts):
        fact, size = conditions.pinned(found.digest), storage_request(found)
        return Pin(fact, cache.spec.image, found.digest, size, current=True)
    if isinstance(found, Trouble):
        fact, pending = conditions.unresolved(found.reason, found.message), not found.final
        return replace(kept, fact=fact, ask=pending and now >= found.again, pending=pending)
    return replace(kept, fact=conditions.resolving(cache.spec.image), ask=True, pending=True)


def _kept(cache: Cache | None) -> Pin:
    if cache is None or not cache.status.resolved_digest:
        return Pin(conditions.resolving(cache.spec.image if cache else ""))
    status, digest = cache.status, cache.status.resolved_digest
    return Pin(
        conditions.pinned(digest), status.resolved_image or "", digest, status.resolved_bytes
    )
