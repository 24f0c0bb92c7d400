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
    found: list[Json] = []
    if not old.keys() <= new.keys():
        gone = [key for key in old if key not in new]
        found += [{"op": "remove", "path": f"{path}/{_escaped(key)}"} for key in gone]
    for key, value in new.items():
        if key not in old:
            found.append({"op": "add", "path": f"{path}/{_escaped(key)}", "value": value})
        elif old[key] is not value:
            found += diff(old[key], value, f"{path}/{_escaped(key)}")
    return found


def _items(old: list[Any], new: list[Any], path: str) -> list[Json]:
    """Where there are more than before, items are told apart by path or name if those are unique.

    So what was put before an item is an addition, and not a change of every item behind it.
    """
    before, after = list[Any](range(len(old))), list[Any](range(len(new)))
    if len(new) > len(old):
        named, names = _keys(old), _keys(new)
        same = set(named)
        if [key for key in names if key in same] == named:
            before, after = named, names
    known, rest = set(before), iter(old)
    found: list[Json] = []
    for place, (key, item) in enumerate(zip(after, new, strict=True)):
        if key not in known:
            found.append({"op": "add", "path": f"{path}/{place}", "value": item})
        elif (earlier := next(rest)) is not item:
            found += diff(earlier, item, f"{path}/{place}")
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
