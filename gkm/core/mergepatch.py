"""The merge patch (RFC 7386) that makes one JSON object of another."""

from typing import Any

Json = dict[str, Any]


def difference(old: Json, new: Json) -> Json:
    """Return the smallest merge patch from ``old`` to ``new``; empty if they are equal.

    What ``new`` lacks is null in the patch. Lists are replaced whole, as merge patches do.
    """
    patch: Json = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := difference(before, value):
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch
