"""Two tiny cache images, made by GKM's own command line, and the tree that each becomes."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults import trees
from tests.stage import ROOT, gkm

_KERNEL = {
    "hash": "h1",
    "target": {"backend": "cuda", "arch": 90, "warp_size": 32},
    "num_warps": 4,
    "num_stages": 3,
}


@dataclass(frozen=True)
class Image:
    """An image in the stack's registry: its tag, its digest, the hash of its tree."""

    reference: str
    digest: str
    tree: str


def both(registry: str, folder: Path) -> tuple[Image, Image]:
    """Pack and push two images that differ."""
    return _image(registry, folder, "one"), _image(registry, folder, "two")


def _image(registry: str, folder: Path, tag: str) -> Image:
    cache, layout, target = (folder / f"{kind}-{tag}" for kind in ("cache", "layout", "tree"))
    key = cache / "KEY"
    key.mkdir(parents=True)
    (key / "add.json").write_text(json.dumps(_KERNEL))
    (key / "add.ptx").write_text(f".version 8.4 // {tag}")
    group = {"child_paths": {name: f"{key}/{name}" for name in ("add.json", "add.ptx")}}
    (key / "__grp__add.json").write_text(json.dumps(group))
    reference = f"{registry}/gkm/faults:{tag}"
    gkm("pack", str(cache), "-o", str(layout))
    pinned = gkm("push", str(layout), reference, "--plain-http").strip()
    target.mkdir()
    settings = {"GKM_REGISTRY": json.dumps({"plainHttp": [registry]})}
    command = [
        sys.executable,
        "-m",
        "gkm",
        "extract",
        pinned,
        str(target),
        "--mount-path",
        "/cache",
    ]
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, check=True
    )
    return Image(reference, pinned.partition("@")[2], trees.read(target).hash)
