"""``gkm gpus``: the GPUs of this machine, and who told of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from gkm.arguments import Parser
from gkm.cli.program import parser, run
from gkm.cli.table import plain, table
from gkm.core.gpu import Gpu
from gkm.gpus import Inventory, detect

_HEADER: Final = ("GPU", "TYPE", "BACKEND", "ARCH", "WARP", "MEMORY", "DRIVER")
_GIB: Final = 1 << 30


def arguments() -> Parser:
    """Make the parser."""
    made = parser(
        "gpus", "Show this machine's GPUs.", "`gkm check` says which of them a cache fits."
    )
    made.add_argument("-o", "--output", choices=("table", "json"), default="table")
    return made


def main(given: Sequence[str]) -> int:
    """Run ``gkm gpus``; returns the exit code, which is 0 also if there are no GPUs."""
    options = arguments().parse_args(given)
    return run(lambda: _gpus(options.output))


def _gpus(output: str) -> str:
    inventory = detect()
    return json.dumps(asdict(inventory), indent=2) if output == "json" else _text(inventory)


def _text(inventory: Inventory) -> str:
    """Return the table, and lines for what a table cannot say."""
    told = f"told by {' and '.join(inventory.how)}" if inventory.how else "no GPUs found"
    lines = [table([_HEADER, *map(_row, inventory.gpus)])] if inventory.gpus else []
    return "\n".join([*lines, told, *(f"  {plain(note)}" for note in inventory.notes)])


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
