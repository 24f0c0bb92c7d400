"""Sizes, checksums, extended headers and ends of archives: M30 to M35, M41, M42."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from gkm.core.image import LARGEST_CACHE
from gkm.oci.names import MOST_NAMES
from tests.extract import packing
from tests.extract import tarbytes as t
from tests.extract.images import GOOD, LABELS, Image, Layer, P, image
from tests.extract.row import WITH_GOOD, Hashes, Refused, Row, bad, good, hashes
from tests.images import digest

A = P + b"a"
ONLY = "only regular files and directories belong in a cache"
EARLY, AFTER = "the archive ends too early", "data follows the end of the archive"
SUM, OCTAL, DISAGREE = "checksum is wrong", "holds no octal digits", "two headers disagree"
NO_FILE = Refused("NotACacheImage", ("no file below 'io.triton.cache/'",))
FULL = Refused("NoSpace", ("volume full", "raise spec.storageSize"), again=True)
MOST = f"more than {MOST_NAMES} files and directories"


def _smuggled() -> list[Row]:
    """A size that belongs to another header than the reader thinks (CVE-2025-62518)."""
    inner = t.file(P + b"inner", b"evil") + t.END
    sized = t.pax((b"size", b"%d" % len(inner)))
    applied = "io.triton.cache/a"
    return [
        bad("M31", "pax-size-over-zero", sized, t.header(A, 0), inner, says=(applied, DISAGREE)),
        bad("M31", "pax-then-long-name", sized, t.long_name(A), inner, says=("LongLink", ONLY)),
        bad("M31", "long-name-then-pax", t.long_name(A), sized, t.file(A), says=(applied, ONLY)),
        bad("M31", "pax-then-pax", sized, t.pax((b"path", A)), t.file(A), says=("x", ONLY)),
        bad("M31", "long-link", t.long_name(b"/etc/passwd", t.LONG_LINK), t.file(A),
            says=("LongLink", ONLY)),
        bad("M31", "global-size", t.pax((b"size", b"1536"), kind=t.GLOBAL), t.file(A), inner,
            says=("PaxHeaders/x", ONLY)),
        bad("M31", "long-name-for-nothing", t.long_name(A), says=("stands before nothing",)),
        bad("M31", "size-on-a-folder", t.header(P + b"d", 1536, t.FOLDER), inner,
            says=("cache/d", "a size of 1536 bytes is not possible here")),
        good("M31", "archive-in-a-file", t.file(A, inner), tree={"a": inner}),
    ]  # fmt: skip


def _flood() -> list[Row]:
    """Headers without end, or very long."""
    comment = t.pax((b"comment", b"c" * 65_000))
    many = b"".join(t.record(b"k%d" % n, b"") for n in range(1_000_000))
    million = t.header(b"PaxHeaders/x", len(many), t.PAX) + t.padded(many) + t.file(A)

    def endless() -> bytes:
        return b"".join(comment + t.file(A + b"%d" % n) for n in range(1100))

    limit = "at most 65536 are read"
    return [
        bad("M32", "million-records", million, says=("extended header", limit)),
        bad("M32", "long-name-of-2-gib", t.header(b"././@LongLink", 2 << 30, t.LONG_NAME),
            says=("extended header", limit)),
        bad("M32", "pax-headers-only", comment * 100, t.file(A), says=("PaxHeaders/x", ONLY)),
        Row("M32", "comments-without-end", lambda: image(GOOD, endless()),
            Refused("BrokenLayer", ("sha256:", "far more than it can hold"))),
        Row("M32", "comments-without-end-that-do-not-shrink",
            lambda: Image((_noisy(endless()),)),
            Refused("BadArchive", ("cache/a", "larger than any cache GKM unpacks"))),
        bad("M32", "malformed-record", t.header(b"x", 9, t.PAX) + t.padded(b"99 path=x"),
            t.file(A), says=("pax header", "malformed")),
        bad("M32", "record-twice", t.pax((b"path", A), (b"path", A)), t.file(A),
            says=("b'path'", "stands twice")),
    ]  # fmt: skip


def _noisy(body: bytes) -> Layer:
    """A layer of stored blocks: it does not shrink."""
    tar = GOOD + body + t.END
    return Layer(packing.gzip(tar, level=0), digest(tar))


def _ends() -> list[Row]:
    whole = t.file(A, b"x" * 600)
    cuts = {"in-a-header": 100, "in-a-file": 700, "in-its-padding": 1300, "before-the-end": 1536}
    zeros = bytes(2 << 20)
    return [
        *(bad("M34", f"cut-{w}", whole[:at], says=("(end)", EARLY), end=b"")
          for w, at in cuts.items()),
        bad("M34", "one-end-block", whole, says=("(end)", EARLY), end=bytes(512)),
        good("M34", "end-filled-up", whole, t.END, bytes(8192), tree={"a": b"x" * 600}),
        bad("M33", "end-that-goes-on", whole, t.END, zeros, says=("(end)", AFTER)),
        bad("M33", "member-after-the-end", t.END, whole, says=("(end)", AFTER)),
        bad("M33", "member-after-one-zero-block", bytes(512), whole, says=("(end)", AFTER)),
        bad("M33", "text-after-the-end", whole, t.END, b"text", says=("(end)", AFTER)),
        bad("M33", "wrong-checksum", t.header(A, checksum=b"000001\x00 "), says=("cache/a", SUM)),
        bad("M33", "zero-checksum", t.header(A, checksum=b"000000\x00 "), says=("cache/a", SUM)),
        bad("M33", "no-checksum", t.header(A, checksum=bytes(8)), says=("cache/a", OCTAL)),
        bad("M33", "text-for-a-header", b"text" * 128, says=("text", OCTAL)),
        bad("M33", "old-format", t.header(A, magic=t.V7), says=("cache/a", "not a ustar")),
    ]  # fmt: skip


def _empty() -> list[Row]:
    """``NotACacheImage`` is what GKM calls an image without a cache in it."""

    def row(what: str, *parts: bytes, expected: Refused = NO_FILE, end: bytes = t.END) -> Row:
        return Row("M35", what, lambda: image(*parts, end=end), expected)

    return [
        row("end-only"), row("zeros", bytes(10240)), row("folders-only", t.folder(P + b"d/")),
        row("nothing-below-our-prefix", t.file(b"etc/passwd", b"x")),
        row("manifest-only", t.file(b"io.triton.manifest/manifest.json", b"{}")),
        row("not-a-byte", end=b"", expected=Refused("BadArchive", (EARLY,))),
        Row("M35", "no-layers", lambda: Image(()), Refused("NotACacheImage", ("no layer that",))),
    ]  # fmt: skip


def _files(count: int) -> Iterator[bytes]:
    return (t.file(P + b"d/%06d" % number) for number in range(count))


def many(members: Iterable[bytes], **fields: Any) -> Image:
    """An image of very many members, which are never in memory all together."""
    plain = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for one in chain((GOOD,), members, (t.END,)):
            plain.update(one)
            yield one

    stream = packing.gzip(hashed(), level=1)
    return Image((Layer(stream, f"sha256:{plain.hexdigest()}"),), **fields)


def _folders(where: bytes, count: int) -> Iterator[bytes]:
    return (t.folder(where + b"%07d/" % number) for number in range(count))


def _implied(where: bytes, count: int) -> Iterator[bytes]:
    """Files, each below 50 folders that no other has."""
    for number in range(count):
        path = where + b"".join(b"%05d%02d/" % (number, depth) for depth in range(50)) + b"f"
        yield t.pax((b"path", path)) + t.file(b"f")


def _wide(count: int) -> Iterator[bytes]:
    """Names of which each takes 4 KiB in memory: one sign beyond the first plane, then letters."""
    start = "\U0001f600".encode()
    parts = b"/" + b"n" * 230 + b"/" + b"n" * 230 + b"/" + b"n" * 230 + b"/"
    for number in range(count):
        yield t.pax((b"path", start + b"%06d" % (number // 100) + parts + b"%0200d" % number)) + (
            t.file(b"f")
        )


def _tree(count: int) -> Hashes:
    return {**hashes(WITH_GOOD), "d": None} | {f"d/{n:06d}": digest(b"") for n in range(count)}


def _in_many(
    what: str,
    build: Callable[[], Image],
    expected: Refused | Callable[[], Hashes],
    *,
    slow: bool = False,
) -> Row:
    return Row("M41", what, build, expected, slow=slow, trace=False)


def _many() -> list[Row]:
    most = MOST_NAMES - 4  # the good file, its folder, the cache's and theirs
    too_many = Refused("BadArchive", ("archive member", MOST))
    return [
        _in_many("files-in-one-folder", lambda: many(_files(5_000)), lambda: _tree(5_000)),
        _in_many("60000-files-in-one-folder", lambda: many(_files(60_000)),
                 lambda: _tree(60_000), slow=True),
        _in_many("as-many-as-there-may-be", lambda: many(_files(most)), lambda: _tree(most),
                 slow=True),
        _in_many("one-too-many", lambda: many(_files(most + 1)),
                 Refused("BadArchive", (f"d/{most:06d}", MOST)), slow=True),
        _in_many("too-many-folders", lambda: many(_folders(P, MOST_NAMES)), too_many, slow=True),
        _in_many("a-million-folders", lambda: many(_folders(P, 1_000_000)), too_many, slow=True),
        _in_many("too-many-folders-below-others", lambda: many(_implied(P, 2_500)), too_many,
                 slow=True),
        # Outside of the cache they are counted, too, but not written: so it takes less time.
        _in_many("too-many-folders-elsewhere", lambda: many(_folders(b"", MOST_NAMES)), too_many),
        _in_many("too-many-folders-below-others-elsewhere", lambda: many(_implied(b"", 2_500)),
                 too_many),
        _in_many("names-that-take-much-memory", lambda: many(_wide(20_000)),
                 lambda: hashes(WITH_GOOD)),
        Row("M41", "more-than-the-volume-has-inodes", lambda: many(_files(3_000)), FULL,
            room="size=64m,nr_inodes=2000"),
    ]  # fmt: skip


def _room() -> list[Row]:
    """A volume of 8 MiB. What the image promises is asked for before the first byte is written."""
    big, just = t.file(A, b"x" * (9 << 20)), t.file(A, b"x" * (8 << 20))
    size = {"cache.triton.image/cache-size-bytes": str((9 << 20) + 4)}
    labels, small = {**LABELS, **size}, "size=8m"
    sizes = {**LABELS, "cache.triton.image/cache-size-bytes": str(LARGEST_CACHE + 1)}
    return [
        Row("M42", "promised-more-than-is-free", lambda: image(GOOD, big, labels=labels),
            FULL, room=small),
        Row("M42", "not-promised-more-than-is-free", lambda: image(GOOD, big), FULL, room=small),
        Row("M42", "just-more-than-is-free", lambda: image(GOOD, just), FULL, room=small),
        Row("M42", "packed-more-than-is-free", lambda: Image((_noisy(big),)), FULL, room=small),
        Row("M42", "more-than-the-claim", lambda: image(GOOD, big),
            Refused("TooLarge", ("spec.storageSize allows 4096",)), options=("--at-most", "4096")),
        Row("M42", "promised-more-than-any-cache", lambda: image(GOOD, labels=sizes),
            Refused("TooLarge", (f"{LARGEST_CACHE + 1} bytes",))),
        bad("M42", "file-larger-than-any", t.header(A, (4 << 30) + 1),
            says=("cache/a", "is not possible here")),
        bad("M42", "header-larger-than-the-archive", t.header(A, 4 << 30), says=(EARLY,)),
    ]  # fmt: skip


ROWS: list[Row] = [
    bad("M30", "more-than-there-is", t.header(A, 5_000), t.padded(b"x" * 600), says=(EARLY,)),
    bad("M30", "less-than-there-is", t.header(A, 10), t.padded(b"x" * 600), says=(OCTAL,)),
    *(
        bad("M30", what, t.header(A, size), t.padded(b"x" * 600), says=("cache/a", why))
        for what, size, why in (
            ("octal-junk", b"0000x1130\x00", OCTAL),
            ("digits-after-a-zero-byte", b"0001\x001\x00", OCTAL),
            ("minus", b"-0000000001\x00", OCTAL),
            ("blank", b" " * 11, OCTAL),
            ("base-256", t.binary(600, 12), OCTAL),
            ("base-256-minus", t.binary(-1, 12), OCTAL),
            ("2^63", t.binary(1 << 63, 12), OCTAL),
            ("largest-octal", b"7" * 11, "is not possible here"),
        )
    ),
    bad("M30", "junk-in-the-mode", t.file(A, mode=b"rw-r--r-"), says=("cache/a", OCTAL)),
    bad("M30", "junk-in-the-time", t.file(A, mtime=b"today"), says=("cache/a", OCTAL)),
    bad("M30", "pax-says-another", t.pax((b"size", b"5")), t.file(A, b"x"),
        says=("cache/a", DISAGREE)),
    bad("M30", "pax-says-no-number", t.pax((b"size", b"0x1")), t.file(A, b"x"),
        says=("cache/a", DISAGREE)),
    good("M30", "pax-says-the-same", t.pax((b"size", b"1")), t.file(A, b"x"), tree={"a": b"x"}),
    *_smuggled(),
    *_flood(),
    *_ends(),
    *_empty(),
    *_many(),
    *_room(),
]  # fmt: skip
