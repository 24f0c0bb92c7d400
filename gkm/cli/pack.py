"""``gkm pack DIR``: a cache directory becomes an image, on disk or in a registry."""

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gkm.api.errors import Rejected
from gkm.arguments import Parser, filled, filled_path
from gkm.cli.dockerarchive import write_docker_archive
from gkm.cli.image import About, architecture, read_cache
from gkm.cli.layout import Layout
from gkm.cli.layoutwriter import write_image
from gkm.cli.program import note, parser, run
from gkm.cli.scan import Files, steadily, unchanged
from gkm.cli.squeeze import COMPRESSIONS
from gkm.cli.whole import whole_file, whole_folder
from gkm.core.image import Reference

LAYOUT: Final = "oci"
DOCKER_ARCHIVE: Final = "docker-archive"
_EPOCH: Final = "SOURCE_DATE_EPOCH"
_LATEST: Final = (1 << 33) - 1
"""Seconds, what a tar header can say."""


@dataclass(frozen=True)
class Wish:
    """What to make of a cache; ``reference`` names the image, empty for none."""

    reference: str = ""
    form: str = LAYOUT
    compression: str = "gzip"
    architecture: str = ""
    quiet: bool = False


_NOTHING_SPECIAL: Final = Wish()


def arguments() -> Parser:
    """Make the parser."""
    made = parser(
        "pack",
        "Pack a kernel cache into an image. The same files give the same digest, everywhere.",
        f"${_EPOCH} (seconds) is the image's time; 1970 if unset. Prints the image's digest.",
    )
    made.add_argument("cache", type=filled_path, metavar="DIR", help="what the framework filled")
    place = made.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "-o", "--output", type=filled_path, metavar="PATH", help="folder or file to make"
    )
    place.add_argument(
        "--push", type=filled, metavar="REF", help="push it to registry/repository:tag instead"
    )
    made.add_argument(
        "--format",
        choices=(LAYOUT, DOCKER_ARCHIVE),
        help="what PATH becomes: a folder, an OCI layout (default); or a tar for `docker load`",
    )
    made.add_argument("--compression", choices=tuple(COMPRESSIONS), help="default: gzip")
    made.add_argument("--ref", type=filled, metavar="REF", help="name of the image, for its title")
    made.add_argument(
        "--arch", choices=("amd64", "arm64"), help="default: that of the programs in it"
    )
    made.add_argument("--plain-http", action="store_true", help="with --push: without TLS")
    return made


def main(given: Sequence[str]) -> int:
    """Run ``gkm pack``; returns the exit code."""
    made = arguments()
    options = made.parse_args(given)
    if options.push is not None and (options.format or options.ref):
        made.error("--format and --ref go with -o: --push names a registry and the image")
    if options.push is None and options.plain_http:
        made.error("--plain-http goes with --push")
    if options.format == DOCKER_ARCHIVE and options.compression:
        made.error("--compression: the layer of a docker-archive is not compressed")
    wish = Wish(
        options.push or options.ref or "",
        options.format or LAYOUT,
        options.compression or "gzip",
        options.arch or "",
        options.quiet,
    )
    if options.push is None:
        return run(lambda: pack(options.cache, options.output, wish))
    return run(lambda: _push(options.cache, wish, plain=options.plain_http))


def pack(root: Path, output: Path, wish: Wish = _NOTHING_SPECIAL) -> str:
    """Write the image; returns its manifest's digest, of an archive its config's.

    Raises Rejected, Retry(CacheChanges), OSError.
    """
    name = Reference.parse(wish.reference) if wish.reference else None
    title = name.repository.rpartition("/")[2] if name else ""
    epoch = _epoch()

    def once(files: Files) -> str:
        cache = read_cache(root, files)
        about = About(title, epoch, wish.architecture or architecture(cache))
        if wish.form == DOCKER_ARCHIVE:
            with whole_file(output) as draft:
                digest = write_docker_archive(cache, draft, about, _tag(name))
                unchanged(root, files)
        else:
            with whole_folder(output) as draft:
                layout = Layout(draft)
                layout.create()
                image = write_image(cache, layout, about, wish.compression)
                layout.point_to(image, wish.reference)
                unchanged(root, files)
            digest = image.digest
        for line in cache.description.notes:
            note(f"note: {line}", quiet=wish.quiet)
        return digest

    return steadily(root, once)


def _push(root: Path, wish: Wish, *, plain: bool) -> str:
    from gkm.cli.upload import check_pushable, push  # noqa: PLC0415 - slow to import

    check_pushable(wish.reference)
    with tempfile.TemporaryDirectory(prefix="gkm-pack-") as folder:
        layout = Path(folder, "image")
        pack(root, layout, wish)
        return push(layout, wish.reference, plain_http=plain, quiet=wish.quiet)


def _tag(name: Reference | None) -> str:
    """Return what Docker calls the image; a digest is no name for an image that is loaded."""
    return f"{name.registry}/{name.repository}:{name.tag or 'latest'}" if name else ""


def _epoch() -> int:
    """Source: reproducible-builds.org/specs/source-date-epoch."""
    text = os.environ.get(_EPOCH) or "0"
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or int(text) > _LATEST:
        expected = f"expected seconds since 1970, at most {_LATEST}"
        raise Rejected("BadEnvironment", f"{_EPOCH} is '{text[:40]}', {expected}")
    return int(text)
