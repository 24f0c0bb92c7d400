"""How long a layer of 1 GB in more than 10,000 files takes: GKM, and how others would do it.

``make bench-extract``. Every way runs in a process of its own, on a fresh folder, one after the
other in each round. GKM checks both digests and everything in the archive, and what it leaves is on
disk: none of the others syncs anything.
"""

import argparse
import hashlib
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gkm.core.image import Reference
from gkm.extract.job import extract
from gkm.extract.volume import Volume
from gkm.oci import media
from gkm.oci.http import CHUNK
from gkm.oci.manifest import Config, Descriptor, Manifest
from gkm.oci.registry import Image, Registry
from gkm.oci.settings import RegistrySettings
from tests.bench import kernels

_TOUCH = "import mmap; mmap.mmap(-1, 3 << 29, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE)"
"""More memory than a run takes. A virtual machine's host takes back what was idle for a moment, and
whoever comes first after that would pay for it."""
_TYPES = {"gzip": media.OCI_LAYER_GZIP, "zstd": media.OCI_LAYER_ZSTD}
_LABELS = {"cache.triton.image/summary": '{"targets":[]}'}
STARTS = {
    "gkm.extract.app": "GKM's Job",
    "kubernetes, oras.client": "the usual libraries",
    "kubernetes, oras.client, sigstore.verify": "and for signatures",
}
"""What is imported before a Job's first byte; sigstore only where it is installed."""
WAYS = {
    "gkm": "GKM, from a file",
    "gkm-zstd": "GKM, from a file, zstd",
    "tarfile": "Python's tarfile, and sha256",
    "tar": "tar xzf, and sha256sum beside it",
    "go": "archive/tar and compress/gzip in Go",
    "floor": "inflate alone, written nowhere",
}


class FromFile(Registry):
    """A registry that has one layer, in a file."""

    def __init__(self, kind: str) -> None:
        super().__init__(RegistrySettings())
        self._file = kernels.layer(kind)
        plain, packed = digest(kernels.layer("tar")), digest(self._file)
        layer = Descriptor(_TYPES[kind], packed, self._file.stat().st_size)
        config = Descriptor(media.OCI_CONFIG, packed, 0)
        self._image = Image(packed, Manifest(config, (layer,)), Config(_LABELS, (plain,)))
        self.reference = f"example.com/kernels@{packed}"

    def image(self, _reference: str, _architecture: str = "") -> Image:
        return self._image

    def blob(self, _where: Reference, wanted: Descriptor) -> Iterator[bytes]:
        found = hashlib.sha256()
        with self._file.open("rb") as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
                yield chunk
        assert f"sha256:{found.hexdigest()}" == wanted.digest


def digest(file: Path) -> str:
    """The digest of a file, kept beside it."""
    kept = file.with_name(f"{file.name}.sha256")
    if not kept.exists():
        with file.open("rb") as opened:
            kept.write_text(f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}")
    return kept.read_text()


def by_gkm(target: Path, kind: str) -> float:
    registry = FromFile(kind)
    begun = time.perf_counter()
    with Volume(target) as volume:
        extract(registry, registry.reference, volume, "/cache")
    return time.perf_counter() - begun


class Hashed(io.RawIOBase):
    """A file whose digest is taken while it is read, as everybody does who checks a blob."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb", buffering=0)
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:count])
        return count


def by_tarfile(target: Path) -> float:
    layer = kernels.layer("gzip")
    begun = time.perf_counter()
    hashed = Hashed(layer)
    with tarfile.open(fileobj=io.BufferedReader(hashed, CHUNK), mode="r|gz") as archive:
        archive.extractall(target, filter="data")
    while hashed.read(CHUNK):
        pass
    assert f"sha256:{hashed.digest.hexdigest()}" == digest(layer)
    return time.perf_counter() - begun


def by_command(*command: str | Path) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def by_tar(target: Path) -> float:
    layer = kernels.layer("gzip")
    begun = time.perf_counter()
    with subprocess.Popen(["sha256sum", layer], stdout=subprocess.DEVNULL):
        subprocess.run(["tar", "xzf", layer, "-C", target], check=True)
    return time.perf_counter() - begun


def by_floor() -> float:
    begun = time.perf_counter()
    kernels.inflated(kernels.layer("gzip"))
    return time.perf_counter() - begun


def once(way: str, target: Path, tools: Path) -> float:
    """Seconds of one run; programs of their own are timed with their start."""
    match way:
        case "gkm":
            return by_gkm(target, "gzip")
        case "gkm-zstd":
            return by_gkm(target, "zstd")
        case "tarfile":
            return by_tarfile(target)
        case "tar":
            return by_tar(target)
        case "go":
            return by_command(tools / "extract", kernels.layer("gzip"), target)
        case _:
            return by_floor()


@contextmanager
def on_tmpfs(folder: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g", "gkm", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def measured(way: str, target: Path, tools: Path) -> tuple[float, float]:
    """Seconds and MiB (peak) of one run in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.extract", "--once", way, str(target), str(tools)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seconds = float(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return seconds, usage.ru_maxrss / 1024


