"""How far an extraction is: the one line of its log that Job and operator share.

The Job writes it every few seconds; of one that takes long the operator reads it, for the Cache's
status. Nothing here does I/O.
"""

import re
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(
    r"^progress: (\d{1,15}) of (\d{1,15}) bytes, (\d{1,9}) files$", re.MULTILINE
)
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Progress:
    """Compressed bytes that have come, of all that will, and files that stand on the volume."""

    done: int
    total: int
    files: int

    def __str__(self) -> str:
        """The same for a person."""
        return f"{self.done / _MIB:.1f} of {mebibytes(self.total)}, {self.files} files"

    def to_line(self) -> str:
        """The log line."""
        return f"progress: {self.done} of {self.total} bytes, {self.files} files"

    @classmethod
    def last(cls, log: str) -> "Progress | None":
        """Read the last such line of a log; None if it has none."""
        found = _LINE.findall(log)
        return cls(*map(int, found[-1])) if found else None


def mebibytes(count: int) -> str:
    """Bytes for a person."""
    return f"{count / _MIB:.1f} MiB"
