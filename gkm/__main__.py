"""Picks the program; each imports what it needs, and only when it is chosen."""

import importlib
import sys
from typing import Final

_PROGRAMS: Final = {
    "operator": ("gkm.operator.app:main", "watch Caches and bring them to their nodes"),
    "agent": ("gkm.agent.app:main", "report a node: its GPUs, caches and the pods that use them"),
    "webhook": ("webhook.app:main", "give pods the caches that they ask for"),
    "uninstall": ("gkm.operator.uninstall:main", "delete every Cache and wait until all went"),
    "extract": ("gkm.extract.app:extract_main", "unpack a cache image onto a volume"),
    "overlay": (
        "gkm.extract.app:overlay_main",
        "make a writable layer over a cache, or only check it",
    ),
    "pack": ("gkm.cli.pack:main", "pack a cache directory into an OCI image"),
    "push": ("gkm.cli.push:main", "push a packed image to a registry"),
    "explain": ("gkm.cli.explain:main", "say what keeps a framework from finding its cache"),
    "gpus": ("gkm.cli.gpus:main", "show this machine's GPUs, and which a packed cache fits"),
}


def main() -> int:
    """Run the program that the command line names; returns its exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(_usage())  # noqa: T201 - a command line prints
        return 0
    if name not in _PROGRAMS:
        print(f"gkm: '{name}' is no command, see gkm --help", file=sys.stderr)  # noqa: T201 - as above
        return 2
    module, _, function = _PROGRAMS[name][0].partition(":")
    code: int | None = getattr(importlib.import_module(module), function)(sys.argv[2:])
    return code or 0


def _usage() -> str:
    lines = [f"  {name:<9} {what}" for name, (_, what) in _PROGRAMS.items()]
    return "\n".join(["usage: gkm COMMAND [ARGUMENTS]", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
