"""The phase and step of a copy for every combination of wanted, staging, job, volume, serving.

``copy_table.txt`` is the table as last agreed. A change of the rules shows there as a change of
lines; `python tests/golden/test_copy_table.py` writes it anew, for a reviewer to read.
"""

from collections.abc import Iterator
from itertools import groupby, product
from pathlib import Path

from gkm.core.copy import Claim, Job, Observed, Volume, next_step, phase

TABLE = Path(__file__).with_name("copy_table.txt")


def lines() -> Iterator[str]:
    """One line per wanted, serving, volume, staging; Job states with the same answer together."""
    yield "# wanted serving volume staging: job states -> phase step"
    for wanted, serving, volume, staging in product((True, False), Claim, Volume, Claim):
        answers = [
            (f"{phase(seen).value} {next_step(seen).name}", job)
            for job in Job
            for seen in [
                Observed(wanted=wanted, staging=staging, job=job, volume=volume, serving=serving)
            ]
        ]
        cells = []
        for answer, group in groupby(sorted(answers, key=lambda a: a[0]), key=lambda a: a[0]):
            jobs = [job.value for _, job in group]
            every = "*" if len(jobs) == len(Job) else ",".join(jobs)
            cells.append(f"{every} -> {answer}")
        word = "wanted" if wanted else "unwanted"
        yield f"{word} {serving.value} {volume.value} {staging.value}: {'; '.join(cells)}"


def test_every_combination_gives_the_agreed_phase_and_step() -> None:
    assert list(lines()) == TABLE.read_text().splitlines()


if __name__ == "__main__":
    TABLE.write_text("\n".join(lines()) + "\n")
