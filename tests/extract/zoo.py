"""All images of the zoo. ``python -m tests.extract.zoo`` prints the table of the README."""

from tests.extract import rows_headers, rows_images, rows_links, rows_names, rows_packing
from tests.extract.row import Refused, Row

ROWS: list[Row] = [
    *rows_names.ROWS,
    *rows_links.ROWS,
    *rows_headers.ROWS,
    *rows_packing.ROWS,
    *rows_images.ROWS,
]


def table() -> list[str]:
    """The rows of the README's table: number, verdicts, and the images that show them."""
    numbers = sorted({row.number for row in ROWS}, key=lambda one: (one[0] != "M", int(one[1:])))
    return [_line(number, [row for row in ROWS if row.number == number]) for number in numbers]


def _line(number: str, rows: list[Row]) -> str:
    by_verdict: dict[str, list[str]] = {}
    for row in rows:
        verdict = row.expected.reason if isinstance(row.expected, Refused) else "taken"
        by_verdict.setdefault(verdict, []).append(f"`{row.what}`" + " (slow)" * row.slow)
    said = "; ".join(f"{verdict}: {', '.join(whats)}" for verdict, whats in by_verdict.items())
    return f"| {number} | {said} |"


if __name__ == "__main__":
    print("\n".join(table()))
