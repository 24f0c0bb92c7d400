"""``gkm relocate``: paths in place, each file as a whole, twice the same as once."""

import json
from pathlib import Path

from tests import vllmtrees as trees
from tests.unit.cli import fill, gkm


def children(root: Path) -> list[str]:
    return list(json.loads((root / "KEY" / "__grp__add.json").read_text())["child_paths"].values())


def test_paths_are_rewritten_and_nothing_else(tmp_path: Path) -> None:
    root = fill(tmp_path / "cache")
    (root / "KEY" / "__grp__add.json").chmod(0o640)
    before = {one.name: one.read_bytes() for one in (root / "KEY").iterdir()}
    done = gkm("relocate", root, "--to", "/mnt/kernels")
    assert (done.returncode, done.stdout) == (0, "1 of 1 files rewritten for /mnt/kernels\n")
    assert children(root) == ["/mnt/kernels/KEY/add.json", "/mnt/kernels/KEY/add.ptx"]
    after = {one.name: one.read_bytes() for one in (root / "KEY").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"__grp__add.json"}
    assert before.keys() == after.keys()
    assert (root / "KEY" / "__grp__add.json").stat().st_mode & 0o777 == 0o640


def test_doing_it_again_touches_no_file(tmp_path: Path) -> None:
    root = fill(tmp_path / "cache")
    gkm("relocate", root, "--to", "/a")
    inodes = {one: one.stat().st_ino for one in root.rglob("*")}
    done = gkm("relocate", root, "--to", "/a")
    assert (done.returncode, done.stdout) == (0, "0 of 1 files rewritten for /a\n")
    assert inodes == {one: one.stat().st_ino for one in root.rglob("*")}


def test_a_link_becomes_a_file_of_its_own(tmp_path: Path) -> None:
    """A private layer links to a volume: the volume's file stays as it is."""
    root = fill(tmp_path / "cache")
    volume = tmp_path / "volume"
    volume.mkdir()
    file = root / "KEY" / "__grp__add.json"
    file.rename(volume / "group")
    file.symlink_to(volume / "group")
    before = (volume / "group").read_bytes()
    assert gkm("relocate", root, "--to", "/a").returncode == 0
    assert (volume / "group").read_bytes() == before
    assert children(root)[0] == "/a/KEY/add.json"
    assert not file.is_symlink()


def test_what_a_killed_run_leaves_is_no_part_of_the_cache(tmp_path: Path) -> None:
    root = fill(tmp_path / "cache")
    first = gkm("pack", root, "-o", tmp_path / "one").stdout
    (root / "KEY" / ".__grp__add.json.x1y2.gkm-tmp").write_text("{")
    assert gkm("relocate", root, "--to", str(root)).returncode == 0
    assert gkm("pack", root, "-o", tmp_path / "two").stdout == first


def test_nothing_but_paths_changes_not_even_secrets(tmp_path: Path) -> None:
    """It is the user's own directory; `gkm pack` ships no secrets."""
    found = trees.binary(env={**trees.ENV, "VLLM_API_KEY": "mine"})
    root = trees.fill(tmp_path, found)
    before = {file: file.read_bytes() for file in root.rglob("cache_key_factors.json")}
    assert before
    done = gkm("relocate", root, "--to", "/elsewhere")
    assert done.returncode == 0, done.stderr
    assert {file: file.read_bytes() for file in before} == before
