"""What README.md names is there, and what is there stands in its tree: so that it cannot rot."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "examples").rglob("README.md")])
TREE = re.findall(r"```\n(gkm/.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
FOLDERS = "gkm|tests|charts|crds|examples|hack"


def subfolders(folder: Path) -> list[str]:
    """The folders of a folder that hold anything of ours."""
    files = (one.relative_to(folder).parts for one in folder.rglob("*.*") if one.is_file())
    found = {parts[0] for parts in files if len(parts) > 1 and "__pycache__" not in parts}
    return sorted(name for name in found if not name.startswith(".") and name != "dist")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:`|^ {4})make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_exists(page: Path) -> None:
    paths = re.findall(rf"(?<![\w./-])((?:{FOLDERS})/[\w./-]*\w)", page.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^):]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_tree_lists_every_package() -> None:
    listed = re.findall(r"^  (\w+)/ ", TREE, re.MULTILINE)
    assert sorted(listed) == subfolders(ROOT / "gkm")


def test_the_tree_lists_every_folder_at_the_top() -> None:
    listed = re.findall(r"^(\w+)/ ", TREE, re.MULTILINE)
    assert sorted(listed) == subfolders(ROOT)


def test_the_tree_lists_every_folder_of_tests() -> None:
    line = next(line for line in TREE.splitlines() if line.startswith("tests/"))
    assert sorted(re.findall(r" (\w+)/", line)) == subfolders(ROOT / "tests")


@pytest.mark.parametrize("folder", subfolders(ROOT / "examples"))
def test_every_example_explains_itself(folder: str) -> None:
    assert (ROOT / "examples" / folder / "README.md").is_file()
    assert f"({folder}/README.md)" in (ROOT / "examples" / "README.md").read_text()
