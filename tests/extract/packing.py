"""Compressed streams byte by byte, broken ones too. Formats: RFC 1952 (gzip), RFC 8878 (zstd)."""

import struct
import zlib
from collections.abc import Iterable, Iterator

from backports import zstd

MIB = 1 << 20
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_RLE = 1
_MOST_IN_BLOCK = 128 * 1024


def gzip(plain: bytes | Iterable[bytes], level: int = 6) -> bytes:
    """One honest gzip member."""
    pieces = (plain,) if isinstance(plain, bytes) else plain
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return b"".join(packer.compress(piece) for piece in pieces) + packer.flush()


def gzip_with(plain: bytes, flags: int, fields: bytes = b"") -> bytes:
    """A gzip member with these flags and the fields that belong to them."""
    return b"\x1f\x8b\x08" + bytes([flags, 0, 0, 0, 0, 0, 255]) + fields + _deflated(plain)


def _deflated(plain: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    raw = packer.compress(plain) + packer.flush()
    return raw + struct.pack("<II", zlib.crc32(plain), len(plain) & 0xFFFFFFFF)


def gzip_bomb(start: bytes, mebibytes: int) -> bytes:
    """``start`` and then this many MiB of zeros; each MiB costs a kilobyte and no time to make."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * mebibytes + b"\x03\x00" + bytes(8)


def zstd_frame(plain: bytes | Iterable[bytes], **options: int) -> bytes:
    """One honest frame; options by the names of ``zstd.CompressionParameter``."""
    pieces = (plain,) if isinstance(plain, bytes) else plain
    named: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    named |= {zstd.CompressionParameter[name]: value for name, value in options.items()}
    packer = zstd.ZstdCompressor(options=named)
    return b"".join(packer.compress(piece) for piece in pieces) + packer.flush()


def zstd_raw(plain: bytes, *, window: int, zeros: int = 0, dictionary: int = 0) -> bytes:
    """A frame of stored blocks, then of this many zeros; ``window`` as the exponent of its size."""
    descriptor = 3 if dictionary else 0
    head = bytes([descriptor, (window - 10) << 3]) + (
        struct.pack("<I", dictionary) if dictionary else b""
    )
    most = min(_MOST_IN_BLOCK, 1 << window)
    blocks = [_block(0, len(p), p) for p in _pieces(plain, most)]
    blocks += [_block(_RLE, _MOST_IN_BLOCK, b"\x00")] * (zeros // _MOST_IN_BLOCK)
    return ZSTD_MAGIC + head + b"".join(blocks) + _block(0, 0, b"", last=True)


def _pieces(plain: bytes, most: int) -> Iterator[bytes]:
    return (plain[at : at + most] for at in range(0, len(plain), most))


def _block(kind: int, size: int, content: bytes, *, last: bool = False) -> bytes:
    return struct.pack("<I", last | kind << 1 | size << 3)[:3] + content


def skippable(content: bytes) -> bytes:
    """A zstd frame that readers pass over."""
    return b"\x50\x2a\x4d\x18" + struct.pack("<I", len(content)) + content
