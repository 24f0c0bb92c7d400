"""Reads a tar from a stream, strictly: regular files and directories, or the image is refused.

Not Python's ``tarfile``: that can be escaped and accepts cut archives.
Formats: POSIX.1-2001 ustar and pax ("pax Interchange Format"), GNU long names. Nothing is written
here, and nothing is kept but names and at most one chunk.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from gkm.core.image import LARGEST_CACHE
from gkm.oci.names import Names, canonical, refuse

BLOCK: Final = 512
LARGEST_FILE: Final = 4 << 30
_LARGEST_EXTENSION: Final = 64 * 1024
_EXTENSIONS_TOTAL: Final = 64 * 1024 * 1024
_LONGEST_END: Final = 1024 * 1024
"""Zeros after the last member: writers fill a record, 10 KiB by custom."""
_MAGICS: Final = (b"ustar\x0000", b"ustar  \x00")
_ZERO: Final = bytes(BLOCK)
_FILE_TYPES: Final = (b"0", b"\x00")
_DIRECTORY: Final = b"5"
_PAX: Final = b"x"
_GNU_LONG_NAME: Final = b"L"
_NUMBERS: Final = tuple(
    slice(start, start + length)
    for start, length in ((100, 8), (108, 8), (116, 8), (136, 12), (329, 8), (337, 8))
)
"""Mode, owner, group, time, device: not used here, but other readers stumble over wrong ones."""
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \x00]*")
_UNUSED: Final = (slice(500, 512), slice(345, 512))
"""What no archive of these kinds holds: after the prefix of ustar, after the names of GNU."""
_CHANGES: Final = (b"GNU.", b"SUN.", b"linkpath", b"SCHILY.realsize", b"SCHILY.filetype")
"""Pax records by which some reader takes a member for another kind or size."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of ``size`` bytes or a directory (size 0); ``name`` is canonical."""

    name: str
    directory: bool
    size: int


class Tally:
    """What the archives of one image hold so far, together: no path twice, and not too much."""

    def __init__(self) -> None:
        self._names = Names()
        self._bytes = 0
        self._extensions = 0

    def next_layer(self) -> None:
        """Begin another archive of the same image."""
        self._names.next_layer()

    def add(self, member: Member, extensions: int) -> None:
        """Count a member that ``extensions`` bytes described; raises Rejected(BadArchive)."""
        self._names.add(member.name, directory=member.directory)
        self._bytes += member.size
        self._extensions += extensions
        if self._bytes > LARGEST_CACHE or self._extensions > _EXTENSIONS_TOTAL:
            raise refuse(member.name, "the image is larger than any cache GKM unpacks")


class Archive:
    """Iterates over the members of one tar stream; ``data`` reads the current one's content.

    Every method raises Rejected(BadArchive) for anything but a plain, complete archive; whatever
    the source of bytes raises passes through.
    """

    def __init__(self, chunks: Iterator[bytes], tally: Tally) -> None:
        tally.next_layer()
        self._tally = tally
        self._source = _Source(chunks)
        self._left = 0
        self._padding = 0

    def members(self) -> Iterator[Member]:
        """Yield the members in order; content that was not read is skipped, never unchecked."""
        while (header := self._next_header()) is not None:
            extended: dict[bytes, bytes] = {}
            if header[156:157] in (_PAX, _GNU_LONG_NAME):
                extended = self._extension(header)
                header = self._next_header()
            if header is None:
                raise refuse("(end)", "an extended header stands before nothing")
            member = _member(header, extended)
            self._tally.add(member, sum(map(len, extended.values())))
            self._left, self._padding = member.size, -member.size % BLOCK
            yield member
        self._source.expect_zeros()

    def data(self) -> Iterator[memoryview]:
        """Yield the current member's content piece by piece."""
        while self._left:
            piece = self._source.piece(self._left)
            self._left -= len(piece)
            yield piece

    def _next_header(self) -> bytes | None:
        for _ in self.data():
            pass
        if self._padding:
            self._source.take(self._padding)
            self._padding = 0
        header = self._source.take(BLOCK)
        if header != _ZERO:
            _check(header)
            return header
        if self._source.take(BLOCK) != _ZERO:
            raise refuse("(end)", "data follows the end of the archive")
        return None

    def _extension(self, header: bytes) -> dict[bytes, bytes]:
        """Read what describes the next member: pax records or a GNU long name."""
        size = _number(header, 124, 12)
        if size > _LARGEST_EXTENSION:
            raise refuse(
                "(extended header)", f"{size} bytes; at most {_LARGEST_EXTENSION} are read"
            )
        raw = self._source.take(size)
        self._source.take(-size % BLOCK)
        if header[156:157] == _PAX:
            return _pax_records(raw)
        if not raw.endswith(b"\x00"):
            raise refuse(raw, "a long name without an end")
        return {b"path": raw[:-1]}


