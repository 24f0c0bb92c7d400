"""Writes and removes files below a directory that is held open, never through a link.

Every step is relative to a directory descriptor with O_NOFOLLOW, new files are created with O_EXCL:
whatever names an archive holds, and whoever else writes to the volume, nothing outside is touched.
"""

import os
from collections.abc import Container, Iterable
from contextlib import suppress
from itertools import islice
from typing import Final

from gkm.api.errors import Rejected

FILE_MODE: Final = 0o444
DIRECTORY_MODE: Final = 0o555
_WHILE_FILLING: Final = 0o755
_AT_ONCE: Final = 1000
OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """Fills the directory ``root`` (a descriptor, not owned). Paths are canonical and relative.

    Raises Rejected(BadArchive) for a path that is already there, OSError for the volume's troubles.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._open_path = ""
        self._open = os.dup(root)

    def directory(self, path: str) -> None:
        """Make a directory and its parents; it may be there already."""
        self._enter(path)

    def file(self, path: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Make a file with this content, read-only for everybody."""
        parent, _, name = path.rpartition("/")
        self._enter(parent)
        try:
            descriptor = os.open(name, _NEW_FILE, FILE_MODE, dir_fd=self._open)
        except FileExistsError:
            why = "is there already: this file system takes two names for one"
            raise Rejected("BadArchive", f"'{path:.200}' {why}") from None
        try:
            for piece in pieces:
                _write(descriptor, piece)
        finally:
            os.close(descriptor)

    def seal(self, besides: Container[str]) -> None:
        """Make the directories read-only, but for the root and those named in ``besides``."""
        with os.scandir(self._root) as found:
            for entry in found:
                if entry.name not in besides and entry.is_dir(follow_symlinks=False):
                    _seal(self._root, entry.name)

    def close(self) -> None:
        """Let go of the open directory; the tree stays as it is."""
        os.close(self._open)

    def _enter(self, path: str) -> None:
        """Make ``path`` the open directory: archives list a directory's files in a row."""
        if path == self._open_path:
            return
        current, walked = os.dup(self._root), ""
        try:
            for name in filter(None, path.split("/")):
                walked = f"{walked}/{name}" if walked else name
                following = self._child(current, name, walked)
                os.close(current)
                current = following
        except BaseException:
            os.close(current)
            raise
        os.close(self._open)
        self._open, self._open_path = current, path

    def _child(self, parent: int, name: str, path: str) -> int:
        with suppress(FileExistsError):
            os.mkdir(name, _WHILE_FILLING, dir_fd=parent)
        try:
            return os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        except NotADirectoryError:
            raise Rejected("BadArchive", f"'{path:.200}' is a file and a directory") from None


def _write(descriptor: int, piece: bytes | memoryview) -> None:
    written = os.write(descriptor, piece)
    while written < len(piece):
        written += os.write(descriptor, piece[written:])


def _seal(parent: int, name: str) -> None:
    directory = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
    try:
        with os.scandir(directory) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    _seal(directory, entry.name)
        os.fchmod(directory, DIRECTORY_MODE)
    finally:
        os.close(directory)


def names(directory: int, besides: Container[str] = ()) -> list[str]:
    """Return what lies in the directory with this descriptor: at most 1,000 names.

    All the names of a large directory would not fit into the Job's memory.
    """
    with os.scandir(directory) as found:
        return list(islice((one.name for one in found if one.name not in besides), _AT_ONCE))


def remove(parent: int, name: str) -> None:
    """Remove a file, link or directory tree below the descriptor ``parent``."""
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        descriptor = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        try:
            os.fchmod(descriptor, 0o700)
            clear(descriptor)
        finally:
            os.close(descriptor)
        os.rmdir(name, dir_fd=parent)


def clear(directory: int, besides: Container[str] = ()) -> None:
    """Remove everything from the directory with this descriptor but the names in ``besides``."""
    while some := names(directory, besides):
        for name in some:
            remove(directory, name)
