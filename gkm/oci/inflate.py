"""Compressed layer bytes to tar bytes, bounded; gzip by isal, zstd when a layer asks for it.

A layer must be one compression format to its last byte: trailing garbage, a cut stream or a wrong
checksum refuse the image. isal inflates about twice as fast as zlib.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from gkm.api.errors import Rejected
from gkm.oci import gzipped, media
from gkm.oci.manifest import Descriptor

_CHUNK: Final = 512 * 1024
"""Larger pieces do not fit into a core's own cache: reading them costs a third more time."""
_MOST_MEMBERS: Final = 10_000
_WINDOW_LOG_MAX: Final = 23
"""8 MiB, what every zstd reader must offer (RFC 8878, 3.1.1.1.2); more is a memory attack."""
_RATIO_MAX: Final = 200
_RATIO_FROM: Final = 64 * 1024 * 1024


def inflate(layer: Descriptor, compressed: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a layer's plain bytes in pieces of at most 512 KiB; raises Rejected(BrokenLayer)."""
    make, failures = _zstd() if layer.media_type == media.OCI_LAYER_ZSTD else _gzip()
    consumed = produced = 0
    members, decoder = 0, None
    for chunk in compressed:
        consumed += len(chunk)
        rest = chunk
        while rest or (decoder and not decoder.needs_input):
            if decoder is None:
                members += 1
                decoder = make()
            try:
                piece, rest, decoder = _step(decoder, rest)
            except failures as error:
                raise _broken(layer, f"does not decompress: {error}") from None
            produced += len(piece)
            if members > _MOST_MEMBERS or produced > max(_RATIO_FROM, consumed * _RATIO_MAX):
                raise _broken(layer, "unpacks to far more than it can hold")
            if piece:
                yield piece
    if decoder is not None or not members:
        raise _broken(layer, "ends too early")


def _broken(layer: Descriptor, why: str) -> Rejected:
    return Rejected("BrokenLayer", f"layer {layer.digest} ({layer.media_type}) {why}")


def _step(decoder: Any, data: bytes) -> tuple[bytes, bytes, Any]:
    piece = decoder.decompress(data, _CHUNK)
    if decoder.eof:
        return piece, decoder.unused_data, None
    return piece, b"", decoder


def _gzip() -> tuple[Callable[[], Any], Any]:
    return gzipped.Member, gzipped.FAILURES


def _zstd() -> tuple[Callable[[], Any], Any]:
    from backports import zstd  # noqa: PLC0415 - few layers need it

    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
    return lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError
