"""Reads a ``docker-archive`` or an ``oci-archive``: a tar with an image's documents and layers.

Docker's own (since 25) are both at once; ``manifest.json`` is read then. Strictly, as a layer is:
what holds links is refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gkm.api.errors import Rejected
from gkm.cli.layout import descriptor, reference_name
from gkm.oci import media
from gkm.oci.archive import Archive, Tally
from gkm.oci.manifest import (
    Config,
    Descriptor,
    host_architecture,
    load,
    load_any,
    parse_config,
    parse_manifest,
    pick_platform,
)

_LARGEST_DOCUMENT: Final = 4 << 20
_CHUNK: Final = 1 << 20
_PLAIN: Final = "application/vnd.docker.image.rootfs.diff.tar"


class ArchiveFile:
    """The one image of an archive; raises Rejected(BadArchive, BadImage), OSError."""

    config: Config
    layers: tuple[Descriptor, ...]
    digest: str
    name: str

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: dict[str, int] = {}
        self._documents: dict[str, bytes] = {}
        archive = Archive(self._chunks(), Tally())
        for member in archive.members():
            self._sizes[member.name] = member.size
            if member.size <= _LARGEST_DOCUMENT and not member.directory:
                self._documents[member.name] = b"".join(archive.data())
        self._members: dict[str, str] = {}
        if "manifest.json" in self._documents:
            self._read_docker()
        elif "index.json" in self._documents:
            self._read_oci()
        else:
            raise self._bad("holds neither manifest.json nor index.json")

    def open(self, layer: Descriptor) -> Iterator[bytes]:
        """Yield a layer as it lies there."""
        archive = Archive(self._chunks(), Tally())
        for member in archive.members():
            if member.name == self._members[layer.digest]:
                yield from map(bytes, archive.data())

    def _read_docker(self) -> None:
        try:
            raw = self._documents["manifest.json"]
            entry: dict[str, Any] = load_any(raw, "manifest.json")[0]
            names = [str(name) for name in entry["Layers"]]
            raw = self._documents[str(entry["Config"])]
            sizes = [self._sizes[name] for name in names]
            tags = entry.get("RepoTags") or [""]
            self.name = str(tags[0])
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise self._bad("its manifest.json names no image that is in it") from None
        self.config = parse_config(raw)
        self.digest = descriptor(media.OCI_CONFIG, raw).digest
        if len(names) != len(self.config.diff_ids):
            raise self._bad(f"has {len(names)} layers and {len(self.config.diff_ids)} diff_ids")
        self._members = dict(zip(self.config.diff_ids, names, strict=True))
        pairs = zip(self.config.diff_ids, sizes, strict=True)
        self.layers = tuple(Descriptor(_PLAIN, digest, size) for digest, size in pairs)

    def _read_oci(self) -> None:
        index = load(self._documents["index.json"], "index.json")
        chosen = pick_platform(index, host_architecture())
        manifest = parse_manifest(load(self._blob(chosen.digest), "manifest"))
        self.config = parse_config(self._blob(manifest.config.digest))
        self.digest, self.layers, self.name = chosen.digest, manifest.layers, reference_name(index)
        self._members = {layer.digest: _place(layer.digest) for layer in manifest.layers}

    def _blob(self, digest: str) -> bytes:
        found = self._documents.get(_place(digest))
        if found is None:
            raise self._bad(f"lacks the blob {digest}")
        return found

    def _chunks(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def _bad(self, why: str) -> Rejected:
        return Rejected("BadImage", f"{self._path} is no image archive: it {why}")


def _place(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
