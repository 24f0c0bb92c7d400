"""``gkm gpus``: the GPUs of this machine, who told of them, and which of them a cache fits."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from gkm.arguments import Parser
from gkm.cli.layout import Layout
from gkm.cli.program import run
from gkm.core.fit import NodeFit, fit_node
from gkm.core.gpu import Gpu
from gkm.core.gputargets import from_labels
from gkm.gpus import Inventory, detect
from gkm.oci.manifest import parse_config

_HEADER: Final = ("GPU", "TYPE", "BACKEND", "ARCH", "WARP", "MEMORY", "DRIVER")
_GIB: Final = 1 << 30


def main(arguments: Sequence[str]) -> int:
    """Run ``gkm gpus``; returns the exit code, which is 0 also if there are no GPUs."""
    parser = Parser("gkm gpus", description="Show this machine's GPUs.")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument(
        "--cache", type=Path, metavar="LAYOUT", help="what gkm pack wrote: say which GPUs it fits"
    )
    options = parser.parse_args(arguments)
    return run(lambda: _gpus(options.output, options.cache))


def _gpus(output: str, cache: Path | None) -> str:
    inventory = detect()
    fits = fit_node(from_labels(_labels(cache)), inventory.gpus) if cache else None
    if output == "json":
        return json.dumps(_document(inventory, fits), indent=2)
    return _text(inventory, fits)


def _labels(cache: Path) -> Mapping[str, str]:
    """Return the labels of a packed image; raises Rejected, OSError."""
    layout = Layout(cache)
    _, manifest = layout.image()
    return parse_config(layout.blob_path(manifest.config.digest).read_bytes()).labels


def _document(inventory: Inventory, fits: NodeFit | None) -> dict[str, Any]:
    """Return what ``-o json`` prints; memory is in bytes."""
    if fits is None:
        return asdict(inventory)
    judged = [
        {"index": one.gpu.index, "verdict": one.verdict, "reason": one.reason} for one in fits.gpus
    ]
    return {**asdict(inventory), "cache": {"verdict": fits.verdict, "gpus": judged}}


def _text(inventory: Inventory, fits: NodeFit | None) -> str:
    """Return the table, and lines for what a table cannot say."""
    told = f"told by {' and '.join(inventory.how)}" if inventory.how else "no GPUs found"
    lines = [_table([_HEADER, *map(_row, inventory.gpus)])] if inventory.gpus else []
    lines += [told, *(f"  {note}" for note in inventory.notes)]
    lines += [f"the cache {fits.message}"] if fits else []
    return "\n".join(lines)


def _row(gpu: Gpu) -> tuple[str, ...]:
    return (
        str(gpu.index),
        gpu.product + (" (MIG)" if gpu.mig else ""),
        gpu.backend,
        gpu.arch or "unknown",
        str(gpu.warp_size or "unknown"),
        f"{gpu.memory_bytes / _GIB:.0f} GiB" if gpu.memory_bytes else "unknown",
        gpu.driver_version or "unknown",
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Align the rows; in colours if a person looks at a terminal, and rich is installed."""
    if sys.stdout.isatty() and find_spec("rich"):
        return _coloured(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _coloured(rows: Sequence[Sequence[str]]) -> str:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and not in GKM's image
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows[1:]:
        table.add_row(*row)
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()
