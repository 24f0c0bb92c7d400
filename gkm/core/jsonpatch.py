"""The difference of two JSON values as an RFC 6902 patch that names nothing but what changed."""

from typing import Any

Json = dict[str, Any]


def diff(old: Any, new: Any, path: str = "") -> list[Json]:
    """Operations that make ``new`` of ``old``; parts that are the same object are not looked at."""
    if old is new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return _members(old, new, path)
    if isinstance(old, list) and isinstance(new, list) and len(new) >= len(old):
        return _items(old, new, path)
    if type(old) is type(new) and not isinstance(old, list) and old == new:
        return []
    return [{"op": "replace", "path": path, "value": new}]


def _members(old: Json, new: Json, path: str) -> list[Json]:
    found: list[Json] = [
        {"op": "remove", "path": f"{path}/{_escaped(key)}"} for key in old if key not in new
    ]
    for key, value in new.items():
        where = f"{path}/{_escaped(key)}"
        if key in old:
            found += diff(old[key], value, where)
        else:
            found.append({"op": "add", "path": where, "value": value})
    return found


def _items(old: list[Any], new: list[Any], path: str) -> list[Json]:
    """Items are told apart by path or name where those are unique, else by their places.

    So what was put before an item is an addition, and not a change of every item behind it.
    """
    before, after = _keys(old), _keys(new)
    known = set(before)
    if [key for key in after if key in known] != before:
        after = list(range(len(new)))
        known = set(range(len(old)))
    rest = iter(old)
    found: list[Json] = []
    for place, (key, item) in enumerate(zip(after, new, strict=True)):
        if key in known:
            found += diff(next(rest), item, f"{path}/{place}")
        else:
            found.append({"op": "add", "path": f"{path}/{place}", "value": item})
    return found


def _keys(items: list[Any]) -> list[Any]:
    """One key for each item: its path or name, or its place if those are not all unique."""
    keys = [_key(item) for item in items]
    unique = all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys)
    return keys if unique else list(range(len(items)))


def _key(item: Any) -> Any:
    return (item.get("mountPath") or item.get("name")) if isinstance(item, dict) else None


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
