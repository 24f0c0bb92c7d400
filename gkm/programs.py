"""The programs that ``gkm`` starts: names, and where each is. Importing this imports none of them.

It belongs to no layer: what is named here is found when it is asked for.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gkm.arguments import EXIT_CODES, Parser


@dataclass(frozen=True)
class Program:
    """One program; ``main`` and ``parser`` are written ``module:function``.

    ``main`` takes the arguments and returns the exit code. Making a parser imports little; programs
    that are told everything by their environment have none.
    """

    name: str
    summary: str
    main: str
    parser: str = ""

    def run(self, arguments: Sequence[str]) -> int:
        """Run it; returns the exit code."""
        code: int | None = _find(self.main)(arguments)
        return code or 0

    def arguments(self) -> Parser:
        """Make its parser."""
        if not self.parser:
            return Parser(f"gkm {self.name}", description=f"{self.summary}.")
        made: Parser = _find(self.parser)()
        return made


def _cli(name: str, summary: str, module: str = "") -> Program:
    where = f"gkm.cli.{module or name}"
    return Program(name, summary, f"{where}:main", f"{where}:arguments")


PEOPLE: Final = (
    _cli("pack", "Pack a cache directory into an OCI image"),
    _cli("push", "Push a packed image to a registry"),
    _cli("pull", "Fetch an image into a folder"),
    _cli("inspect", "Show what an image or a cache directory holds"),
    _cli("check", "Say whether a cache fits the GPUs of a machine"),
    _cli("explain", "Say what keeps a framework from finding its cache"),
    _cli("relocate", "Rewrite the paths in a cache directory for another place"),
    _cli("gpus", "Show this machine's GPUs"),
    _cli("completion", "Print what a shell needs to complete gkm's words"),
)
CLUSTER: Final = (
    Program("operator", "Watch Caches and bring them to their nodes", "gkm.operator.app:main"),
    Program(
        "agent",
        "Report a node: its GPUs, caches and the pods that use them",
        "gkm.agent.app:main",
    ),
    Program("webhook", "Give pods the caches that they ask for", "webhook.app:main"),
    Program(
        "extract",
        "Unpack a cache image onto a volume, or into a directory",
        "gkm.extract.app:extract_main",
        "gkm.extract.arguments:extract_arguments",
    ),
    Program(
        "overlay",
        "Make a writable layer over a cache, or only check it",
        "gkm.extract.app:overlay_main",
        "gkm.extract.arguments:overlay_arguments",
    ),
    Program(
        "uninstall",
        "Delete every Cache and wait until all went",
        "gkm.operator.uninstall:main",
    ),
)
HELP_TOPICS: Final = ("exit-codes",)


def find(name: str) -> Program | None:
    """Return a program; None if there is none of that name."""
    return next((one for one in (*PEOPLE, *CLUSTER) if one.name == name), None)


def usage() -> str:
    """Return what ``gkm --help`` prints."""
    return "\n".join(
        [
            "usage: gkm COMMAND [ARGUMENTS]",
            "",
            "Packs GPU kernel caches into images, and brings them to where they are needed.",
            "",
            *_listed("For you:", PEOPLE),
            *_listed("For the programs of a cluster:", CLUSTER),
            "`gkm help COMMAND` explains a command, `gkm help exit-codes` what it exits with;",
            "`gkm --version` says which GKM this is.",
        ]
    )


def exit_codes() -> str:
    """Return what ``gkm help exit-codes`` prints."""
    return "\n".join(
        ["A command exits with", *(f"  {code:>3}  {what}" for code, what in EXIT_CODES)]
    )


def _listed(title: str, programs: Sequence[Program]) -> list[str]:
    return [title, *(f"  {one.name:<11} {one.summary}" for one in programs), ""]


def _find(where: str) -> Callable[..., Any]:
    module, _, function = where.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
