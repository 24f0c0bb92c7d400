"""One gzip member after the other for isal, which misreads some headers. Format: RFC 1952.

isal 1.9 loses its place in a header with several optional fields that arrives in pieces, and
takes reserved flags. So headers are read here, and isal sees none but the plain one.
"""

import zlib
from typing import Final

from isal import igzip_lib

_MAGIC: Final = b"\x1f\x8b\x08"
_PLAIN: Final = _MAGIC + bytes(6) + b"\xff"
_LONGEST: Final = 128 * 1024
_HEADER_CRC, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16
_RESERVED: Final = b"\x20"
"""The lowest flag that means nothing."""


class BrokenHeaderError(ValueError):
    """What stands where a header should is none, or none that is read here."""


FAILURES: Final = (BrokenHeaderError, igzip_lib.IsalError)


class Member:
    """Decompresses one member, as isal's decompressors do; raises one of ``FAILURES``."""

    def __init__(self) -> None:
        self._header = b""
        self._body = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        self._in_body = False

    @property
    def eof(self) -> bool:
        """Whether the member has ended; ``unused_data`` is what came after it."""
        return bool(self._body.eof)

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes without more input."""
        return not self._in_body or bool(self._body.needs_input)

    @property
    def unused_data(self) -> bytes:
        """What followed the member."""
        return bytes(self._body.unused_data)

    def decompress(self, data: bytes, most: int) -> bytes:
        """Take compressed bytes; returns at most ``most`` plain ones."""
        if self._in_body:
            return bytes(self._body.decompress(data, most))
        self._header += data
        end = _header_end(self._header)
        if end is None and len(self._header) <= _LONGEST:
            return b""
        if end is None or end > _LONGEST:
            raise BrokenHeaderError("its header is too long")
        data, self._header, self._in_body = _PLAIN + self._header[end:], b"", True
        return bytes(self._body.decompress(data, most))


def _header_end(raw: bytes) -> int | None:
    """Return where the header ends; None if it does not yet."""
    if not _MAGIC.startswith(raw[:3]) or raw[3:4] >= _RESERVED:
        raise BrokenHeaderError("no gzip header")
    if len(raw) < len(_PLAIN):
        return None
    flags, at = raw[3], len(_PLAIN)
    if flags & _EXTRA:
        at += 2 + int.from_bytes(raw[at : at + 2], "little")
    for text in (_NAME, _COMMENT):
        if flags & text:
            at = raw.find(b"\x00", at) + 1
            if not at:
                return None
    if flags & _HEADER_CRC:
        if raw[at : at + 2] != (zlib.crc32(raw[:at]) & 0xFFFF).to_bytes(2, "little"):
            if len(raw) < at + 2:
                return None
            raise BrokenHeaderError("its header's checksum is wrong")
        at += 2
    return at if at <= len(raw) else None
