"""What of a cache directory goes into an image, and whether it stayed the same while it was read.

A framework may still be writing. So everything is looked at twice: before, and after all was read;
an image is what lay there at both times, or there is none.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, TypeVar

from gkm.api.errors import Rejected, Retry
from gkm.cli.whole import UNFINISHED

_SKIPPED: Final = frozenset({"lock", ".gkm", "lost+found"})
_TEMPORARY: Final = "tmp.pid_"
_CHUNK: Final = 256 << 10
_TICK: Final = 0.05
"""Seconds, more than a file system's clock goes by: 4 to 10 ms on Linux before 6.13. Of two changes
within one tick, the second shows in no time stamp."""
PAUSES: Final = (0.1, 0.3, 1.0)
"""Seconds before each further try."""
_T = TypeVar("_T")


class Stamp(NamedTuple):
    """By what a change of a file is recognised; ``ctime`` also after somebody set ``mtime``."""

    size: int
    mtime: int
    ctime: int
    inode: int


Files = Mapping[str, Stamp]
"""By relative path, sorted."""


class ChangedError(Exception):
    """The named file changed, came or went while the cache was read."""


def scan(root: Path) -> Files:
    """Return the files below ``root``.

    Left out: lock files, and ``tmp.pid_*``, where Triton writes before it renames, and what
    a killed ``gkm relocate`` leaves. Links to files
    count as the files (a private layer of ``gkm overlay`` can be packed); raises Rejected for
    whatever else is no file, ChangedError, OSError for what cannot be read.
    """
    found: dict[str, Stamp] = {}
    top = os.path.join(root, "")  # paths are texts here: there may be 100,000
    for folder, directories, files in os.walk(top, onerror=_raise):
        directories[:] = [name for name in directories if _belongs(name)]
        for name in (*filter(_belongs, files), *directories):
            path = os.path.join(folder, name)
            status = _status(path)
            if stat.S_ISREG(status.st_mode):
                found[path.removeprefix(top)] = _stamp(status)
            elif not stat.S_ISDIR(status.st_mode) or os.path.islink(path):
                raise Rejected("BadCache", f"{path} is neither a file nor a directory")
    return dict(sorted(found.items()))


def steadily(root: Path, work: Callable[[Files], _T]) -> _T:
    """Do ``work`` with the files, which ends with ``unchanged``; again if they change meanwhile.

    Raises Retry(CacheChanges) if they change each time, and whatever ``work`` raises otherwise.
    """
    root.stat()
    for pause in (*PAUSES, None):
        files: Files = {}
        try:
            files = _settled(root)
            return _checked(root, files, work)
        except ChangedError as changed:
            if pause is None:
                why = "changes while it is read; wait until the framework has finished"
                raise Retry("CacheChanges", f"{root / str(changed)} {why}") from None
            time.sleep(pause)
    raise AssertionError("unreachable")


def _checked(root: Path, files: Files, work: Callable[[Files], _T]) -> _T:
    try:
        return work(files)
    except (Rejected, OSError):
        unchanged(root, files)  # else it may be about half a file
        raise


def unchanged(root: Path, before: Files) -> None:
    """Look again; raises ChangedError for the first file that is not as before."""
    now = scan(root)
    for path in sorted(before.keys() | now.keys()):
        if before.get(path) != now.get(path):
            raise ChangedError(path)


def contents(root: Path, path: str, expected: Stamp) -> Iterator[memoryview]:
    """Read a file; raises ChangedError unless it is the same before, after, and at its path.

    Each piece is good until the next one is asked for.
    """
    buffer = memoryview(bytearray(min(expected.size, _CHUNK)))
    # Without O_NONBLOCK, what became a FIFO would be waited for.
    place = os.path.join(root, path)
    descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        if _stamp(os.fstat(file.fileno())) != expected:
            raise ChangedError(path)
        left = expected.size
        while left:
            count = file.readinto(buffer[:left])
            if not count:
                raise ChangedError(path)
            left -= count
            yield buffer[:count]
        if {_stamp(os.fstat(file.fileno())), _stamp(os.stat(place))} != {expected}:
            raise ChangedError(path)


def _settled(root: Path) -> Files:
    """Scan until nothing has changed within the last tick."""
    files = scan(root)
    age = time.time() - max((stamp.ctime for stamp in files.values()), default=0) / 1e9
    if 0 <= age < _TICK:
        time.sleep(_TICK)
        unchanged(root, files)
    return files


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        if os.path.islink(path):
            raise Rejected("BadCache", f"{path} is a link to nothing: {error.strerror}") from None
        _raise(error)


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _raise(error: OSError) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        raise ChangedError(os.path.basename(error.filename))
    raise error


def _belongs(name: str) -> bool:
    return (
        name not in _SKIPPED and not name.endswith((".lock", UNFINISHED)) and _TEMPORARY not in name
    )
