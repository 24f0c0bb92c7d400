"""What is neither file nor directory, and odd attributes: M14 to M26, M29, M43."""

from tests.extract import tarbytes as t
from tests.extract.images import P
from tests.extract.row import Row, bad, good

ONLY = "only regular files and directories belong in a cache"
HEAD = P.decode()


def _refused(number: str, what: str, *parts: bytes, member: str) -> Row:
    return bad(number, what, *parts, says=(HEAD + member, ONLY))


def _symlinks() -> list[Row]:
    """The names are those of containerd's tests where there is one."""
    single = {
        "SymlinkAbsolute": (b"l", b"/etc/passwd"),
        "SymlinkUpAndOut": (b"KEY/l", b"../../../../x"),
        "EmptyFile": (b"l", b""),
        "EmptyFilename": (b"l", b"../outside/keep"),
        "SlashEnded": (b"l/", b"KEY/"),
        "to-itself": (b"l", b"l"),
        "within-the-tree": (b"KEY/l", b"good.ptx"),
    }
    chains = {
        "MultipleAbsolute": ((b"a", b"/"), (b"b", b"a/etc")),
        "MultipleRelative": ((b"a", b".."), (b"b", b"a/..")),
        "chain": ((b"a", b"b"), (b"b", b"../../x")),
        "loop": ((b"a", b"b"), (b"b", b"a")),
    }
    rows = [
        _refused("M14", what, t.symlink(P + name, target), member=name.rstrip(b"/").decode())
        for what, (name, target) in single.items()
    ]
    rows += [
        _refused("M14", what, *(t.symlink(P + n, to) for n, to in links), member="a")
        for what, links in chains.items()
    ]
    through = {
        "SymlinkParentDirectory": (b"/", b"p/etc/evil"),
        "SymlinkParentRelative": (b"../..", b"p/evil"),
        "SymlinkParentRelativeOutside": (b"../outside", b"p/keep"),
        "SymlinkOverridePath": (b"../outside/keep", b"p"),
    }
    rows += [
        _refused("M15", what, t.symlink(P + b"p", to), t.file(P + name, b"evil"), member="p")
        for what, (to, name) in through.items()
    ]
    folder, file = t.folder(P + b"d/"), t.file(P + b"d/f", b"x")
    swapped = {
        "SymlinkOverrideDirectory": (folder, file, t.symlink(P + b"d", b"/etc")),
        "SymlinkOverrideDirectoryRelative": (folder, t.symlink(P + b"d", b"../outside")),
        "DirectoryOverrideSymlink": (t.symlink(P + b"d", b"../outside"), folder, file),
        "DirectoryOverrideSymlinkAndHardlink": (
            t.symlink(P + b"d", b"../outside"), t.hardlink(P + b"h", P + b"d/keep"), folder,
        ),
    }  # fmt: skip
    rows += [_refused("M16", what, *parts, member="d") for what, parts in swapped.items()]
    return rows


def _long_path() -> tuple[bytes, ...]:
    """CVE-2025-4517: names so long that realpath() gives up, and a link beyond them."""
    part, path, parts = b"d" * 247, P, []
    for step in b"abcdefghijklmnop":
        parts += [t.pax((b"path", path + part)), t.folder(b"d")]
        parts += [t.pax((b"path", path + bytes([step])), (b"linkpath", part)), t.symlink(b"s", b"")]
        path += part + b"/"
    link = b"/".join(bytes([step]) for step in b"abcdefghijklmnop") + b"/" + b"l" * 254
    parts += [t.pax((b"path", P + link), (b"linkpath", b"../" * 16)), t.symlink(b"l", b"")]
    parts += [t.pax((b"linkpath", link + b"/../../outside")), t.symlink(P + b"escape", b"")]
    parts += [t.hardlink(P + b"flag", P + b"escape/keep"), t.file(P + b"escape/evil", b"evil")]
    return tuple(parts)


def _hardlinks() -> list[Row]:
    out = "../" * 8
    targets = {
        "HardlinkRelative": "KEY/../../x", "HardlinkDownAndOut": "KEY/../../../x",
        "HardlinkAbsolute": "/etc/passwd", "HardlinkRelativeLong": f"KEY/{out}etc/passwd",
        "HardlinkRelativeUpAndOut": "../../x", "HardlinkUpAndOut": f"{out}etc/passwd",
        "HardlinkLong": "n" * 100, "HardlinkDirect": "io.triton.cache/KEY/good.ptx",
    }  # fmt: skip
    rows = [
        _refused("M20", what, t.hardlink(P + b"h", target.encode()), member="h")
        for what, target in targets.items()
    ]
    link, hard = t.symlink(P + b"s", b"../x"), t.hardlink(P + b"h", P + b"s")
    combined = {
        "HardlinkSymlinkBeforeCreateTarget": ((hard, t.file(P + b"s", b"x")), "h"),
        "HardlinkSymlinkRelative": ((link, hard, t.file(P + b"h", b"evil")), "s"),
        "HardlinkSymlinkAbsolute": ((t.symlink(P + b"s", b"/etc/passwd"), hard), "s"),
        "HardlinkSymlinkChmod": ((link, hard, t.file(P + b"h", b"", mode=0o777)), "s"),
    }
    rows += [_refused("M21", what, *p, member=name) for what, (p, name) in combined.items()]
    for what, target in (("lost+found", "lost+found/keep"), ("marker", ".gkm/complete")):
        member = t.hardlink(P + b"h", target.encode())
        rows.append(_refused("M22", f"hardlink-to-{what}", member, member="h"))
    return rows


