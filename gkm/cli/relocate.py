"""``gkm relocate DIR --to PATH``: makes a cache directory fit to be mounted somewhere else.

Frameworks write absolute paths into their caches and ignore what lies elsewhere. `gkm extract` does
this on its way; here it is done to files that are there.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gkm.api.errors import Rejected
from gkm.arguments import Parser, filled_path
from gkm.cli.image import Cache, read_cache
from gkm.cli.program import parser, run
from gkm.cli.scan import steadily
from gkm.cli.whole import whole_file

_VOLUME: Final = ".gkm"


def arguments() -> Parser:
    """Make the parser."""
    made = parser(
        "relocate",
        "Rewrite the absolute paths in a cache directory, in place.",
        "Each file is replaced as a whole; doing it again changes nothing.",
    )
    made.add_argument("cache", type=filled_path, metavar="DIR", help="what a framework filled")
    made.add_argument("--to", metavar="PATH", required=True, help="where it will be mounted")
    return made


def main(given: Sequence[str]) -> int:
    """Run ``gkm relocate``; returns the exit code."""
    made = arguments()
    options = made.parse_args(given)
    if not options.to.startswith("/"):
        made.error(f"--to {options.to}: an absolute path is needed")
    return run(lambda: relocate(options.cache, options.to))


def relocate(root: Path, mount_path: str) -> str:
    """Rewrite what must be; returns a line that counts it. Raises Rejected, Retry, OSError."""
    if (root / _VOLUME).exists():
        why = "its files are GKM's, and hold the paths of spec.mountPath: copy them, without .gkm"
        raise Rejected("GKMVolume", f"{root} is a volume of GKM; {why}")
    cache = steadily(root, lambda files: read_cache(root, files))
    paths = [path for path in cache.files if cache.framework.is_relocated(path)]
    changed = sum(_rewritten(cache, path, mount_path) for path in paths)
    return f"{changed} of {len(paths)} files rewritten for {mount_path}"


def _rewritten(cache: Cache, path: str, mount_path: str) -> bool:
    file = cache.root / path
    before = file.read_bytes()
    after = cache.framework.relocate(path, before, mount_path)
    if after == before:
        return False
    status = file.stat()
    with whole_file(file, replace=True, mode=stat.S_IMODE(status.st_mode)) as draft:
        draft.write_bytes(after)
        if os.geteuid() == 0:  # a cache of somebody else's stays theirs
            os.chown(draft, status.st_uid, status.st_gid)
    return True
