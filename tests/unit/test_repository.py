"""Limits on size, the docstrings that must be there, and what the project must not name."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for top in ("gkm", "webhook") for path in (ROOT / top).rglob("*.py"))
MOST_LINES, MOST_FUNCTION_LINES = 400, 60


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_why_it_exists_and_stays_readable(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert not text.strip() or ast.get_docstring(tree), "no module docstring"
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_the_repository_names_no_path_of_a_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for file in filter(None, listed.stdout.split("\0")):
        text = (ROOT / file).read_bytes()
        for path in (b"/work" + b"/main", b"/root" + b"/"):
            assert path not in text, f"{file} names {path.decode()}"
