"""What users write into, and read from, a GKMCache or ClusterGKMCache: both kinds are the same.

Each docstring below a field becomes its description in the CRD, so it speaks to users. The models
read whatever an API server may hold, older objects included; limits are in ``gkm.api.rules`` and
reach the CRDs only.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from gkm.api import corev1, rules

JsonObject = dict[str, JsonValue]

SHARED_MODES: Final = frozenset({"ReadOnlyMany", "ReadWriteMany"})
"""Access modes that make one volume per namespace enough."""


def _whole_seconds(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(microsecond=0)


Time = Annotated[datetime, AfterValidator(_whole_seconds)]
"""As Kubernetes writes times, so that what is written and what is read back are equal."""


class Model(BaseModel):
    """Base of all our models: camelCase outside, frozen, blind to fields it does not know."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    def dump(self) -> dict[str, Any]:
        """JSON for the API server, without what is not set."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class PullSecret(Model):
    """A Secret with registry credentials."""

    name: str = Field(json_schema_extra=rules.DNS_SUBDOMAIN)
    """Name of a Secret of type kubernetes.io/dockerconfigjson."""


class PodMetadata(Model):
    """Labels and annotations of the extraction pods."""

    labels: dict[str, str] = {}
    """Labels to add to the extraction pods."""

    annotations: dict[str, str] = {}
    """Annotations to add to the extraction pods."""


class PodSpec(Model):
    """Where the extraction pods may run."""

    node_selector: dict[str, str] = {}
    """Labels that a node must carry to get a copy of the cache."""

    tolerations: tuple[Annotated[JsonObject, Field(json_schema_extra=corev1.TOLERATION)], ...] = (
        Field(default=(), json_schema_extra={"x-kubernetes-list-type": "atomic"})
    )
    """Taints that do not keep the cache from a node."""

    affinity: JsonObject | None = Field(default=None, json_schema_extra=corev1.AFFINITY)
    """Affinity of the extraction pods; its required node affinity also decides which nodes get a
    copy of the cache."""

    priority_class_name: str | None = None
    """PriorityClass of the extraction pods."""


class PodTemplate(Model):
    """What to change in the pods that extract the cache."""

    metadata: PodMetadata = PodMetadata()
    """Labels and annotations to add to the extraction pods."""

    spec: PodSpec = PodSpec()
    """Which nodes get a copy of the cache, and where the extraction pods may run."""


class CacheSpec(Model):
    """What the user wants: which cache, where, and on what storage."""

    model_config = ConfigDict(json_schema_extra=rules.SPEC)

    image: str = Field(json_schema_extra=rules.IMAGE)
    """OCI image that holds the packed kernel cache. A tag is looked up once, when it is first seen
    or changes; refresh asks for more."""

    image_pull_secrets: tuple[PullSecret, ...] = Field(
        default=(), json_schema_extra=rules.PULL_SECRETS
    )
    """Secrets to pull the image with. They must exist in each namespace that gets the cache; those
    of a ClusterGKMCache also in GKM's own namespace, where its image is looked up."""

    pod_template: PodTemplate = PodTemplate()
    """Changes to the pods that extract the cache, such as tolerations and node selectors. A change
    starts extractions anew that have not finished."""

    storage_class_name: str | None = Field(default=None, json_schema_extra=rules.STORAGE_CLASS)
    """StorageClass of the volumes; without it, the cluster's default. Cannot be changed later."""

    access_modes: tuple[Annotated[str, Field(json_schema_extra=rules.ACCESS_MODE)], ...] = Field(
        default=("ReadWriteOnce",), json_schema_extra=rules.ACCESS_MODES
    )
    """How the storage can be mounted. With ReadOnlyMany or ReadWriteMany all nodes share one volume
    per namespace; otherwise each node gets a volume of its own. ReadWriteOncePod is refused: the
    pods of a node share a volume. Cannot be changed later."""

    mount_path: str = Field(default="/cache", json_schema_extra=rules.MOUNT_PATH)
    """Path at which workloads see the cache. Paths inside the cache are rewritten to it. Cannot be
    changed later."""

    storage_size: str | None = Field(default=None, json_schema_extra=rules.STORAGE_SIZE)
    """Size of each volume, such as 2Gi; without it, worked out from the image. A change is for
    volumes that are not filled yet."""

    workload_namespaces: tuple[Annotated[str, Field(json_schema_extra=rules.DNS_LABEL)], ...] = (
        Field(default=(), json_schema_extra=rules.WORKLOAD_NAMESPACES)
    )
    """Namespaces that get the cache. Only for a ClusterGKMCache: a GKMCache serves its own."""

    refresh: str | None = Field(default=None, json_schema_extra=rules.REFRESH)
    """How often to look the image's tag up again, such as 10m, 12h or 1d; without it, never. When
    the tag has moved, the cache is updated as if image had changed."""

    @property
    def shared(self) -> bool:
        """One volume per namespace, in place of one per namespace and node."""
        return not SHARED_MODES.isdisjoint(self.access_modes)


