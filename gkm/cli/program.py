"""What every command has in common: failures become one line and an exit code."""

import sys
from collections.abc import Callable

from gkm.api.errors import Rejected, Retry
from gkm.core.outcome import EXIT_DONE, EXIT_REJECTED, EXIT_RETRY


def run(work: Callable[[], str]) -> int:
    """Print what ``work`` returns on standard output; returns the exit code."""
    try:
        print(work())
    except (Rejected, Retry, OSError) as error:
        print(f"gkm: {error}", file=sys.stderr)
        return EXIT_REJECTED if isinstance(error, Rejected) else EXIT_RETRY
    return EXIT_DONE
