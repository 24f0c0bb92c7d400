"""What every command has in common: failures become one line and an exit code."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, NoReturn

from gkm.api.errors import Rejected, Retry
from gkm.arguments import Parser
from gkm.cli.table import plain
from gkm.core.outcome import EXIT_DONE, EXIT_REJECTED, EXIT_RETRY

_TERMINATED: Final = 128 + signal.SIGTERM


class Said(NamedTuple):
    """What a command prints on standard output, and its exit code.

    Printed as it stands, for it may be JSON: what is for people has gone through ``plain``.
    """

    text: str
    code: int = EXIT_DONE


def parser(command: str, description: str, epilog: str = "") -> Parser:
    """Make the parser of a command for people."""
    made = Parser(f"gkm {command}", description=description, epilog=epilog or None)
    made.add_argument(
        "-q", "--quiet", action="store_true", help="no progress and no notes: errors only"
    )
    return made


def run(work: Callable[[], str | Said]) -> int:
    """Print what ``work`` returns on standard output; returns the exit code.

    Ended by SIGTERM, what ``work`` has begun is cleared away as after a failure.
    """
    try:
        with _terminable():
            said = work()
    except (Rejected, Retry, OSError) as error:
        complain(_words(error))
        return EXIT_REJECTED if isinstance(error, Rejected) else EXIT_RETRY
    text, code = said if isinstance(said, Said) else Said(said)
    if text:
        print(text)
    return code


def complain(text: str) -> None:
    """Write one line to standard error."""
    print(f"gkm: {plain(' '.join(text.split()))}", file=sys.stderr)


def note(text: str, *, quiet: bool) -> None:
    """Tell a person what is no failure."""
    if not quiet:
        complain(text)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


@contextmanager
def _terminable() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(*_: object) -> NoReturn:
    sys.exit(_TERMINATED)
