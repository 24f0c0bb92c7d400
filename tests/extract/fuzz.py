"""F138: honest archives, changed at random, through the extraction: `make fuzz-extract`.

Each mutant is one of three:
* ``tar``: the archive was changed, and its digests are those of what it is now. It is refused, or
  Python's ``tarfile`` (GNU tar, for some) sees the very tree that lies on the volume.
* ``packed``: the compressed stream was changed, and the config promises what it was. It is refused,
  or the tree is that of the original (a time stamp in a gzip header changes nothing).
* ``image``: as before, but the layer's digest is what it was too, and the whole Job runs, with a
  registry. It is refused.
Nothing but Retry and Rejected may come out, nothing may lie beside the volume, and no mutant may
take more than its share of time and memory: each runs in a child that is limited and watched.
"""

import argparse
import mmap
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from gkm.api.errors import Rejected, Retry
from gkm.extract.job import extract
from gkm.extract.tree import Tree
from gkm.extract.unpack import Unpacker
from gkm.extract.volume import RESERVED, Marker, Volume
from gkm.oci import media
from gkm.oci.inflate import inflate
from gkm.oci.layer import checked
from gkm.oci.manifest import Descriptor
from tests.extract import mutants, packing, readers
from tests.extract.extraction import foreign
from tests.extract.images import LABELS, P, plain
from tests.extract.row import Hashes, Refused
from tests.extract.zoo import ROWS
from tests.images import Image, Script, digest, scripted

BATCH = 2_000
SECONDS_EACH = 20
MEMORY = 512 << 20
"""Bytes of address space that a batch may take beyond what it begins with."""
GZIP_MAGIC = b"\x1f\x8b"
_LARGEST_SEED = 64 * 1024
_PREFIX = P.decode()


class Wrong(Exception):  # noqa: N818 - what a mutant shows
    """A mutant that shows a fault of ours."""


@dataclass(frozen=True)
class Seed:
    """An archive of the zoo that is taken, and the tree that it becomes."""

    tar: bytes
    tree: Hashes


def seeds() -> list[Seed]:
    """The small archives of the zoo that make a cache by themselves."""
    found = []
    for row in ROWS:
        if isinstance(row.expected, Refused) or not row.trace or "layers" in row.what:
            continue
        layers = row.build().layers
        tar = plain(layers[0]) if len(layers) == 1 else b""
        if 0 < len(tar) <= _LARGEST_SEED:
            found.append(Seed(tar, cache_of(readers.ours(tar))))
    return found


def cache_of(members: Hashes) -> Hashes:
    """What of an archive's members lies on the volume, and where."""
    return {
        name.removeprefix(_PREFIX): content
        for name, content in members.items()
        if name.startswith(_PREFIX)
    }


class Bench:
    """The volume that mutants are brought to, one after the other; whatever is beside it stays."""

    def __init__(self, box: Path, corpus: Sequence[Seed], script: Script) -> None:
        self._box, self._corpus, self._script = box, corpus, script
        self._tars = [seed.tar for seed in corpus]
        self._programs = readers.programs()
        self.volume = box / "volume"
        self.volume.mkdir()
        (box / "beside").write_text("mine")

    def try_one(self, random: Random) -> bool:
        """Make a mutant and extract it; returns whether it was taken. Raises Wrong."""
        seed = random.choice(self._corpus)
        kind = random.choices(("tar", "packed", "image"), (60, 39, 1))[0]
        try:
            if kind == "tar":
                self._changed_tar(seed, random)
            elif kind == "packed":
                self._changed_stream(seed, random)
            else:
                self._changed_on_the_way(seed, random)
        except (Rejected, Retry):
            return False
        finally:
            self._look()
        return True

    def _changed_tar(self, seed: Seed, random: Random) -> None:
        tar = mutants.of_tar(seed.tar, self._tars, random)
        pack, kind = random.choice(
            ((packing.gzip, media.OCI_LAYER_GZIP), (packing.zstd_frame, media.OCI_LAYER_ZSTD))
        )
        self._extract(pack(tar), kind, digest(tar))
        found = self._tree()
        readings = {"python": readers.pythons}
        if random.random() < 0.05:
            readings |= self._programs
        for name, read in readings.items():
            seen = cache_of(read(tar))
            if seen != found:
                raise Wrong(f"{name} sees {seen}, the volume holds {found}")

    def _changed_stream(self, seed: Seed, random: Random) -> None:
        pack, kind = random.choice(_PACKERS)
        self._extract(mutants.of_bytes(pack(seed.tar), random), kind, digest(seed.tar))
        if self._tree() != seed.tree:
            raise Wrong(f"other bytes than promised: {self._tree()}")

    def _changed_on_the_way(self, seed: Seed, random: Random) -> None:
        self._script.answers.clear()
        pinned = self._script.add(Image([seed.tar]))
        layer = next(one for one in self._script.answers.values() if one.body[:2] == GZIP_MAGIC)
        before = layer.body
        while layer.body == before:
            layer.body = mutants.of_bytes(before, random)
        with Volume(self.volume) as volume:
            extract(self._script.registry(), pinned, volume, "/cache")
        raise Wrong("a layer that was changed on the way is published")

    def _extract(self, stream: bytes, kind: str, diff_id: str) -> None:
        with Volume(self.volume) as volume:
            volume.begin()
            tree = Tree(volume.root)
            try:
                unpacker = Unpacker(LABELS, tree, "/cache", None)
                layer = Descriptor(kind, digest(stream), len(stream))
                unpacker.layer(checked((layer, diff_id), inflate(layer, _chunks(stream))))
                unpacker.check()
                tree.seal(RESERVED)
            finally:
                tree.close()
            volume.complete(Marker(digest(stream), "/cache", unpacker.bytes, unpacker.files))

    def _tree(self) -> Hashes:
        found = readers.walked(self.volume)
        return {name: body for name, body in found.items() if name.split("/")[0] not in RESERVED}

    def _look(self) -> None:
        """Raise Wrong for anything that may never be, whatever became of the mutant."""
        if odd := foreign(self.volume):
            raise Wrong(f"on the volume: {odd}")
        if len(there := list(self._box.iterdir())) != 2:
            raise Wrong(f"beside the volume: {there}")


