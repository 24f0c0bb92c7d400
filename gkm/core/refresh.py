"""When a tag is looked up again, for a Cache that asks for it with ``spec.refresh``.

The times are the Cache's own, spread by its uid: a thousand Caches with one interval do not ask all
at once, and nothing has to be written down. A look that falls into the moment between two leaders
is made up for at the next of these times.
"""

import hashlib
import re

from gkm.core.view import Cache

_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_NEVER = float("inf")


def next_look(cache: Cache, after: float) -> float:
    """The first time after ``after`` (epoch s) at which to look the tag up; infinity: never."""
    every = _interval(cache.spec.refresh or "")
    if not every or "@" in cache.spec.image:
        return _NEVER
    shift = int(hashlib.sha256(cache.uid.encode()).hexdigest()[:8], 16) % every
    return ((after - shift) // every + 1) * every + shift


def _interval(text: str) -> int:
    """Seconds; 0 for what the CRD's rules would refuse."""
    found = re.fullmatch(r"([1-9][0-9]{0,6})([mhd])", text, re.ASCII)
    return int(found[1]) * _SECONDS[found[2]] if found else 0
