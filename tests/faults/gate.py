"""What stands between the API server and the webhook: bytes pass; the webhook dies at a review.

Nobody reads what is said: it is TLS from end to end. But who sends, and how much at a time, tells a
review from a handshake, so reviews are numbered and struck as writes are.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.rules import Fault, Rule, Rulebook

_APPLICATION_DATA, _HEADER = 0x17, 5
_SMALLEST = 400
"""Bytes. The records of a handshake that look like data, and session tickets, are smaller."""


@dataclass
class _Talk:
    """One connection: whether a review is being answered, and what shall happen then."""

    waiting: bool = False
    due: Rule | None = None


class Gate:
    """Listens on ``host``, passes on to the webhook's ``port``; ``kill`` ends the webhook."""

    def __init__(self, host: str, port: int, kill: Callable[[], None]) -> None:
        self.rulebook = Rulebook()
        self.last_write = time.monotonic()
        """When the last review came."""
        self.ended = 0.0
        self.port = 0
        self._host, self._webhook, self._kill = host, port, kill
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        self._server.close()
        for writer in list(self._open):
            writer.close()

    def begin(self, rules: Iterable[Rule] = ()) -> None:
        """Start numbering anew, with these rules."""
        self.rulebook = Rulebook(rules)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._webhook)
            self._open |= {writer, far_writer}
            talk = _Talk()
            ways = (self._there(reader, far_writer, talk), self._back(far_reader, writer, talk))
            tasks = [asyncio.create_task(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            far_writer.close()
            self._open -= {writer, far_writer}
        writer.close()

    async def _there(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: _Talk
    ) -> None:
        async for record in _records(reader):
            if _is_talk(record) and not talk.waiting:
                talk.waiting, talk.due = True, self._review()
                if talk.due is not None and talk.due.fault is Fault.KILL_BEFORE:
                    self._end()
                    return
            writer.write(record)
            await writer.drain()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: _Talk
    ) -> None:
        async for record in _records(reader):
            struck = _is_talk(record) and talk.due is not None
            if struck and talk.due is not None and talk.due.fault is Fault.KILL_AFTER_COMMIT:
                self._end()
                return
            writer.write(record)
            await writer.drain()
            if struck:
                self._end()
                return
            talk.waiting = talk.waiting and not _is_talk(record)

    def _review(self) -> Rule | None:
        self.last_write = time.monotonic()
        return self.rulebook.take("REVIEW", "pods", "", "")[1]

    def _end(self) -> None:
        self.ended = time.monotonic()
        self._kill()


async def _records(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The TLS records that come, whole; the first byte of each is its type."""
    with suppress(asyncio.IncompleteReadError, OSError):
        while True:
            head = await reader.readexactly(_HEADER)
            yield head + await reader.readexactly(int.from_bytes(head[3:5]))


def _is_talk(record: bytes) -> bool:
    """Whether a record carries a review or its answer."""
    return record[0] == _APPLICATION_DATA and len(record) > _SMALLEST
