"""Reads a cache for ``gkm explain``: a folder, or the layers of an image, file by file."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from gkm.cli.image import read_cache
from gkm.cli.layout import Layout
from gkm.cli.scan import Files, contents, steadily
from gkm.core.hit import CacheFacts
from gkm.core.image import Reference, content_prefix
from gkm.kernels import required
from gkm.kernels.evidence import LARGEST, Evidence
from gkm.oci.archive import Archive, Tally
from gkm.oci.http import CHUNK
from gkm.oci.inflate import inflate
from gkm.oci.layer import Layer, checked, readable_layers
from gkm.oci.manifest import parse_config
from gkm.oci.registry import Image, Registry


def from_folder(root: Path) -> CacheFacts:
    """Return the facts of a cache directory; its own paths are those that lie there."""

    def read(files: Files) -> CacheFacts:
        evidence = Evidence(read_cache(root, files).framework.name)
        for path, stamp in files.items():
            if evidence.wants(path) and stamp.size <= LARGEST:
                evidence.look(path, b"".join(contents(root, path, stamp)))
        return evidence.facts()

    return steadily(root, read)


def from_layout(root: Path, mount_path: str) -> CacheFacts:
    """Return the facts of an image on disk; raises Rejected."""
    layout = Layout(root)
    _, manifest = layout.image()
    config = parse_config(layout.blob_path(manifest.config.digest).read_bytes())
    image = Image("", manifest, config)
    return _gathered(image, mount_path, lambda layer: _blob(layout.blob_path(layer[0].digest)))


def from_registry(registry: Registry, where: Reference, mount_path: str) -> CacheFacts:
    """Return the facts of an image in a registry; raises Retry, Rejected."""
    image = registry.image(str(where))
    return _gathered(image, mount_path, lambda layer: registry.blob(where, layer[0]))


def _blob(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _gathered(
    image: Image, mount_path: str, blob: Callable[[Layer], Iterator[bytes]]
) -> CacheFacts:
    """Read an image's layers; extraction will point the cache's own paths to ``mount_path``."""
    framework = required(image.config.labels)
    evidence, tally = Evidence(framework.name), Tally()
    prefix = content_prefix(framework.name)
    for layer in readable_layers(image):
        archive = Archive(checked(layer, inflate(layer[0], blob(layer))), tally)
        for member in archive.members():
            path = member.name.removeprefix(prefix)
            if member.name != path and evidence.wants(path) and member.size <= LARGEST:
                evidence.look(path, b"".join(archive.data()))
    found = evidence.facts()
    return replace(found, homes=frozenset({mount_path} if found.homes else ()))
