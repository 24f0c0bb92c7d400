"""Archives and compressed streams, changed at random; the same number makes the same change."""

from collections.abc import Callable, Sequence
from random import Random

from tests.extract import tarbytes as t

_NAMES = (
    b"../../x", b"/abs", b"", b".", b"a\x00b", b"io.triton.cache/.wh.x", b"io.triton.cache/KEY",
    b"io.triton.cache/../x", b"n" * 100, b"io.triton.cache/.gkm/complete", b"\xff", b"a\\b",
)  # fmt: skip
_SIZES = (
    b"77777777777", b"00000000000", b"00000001000", b"-1", b"\x80" + bytes(11), b"\xff" * 12,
    b"0x10", b"20000000000",
)  # fmt: skip
_RECORDS = (
    (b"path", b"io.triton.cache/new"), (b"path", b"../x"), (b"size", b"1"), (b"size", b"0"),
    (b"linkpath", b"/etc"), (b"GNU.sparse.major", b"1"), (b"mtime", b"1e400"), (b"uid", b"x"),
    (b"hdrcharset", b"BINARY"), (b"SCHILY.xattr.user.x", b"\x00\x01"), (b"path", b""),
)  # fmt: skip
_KINDS = b"0125LKxgXSD7VMNA\x00\xff346s"
_FIELDS = ((0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (148, 8), (157, 100),
           (257, 8), (265, 32), (297, 32), (329, 8), (337, 8), (345, 155), (500, 12))  # fmt: skip


def of_bytes(raw: bytes, random: Random) -> bytes:
    """Change, take away, repeat or add some bytes anywhere."""
    found = bytearray(raw)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(found) + 1)
        length = random.choice((1, 1, 2, 4, 16, 512))
        change = random.randrange(5)
        if change == 0:
            found[at : at + 1] = bytes([random.randrange(256)])
        elif change == 1 and at < len(found):
            found[at] ^= 1 << random.randrange(8)
        elif change == 2:
            del found[at : at + length]
        elif change == 3:
            found[at:at] = found[at : at + length]
        else:
            found[at:at] = random.randbytes(length)
    return bytes(found)


def of_tar(raw: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Change blocks and fields of headers; most checksums are made right again."""
    blocks = [raw[at : at + t.BLOCK] for at in range(0, len(raw), t.BLOCK)]
    for _ in range(random.randint(1, 3)):
        random.choice(_CHANGES)(blocks, others, random)
    if random.random() < 0.8:
        blocks = [_summed(block) for block in blocks]
    found = b"".join(blocks)
    return of_bytes(found, random) if random.random() < 0.1 else found


Change = Callable[[list[bytes], Sequence[bytes], Random], None]


def _headers(blocks: list[bytes]) -> list[int]:
    return [at for at, block in enumerate(blocks) if block[257:262] == b"ustar"] or [0]


def _field(blocks: list[bytes], _: Sequence[bytes], random: Random) -> None:
    at = random.choice(_headers(blocks))
    start, length = random.choice(_FIELDS)
    values = {0: _NAMES, 345: _NAMES, 157: _NAMES, 124: _SIZES, 257: (t.USTAR, t.GNU, t.V7)}
    chosen = random.choice((*values.get(start, _SIZES), random.randbytes(length)))
    text = chosen[:length].ljust(length, b"\x00")
    blocks[at] = blocks[at][:start] + text + blocks[at][start + length :]


def _kind(blocks: list[bytes], _: Sequence[bytes], random: Random) -> None:
    at = random.choice(_headers(blocks))
    blocks[at] = blocks[at][:156] + bytes([random.choice(_KINDS)]) + blocks[at][157:]


def _byte(blocks: list[bytes], _: Sequence[bytes], random: Random) -> None:
    at = random.choice(_headers(blocks))
    place = random.randrange(t.BLOCK)
    blocks[at] = blocks[at][:place] + bytes([random.randrange(256)]) + blocks[at][place + 1 :]


def _extended(blocks: list[bytes], _: Sequence[bytes], random: Random) -> None:
    records = random.choices(_RECORDS, k=random.randint(1, 3))
    header = random.choice((t.pax(*records), t.long_name(random.choice(_NAMES))))
    at = random.choice((*_headers(blocks), random.randrange(len(blocks) + 1)))
    blocks[at:at] = [header[n : n + t.BLOCK] for n in range(0, len(header), t.BLOCK)]


def _moved(blocks: list[bytes], _: Sequence[bytes], random: Random) -> None:
    block = blocks[random.randrange(len(blocks))]
    blocks.insert(random.randrange(len(blocks) + 1), block)
    if random.random() < 0.5:
        del blocks[random.randrange(len(blocks))]


def _zeros(blocks: list[bytes], _: Sequence[bytes], random: Random) -> None:
    at = random.randrange(len(blocks) + 1)
    blocks[at:at] = [bytes(t.BLOCK)] * random.randint(1, 3)


def _cut(blocks: list[bytes], _: Sequence[bytes], random: Random) -> None:
    del blocks[random.randrange(1, len(blocks) + 1) :]


def _spliced(blocks: list[bytes], others: Sequence[bytes], random: Random) -> None:
    other = random.choice(others)
    start = random.randrange(0, len(other), t.BLOCK)
    end = start + t.BLOCK * random.randint(1, 4)
    at = random.randrange(len(blocks) + 1)
    blocks[at:at] = [other[n : n + t.BLOCK] for n in range(start, min(end, len(other)), t.BLOCK)]


_CHANGES: tuple[Change, ...] = (
    *(_field, _field, _field, _kind, _byte, _byte, _extended, _extended),
    *(_moved, _zeros, _cut, _spliced),
)


def _summed(block: bytes) -> bytes:
    if block[257:262] != b"ustar" or len(block) < t.BLOCK:
        return block
    blank = block[:148] + b" " * 8 + block[156:]
    return blank[:148] + b"%06o\x00 " % sum(blank) + blank[156:]
