"""Packing: MCV's format to the letter, and the same digest for the same cache."""

import gzip
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gkm.api.errors import Rejected
from gkm.cli.pack import Wish, pack

KERNEL = {
    "hash": "h1",
    "target": {"backend": "cuda", "arch": 90, "warp_size": 32},
    "num_warps": 4,
    "num_stages": 3,
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return fill(tmp_path / "cache")


@pytest.fixture
def epoch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return monkeypatch


def fill(root: Path) -> Path:
    """A cache as Triton leaves it: group files name the folder that it was compiled in."""
    key = root / "KEY"
    key.mkdir(parents=True)
    (key / "add.json").write_text(json.dumps(KERNEL))
    (key / "add.ptx").write_text(".version 8.4")
    group = {"child_paths": {name: f"{key}/{name}" for name in ("add.json", "add.ptx")}}
    (key / "__grp__add.json").write_text(json.dumps(group))
    return root


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()


def opened(
    layout: Path, digest: str
) -> tuple[dict[str, Any], dict[str, Any], list[tarfile.TarInfo]]:
    manifest = json.loads(blob(layout, digest))
    config = json.loads(blob(layout, manifest["config"]["digest"]))
    plain = gzip.decompress(blob(layout, manifest["layers"][0]["digest"]))
    return manifest, config, tarfile.open(fileobj=io.BytesIO(plain)).getmembers()


def test_the_image_has_the_format_of_mcv(cache: Path, tmp_path: Path) -> None:
    layout = tmp_path / "image"
    manifest, config, members = opened(layout, pack(cache, layout, Wish("quay.io/me/cache:v1")))
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    files = [one for one in members if one.isreg() and one.name.startswith("io.triton.cache/")]
    assert config["config"]["Labels"] == {
        "cache.triton.image/entry-count": "1",
        "cache.triton.image/summary": '{"targets":[{"backend":"cuda","arch":"90","warp_size":32}]}',
        "cache.triton.image/cache-size-bytes": str(sum(one.size for one in files)),
        "org.opencontainers.image.title": "cache",
    }
    assert [one.name for one in members] == [
        "io.triton.cache/KEY",
        "io.triton.cache/KEY/__grp__add.json",
        "io.triton.cache/KEY/add.json",
        "io.triton.cache/KEY/add.ptx",
        "io.triton.manifest/manifest.json",
    ]
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members} == {
        (0, 0, "", "", 0)
    }
    assert {one.mode for one in members} == {0o755, 0o644}
    assert config["created"] == "1970-01-01T00:00:00Z"


def test_the_digest_depends_on_nothing_but_the_cache(
    cache: Path, tmp_path: Path, epoch: pytest.MonkeyPatch
) -> None:
    first = pack(cache, tmp_path / "one", Wish())
    umask = os.umask(0o077)
    try:
        other = fill(tmp_path / "elsewhere" / "deeper")
        for path in other.rglob("*"):
            os.utime(path, (1, 1))
            if os.geteuid() == 0:
                os.chown(path, 1234, 1234)
        assert pack(other, tmp_path / "two", Wish()) == first
    finally:
        os.umask(umask)
    copied = shutil.copytree(cache, tmp_path / "copy")
    assert pack(copied, tmp_path / "three", Wish()) == first
    (copied / "KEY" / "add.ptx").write_text(".version 8.5")
    assert pack(copied, tmp_path / "four", Wish()) != first
    epoch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert pack(cache, tmp_path / "five", Wish()) != first


def test_what_a_compiler_left_half_done_is_not_packed(cache: Path, tmp_path: Path) -> None:
    first = pack(cache, tmp_path / "one", Wish())
    (cache / "KEY" / "tmp.pid_1_abc").mkdir()
    (cache / "KEY" / "tmp.pid_1_abc" / "add.ptx").write_text("half")
    (cache / "KEY" / "lock").touch()
    (cache / "KEY" / "a.lock").touch()
    assert pack(cache, tmp_path / "two", Wish()) == first


def test_links_to_files_are_packed_as_files(cache: Path, tmp_path: Path) -> None:
    first = pack(cache, tmp_path / "one", Wish())
    linked = tmp_path / "linked" / "KEY"
    linked.mkdir(parents=True)
    for path in (cache / "KEY").iterdir():
        (linked / path.name).symlink_to(path)
    assert pack(linked.parent, tmp_path / "two", Wish()) == first


def test_what_cannot_be_packed_is_named(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(Rejected, match="NotACache"):
        pack(tmp_path / "nothing", tmp_path / "image", Wish())
    with pytest.raises(FileNotFoundError):
        pack(tmp_path / "absent", tmp_path / "image", Wish())
    os.mkfifo(cache / "KEY" / "pipe")
    with pytest.raises(Rejected, match="pipe"):
        pack(cache, tmp_path / "image", Wish())
    (cache / "KEY" / "pipe").unlink()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(Rejected, match="OutputExists"):
        pack(cache, tmp_path / "full", Wish())