def rounds(place: str, count: int, tools: Path) -> dict[str, list[tuple[float, float]]]:
    """Every way once a round, on folders that are new and go only after the last round.

    Removing a tree makes the next one slower on ext4.
    """
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as base:
        for number in range(count):
            for way in WAYS:
                target = Path(base) / f"{number}-{way}"
                target.mkdir()
                os.sync()
                subprocess.run([sys.executable, "-c", _TOUCH], check=True)
                if place == "tmpfs":
                    with on_tmpfs(target) as mounted:
                        found[way].append(measured(way, mounted, tools))
                else:
                    found[way].append(measured(way, target, tools))
        subprocess.run(["chmod", "-R", "u+w", base], check=True)
    return found


def starts(python: str, rounds: int) -> None:
    """Print what importing costs, side by side."""
    found: dict[str, list[tuple[float, float]]] = {what: [] for what in STARTS}
    for _ in range(rounds):
        for what, runs in found.items():
            command = [python, "-c", f"import {what}"]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status == 0:
                runs.append((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
    middle = {
        what: [statistics.median(column) for column in zip(*runs, strict=True)]
        for what, runs in found.items()
        if runs
    }
    print("\nto start:                              CPU s   MiB  GKM takes so many times less")
    for what, (seconds, mib) in middle.items():
        ratio = seconds / middle["gkm.extract.app"][0]
        print(f"{STARTS[what]:36} {seconds:7.3f} {mib:5.1f}  {ratio:.2f}")


def table(found: dict[str, list[tuple[float, float]]], size: int) -> None:
    middle = {way: statistics.median(s for s, _ in runs) for way, runs in found.items()}
    print(f"{'':36} median s   least    most    MB/s  MiB  GKM is so many times as fast")
    for way, runs in found.items():
        seconds = [s for s, _ in runs]
        spread = f"{middle[way]:8.2f} {min(seconds):7.2f} {max(seconds):7.2f}"
        peak = max(mib for _, mib in runs)
        ratio = f"{middle[way] / middle['gkm']:.2f}"
        print(f"{WAYS[way]:36} {spread} {size / middle[way] / 1e6:7.0f} {peak:4.0f}  {ratio}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--once", nargs=3, metavar=("WAY", "FOLDER", "TOOLS"), help=argparse.SUPPRESS
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--places", nargs="+", default=["tmpfs", "disk"], choices=["tmpfs", "disk"])
    parser.add_argument("--python", default=sys.executable, help="that has the libraries as well")
    options = parser.parse_args()
    if options.once:
        way, target, tools = options.once
        print(once(way, Path(target), Path(tools)))
        return 0
    # In a process of its own: what follows inherits the peak of this one's memory.
    subprocess.run([sys.executable, "-m", "tests.bench.kernels"], check=True)
    for kind in kernels.KINDS:
        digest(kernels.layer(kind))
    size = kernels.layer("tar").stat().st_size
    with tempfile.TemporaryDirectory() as tools:
        source = Path(__file__).parent / "extract_go"
        subprocess.run(["go", "build", "-o", f"{tools}/extract", "."], cwd=source, check=True)
        for place in options.places:
            print(f"\non {place}, {options.rounds} rounds:")
            table(rounds(place, options.rounds, Path(tools)), size)
    starts(options.python, max(5, options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
