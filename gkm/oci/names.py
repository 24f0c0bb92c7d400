"""Which member names an archive may hold: one spelling for each path, nothing that surprises.

An image is refused for a name that another program could read differently (``..``, a backslash,
invisible characters, two names that a file system may take for one).
"""

import unicodedata
from typing import Final

from gkm.api.errors import Rejected

_LONGEST_PATH: Final = 1024
_LONGEST_COMPONENT: Final = 255
_DEEPEST: Final = 64
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def refuse(name: str | bytes, why: str) -> Rejected:
    """Make the error that names an archive's member."""
    return Rejected("BadArchive", f"archive member {name!r}: {why}")


def canonical(raw: bytes) -> str:
    """Return the member's path without a trailing slash; raises Rejected(BadArchive)."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise refuse(raw, "the name is no UTF-8") from None
    name = name.removesuffix("/")
    if len(raw) > _LONGEST_PATH:
        raise refuse(name[:60], f"the name is longer than {_LONGEST_PATH} bytes")
    plain = name.isascii() and name.isprintable()
    if "\\" in name or (not plain and _has_hidden(name)):
        raise refuse(name, "the name holds a backslash, a control or an invisible character")
    parts = name.split("/")
    if len(parts) > _DEEPEST:
        raise refuse(name[:60], f"more than {_DEEPEST} directories deep")
    for part in parts:
        if part in ("", ".", ".."):
            raise refuse(name, "expected a relative path without empty, '.' or '..' parts")
        if len(part.encode()) > _LONGEST_COMPONENT:
            raise refuse(name[:60], f"a part is longer than {_LONGEST_COMPONENT} bytes")
    if parts[-1].startswith(".wh."):
        raise refuse(name, "a whiteout; a cache image only adds files")
    return name


def _has_hidden(name: str) -> bool:
    return any(unicodedata.category(character) in _HIDDEN_CATEGORIES for character in name)


class Names:
    """The paths of one archive; refuses twins, and a file that is also a directory."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._explicit: set[str] = set()
        self._directories: dict[str, str] = {}

    def add(self, name: str, *, directory: bool) -> None:
        """Take a canonical path; raises Rejected(BadArchive) if it clashes with an earlier one."""
        key = _key(name)
        parent = name.rpartition("/")[0]
        if parent and self._directories.get(_key(parent)) != parent:
            self._add_parents(parent)
        if key in self._files or key in self._explicit:
            raise refuse(
                name, "stands twice (names that differ in case or normal form are the same)"
            )
        if directory:
            self._explicit.add(key)
            self._add_directory(name, key)
        elif key in self._directories:
            raise refuse(name, "is a file and a directory")
        else:
            self._files.add(key)

    def _add_parents(self, parent: str) -> None:
        end = parent.find("/")
        while end != -1:
            self._add_directory(parent[:end], _key(parent[:end]))
            end = parent.find("/", end + 1)
        self._add_directory(parent, _key(parent))

    def _add_directory(self, name: str, key: str) -> None:
        if key in self._files:
            raise refuse(name, "is a file and a directory")
        if self._directories.setdefault(key, name) != name:
            raise refuse(name, "another directory differs only in case or normal form")


def _key(name: str) -> str:
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", name).casefold()
