"""Which member names an archive may hold: one spelling for each path, nothing that surprises.

An image is refused for a name that another program could read differently (``..``, a backslash,
invisible characters, two names that a file system may take for one).
"""

import re
import unicodedata
from hashlib import blake2b
from typing import Final

from gkm.api.errors import Rejected

_LONGEST_PATH: Final = 1024
_LONGEST_COMPONENT: Final = 255
_DEEPEST: Final = 64
_SHOWN: Final = 200
"""Characters of a name in a message, which has 1,024."""
MOST_NAMES: Final = 100_000
"""Files and directories, those that are named by what lies in them too."""
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"})
"""Controls, formats and separators; and what this Python does not know it cannot compare."""
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""The other characters that show nothing (Unicode: Default_Ignorable_Code_Point)."""


def refuse(name: str | bytes, why: str) -> Rejected:
    """Make the error that names an archive's member."""
    return Rejected("BadArchive", f"archive member {name[:_SHOWN]!r}: {why}")


def canonical(raw: bytes) -> str:
    """Return the member's path without a trailing slash; raises Rejected(BadArchive)."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise refuse(raw, "the name is no UTF-8") from None
    name = name.removesuffix("/")
    if len(raw) > _LONGEST_PATH:
        raise refuse(name, f"the name is longer than {_LONGEST_PATH} bytes")
    plain = name.isascii() and name.isprintable()
    if "\\" in name or name[1:2] == ":" or (not plain and _has_hidden(name)):
        raise refuse(name, "a backslash, a drive, a control or an invisible character in its name")
    parts = name.split("/")
    if len(parts) > _DEEPEST:
        raise refuse(name, f"more than {_DEEPEST} directories deep")
    for part in parts:
        if part in ("", ".", ".."):
            raise refuse(name, "expected a relative path without empty, '.' or '..' parts")
        if part.startswith(".wh."):
            raise refuse(name, "a whiteout; a cache image only adds files")
        if len(part.encode()) > _LONGEST_COMPONENT:
            raise refuse(name, f"a part is longer than {_LONGEST_COMPONENT} bytes")
    return name


def _has_hidden(name: str) -> bool:
    if _INVISIBLE.search(name):
        return True
    return any(unicodedata.category(character) in _HIDDEN_CATEGORIES for character in name)


def folded(name: str) -> str:
    """Return what two names have in common that some file system takes for one."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


class Names:
    """The paths of one image; refuses twins, a file that is also a directory, and too many.

    Paths are kept as hashes: hostile ones take 4 KiB each in memory.
    """

    def __init__(self) -> None:
        self._files: set[bytes] = set()
        self._directories: dict[bytes, bytes] = {}
        self._listed: set[bytes] = set()
        self._parent = ""

    def next_layer(self) -> None:
        """Allow the directories of the layers so far to be listed again."""
        self._listed.clear()

    def add(self, name: str, *, directory: bool) -> None:
        """Take a canonical path; raises Rejected(BadArchive) if it clashes with an earlier one."""
        parent = name.rpartition("/")[0]
        if parent != self._parent:
            self._add_parents(parent)
            self._parent = parent
        key = _hash(folded(name))
        if key in self._files or key in self._listed:
            raise refuse(
                name, "stands twice (names that differ in case or normal form are the same)"
            )
        if directory:
            self._listed.add(key)
            self._add_directory(name)
        elif key in self._directories:
            raise refuse(name, "is a file and a directory")
        else:
            self._files.add(key)
        if len(self._files) + len(self._directories) > MOST_NAMES:
            raise refuse(name, f"more than {MOST_NAMES} files and directories")

    def _add_parents(self, parent: str) -> None:
        end = parent.find("/")
        while end != -1:
            self._add_directory(parent[:end])
            end = parent.find("/", end + 1)
        if parent:
            self._add_directory(parent)

    def _add_directory(self, name: str) -> None:
        key, spelling = _hash(folded(name)), _hash(name)
        if key in self._files:
            raise refuse(name, "is a file and a directory")
        if self._directories.setdefault(key, spelling) != spelling:
            raise refuse(name, "another directory differs only in case or normal form")


def _hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
