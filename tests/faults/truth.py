"""The half of S10 that no history can tell: while a status says Extracted, the files are there.

Looks at the volume at the moment at which such a status is seen, and at that of each serving claim
as soon as it is bound, on whatever node. A claim that is on its way out by then is left alone: what
is on its volume is nobody's promise any more. So is one of a node that is gone: its disk is, too.
"""

from typing import Any

from gkm.api import names
from gkm.core import explain
from gkm.core.objects import SERVING
from tests.faults import trees
from tests.faults.disks import Disks
from tests.faults.recorder import CLAIM, VOLUME, Recorder, Seen, is_cache

Json = dict[str, Any]


class Truth:
    """Listens to the recorder; ``problems`` are statuses that were not true."""

    def __init__(self, recorder: Recorder, disks: Disks, expected: dict[str, str]) -> None:
        self.problems: list[str] = []
        self._recorder, self._disks, self._expected = recorder, disks, expected
        recorder.listeners.append(self._listen)

    def _listen(self, seen: Seen) -> None:
        meta = seen.obj["metadata"]
        if seen.event == "DELETED" or "deletionTimestamp" in meta:
            return
        if seen.kind == CLAIM and _serves(seen.obj):
            self._look(
                meta["namespace"], meta["name"], meta["annotations"][names.ANNOTATION_DIGEST]
            )
        if not is_cache(seen.kind):
            return
        status = seen.obj.get("status") or {}
        for one in status.get("namespaces") or ():
            if one["phase"] == explain.EXTRACTED:
                self._look(one["namespace"], one["claim"], status["resolvedDigest"])

    def _look(self, namespace: str, name: str, digest: str) -> None:
        claim = self._recorder.find(CLAIM, namespace, name)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            return
        node = (claim["metadata"].get("annotations") or {}).get(names.ANNOTATION_NODE_UID)
        if node and node not in self._disks.there.values():
            return
        volume = self._recorder.find(VOLUME, "", claim["spec"].get("volumeName", ""))
        if volume is None:
            return
        found = trees.read(self._disks.folder(volume))
        if (found.digest, found.hash) != (digest, self._expected.get(digest)):
            self.problems.append(f"S10: {namespace}/{name} is served, its volume holds {found}")


def _serves(claim: Json) -> bool:
    role = (claim["metadata"].get("labels") or {}).get(names.LABEL_ROLE)
    return role == SERVING and (claim.get("status") or {}).get("phase") == "Bound"
