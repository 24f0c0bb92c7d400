"""What goes wrong with requests for as long as it lasts, as data: which, how, how often.

Pure: ``transport`` asks ``Troubles`` about each request and does what it is told. Unlike the rules
for single writes these are about weather: they stay until somebody takes them away.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random

LIST, WATCH, GET, WRITE = "list", "watch", "get", "write"
READS = "[lwg][iae]*"
"""The first three, as a pattern."""


class What(StrEnum):
    """What happens to a request."""

    STATUS = "status"
    """Answered with an error, not forwarded."""
    RESET = "reset"
    RESET_AFTER = "reset after"
    """Forwarded; the connection breaks before the answer."""
    DELAY = "delay"
    BLACK_HOLE = "black hole"
    """Accepted, never answered."""
    BODY = "body"
    """Answered with 200 and a body of our choice."""
    STALE = "stale"
    """A list as it was when this began."""
    LINES = "lines"
    """A watch begins with lines of our choice, and ends cleanly after them."""
    DROP = "drop"
    """A watch loses an event."""
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    """Every two events of a watch change places."""
    STALL = "stall"
    """A watch falls silent: the connection stays open."""
    CLOSE = "close"
    """A watch is closed cleanly after some seconds."""
    LAG = "lag"
    """Every event of a watch is late."""
    DRIP = "drip"
    """The body comes at a few kB a second."""


@dataclass(frozen=True)
class Request:
    """One request as the proxy sees it; ``continued`` asks for a further page of a list."""

    verb: str
    resource: str
    name: str = ""
    continued: bool = False


@dataclass(frozen=True)
class Trouble:
    """What happens, and to which requests."""

    what: What
    verb: str = "*"
    resource: str = "*"
    nth: int = 1
    """The first request of those that fit that it happens to."""
    times: int = 0
    """To so many; 0: to every one."""
    chance: float = 1.0
    continued: bool = False
    """Only to requests for further pages."""
    spared: str = ""
    """A resource that it does not happen to."""
    code: int = 503
    after: str = ""
    """Retry-After of an answer with an error."""
    seconds: float = 0.0
    body: bytes = b""
    event: str = "*"
    """Only events of this type."""
    nth_event: int = 0
    """Only the nth of those; 0: every one."""

    def fits(self, request: Request) -> bool:
        """Whether the patterns fit, however many requests did before."""
        return (
            fnmatchcase(request.verb, self.verb)
            and fnmatchcase(request.resource, self.resource)
            and request.resource != self.spared
            and (request.continued or not self.continued)
        )


class Troubles:
    """The weather of one proxy."""

    def __init__(self, troubles: Iterable[Trouble] = (), seed: int = 1) -> None:
        self.lost = 0
        """Events of watches that were kept back."""
        self._now = dict.fromkeys(troubles, 0)
        self._struck: Counter[Trouble] = Counter()
        self._random = Random(seed)

    @property
    def struck(self) -> int:
        """How many requests were in trouble."""
        return self._struck.total()

    @property
    def idle(self) -> list[Trouble]:
        """Those that have not happened to any request, though no chance was in it."""
        return [one for one in self._now if one.chance == 1 and not self._struck[one]]

    def take(self, request: Request) -> Trouble | None:
        """The trouble that a request is in."""
        for trouble in self._now:
            if not trouble.fits(request) or self._random.random() > trouble.chance:
                continue
            self._now[trouble] += 1
            number = self._now[trouble] - trouble.nth
            if number >= 0 and (not trouble.times or number < trouble.times):
                self._struck[trouble] += 1
                return trouble
        return None
