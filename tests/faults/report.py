"""What a sweep says in the end: one row for each workload, storage and kind of fault."""

from collections import defaultdict
from collections.abc import Iterable

from tests.faults.experiment import Run


def table(runs: Iterable[Run]) -> str:
    """The table, and a line with the totals."""
    rows: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    every = list(runs)
    for run in every:
        rows[(*run.plan.case, run.plan.variant)].append(run)
    head = ("workload", "storage", "fault", "points", "failures", "not reached", "worst s")
    lines = [head, *((*key, *_numbers(rows[key])) for key in sorted(rows))]
    lines.append(("all", "", "", *_numbers(every)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _numbers(runs: list[Run]) -> tuple[str, str, str, str]:
    points = [run for run in runs if run.struck or run.problems]
    failed = sum(bool(run.problems) for run in runs)
    worst = max((run.convergence for run in points), default=0.0)
    return str(len(points)), str(failed), str(len(runs) - len(points)), f"{worst:.1f}"


def told(run: Run) -> str:
    """One run in a line; a failure with what is wrong."""
    word = "FAILED" if run.problems else "ok" if run.struck else "not reached"
    line = f"{word}: {run.plan}: {run.seconds:.1f} s, converged in {run.convergence:.1f} s"
    return "\n".join(
        [line, *(f"    {p}" for p in run.problems), *(f"    note {n}" for n in run.notes)]
    )
