"""Writes one gzip-compressed tar layer, the same bytes for the same content.

Compressed with the standard library's zlib, whose output depends on its version only; isal is
faster, but chooses its instructions, and with them its output, by CPU. Python's ``tarfile`` is fine
for writing: what it is not trusted with is reading.
"""

import hashlib
import tarfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, cast

from gkm.oci import media
from gkm.oci.manifest import Descriptor

_LEVEL: Final = 6
_GZIP: Final = 31
"""zlib's ``wbits`` for a gzip header, which zlib writes without a time stamp."""


class LayerWriter:
    """Use it in a ``with`` block; ``descriptor`` and ``diff_id`` are known afterwards."""

    descriptor: Descriptor
    diff_id: str

    def __init__(self, path: Path, epoch: int) -> None:
        self._epoch = epoch
        self._file = path.open("wb")
        self._packed = hashlib.sha256()
        self._plain = hashlib.sha256()
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._tar = tarfile.open(  # noqa: SIM115 - closed by __exit__
            fileobj=cast("IO[bytes]", self), mode="w|", format=tarfile.PAX_FORMAT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if error:
                return
            self._tar.close()
            self._emit(self._deflate.flush())
            digest, size = f"sha256:{self._packed.hexdigest()}", self._file.tell()
            self.descriptor = Descriptor(media.OCI_LAYER_GZIP, digest, size)
            self.diff_id = f"sha256:{self._plain.hexdigest()}"

    def directory(self, name: str) -> None:
        """Add a directory."""
        info = self._info(name, 0o755)
        info.type = tarfile.DIRTYPE
        self._tar.addfile(info)

    def file(self, name: str, content: IO[bytes]) -> int:
        """Add a file; returns its size in bytes."""
        info = self._info(name, 0o644)
        info.size = content.seek(0, 2)
        content.seek(0)
        self._tar.addfile(info, content)
        return info.size

    def write(self, plain: bytes) -> int:
        """Take the tar's bytes from ``tarfile``; not for callers."""
        self._plain.update(plain)
        self._emit(self._deflate.compress(plain))
        return len(plain)

    def _emit(self, packed: bytes) -> None:
        self._packed.update(packed)
        self._file.write(packed)

    def _info(self, name: str, mode: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.mode, info.mtime = mode, self._epoch
        return info
