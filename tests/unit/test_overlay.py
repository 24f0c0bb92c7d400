"""The private writable layer: links to what is there, room for what is not."""

from pathlib import Path

import pytest

from gkm.api.errors import Retry
from gkm.extract.overlay import check, overlay
from gkm.extract.volume import Marker, Volume


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    with Volume(root) as volume:
        volume.begin()
        for name in ("KEY/a.ptx", "KEY/deep/b", "top"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
        volume.complete(Marker("sha256:1", "/cache", 3, 3))
    (root / "lost+found").mkdir()
    return root


@pytest.fixture
def target(tmp_path: Path) -> Path:
    root = tmp_path / "target"
    root.mkdir()
    return root


def test_directories_are_real_and_files_are_links(source: Path, target: Path) -> None:
    outcome = overlay(source, target)
    assert outcome.files == 3
    assert sorted(p.name for p in target.iterdir()) == ["KEY", "top"]
    assert not (target / "KEY" / "deep").is_symlink()
    assert (target / "KEY" / "deep" / "b").readlink() == source / "KEY" / "deep" / "b"
    assert (target / "KEY" / "a.ptx").read_text() == "KEY/a.ptx"


def test_repeating_it_keeps_what_the_workload_wrote(source: Path, target: Path) -> None:
    overlay(source, target)
    (target / "top").unlink()
    (target / "top").write_text("own")
    (target / "KEY" / "new").write_text("own")
    (target / "KEY" / "a.ptx").unlink()
    assert overlay(source, target).files == 1
    assert (target / "top").read_text() == "own"
    assert (target / "KEY" / "new").read_text() == "own"
    assert (source / "top").read_text() == "top"


def test_a_volume_that_is_not_complete_is_refused(source: Path, target: Path) -> None:
    (source / ".gkm" / "complete").unlink()
    with pytest.raises(Retry, match="NotComplete"):
        overlay(source, target)
    (source / ".gkm").rmdir()
    with pytest.raises(Retry, match="NotComplete"):
        overlay(source, target)
    assert not list(target.iterdir())


def test_a_check_looks_for_completeness_and_makes_nothing(source: Path) -> None:
    before = sorted(source.rglob("*"))
    assert check(source).digest == "sha256:1"
    assert sorted(source.rglob("*")) == before
    (source / ".gkm" / "complete").unlink()
    with pytest.raises(Retry, match="NotComplete"):
        check(source)
