"""What a volume looks like after an extraction, whatever the image and however it ended."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gkm.api.errors import Rejected, Retry
from gkm.core.outcome import Outcome
from gkm.core.progress import Progress
from gkm.extract import told
from gkm.extract.job import extract
from gkm.extract.tree import Tree
from gkm.extract.unpack import Unpacker
from gkm.extract.volume import Volume
from gkm.oci import media
from tests import vllmtrees
from tests.images import Image, Script, cache_files, scripted, tar

FILES = {"KEY/add.cubin": b"\x7fELF", "KEY/add.json": b"{}", "top": b"1"}


@pytest.fixture
def script() -> Iterator[Script]:
    with scripted() as running:
        yield running


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    (folder / "lost+found").mkdir()
    return folder


def run(script: Script, image: Image, volume: Path, mount_path: str = "/cache") -> Outcome:
    pinned = script.add(image)
    with Volume(volume) as opened:
        return extract(script.registry(), pinned, opened, mount_path)


def content(volume: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(volume)): path.read_bytes()
        for path in sorted(volume.rglob("*"))
        if path.is_file() and ".gkm" not in path.parts
    }


@pytest.mark.parametrize(
    "kind", [media.OCI_LAYER_GZIP, media.DOCKER_LAYER_GZIP, media.OCI_LAYER_ZSTD]
)
def test_a_cache_becomes_the_volumes_root(script: Script, volume: Path, kind: str) -> None:
    entries = [
        ("io.triton.cache/KEY", None),
        *((f"io.triton.cache/{name}", data) for name, data in FILES.items()),
        ("io.triton.manifest/manifest.json", b'{"triton": []}'),
        ("etc/passwd", b"ignored"),
    ]
    image = Image([tar(entries)], layer_type=kind)
    outcome = run(script, image, volume)
    assert content(volume) == FILES
    assert (outcome.reason, outcome.files, outcome.bytes) == ("Extracted", 3, 7)
    assert (volume / ".gkm" / "manifest.json").read_bytes() == b'{"triton": []}'
    assert json.loads((volume / ".gkm" / "complete").read_text()) == {
        "digest": outcome.digest,
        "mountPath": "/cache",
        "bytes": 7,
        "files": 3,
    }
    assert (volume / "KEY").stat().st_mode & 0o777 == 0o555
    assert (volume / "top").stat().st_mode & 0o777 & ~0o022 == 0o444


def test_a_vllm_image_of_mcv_becomes_the_volumes_root(script: Script, volume: Path) -> None:
    """MCV packs files as they are, its size label counts them so; a prefix has a slash (mcv_21)."""
    files = vllmtrees.binary(env={**vllmtrees.ENV, "HF_TOKEN": "canary"})
    entries = [(f"io.vllm.cache/{name}", body) for name, body in files.items()]
    size = sum(map(len, files.values()))
    labels = {
        "cache.vllm.image/summary": "null",
        "cache.vllm.image/cache-size-bytes": str(size),
    }
    manifest = ("io.vllm.manifest/manifest.json", b'{"vllm": []}')
    other = ("io.vllm.cacheXYZ/f", b"another prefix")
    outcome = run(script, Image([tar([*entries, manifest, other])], labels=labels), volume, "/mnt")
    found = content(volume)
    assert (outcome.files, outcome.bytes, set(found)) == (len(files), size, set(files))
    changed = {name.rpartition("/")[2] for name in files if found[name] != files[name]}
    assert changed == {"vllm_compile_cache.py", "cache_key_factors.json"}
    index = next(body for name, body in found.items() if name.endswith("compile_cache.py"))
    assert index.count(b"'/mnt/torch_compile_cache/a1b2c3d4e5/rank_0_0/backbone/artifact_") == 3
    assert vllmtrees.BUILT.encode() not in index
    assert not any(b"canary" in body for body in found.values())
    assert (volume / ".gkm" / "manifest.json").read_bytes() == manifest[1]


def test_group_files_follow_the_mount_path(script: Script, volume: Path) -> None:
    group = {"child_paths": {"a.ptx": "/build/KEY/a.ptx"}}
    image = Image(
        [cache_files({"KEY/__grp__a.json": json.dumps(group).encode(), "KEY/a.ptx": b"p"})]
    )
    run(script, image, volume, "/models/cache")
    moved = json.loads((volume / "KEY" / "__grp__a.json").read_text())
    assert moved == {"child_paths": {"a.ptx": "/models/cache/KEY/a.ptx"}}


def test_a_complete_volume_is_left_alone_and_nothing_is_downloaded(
    script: Script, volume: Path
) -> None:
    first = run(script, Image([cache_files(FILES)]), volume)
    before = (volume / "top").stat().st_ino
    script.asked.clear()
    second = run(script, Image([cache_files(FILES)]), volume)
    assert not script.asked
    assert (volume / "top").stat().st_ino == before
    assert (second.digest, second.bytes, second.files) == (first.digest, first.bytes, first.files)


def test_another_image_or_mount_path_replaces_everything(script: Script, volume: Path) -> None:
    run(script, Image([cache_files(FILES)]), volume)
    run(script, Image([cache_files({"new": b"n"})]), volume)
    assert content(volume) == {"new": b"n"}
    outcome = run(script, Image([cache_files({"new": b"n"})]), volume, "/elsewhere")
    assert json.loads((volume / ".gkm" / "complete").read_text())["mountPath"] == "/elsewhere"
    assert outcome.files == 1
    assert (volume / "lost+found").is_dir()


def test_a_volume_of_any_number_of_files_is_emptied(script: Script, volume: Path) -> None:
    many = {f"{where}f{n}": b"" for where in ("", "KEY/") for n in range(2500)}
    run(script, Image([cache_files(many)]), volume)
    run(script, Image([cache_files(FILES)]), volume)
    assert content(volume) == FILES


def test_a_failed_run_leaves_an_unfinished_volume_that_the_next_one_fills(
    script: Script, volume: Path
) -> None:
    run(script, Image([cache_files(FILES)]), volume)
    broken = Image([cache_files({"half": b"x" * 5000}) + b"garbage"])
    with pytest.raises(Rejected):
        run(script, broken, volume)
    assert not (volume / ".gkm" / "complete").exists()
    run(script, Image([cache_files(FILES)]), volume)
    assert content(volume) == FILES


def test_foreign_content_is_named_and_left(script: Script, volume: Path) -> None:
    (volume / "thesis.tex").write_text("mine")
    with pytest.raises(Rejected, match=r"ForeignContent.*thesis\.tex"):
        run(script, Image([cache_files(FILES)]), volume)
    assert content(volume) == {"thesis.tex": b"mine"}


def test_two_layers_are_unpacked_in_order_and_no_path_twice(script: Script, volume: Path) -> None:
    one, two = cache_files({"KEY/a": b"1"}), cache_files({"KEY/b": b"2"})
    run(script, Image([one, two]), volume)
    assert content(volume) == {"KEY/a": b"1", "KEY/b": b"2"}
    for other in (
        cache_files({"KEY/a": b"2", "x": b""}),
        cache_files({"KEY/a/c": b"2"}),
        cache_files({"KEY": b""}),
    ):
        with pytest.raises(Rejected, match="BadArchive"):
            run(script, Image([one, other]), volume)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image([tar([("etc/passwd", b"x")])]), "NotACacheImage"),
        (Image([tar([("io.triton.cache", None)])]), "NotACacheImage"),
        (Image([cache_files(FILES)], labels={}), "NotACacheImage"),
        (Image([cache_files(FILES)], layer_type="application/x-tar"), "NotACacheImage"),
        (Image([cache_files(FILES)], size_label="6"), "SizeMismatch"),
        (Image([cache_files({".gkm/complete": b"{}"})]), "BadArchive"),
        (Image([cache_files({"lost+found/x": b"{}"})]), "BadArchive"),
        (Image([cache_files({"K/__grp__a.json": b"{}"})]), "BadCache"),
    ],
)
def test_an_image_that_is_no_cache_is_rejected(
    script: Script, volume: Path, image: Image, reason: str
) -> None:
    with pytest.raises(Rejected) as caught:
        run(script, image, volume)
    assert caught.value.reason == reason
    assert not (volume / ".gkm" / "complete").exists()


def test_without_a_cluster_a_tag_and_a_new_directory_are_enough(
    script: Script, tmp_path: Path
) -> None:
    group = json.dumps({"child_paths": {"add.cubin": "/home/them/KEY/add.cubin"}}).encode()
    script.add(Image([cache_files({**FILES, "KEY/__grp__add.json": group})]))
    target = tmp_path / "new" / "cache"
    done = program("extract", f"{script.host}/k/c:v1", str(target), host=script.host)
    assert done.returncode == 0, done.stderr
    paths = json.loads((target / "KEY" / "__grp__add.json").read_bytes())["child_paths"]
    assert paths == {"add.cubin": str(target / "KEY" / "add.cubin")}


def test_the_logins_are_those_of_docker(script: Script, tmp_path: Path) -> None:
    auth = base64.b64encode(b"me:canary").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {script.host: {"auth": auth}}}))
    script.add(Image([cache_files(FILES)]))
    for answer in script.answers.values():
        answer.needs, answer.headers = f"Basic {auth}", {"WWW-Authenticate": 'Basic realm="test"'}
    reference, target = f"{script.host}/k/c:v1", str(tmp_path / "cache")
    assert program("extract", reference, target, host=script.host).returncode == 11
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    done = program("extract", reference, target, host=script.host, **environment)
    assert (done.returncode, "canary" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_lines_in_a_log_and_a_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setattr(told, "_LINE_SECONDS", 0)
    monkeypatch.setattr(told, "_BAR_SECONDS", 0)
    chunks = [b"x" * (1 << 20)] * 3
    assert list(told.Told(3 << 20, lambda: 7).passing(iter(chunks))) == chunks
    far = [Progress(n << 20, 3 << 20, 7) for n in (1, 2, 3)]
    if terminal:
        bars = [f"\r\x1b[K[{'#' * 10 * n}{'-' * (30 - 10 * n)}] {far[n - 1]}" for n in (1, 2, 3)]
        assert out.getvalue() == "".join(bars)
    else:
        assert out.getvalue().splitlines() == [one.to_line() for one in far]
        assert Progress.last(out.getvalue()) == far[-1]


def test_a_volume_that_is_too_small_says_so_before_it_is_filled(
    script: Script, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Volume, "free", lambda _: 10 << 20)
    image = Image([cache_files(FILES)], size_label=str(11 << 20))
    with pytest.raises(Retry, match=r"NoSpace.*spec\.storageSize"):
        run(script, image, volume)
    assert content(volume) == {}


def test_links_on_the_volume_are_not_followed(script: Script, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "keep").write_text("mine")
    run(script, Image([cache_files(FILES)]), volume)
    (volume / "KEY").chmod(0o755)
    (volume / "KEY" / "link").symlink_to(tmp_path / "outside")
    (volume / "link").symlink_to(tmp_path / "outside")
    run(script, Image([cache_files({"link/keep": b"new"})]), volume)
    assert (tmp_path / "outside" / "keep").read_text() == "mine"
    assert content(volume) == {"link/keep": b"new"}


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs as a plain user already")
def test_a_user_without_privileges_can_fill_a_volume_again(script: Script, volume: Path) -> None:
    pinned = script.add(Image([cache_files(FILES)]))
    (volume / "lost+found").chmod(0o700)
    os.chown(volume, 65534, 65534)
    with Volume(volume) as opened:
        os.seteuid(65534)
        try:
            for mount_path in ("/a", "/b"):
                extract(script.registry(), pinned, opened, mount_path)
        finally:
            os.seteuid(0)
    assert content(volume) == FILES


class Crash(BaseException):
    """The process ends here."""


def test_after_a_crash_at_any_step_the_volume_is_unfinished_or_complete(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Image([cache_files(FILES)]), Image([cache_files({"KEY/new": b"n", "top": b"2"})])
    expected = {script.add(old)[-71:]: FILES, script.add(new)[-71:]: {"KEY/new": b"n", "top": b"2"}}
    steps = crashes = 0
    while crashes == steps:
        folder = tmp_path / str(steps)
        folder.mkdir()
        run(script, old, folder)
        steps += 1
        with monkeypatch.context() as patch:
            crash_at(patch, steps)
            try:
                run(script, new, folder)
            except Crash:
                crashes += 1
        with Volume(folder) as volume:
            marker = volume.marker()
        assert marker is None or content(folder) == expected[marker.digest]
        run(script, new, folder)
        assert content(folder) == {"KEY/new": b"n", "top": b"2"}
    assert steps > 20  # steps that exist at all: else the sweep tests nothing


def crash_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Raise Crash before the ``step``-th call that changes the volume."""
    left = [step]

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] <= 0:
                raise Crash
            return real(*arguments, **named)

        return call

    for name in ("open", "mkdir", "unlink", "rmdir", "write", "fchmod", "fsync", "rename"):
        patch.setattr(os, name, guarded(getattr(os, name)))


