from pathlib import Path

import pytest

from tests.cluster import cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GKM_CACHE", str(tmp_path / "cache"))


def test_key_tells_where_one_part_ends() -> None:
    assert cache.key("ab", "c") != cache.key("a", "bc")
    assert cache.key("a", "b") == cache.key("a", "b")


def test_key_of_files_changes_with_content_name_and_mode(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.write_text("one")
    seen = [cache.key_of_files(tmp_path, [file.parent])]
    file.write_text("two")
    seen.append(cache.key_of_files(tmp_path, [file.parent]))
    file.chmod(0o755)
    seen.append(cache.key_of_files(tmp_path, [file.parent]))
    file.rename(file.with_name("other"))
    seen.append(cache.key_of_files(tmp_path, [file.parent]))
    assert len(set(seen)) == 4
    assert cache.key_of_files(tmp_path, [file.parent]) == seen[-1]


def test_an_entry_is_made_once() -> None:
    made: list[Path] = []

    def make(draft: Path) -> None:
        made.append(draft)
        (draft / "result").write_text("done")

    first = cache.entry("kind", "name", make)
    assert cache.entry("kind", "name", make) == first
    assert len(made) == 1
    assert (first / "result").read_text() == "done"


def test_an_entry_that_failed_half_way_is_made_again() -> None:
    def fail(draft: Path) -> None:
        (draft / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.entry("kind", "name", fail)
    folder = cache.entry("kind", "name", lambda draft: (draft / "whole").touch())
    assert [file.name for file in folder.iterdir()] == ["whole"]
