"""Volumes that are too small, read-only, somebody else's, slow, or moved away meanwhile."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from gkm.api.errors import Rejected
from gkm.core.outcome import EXIT_DONE, EXIT_REJECTED, EXIT_RETRY, Outcome
from gkm.extract.job import extract
from gkm.extract.volume import Volume
from tests.extract.scenes import complete, kernels
from tests.extract.struck import Ended, Lab, Strike, tree
from tests.images import Image, Script, cache_files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems")
ON_ONE_LOOP = pytest.mark.asyncio(loop_scope="module")
_MIB = 1024 * 1024
_STEPS = 64
_INODES = 40
"""More than the folders of the image below, fewer than its folders and files."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(script: Script, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    async with Lab(tmp_path_factory.mktemp("disks"), script.host) as made:
        yield made


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own; unmounted in the end."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "gkm", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def grow(volume: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={8 * _MIB}", volume], check=True)


async def fill(lab: Lab, script: Script, volume: Path, image: Image | None = None) -> Ended:
    pinned = script.add(image or kernels(1))
    return await lab.run((pinned, str(volume), "--mount-path", "/cache"))


def reason(ended: Ended) -> str:
    assert ended.outcome is not None, ended.log
    return ended.outcome.reason


@ON_ONE_LOOP
async def test_a_disk_that_fills_up_anywhere_is_named_and_a_larger_one_is_filled(  # F89
    lab: Lab, script: Script, tmp_path: Path
) -> None:
    full = 0
    for step in range(1, _STEPS + 1):
        size = step * 4 * _MIB // _STEPS
        with disk(tmp_path / "disk", f"size={size}") as volume:
            ended = await fill(lab, script, volume)
            assert complete(volume) is (ended.code == EXIT_DONE)
            if ended.code != EXIT_DONE:
                full += 1
                assert (ended.code, reason(ended)) == (EXIT_RETRY, "NoSpace")
                assert "raise spec.storageSize" in ended.outcome.message  # type: ignore[union-attr]
                grow(volume)
                assert (await fill(lab, script, volume)).code == EXIT_DONE
            assert complete(volume)
    print(f"{full} of {_STEPS} disks were too small")
    assert 40 < full < _STEPS


@ON_ONE_LOOP
async def test_an_image_that_says_its_size_is_refused_before_anything_is_written(  # F89
    lab: Lab, script: Script, tmp_path: Path
) -> None:
    image = kernels(1)
    image.size_label = str(100 * _MIB)
    with disk(tmp_path / "disk", f"size={8 * _MIB}") as volume:
        ended = await fill(lab, script, volume, image)
        assert (ended.code, reason(ended)) == (EXIT_RETRY, "NoSpace")
        assert set(tree(volume)) <= {".gkm"}


@ON_ONE_LOOP
async def test_a_disk_without_inodes_is_named(lab: Lab, script: Script, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", f"size={8 * _MIB},nr_inodes={_INODES}") as volume:  # F90
        files = {f"KEY{n}/{name}": b"x" for n in range(10) for name in "abcdef"}
        ended = await fill(lab, script, volume, Image([cache_files(files)]))
        assert (ended.code, reason(ended)) == (EXIT_RETRY, "NoSpace")
        assert "no inodes" in ended.outcome.message  # type: ignore[union-attr]
        assert not complete(volume)


@ON_ONE_LOOP
async def test_a_volume_that_is_read_only_is_named(
    lab: Lab, script: Script, tmp_path: Path
) -> None:
    with disk(tmp_path / "disk", f"size={8 * _MIB},ro") as volume:  # F92
        ended = await fill(lab, script, volume)
        assert (ended.code, reason(ended)) == (EXIT_RETRY, "VolumeError")
        assert "Read-only file system" in ended.outcome.message  # type: ignore[union-attr]


def test_a_volume_that_belongs_to_somebody_else_is_named(script: Script, tmp_path: Path) -> None:
    pinned = script.add(kernels(1))  # F92
    tmp_path.chmod(0o755)
    with Volume(tmp_path) as volume:
        os.seteuid(1000)
        try:
            with pytest.raises(PermissionError):
                extract(script.registry(), pinned, volume, "/cache")
        finally:
            os.seteuid(0)
    assert tree(tmp_path) == {}


@ON_ONE_LOOP
@pytest.mark.parametrize("theirs", ["thesis.tex", ".initialized", ".extract.lock", "KEY"])
async def test_what_gkm_did_not_write_is_never_deleted(  # F93
    lab: Lab, script: Script, tmp_path: Path, theirs: str
) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / theirs).write_text("theirs")
    before = tree(tmp_path)
    ended = await fill(lab, script, tmp_path)
    assert (ended.code, reason(ended)) == (EXIT_REJECTED, "ForeignContent")
    assert theirs in ended.outcome.message  # type: ignore[union-attr]
    assert tree(tmp_path) == before


@ON_ONE_LOOP
async def test_five_crashes_leave_no_more_than_one_and_nothing_in_the_end(  # F94
    lab: Lab, script: Script, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    sizes = []
    for seed in range(1, 6):
        pinned = script.add(kernels(seed))
        arguments = (pinned, str(volume), "--mount-path", "/cache")
        ended = await lab.run(arguments, Strike("fchmod", 3))
        assert ended.code == -9
        sizes.append(sum(len(content or b"") for content in tree(volume).values()))
    assert max(sizes) < 4 * _MIB  # one image, and not five
    assert (await fill(lab, script, volume)).code == EXIT_DONE
    assert [path for path in tree(volume) if "large" in path] == ["KEY1/large.cubin"]


def test_a_folder_that_is_replaced_meanwhile_is_not_followed(  # F99
    script: Script, tmp_path: Path
) -> None:
    volume, elsewhere = tmp_path / "volume", tmp_path / "elsewhere"
    volume.mkdir()
    elsewhere.mkdir()
    pinned = script.add(kernels(1))
    with Volume(volume) as opened:
        volume.rename(tmp_path / "moved")
        volume.symlink_to(elsewhere)
        extract(script.registry(), pinned, opened, "/cache")
    assert list(elsewhere.iterdir()) == []
    assert complete(tmp_path / "moved")


def test_names_that_a_file_system_may_take_for_one_are_refused(  # F100
    script: Script, tmp_path: Path
) -> None:
    twins = [{"KEY/a": b"1", "KEY/A": b"2"}, {"K\u00e9": b"1", "Ke\u0301": b"2"}]
    for files in twins:
        with (
            Volume(tmp_path) as volume,
            pytest.raises(Rejected, match="stands twice"),
        ):
            extract(script.registry(), script.add(Image([cache_files(files)])), volume, "/cache")
        assert not complete(tmp_path)


@ON_ONE_LOOP
async def test_a_disk_that_takes_five_seconds_to_flush_is_waited_for(  # F101
    lab: Lab, script: Script, tmp_path: Path
) -> None:
    arguments = (script.add(kernels(1)), str(tmp_path / "volume"), "--mount-path", "/cache")
    (tmp_path / "volume").mkdir()
    ended = await lab.run(arguments, Strike("syncfs", 1, "delay_enter=5s"))
    assert ended.code == EXIT_DONE
    assert isinstance(ended.outcome, Outcome)
    assert ended.outcome.seconds > 5
    assert complete(tmp_path / "volume")
