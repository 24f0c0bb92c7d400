"""What lies on volumes: the hash of a tree, and the digest that its marker vouches for."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.reader import tree


@dataclass(frozen=True)
class Tree:
    """A tree as it was read; ``digest`` is empty where no marker says that it is complete."""

    hash: str
    digest: str


def read(folder: Path) -> Tree:
    """Read every byte below a folder."""
    marker = folder / ".gkm" / "complete"
    try:
        digest = str(json.loads(marker.read_text())["digest"])
    except FileNotFoundError:
        digest = ""
    return Tree(tree(str(folder)), digest)


def remains(root: Path) -> list[str]:
    """What is left below a folder of volumes, but for the empty folders of GKM's volumes."""
    if not root.is_dir():
        return []
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.parent != root or path.name.startswith("pvc-")
    )
