"""Names of members: M1 to M13, M27, M28, M44."""

from tests.extract import tarbytes as t
from tests.extract.images import GOOD, Image, P, image, layer
from tests.extract.row import WITH_GOOD, Refused, Row, bad, good

RELATIVE = "expected a relative path without empty, '.' or '..' parts"
HIDDEN = "a backslash, a drive, a control or an invisible character in its name"
UTF8 = "the name is no UTF-8"
TWICE = "stands twice"
BOTH = "is a file and a directory"
WHITEOUT = "a whiteout; a cache image only adds files"
LONG, DEEP, PART = "longer than 1024 bytes", "more than 64 directories deep", "longer than 255"
OURS = "this name on a volume is GKM's"


def _named(number: str, what: str, name: bytes, why: str, said: str | None = None) -> Row:
    """A file with this name in its header, or in a pax header if it does not fit."""
    parts = (t.file(name, b"x"),)
    if len(name) > 100 or b"\x00" in name:
        parts = (t.pax((b"path", name)) + t.file(b"short", b"x"),)
    shown = repr(name.decode()) if said is None else said
    return bad(number, what, *parts, says=(shown, why))


def _two(number: str, what: str, one: bytes, two: bytes, why: str, said: bytes = b"") -> Row:
    return bad(number, what, one, two, says=((said or two[: two.index(b"\x00")]).decode(), why))


def _across(number: str, what: str, one: bytes, two: bytes, says: tuple[str, ...]) -> Row:
    return Row(
        number, what, lambda: Image((layer(GOOD, one), layer(two))), Refused("BadArchive", says)
    )


def _long() -> list[Row]:
    part, path = b"n" * 300, b"/".join([b"p" * 99] * 50)
    deep, sixty_five = b"d/" * 1500 + b"f", P + b"d/" * 64 + b"f"
    return [
        _named("M12", "component-of-300-bytes", P + part, PART, "io.triton.cache/nnn"),
        _named("M12", "path-of-5000-bytes", path, LONG, "ppppp"),
        _named("M12", "1500-deep", deep, LONG, "d/d/d"),
        _named("M12", "66-deep", sixty_five, DEEP, "io.triton.cache/d/d"),
    ]


def _spellings() -> list[Row]:
    """Two places that give a name."""
    long, other = P + b"KEY/" + b"l" * 120, P + b"KEY/" + b"o" * 120
    short = t.file(P + b"KEY/s", b"x")
    only = "only regular files and directories belong in a cache"
    gnu_prefix = t.header(P + b"g", 0, magic=t.GNU, rest=b"prefix")
    star = t.header(P + b"g", 0, rest=bytes(163) + b"tar")
    prefixed = t.header(b"KEY/s", 1, rest=P[:-1]) + t.padded(b"x")
    tree = {"KEY/" + "l" * 120: b"x"}
    return [
        bad("M13", "overlong-utf8", t.file(P + b"\xc0\xaf", b"x"), says=(UTF8,)),
        bad("M13", "long-name-then-pax", t.long_name(long) + t.pax((b"path", other)) + short,
            says=("l" * 50, only)),
        bad("M13", "pax-then-long-name", t.pax((b"path", other)) + t.long_name(long) + short,
            says=("o" * 50, only)),
        bad("M13", "empty-pax-path", t.pax((b"path", b"")) + short, says=("''", RELATIVE)),
        bad("M13", "gnu-header-with-prefix", gnu_prefix,
            says=("io.triton.cache/g", "used where the format leaves it empty")),
        bad("M13", "star-header", star,
            says=("io.triton.cache/g", "used where the format leaves it empty")),
        bad("M13", "text-after-the-name", t.file(P + b"a\x00b", b"x"), says=("/a", "text after")),
        good("M13", "long-name", t.long_name(long) + short, tree=tree),
        # A pax path is what every reader goes by, whatever the header after it says.
        good("M13", "prefix-and-pax-path", t.pax((b"path", long)) + prefixed, tree=tree),
        good("M13", "prefix", prefixed, tree={"KEY/s": b"x"}),
    ]  # fmt: skip


