"""Runs a stream of chunks in its own thread, a bounded number of chunks ahead of its reader.

Hashing, inflating and writing release the interpreter's lock, so two threads nearly halve the time
of an extraction and memory stays bounded by the queue.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_DEPTH: Final = 8
_Item = bytes | BaseException | None


@contextmanager
def ahead(source: Iterator[bytes], depth: int = _DEPTH) -> Iterator[Iterator[bytes]]:
    """Give an iterator over ``source``; what ``source`` raises is raised in the reader.

    Leaving the block early stops the thread at its next chunk.
    """
    buffer: queue.Queue[_Item] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_pump, args=(source, buffer, stop), daemon=True)
    thread.start()
    try:
        yield _drain(buffer)
    finally:
        stop.set()
        while thread.is_alive():
            _make_room(buffer)
            thread.join(0.01)


def _pump(source: Iterator[bytes], buffer: "queue.Queue[_Item]", stop: threading.Event) -> None:
    try:
        for chunk in source:
            if stop.is_set():
                return
            buffer.put(chunk)
        buffer.put(None)
    except BaseException as error:  # noqa: BLE001 - raised again by the reader
        buffer.put(error)


def _drain(buffer: "queue.Queue[_Item]") -> Iterator[bytes]:
    while (item := buffer.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


def _make_room(buffer: "queue.Queue[_Item]") -> None:
    try:
        while True:
            buffer.get_nowait()
    except queue.Empty:
        pass
