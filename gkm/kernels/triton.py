"""Triton's file cache (``$TRITON_CACHE_DIR``), read without Triton.

Layout, from Triton's runtime/cache.py: ``<key>/<kernel>.<stage>``, ``<key>/<kernel>.json``
(metadata: hash, target) and ``<key>/__grp__<kernel>.json``, whose ``child_paths`` are absolute
paths on the machine that compiled. Triton drops the group if one of them is missing, so a cache
that is mounted elsewhere is compiled again, silently, unless the paths are rewritten.
"""

import json
import posixpath
from itertools import islice
from pathlib import Path
from typing import Final

from gkm.api.errors import Rejected
from gkm.core.gputargets import document
from gkm.kernels.framework import Description
from gkm.kernels.hostobjects import host_notes
from gkm.kernels.metadata import Kernel, read_kernels

_MOST_CHILDREN: Final = 100
"""A group has a file for each stage; every one of its paths may become 1,000 times as long."""


class Triton:
    """Describes and relocates Triton caches."""

    name = "triton"

    def describe(self, root: Path, files: list[str]) -> Description | None:
        """Describe the cache by the metadata of its kernels."""
        signs = [path for path in files if is_sign(path)]
        kernels = read_kernels(root, files) if signs else []
        if not kernels:
            return None
        _check_level(root, signs)
        doubt = nameless(kernels)
        targets = [kernel.target for kernel in kernels if kernel.target]
        notes = (*filter(None, [doubt]), *host_notes(root, files))
        manifest = {"triton": [kernel.entry for kernel in kernels]}
        return Description(manifest, document(targets, doubt), len(kernels), {}, notes)

    def is_relocated(self, path: str) -> bool:
        """Say whether ``path`` is a group file."""
        name = posixpath.basename(path)
        return name.startswith("__grp__") and name.endswith(".json")

    def relocate(self, path: str, content: bytes, mount_path: str) -> bytes:
        """Point a group at its children below ``mount_path``: they lie beside the group file."""
        try:
            group = json.loads(content)
            children = group["child_paths"]
            home = posixpath.join(mount_path, posixpath.dirname(path))
            moved = {
                name: posixpath.join(home, posixpath.basename(old))
                for name, old in islice(children.items(), _MOST_CHILDREN + 1)
            }
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Rejected(
                "BadCache", f"'{path:.200}' is no group file of Triton's cache"
            ) from None
        if len(moved) > _MOST_CHILDREN:
            raise Rejected("BadCache", f"'{path:.200}' names more than {_MOST_CHILDREN} files")
        return json.dumps({**group, "child_paths": moved}).encode()

    def shipped(self, _path: str, content: bytes) -> bytes:
        """Return it as it is: it holds nothing of the machine but paths."""
        return content


FRAMEWORK: Final = Triton()


def _check_level(root: Path, signs: list[str]) -> None:
    """Raise Rejected(NotACache) if no file lies where Triton looks: in a directory of the root."""
    depths = {path.count("/") for path in signs}
    if 1 in depths:
        return
    expected = "as '<key>/<file>': name the directory that TRITON_CACHE_DIR means"
    if depths == {0}:
        raise Rejected("NotACache", f"{root} is one kernel's directory, not {expected}, above it")
    above = posixpath.commonpath([posixpath.dirname(posixpath.dirname(one)) for one in signs])
    hint = f", such as {root / above}" if above else ""
    raise Rejected("NotACache", f"{root} holds '{signs[0]:.200}', not {expected}{hint}")


def is_sign(path: str) -> bool:
    """Say whether only Triton leaves a file of this name."""
    name = posixpath.basename(path)
    group = name.startswith("__grp__") and name.endswith(".json")
    launcher = name.startswith("__triton_launcher.") and name.endswith(".so")
    return group or launcher or name.endswith(".ttir")


def nameless(kernels: list[Kernel]) -> str:
    """Say how many of the kernels name no GPU; "" if all do."""
    count = sum(kernel.target is None for kernel in kernels)
    return f"{count} of {len(kernels)} kernels name no GPU" if count else ""
