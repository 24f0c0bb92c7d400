"""Writes one layer: a tar, the same bytes for the same content, compressed on its way.

Headers are ``tarfile``'s (pax, POSIX.1-2001): what that is not trusted with is reading. What GKM
would refuse to unpack is not packed.
"""

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import IO, Final, Self

from gkm.cli.squeeze import BLOCK, Buffer, Emit, Squeeze
from gkm.oci.archive import BLOCK as TAR_BLOCK
from gkm.oci.archive import LARGEST_FILE, Member, Tally
from gkm.oci.names import canonical, refuse

_RECORD: Final = 20 * TAR_BLOCK
"""Writers of tar fill up the last of these, by custom."""


class LayerWriter:
    """Use it in a ``with`` block; then ``digest``, ``diff_id`` and ``size`` (bytes) are known.

    Raises Rejected(BadArchive) for a name, or for more, than GKM unpacks.
    """

    def __init__(self, out: IO[bytes], epoch: int, squeeze: Callable[[Emit], Squeeze]) -> None:
        self.size = 0
        self._out = out
        self._epoch = epoch
        self._squeeze = squeeze(self._emit)
        self._packed, self._plain = hashlib.sha256(), hashlib.sha256()
        self._written = 0
        self._block, self._used = self._squeeze.buffer(), 0
        self._tally = Tally()
        self._tally.next_layer()

    @property
    def digest(self) -> str:
        """Digest of the layer as it lies there."""
        return f"sha256:{self._packed.hexdigest()}"

    @property
    def diff_id(self) -> str:
        """Digest of the plain tar."""
        return f"sha256:{self._plain.hexdigest()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                end = self._written + 2 * TAR_BLOCK
                self._write(bytes(2 * TAR_BLOCK + -end % _RECORD))
                self._pass_on()
                self._squeeze.finish()
        finally:
            self._squeeze.stop()

    def directory(self, name: str) -> None:
        """Add a directory."""
        self._header(name, 0, tarfile.DIRTYPE, 0o755)

    def file(self, name: str, size: int, content: Iterable[Buffer]) -> None:
        """Add a file whose ``content`` has ``size`` bytes."""
        if size > LARGEST_FILE:
            raise refuse(name, f"{size} bytes; a file may have {LARGEST_FILE}")
        self._header(name, size, tarfile.REGTYPE, 0o644)
        for chunk in content:
            self._write(chunk)
        if size % TAR_BLOCK:
            self._write(bytes(-size % TAR_BLOCK))

    def _header(self, name: str, size: int, kind: bytes, mode: int) -> None:
        member = Member(canonical(os.fsencode(name)), kind == tarfile.DIRTYPE, size)
        self._tally.add(member, 0)
        info = tarfile.TarInfo(member.name)
        info.size, info.type, info.mode, info.mtime = size, kind, mode, self._epoch
        self._write(info.tobuf(tarfile.PAX_FORMAT))

    def _write(self, plain: Buffer) -> None:
        self._written += len(plain)
        while plain:
            piece = plain[: BLOCK - self._used]
            plain = plain[len(piece) :]
            self._block[self._used : self._used + len(piece)] = piece
            self._used += len(piece)
            if self._used == BLOCK:
                self._pass_on()

    def _pass_on(self) -> None:
        self._plain.update(memoryview(self._block)[: self._used])
        self._squeeze.feed(self._block, self._used)
        self._block, self._used = self._squeeze.buffer(), 0

    def _emit(self, packed: Buffer) -> None:
        self._packed.update(packed)
        self._out.write(packed)
        self.size += len(packed)
