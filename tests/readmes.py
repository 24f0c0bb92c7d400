"""What a README that lists faults names: tests, and the numbers of the faults."""

import re
from pathlib import Path

from tests.stage import ROOT


def tests_named(readme: Path) -> list[tuple[str, str]]:
    """Files in backquotes, each with the test after ``::``, if there is one."""
    found = re.findall(r"`((?:tests/)?[\w/]+\.py)(?:::(\w+))?`", readme.read_text())
    return sorted(set(found))


def is_there(readme: Path, file: str, test: str) -> bool:
    """Whether a test exists; files without a folder are beside the README."""
    where = ROOT / file if "/" in file else readme.parent / file
    return where.exists() and (not test or f"def {test}(" in where.read_text())


def numbers(readme: Path, letter: str) -> list[int]:
    """Numbers that begin the rows of tables: ``F1``, ``F3 to F5``, ``F7, F9``."""
    found: list[int] = []
    for row in re.findall(rf"^\| ({letter}\d[^|]*) \|", readme.read_text(), re.MULTILINE):
        for first, last in re.findall(rf"{letter}(\d+)(?: to {letter}(\d+))?", row):
            found += range(int(first), int(last or first) + 1)
    return found
