"""The lists of faults name tests that exist, and leave no fault out."""

from pathlib import Path

import pytest

from tests import readmes
from tests.extract import zoo
from tests.stage import ROOT

READMES = [ROOT / "tests" / folder / "README.md" for folder in ("faults", "extract", "unit")]
FAULTS, EXTRACT, UNIT = READMES
NAMED = [(readme, *one) for readme in READMES for one in readmes.tests_named(readme)]


@pytest.mark.parametrize(
    ("readme", "file", "test"), NAMED, ids=[f"{r.parent.name}-{f}-{t}" for r, f, t in NAMED]
)
def test_a_test_that_is_named_is_there(readme: Path, file: str, test: str) -> None:
    assert readmes.is_there(readme, file, test)


def test_no_fault_is_named_twice_and_none_is_left_out() -> None:
    found = readmes.numbers(FAULTS, "F")
    assert len(found) == len(set(found))
    assert set(range(1, 68)) | set(range(89, 124)) <= set(found)


def test_each_fault_of_the_originals_packer_is_answered() -> None:
    assert readmes.numbers(UNIT, "D") == list(range(1, 41))


def test_the_zoo_is_listed_as_it_is() -> None:
    text = EXTRACT.read_text()
    assert [line for line in zoo.table() if line not in text.splitlines()] == []
    assert sorted(readmes.numbers(EXTRACT, "M")) == list(range(1, 61))
    assert set(range(137, 141)) <= set(readmes.numbers(EXTRACT, "F"))


def test_every_number_of_the_zoo_has_an_image_and_no_name_stands_twice() -> None:
    names = [row.name for row in zoo.ROWS]
    assert len(names) == len(set(names))
    assert {row.number for row in zoo.ROWS} == {f"M{n}" for n in range(1, 61)} | {"F140"}
