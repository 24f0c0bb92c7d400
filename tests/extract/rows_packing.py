"""Compression, and what a layer's digests promise: M36 to M40."""

import lzma
import struct
import zipfile
from io import BytesIO

from gkm.oci import media
from tests.extract import packing
from tests.extract import tarbytes as t
from tests.extract.images import GOOD, Image, Layer, P, layer, packed
from tests.extract.row import WITH_GOOD, Refused, Row, Tree
from tests.images import digest

TAR = GOOD + t.END
GZIP = packing.gzip(TAR)
BROKEN, MORE, CUT = "does not decompress", "unpacks to far more than it can hold", "ends too early"
ZSTD = media.OCI_LAYER_ZSTD
_NESTED = t.file(P + b"inner.tar.gz", packing.gzip(packing.gzip(bytes(1 << 20))))
_BOMB = t.header(P + b"zeros", 4 << 30)
_BROTLI = b"\x0b\x02\x80hello\x03"


def _row(number: str, what: str, stream: bytes, expected: Refused | Tree, **how: str) -> Row:
    kind = how.get("media_type", media.OCI_LAYER_GZIP)
    return Row(number, what, lambda: Image((packed(stream, TAR, kind),)), expected)


def _gzip(what: str, stream: bytes, *words: str, number: str = "M36") -> Row:
    return _row(number, what, stream, Refused("BrokenLayer", (digest(stream), *words)))


def _taken(what: str, stream: bytes) -> Row:
    return _row("M36", what, stream, WITH_GOOD)


def _zstd(what: str, stream: bytes, *words: str) -> Row:
    """Refused with these words, or taken."""
    expected = Refused("BrokenLayer", (digest(stream), *words)) if words else WITH_GOOD
    return _row("M38", what, stream, expected, media_type=ZSTD)


def _flipped(stream: bytes, at: int) -> bytes:
    raw = bytearray(stream)
    raw[at] ^= 1
    return bytes(raw)


def _small_files() -> bytes:
    """Far more than 64 MiB, of which nearly nothing is left."""
    part = t.file(P + b"f", bytes(1 << 20))
    return GOOD + b"".join(t.file(P + b"%d" % n, part) for n in range(100)) + t.END


def _zip() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("KEY/good.ptx", b"good")
    return out.getvalue()


def _wrong(what: str, images: Image, *words: str) -> Row:
    return Row("M40", what, lambda: images, Refused("BadImage", words))


