"""Compresses a layer on all cores, to bytes that depend on nothing but the content.

Not on the number of cores, nor on their kind: blocks are cut at fixed places, and each becomes a
member of a gzip file (RFC 1952, 2.2) or a frame of a zstd file (RFC 8878, 3). They do depend on
the compressor's version, which is therefore that of a wheel (``deflate`` brings libdeflate,
``backports.zstd`` brings zstd) and not the system's zlib: several systems have zlib-ng in its
place, and isal chooses its instructions, and with them its output, by CPU. libdeflate's level 6 is
also three times as fast as zlib's and packs a little tighter, which makes up for the blocks.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol, TypeAlias

from gkm.oci import media

BLOCK: Final = 4 << 20
"""Bytes. A layer of 8 GiB has 2,048 of these, and GKM unpacks 10,000 members at most."""
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 2
"""With the strategy of level 3: its size within 2 %, in two thirds of the time."""

Buffer: TypeAlias = bytes | bytearray | memoryview
Emit = Callable[[Buffer], object]
Compress = Callable[[memoryview], Buffer]


class Squeeze(Protocol):
    """Takes plain blocks; gives compressed bytes, in their order, to the ``emit`` it was made with.

    Everything is called by one thread, ``emit`` too. Buffers are used again and again: fresh memory
    costs more than what is copied into it.
    """

    def buffer(self) -> bytearray:
        """Give ``BLOCK`` bytes to fill, for ``feed``."""

    def feed(self, buffer: bytearray, used: int) -> None:
        """Take a buffer back, of which ``used`` bytes are a block: all, but for the last one."""

    def finish(self) -> None:
        """Emit what is left; nothing may follow."""

    def stop(self) -> None:
        """Let go of threads, finished or not."""


class Plain:
    """No compression, for archives that want a layer as it is."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._buffer = bytearray(BLOCK)

    def buffer(self) -> bytearray:
        """Give the one there is."""
        return self._buffer

    def feed(self, buffer: bytearray, used: int) -> None:
        """Pass a block on."""
        self._emit(memoryview(buffer)[:used])

    def finish(self) -> None:
        """Nothing is left."""

    def stop(self) -> None:
        """There is nothing to let go of."""


class Blocks:
    """Compresses each block by itself, several at a time: ``compress`` must free the GIL."""

    def __init__(self, emit: Emit, compress: Compress) -> None:
        self._emit = emit
        self._compress = compress
        self._pool = ThreadPoolExecutor(_cores(), "compress")
        self._most = 2 * _cores()
        self._pending: deque[tuple[Future[Buffer], bytearray]] = deque()
        self._free: list[bytearray] = []

    def buffer(self) -> bytearray:
        """Give a buffer whose block is compressed, or a new one."""
        return self._free.pop() if self._free else bytearray(BLOCK)

    def feed(self, buffer: bytearray, used: int) -> None:
        """Take a block."""
        future = self._pool.submit(self._compress, memoryview(buffer)[:used])
        self._pending.append((future, buffer))
        while len(self._pending) > self._most or (self._pending and self._pending[0][0].done()):
            self._next()

    def finish(self) -> None:
        """Emit what is left."""
        while self._pending:
            self._next()

    def stop(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _next(self) -> None:
        future, buffer = self._pending.popleft()
        self._emit(future.result())
        self._free.append(buffer)


def _gzip(emit: Emit) -> Squeeze:
    from deflate import gzip_compress  # noqa: PLC0415 - needed to pack, not to know how

    return Blocks(emit, lambda block: gzip_compress(block, _GZIP_LEVEL))


def _zstd(emit: Emit) -> Squeeze:
    from backports import zstd  # noqa: PLC0415 - as above

    option = zstd.CompressionParameter
    options: dict[int, int] = {
        option.compression_level: _ZSTD_LEVEL,
        option.strategy: zstd.Strategy.dfast,
    }
    return Blocks(emit, lambda block: zstd.compress(block, options=options))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


COMPRESSIONS: Final[dict[str, tuple[Callable[[Emit], Squeeze], str]]] = {
    "gzip": (_gzip, media.OCI_LAYER_GZIP),
    "zstd": (_zstd, media.OCI_LAYER_ZSTD),
}
"""By name: how it is made, and the layer's media type."""
