"""What a person names by SOURCE: an image in a registry, a layout, an archive, a cache directory.

What exists on this machine is meant before a registry is asked.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from gkm.api.errors import Rejected
from gkm.cli.archivefile import ArchiveFile
from gkm.cli.layout import Layout
from gkm.core.image import Reference, framework, manifest_path
from gkm.oci.archive import Archive, Tally
from gkm.oci.layer import Layer, checked, readable_layers
from gkm.oci.manifest import Config, Descriptor, load, parse_config

ARCHIVE: Final = "archive"
DIRECTORY: Final = "directory"
_LARGEST_MANIFEST: Final = 64 << 20
_CHUNK: Final = 1 << 20
Open = Callable[[Descriptor], Iterator[bytes]]
"""Opens a layer as it lies there, compressed or not."""


@dataclass(frozen=True)
class Source:
    """An image, or a cache that is none yet.

    ``digest`` is that of the manifest, empty where there is none; ``kernels`` the cache's own
    manifest, as far as it is known without reading a layer.
    """

    kind: str
    name: str
    digest: str
    config: Config
    layers: tuple[Descriptor, ...] = ()
    kernels: Mapping[str, Any] | None = None
    open: Open | None = field(default=None, repr=False)


def find(
    text: str, *, plain_http: bool = False, architecture: str = "", quiet: bool = True
) -> Source:
    """Return what ``text`` names. Raises Rejected, Retry, OSError."""
    path = Path(text)
    if path.is_dir():
        return _layout(path) if (path / "index.json").is_file() else _directory(path)
    if path.exists():
        return _archive(path)
    if "/" not in text or text.startswith((".", "/", "~")):
        why = "there is no such file or folder; an image is named registry/repository:tag"
        raise Rejected("NotFound", f"{text}: {why}")
    return _image(text, plain_http=plain_http, architecture=architecture, quiet=quiet)


def files(source: Source) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield what lies in an image's layers: path, size, and how to read it, at once or never.

    Raises as ``find``.
    """
    tally = Tally()
    for layer in _layers(source):
        archive = Archive(checked(layer, _plain(source, layer[0])), tally)
        for member in archive.members():
            yield member.name, member.size, partial(_content, archive)


def _layers(source: Source) -> Sequence[Layer]:
    """Return those that an extraction reads; an archive for Docker has them as plain tars."""
    diff_ids = source.config.diff_ids
    if source.kind == ARCHIVE and len(source.layers) == len(diff_ids):
        return list(zip(source.layers, diff_ids, strict=True))
    return readable_layers(source.layers, diff_ids)


def _content(archive: Archive) -> bytes:
    return b"".join(archive.data())


def read_kernels(source: Source) -> Mapping[str, Any]:
    """Return the cache's own manifest, from the layers if need be. Raises as ``find``."""
    if source.kernels is not None:
        return source.kernels
    wanted = manifest_path(framework(source.config.labels) or "")
    for name, size, read in files(source):
        if name == wanted and size <= _LARGEST_MANIFEST:
            return load(read(), wanted)
    raise Rejected("BadImage", f"{source.name} has no {wanted or 'cache'} in its layers")


def _plain(source: Source, layer: Descriptor) -> Iterator[bytes]:
    from gkm.oci.inflate import inflate  # noqa: PLC0415 - isal, for who reads a layer

    assert source.open is not None  # noqa: S101 - whatever has layers opens them
    packed = source.open(layer)
    return packed if layer.media_type.endswith(".tar") else inflate(layer, packed)


def _image(text: str, *, plain_http: bool, architecture: str, quiet: bool) -> Source:
    from gkm.cli.reading import registry  # noqa: PLC0415 - TLS, for who asks a registry

    where = Reference.parse(text)
    client = registry(where, plain_http=plain_http, quiet=quiet)
    image = client.image(text, architecture)
    return Source(
        "image",
        str(where),
        image.digest,
        image.config,
        image.manifest.layers,
        open=lambda layer: client.blob(where, layer),
    )


def _layout(root: Path) -> Source:
    layout = Layout(root)
    raw, manifest = layout.image()
    config = parse_config(layout.document(manifest.config))

    def opened(layer: Descriptor) -> Iterator[bytes]:
        with layout.blob_path(layer.digest).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    name, digest = layout.name(), layout.digest(raw)
    return Source("layout", name or str(root), digest, config, manifest.layers, open=opened)


def _archive(path: Path) -> Source:
    archive = ArchiveFile(path)
    name, image = archive.name or str(path), archive.config
    return Source(ARCHIVE, name, archive.digest, image, archive.layers, open=archive.open)


def _directory(root: Path) -> Source:
    from gkm.cli.image import About, Cache, config, read_cache  # noqa: PLC0415 - packs, for who needs it
    from gkm.cli.scan import Files, steadily, unchanged  # noqa: PLC0415 - as above

    def read(files: Files) -> Cache:
        found = read_cache(root, files)
        unchanged(root, files)
        return found

    cache = steadily(root, read)
    size = sum(stamp.size for stamp in cache.files.values())
    labels = config(cache, About("", 0, ""), "", size)["config"]["Labels"]
    return Source(
        DIRECTORY,
        os.fspath(root),
        "",
        Config(labels, ()),
        kernels=cache.description.manifest,
    )
