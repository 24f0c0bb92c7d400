"""How long a cache of 1 GB in more than 10,000 files takes to pack: GKM, and what people type.

``make bench-pack``. Each way runs as a program of its own, one after the other in each round, on
the same files, which are in memory. GKM hashes what it packs before and after, and makes an image.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.bench import kernels
from tests.cluster import cache

Command = Callable[[Path, Path], list[str]]
_ZSTD = """
import sys
from backports import zstd
packer = zstd.ZstdCompressor(level=3)
while chunk := sys.stdin.buffer.read(1 << 20):
    sys.stdout.buffer.write(packer.compress(chunk))
sys.stdout.buffer.write(packer.flush())
"""
"""Where there is no zstd: on one core, as the program is by itself."""


class Run(NamedTuple):
    """Seconds on the clock and of all cores together, and the bytes that were written."""

    wall: float
    cpu: float
    size: int


def gkm(compression: str) -> Command:
    command = [sys.executable, "-m", "gkm", "pack", "--compression", compression]
    return lambda tree, out: [*command, str(tree), "-o", str(out)]


def tar_gzip(tree: Path, out: Path) -> list[str]:
    return ["tar", "czf", str(out), "-C", str(tree), "."]


def tar_zstd(tree: Path, out: Path) -> list[str]:
    program = "zstd -3 -q" if shutil.which("zstd") else f"{sys.executable} -c '{_ZSTD}'"
    return ["sh", "-c", f"tar cf - -C {tree} . | {program} > {out}"]


WAYS: dict[str, tuple[str, Command]] = {
    "gkm pack": ("gzip", gkm("gzip")),
    "tar czf": ("gzip", tar_gzip),
    "gkm pack --compression zstd": ("zstd", gkm("zstd")),
    "tar | zstd -3": ("zstd", tar_zstd),
}


def tree() -> Path:
    """The cache as files, made once."""
    folder = cache.root() / "bench" / "tree"
    if not folder.is_dir():
        draft = folder.with_name("tree.part")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        subprocess.run(["tar", "xf", str(kernels.layer("tar")), "-C", str(draft)], check=True)
        draft.rename(folder)
    return folder / kernels.PREFIX


def measured(command: Command, place: Path) -> Run:
    out = place / "out"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(command(tree(), out), check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    files = [out] if out.is_file() else [one for one in out.rglob("*") if one.is_file()]
    size = sum(one.stat().st_size for one in files)
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return Run(wall, cpu, size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    plain = sum(one.stat().st_size for one in tree().rglob("*") if one.is_file())
    for one in tree().rglob("*"):  # into memory
        if one.is_file():
            one.read_bytes()
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="gkm-bench-") as place:
        for _ in range(options.rounds):
            for way, (_, command) in WAYS.items():
                runs[way].append(measured(command, Path(place)))
    print(f"{plain / 1e6:.0f} MB, medians of {options.rounds} rounds")
    print(f"{'':28} {'wall s':>7} {'cpu s':>7} {'MB':>7} {'ratio':>7} {'speed':>6} {'size':>6}")
    for way, (kind, _) in WAYS.items():
        run = middle(runs[way])
        other = middle(runs[[name for name, (same, _) in WAYS.items() if same == kind][1]])
        print(
            f"{way:28} {run.wall:7.1f} {run.cpu:7.1f} {run.size / 1e6:7.1f} {run.size / plain:7.4f}"
            f" {other.wall / run.wall:5.2f}x {run.size / other.size:6.3f}"
        )
    return 0


def middle(runs: list[Run]) -> Run:
    walls, cpus, sizes = ([run[at] for run in runs] for at in range(3))
    return Run(statistics.median(walls), statistics.median(cpus), int(statistics.median(sizes)))


if __name__ == "__main__":
    sys.exit(main())
