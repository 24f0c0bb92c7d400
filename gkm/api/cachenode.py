"""What the agent of one node reports: GKMCacheNode per namespace, ClusterGKMCacheNode for the node.

Nobody but the agent writes these objects, so they have no spec and no rules. The
ClusterGKMCacheNode is always there, since it carries the node's GPUs.
"""

from pydantic import Field

from gkm.api.cache import Condition, Model, Time
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
    """Pods on this node that use the claim; an extraction is no user."""


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


class NodeCounts(Model):
    """How many nodes and pods are concerned, over all caches of the object: what its columns show.

    A pod counts once in each of the three words that apply to it, however many volumes it mounts.
    """

    node_in_use_cnt: int
    """1 if a pod on this node uses one of the caches, else 0."""

    node_not_in_use_cnt: int
    """1 if a cache is extracted for this node and no pod here uses any, else 0."""

    node_error_cnt: int
    """1 if the extraction of one of the caches failed here, else 0."""

    pod_running_cnt: int
    """Pods on this node that use a cache in the version that is wanted."""

    pod_deleting_cnt: int
    """Pods on this node that still use a cache although it is being deleted."""

    pod_outdated_cnt: int
    """Pods on this node that use an older version of a cache than the one that is wanted now."""


class CacheNodeStatus(Model):
    """What is on the node. Written by the node's GKM agent only."""

    node_name: str = ""
    """Name of the node; empty until its GPUs have been looked for."""

    counts: NodeCounts | None = None
    """How many nodes and pods are concerned, over all caches of this object."""

    gpus: tuple[GpuGroup, ...] = ()
    """The node's GPUs, grouped by type and driver; none if there is none."""

    gpu_message: str = ""
    """Why GPUs may be missing above; empty if nothing is doubtful."""

    claims_left_out: int = 0
    """Claims that concern this node and have no place in ``caches``, because there are too many."""

    caches: dict[str, dict[str, CacheEntry]] = Field(default={})
    """By the name of the cache, then by digest: the versions of it that are on the node."""
