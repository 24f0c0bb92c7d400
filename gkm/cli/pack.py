"""``gkm pack DIR -o LAYOUT``: a cache directory becomes an OCI image on disk."""

import os
from collections.abc import Sequence
from pathlib import Path

from gkm.arguments import Parser
from gkm.cli.image import build, read_cache
from gkm.cli.layout import Layout
from gkm.cli.program import run
from gkm.core.image import Reference


def main(arguments: Sequence[str]) -> int:
    """Run ``gkm pack``; returns the exit code."""
    parser = Parser("gkm pack", description="Pack a kernel cache into an OCI image layout.")
    parser.add_argument("cache", type=Path, metavar="DIR", help="what the framework filled")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the image")
    parser.add_argument("--ref", default="", help="name of the image, for its title label")
    options = parser.parse_args(arguments)
    return run(lambda: pack(options.cache, options.output, options.ref))


def pack(root: Path, output: Path, reference: str = "") -> str:
    """Write the image; returns its manifest's digest. Raises Rejected, OSError."""
    title = Reference.parse(reference).repository.rpartition("/")[2] if reference else ""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))  # reproducible-builds.org
    cache = read_cache(root)
    layout = Layout(output)
    layout.create()
    image = build(cache, layout, title, epoch)
    layout.point_to(image, reference)
    return image.digest
