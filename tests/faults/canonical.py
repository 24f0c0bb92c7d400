"""Two runs in the same words: what is different in every run is replaced or left out.

Pure. Identities that mean something (copies, digests, namespaces) get the name of what they mean,
so that a wrong one still shows; what means nothing (uids, times, random suffixes) is masked. What
then still differs between two runs without a fault is masked, too (``differing``).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from gkm.api import names
from gkm.api.names import CacheKey, copy_id, short_digest, waiting_name
from gkm.core.podnode import node_of

Json = dict[str, Any]
Leaves = dict[str, Any]
"""One end state: of each object, each field by its path."""

_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TOKEN = re.compile(r"kube-api-access-[a-z0-9]{5}")
_SECONDS = re.compile(r"in \d+\.\d( to \d+\.\d)? s\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_LEFT_OUT = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}
)
_NOT_COMPARED = frozenset(
    {
        names.ANNOTATION_NUDGE,  # whether the real binder needs one is its own race
        names.ANNOTATION_OUTCOME,  # tells how long it took
        names.ANNOTATION_INPUT,  # a hash over the registry's address, which differs between stacks
        "controller-revision-hash",  # over a DaemonSet's pods, which name the run's own Cache
    }
)


class Words:
    """Replaces what is different in every run."""

    def __init__(self, words: Mapping[str, str]) -> None:
        longest_first = sorted(words, key=len, reverse=True)
        self._words = {word: words[word] for word in longest_first}

    def text(self, text: str) -> str:
        """One text in canonical words."""
        for word, meaning in self._words.items():
            text = text.replace(word, meaning)
        text = _SECONDS.sub("in SECONDS", text)
        return _TOKEN.sub("TOKEN", _TIME.sub("TIME", _UID.sub("UID", text)))

    def value(self, value: Any) -> Any:
        """Any JSON in canonical words."""
        if isinstance(value, dict):
            kept = (key for key in value if key not in _LEFT_OUT | _NOT_COMPARED)
            return {self.text(key): self.value(value[key]) for key in kept}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def key(self, kind: str, obj: Json) -> str:
        """Name an object in canonical words; a random suffix is a star, and the node of a pod."""
        meta = obj["metadata"]
        prefix = meta.get("generateName")
        name = f"{prefix}*{node_of(obj.get('spec') or {}, {})}" if prefix else meta["name"]
        return self.text(f"{kind} {meta.get('namespace', '')}/{name}")

    def leaves(self, kind: str, obj: Json) -> Leaves:
        """Every field of an object."""
        meta = obj["metadata"]
        name = f"{meta['generateName']}*" if meta.get("generateName") else meta["name"]
        named = obj | {"metadata": meta | {"name": name}}
        return dict(flat(self.key(kind, obj), self.value(named)))


def meanings(
    caches: Iterable[tuple[CacheKey, str]],
    spaces: Mapping[str, str],
    digests: Mapping[str, str],
    nodes: Mapping[str, str],
) -> dict[str, str]:
    """Words for digests, namespaces, nodes (by uid), and for every copy that the Caches may have.

    The waiting name of a pod is the same in every namespace.
    """
    words = {**spaces, **digests, **nodes}
    words |= {short_digest(digest): word for digest, word in digests.items()}
    for key, uid in caches:
        words |= {waiting_name(key, uid, n): f"WAITING({key.kind},{nodes[n]})" for n in nodes}
        for (space, where), (node, on) in product(spaces.items(), {"": "", **nodes}.items()):
            for digest, what in digests.items():
                words[copy_id(key, uid, space, node, digest)] = f"COPY({where},{on},{what})"
    return words


def flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every leaf below ``path``; an empty mapping or list is a leaf."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(f"{path} {key}", item)
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from flat(f"{path} {number}", item)
    else:
        yield path, value


def differing(one: Leaves, other: Leaves) -> frozenset[str]:
    """Paths at which two end states differ."""
    return frozenset(path for path in {*one, *other} if one.get(path) != other.get(path))


def differences(wanted: Leaves, found: Leaves, mask: frozenset[str]) -> list[str]:
    """Say what is different, but for what is masked."""
    return [
        f"{path}: {found.get(path, 'absent')!r}, expected {wanted.get(path, 'absent')!r}"
        for path in sorted(differing(wanted, found) - mask)
    ]
