"""What an extraction Job says when it ends: the one line that Job and operator share.

The Job writes it to its termination message (``/dev/termination-log``, 4 KiB at most), the
operator reads it from the pod's status. Nothing here does I/O.
"""

import json
from dataclasses import asdict, dataclass

EXIT_DONE = 0
EXIT_REJECTED = 10
EXIT_RETRY = 11

_MESSAGE_LIMIT = 1024


@dataclass(frozen=True)
class Outcome:
    """The end of one extraction.

    ``reason`` is CamelCase and ``Extracted`` on success; ``digest`` is the digest that was asked
    for; ``bytes`` and ``files`` count the regular files written; ``seconds`` is wall time.
    """

    reason: str
    message: str
    digest: str = ""
    bytes: int = 0
    files: int = 0
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return one line of JSON, small enough for a termination message."""
        cut = self.message[:_MESSAGE_LIMIT]
        return json.dumps({**asdict(self), "message": cut}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> "Outcome | None":
        """Read what ``to_json`` wrote; None if ``text`` is anything else."""
        try:
            raw = json.loads(text)
            return cls(
                reason=str(raw["reason"]),
                message=str(raw["message"]),
                digest=str(raw["digest"]),
                bytes=int(raw["bytes"]),
                files=int(raw["files"]),
                seconds=float(raw["seconds"]),
            )
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            return None
