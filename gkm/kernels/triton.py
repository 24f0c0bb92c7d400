"""Triton's file cache (``$TRITON_CACHE_DIR``), read without Triton.

Layout, from Triton's runtime/cache.py: ``<key>/<kernel>.<stage>``, ``<key>/<kernel>.json``
(metadata: hash, target) and ``<key>/__grp__<kernel>.json``, whose ``child_paths`` are absolute
paths on the machine that compiled. Triton drops the group if one of them is missing, so a cache
that is mounted elsewhere is compiled again, silently, unless the paths are rewritten.
"""

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from gkm.api.errors import Rejected
from gkm.kernels.framework import Description

_MOST_CHILDREN: Final = 100
"""A group has a file for each stage; every one of its paths may become 1,000 times as long."""
_LARGEST_METADATA: Final = 4 * 1024 * 1024
_KERNEL_KEYS: Final = ("ptx_version", "num_stages", "num_warps", "debug")


class Triton:
    """Describes and relocates Triton caches."""

    name = "triton"

    def describe(self, root: Path, files: list[str]) -> Description | None:
        """Describe the cache by the metadata of its kernels."""
        if not any(map(_is_sign, files)):
            return None
        found = [_entry(root / path) for path in sorted(files) if path.endswith(".json")]
        entries = [entry for entry in found if entry is not None]
        targets = {(e["backend"], e["arch"], e["warp_size"]) for e in entries}
        keys = ("backend", "arch", "warp_size")
        summary = {"targets": [dict(zip(keys, target, strict=True)) for target in sorted(targets)]}
        return Description({"triton": entries}, summary, len(entries)) if entries else None

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


def _is_sign(path: str) -> bool:
    name = posixpath.basename(path)
    group = name.startswith("__grp__") and name.endswith(".json")
    return group or name.endswith(".ttir") or name == "__triton_launcher.so"


def _entry(path: Path) -> dict[str, Any] | None:
    """Return a kernel's manifest entry; None for JSON that is no kernel's metadata.

    Unlike MCV, a field of an unexpected type costs that field, not the kernel, and a kernel
    without a target does not become a target with an empty name.
    """
    metadata = _metadata(path)
    target = metadata.get("target")
    kernel_hash = metadata.get("hash")
    if not isinstance(kernel_hash, str) or not kernel_hash or not isinstance(target, dict):
        return None
    backend, arch, warp = target.get("backend"), _arch(target.get("arch")), target.get("warp_size")
    if not isinstance(backend, str) or not backend or not arch or type(warp) is not int:
        return None
    details = {key: _plain(metadata.get(key)) for key in _KERNEL_KEYS}
    return {
        "hash": kernel_hash,
        "dummy_key": dummy_key(details, backend, arch, warp),
        **{key: value for key, value in details.items() if value},
        "backend": backend,
        "arch": arch,
        "warp_size": warp,
    }


def _metadata(path: Path) -> Mapping[str, Any]:
    if path.stat().st_size > _LARGEST_METADATA:
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _arch(raw: object) -> str:
    """Architecture as text: CUDA writes the number 90, ROCm the text ``gfx942``."""
    if isinstance(raw, str) and re.fullmatch(r"[A-Za-z0-9_:+-]+", raw):
        return raw
    return str(raw) if type(raw) is int else ""


def _plain(raw: object) -> int | None:
    return raw if isinstance(raw, int) else None


def dummy_key(details: Mapping[str, int | None], backend: str, arch: str, warp_size: int) -> str:
    """Return MCV's own fingerprint of a kernel's options, in its form without Triton.

    Readers treat it as opaque; it is written because MCV's images have it. Source:
    MCV's cache package, ``dummytritonkey.go``.
    """
    options = {
        "debug": bool(details.get("debug")),
        "num_stages": details.get("num_stages") or 0,
        "num_warps": details.get("num_warps") or 0,
        "ptx": details.get("ptx_version") or 0,
    }
    compact = json.dumps(options, sort_keys=True, separators=(",", ":"))
    parts = ("dummy_source_content", f"{backend}-{arch}-{warp_size}", compact, "{}")
    return _sha256("-".join(("unknown-triton-key", *map(_sha256, parts))))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
