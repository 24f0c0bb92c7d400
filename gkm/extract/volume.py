"""The volume that a Job fills: empty, recognisably unfinished, or complete for one digest.

Ownership is one fact: once ``.gkm/`` exists, everything on the volume but ``lost+found`` is GKM's.
Completeness is one file, ``.gkm/complete``, renamed into place after everything else is on disk. So
a crash at any moment leaves a volume that the next run reads correctly. One Job at a time: the
operator sees to that.
"""

import ctypes
import errno
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gkm.api.errors import Rejected, Retry
from gkm.extract.tree import OPEN_DIRECTORY, clear, names, remove

OWN: Final = ".gkm"
MARKER: Final = "complete"
MANIFEST: Final = f"{OWN}/manifest.json"
NOT_OURS: Final = frozenset({"lost+found"})
"""Made by mkfs; on a volume of its own it is normal and never ours."""
RESERVED: Final = NOT_OURS | {OWN}
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Marker:
    """What ``.gkm/complete`` says; ``bytes`` and ``files`` count the cache's regular files."""

    digest: str
    mountPath: str  # noqa: N815 - the key in the file
    bytes: int
    files: int


class Volume:
    """A mounted volume, held open by its root directory; use it in a ``with`` block.

    OSErrors pass through.
    """

    def __init__(self, path: Path) -> None:
        self.root = os.open(path, OPEN_DIRECTORY & ~os.O_NOFOLLOW)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.root)

    def marker(self) -> Marker | None:
        """Return what the volume is complete for; None while it is not."""
        try:
            own = os.open(OWN, OPEN_DIRECTORY, dir_fd=self.root)
        except FileNotFoundError:
            return None
        try:
            descriptor = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=own)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
                return Marker(**json.loads(file.read(_MIB)))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        finally:
            os.close(own)

    def begin(self) -> None:
        """Make the volume ours and empty; from here on it is unfinished.

        Raises Rejected(ForeignContent) for a volume that holds what GKM did not put there.
        """
        self._claim()
        self._remove_content()
        remove_all(self.root, OWN)

    def complete(self, marker: Marker) -> None:
        """Put everything on disk, then the marker: afterwards the volume is complete."""
        _syncfs(self.root)
        own = os.open(OWN, OPEN_DIRECTORY, dir_fd=self.root)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(f"{MARKER}.new", flags, 0o444, dir_fd=own)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(json.dumps(asdict(marker)).encode())
                file.flush()
                os.fsync(descriptor)
            os.rename(f"{MARKER}.new", MARKER, src_dir_fd=own, dst_dir_fd=own)
            os.fsync(own)
        finally:
            os.close(own)

    def empty(self) -> None:
        """Remove everything that GKM made, its own folder last. Raises as ``begin``.

        Nothing is written to a volume that is empty: one that no extraction ever reached may still
        be its maker's, and not ours to write to.
        """
        if not names(self.root, NOT_OURS):
            return
        self._claim()
        self._remove_content()
        remove(self.root, OWN)
        os.fsync(self.root)

    def free(self) -> int:
        """Bytes that a user without privileges may still write."""
        found = os.fstatvfs(self.root)
        return found.f_bavail * found.f_frsize

    def check_room(self, needed: int) -> None:
        """Raise Retry(NoSpace) at once if ``needed`` bytes cannot fit."""
        if needed > self.free():
            raise self.no_space(needed)

    def no_space(self, needed: int) -> Retry:
        """Make the error for a volume too small for an image that needs ``needed`` bytes."""
        inodes = "" if os.fstatvfs(self.root).f_favail else " and no inodes"
        return Retry(
            "NoSpace",
            f"volume full: the image needs {needed / _MIB:.0f} MiB, the volume has"
            f" {self.free() / _MIB:.0f} MiB{inodes} left; raise spec.storageSize",
        )

    def _claim(self) -> None:
        if _is_there(self.root, OWN):
            return
        if found := names(self.root, NOT_OURS):
            few = ", ".join(sorted(found)[:5])
            raise Rejected(
                "ForeignContent",
                f"the volume holds what GKM did not put there ({few}); it is left alone",
            )
        os.mkdir(OWN, 0o755, dir_fd=self.root)
        os.fsync(self.root)

    def _remove_content(self) -> None:
        """Remove the marker, durably, before anything that it vouches for."""
        own = os.open(OWN, OPEN_DIRECTORY, dir_fd=self.root)
        try:
            if _is_there(own, MARKER):
                os.unlink(MARKER, dir_fd=own)
                os.fsync(own)
        finally:
            os.close(own)
        clear(self.root, RESERVED)


def is_full(error: OSError) -> bool:
    """Say whether the error means that a volume or a quota has no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def remove_all(root: int, name: str) -> None:
    """Empty the directory ``name`` below the descriptor ``root``; it stays itself."""
    descriptor = os.open(name, OPEN_DIRECTORY, dir_fd=root)
    try:
        clear(descriptor)
    finally:
        os.close(descriptor)


def _is_there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _syncfs(descriptor: int) -> None:
    """Flush the file system of ``descriptor``: one call instead of an fsync per file."""
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
