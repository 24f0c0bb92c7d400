"""Output that becomes what it should, or is refused before anything is fetched or packed."""

from pathlib import Path

import pytest

from gkm.api.errors import Rejected
from gkm.cli import whole

MOUNT = "36 35 98:0 / {place} rw,noatime master:1 - ext4 /dev/root rw\n"


def write(target: Path) -> None:
    with whole.whole_folder(target) as draft:
        (draft / "a").write_text("1")


def refused(target: Path) -> str:
    with (
        pytest.raises(Rejected, match="OutputExists") as caught,
        whole.whole_folder(target),
    ):
        pytest.fail("work began")
    assert whole.UNFINISHED not in caught.value.message
    return caught.value.message


def test_the_current_folder_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stands in it would stand in a folder that is gone."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (tmp_path / "link").symlink_to(here)
    for target in (Path(), here, tmp_path / "link", Path("../here")):
        assert "is the current folder" in refused(target)
    assert list(here.iterdir()) == []


def test_a_link_to_an_empty_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    write(tmp_path / "link")
    assert (tmp_path / "link").readlink() == Path("folder")
    assert (tmp_path / "folder" / "a").read_text() == "1"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "link"]


def test_a_new_folder_below_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("./new/"))
    assert (tmp_path / "new" / "a").read_text() == "1"


@pytest.mark.parametrize("name", ["mount", "with space", "back\\slash"])
def test_a_mount_point_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = tmp_path / name
    place.mkdir()
    table = tmp_path / "mountinfo"
    listed = str(place).replace("\\", "\\134").replace(" ", "\\040")
    table.write_text(MOUNT.format(place="/") + MOUNT.format(place=listed))
    monkeypatch.setattr(whole, "_MOUNTS", table)
    (tmp_path / "link").symlink_to(place)
    for target in (place, tmp_path / "link"):
        message = refused(target)
        assert str(target) in message
        assert "is a mount point" in message


@pytest.mark.parametrize("name", ["dangling", "looping"])
def test_a_link_to_nothing_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "looping").symlink_to("looping")
    assert "is not an empty folder" in refused(tmp_path / name)