class Condition(Model):
    """One aspect of the state."""

    type: str
    """Aspect that this condition is about, such as Ready."""

    status: str = "Unknown"
    """True, False or Unknown."""

    reason: str = ""
    """The state in one word, for programs."""

    message: str = ""
    """The state in words, and what to do about it."""

    last_transition_time: Time | None = None
    """When status last changed."""

    observed_generation: int | None = None
    """Generation of the spec that this condition is about."""


class Counts(Model):
    """How many nodes and pods are concerned. A count is left out while nobody reports it."""

    node_cnt: int | None = None
    """Nodes that the cache is meant for."""

    node_in_use_cnt: int | None = None
    """Nodes where the cache is extracted and used by at least one pod."""

    node_not_in_use_cnt: int | None = None
    """Nodes where the cache is extracted and used by no pod."""

    node_error_cnt: int | None = None
    """Nodes where the extraction failed."""

    pod_running_cnt: int | None = None
    """Pods that use the cache."""

    pod_deleting_cnt: int | None = None
    """Pods that still use the cache although it is being deleted."""

    pod_outdated_cnt: int | None = None
    """Pods that use an older image of the cache than the one that is wanted now."""


class NamespaceStatus(Model):
    """The cache in one namespace."""

    namespace: str
    """Namespace of the workloads."""

    claim: str = ""
    """PersistentVolumeClaim that workloads mount; empty while there is none."""

    phase: str = ""
    """State of the cache in this namespace."""

    message: str = ""
    """What is being waited for or went wrong, and what to do about it."""


class FailingNode(Model):
    """A node that the cache could not be brought to."""

    node: str
    """Name of the node."""

    reason: str = ""
    """The failure in one word, for programs."""

    message: str = ""
    """The failure in words, and what to do about it."""


class GpuTarget(Model):
    """One kind of GPU that the cache was compiled for."""

    backend: str
    """What it was compiled with: cuda or hip."""

    arch: str = ""
    """Architecture, such as 90 (cuda) or gfx942 (hip); empty if the image does not say."""

    warp_size: int = 0
    """Lanes of a warp; 0 if the image does not say."""

    cuda_version: str = ""
    """Version of CUDA that it was compiled with, if the image says so."""


class CompiledFor(Model):
    """The GPUs that the resolved image was compiled for."""

    targets: tuple[GpuTarget, ...] = ()
    """The kinds of GPUs that the image names."""

    doubt: str = ""
    """Why it may have been compiled for others, too."""


class CacheStatus(Model):
    """What GKM has made of the spec. Written by GKM's operator only."""

    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=rules.list_map("type"))
    """Aspects of the state. The first is Ready; its reason is the STATUS column."""

    observed_generation: int | None = None
    """Generation of the spec that this status is about."""

    resolved_image: str | None = None
    """The image that resolvedDigest belongs to, as it was written in the spec."""

    resolved_digest: str | None = None
    """Digest that the image resolved to. Every copy has exactly this content, until the image in
    the spec changes or is looked up again."""

    resolved_bytes: int | None = None
    """Size in bytes that is asked for each volume."""

    compiled_for: CompiledFor | None = None
    """The GPUs that the image was compiled for, as its labels say."""

    environment: tuple[str, ...] = ()
    """Environment variables that the webhook sets to mountPath in pods that do not set them."""

    counts: Counts | None = None
    """How many nodes and pods are concerned."""

    namespaces: tuple[NamespaceStatus, ...] = Field(
        default=(), json_schema_extra=rules.list_map("namespace")
    )
    """The cache in each namespace that gets it."""

    failing_nodes: tuple[FailingNode, ...] = Field(
        default=(), json_schema_extra=rules.list_map("node", 10)
    )
    """Nodes that the cache could not be brought to: the first ten."""

    last_updated: Time | None = None
    """When this status last changed."""
