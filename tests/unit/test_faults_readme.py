"""The list of faults names tests that exist."""

import re

import pytest

from tests.stage import ROOT

TEXT = (ROOT / "tests/faults/README.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:tests/)?[\w/]+\.py)(?:::(\w+))?`", TEXT)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_is_named_is_there(file: str, test: str) -> None:
    where = ROOT / file if "/" in file else ROOT / "tests/faults" / file
    assert not test or f"def {test}(" in where.read_text()
    assert where.exists()


def test_no_fault_is_named_twice_and_none_is_left_out() -> None:
    found: list[int] = []
    for row in re.findall(r"^\| (F[^|]*) \|", TEXT, re.MULTILINE):
        for first, last in re.findall(r"F(\d+)(?: to F(\d+))?", row):
            found += range(int(first), int(last or first) + 1)
    assert len(found) == len(set(found))
    assert set(range(1, 68)) | set(range(89, 124)) <= set(found)
