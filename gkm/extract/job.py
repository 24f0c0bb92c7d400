"""The extraction: an image's cache onto a volume, checked to the last byte, then marked complete.

One stream from the registry to the files; nothing is kept twice. What a volume is at any moment is
``volume.py``'s business, what an archive may hold ``gkm.oci``'s.
"""

import time
from collections import deque
from contextlib import closing

from gkm.api.errors import Rejected
from gkm.core.image import LARGEST_CACHE, Reference, declared_size
from gkm.core.outcome import Outcome
from gkm.core.progress import mebibytes
from gkm.extract.ahead import ahead
from gkm.extract.told import Told
from gkm.extract.tree import Tree
from gkm.extract.unpack import Unpacker
from gkm.extract.volume import RESERVED, Marker, Volume, is_full
from gkm.oci.inflate import inflate
from gkm.oci.layer import Layer, checked, readable_layers
from gkm.oci.registry import Registry


def extract(
    registry: Registry,
    reference: str,
    volume: Volume,
    mount_path: str,
    at_most: int | None = None,
) -> Outcome:
    """Make ``volume`` complete for the image; raises Retry, Rejected or OSError, and it is not.

    ``reference``: a tag means what it is now; a Job is given a digest. ``mount_path`` is where
    workloads will mount the volume; ``at_most`` is the number of bytes that the cache may have. A
    volume that is already complete for the first two is left as it is.
    """
    started = time.monotonic()
    where = Reference.parse(reference)
    if not where.digest:
        where = Reference.parse(where.pinned(registry.manifest(where).digest))
    marker = volume.marker()
    if marker is None or (marker.digest, marker.mountPath) != (where.digest, mount_path):
        marker = _fill(registry, where, volume, mount_path, at_most)
    seconds = round(time.monotonic() - started, 3)
    message = f"{marker.files} files, {mebibytes(marker.bytes)}"
    return Outcome("Extracted", message, marker.digest, marker.bytes, marker.files, seconds)


def _fill(
    registry: Registry, where: Reference, volume: Volume, mount_path: str, at_most: int | None
) -> Marker:
    image = registry.image(str(where))
    layers = readable_layers(image.manifest.layers, image.config.diff_ids)
    packed = sum(layer.size for layer, _ in layers)
    needed = declared_size(image.config.labels) or packed
    if (largest := max(needed, packed)) > LARGEST_CACHE:
        raise Rejected("TooLarge", f"{largest} bytes; GKM unpacks at most {LARGEST_CACHE}")
    try:
        volume.begin()
        volume.check_room(needed)
        with closing(Tree(volume.root)) as tree:
            unpacker = Unpacker(image.config.labels, tree, mount_path, at_most)
            told = Told(packed, lambda: unpacker.files)
            for layer in layers:
                _unpack(registry, where, layer, unpacker, told)
            unpacker.check()
            tree.seal(besides=RESERVED)
        marker = Marker(where.digest, mount_path, unpacker.bytes, unpacker.files)
        volume.complete(marker)
    except OSError as error:
        if is_full(error):
            raise volume.no_space(needed) from error
        raise
    return marker


def _unpack(
    registry: Registry, where: Reference, layer: Layer, unpacker: Unpacker, told: Told
) -> None:
    compressed = told.passing(registry.blob(where, layer[0]))
    try:
        with ahead(inflate(layer[0], compressed)) as plain:
            unpacker.layer(checked(layer, plain))
    except Rejected:
        # Bytes that somebody changed on the way look like a bad image, too: only the digest, which
        # covers all of them, can tell, and then raises Retry in place of this. The thread that
        # read ahead has ended; the stream ends at the size that the manifest gives.
        deque(compressed, maxlen=0)
        raise