def _member(header: bytes, extended: dict[bytes, bytes]) -> Member:
    own = _ustar_name(header)
    raw = extended.get(b"path", own)
    kind = header[156:157]
    if kind not in (*_FILE_TYPES, _DIRECTORY):
        raise refuse(raw, f"type {kind!r}: only regular files and directories belong in a cache")
    name = canonical(raw)
    if header[_UNUSED[_MAGICS.index(header[257:265])]].strip(b"\x00"):
        raise refuse(name, "its header is used where the format leaves it empty")
    for key in extended:
        if key.startswith(_CHANGES):
            raise refuse(name, f"the record {key!r} does not belong in a cache")
    directory = kind == _DIRECTORY
    size = _number(header, 124, 12)
    if extended.get(b"size", b"%d" % size) != b"%d" % size:
        raise refuse(name, "two headers disagree on its size")
    if (directory and size) or size > LARGEST_FILE:
        raise refuse(name, f"a size of {size} bytes is not possible here")
    if (raw.endswith(b"/") and not directory) or (own.endswith(b"/") and kind == b"\x00"):
        raise refuse(name, "a file whose name ends in a slash")
    return Member(name, directory, size)


def _ustar_name(header: bytes) -> bytes:
    name = _text(header[0:100])
    prefix = _text(header[345:500]) if header[257:265] == _MAGICS[0] else b""
    return prefix + b"/" + name if prefix else name


def _text(field: bytes) -> bytes:
    text, _, rest = field.partition(b"\x00")
    if rest.strip(b"\x00"):
        raise refuse(text, "text after the end of its name")
    return text


def _number(header: bytes, start: int, length: int) -> int:
    found = _OCTAL.fullmatch(header[start : start + length])
    if found is None or not found[1]:
        raise refuse(header[0:100].rstrip(b"\x00"), "a number field holds no octal digits")
    return int(found[1], 8)


def _check(header: bytes) -> None:
    """Refuse a header, of whatever kind, that another reader could understand differently."""
    name = header[0:100].rstrip(b"\x00")
    if _number(header, 148, 8) != sum(header) - sum(header[148:156]) + 8 * 0x20:
        raise refuse(name, "its header's checksum is wrong")
    if header[257:265] not in _MAGICS:
        raise refuse(name, "not a ustar, pax or GNU archive")
    for field in _NUMBERS:
        # GNU writes large and negative numbers in binary.
        if header[field][0] not in (0x80, 0xFF) and not _OCTAL.fullmatch(header[field]):
            raise refuse(name, "a number field holds no octal digits")


def _pax_records(raw: bytes) -> dict[bytes, bytes]:
    """Parse lines of ``<length> <key>=<value>``; only ``path`` and ``size`` mean anything."""
    records: dict[bytes, bytes] = {}
    start = 0
    while start < len(raw):
        space = raw.find(b" ", start, start + 8)
        digits = raw[start:space] if space != -1 else b""
        end = start + int(digits) if digits.isdigit() else 0
        key, equals, value = raw[space + 1 : max(end - 1, 0)].partition(b"=")
        if end <= space or end > len(raw) or raw[end - 1 : end] != b"\n" or not equals:
            raise refuse("(pax header)", "a record is malformed")
        if key in records:
            raise refuse("(pax header)", f"the record {key!r} stands twice")
        records[key] = value
        start = end
    return records


class _Source:
    """Exact reads from a stream of chunks; running dry is an error."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = memoryview(b"")

    def piece(self, most: int) -> memoryview:
        """Return between 1 and ``most`` bytes."""
        while not self._chunk:
            following = next(self._chunks, None)
            if following is None:
                raise refuse("(end)", "the archive ends too early")
            self._chunk = memoryview(following)
        piece, self._chunk = self._chunk[:most], self._chunk[most:]
        return piece

    def take(self, count: int) -> bytes:
        """Return exactly ``count`` bytes."""
        found = bytes(self._chunk[:count])
        self._chunk = self._chunk[count:]
        while len(found) < count:
            found += self.piece(count - len(found))
        return found

    def expect_zeros(self) -> None:
        """Read to the end of the stream; only zeros may be left, and few."""
        left = _LONGEST_END
        for chunk in chain((bytes(self._chunk),), self._chunks):
            left -= len(chunk)
            if left < 0 or chunk.count(0) != len(chunk):
                raise refuse("(end)", "data follows the end of the archive")
