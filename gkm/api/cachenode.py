"""What the agent of one node reports: GKMCacheNode per namespace, ClusterGKMCacheNode for the node.

Only the fields that are certain; the agent completes them. Nobody but the agent writes these
objects, so they have no spec and no rules.
"""

from pydantic import Field

from gkm.api.cache import Condition, Counts, Model, Time
from gkm.api.rules import list_map


class GpuGroup(Model):
    """GPUs of a node that are of one type and run one driver."""

    gpu_type: str
    """Type of the GPUs."""

    driver_version: str = ""
    """Version of the driver that the GPUs run with."""

    ids: tuple[int, ...] = ()
    """Numbers of the GPUs on their node."""


class CacheEntry(Model):
    """One version of a cache on this node."""

    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=list_map("type"))
    """State of this version on this node."""

    compatible_gpus: tuple[int, ...] = Field(default=(), alias="compatibleGPUs")
    """Numbers of the node's GPUs that can use the cache."""

    incompatible_gpus: tuple[int, ...] = Field(default=(), alias="incompatibleGPUs")
    """Numbers of the node's GPUs that cannot use the cache."""

    last_updated: Time | None = None
    """When this entry last changed."""


class CacheNodeStatus(Model):
    """What is on the node. Written by the node's GKM agent only."""

    node_name: str = ""
    """Name of the node."""

    counts: Counts | None = None
    """How much of the node is concerned."""

    gpus: tuple[GpuGroup, ...] = ()
    """The node's GPUs, grouped by type and driver."""

    caches: dict[str, dict[str, CacheEntry]] = Field(default={})
    """By the name of the cache, then by digest: the versions of it that are on the node."""