ARCHIVE = tar(
    [
        ("io.triton.cache/KEY", None),
        ("io.triton.cache/KEY/a", b"x" * 600),
        ("io.triton.cache/" + "n" * 120, b"y"),
        ("io.triton.manifest/manifest.json", b"{}"),
    ]
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=st.lists(st.tuples(st.integers(0, len(ARCHIVE) - 1), st.integers(0, 255)), max_size=5))
def test_nothing_is_written_outside_whatever_the_archive_says(
    tmp_path: Path, edits: list[tuple[int, int]]
) -> None:
    raw = bytearray(ARCHIVE)
    for at, value in edits:
        raw[at] = value
    root = tmp_path / f"case{len(list(tmp_path.iterdir()))}" / "volume"
    root.mkdir(parents=True)
    descriptor = os.open(root, os.O_RDONLY)
    tree = Tree(descriptor)
    unpacker = Unpacker({"cache.triton.image/summary": ""}, tree, "/cache", None)
    try:
        unpacker.layer(iter([bytes(raw)]))
    except Rejected:
        pass
    finally:
        tree.close()
        os.close(descriptor)
    assert list(root.parent.iterdir()) == [root]


def program(
    *arguments: str, host: str = "", **environment: str
) -> "subprocess.CompletedProcess[str]":
    settings_text = json.dumps({"plainHttp": [host]})
    return subprocess.run(
        [sys.executable, "-m", "gkm", *arguments],
        env={**os.environ, "GKM_REGISTRY": settings_text, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_says_how_it_ended(script: Script, volume: Path, tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    pinned = script.add(Image([cache_files(FILES)]))
    common = ("--mount-path", "/cache", "--termination-log", str(log))
    done = program("extract", pinned, str(volume), *common, host=script.host)
    assert done.returncode == 0, done.stderr
    outcome = Outcome.parse(log.read_text())
    assert outcome is not None
    assert (outcome.reason, outcome.files, outcome.digest) == ("Extracted", 3, pinned[-71:])
    assert (volume / "top").stat().st_mode & 0o777 == 0o444

    absent = pinned.replace("k/c", "k/absent")
    common = ("--mount-path", "/other", *common[2:])
    done = program("extract", absent, str(volume), *common, host=script.host)
    assert (done.returncode, _reason(log)) == (11, "ImageNotFound")
    done = program("extract", pinned, str(volume), *common)
    assert (done.returncode, _reason(log)) == (11, "RegistryUnavailable")
    done = program("extract", pinned, str(log), *common, host=script.host)
    assert (done.returncode, _reason(log)) == (11, "VolumeError")


class Torn(Image):
    """Its packer stopped early, and its digests are those of what it wrote."""

    def _pack(self, plain: bytes) -> bytes:
        return super()._pack(plain)[:-9]


def flip(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]


def spoil_header(body: bytes) -> bytes:
    assert b"ustar" in body  # zstd leaves blocks as they are that do not shrink
    return body.replace(b"ustar", b"usTar")


NOISE = cache_files({"KEY/a": os.urandom(8 << 20)})
"""More than is read ahead, and it does not shrink."""


@pytest.mark.parametrize(
    ("image", "change", "expected"),
    [
        (Image([NOISE]), flip, (11, "DigestMismatch")),
        (Image([cache_files({"KEY/a": b"kernel " * 9999})]), flip, (11, "DigestMismatch")),
        (Image([NOISE], layer_type=media.OCI_LAYER_ZSTD), flip, (11, "DigestMismatch")),
        (Image([NOISE], layer_type=media.OCI_LAYER_ZSTD), spoil_header, (11, "DigestMismatch")),
        (Image([NOISE]), lambda body: body[:-9], (11, "DigestMismatch")),
        (Image([NOISE]), lambda body: flip(body)[:-9], (11, "DigestMismatch")),
        (Image([NOISE]), bytes, (0, "Extracted")),
        (Image([b"no archive" * (1 << 20)]), bytes, (10, "BadArchive")),
        (Torn([NOISE]), bytes, (10, "BrokenLayer")),
        (Torn([NOISE]), flip, (11, "DigestMismatch")),
    ],
    ids=[
        *("stored", "deflated", "zstd", "tar header", "cut", "changed and cut"),
        *("unchanged", "honest bad tar", "honest torn layer", "torn and changed"),
    ],
)
def test_bytes_changed_on_the_way_are_tried_again_and_honest_bad_ones_are_not(
    script: Script,
    volume: Path,
    tmp_path: Path,
    image: Image,
    change: Callable[[bytes], bytes],
    expected: tuple[int, str],
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    pinned = script.add(image)
    layer = max(script.answers.values(), key=lambda answer: len(answer.body))
    layer.body = change(layer.body)
    common = ("--mount-path", "/cache", "--termination-log", str(log))
    done = program("extract", pinned, str(volume), *common, host=script.host)
    assert (done.returncode, _reason(log)) == expected, done.stderr
    assert (volume / ".gkm" / "complete").exists() == (done.returncode == 0)


def _reason(log: Path) -> str:
    outcome = Outcome.parse(log.read_text())
    assert outcome is not None
    return outcome.reason


def test_empty_removes_what_gkm_made(script: Script, volume: Path) -> None:
    run(script, Image([cache_files(FILES)]), volume)
    for _ in range(2):
        assert program("extract", "--empty", str(volume)).returncode == 0
        assert list(volume.iterdir()) == [volume / "lost+found"]
    (volume / "mine").touch()
    assert program("extract", "--empty", str(volume)).returncode == 10


def test_empty_writes_nothing_to_a_volume_that_nobody_filled(volume: Path) -> None:
    before = volume.stat().st_mtime_ns
    assert program("extract", "--empty", str(volume)).returncode == 0
    assert volume.stat().st_mtime_ns == before
    assert list(volume.iterdir()) == [volume / "lost+found"]


def test_empty_needs_no_right_to_write_where_nobody_wrote(volume: Path) -> None:
    # The kubelet makes a hostPath folder as root's, 0755; the Job is user 1000.
    root = os.geteuid() == 0
    volume.chmod(0o755 if root else 0o555)
    with Volume(volume) as opened:
        os.seteuid(1000 if root else os.geteuid())
        try:
            with pytest.raises(PermissionError):
                os.mkdir("new", dir_fd=opened.root)
            opened.empty()
        finally:
            os.seteuid(0 if root else os.geteuid())
    assert list(volume.iterdir()) == [volume / "lost+found"]


def test_empty_leaves_foreign_content_alone(volume: Path) -> None:
    (volume / "thesis.tex").write_text("mine")
    done = program("extract", "--empty", str(volume))
    assert (done.returncode, "ForeignContent" in done.stderr) == (10, True)
    assert content(volume) == {"thesis.tex": b"mine"}


@pytest.mark.parametrize(
    "arguments",
    [("extract",), ("extract", "b"), ("extract", "a", "b", "--mount-path", "c"),
     ("extract", "--empty", "a", "b"), ("overlay", "a", "b"), ("overlay", "/a"),
     ("overlay", "--check", "/a", "b"), ("pack",), ("nonsense",)],
)  # fmt: skip
def test_wrong_usage_is_one_line(arguments: tuple[str, ...]) -> None:
    done = program(*arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_the_job_imports_little() -> None:
    code = (
        "import sys, gkm.__main__, gkm.extract.app; print(' '.join(sorted(sys.modules)));"
        "print(len(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, count = done.stdout.splitlines()
    heavy = {
        "pydantic",
        "aiohttp",
        "kopf",
        "kubernetes",
        "oras",
        "sigstore",
        "asyncio",
        "requests",
        "rich",
        "tarfile",
    }
    assert not heavy & set(names.split())
    assert int(count) < 200
