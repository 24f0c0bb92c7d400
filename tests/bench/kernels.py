"""A cache of about 1 GB in more than 10,000 files, as a layer: kernels as Triton keeps them.

Half of it are folders of a kernel's stages (text that compresses well, code that does not), half a
few large binaries. The code is that of this machine's own programs, so that it compresses as code
does; so the layer differs from machine to machine, and stays the same on each.
"""

import io
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from isal import igzip_lib

from gkm.oci.http import CHUNK
from tests.cluster import cache

PREFIX = "io.triton.cache"
_KERNELS = 1_600
_LARGE = (200, 158, 59, 50)
"""MB of each large binary."""
_TEXTS = {"ttir": 14, "ttgir": 20, "llir": 70, "ptx": 45}
_CODES = {"cubin": 60, "so": 85}
"""kB of each stage, on average."""
_FOLDERS = ("/usr/lib", "/usr/bin", "/usr/local/lib")


KINDS = ("tar", "gzip", "zstd")


def layer(kind: str) -> Path:
    """The layer as ``tar``, ``gzip`` (level 6) or ``zstd`` (level 3), made once."""
    folder = cache.root() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"kernels.{kind}"
    if not file.exists():
        make: dict[str, Callable[[Path], None]]
        make = {"tar": _tar, "gzip": _gzip, "zstd": _zstd}
        print(f"making {file.name}", flush=True)
        part = file.with_suffix(".part")
        make[kind](part)
        part.rename(file)
    return file


def _tar(file: Path) -> None:
    random = Random(1)
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in _files(random):
            info = tarfile.TarInfo(f"{PREFIX}/{name}")
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))


def _gzip(file: Path) -> None:
    import zlib

    packer = zlib.compressobj(6, wbits=31)
    _packed(file, packer.compress, packer.flush)


def _zstd(file: Path) -> None:
    from backports import zstd

    packer = zstd.ZstdCompressor(level=3)
    _packed(file, packer.compress, packer.flush)


def _packed(file: Path, compress: Callable[[bytes], bytes], flush: Callable[[], bytes]) -> None:
    with layer("tar").open("rb") as plain, file.open("wb") as out:
        while chunk := plain.read(1 << 20):
            out.write(compress(chunk))
        out.write(flush())


def _files(random: Random) -> Iterator[tuple[str, bytes]]:
    code, lines = _code(), [_line(random) for _ in range(20_000)]
    for number in range(_KERNELS):
        key = f"{random.getrandbits(256):064x}"
        yield f"{key}/kernel_{number}.json", _json(random, key)
        for stage, size in _TEXTS.items():
            count = int(size * 1000 * random.uniform(0.3, 1.7) / 45)
            yield (
                f"{key}/kernel_{number}.{stage}",
                "\n".join(random.choices(lines, k=count)).encode(),
            )
        for stage, size in _CODES.items():
            yield f"{key}/kernel_{number}.{stage}", _slice(code, random, int(size * 1000))
    for number, size in enumerate(_LARGE):
        yield f"large/{number}.bin", _slice(code, random, size * 1_000_000)


def _line(random: Random) -> str:
    a, b, c = (random.randrange(4000) for _ in range(3))
    word = random.choice(("fmul float", "fadd float", "shl nuw i32", "getelementptr i8, ptr"))
    return f"  %{a} = {word} %{b}, %{c}, !dbg !{random.randrange(900)}"


def _json(random: Random, key: str) -> bytes:
    numbers = ", ".join(str(random.randrange(1 << 16)) for _ in range(60))
    text = f'{{"hash": "{key}", "target": {{"backend": "cuda", "arch": 90, "warp_size": 32}}, '
    return f'{text}"num_warps": 4, "ids": [{numbers}]}}'.encode()


def _slice(code: bytes, random: Random, size: int) -> bytes:
    start = random.randrange(max(1, len(code) - size))
    found = code[start : start + size]
    return found + bytes(size - len(found))


def _code() -> bytes:
    """The machine code of this machine's libraries and programs, up to 300 MB."""
    found = bytearray()
    for folder in (sys.prefix, sys.base_prefix, *_FOLDERS):
        for place, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                path = Path(place) / name
                if path.is_symlink() or not path.is_file() or path.stat().st_size < 100_000:
                    continue
                with path.open("rb") as file:
                    if file.read(4) == b"\x7fELF":
                        found += file.read(30_000_000)
                if len(found) > 300_000_000:
                    return bytes(found)
    return bytes(found)


def inflated(file: Path) -> int:
    """Inflate a gzip layer and throw it away; its size."""
    decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    size = 0
    with file.open("rb") as compressed:
        while chunk := compressed.read(CHUNK):
            size += len(decoder.decompress(chunk))
    return size


if __name__ == "__main__":
    for wanted in KINDS:
        print(f"{layer(wanted).name}: {layer(wanted).stat().st_size / 1e6:.0f} MB")