def _kinds() -> list[Row]:
    kinds = {
        "character-device": b"3", "block-device": b"4", "fifo": b"6", "contiguous": b"7",
        "socket": b"s", "door": b"D", "unknown": b"Z", "unknown-ff": b"\xff", "gnu-volume": b"V",
        "gnu-multi-volume": b"M", "gnu-names": b"N", "solaris-acl": b"A", "old-pax": b"X",
    }  # fmt: skip
    return [
        _refused("M23", what, t.header(P + b"k", 0, kind), member="k")
        for what, kind in kinds.items()
    ]


def _sparse() -> list[Row]:
    hole = 1 << 40
    old = t.header(P + b"s", 512, t.SPARSE, magic=t.GNU, rest=bytes(138) + b"%011o\x00" % hole)
    says = ("does not belong in a cache",)
    formats = {
        "0.0": ((b"GNU.sparse.size", b"%d" % hole), (b"GNU.sparse.numblocks", b"0")),
        "0.1": ((b"GNU.sparse.size", b"%d" % hole), (b"GNU.sparse.map", b"0,0")),
        "1.0": ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"%d" % hole)),
        "solaris": ((b"SUN.holesdata", b" 0 1099511627776"),),
        "star": ((b"SCHILY.realsize", b"%d" % hole),),
    }
    rows = [_refused("M29", "sparse-old-gnu", old + t.padded(b"x" * 512), member="s")]
    for what, records in formats.items():
        part = t.pax(*records) + t.file(P + b"s", b"x")
        rows.append(bad("M29", f"sparse-{what}", part, says=(records[0][0].decode(), *says)))
    return rows


ATTRIBUTES = (
    b"SCHILY.xattr.security.capability", b"SCHILY.xattr.user.x", b"SCHILY.acl.access",
    b"SCHILY.xattr.trusted.overlay.redirect", b"RHT.security.selinux",
)  # fmt: skip

ROWS: list[Row] = [
    *_symlinks(),
    _refused("M17", "long-path", *_long_path(), member="a"),
    _refused("M18", "chmod-through-a-link", t.symlink(P + b"d", b"../outside"),
             t.folder(P + b"d", mode=0o777), member="d"),
    _refused("M19", "file-after-a-refused-link", t.symlink(P + b"e", b"/etc/passwd"),
             t.file(P + b"e", b"evil"), member="e"),
    *_hardlinks(),
    *_kinds(),
    # Normalised further than asked: 0444 and 0555, since nobody but GKM may change a cache.
    good("M24", "modes", t.folder(P + b"d/", mode=0), t.folder(P + b"e/", mode=0o1777),
         t.file(P + b"d/s", b"x", mode=0o6777), t.file(P + b"d/n", b"x", mode=0),
         tree={"d": None, "e": None, "d/s": b"x", "d/n": b"x"}),
    good("M25", "owners", t.file(P + b"a", b"x", uid=0, gid=0, uname=b"root"),
         t.file(P + b"b", b"x", uid=t.binary(1 << 32, 8), gid=t.binary(-1, 8)),
         t.file(P + b"c", b"x", uname=b"\xff../x\x1b"), tree=dict.fromkeys("abc", b"x")),
    good("M26", "attributes", t.pax(*((key, b"\x01\x02") for key in ATTRIBUTES)),
         t.file(P + b"a", b"x"), tree={"a": b"x"}),
    *_sparse(),
    # The time of a file is that of the extraction, whatever the archive says.
    good("M43", "times", t.file(P + b"future", b"x", mtime=t.binary(1 << 40, 12)),
         t.file(P + b"past", b"x", mtime=t.binary(-1, 12)),
         t.pax((b"mtime", b"NaN")), t.file(P + b"nan", b"x"),
         t.pax((b"mtime", b"1e400")), t.file(P + b"huge", b"x"),
         tree=dict.fromkeys(("future", "past", "nan", "huge"), b"x")),
]  # fmt: skip
