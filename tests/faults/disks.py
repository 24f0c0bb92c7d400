"""Where the content of a volume lies on this machine.

Volumes that are bound to a node are on that node's own disk: the same path on two nodes is two
folders. All others are in one folder that the nodes share. A node that comes back under its name
has a new, empty disk.
"""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Disks:
    """The shared folder, and a disk for each node that has ever been there."""

    def __init__(self, folder: Path) -> None:
        self.shared = folder / "volumes"
        """What Kubernetes knows as the path of all volumes."""
        self._own = folder / "disks"
        self._lives: Counter[str] = Counter()
        self.there: dict[str, str] = {}
        """Of each node that is there its uid."""

    def folder(self, volume: Json) -> Path:
        """The folder of a volume; it need not be there."""
        where, node = Path(volume["spec"]["hostPath"]["path"]), _node_of(volume)
        return self._disk(node) / where.relative_to(self.shared) if node else where

    def mounted(self, volume: Json) -> Path:
        """The folder of a volume, made if need be: DirectoryOrCreate."""
        folder = self.folder(volume)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def renew(self, node: str) -> None:
        """Throw a node's disk away; its next one is empty."""
        shutil.rmtree(self._disk(node), ignore_errors=True)
        self._lives[node] += 1

    def roots(self) -> list[Path]:
        """Every folder of volumes that is there."""
        return [self.shared, *(self._own.iterdir() if self._own.is_dir() else ())]

    def _disk(self, node: str) -> Path:
        return self._own / f"{node}.{self._lives[node]}"


def _node_of(volume: Json) -> str:
    """Name of the node that a volume is bound to; empty if it is bound to none."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for one in term.get("matchExpressions") or ():
            return str(one["values"][0])
    return ""
