"""Judges one run from its history: what must never have happened, and how often what was made.

Pure, but for the trees that it is told about. Each oracle gives sentences; none means all is well.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from gkm.api import names
from gkm.core import explain
from gkm.core.objects import SERVING
from tests.faults.canonical import Words
from tests.faults.recorder import CLAIM, POD, REPORTS, VOLUME, Seen, is_cache

Json = dict[str, Any]
_VERBS = {"ADDED": "CREATE", "DELETED": "DELETE"}
NOT_COUNTED = frozenset(REPORTS)
"""A report says what is there now. Whether it was taken away and made again while a copy was
between its claims tells only for how long nobody published the copy."""
_PRESENT = ("Extracted", "Running", "Outdated")
"""What an agent calls a claim that pods can mount."""
_TRACES = ("Traceback (most recent call last)", "bug while")


def counts(history: Iterable[Seen], words: Words) -> Counter[str]:
    """O2: how often each object was made and deleted, whatever it is now."""
    return Counter(
        f"{_VERBS[seen.event]} {words.key(seen.kind, seen.obj)}"
        for seen in history
        if seen.event in _VERBS and seen.kind not in NOT_COUNTED
    )


def unequal(wanted: Counter[str], found: Counter[str]) -> list[str]:
    """O2: what was made or deleted more or less often than without a fault."""
    return [
        f"O2: {key}: {found[key]} times, expected {wanted[key]}"
        for key in sorted({*wanted, *found})
        if wanted[key] != found[key]
    ]


class Monitor:
    """Follows the history in the API server's order, and notes each violation of S4 and S10."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._there: dict[str, Json] = {}
        self._served: set[tuple[str, str, str]] = set()
        """Namespace, name and digest of every serving claim that has had a volume of it."""

    def take(self, seen: Seen) -> None:
        """Take the next event."""
        before = self._there.get(seen.uid)
        gone = seen.event == "DELETED"
        if seen.kind == CLAIM and (gone or _going(seen.obj)) and before and not _going(before):
            self._delete_of(seen.obj)
        told = (before or {}).get("status") != seen.obj.get("status")
        if is_cache(seen.kind) and not gone and told:
            self._status_of(seen.obj)
        if seen.kind in REPORTS and not gone and told:
            self._report_of(seen.obj)
        if gone:
            self._there.pop(seen.uid, None)
        else:
            self._there[seen.uid] = {**seen.obj, "kind": seen.kind}
        if seen.kind in (CLAIM, VOLUME) and not gone:
            self._note_served()

    def _delete_of(self, claim: Json) -> None:
        """S4: no serving claim is deleted while a pod that is not finished names it."""
        if _label(claim, names.LABEL_ROLE) != SERVING:
            return
        meta = claim["metadata"]
        for pod in self._of_kind(POD):
            inside = pod["metadata"]["namespace"] == meta["namespace"]
            over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
            if inside and not over and meta["name"] in _claims(pod):
                name = pod["metadata"]["name"]
                self.violations.append(f"S4: claim {meta['name']} deleted while pod {name} uses it")

    def _status_of(self, cache: Json) -> None:
        """S10: pods of a namespace are served only while its claim is bound to a volume of the
        digest, and so called.

        In per-node mode a claim of one of its nodes is.
        """
        status = cache.get("status") or {}
        for one in status.get("namespaces") or ():
            if one["phase"] not in (explain.EXTRACTED, explain.RUNNING):
                continue
            digest = status.get("resolvedDigest", "")
            claims = self._serving(cache, one["namespace"], one["claim"])
            wrong = [self._unserved(claim, digest) for claim in claims] or ["there is no claim"]
            if all(wrong):
                said = f"{one['namespace']} is called {one['phase']}, but {wrong[0]}"
                self.violations.append(f"S10: {said}")

    def _report_of(self, report: Json) -> None:
        """S10: what an agent says is there has been; a claim that just went it may still name.

        A serving claim need not be bound yet: it is made when its volume is full.
        """
        for versions in ((report.get("status") or {}).get("caches") or {}).values():
            for digest, entry in versions.items():
                for one in entry.get("claims") or ():
                    known = (one["namespace"], one["claim"], digest) in self._served
                    if one["phase"] in _PRESENT and not known:
                        said = f"{report['metadata']['name']} calls {one['claim']} {one['phase']}"
                        self.violations.append(f"S10: {said}, but it was never served")

    def _note_served(self) -> None:
        refs = [(v["spec"].get("claimRef") or {}, _digest(v)) for v in self._of_kind(VOLUME)]
        held = {(ref.get("namespace"), ref.get("name")): digest for ref, digest in refs}
        for claim in self._of_kind(CLAIM):
            place = _place(claim)
            if place in held and _label(claim, names.LABEL_ROLE) == SERVING:
                self._served.add((*place, held[place]))

    def _serving(self, cache: Json, namespace: str, name: str) -> list[Json]:
        """The claims that serve a Cache in a namespace, if they are where they should be."""
        per_node = cache["spec"].get("accessModes") == ["ReadWriteOnce"]
        return [
            claim
            for claim in self._of_kind(CLAIM)
            if claim["metadata"]["namespace"] == namespace
            if per_node or claim["metadata"]["name"] == name
            if _label(claim, names.LABEL_ROLE) == SERVING
        ]

    def _unserved(self, claim: Json, digest: str) -> str:
        if _going(claim):
            return "there is no claim"
        if (claim.get("status") or {}).get("phase") != "Bound":
            return "its claim is not bound"
        held = [
            volume
            for volume in self._of_kind(VOLUME)
            if (volume["spec"].get("claimRef") or {}).get("uid") == claim["metadata"]["uid"]
        ]
        if not held:
            return "no volume is the claim's"
        found = _digest(held[0])
        return "" if found == digest else f"its volume is of {found}"

    def _of_kind(self, kind: str) -> list[Json]:
        return [obj for obj in self._there.values() if obj["kind"] == kind]


def violations(history: Iterable[Seen]) -> list[str]:
    """S4 and S10 over a run that began with an empty cluster."""
    monitor = Monitor()
    for seen in history:
        monitor.take(seen)
    return monitor.violations


def tracebacks(log: str) -> list[str]:
    """O5: what the operator's log has to tell of bugs."""
    lines = log.splitlines()
    found = [number for number, line in enumerate(lines) if any(t in line for t in _TRACES)]
    return [f"O5: {' | '.join(lines[number : number + 30])[:3000]}" for number in found[:3]]


def _going(obj: Json) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def _digest(volume: Json) -> str:
    return str((volume["metadata"].get("annotations") or {}).get(names.ANNOTATION_DIGEST))


def _label(obj: Json, name: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(name, ""))


def _place(obj: Json) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _claims(pod: Json) -> set[str]:
    volumes = pod["spec"].get("volumes") or ()
    return {(v.get("persistentVolumeClaim") or {}).get("claimName", "") for v in volumes}
