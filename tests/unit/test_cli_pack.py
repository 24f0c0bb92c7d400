"""Packing a real directory, on a bad day: other users, programs that write, signals, odd files."""

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from gkm.api.errors import Rejected, Retry
from gkm.cli import pack as command
from gkm.cli import scan
from gkm.cli.layerwriter import LayerWriter
from gkm.cli.pack import Wish, pack
from gkm.cli.source import find, read_kernels
from gkm.cli.squeeze import BLOCK, Emit, Plain
from gkm.oci.archive import Archive, Tally
from gkm.oci.inflate import inflate
from tests.unit.cli import INTERRUPTIBLE, environment, fill, gkm

WISHES = {
    "gzip": Wish("quay.io/me/kernels:v1"),
    "zstd": Wish("quay.io/me/kernels:v1", compression="zstd"),
    "docker-archive": Wish("quay.io/me/kernels:v1", form="docker-archive"),
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with more than one block."""
    root = fill(tmp_path / "cache")
    (root / "KEY" / "large.bin").write_bytes(random.Random(1).randbytes(BLOCK + 12_345))
    return root


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setattr(scan, "PAUSES", (0.01, 0.01))


def packed_files(layout: Path) -> dict[str, bytes]:
    """What the layer of a layout holds, read as GKM reads it."""
    source = find(str(layout))
    found: dict[str, bytes] = {}
    for layer in source.layers:
        assert source.open is not None
        archive = Archive(inflate(layer, source.open(layer)), Tally())
        for member in archive.members():
            if not member.directory:
                found[member.name] = b"".join(archive.data())
    return found


class Counted(Plain):
    """Notes the sizes of the blocks."""

    def __init__(self, sizes: list[int], emit: Emit) -> None:
        super().__init__(emit)
        self._sizes = sizes

    def feed(self, buffer: bytearray, used: int) -> None:
        self._sizes.append(used)
        super().feed(buffer, used)


def members_of(plain: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        return archive.getmembers()


def bytes_of(output: Path) -> bytes:
    """Everything in a file or a folder, names included."""
    if output.is_file():
        return output.read_bytes()
    files = sorted(one for one in output.rglob("*") if one.is_file())
    return b"".join(str(one.relative_to(output)).encode() + one.read_bytes() for one in files)


# Determinism


@pytest.mark.parametrize("kind", WISHES)
def test_the_bytes_depend_on_nothing_but_the_cache_mcv_17_36(
    cache: Path, tmp_path: Path, kind: str
) -> None:
    """Two days, two users, two directories, two umasks, two orders of making the files."""
    first = pack(cache, tmp_path / "one", WISHES[kind])
    elsewhere = tmp_path / "another" / "vendor" / ".hidden"  # mcv 19: the root's name means nothing
    elsewhere.mkdir(parents=True)
    umask = os.umask(0o077)
    try:
        for path in sorted(cache.rglob("*"), reverse=True):
            target = elsewhere / path.relative_to(cache)
            if path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                content = path.read_bytes().replace(bytes(cache), bytes(elsewhere))
                target.write_bytes(content)
        for number, path in enumerate(elsewhere.rglob("*")):
            os.utime(path, (1_000_000 + number, 2_000_000 + number))
            if os.geteuid() == 0:
                os.chown(path, 1234, 4321)
        assert pack(elsewhere, tmp_path / "two", WISHES[kind]) == first
    finally:
        os.umask(umask)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_packs_the_same_mcv_36(cache: Path, tmp_path: Path) -> None:
    first = pack(cache, tmp_path / "one", WISHES["gzip"])
    theirs = Path("/tmp") / f"gkm-test-{os.getpid()}"  # pytest's own folders are root's alone
    theirs.mkdir(mode=0o777)
    try:
        shutil.copytree(cache, theirs / "cache")
        for path in (theirs, *theirs.rglob("*")):
            os.chown(path, 65534, 65534)
        os.seteuid(65534)
        try:
            # The group file names the folder of the first: it is rewritten like any other.
            assert pack(theirs / "cache", theirs / "two", WISHES["gzip"]) == first
        finally:
            os.seteuid(0)
        assert bytes_of(theirs / "two") == bytes_of(tmp_path / "one")
    finally:
        shutil.rmtree(theirs)


def test_the_time_is_the_one_that_is_given(cache: Path, tmp_path: Path) -> None:
    made = [
        gkm("pack", cache, "-o", tmp_path / name, env={"SOURCE_DATE_EPOCH": epoch}).stdout
        for name, epoch in (("a", "1000000000"), ("b", "1000000000"), ("c", "0"), ("d", ""))
    ]
    assert made[0] == made[1] != made[2] == made[3]


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_bytes_do_not_depend_on_the_number_of_cores(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    compression: str,
) -> None:
    wish = Wish(compression=compression)
    first = pack(cache, tmp_path / "one", wish)
    monkeypatch.setattr("gkm.cli.squeeze._cores", lambda: workers)
    assert pack(cache, tmp_path / "two", wish) == first


def test_blocks_are_cut_at_the_same_places_however_they_come() -> None:
    content = random.Random(2).randbytes(3 * BLOCK + 17)
    cut: list[list[int]] = []
    for step in (1 << 16, BLOCK - 1, BLOCK, 4 * BLOCK):
        sizes: list[int] = []
        out = io.BytesIO()
        layer = LayerWriter(out, 0, partial(Counted, sizes))
        with layer:
            pieces = [content[start : start + step] for start in range(0, len(content), step)]
            layer.file("a", len(content), pieces)
        assert content in out.getvalue()
        assert hashlib.sha256(out.getvalue()).hexdigest() in layer.diff_id
        cut.append(sizes)
    assert cut[0][:3] == [BLOCK] * 3
    assert all(one == cut[0] for one in cut)


# What others read


def test_gzip_and_zstd_of_the_system_read_the_layers(cache: Path, tmp_path: Path) -> None:
    for compression, program in (("gzip", "gzip"), ("zstd", "zstd")):
        layout = tmp_path / compression
        pack(cache, layout, Wish(compression=compression))
        source = find(str(layout))
        blob = layout / "blobs" / "sha256" / source.layers[0].digest.removeprefix("sha256:")
        if not shutil.which(program):
            pytest.skip(f"no {program} here")
        plain = subprocess.run([program, "-dc", blob], check=True, capture_output=True).stdout
        members = members_of(plain)
        assert {one.name for one in members if one.isreg()} == packed_files(layout).keys()
        if compression == "gzip":
            assert gzip.decompress(blob.read_bytes()) == plain


def test_a_docker_archive_is_what_docker_load_reads(cache: Path, tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    digest = pack(cache, target, WISHES["docker-archive"])
    pack(cache, tmp_path / "oci", WISHES["gzip"])
    with tarfile.open(target, "r:") as archive:
        manifest = json.load(archive.extractfile("manifest.json") or io.BytesIO())
        config = (archive.extractfile(manifest[0]["Config"]) or io.BytesIO()).read()
        layer = (archive.extractfile(manifest[0]["Layers"][0]) or io.BytesIO()).read()
    assert manifest[0]["RepoTags"] == ["quay.io/me/kernels:v1"]
    assert manifest[0]["Config"] == f"{digest.removeprefix('sha256:')}.json"
    assert members_of(layer)[0].name == "io.triton.cache/KEY"
    same = find(str(tmp_path / "oci")).config
    assert find(str(target)).config == same
    assert json.loads(config)["rootfs"]["diff_ids"] == list(same.diff_ids)
    assert read_kernels(find(str(target))) == read_kernels(find(str(cache)))


def test_a_large_file_with_paths_is_rewritten_whole(tmp_path: Path) -> None:
    cache = fill(tmp_path / "cache")
    file = cache / "KEY" / "__grp__add.json"
    group = json.loads(file.read_text())
    group["more"] = random.Random(4).randbytes(500_000).hex()
    file.write_text(json.dumps(group))
    pack(cache, tmp_path / "image", Wish())
    packed = json.loads(packed_files(tmp_path / "image")["io.triton.cache/KEY/__grp__add.json"])
    assert packed["more"] == group["more"]
    assert packed["child_paths"]["add.ptx"] == "/cache/KEY/add.ptx"


# Odd files


def test_no_code_of_the_cache_is_run_mcv_5_37(cache: Path, tmp_path: Path) -> None:
    """Neither a module of the directory that one stands in, nor any other program."""
    ran = tmp_path / "ran"
    for name in ("json", "triton", "hashlib"):
        (cache / f"{name}.py").write_text(f"open({str(ran)!r}, 'w')")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python", "python3", "sh"):
        (tools / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (tools / name).chmod(0o755)
    gkm = Path(sys.executable).with_name("gkm")
    done = subprocess.run(
        [sys.executable, "-P", gkm, "pack", ".", "-o", tmp_path / "image"],
        cwd=cache,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not ran.exists()


def test_a_fifo_is_refused_and_not_waited_for_mcv_38(cache: Path, tmp_path: Path) -> None:
    os.mkfifo(cache / "KEY" / "pipe")
    with pytest.raises(Rejected, match="pipe is neither"):
        pack(cache, tmp_path / "image", Wish())


def test_what_becomes_a_fifo_while_it_is_read_is_not_waited_for(cache: Path) -> None:
    files = scan.scan(cache)
    (cache / "KEY" / "add.ptx").unlink()
    os.mkfifo(cache / "KEY" / "add.ptx")
    with pytest.raises(scan.ChangedError):
        list(scan.contents(cache, "KEY/add.ptx", files["KEY/add.ptx"]))


def test_what_gkm_would_not_unpack_is_not_packed(cache: Path, tmp_path: Path) -> None:
    (cache / "KEY" / "a\u200bb.ptx").touch()
    with pytest.raises(Rejected, match="invisible"):
        pack(cache, tmp_path / "image", Wish())
    assert not (tmp_path / "image").exists()


# Never half a file


def leftovers(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.name != "cache"]


def test_a_full_disk_leaves_nothing_mcv_36(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "image")

    for name in ("write_image", "write_docker_archive"):
        monkeypatch.setattr(command, name, full)
    for wish in (Wish(), Wish(form="docker-archive")):
        with pytest.raises(OSError, match="No space left"):
            pack(cache, tmp_path / "image", wish)
        assert leftovers(tmp_path) == []


SLOW = """
import sys, time
import gkm.cli.layerwriter as writer
whole = writer.LayerWriter.file
def slow(self, *arguments):
    print("packing", flush=True)
    whole(self, *arguments)
    time.sleep(30)
writer.LayerWriter.file = slow
sys.argv = ["gkm", *sys.argv[1:]]
from gkm.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("form", ["oci", "docker-archive"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_signal_leaves_no_half_image(
    cache: Path, tmp_path: Path, number: signal.Signals, code: int, form: str
) -> None:
    command = [*INTERRUPTIBLE, sys.executable, "-c", SLOW, "pack", str(cache), "--format", form]
    with subprocess.Popen(
        [*command, "-o", str(tmp_path / "image")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "packing\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in said
    left = leftovers(tmp_path)
    if number is signal.SIGKILL:
        assert len(left) == 1
        assert left[0].startswith(".image.")
        assert left[0].endswith(".gkm-tmp")
    else:
        assert left == []
    done = gkm("pack", cache, "-o", tmp_path / "image", "--format", form)
    assert done.returncode == 0
    assert (tmp_path / "image").exists()


def test_two_packs_at_once_do_not_meet_mcv_30(cache: Path, tmp_path: Path) -> None:
    """MCV staged everything in one folder of /tmp, and each run removed the others' files."""
    other = fill(tmp_path / "other", arch=80)
    alone = {one: pack(one, tmp_path / f"alone-{one.name}", Wish()) for one in (cache, other)}
    found: dict[Path, list[str]] = {cache: [], other: []}

    def work(one: Path) -> None:
        for number in range(5):
            found[one].append(pack(one, tmp_path / f"{one.name}-{number}.oci", Wish()))

    threads = [threading.Thread(target=work, args=(one,)) for one in (cache, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {one: [digest] * 5 for one, digest in alone.items()}


def test_a_second_pack_knows_nothing_of_the_first_mcv_31(cache: Path, tmp_path: Path) -> None:
    """MCV kept its settings, and what it had staged, from one call in a process to the next."""
    pack(cache, tmp_path / "one", WISHES["zstd"])
    (cache / "KEY" / "large.bin").unlink()
    second = pack(cache, tmp_path / "two", Wish())
    assert second == pack(fill(tmp_path / "fresh"), tmp_path / "three", Wish())


# A cache that is written to


@pytest.fixture
def writing() -> Iterator[Callable[[Callable[[], None]], None]]:
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(step: Callable[[], None]) -> None:
        def work() -> None:
            while not stop.is_set():
                step()

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def test_a_file_that_never_rests_is_named(
    cache: Path, tmp_path: Path, writing: Callable[[Callable[[], None]], None]
) -> None:
    def grow() -> None:
        with (cache / "KEY" / "growing.txt").open("a") as log:
            log.write("more")
        time.sleep(0.001)

    writing(grow)
    with pytest.raises(Retry, match=r"growing\.txt changes while .* wait until") as caught:
        pack(cache, tmp_path / "image", Wish())
    assert caught.value.reason == "CacheChanges"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "change", ["rewritten", "replaced", "appears", "vanishes", "its time set back"]
)
def test_one_change_is_packed_as_it_is_afterwards(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Whatever happens after everything was read, before the second look."""
    file, times = cache / "KEY" / "add.ptx", []

    def once(root: Path, before: scan.Files) -> None:
        times.append(1)
        if len(times) == 1:
            time.sleep(0.02)
            if change == "rewritten":
                file.write_text(".version 8.5")
            elif change == "replaced":
                (cache / "new").write_text(".version 8.5")
                (cache / "new").rename(file)
            elif change == "appears":
                (cache / "KEY" / "late.ptx").write_text("late")
            elif change == "vanishes":
                file.unlink()
            else:
                status = file.stat()
                file.write_text(".version 8.5")
                os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        scan.unchanged(root, before)

    monkeypatch.setattr(command, "unchanged", once)
    pack(cache, tmp_path / "image", Wish())
    assert len(times) == 2
    found = packed_files(tmp_path / "image")
    there = {f"KEY/{one.name}": one.read_bytes() for one in (cache / "KEY").iterdir()}
    packed = {name.removeprefix("io.triton.cache/"): text for name, text in found.items()}
    assert {name: packed[name] for name in there if "__grp__" not in name} == {
        name: text for name, text in there.items() if "__grp__" not in name
    }
    assert packed.keys() - there.keys() == {"io.triton.manifest/manifest.json"}


def test_every_file_is_one_of_its_versions_however_often_it_is_written_mcv_38(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    writing: Callable[[Callable[[], None]], None],
) -> None:
    """200 tries while files are rewritten in place, at the same size, in bursts and pauses."""
    cache = fill(tmp_path / "cache")
    size, names, rng = 300_000, ("a.cubin", "b.cubin", "c.cubin"), random.Random(3)
    for name in names:
        (cache / "KEY" / name).write_bytes(bytes([65]) * size)

    def rewrite() -> None:
        for name in rng.sample(names, 2):
            with (cache / "KEY" / name).open("r+b", buffering=0) as file:
                letter = bytes([rng.randrange(66, 91)])
                for _ in range(3):  # in three writes: what lies between them is half a version
                    file.write(letter * (size // 3))
                    time.sleep(0.001)
        time.sleep(rng.choice((0.0, 0.002, 0.15, 0.3)))

    writing(rewrite)
    monkeypatch.setattr(scan, "PAUSES", (0.0,))
    done = given_up = 0
    while done + given_up < 200:
        try:
            pack(cache, tmp_path / "image", Wish(compression="zstd"))
        except Retry:
            given_up += 1
            continue
        done += 1
        found = packed_files(tmp_path / "image")
        for name in names:
            assert len(set(found[f"io.triton.cache/KEY/{name}"])) == 1
        shutil.rmtree(tmp_path / "image")
    print(f"{done} packed, {given_up} given up")
    assert done >= 10
    assert given_up


def test_a_file_that_changed_between_two_looks_is_not_taken_for_the_same(cache: Path) -> None:
    """What has just been written waits a tick: a second change could not be told from the first."""
    (cache / "KEY" / "add.ptx").write_text("x")
    begun = time.monotonic()
    assert scan.steadily(cache, lambda _files: 1) == 1
    assert time.monotonic() - begun > 0.03
