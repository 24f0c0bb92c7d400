"""Trying again what a registry did not answer, and going on with a blob where it broke off.

For the extraction Job: to begin anew there means to load everything anew. The operator asks once,
``gkm.core.retry`` says when again.
"""

import random
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from time import sleep
from typing import Final, TypeVar

from gkm.api.errors import Rejected, Retry
from gkm.oci.http import Answer, unavailable

TRIES: Final = 5
"""How often a Job asks for the same bytes; the operator starts the next Job later."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""A server that asks for more patience than these seconds gets it from the operator."""
WORTH: Final = 16 * 1024 * 1024
"""A try that brought as many bytes was not in vain: the next one counts as the first."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_T = TypeVar("_T")
Ask = Callable[[Mapping[str, str]], Answer]
"""Asks one host for a blob, with these headers; the answer's status is 200 or 206."""


class Tries:
    """The tries of one thing: growing, jittered pauses, until it works or was tried enough."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._failed = 0

    def failed(self, word: Retry | Rejected, brought: int = 0) -> None:
        """Wait for the next try, as long as the server asks for; raises ``word`` if there is none.

        ``brought`` is the number of bytes that this try brought.
        """
        self._failed = 1 if brought >= WORTH else self._failed + 1
        if isinstance(word, Rejected) or word.reason != "RegistryUnavailable":
            raise word
        if self._failed >= self._most or (word.after or 0.0) > LONGEST_PAUSE:
            raise word
        # The pause is added to what the server asks for: else all Jobs would be back at once.
        own = FIRST_PAUSE * 2.0 ** (self._failed - 1) * random.uniform(0.5, 1.0)
        sleep((word.after or 0.0) + own)


def first(reads: Sequence[Callable[[], _T]], tries: Tries) -> _T:
    """Return what the first of ``reads`` gets that gets anything, each a way to the same.

    Raises Retry and Rejected, of the last one.
    """
    while True:
        words: list[Retry | Rejected] = []
        for read in reads:
            try:
                return read()
            except (Retry, Rejected) as word:
                words.append(word)
        tries.failed(_last(words))


def download(hosts: Sequence[Ask], size: int, tries: Tries) -> Iterator[bytes]:
    """Yield the ``size`` bytes of a blob, from as many answers of as many hosts as it takes.

    The hosts are asked in their order, each for what is missing then. Whether they are the right
    bytes, only the digest of all of them tells. Raises Retry and Rejected, of the last host.
    """
    blob = _Blob(size)
    while True:
        before = blob.done
        words: list[Retry | Rejected] = []
        for ask in hosts:
            word = yield from blob.part(ask)
            if word is None:
                return
            words.append(word)
        tries.failed(_last(words), blob.done - before)


def _last(words: Sequence[Retry | Rejected]) -> Retry | Rejected:
    """Return the last word, with what was said before in its message."""
    *others, word = words
    if not others:
        return word
    message = f"{word.message} (before, {'; '.join(one.message for one in others)})"
    if isinstance(word, Retry):
        return Retry(word.reason, message, after=word.after)
    return Rejected(word.reason, message)


class _Blob:
    """How far a download is."""

    def __init__(self, size: int) -> None:
        self.done = 0
        self._size = size
        self._ranges = True

    def part(self, ask: Ask) -> Generator[bytes, None, Retry | Rejected | None]:
        """Yield what one answer brings; returns what went wrong, None if nothing is missing."""
        asked = {"Range": f"bytes={self.done}-"} if self.done and self._ranges else {}
        try:
            with ask(asked) as answer:
                known = self._known(answer)
                for piece in answer.stream(known + self._size - self.done):
                    fresh = piece[known:]
                    known -= len(piece) - len(fresh)
                    self.done += len(fresh)
                    if fresh:
                        yield fresh
        except (Retry, Rejected) as word:
            return word
        left = self._size - self.done
        return unavailable(answer.url, f"the answer ended {left} bytes early") if left else None

    def _known(self, answer: Answer) -> int:
        """Bytes at the start of the answer that are here already (RFC 9110, 14.2 and 15.3.7).

        A server may answer with the whole. One that answers with another part is not asked for a
        part again.
        """
        if answer.status == 200:
            if answer.length not in (None, self._size):
                why = f"it sends {answer.length} bytes for a blob of {self._size}"
                raise Retry("DigestMismatch", unavailable(answer.url, why).message)
            return self.done
        found = _CONTENT_RANGE.fullmatch(answer.header("Content-Range"))
        if found and int(found[1]) == self.done and found[3] in ("*", str(self._size)):
            return 0
        self._ranges = False
        raise unavailable(answer.url, f"asked for the bytes from {self.done}, it sends others")
