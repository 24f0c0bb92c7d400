"""Output that is there as a whole or not at all.

It is written beside its place, as ``.NAME.<random>.gkm-tmp``, and renamed at the end. A failure or
a signal removes it; what a killed process leaves is told by its name, and disturbs nobody.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gkm.api.errors import Rejected

UNFINISHED: Final = ".gkm-tmp"
_MOUNTS = Path("/proc/self/mountinfo")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes ``target`` unless the block raises.

    A link to an empty folder stays, and the folder becomes it. Raises Rejected(OutputExists) unless
    ``target`` is new, or an empty folder that can be replaced.
    """
    if os.path.lexists(target):
        _check_replaceable(target)
    place = Path(os.path.realpath(target))
    draft = Path(tempfile.mkdtemp(UNFINISHED, f".{place.name}.", _parent(place)))
    try:
        yield draft
        draft.chmod(0o777 & ~_umask())
        draft.rename(place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


@contextmanager
def whole_file(target: Path, *, replace: bool = False, mode: int | None = None) -> Iterator[Path]:
    """Give a file to write, which becomes ``target``, with this mode, unless the block raises.

    Raises Rejected(OutputExists) if ``target`` exists and is not to be replaced.
    """
    if os.path.lexists(target) and not replace:
        raise _exists(target, "is not overwritten")
    descriptor, name = tempfile.mkstemp(UNFINISHED, f".{target.name}.", _parent(target))
    os.close(descriptor)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask() if mode is None else mode)
        draft.rename(target)
    except BaseException:
        with suppress(FileNotFoundError):
            draft.unlink()
        raise


def _check_replaceable(folder: Path) -> None:
    if not folder.is_dir() or any(folder.iterdir()):
        raise _exists(folder, "is not an empty folder")
    if folder.samefile(os.curdir):
        raise _exists(folder, "is the current folder, which is not replaced")
    if _is_mount_point(Path(os.path.realpath(folder))):
        raise _exists(folder, "is a mount point, which cannot be replaced")


def _is_mount_point(folder: Path) -> bool:
    """Look also for what is bound there from the same disk, which ``is_mount`` does not see."""
    # Source: proc_pid_mountinfo(5), field 5, whose odd characters are octal.
    listed = re.sub(rb"[ \t\n\\]", lambda odd: b"\\%03o" % odd[0][0], os.fsencode(folder))
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:  # no Linux
        return folder.is_mount()
    return any(line.split()[4] == listed for line in lines)


def _parent(target: Path) -> Path:
    parent = target.absolute().parent
    if not parent.is_dir():
        raise Rejected("NoSuchFolder", f"{parent} is no folder: make it first")
    return parent


def _exists(target: Path, what: str) -> Rejected:
    return Rejected("OutputExists", f"{target} exists and {what}; name another output")


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
