"""What an extraction tells while it runs: log lines every few seconds, or a bar on a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from gkm.core.progress import Progress

_LINE_SECONDS: Final = 5.0
_BAR_SECONDS: Final = 0.1
_WIDTH: Final = 30
_CLEAR: Final = "\r\x1b[K"


def say(line: str) -> None:
    """Write one log line; it takes the place of a bar."""
    _print(f"{_CLEAR if sys.stderr.isatty() else ''}{line}\n")


def _print(text: str) -> None:
    """A log that cannot be written must not cost the extraction."""
    with suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


class Told:
    """How far the image's layers, of ``total`` bytes together, are; ``files``: those that stand."""

    def __init__(self, total: int, files: Callable[[], int]) -> None:
        self._total = total
        self._files = files
        self._terminal = sys.stderr.isatty()
        self._pause = _BAR_SECONDS if self._terminal else _LINE_SECONDS
        self._done, self._said = 0, time.monotonic()

    def passing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass the chunks of one layer through."""
        for chunk in chunks:
            self._done += len(chunk)
            if time.monotonic() - self._said >= self._pause:
                self._said = time.monotonic()
                self._tell(Progress(self._done, self._total, self._files()))
            yield chunk

    def _tell(self, far: Progress) -> None:
        if not self._terminal:
            say(far.to_line())
            return
        full = min(_WIDTH, _WIDTH * far.done // max(1, far.total))
        bar = "#" * full + "-" * (_WIDTH - full)
        _print(f"{_CLEAR}[{bar}] {far}")
