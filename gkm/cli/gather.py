"""Reads a cache for ``gkm explain``, file by file: a directory, or the layers of an image."""

from dataclasses import replace
from pathlib import Path

from gkm.cli.image import read_cache
from gkm.cli.scan import Files, contents, steadily
from gkm.cli.source import Source, files
from gkm.core.hit import CacheFacts
from gkm.core.image import content_prefix
from gkm.kernels import required
from gkm.kernels.evidence import Evidence
from gkm.kernels.metadata import LARGEST


def from_directory(root: Path) -> CacheFacts:
    """Return the facts of a cache directory; its own paths are those that lie there."""

    def read(found: Files) -> CacheFacts:
        evidence = Evidence(read_cache(root, found).framework.name)
        for path, stamp in found.items():
            if evidence.wants(path) and stamp.size <= LARGEST:
                evidence.look(path, b"".join(map(bytes, contents(root, path, stamp))))
        return evidence.facts()

    return steadily(root, read)


def from_image(source: Source, mount_path: str) -> CacheFacts:
    """Return the facts of an image; extraction will point its own paths to ``mount_path``."""
    framework = required(source.config.labels)
    evidence, prefix = Evidence(framework.name), content_prefix(framework.name)
    for name, size, read in files(source):
        path = name.removeprefix(prefix)
        if path != name and evidence.wants(path) and size <= LARGEST:
            evidence.look(path, read())
    found = evidence.facts()
    return replace(found, homes=frozenset({mount_path} if found.homes else ()))
