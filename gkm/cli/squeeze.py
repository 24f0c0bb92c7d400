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
from typing import Final, Protocol

from gkm.oci import media

BLOCK: Final = 4 << 20
"""Bytes. A layer of 8 GiB has 2,048 of these, and GKM unpacks 10,000 members at most."""
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3

Emit = Callable[[bytes], object]
Compress = Callable[[bytes], bytes]


class Squeeze(Protocol):
    """Takes plain bytes; gives compressed ones, in their order, to the ``emit`` it was made with.

    Everything is called by one thread, ``emit`` too.
    """

    def feed(self, plain: bytes) -> None:
        """Take some bytes."""

    def finish(self) -> None:
        """Compress what is left; nothing may follow."""

    def stop(self) -> None:
        """Let go of threads, finished or not."""


class Plain:
    """No compression, for archives that want a layer as it is."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def feed(self, plain: bytes) -> None:
        """Pass the bytes on."""
        self._emit(plain)

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
        self._pending: deque[Future[bytes]] = deque()
        self._parts: list[bytes] = []
        self._left = BLOCK

    def feed(self, plain: bytes) -> None:
        """Take some bytes."""
        while len(plain) >= self._left:
            self._parts.append(plain[: self._left])
            plain = plain[self._left :]
            self._submit()
        self._parts.append(plain)
        self._left -= len(plain)

    def finish(self) -> None:
        """Compress what is left."""
        self._submit()
        while self._pending:
            self._emit(self._pending.popleft().result())

    def stop(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _submit(self) -> None:
        block = b"".join(self._parts)
        self._parts, self._left = [], BLOCK
        self._pending.append(self._pool.submit(self._compress, block))
        while len(self._pending) > self._most or (self._pending and self._pending[0].done()):
            self._emit(self._pending.popleft().result())


def _gzip(emit: Emit) -> Squeeze:
    from deflate import gzip_compress  # noqa: PLC0415 - needed to pack, not to know how

    return Blocks(emit, lambda block: bytes(gzip_compress(block, _GZIP_LEVEL)))


def _zstd(emit: Emit) -> Squeeze:
    from backports import zstd  # noqa: PLC0415 - as above

    option = zstd.CompressionParameter
    options: dict[int, int] = {option.compression_level: _ZSTD_LEVEL, option.checksum_flag: 1}
    return Blocks(emit, lambda block: zstd.compress(block, options=options))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


COMPRESSIONS: Final[dict[str, tuple[Callable[[Emit], Squeeze], str]]] = {
    "gzip": (_gzip, media.OCI_LAYER_GZIP),
    "zstd": (_zstd, media.OCI_LAYER_ZSTD),
}
"""By name: how it is made, and the layer's media type."""
