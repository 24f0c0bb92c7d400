"""Picks the program; each imports what it needs, and only when it is chosen."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from gkm import programs

_UNREAD: Final = 141
"""As a shell says it of a program that SIGPIPE ended."""
_INTERRUPTED: Final = 130
_USAGE: Final = 2
_NOT_INSTALLED: Final = 10
_OURS: Final = ("gkm", "webhook")


def main() -> int:
    """Run the program that the command line names; returns its exit code."""
    try:
        try:
            return _chosen(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNREAD


def _chosen(arguments: Sequence[str]) -> int:
    name, *rest = arguments or ["--help"]
    if name in ("help", "-h", "--help"):
        return _help(rest)
    if name in ("-V", "--version"):
        return _say(f"gkm {_version()}")
    program = programs.find(name)
    if program is None:
        return _unknown(name)
    try:
        return program.run(rest)
    except ModuleNotFoundError as error:
        if (error.name or "gkm").partition(".")[0] in _OURS:
            raise
        needs = f"'{name}' needs {error.name}, which is not installed: pip install 'gkm[cli]'"
        return _complain(needs, _NOT_INSTALLED)


def _help(topics: Sequence[str]) -> int:
    topic = topics[0] if topics else ""
    if not topic:
        return _say(programs.usage())
    if topic == "exit-codes":
        return _say(programs.exit_codes())
    program = programs.find(topic)
    if program is None:
        return _unknown(topic)
    return _say(program.arguments().format_help().rstrip())


def _unknown(name: str) -> int:
    # Options of commands stand after their names; people write them before.
    return _complain(f"'{name[:80]}' is no command, see gkm --help", _USAGE)


def _complain(text: str, code: int) -> int:
    print(f"gkm: {text}", file=sys.stderr)  # noqa: T201 - a command line prints
    return code


def _say(text: str) -> int:
    print(text)  # noqa: T201 - a command line prints
    return 0


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom asked

    return version("gkm")


if __name__ == "__main__":
    sys.exit(main())
