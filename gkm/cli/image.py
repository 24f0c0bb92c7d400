"""Builds an image from a cache: the same tree gives the same digest, on every machine.

So: sorted names, one time stamp, no owners, two modes, paths inside the cache rewritten to the
default mount path (which also makes the image independent of where it was compiled).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, Final

from gkm.api.errors import Rejected
from gkm.cli.layerwriter import LayerWriter
from gkm.cli.scan import Files, contents
from gkm.core.image import DEFAULT_MOUNT_PATH, content_prefix, label, manifest_path
from gkm.kernels import known
from gkm.kernels.framework import LARGEST_RELOCATED, Description, Framework
from gkm.kernels.hostobjects import host_objects
from gkm.oci.manifest import architecture_name

_USUAL: Final = "amd64"
_TITLE: Final = "org.opencontainers.image.title"


@dataclass(frozen=True)
class Cache:
    """A cache directory that can be packed."""

    root: Path
    files: Files
    framework: Framework
    description: Description


@dataclass(frozen=True)
class About:
    """What an image says about itself that no file says.

    ``epoch`` (seconds) is the only time in it; an empty ``title`` is left out; ``architecture`` is
    that of the programs in the cache, as Go spells it.
    """

    title: str
    epoch: int
    architecture: str


def read_cache(root: Path, files: Files) -> Cache:
    """Find out what ``root`` holds; raises Rejected(NotACache)."""
    for framework in known():
        description = framework.describe(root, list(files))
        if description:
            return Cache(root, files, framework, description)
    names = ", ".join(framework.name for framework in known())
    raise Rejected("NotACache", f"{root} holds no kernel cache that GKM knows ({names})")


def architecture(cache: Cache) -> str:
    """Return the platform of the programs in a cache; without any, or with several, amd64.

    Not this machine's: the same files give the same image everywhere.
    """
    machines = {one.machine for one in host_objects(cache.root, cache.files)}
    return architecture_name(machines.pop()) if len(machines) == 1 else _USUAL


def write_layer(cache: Cache, layer: LayerWriter) -> int:
    """Write the layer's members; returns the bytes of the cache's files, which a label tells."""
    prefix = content_prefix(cache.framework.name)
    size = 0
    with layer:
        for directory in sorted({p.as_posix() for f in cache.files for p in PurePath(f).parents}):
            if directory != ".":
                layer.directory(prefix + directory)
        for path in cache.files:
            length, content = _content(cache, path)
            layer.file(prefix + path, length, content)
            size += length
        manifest = json.dumps(cache.description.manifest, indent=2).encode()
        layer.file(manifest_path(cache.framework.name), len(manifest), [manifest])
    return size


def config(cache: Cache, about: About, diff_id: str, size: int) -> dict[str, Any]:
    """Return the image config; ``size`` is what ``write_layer`` returned."""
    created = datetime.fromtimestamp(about.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "created": created,
        "architecture": about.architecture,
        "os": "linux",
        "config": {"Labels": _labels(cache, about.title, size)},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": "gkm pack"}],
    }


def _content(cache: Cache, path: str) -> tuple[int, Iterable[bytes | memoryview]]:
    """Return a file's size and content; absolute paths in it are as for the default mount path."""
    expected = cache.files[path]
    found = contents(cache.root, path, expected)
    if not cache.framework.is_relocated(path):
        return expected.size, found
    if expected.size > LARGEST_RELOCATED:
        raise Rejected("BadCache", f"{cache.root / path} is larger than {LARGEST_RELOCATED} bytes")
    content = cache.framework.shipped(path, b"".join(map(bytes, found)))
    moved = cache.framework.relocate(path, content, DEFAULT_MOUNT_PATH)
    return len(moved), [moved]


def _labels(cache: Cache, title: str, size: int) -> dict[str, str]:
    """The labels that MCV writes; ``size`` counts the cache's files only."""
    name, described = cache.framework.name, cache.description
    labels = {
        label(name, "entry-count"): str(described.entries),
        label(name, "summary"): json.dumps(described.summary, separators=(",", ":")),
        label(name, "cache-size-bytes"): str(size),
    }
    return {**described.labels, **labels} | ({_TITLE: title} if title else {})