_PACKERS = (
    (packing.gzip, media.OCI_LAYER_GZIP),
    (lambda tar: packing.gzip(tar, 0), media.OCI_LAYER_GZIP),
    (packing.zstd_frame, media.OCI_LAYER_ZSTD),
)


def _chunks(stream: bytes) -> Iterator[bytes]:
    return (stream[at : at + 5_000] for at in range(0, len(stream), 5_000))


class Progress:
    """What a child has done so far, in memory that its parent sees."""

    _FORM = struct.Struct("<QQ")

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, self._FORM.size)

    def write(self, number: int, taken: int) -> None:
        self._FORM.pack_into(self._shared, 0, number, taken)

    def read(self) -> tuple[int, int]:
        """Number of the mutant that is tried, and how many were taken."""
        number, taken = self._FORM.unpack_from(self._shared)
        return number, taken


@dataclass(frozen=True)
class Fuzz:
    """One run: its corpus, its seed and when it ends."""

    corpus: Sequence[Seed]
    seed: int
    end: float

    def batch(self, numbers: Sequence[int], progress: Progress) -> bool:
        """Try these mutants in a child; returns whether all was well."""
        sys.stdout.flush()
        with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
            child = os.fork()
            if child == 0:
                os._exit(self._child(Path(folder), numbers, progress))
            _, status = os.waitpid(child, 0)
        if status:
            number, _ = progress.read()
            how = "was too slow" if os.WTERMSIG(status) == signal.SIGALRM else f"status {status}"
            print(f"mutant {number} of seed {self.seed}: {how}")
        return status == 0

    def _child(self, folder: Path, numbers: Sequence[int], progress: Progress) -> int:
        _limit_memory()
        taken = 0
        try:
            with scripted() as script:
                bench = Bench(folder, self.corpus, script)
                for number in numbers:
                    progress.write(number, taken)
                    if time.monotonic() > self.end:
                        return 0
                    signal.alarm(SECONDS_EACH)
                    taken += bench.try_one(Random(f"{self.seed}-{number}"))
                    signal.alarm(0)
                progress.write(numbers[-1] + 1, taken)
        except BaseException:  # noqa: BLE001 - every one of them is what the fuzzing looks for
            traceback.print_exc()
            return 1
        return 0


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _fast_folder() -> str | None:
    """A folder in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.extract.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", type=int, help="the one mutant with this number")
    options = parser.parse_args()
    started = time.monotonic()
    fuzz = Fuzz(seeds(), options.seed, started + options.minutes * 60)
    progress = Progress()
    first = done = taken = 0
    fine = True
    if options.only is not None:
        return 0 if fuzz.batch([options.only], progress) else 1
    while fine and time.monotonic() < fuzz.end:
        fine = fuzz.batch(range(first, first + BATCH), progress)
        done, of_batch = progress.read()
        taken, first = taken + of_batch, first + BATCH
    seconds = time.monotonic() - started
    print(
        f"seed {options.seed}: {done} mutants of {len(fuzz.corpus)} archives in {seconds:.0f} s"
        f" ({done / seconds:.0f}/s), {taken} taken, {'0' if fine else '1'} wrong"
    )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
