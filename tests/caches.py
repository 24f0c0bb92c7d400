"""What is in a cache directory, as `gkm pack` sees it."""

from pathlib import Path

from gkm.cli.image import Cache, read_cache
from gkm.cli.scan import scan


def cache_of(root: Path) -> Cache:
    return read_cache(root, scan(root))
