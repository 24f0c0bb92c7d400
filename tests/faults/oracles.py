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
from tests.faults.recorder import CLAIM, POD, VOLUME, Seen, is_cache

Json = dict[str, Any]
_VERBS = {"ADDED": "CREATE", "DELETED": "DELETE"}
_TRACES = ("Traceback (most recent call last)", "bug while")


def counts(history: Iterable[Seen], words: Words) -> Counter[str]:
    """O2: how often each object was made and deleted, whatever it is now."""
    return Counter(
        f"{_VERBS[seen.event]} {words.key(seen.kind, seen.obj)}"
        for seen in history
        if seen.event in _VERBS
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

    def take(self, seen: Seen) -> None:
        """Take the next event."""
        before = self._there.get(seen.uid)
        gone = seen.event == "DELETED"
        if seen.kind == CLAIM and (gone or _going(seen.obj)) and before and not _going(before):
            self._delete_of(seen.obj)
        told = (before or {}).get("status") != seen.obj.get("status")
        if is_cache(seen.kind) and not gone and told:
            self._status_of(seen.obj)
        if gone:
            self._there.pop(seen.uid, None)
        else:
            self._there[seen.uid] = {**seen.obj, "kind": seen.kind}

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
        """S10: a namespace is Extracted only while its claim is bound to a volume of the digest."""
        status = cache.get("status") or {}
        for one in status.get("namespaces") or ():
            if one["phase"] != explain.EXTRACTED:
                continue
            wrong = self._unserved(one["namespace"], one["claim"], status.get("resolvedDigest", ""))
            if wrong:
                self.violations.append(f"S10: {one['namespace']} is called Extracted, but {wrong}")

    def _unserved(self, namespace: str, name: str, digest: str) -> str:
        place = (namespace, name)
        claim = next((c for c in self._of_kind(CLAIM) if _place(c) == place), None)
        if claim is None or _going(claim):
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
        found = (held[0]["metadata"].get("annotations") or {}).get(names.ANNOTATION_DIGEST)
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


def _label(obj: Json, name: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(name, ""))


def _place(obj: Json) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _claims(pod: Json) -> set[str]:
    volumes = pod["spec"].get("volumes") or ()
    return {(v.get("persistentVolumeClaim") or {}).get("claimName", "") for v in volumes}
