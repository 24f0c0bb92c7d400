"""Compresses a layer on all cores, to bytes that depend on nothing but the content.

Not on the number of cores, nor on their kind: blocks are cut at fixed places. They do depend on
the compressor's version, which is therefore that of a wheel (``deflate`` brings libdeflate,
``backports.zstd`` brings zstd) and not the system's zlib: several systems have zlib-ng in its
place, and isal chooses its instructions, and with them its output, by CPU.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from gkm.oci import media

_BLOCK: Final = 2 << 20
"""Bytes of a gzip member. A layer of 8 GiB has 4,096, and GKM unpacks at most 10,000."""
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3
_ZSTD_JOB: Final = 4 << 20
"""What one worker of zstd compresses at a time; twice the window of its level."""
_ZSTD_OVERLAP: Final = 5
"""How much of a job's past its worker sees, 9 being a whole window."""

Emit = Callable[[bytes], object]


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


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Gzip:
    """A gzip member for each block (RFC 1952, 2.2: a file is a series of members)."""

    def __init__(self, emit: Emit) -> None:
        from deflate import gzip_compress  # noqa: PLC0415 - needed to pack, not to know how

        self._compress = gzip_compress
        self._emit = emit
        self._cores = cores()
        self._pool = ThreadPoolExecutor(self._cores, "gzip")
        self._pending: deque[Future[bytes]] = deque()
        self._block = bytearray()

    def feed(self, plain: bytes) -> None:
        """Take some bytes."""
        self._block += plain
        while len(self._block) >= _BLOCK:
            self._submit(bytes(self._block[:_BLOCK]))
            del self._block[:_BLOCK]

    def finish(self) -> None:
        """Compress what is left."""
        self._submit(bytes(self._block))
        while self._pending:
            self._emit(self._pending.popleft().result())

    def stop(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _submit(self, block: bytes) -> None:
        self._pending.append(self._pool.submit(self._compress, block, _GZIP_LEVEL))
        while len(self._pending) > 2 * self._cores or self._pending[0].done():
            self._emit(self._pending.popleft().result())
            if not self._pending:
                return


class Zstd:
    """One frame. zstd's own workers share it in jobs of a fixed size, one worker or many alike."""

    def __init__(self, emit: Emit) -> None:
        from backports import zstd  # noqa: PLC0415 - as for gzip

        option = zstd.CompressionParameter
        options: dict[int, int] = {
            option.compression_level: _ZSTD_LEVEL,
            option.nb_workers: cores(),  # 0 would be another algorithm, with other bytes
            option.job_size: _ZSTD_JOB,
            option.overlap_log: _ZSTD_OVERLAP,
            option.checksum_flag: 1,
        }
        self._compressor = zstd.ZstdCompressor(options=options)
        self._emit = emit

    def feed(self, plain: bytes) -> None:
        """Take some bytes."""
        if packed := self._compressor.compress(plain):
            self._emit(packed)

    def finish(self) -> None:
        """Compress what is left."""
        self._emit(self._compressor.flush())

    def stop(self) -> None:
        """Nothing to do: the workers end with the compressor."""


class Plain:
    """No compression, for archives that want a layer as it is."""

    def __init__(self, emit: Emit) -> None:
        self.feed: Callable[[bytes], object] = emit

    def finish(self) -> None:
        """Nothing is left."""

    def stop(self) -> None:
        """Nothing to do."""


COMPRESSIONS: Final[dict[str, tuple[Callable[[Emit], Squeeze], str]]] = {
    "gzip": (Gzip, media.OCI_LAYER_GZIP),
    "zstd": (Zstd, media.OCI_LAYER_ZSTD),
}
"""By name: how it is made, and the layer's media type."""
