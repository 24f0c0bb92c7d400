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
    LARGEST_DOCUMENT,
    Config,
    Descriptor,
    host_architecture,
    load,
    load_any,
    parse_config,
    parse_manifest,
    pick_platform,
)

_KEPT: Final = 32 << 20
"""Bytes in memory. Of what is small, all may be a document: which are, the last may say."""
_MOST_MEMBERS: Final = 10_000
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
        self._kept: dict[str, bytes] = {}
        self._look()
        self._members: dict[str, str] = {}
        if "manifest.json" in self._sizes:
            self._read_docker()
        elif "index.json" in self._sizes:
            self._read_oci()
        else:
            raise self._bad("holds neither manifest.json nor index.json")

    def open(self, layer: Descriptor) -> Iterator[bytes]:
        """Yield a layer as it lies there."""
        yield from self._content(self._members[layer.digest])

    def _look(self) -> None:
        """Check the whole archive, and keep what is small, within bounds."""
        room = _KEPT
        archive = Archive(self._chunks(), Tally())
        for member in archive.members():
            if member.directory:
                continue
            self._sizes[member.name] = member.size
            if len(self._sizes) > _MOST_MEMBERS:
                raise self._bad(f"holds more than {_MOST_MEMBERS} files")
            if member.size <= min(LARGEST_DOCUMENT, room):
                self._kept[member.name] = b"".join(archive.data())
                room -= member.size

    def _content(self, name: str) -> Iterator[bytes]:
        archive = Archive(self._chunks(), Tally())
        for member in archive.members():
            if member.name == name:
                yield from map(bytes, archive.data())

    def _document(self, name: str) -> bytes:
        """Return a member; reads the archive again for what was not kept. Raises KeyError."""
        size = self._sizes[name]
        if size > LARGEST_DOCUMENT:
            raise self._bad(f"has {size} bytes of {name}; at most {LARGEST_DOCUMENT} are read")
        return self._kept[name] if name in self._kept else b"".join(self._content(name))

    def _read_docker(self) -> None:
        try:
            manifest = load_any(self._document("manifest.json"), "manifest.json")
            entry: dict[str, Any] = manifest[0]
            names = [str(name) for name in entry["Layers"]]
            raw = self._document(str(entry["Config"]))
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
        index = load(self._document("index.json"), "index.json")
        chosen = pick_platform(index, host_architecture())
        manifest = parse_manifest(load(self._blob(chosen.digest), "manifest"))
        self.config = parse_config(self._blob(manifest.config.digest))
        self.digest, self.layers, self.name = chosen.digest, manifest.layers, reference_name(index)
        self._members = {layer.digest: _place(layer.digest) for layer in manifest.layers}

    def _blob(self, digest: str) -> bytes:
        if _place(digest) not in self._sizes:
            raise self._bad(f"lacks the blob {digest}")
        return self._document(_place(digest))

    def _chunks(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def _bad(self, why: str) -> Rejected:
        return Rejected("BadImage", f"{self._path} is no image archive: it {why}")


def _place(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
