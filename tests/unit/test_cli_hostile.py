"""What images, archives and directories may say: it is shown or refused in a line, never obeyed."""

import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import rich.console

from gkm.api.errors import Rejected, Retry
from gkm.cli import program, scan, source, table
from gkm.cli.archivefile import ArchiveFile
from gkm.cli.layout import descriptor, dump, to_json
from gkm.oci import media
from tests.unit.cli import Done, fill, gkm

ENTRIES = "cache.triton.image/entry-count"
LABELS = {ENTRIES: "1", "cache.triton.image/summary": '{"targets":[]}'}
EVIL = "a\x1b[2J\x9b1m\u202e\nDigest:  forged\r\ud800\x00"
"""Clears a terminal, colours it, writes backwards, adds a row, and is no Unicode."""


def archive(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def image(path: Path, tag: str = "a:b", **labels: str) -> Path:
    """A docker-archive without layers."""
    config = {
        "config": {"Labels": {**LABELS, **labels}},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    manifest = [{"Config": "c.json", "RepoTags": [tag], "Layers": []}]
    return archive(
        path,
        {"c.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()},
    )


def refused(done: Done, *words: str) -> None:
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (10, "", 1), done.stderr
    assert all(word in done.stderr for word in words), done.stderr


# Documents


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 200_000,
        b"[" * 50_000 + b"]" * 50_000,
        b'[{"Config": ' + b"9" * 5000 + b"}]",
        b'[{"Config": "c", "Config": "d"}]',
        b"\xff",
    ],
    ids=["deep", "deep and closed", "a long number", "twins", "no UTF-8"],
)
def test_a_manifest_json_that_is_none(tmp_path: Path, document: bytes) -> None:
    done = gkm("inspect", archive(tmp_path / "image.tar", {"manifest.json": document}))
    refused(done, "BadImage", "manifest.json")


@pytest.mark.parametrize("document", [b"{}", b"3", b"[]", b"[[]]", b'[{"Layers": 3}]'])
def test_a_manifest_json_that_names_no_image(tmp_path: Path, document: bytes) -> None:
    done = gkm("inspect", archive(tmp_path / "image.tar", {"manifest.json": document}))
    refused(done, "BadImage", "names no image")


@pytest.mark.parametrize("count", ["9" * 5000, "\u0663", "-1", ""])
def test_a_count_that_is_no_number_is_not_known(tmp_path: Path, count: str) -> None:
    done = gkm("inspect", image(tmp_path / "image.tar", **{ENTRIES: count}), "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["entries"] is None


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_what_an_image_says_of_itself_is_only_shown(tmp_path: Path, output: str) -> None:
    labels = {"org.opencontainers.image.title": EVIL, f"io.kserve.km/{EVIL}": EVIL}
    done = gkm("inspect", image(tmp_path / "image.tar", EVIL, **labels), "-o", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(one.isprintable() for one in done.stdout.splitlines())
    assert not any(line.startswith("Digest:  forged") for line in done.stdout.splitlines())


# Memory


def padded(path: Path, count: int, size: int, form: str) -> Path:
    """An archive with so many small members before, between and after its documents."""
    config = json.dumps({"config": {"Labels": LABELS}, "rootfs": {"diff_ids": []}}).encode()
    padding = {f"pad{i}": bytes(size) for i in range(count)}
    if form == "docker":
        told = json.dumps([{"Config": "c.json", "RepoTags": ["a:b"], "Layers": []}])
        return archive(path, {**padding, "c.json": config, "manifest.json": told.encode()})
    inner = descriptor(media.OCI_CONFIG, config)
    manifest = dump({"config": to_json(inner), "layers": []})
    outer = descriptor(media.OCI_MANIFEST, manifest)
    blobs = {
        f"blobs/{one.digest.replace(':', '/')}": raw
        for one, raw in ((inner, config), (outer, manifest))
    }
    return archive(path, {**padding, **blobs, "index.json": dump({"manifests": [to_json(outer)]})})


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_an_archive_of_small_members_is_not_kept_in_memory(tmp_path: Path, form: str) -> None:
    path = padded(tmp_path / "image.tar", 48, 4 << 20, form)
    tracemalloc.start()
    try:
        found = ArchiveFile(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.config.labels == LABELS
    assert peak < 48 << 20


def test_an_archive_of_many_members_is_no_image(tmp_path: Path) -> None:
    refused(gkm("inspect", padded(tmp_path / "image.tar", 10_001, 0, "oci")), "10000 files")


@pytest.mark.parametrize("name", ["manifest.json", "index.json", "c.json"])
def test_a_document_that_is_too_large_is_named(tmp_path: Path, name: str) -> None:
    manifest = {"manifest.json": b'[{"Config": "c.json", "Layers": []}]'} if name[0] == "c" else {}
    done = gkm("inspect", archive(tmp_path / "image.tar", {**manifest, name: bytes((4 << 20) + 1)}))
    refused(done, name, "4194305 bytes")


# Text


def test_a_value_is_one_row_of_printable_characters() -> None:
    for text in (
        table.table([("NAME", "VALUE"), ("a", EVIL), (EVIL, "b")]),
        table.key_values([("a", EVIL), (EVIL, "b")]),
    ):
        assert len(text.splitlines()) == text.count("\n") + 1 <= 3
        assert text.replace("\n", "").isprintable()
    assert table.plain("é 日本 [x]") == "é 日本 [x]"


def test_a_value_is_no_markup_in_a_coloured_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert rich.console.Console().is_terminal
    text = table.table([("NAME", "VALUE"), ("[/x] [red]:bomb:", EVIL)])
    assert "[/x] [red]:bomb:" in text
    assert "\x1b[2J" not in text
    assert text.count("\n") == 1


def test_a_complaint_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> str:
        raise Rejected("Bad", EVIL)

    assert program.run(work) == 10
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.removesuffix("\n").isprintable()


# Names


@pytest.mark.parametrize("form", ["oci", "docker-archive"])
@pytest.mark.parametrize("place", ["KEY", "folder\udcff"])
def test_a_name_that_is_no_utf8_is_refused_by_name(tmp_path: Path, form: str, place: str) -> None:
    cache = fill(tmp_path / "cache")
    (cache / place).mkdir(exist_ok=True)
    (cache / place / os.fsdecode(b"add\xff.ptx")).touch()
    done = gkm("pack", cache, "-o", tmp_path / "image", "--format", form)
    refused(done, "\\xff", "no UTF-8")
    assert [one.name for one in tmp_path.iterdir()] == ["cache"]


def test_such_a_name_is_shown(tmp_path: Path) -> None:
    cache = fill(tmp_path / os.fsdecode(b"cache\xff"))
    (cache / "KEY" / os.fsdecode(b"add\xff.json")).write_text("{")
    for arguments in (["inspect", cache], ["inspect", cache, "-o", "yaml"], ["check", cache]):
        done = gkm(*arguments)
        assert done.returncode in (0, 1, 3), done.stderr
        assert "Traceback" not in done.stderr
    missing = gkm("inspect", tmp_path / os.fsdecode(b"gone\xff"))
    refused(missing, "gone?")


# A cache that is written to


def test_a_cache_that_changes_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file goes between its name and its size."""
    cache, looks = fill(tmp_path / "cache"), []
    status = scan._status

    def goes(path: str) -> os.stat_result:
        looks.append(path)
        if len(looks) == 2:
            raise scan.ChangedError("add.ptx")
        return status(path)

    monkeypatch.setattr(scan, "PAUSES", (0.01,))
    monkeypatch.setattr(scan, "_status", goes)
    assert source.find(str(cache)).kernels is not None


def test_a_cache_that_never_rests_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = fill(tmp_path / "cache")

    def always(_root: Path, _before: Any) -> None:
        raise scan.ChangedError("KEY/add.ptx")

    monkeypatch.setattr(scan, "PAUSES", (0.01,))
    monkeypatch.setattr(scan, "unchanged", always)
    with pytest.raises(Retry, match=r"CacheChanges: .*add\.ptx changes while"):
        source.find(str(cache))


@pytest.mark.parametrize("what", ["index.json", "manifest", "config"])
def test_a_layout_with_a_giant_document_is_refused(tmp_path: Path, what: str) -> None:
    layout = tmp_path / "image"
    assert gkm("pack", fill(tmp_path / "cache"), "-o", layout).returncode == 0
    manifest, config = documents(layout)
    file = {"index.json": layout / "index.json", "manifest": manifest, "config": config}[what]
    with file.open("ab") as opened:
        opened.truncate(1 << 40)
    done = gkm("inspect", layout)
    assert (done.returncode, done.stderr.count("\n")) == (10, 1)
    assert "larger than a document may be" in done.stderr


@pytest.mark.parametrize("what", ["manifest", "config"])
def test_a_layout_with_other_bytes_is_refused(tmp_path: Path, what: str) -> None:
    layout = tmp_path / "image"
    assert gkm("pack", fill(tmp_path / "cache"), "-o", layout).returncode == 0
    manifest, config = documents(layout)
    file = {"manifest": manifest, "config": config}[what]
    file.write_text(file.read_text() + " ")
    done = gkm("inspect", layout)
    assert (done.returncode, done.stderr.count("\n")) == (10, 1)
    assert "another digest" in done.stderr


def documents(layout: Path) -> tuple[Path, Path]:
    """The manifest and the config."""
    blobs = layout / "blobs" / "sha256"
    index = json.loads((layout / "index.json").read_text())
    manifest = blobs / index["manifests"][0]["digest"].removeprefix("sha256:")
    config = json.loads(manifest.read_text())["config"]["digest"]
    return manifest, blobs / config.removeprefix("sha256:")
