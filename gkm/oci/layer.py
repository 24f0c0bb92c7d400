"""Which layers of an image are read, and one layer as a checked stream of tar bytes.

Compressed bytes are checked by ``Registry.blob``, uncompressed ones here; a reader that stops
before the end has checked nothing.
"""

import hashlib
from collections.abc import Iterator, Sequence

from gkm.api.errors import Rejected
from gkm.oci import media
from gkm.oci.manifest import Descriptor

Layer = tuple[Descriptor, str]
"""A layer's descriptor and its diffID (digest of the uncompressed tar)."""


def readable_layers(layers: Sequence[Descriptor], diff_ids: Sequence[str]) -> Sequence[Layer]:
    """Return the layers of an image that hold files, lowest first; raises Rejected.

    Layers of other types are left out, as MCV does; so an image with none of ours is refused.
    """
    if len(layers) != len(diff_ids):
        raise Rejected("BadImage", f"{len(layers)} layers but {len(diff_ids)} diff_ids")
    if len({layer.digest for layer in layers}) != len(layers):
        raise Rejected("BadImage", "the manifest lists a layer twice")
    pairs = list(zip(layers, diff_ids, strict=True))
    found = [pair for pair in pairs if pair[0].media_type in media.LAYERS]
    if not found and len(pairs) == 1 and pairs[0][0].media_type in media.ARTIFACT_LAYERS:
        return pairs
    if not found:
        types = ", ".join(sorted({layer.media_type for layer in layers})) or "no layers"
        raise Rejected("NotACacheImage", f"no layer that GKM reads (tar+gzip, tar+zstd): {types}")
    return found


def checked(layer: Layer, plain: Iterator[bytes]) -> Iterator[bytes]:
    """Pass a layer's tar on; raises Rejected(BadImage) at its end if the diffID is another."""
    descriptor, diff_id = layer
    digest = hashlib.sha256()
    for chunk in plain:
        digest.update(chunk)
        yield chunk
    if f"sha256:{digest.hexdigest()}" != diff_id:
        raise Rejected("BadImage", f"layer {descriptor.digest} does not unpack to its diffID")