_ONE, _TWO = layer(GOOD), layer(t.file(P + b"two", b"2"))
_HALF = len(TAR) // 2
ROWS: list[Row] = [
    _gzip("truncated", GZIP[:-9], CUT),
    _gzip("cut-in-the-header", GZIP[:5], CUT),
    _gzip("nothing", b"", CUT),
    _gzip("wrong-crc", _flipped(GZIP, -8), BROKEN),
    _gzip("wrong-size", _flipped(GZIP, -4), BROKEN),
    _gzip("garbage-after-it", GZIP + b"garbage-garbage-garbage", BROKEN),
    _gzip("zeros-after-it", GZIP + bytes(512), BROKEN),
    _gzip("reserved-flags", packing.gzip_with(TAR, 0xE0), BROKEN),
    _gzip("wrong-header-crc", packing.gzip_with(TAR, 2, b"\x00\x00"), BROKEN),
    _gzip("many-empty-members", GZIP + packing.gzip(b"") * 10_001, MORE),
    _gzip("million-empty-members", packing.gzip(b"") * 1_000_000, MORE),
    _gzip("name-of-1-mib", packing.gzip_with(TAR, 8, b"n" * (1 << 20) + b"\x00"), "too long"),
    _gzip("comment-of-1-mib", packing.gzip_with(TAR, 16, b"c" * (1 << 20) + b"\x00"), "too long"),
    _gzip("name-without-end", packing.gzip_with(TAR, 8, b"n" * (1 << 20))[: 1 << 20], "too long"),
    _taken("all-fields", packing.gzip_with(
        TAR, 0x1C, struct.pack("<H", 65_535) + bytes(65_535) + b"name\x00comment\x00")),
    _taken("two-members", packing.gzip(TAR[:_HALF]) + packing.gzip(TAR[_HALF:])),
    _taken("empty-member-first", packing.gzip(b"") + GZIP),
    _gzip("bomb-of-10-gib", packing.gzip_bomb(_BOMB, 10_240), MORE, number="M37"),
    Row("M37", "many-small-files", lambda: Image((packed(packing.gzip(_small_files(), 9)),)),
        Refused("BrokenLayer", ("sha256:", MORE))),
    Row("M37", "packed-twice", lambda: Image((packed(packing.gzip(GZIP), GZIP),)),
        Refused("BadArchive", ("the archive ends too early",))),
    Row("M37", "bomb-in-a-file", lambda: Image((layer(GOOD, _NESTED),)),
        {**WITH_GOOD, "inner.tar.gz": packing.gzip(packing.gzip(bytes(1 << 20)))}),
    _zstd("bomb-of-10-gib", packing.zstd_raw(_BOMB, window=23, zeros=10 << 30), MORE),
    _zstd("window-of-2-gib", packing.zstd_raw(TAR, window=31), BROKEN, "Frame requires too much"),
    _zstd("window-of-16-mib", packing.zstd_raw(TAR, window=24), BROKEN, "Frame requires too much"),
    _zstd("window-of-8-mib", packing.zstd_raw(TAR, window=23)),
    _zstd("one-frame", packing.zstd_frame(TAR)),
    _zstd("no-content-size", packing.zstd_frame(TAR, content_size_flag=0)),
    _zstd("two-frames", packing.zstd_frame(TAR[:_HALF]) + packing.zstd_frame(TAR[_HALF:])),
    _zstd("skippable-frames", packing.skippable(b"s" * 100_000) + packing.zstd_frame(TAR)
          + packing.skippable(b"")),
    _zstd("many-skippable-frames", packing.skippable(b"") * 10_001 + packing.zstd_frame(TAR), MORE),
    _zstd("dictionary", packing.zstd_raw(TAR, window=20, dictionary=77), BROKEN, "ictionary"),
    _zstd("wrong-checksum", _flipped(packing.zstd_frame(TAR), -1), BROKEN, "checksum"),
    _zstd("truncated", packing.zstd_frame(TAR)[:-5], CUT),
    _zstd("garbage-after-it", packing.zstd_frame(TAR) + b"garbage", BROKEN),
    *(_gzip(f"gzip-that-is-{what}", stream, "tar+gzip", number="M39") for what, stream in (
        ("zstd", packing.zstd_frame(TAR)), ("tar", TAR), ("zip", _zip()),
        ("xz", lzma.compress(TAR)),
        ("brotli", _BROTLI), ("zlib", b"\x78\x9c" + GZIP[10:]), ("deflate", GZIP[10:]),
    )),
    _row("M39", "zstd-that-is-gzip", GZIP, Refused("BrokenLayer", (digest(GZIP), "tar+zstd")),
         media_type=ZSTD),
    _wrong("diff-id-of-other-bytes", Image((Layer(GZIP, digest(b"other")),)),
           digest(GZIP), "does not unpack to its diffID"),
    _wrong("one-diff-id-too-few",
           Image((_ONE, _TWO), config={"rootfs": {"diff_ids": [digest(TAR)]}}),
           "2 layers but 1 diff_ids"),
    _wrong("no-diff-ids", Image((_ONE,), config={"rootfs": {}}), "'diff_ids'"),
    _wrong("diff-ids-of-another-kind", Image((_ONE,), config={"rootfs": {"diff_ids": ["md5:1"]}}),
           "not all sha256 digests"),
    _wrong("layer-twice", Image((_ONE, _ONE)), "lists a layer twice"),
    _wrong("layers-in-another-order",
           Image((_ONE, _TWO), config={"rootfs": {"diff_ids": [_TWO.diff_id, _ONE.diff_id]}}),
           digest(GZIP), "does not unpack to its diffID"),
]  # fmt: skip
