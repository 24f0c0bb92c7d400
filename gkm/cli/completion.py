"""``gkm completion SHELL``: what a shell needs to complete gkm's commands and their options."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gkm import programs
from gkm.arguments import Parser, filled_path
from gkm.cli.program import parser, run

_SHELLS: Final = ("bash", "zsh", "fish")


def arguments() -> Parser:
    """Make the parser."""
    made = parser(
        "completion",
        "Print what a shell needs to complete gkm's commands and options.",
        'bash: eval "$(gkm completion bash)"; fish: gkm completion fish | source; '
        "zsh: write it to _gkm in a folder of $fpath.",
    )
    made.add_argument("shell", choices=_SHELLS)
    return made


def main(given: Sequence[str]) -> int:
    """Run ``gkm completion``; returns the exit code."""
    options = arguments().parse_args(given)
    return run(lambda: complete(options.shell))


def complete(shell: str) -> str:
    """Return the shell's program."""
    import shtab  # noqa: PLC0415 - for this command only

    root = Parser("gkm")
    commands: Any = root.add_subparsers(dest="command")
    for one in (*programs.PEOPLE, *programs.CLUSTER):
        # As a parent, so that each command's parser can be made without the others.
        commands.add_parser(
            one.name,
            parents=[_with_files(one.arguments(), shtab.FILE)],
            add_help=False,
            help=one.summary,
        )
    topics = [one.name for one in (*programs.PEOPLE, *programs.CLUSTER)]
    helper = commands.add_parser("help", help="Explain a command")
    helper.add_argument("topic", choices=[*topics, *programs.HELP_TOPICS])
    return str(shtab.complete(root, shell))


def _with_files(made: Parser, files: object) -> argparse.ArgumentParser:
    for action in made._actions:  # noqa: SLF001 - argparse lists them nowhere else
        if action.type in (Path, filled_path) or action.metavar == "SOURCE":
            action.complete = files  # type: ignore[attr-defined]  # what shtab looks for
    return made