def _whiteouts() -> list[Row]:
    """The names of containerd's tests; in any layer: a cache image only adds files.

    Whoever packs a cache makes one layer. What the layers of a rebuilt image take away is not
    worth a second way to read them, and would have to be known before the first byte is written.
    """
    names = {
        "file": b"KEY/.wh.good.ptx", "opaque": b"KEY/.wh..wh..opq", "bare": b".wh.",
        "dot": b".wh..", "dot-dot": b".wh...", "root-opaque": b".wh..wh..opq",
        "own-folder": b"KEY/.wh.KEY", "plnk": b".wh..wh.plnk/1", "as-folder": b".wh.KEY/f",
    }  # fmt: skip
    rows = [_named("M27", f"whiteout-{what}", P + name, WHITEOUT) for what, name in names.items()]
    rows += [
        _named("M27", "whiteout-outside-the-cache", b"etc/.wh.passwd", WHITEOUT),
        bad("M27", "whiteout-folder", t.folder(P + b".wh.KEY/"), says=(".wh.KEY", WHITEOUT)),
        _across("M27", "whiteout-in-a-second-layer", b"", t.file(P + b"KEY/.wh.good.ptx"),
                ("KEY/.wh.good.ptx", WHITEOUT)),
        bad("M27", "whiteout-through-a-symlink", t.symlink(P + b"l", b"KEY"),
            t.file(P + b"l/.wh.good.ptx"), says=("/l", "only regular files and directories")),
    ]  # fmt: skip
    return rows


def _twins() -> list[Row]:
    a, key = t.file(P + b"a", b"1"), t.folder(P + b"KEY/")
    same, other = t.file(P + b"a", b"1"), t.file(P + b"a", b"2")
    differs = "another directory differs only in case or normal form"
    acute, grave = "é".encode(), "e\u0301".encode()
    pairs = {
        "normal-forms": (acute, grave), "cases": (b"a", b"A"), "sharp-s": ("ß".encode(), b"SS"),
        "kelvin": (b"k", "\u212a".encode()), "iota": ("\u1fb7".encode(), "\u1fb6\u03b9".encode()),
    }  # fmt: skip
    rows = [
        _two("M10", f"twins-by-{what}", t.file(P + one), t.file(P + two), TWICE)
        for what, (one, two) in pairs.items()
    ]
    return [
        *rows,
        _two("M10", "twin-folders", t.file(P + b"D/x"), t.file(P + b"d/y"), differs, P + b"d"),
        _two("M10", "twin-of-a-parent", t.file(P + b"D/x"), t.file(P + b"d"), BOTH),
        _across("M10", "twins-across-layers", a, t.file(P + b"A"), ("cache/A", TWICE)),
        _two("M28", "same-content", a, same, TWICE),
        _two("M28", "other-content", a, other, TWICE),
        _two("M28", "folder-after-file", a, t.folder(P + b"a/"), TWICE, P + b"a"),
        _two("M28", "folder-twice", t.folder(P + b"d/"), t.folder(P + b"d/"), TWICE, P + b"d"),
        # Every packer squashes a cache into one layer: a later layer that replaces is refused, so
        # that nothing that was written ever has to be taken back.
        _across("M28", "same-content-across-layers", a, same, ("cache/a", TWICE)),
        _across("M28", "other-content-across-layers", a, other, ("cache/a", TWICE)),
        _across("M28", "folder-over-file-across-layers", a, t.folder(P + b"a"), ("cache/a", TWICE)),
        _across("M28", "file-over-folder-across-layers", key, t.file(P + b"KEY"), ("KEY", BOTH)),
        _across("M28", "outside-the-cache-across-layers", t.file(b"etc/a"), t.file(b"etc/a"),
                ("etc/a", TWICE)),
        Row("M28", "folder-across-layers", lambda: Image((layer(GOOD, key), layer(key, a))),
            {**WITH_GOOD, "a": b"1"}),
    ]  # fmt: skip


