"""Text for people: in columns, in colours if somebody looks at a terminal.

Much of it is what an image says of itself, which may be written to deceive: a terminal's commands,
lines that look like ours.
"""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20
_KIB: Final = 1 << 10


def plain(text: str) -> str:
    """Return a text as one line that only shows: whatever else is in it becomes a ``?``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "?" for one in text)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align the rows, the first being their header."""
    rows = [list(map(plain, row)) for row in rows]
    if sys.stdout.isatty() and find_spec("rich"):
        return _coloured(rows)
    return _aligned(rows)


def key_values(rows: Sequence[tuple[str, str]]) -> str:
    """Align names and what they stand for."""
    return _aligned([(f"{plain(name)}:", plain(text)) for name, text in rows])


def size(count: int | None) -> str:
    """Return bytes for a person; empty if not known."""
    if count is None:
        return ""
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _coloured(rows: Sequence[Sequence[str]]) -> str:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and not in GKM's image
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows[1:]:
        table.add_row(*row)
    console = Console(markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()
