"""How the programs of the harness are started: ready, with their imports done, at a word.

A program waits for a line ``go`` on its standard input; it ends when that input ends, so that it
cannot outlive the harness.
"""

import os
import sys
import threading
from collections.abc import Callable


def at_the_word(main: Callable[[list[str]], int]) -> int:
    """Wait for the word, then run the program."""
    if sys.stdin.readline() != "go\n":
        return 0
    threading.Thread(target=_end_with_the_harness, daemon=True).start()
    return main([])


def _end_with_the_harness() -> None:
    sys.stdin.read()
    os._exit(0)