def _reserved() -> list[Row]:
    names = (b".gkm/complete", b".gkm/manifest.json", b".GKM/complete", b"lost+found/x",
             b"Lost+Found", ".g\u212am/complete".encode(), b".gkm")  # fmt: skip
    manifest = t.file(b"io.triton.manifest/manifest.json", b"{}")
    # What else programs leave on volumes is no secret of ours: it is copied like any file.
    others = (".staging-1/f", ".extract.lock", ".initialized", "complete", "manifest.json")
    tree = {".staging-1": None, **dict.fromkeys(others, b"x")}
    return [
        *(_named("M44", f"reserved-{n}", P + one, OURS) for n, one in enumerate(names)),
        _two("M44", "manifest-twice", manifest, manifest, TWICE),
        good("M44", "names-of-others", *(t.file(P + n.encode(), b"x") for n in others), tree=tree),
    ]


ROWS: list[Row] = [
    _named("M1", "absolute", b"/abs/x", RELATIVE),
    _named("M1", "absolute-with-our-prefix", b"/" + P + b"x", RELATIVE),
    _named("M2", "dot-dot", b"a/../../x", RELATIVE),
    _named("M2", "dot-dot-below-our-prefix", P + b"../../x", RELATIVE),
    _named("M2", "dot-dot-below-the-manifest", b"io.triton.manifest/manifest.json/../../x",
           RELATIVE),
    _named("M3", "dot-dot-that-stays-inside", P + b"a/../x", RELATIVE),
    _named("M4", "dot-dot-alone", b"..", RELATIVE),
    _named("M4", "dot-alone", b".", RELATIVE),
    _named("M4", "empty", b"", RELATIVE),
    _named("M4", "one-slash", b"/", RELATIVE, "''"),
    _named("M4", "slashes", b"///", RELATIVE, "'//'"),
    _named("M4", "empty-part", P + b"a//b", RELATIVE),
    _named("M5", "backslash", P + b"..\\x", HIDDEN),
    _named("M5", "drive", b"C:/x", HIDDEN),
    Row("M6", "prefix-and-more", lambda: image(GOOD, t.file(P[:-1] + b"XYZ/f", b"x")), WITH_GOOD),
    Row("M6", "prefix-of-another-framework",
        lambda: image(GOOD, t.file(b"io.vllm.cacheXYZ/f", b"x")), WITH_GOOD),
    _named("M6", "dot-slash-prefix", b"./" + P + b"f", RELATIVE),
    bad("M7", "file-with-a-slash", t.file(P + b"f/", b"x"),
        says=("io.triton.cache/f", "a file whose name ends in a slash")),
    _two("M7", "file-then-folder", t.file(P + b"f", b"x"), t.file(P + b"f/g", b"x"), BOTH, P+b"f"),
    _two("M7", "folder-then-file", t.folder(P + b"f/"), t.file(P + b"f", b"x"), TWICE),
    _named("M8", "nul", P + b"a\x00b", HIDDEN),
    *(_named("M8", f"control-{code:02x}", P + b"a" + bytes([code]), HIDDEN)
      for code in (10, 13, 9, 27, 127)),
    *(_named("M9", f"invisible-{ord(sign):04x}", P + f"a{sign}b".encode(), HIDDEN)
      for sign in "\u202e\u2066\u200b\u200d\ufeff\u034f\ufe0f\u3164\U000e0001\u2028\u0378"),
    bad("M11", "lone-surrogate", t.file(P + b"\xed\xa0\x80", b"x"), says=("\\xed\\xa0", UTF8)),
    bad("M11", "latin-1", t.file(P + b"\xe9", b"x"), says=("\\xe9", UTF8)),
    *_long(),
    *_spellings(),
    *_whiteouts(),
    *_twins(),
    *_reserved(),
]  # fmt: skip
