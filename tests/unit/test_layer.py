"""Decompression with limits, the diffID, and which layers are read at all."""

import gzip
import struct
import zlib
from collections.abc import Iterator, Sequence

import pytest
from backports import zstd

from gkm.api.errors import Rejected
from gkm.oci import media
from gkm.oci.inflate import inflate
from gkm.oci.layer import Layer, checked, readable_layers
from gkm.oci.manifest import Config, Descriptor, Manifest
from gkm.oci.registry import Image
from tests.extract.packing import gzip_with
from tests.images import digest

GZIP, ZSTD = media.OCI_LAYER_GZIP, media.OCI_LAYER_ZSTD
TEXT = b"kernel " * 50_000


def chunks(raw: bytes, size: int = 777) -> Iterator[bytes]:
    return (raw[at : at + size] for at in range(0, len(raw), size))


def unpacked(kind: str, raw: bytes) -> bytes:
    return b"".join(inflate(Descriptor(kind, digest(raw), len(raw)), chunks(raw)))


@pytest.mark.parametrize(("kind", "pack"), [(GZIP, gzip.compress), (ZSTD, zstd.compress)])
def test_what_was_compressed_comes_back(kind: str, pack: object) -> None:
    assert callable(pack)
    assert unpacked(kind, pack(TEXT)) == TEXT
    assert unpacked(kind, pack(TEXT) + pack(b"tail")) == TEXT + b"tail"
    for broken in (pack(TEXT)[:-3], pack(TEXT) + b"garbage", b"", b"PK\x03\x04" + bytes(50)):
        with pytest.raises(Rejected):
            unpacked(kind, broken)


def test_a_wrong_checksum_is_refused() -> None:
    raw = bytearray(gzip.compress(TEXT))
    raw[-6] ^= 1
    with pytest.raises(Rejected):
        unpacked(GZIP, bytes(raw))


EXTRA, NAME, COMMENT = struct.pack("<H", 22) + b"e" * 22, b"name\x00", b"comment\x00"
HEADER_CRC = struct.pack("<H", zlib.crc32(b"\x1f\x8b\x08\x02" + bytes(5) + b"\xff") & 0xFFFF)


@pytest.mark.parametrize("size", [1, 7, 13, 100, 1 << 20])
@pytest.mark.parametrize(
    ("flags", "fields"),
    [(0, b""), (4, EXTRA), (8, NAME), (16, COMMENT), (0x1C, EXTRA + NAME + COMMENT),
     (2, HEADER_CRC)],
)  # fmt: skip
def test_a_gzip_header_may_have_every_field_and_come_in_pieces(
    flags: int, fields: bytes, size: int
) -> None:
    raw = gzip_with(TEXT, flags, fields) * 2
    layer = Descriptor(GZIP, digest(raw), len(raw))
    assert b"".join(inflate(layer, chunks(raw, size))) == TEXT * 2


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("flags", "fields"),
    [(0x20, b""), (0x80, b""), (2, b"\x00\x00"), (8, b"n" * (1 << 18) + b"\x00"),
     (16, b"c" * (1 << 18))],
)  # fmt: skip
def test_a_gzip_header_that_breaks_the_rules_is_refused_however_it_comes(
    flags: int, fields: bytes, size: int
) -> None:
    raw = gzip_with(TEXT, flags, fields)
    layer = Descriptor(GZIP, digest(raw), len(raw))
    with pytest.raises(Rejected, match=r"BrokenLayer.*header"):
        b"".join(inflate(layer, chunks(raw, max(size, len(fields) // 1000))))


def test_the_media_type_is_believed() -> None:
    with pytest.raises(Rejected):
        unpacked(GZIP, zstd.compress(TEXT))


def test_a_bomb_stops_at_the_ratio() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    raw = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(200)) + bomb.flush()
    with pytest.raises(Rejected, match="far more"):
        unpacked(GZIP, raw)


def test_members_without_end_are_refused() -> None:
    with pytest.raises(Rejected, match="far more"):
        unpacked(GZIP, gzip.compress(b"") * 10_001)


def test_a_zstd_window_beyond_8_mib_is_refused() -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=options)
    raw = packer.compress(bytes(10)) + packer.flush()
    with pytest.raises(Rejected):
        unpacked(ZSTD, raw)


def test_the_diff_id_covers_every_byte() -> None:
    packed = gzip.compress(TEXT)
    named = Descriptor(GZIP, digest(packed), len(packed))
    assert b"".join(checked((named, digest(TEXT)), inflate(named, chunks(packed)))) == TEXT
    with pytest.raises(Rejected, match="diffID"):
        b"".join(checked((named, digest(b"other")), inflate(named, chunks(packed))))


def layers_of(found: Image) -> Sequence[Layer]:
    return readable_layers(found.manifest.layers, found.config.diff_ids)


def image(*types: str, diff_ids: int | None = None) -> Image:
    layers = tuple(Descriptor(t, digest(bytes([n])), 1) for n, t in enumerate(types))
    known = tuple(digest(b"") for _ in range(len(types) if diff_ids is None else diff_ids))
    return Image("", Manifest(Descriptor("", "", 0), layers), Config({}, known))


def test_layers_of_images_are_read_and_others_left_out() -> None:
    found = layers_of(image(media.DOCKER_LAYER_GZIP, "text/plain", GZIP, ZSTD))
    assert [layer.media_type for layer, _ in found] == [media.DOCKER_LAYER_GZIP, GZIP, ZSTD]
    artifact = "application/cache.triton.content.layer.v1+triton"
    assert len(layers_of(image(artifact))) == 1


@pytest.mark.parametrize(
    "broken",
    [
        image(),
        image("application/vnd.oci.image.layer.v1.tar"),
        image("application/cache.triton.content.layer.v1+triton", "text/plain"),
        image(GZIP, diff_ids=2),
    ],
)
def test_an_image_without_readable_layers_is_refused(broken: Image) -> None:
    with pytest.raises(Rejected):
        layers_of(broken)
