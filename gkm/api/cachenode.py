"""What the agent of one node reports: GKMCacheNode per namespace, ClusterGKMCacheNode for the node.

Nobody but the agent writes these objects, so they have no spec and no rules. The
ClusterGKMCacheNode is always there, since it carries the node's GPUs.
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

    backend: str = ""
    """What compiles for them: cuda or hip."""

    arch: str = ""
    """Their architecture, such as 90 (cuda) or gfx942 (hip); empty if not known."""

    warp_size: int = 0
    """Lanes of a warp; 0 if not known."""

    ids: tuple[int, ...] = ()
    """Numbers of the GPUs on their node."""


class ClaimEntry(Model):
    """One claim through which a version of a cache is, or comes, to this node."""

    namespace: str
    """Namespace of the claim."""

    claim: str
    """Name of the PersistentVolumeClaim."""

    phase: str
    """Downloading, Error, Extracted, Running, Outdated or Deleting."""

    message: str = ""
    """What went wrong."""

    pods: int = 0
    """Pods on this node that use the claim."""


class CacheEntry(Model):
    """One version of a cache on this node."""

    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=list_map("type"))
    """State of this version on this node, in one condition: Ready."""

    compatible_gpus: tuple[int, ...] = Field(default=(), alias="compatibleGPUs")
    """Numbers of the node's GPUs that can use the cache."""

    incompatible_gpus: tuple[int, ...] = Field(default=(), alias="incompatibleGPUs")
    """Numbers of the node's GPUs that cannot use the cache."""

    fit: str = ""
    """Which of the node's GPUs the cache fits, and why."""

    claims: tuple[ClaimEntry, ...] = ()
    """The claims of this version that concern this node."""

    last_updated: Time | None = None
    """When this entry last changed."""


class CacheNodeStatus(Model):
    """What is on the node. Written by the node's GKM agent only."""

    node_name: str = ""
    """Name of the node; empty until its GPUs have been looked for."""

    counts: Counts | None = None
    """How much of the node is concerned."""

    gpus: tuple[GpuGroup, ...] = ()
    """The node's GPUs, grouped by type and driver; none if there is none."""

    caches: dict[str, dict[str, CacheEntry]] = Field(default={})
    """By the name of the cache, then by digest: the versions of it that are on the node."""
