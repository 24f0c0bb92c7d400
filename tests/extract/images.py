"""Images of any layers, and how they come into a real registry."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backports import zstd

from gkm.oci import media
from tests import push
from tests.extract import packing, tarbytes
from tests.images import digest

P = b"io.triton.cache/"
VLLM = b"io.vllm.cache/"
LABELS: Mapping[str, Any] = {"cache.triton.image/summary": '{"targets":[]}'}
GOOD = tarbytes.file(P + b"KEY/good.ptx", b"good")
"""Stands before what is hostile: a refusal may come after files are written."""
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


@dataclass(frozen=True)
class Layer:
    """A blob, and the digest that the config gives for what it unpacks to."""

    packed: bytes
    diff_id: str
    media_type: str = media.OCI_LAYER_GZIP


def layer(*parts: bytes, end: bytes = tarbytes.END) -> Layer:
    """An honest gzip layer of an archive that need not be one."""
    tar = b"".join(parts) + end
    return Layer(packing.gzip(tar), digest(tar))


def packed(stream: bytes, tar: bytes = b"", media_type: str = media.OCI_LAYER_GZIP) -> Layer:
    """A layer of this compressed stream, which unpacks to ``tar`` if to anything."""
    return Layer(stream, digest(tar), media_type)


@dataclass(frozen=True)
class Image:
    """What is pushed; ``change`` spoils the manifest, ``index`` wraps it."""

    layers: tuple[Layer, ...]
    labels: object = field(default_factory=lambda: dict(LABELS))
    config: Mapping[str, Any] = field(default_factory=dict)
    """Replaces parts of the config."""
    manifest_type: str = media.OCI_MANIFEST
    change: Callable[[dict[str, Any]], None] | None = None
    index: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None

    def push(self, registry: str, repository: str) -> str:
        """Upload everything; returns the pinned reference."""
        base = f"http://{registry}/v2/{repository}"
        docker = self.manifest_type == media.DOCKER_MANIFEST
        config = json.dumps(self._config()).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": self.manifest_type,
            "config": push.blob(base, config, DOCKER_CONFIG if docker else media.OCI_CONFIG),
            "layers": [push.blob(base, one.packed, one.media_type) for one in self.layers],
        }
        if self.change:
            self.change(manifest)
        found = _document(base, manifest)
        if self.index:
            entries = self.index({"mediaType": self.manifest_type, **found})
            index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries}
            found = _document(base, index)
        return f"{registry}/{repository}@{found['digest']}"

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"architecture": "amd64", "os": "linux"}
        config["config"] = {"Labels": self.labels}
        config["rootfs"] = {"type": "layers", "diff_ids": [one.diff_id for one in self.layers]}
        return config | dict(self.config)


def _document(base: str, document: dict[str, Any]) -> dict[str, Any]:
    raw = json.dumps(document).encode()
    push.send("PUT", f"{base}/manifests/{digest(raw)}", raw, document["mediaType"])
    return {"digest": digest(raw), "size": len(raw)}


def image(*parts: bytes, end: bytes = tarbytes.END, **fields: Any) -> Image:
    """An image of one honest gzip layer."""
    return Image((layer(*parts, end=end),), **fields)


def plain(found: Layer) -> bytes:
    """Unpack a layer, with other means than GKM's."""
    if found.media_type == media.OCI_LAYER_ZSTD:
        return zstd.decompress(found.packed)
    tar, rest = b"", found.packed
    while rest:
        reader = zlib.decompressobj(31)
        tar += reader.decompress(rest)
        rest = reader.unused_data
    return tar
