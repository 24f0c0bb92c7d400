"""An OCI image layout on disk: what ``pack`` writes and ``push`` reads.

Source: OCI image-spec 1.1, image-layout.md. One image per layout, digests by content.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gkm.api.errors import Rejected
from gkm.cli.whole import whole_file
from gkm.oci import manifest, media
from gkm.oci.manifest import Descriptor, Manifest

_NAME = "org.opencontainers.image.ref.name"


def descriptor(media_type: str, content: bytes) -> Descriptor:
    """Describe ``content``."""
    return Descriptor(media_type, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


def to_json(found: Descriptor) -> dict[str, Any]:
    """Return a descriptor as manifests write it."""
    return {"mediaType": found.media_type, "digest": found.digest, "size": found.size}


def dump(document: object) -> bytes:
    """Return compact JSON, always the same bytes for the same document."""
    return json.dumps(document, separators=(",", ":")).encode()


def reference_name(index: Mapping[str, Any]) -> str:
    """Return the name that an index gives its first image; empty if it gives none."""
    entries = index.get("manifests")
    first = entries[0] if isinstance(entries, list) and entries else None
    notes = first.get("annotations") if isinstance(first, dict) else None
    name = notes.get(_NAME) if isinstance(notes, dict) else None
    return name if isinstance(name, str) else ""


class Layout:
    """The folder ``root``; paths of blobs follow from their digests."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        """Make an empty layout of an empty folder."""
        (self.root / "blobs" / "sha256").mkdir(parents=True)
        (self.root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob_path(self, digest: str) -> Path:
        """Return where a blob lies."""
        return self.root / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def add(self, media_type: str, content: bytes) -> Descriptor:
        """Write a blob and describe it."""
        found = descriptor(media_type, content)
        self.blob_path(found.digest).write_bytes(content)
        return found

    def add_document(self, media_type: str, document: Mapping[str, Any]) -> Descriptor:
        """Write a JSON blob, always the same bytes for the same document."""
        return self.add(media_type, dump(document))

    def point_to(self, image: Descriptor, name: str) -> None:
        """Make ``image`` the layout's one image, last of all."""
        entry = to_json(image) | ({"annotations": {_NAME: name}} if name else {})
        index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [entry]}
        with whole_file(self.root / "index.json", replace=True) as draft:
            draft.write_text(json.dumps(index))

    def image(self) -> tuple[bytes, Manifest]:
        """Return the manifest's bytes and content; raises Rejected(BadImage)."""
        try:
            index = manifest.load(_read(self.root / "index.json"), "index.json")
            chosen = manifest.pick_platform(index, manifest.host_architecture())
            raw = self.document(chosen)
        except OSError as error:
            raise Rejected("BadImage", f"{self.root} is no OCI image layout: {error}") from None
        return raw, manifest.parse_manifest(manifest.load(raw, "manifest"))

    def name(self) -> str:
        """Return the image's name; empty if it has none."""
        return reference_name(manifest.load(_read(self.root / "index.json"), "index.json"))

    def document(self, wanted: Descriptor) -> bytes:
        """Return a manifest or a config, checked; raises Rejected(BadImage), OSError."""
        raw = _read(self.blob_path(wanted.digest))
        if descriptor(wanted.media_type, raw).digest != wanted.digest:
            raise Rejected("BadImage", f"{self.blob_path(wanted.digest)} has another digest")
        return raw

    def digest(self, raw: bytes) -> str:
        """Return the digest of a manifest."""
        return descriptor(media.OCI_MANIFEST, raw).digest


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        raw = opened.read(manifest.LARGEST_DOCUMENT + 1)
    if len(raw) > manifest.LARGEST_DOCUMENT:
        most = manifest.LARGEST_DOCUMENT
        raise Rejected("BadImage", f"{file} is larger than a document may be: {most} bytes")
    return raw
