"""Writes the image of a cache into an OCI layout."""

from gkm.cli.image import About, Cache, config, write_layer
from gkm.cli.layerwriter import LayerWriter
from gkm.cli.layout import Layout, to_json
from gkm.cli.squeeze import COMPRESSIONS
from gkm.oci import media
from gkm.oci.manifest import Descriptor


def write_image(cache: Cache, layout: Layout, about: About, compression: str) -> Descriptor:
    """Write layer, config and manifest into an empty layout; returns the manifest's descriptor.

    ``compression`` is one of ``COMPRESSIONS``.
    """
    squeeze, media_type = COMPRESSIONS[compression]
    temporary = layout.root / "layer.tmp"
    with temporary.open("wb") as out:
        layer = LayerWriter(out, about.epoch, squeeze)
        size = write_layer(cache, layer)
    temporary.rename(layout.blob_path(layer.digest))
    image = config(cache, about, layer.diff_id, size)
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": to_json(layout.add_document(media.OCI_CONFIG, image)),
        "layers": [to_json(Descriptor(media_type, layer.digest, layer.size))],
    }
    return layout.add_document(media.OCI_MANIFEST, manifest)
