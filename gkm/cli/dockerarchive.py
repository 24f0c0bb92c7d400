"""A ``docker-archive``: the tar that ``docker load``, ``podman load`` and ``skopeo`` read.

Source: Docker's image specification v1.2 ("Combined Image JSON + Filesystem Changeset Format"):
``manifest.json`` names the config and the layers, which are plain tars. Image and config are the
same as in a layout, but for the compression.
"""

import tarfile
from pathlib import Path
from typing import IO, Any, Final

from gkm.api.errors import Rejected
from gkm.cli.image import About, Cache, config, write_layer
from gkm.cli.layerwriter import LayerWriter
from gkm.cli.layout import descriptor, dump
from gkm.cli.squeeze import Plain
from gkm.oci import media
from gkm.oci.archive import BLOCK

_LAYER: Final = "layer.tar"
_LARGEST: Final = (8 << 30) - 1
"""What a plain tar header can say of a member's size."""


def write_docker_archive(cache: Cache, target: Path, about: About, name: str) -> str:
    """Write the archive; returns the digest of the config, Docker's image id.

    ``name`` is the reference that the loading program gives the image, empty for none.
    """
    with target.open("wb") as out:
        out.write(bytes(BLOCK))  # the layer's header, once its size is known
        layer = LayerWriter(out, about.epoch, Plain)
        size = write_layer(cache, layer)
        if layer.size > _LARGEST:
            raise Rejected("TooLarge", f"{cache.root}: the layer has {layer.size} bytes")
        _pad(out)
        image = dump(config(cache, about, layer.diff_id, size))
        digest = descriptor(media.OCI_CONFIG, image).digest
        configuration = f"{digest.removeprefix('sha256:')}.json"
        _member(out, about, configuration, image)
        entry: dict[str, Any] = {"Config": configuration, "RepoTags": [name] if name else None}
        _member(out, about, "manifest.json", dump([{**entry, "Layers": [_LAYER]}]))
        out.write(bytes(2 * BLOCK))
        out.seek(0)
        out.write(_header(about, _LAYER, layer.size))
    return digest


def _member(out: IO[bytes], about: About, name: str, content: bytes) -> None:
    out.write(_header(about, name, len(content)) + content)
    _pad(out)


def _pad(out: IO[bytes]) -> None:
    out.write(bytes(-out.tell() % BLOCK))


def _header(about: About, name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, about.epoch
    return info.tobuf(tarfile.USTAR_FORMAT)
