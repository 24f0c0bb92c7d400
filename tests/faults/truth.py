"""The half of S10 that no history can tell: while a status says Extracted, the files are there.

Looks at the volume at the moment at which such a status is seen. A claim that is on its way out by
then is left alone: what is on its volume is nobody's promise any more.
"""

from pathlib import Path
from typing import Any

from gkm.core import explain
from tests.faults import trees
from tests.faults.recorder import CLAIM, VOLUME, Recorder, Seen, is_cache

Json = dict[str, Any]


class Truth:
    """Listens to the recorder; ``problems`` are statuses that were not true."""

    def __init__(self, recorder: Recorder, expected: dict[str, str]) -> None:
        self.problems: list[str] = []
        self._recorder, self._expected = recorder, expected
        recorder.listeners.append(self._listen)

    def _listen(self, seen: Seen) -> None:
        if not is_cache(seen.kind) or seen.event == "DELETED":
            return
        if "deletionTimestamp" in seen.obj["metadata"]:
            return
        status = seen.obj.get("status") or {}
        for one in status.get("namespaces") or ():
            if one["phase"] == explain.EXTRACTED:
                self._look(one["namespace"], one["claim"], status["resolvedDigest"])

    def _look(self, namespace: str, name: str, digest: str) -> None:
        claim = self._recorder.find(CLAIM, namespace, name)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            return
        volume = self._recorder.find(VOLUME, "", claim["spec"].get("volumeName", ""))
        if volume is None:
            return
        found = trees.read(Path(volume["spec"]["hostPath"]["path"]))
        if (found.digest, found.hash) != (digest, self._expected.get(digest)):
            self.problems.append(f"S10: {namespace}/{name} is Extracted, its volume holds {found}")
