"""``gkm pull REF -o LAYOUT``: an image comes from a registry as an OCI layout, byte for byte."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from gkm.arguments import Parser, filled, filled_path
from gkm.cli.layout import Layout, descriptor
from gkm.cli.program import parser, run
from gkm.cli.progress import progress
from gkm.cli.reading import registry
from gkm.cli.whole import whole_file, whole_folder
from gkm.core.image import Reference
from gkm.oci import media
from gkm.oci.manifest import Descriptor, load
from gkm.oci.registry import Registry

_TRIES: Final = 3


def arguments() -> Parser:
    """Make the parser."""
    made = parser(
        "pull",
        "Fetch an image into a folder, an OCI layout; every digest is checked.",
        "A layout that is there is updated: what it holds already is not fetched again, and its "
        "index changes last. Prints the image's digest.",
    )
    made.add_argument(
        "reference", type=filled, metavar="REF", help="repository:tag, or @sha256:..."
    )
    made.add_argument(
        "-o", "--output", type=filled_path, metavar="LAYOUT", required=True, help="the folder"
    )
    made.add_argument("--arch", choices=("amd64", "arm64"), help="of an index (default: this one)")
    made.add_argument("--plain-http", action="store_true", help="speak to it without TLS")
    return made


def main(given: Sequence[str]) -> int:
    """Run ``gkm pull``; returns the exit code."""
    options = arguments().parse_args(given)

    def work() -> str:
        where = Reference.parse(options.reference)
        plain, quiet = options.plain_http, options.quiet
        client = registry(where, plain_http=plain, quiet=quiet, tries=_TRIES)
        return pull(client, where, options.output, options.arch or "", quiet=quiet)

    return run(work)


def pull(
    client: Registry, where: Reference, target: Path, architecture: str = "", *, quiet: bool = True
) -> str:
    """Fetch the image; returns its manifest's digest. Raises Rejected, Retry, OSError."""
    image = client.image(str(where), architecture)
    blobs = (*image.manifest.layers, image.manifest.config)
    with _opened(target) as folder:
        layout = Layout(folder)
        if folder != target:
            layout.create()
        with progress(str(where), sum(one.size for one in blobs), quiet=quiet) as fetched:
            for blob in blobs:
                if not _is_there(layout, blob):
                    _fetch(client.blob(where, blob), layout.blob_path(blob.digest), fetched)
        kind = load(image.raw, "manifest").get("mediaType") or media.OCI_MANIFEST
        found = descriptor(kind, image.raw)
        with whole_file(layout.blob_path(found.digest), replace=True) as draft:
            draft.write_bytes(image.raw)
        layout.point_to(found, str(where) if where.tag else "")
    return found.digest


def _fetch(chunks: Iterator[bytes], target: Path, fetched: Callable[[int], None]) -> None:
    with whole_file(target, replace=True) as draft, draft.open("wb") as out:
        for chunk in chunks:
            out.write(chunk)
            fetched(len(chunk))


def _opened(target: Path) -> AbstractContextManager[Path]:
    """Give a layout that is there as it is: until its index changes, what is added is not seen."""
    if (target / "oci-layout").is_file() and (target / "index.json").is_file():
        return nullcontext(target)
    return whole_folder(target)


def _is_there(layout: Layout, blob: Descriptor) -> bool:
    path = layout.blob_path(blob.digest)
    if not path.is_file() or path.stat().st_size != blob.size:
        return False
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == blob.digest
