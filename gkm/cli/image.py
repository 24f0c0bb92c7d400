"""Builds an image from a cache: the same tree gives the same digest, on every machine.

So: sorted names, one time stamp, no owners, two modes, paths inside the cache rewritten to the
default mount path (which also makes the image independent of where it was compiled).
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import IO, Any, Final

from gkm.api.errors import Rejected
from gkm.cli.layerwriter import LayerWriter
from gkm.cli.layout import Layout, to_json
from gkm.cli.scan import scan
from gkm.core.image import DEFAULT_MOUNT_PATH, content_prefix, label, manifest_path
from gkm.kernels import FRAMEWORKS
from gkm.kernels.framework import LARGEST_RELOCATED, Description, Framework
from gkm.oci import media
from gkm.oci.manifest import Descriptor, host_architecture

_TITLE: Final = "org.opencontainers.image.title"


@dataclass(frozen=True)
class Cache:
    """A cache directory that can be packed."""

    root: Path
    files: list[str]
    framework: Framework
    description: Description


def read_cache(root: Path) -> Cache:
    """Find out what ``root`` holds; raises Rejected(NotACache)."""
    files = scan(root)
    for framework in FRAMEWORKS:
        description = framework.describe(root, files)
        if description:
            return Cache(root, files, framework, description)
    known = ", ".join(framework.name for framework in FRAMEWORKS)
    raise Rejected("NotACache", f"{root} holds no kernel cache that GKM knows ({known})")


def build(cache: Cache, layout: Layout, title: str, epoch: int) -> Descriptor:
    """Write the image into an empty layout; returns its manifest's descriptor.

    ``epoch`` (seconds) is the only time in the image; an empty ``title`` is left out.
    """
    layer, diff_id, size = _write_layer(cache, layout, epoch)
    config = _config(_labels(cache, title, size), diff_id, epoch)
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": to_json(layout.add_document(media.OCI_CONFIG, config)),
        "layers": [to_json(layer)],
    }
    return layout.add_document(media.OCI_MANIFEST, manifest)


def _labels(cache: Cache, title: str, size: int) -> dict[str, str]:
    """The labels that MCV writes; ``size`` counts the cache's files only."""
    name, described = cache.framework.name, cache.description
    labels = {
        label(name, "entry-count"): str(described.entries),
        label(name, "summary"): json.dumps(described.summary, separators=(",", ":")),
        label(name, "cache-size-bytes"): str(size),
    }
    return {**described.labels, **labels} | ({_TITLE: title} if title else {})


def _config(labels: Mapping[str, str], diff_id: str, epoch: int) -> dict[str, Any]:
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "created": created,
        "architecture": host_architecture(),
        "os": "linux",
        "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": "gkm pack"}],
    }


def _write_layer(cache: Cache, layout: Layout, epoch: int) -> tuple[Descriptor, str, int]:
    """Write the layer; returns its descriptor, its diffID and the bytes of the cache's files."""
    prefix = content_prefix(cache.framework.name)
    temporary = layout.root / "layer.tmp"
    size = 0
    with LayerWriter(temporary, epoch) as layer:
        for directory in sorted({p.as_posix() for f in cache.files for p in PurePath(f).parents}):
            if directory != ".":
                layer.directory(prefix + directory)
        for path in cache.files:
            with _content(cache, path) as stream:
                size += layer.file(prefix + path, stream)
        manifest = manifest_path(cache.framework.name)
        layer.file(manifest, io.BytesIO(json.dumps(cache.description.manifest, indent=2).encode()))
    temporary.rename(layout.blob_path(layer.descriptor.digest))
    return layer.descriptor, layer.diff_id, size


def _content(cache: Cache, path: str) -> IO[bytes]:
    """Open a file of the cache; one that holds absolute paths as for the default mount path."""
    found = cache.root / path
    if not cache.framework.is_relocated(path):
        return found.open("rb")
    if found.stat().st_size > LARGEST_RELOCATED:
        raise Rejected("BadCache", f"{found} is larger than {LARGEST_RELOCATED} bytes")
    return io.BytesIO(cache.framework.relocate(path, found.read_bytes(), DEFAULT_MOUNT_PATH))
