"""What Triton wrote down about one compiled kernel: its ``<kernel>.json``, in every layout known.

| Triton      | target                                                                         |
|-------------|--------------------------------------------------------------------------------|
| 3.x         | object ``target``: ``backend``, ``arch`` (90 or ``gfx942``), ``warp_size``     |
| 2.2         | list ``target``: backend and architecture, no warp size                        |
| 2.0 and 2.1 | none; top-level ``arch`` (``sm90``, 90, ``gfx90a``) or ``cc``, if at all        |

Where the JSON names none, the header of the cubin or hsaco beside it does. Source: Triton's
compiler/compiler.py (``compile``), releases 2.0 to 3.9. The entries are those of MCV's manifest.
"""

import hashlib
import json
import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gkm.core.gpu import CUDA, HIP, arch_name, backend_name, warp_size
from gkm.core.gputargets import Target
from gkm.kernels.elf import HEADER_BYTES, gpu_target

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a file that is read whole; larger ones tell nothing."""
_DETAILS: Final = ("ptx_version", "num_stages", "num_warps", "debug")
_BINARIES: Final = ("cubin", "hsaco")
_COMPILED: Final = (*_BINARIES, "ttir", "ttgir", "llir", "ptx", "amdgcn", "spv")
_ARCH = re.compile(r"[A-Za-z0-9_:+-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Kernel:
    """A kernel's entry in the manifest, and its target; None: nothing in the cache names it.

    ``path`` is that of its metadata.
    """

    path: str
    entry: Mapping[str, Any]
    target: Target | None


def read_kernels(root: Path, files: Iterable[str]) -> list[Kernel]:
    """Read the kernels among these files, sorted by path. Raises OSError."""
    present = set(files)
    found = (_kernel(root, path, present) for path in sorted(present) if path.endswith(".json"))
    return [kernel for kernel in found if kernel is not None]


def _kernel(root: Path, path: str, files: Collection[str]) -> Kernel | None:
    """Read one kernel; None for JSON that is no kernel's metadata.

    It is a kernel's if it has a hash and names a target, or if something compiled lies beside it;
    then a missing hash (Triton 2.0) is that of its directory. Unlike in MCV a field of an
    unexpected type costs that field, not the kernel.
    """
    metadata = _read(root / path)
    stem = path.removesuffix(".json")
    beside = [f"{stem}.{stage}" for stage in _COMPILED if f"{stem}.{stage}" in files]
    if not metadata or "child_paths" in metadata:
        return None
    target = _told(metadata)
    name = metadata.get("hash")
    if not isinstance(name, str) or not name:
        name = posixpath.basename(posixpath.dirname(path)) if beside else ""
    if not name or not (target or beside):
        return None
    target = target or _compiled_for(root, beside)
    return Kernel(path, _entry(name, metadata, target), target)


def _entry(name: str, metadata: Mapping[str, Any], target: Target | None) -> Mapping[str, Any]:
    """Write the manifest's entry; without a target its parts are empty, as MCV writes them."""
    details = {key: _plain(metadata.get(key)) for key in _DETAILS}
    shown = target or Target("", "")
    key = dummy_key(details, shown.backend, shown.arch, shown.warp_size) if target else ""
    return {
        "hash": name,
        **({"dummy_key": key} if key else {}),
        **{key: value for key, value in details.items() if value},
        "backend": shown.backend,
        "arch": shown.arch,
        "warp_size": shown.warp_size,
    }


def _told(metadata: Mapping[str, Any]) -> Target | None:
    """Return the target that the metadata names."""
    raw = metadata.get("target")
    if isinstance(raw, dict):
        return read_target(raw.get("backend"), raw.get("arch"), raw.get("warp_size"))
    if isinstance(raw, list) and len(raw) == 2:
        return read_target(raw[0], raw[1], None)
    for old in (metadata.get("arch"), metadata.get("cc")):
        for backend in (CUDA, HIP):
            if arch := arch_name(backend, old):
                return read_target(backend, arch, metadata.get("warp_size"))
    return None


def read_target(named: object, raw: object, warp: object) -> Target | None:
    """Return a target in the words of the metadata, which are those of MCV's labels."""
    backend, arch = backend_name(named), str(raw) if type(raw) is int else raw
    if not backend or not isinstance(arch, str) or not _ARCH.fullmatch(arch):
        return None
    if type(warp) is not int or warp <= 0:
        warp = warp_size(backend, arch_name(backend, arch))
    return Target(backend, arch, warp)


def _compiled_for(root: Path, beside: Iterable[str]) -> Target | None:
    """Return the target in the header of the compiled kernel; ``beside`` are files next to it."""
    for path in beside:
        if path.endswith(_BINARIES):
            with (root / path).open("rb") as file:
                found = gpu_target(file.read(HEADER_BYTES))
            if found:
                return Target(*found, warp_size(*found))
    return None


def _read(path: Path) -> Mapping[str, Any]:
    return json_object(path.read_bytes()) if path.stat().st_size <= LARGEST else {}


def json_object(content: bytes) -> Mapping[str, Any]:
    """Return the object that the content is; empty if it is none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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
