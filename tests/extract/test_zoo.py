"""Every image of the zoo, from a real registry to a volume: its verdict, and what it touches."""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gkm.core.outcome import EXIT_DONE, EXIT_REJECTED, EXIT_RETRY
from tests.extract.extraction import Enclosure, Ended, Launcher
from tests.extract.row import Refused, Row, hashes
from tests.extract.zoo import ROWS

MOST_MEMORY = 96 * 1024
"""KiB, whatever the image."""
MOST_CPU = 60.0
"""Seconds; no refusal takes a fraction of it."""
PARAMETERS = [
    pytest.param(row, id=row.name, marks=[pytest.mark.slow] if row.slow else []) for row in ROWS
]


class Worst:
    """What the dearest runs cost."""

    def __init__(self) -> None:
        self.runs: list[tuple[Ended, str]] = []

    def said(self) -> str:
        memory = max((ended.rss, name) for ended, name in self.runs)
        seconds = max((ended.seconds, name) for ended, name in self.runs)
        cpu = max((ended.cpu, name) for ended, name in self.runs)
        return (
            f"\n{len(self.runs)} images: most memory {memory[0] / 1024:.0f} MiB ({memory[1]}),"
            f" longest {seconds[0]:.1f} s ({seconds[1]}), most CPU {cpu[0]:.1f} s ({cpu[1]})"
        )


@pytest.fixture(scope="module")
def worst() -> Iterator[Worst]:
    found = Worst()
    yield found
    if found.runs:
        print(found.said())


@contextlib.contextmanager
def room(volume: Path, options: str) -> Iterator[None]:
    """Make the volume a file system of its own with these limits."""
    if not options:
        yield
        return
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(volume)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(volume)], check=True)


@pytest.mark.parametrize("row", PARAMETERS)
def test_an_image_has_its_verdict_and_touches_nothing_else(
    row: Row, registry: str, launcher: Launcher, worst: Worst, tmp_path: Path
) -> None:
    repository = "zoo/" + re.sub("[^a-z0-9]+", "-", row.name.lower())
    reference = row.build().push(registry, repository)
    enclosure = Enclosure(tmp_path, launcher, registry, trace=row.trace)
    with room(enclosure.volume, row.room):
        enclosure.begin()
        started = time.time()
        ended = enclosure.extract(reference, *row.options)
        worst.runs.append((ended, row.name))
        assert ended.outcome, ended.output
        said = f"{ended.outcome.reason}: {ended.outcome.message}"
        assert f"{said} (" in ended.output or len(said) > 1000
        if isinstance(row.expected, Refused):
            wanted = EXIT_RETRY if row.expected.again else EXIT_REJECTED
            assert (ended.code, ended.outcome.reason) == (wanted, row.expected.reason), said
            assert [word for word in row.expected.words if word not in said] == [], said
            assert not enclosure.complete
        else:
            assert (ended.code, ended.outcome.reason) == (EXIT_DONE, "Extracted"), said
            assert enclosure.complete
            tree = row.expected() if callable(row.expected) else hashes(row.expected)
            assert enclosure.tree() == dict(tree)
            assert all(started - 1 < t < time.time() + 1 for t in enclosure.times())
        assert ended.rss <= MOST_MEMORY
        assert ended.cpu <= MOST_CPU
    shutil.rmtree(tmp_path)
