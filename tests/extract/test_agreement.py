"""F139: on archives that GKM takes, every other reader sees the same members and bytes."""

import pytest

from tests.extract import readers
from tests.extract.images import plain
from tests.extract.row import Refused, Row
from tests.extract.zoo import ROWS

TAKEN = [row for row in ROWS if row.trace and not isinstance(row.expected, Refused)]
READERS = {"python": readers.pythons, **readers.programs()}


@pytest.mark.parametrize("row", TAKEN, ids=lambda row: row.name)
def test_every_reader_sees_the_same(row: Row) -> None:
    for layer in row.build().layers:
        tar = plain(layer)
        seen = readers.ours(tar)
        assert {name: read(tar) for name, read in READERS.items()} == dict.fromkeys(READERS, seen)


def test_gnu_tar_is_among_the_readers() -> None:
    assert "tar" in READERS
