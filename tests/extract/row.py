"""One row of the zoo: an image, and what must become of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.extract import tarbytes
from tests.extract.images import GOOD, Image, image
from tests.images import digest

Tree = Mapping[str, bytes | None]
"""What lies on the volume: files with their content, directories without."""
Hashes = Mapping[str, str | None]
"""The same, with the digest of the content."""
WITH_GOOD: Tree = {"KEY": None, "KEY/good.ptx": b"good"}


@dataclass(frozen=True)
class Refused:
    """For this reason, with all of these words in the message; ``BadArchive`` names a member."""

    reason: str
    words: tuple[str, ...]
    again: bool = False
    """A run later may end otherwise: the volume, or the registry, is to blame."""


@dataclass(frozen=True)
class Row:
    """``number`` as in the README; ``room`` limits the volume: options of a tmpfs."""

    number: str
    what: str
    build: Callable[[], Image]
    expected: Refused | Tree | Callable[[], Hashes]
    options: tuple[str, ...] = ()
    room: str = ""
    slow: bool = False
    trace: bool = True
    """Whether the run is watched by strace: not where there are very many files."""

    @property
    def name(self) -> str:
        return f"{self.number}-{self.what}"


def hashes(tree: Tree) -> Hashes:
    return {name: None if body is None else digest(body) for name, body in tree.items()}


def bad(number: str, what: str, *parts: bytes, says: tuple[str, ...], **fields: Any) -> Row:
    """An archive that is refused, after a good file in it was written."""
    end = fields.pop("end", tarbytes.END)
    return Row(number, what, lambda: image(GOOD, *parts, end=end), Refused("BadArchive", says))


def good(number: str, what: str, *parts: bytes, tree: Tree | None = None) -> Row:
    """An archive that is taken; ``tree`` besides the good file."""
    return Row(number, what, lambda: image(GOOD, *parts), {**WITH_GOOD, **(tree or {})})
