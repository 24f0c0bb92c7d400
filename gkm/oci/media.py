"""Media types that GKM reads and writes, and nothing else about them.

Sources: OCI image-spec 1.1 (media-types.md), Docker schema 2, and MCV's artifact types. Mixed
forms (an OCI manifest with Docker layers) are normal in registries.
"""

from typing import Final

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"

INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})

LAYERS: Final = frozenset({OCI_LAYER_GZIP, DOCKER_LAYER_GZIP, OCI_LAYER_ZSTD})
"""Layers of ordinary images: used in order, whatever the type of the manifest is."""
ARTIFACT_LAYERS: Final = frozenset(
    {
        "application/cache.triton.content.layer.v1+triton",
        "application/cache.vllm.content.layer.v1+vllm",
    }
)
"""MCV's artifact form: exactly one layer, a gzipped tar in spite of its name."""
