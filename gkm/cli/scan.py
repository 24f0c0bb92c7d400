"""What of a cache directory goes into an image: its files, not what a compiler left half done."""

import os
import stat
from pathlib import Path
from typing import Final

from gkm.api.errors import Rejected

_SKIPPED: Final = frozenset({"lock", ".gkm", "lost+found"})
_TEMPORARY: Final = "tmp.pid_"


def scan(root: Path) -> list[str]:
    """Return the relative paths of the files below ``root``, sorted.

    Left out: lock files, and ``tmp.pid_*``, where Triton writes before it renames. Links to files
    count as the files (a private layer of ``gkm overlay`` can be packed); raises Rejected for
    whatever else is no file, OSError for what cannot be read.
    """
    found: list[str] = []
    for folder, directories, files in os.walk(root, onerror=_raise):
        directories[:] = [name for name in directories if _belongs(name)]
        for name in (*filter(_belongs, files), *directories):
            path = Path(folder, name)
            mode = path.stat().st_mode
            if stat.S_ISREG(mode):
                found.append(path.relative_to(root).as_posix())
            elif not stat.S_ISDIR(mode) or path.is_symlink():
                raise Rejected("BadCache", f"{path} is neither a file nor a directory")
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def _belongs(name: str) -> bool:
    return name not in _SKIPPED and not name.endswith(".lock") and _TEMPORARY not in name
