"""Tar archives byte by byte: what no writer of archives would write.

Formats: POSIX.1-2001 ("ustar Interchange Format", "pax Interchange Format"), GNU tar's tar.h.
"""

BLOCK = 512
USTAR, GNU, V7 = b"ustar\x0000", b"ustar  \x00", bytes(8)
END = bytes(2 * BLOCK)
FILE, LINK, SYMLINK, FOLDER, PAX, GLOBAL, LONG_NAME, LONG_LINK, SPARSE = (
    b"0", b"1", b"2", b"5", b"x", b"g", b"L", b"K", b"S",
)  # fmt: skip
Field = bytes | int


def number(value: Field, width: int) -> bytes:
    """A number field: octal as usual, or these very bytes."""
    if isinstance(value, bytes):
        return value.ljust(width, b"\x00")
    return b"%0*o\x00" % (width - 1, value)


def binary(value: int, width: int) -> bytes:
    """A number as GNU writes those that octal digits cannot hold."""
    raw = (value & ((1 << 8 * width) - 1)).to_bytes(width, "big")
    return bytes([0xFF if value < 0 else 0x80]) + raw[1:]


def header(name: bytes, size: Field = 0, kind: bytes = FILE, **fields: Field) -> bytes:
    """One header block; ``checksum`` replaces the right one, ``rest`` is what follows offset 345.

    Other fields: mode, uid, gid, mtime, link, magic, uname.
    """
    raw = bytearray(BLOCK)

    def put(start: int, text: Field, width: int = 0) -> None:
        found = number(text, width) if width else text
        assert isinstance(found, bytes)
        raw[start : start + len(found)] = found

    put(0, name[:100])
    put(100, fields.get("mode", 0o755 if kind == FOLDER else 0o644), 8)
    put(108, fields.get("uid", 1000), 8)
    put(116, fields.get("gid", 1000), 8)
    put(124, size, 12)
    put(136, fields.get("mtime", 1_700_000_000), 12)
    put(156, kind)
    put(157, fields.get("link", b""))
    put(257, fields.get("magic", USTAR))
    put(265, fields.get("uname", b"user"))
    put(345, fields.get("rest", b""))
    raw[148:156] = b" " * 8
    put(148, fields.get("checksum", b"%06o\x00 " % sum(raw)))
    assert len(raw) == BLOCK
    return bytes(raw)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def file(name: bytes, content: bytes = b"", **fields: Field) -> bytes:
    """A regular file; a field of ``header`` may say otherwise."""
    return header(name, len(content), FILE, **fields) + padded(content)


def folder(name: bytes, **fields: Field) -> bytes:
    return header(name, 0, FOLDER, **fields)


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, 0, SYMLINK, link=target[:100])


def hardlink(name: bytes, target: bytes) -> bytes:
    return header(name, 0, LINK, link=target[:100])


def record(key: bytes, value: bytes) -> bytes:
    """One line of a pax header, with its own length before it."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length += len(str(length)) - len(str(rest))
    return b"%d %s=%s\n" % (length, key, value)


def pax(*records: tuple[bytes, bytes], kind: bytes = PAX) -> bytes:
    """A pax header; it describes the member after it."""
    raw = b"".join(record(key, value) for key, value in records)
    return header(b"PaxHeaders/x", len(raw), kind) + padded(raw)


def long_name(name: bytes, kind: bytes = LONG_NAME) -> bytes:
    """GNU's header for a long name, or a long target of a link."""
    raw = name + b"\x00"
    return header(b"././@LongLink", len(raw), kind, magic=GNU) + padded(raw)
