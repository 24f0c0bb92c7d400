"""What is observed, as small frozen values: the only things that decisions are made from.

Built from the API server's JSON by ``core.parse``; never written back. Everything that a rule does
not read is left out, so that two equal views mean that nothing of interest changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gkm.api.cache import CacheSpec, CacheStatus
from gkm.api.names import CacheKey
from gkm.core.gpu import Gpu
from gkm.core.image import ImageFacts
from gkm.core.outcome import Outcome


@dataclass(frozen=True)
class Cache:
    """A Cache of either kind, as its user wrote it and as we last reported it."""

    key: CacheKey
    uid: str
    version: str
    generation: int
    spec: CacheSpec
    status: CacheStatus
    finalizers: tuple[str, ...] = ()
    deleting: bool = False


@dataclass(frozen=True)
class Child:
    """What all children share: who they are and which copy of which Cache they serve."""

    namespace: str
    name: str
    uid: str
    version: str
    key: CacheKey
    cache_uid: str
    copy: str
    digest: str
    target: str
    role: str
    input_hash: str
    deleting: bool
    node: str
    """Name of the node that a per-node copy is for; empty in shared mode, as its uid."""
    node_uid: str


@dataclass(frozen=True)
class Claim(Child):
    """A claim of ours; ``phase`` is Pending, Bound or Lost, ``failed`` the annotation's text."""

    phase: str = "Pending"
    volume: str = ""
    failed: str = ""
    created: float = 0.0
    nudged: float = 0.0
    """When the binder was last made to look at it. Both in epoch seconds."""
    superseded: str = ""
    """The word of the annotation, for the node's agent."""


@dataclass(frozen=True)
class Volume(Child):
    """A volume that carries our labels, and the claim that it is held by or reserved for."""

    phase: str = "Pending"
    phase_since: float = 0.0
    """Epoch seconds."""
    claim_namespace: str = ""
    claim_name: str = ""
    claim_uid: str = ""
    storage_class: str = ""
    capacity: str = ""
    access_mode: str = "ReadOnlyMany"
    reclaim_policy: str = "Delete"
    host_path: str = ""
    provisioned: bool = False
    """A provisioner made it, and deletes it when its policy says so."""
    nodes: str = ""
    """The nodes that can reach it, in words; empty: all."""
    targets: str = ""
    """The annotation: for which GPUs its content was compiled."""
    outcome: Outcome | None = None
    """What the extraction that filled it said in the end."""


@dataclass(frozen=True)
class Job(Child):
    """An extraction or emptying Job; ``failed`` holds its own condition's reason, if it failed."""

    staging_uid: str = ""
    done: bool = False
    created: float = 0.0
    ended: float = 0.0
    failed: str = ""


@dataclass(frozen=True)
class JobPod:
    """A pod of one of our Jobs. ``waiting`` is the scheduler's or the kubelet's own message."""

    namespace: str
    name: str
    uid: str
    version: str
    key: CacheKey
    job_uid: str
    phase: str
    node: str = ""
    """Name of the node that it is on; empty until it is scheduled."""
    started: float = 0.0
    """When its program began (epoch seconds); 0 unless it runs now."""
    waiting: str = ""
    exit_code: int | None = None
    outcome: Outcome | None = None
    ended: str = ""
    """Why it ended in the platform's words (OOMKilled, Evicted), where it left no outcome."""


@dataclass(frozen=True)
class Namespace:
    """A namespace, as far as it can be a target."""

    name: str
    uid: str
    version: str
    deleting: bool


@dataclass(frozen=True)
class StorageClass:
    """A class of storage, as far as a Cache may ask for it, or for none."""

    name: str
    uid: str
    version: str
    default: bool


@dataclass(frozen=True)
class Taint:
    """A taint of a node, as pods must tolerate it."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True)
class Node:
    """A node, as far as it can be a target."""

    name: str
    uid: str
    version: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...] = ()
    trouble: str = ""
    """Why nothing can be brought to it now (NotReady, DiskPressure); empty if all is well."""
    deleting: bool = False


@dataclass(frozen=True)
class Entry:
    """What an agent says of one claim on its node."""

    cache: str
    """Name of the Cache."""
    digest: str
    namespace: str
    claim: str
    pods: int


@dataclass(frozen=True)
class Report:
    """One CacheNode: what a node's agent says, of a namespace or (``namespace`` empty) the node."""

    name: str
    uid: str
    version: str
    namespace: str
    node_uid: str
    gpus: tuple[Gpu, ...] | None
    """None: not looked for yet, or a report of a namespace."""
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class AgentPod:
    """The pod of a node's agent; ``silent`` since when (epoch seconds) it is not ready, or 0."""

    name: str
    uid: str
    version: str
    node: str
    silent: float


@dataclass(frozen=True)
class Said:
    """What the cluster's own events said last about an object of ours, and when we asked.

    ``log``: not events said it, but the log of a pod.
    """

    message: str
    checked: float
    log: bool = False


@dataclass(frozen=True)
class Use:
    """What the live pod lists said about one claim. Times are seconds of the caller's clock."""

    pods: tuple[str, ...]
    checked: float
    free_since: float | None
    """Time of the first list, in an unbroken row, that named no pod; None while one does."""
    used_lists: int = 0
    """Lists, in an unbroken row, that named a pod: the pace of the next one follows from it."""
    finished: tuple[str, ...] = ()
    """Pods that are over and still name the claim: Kubernetes keeps a deleted claim for them."""


@dataclass(frozen=True)
class Trouble:
    """The last failed attempt of ours on one copy, in words for a user."""

    reason: str
    message: str
    again: float
    final: bool = False
    attempts: int = 1
    since: float = 0.0


@dataclass(frozen=True)
class Looked:
    """When (epoch s) this process last had an answer of the registry, or first saw the Cache.

    ``digest`` is what was pinned when it asked.
    """

    at: float = 0.0
    digest: str = ""


@dataclass(frozen=True)
class Settings:
    """What the installation decides for all Caches."""

    namespace: str
    image: str
    image_pull_policy: str = "IfNotPresent"
    host_path: str = ""
    """Folder that all nodes share; set, GKM makes the volumes of Caches without a class itself."""
    registry: str = "{}"
    resources: str = "{}"
    """Requests and limits of extraction pods, as the JSON of ``container.resources``."""
    parallel: int = 32
    """Extractions at once, in the whole cluster."""
    deadline: int = 3600
    """Seconds that one extraction may run on its node."""


@dataclass(frozen=True)
class View:
    """Everything that ``plan`` may look at for one Cache key."""

    key: CacheKey
    cache: Cache | None
    namespaces: Mapping[str, bool] = field(default_factory=dict)
    """Name to "is it terminating?"; a name that is missing does not exist."""
    classes: Mapping[str, StorageClass] = field(default_factory=dict)
    """Every storage class of the cluster, by name."""
    nodes: Mapping[str, Node] = field(default_factory=dict)
    """Every node, by name."""
    reports: Mapping[str, Report] = field(default_factory=dict)
    """What each node's agent says of the node itself, by the node's name."""
    entries: tuple[tuple[str, Entry], ...] = ()
    """(node, entry): what agents say of this Cache."""
    silent: Mapping[str, float] = field(default_factory=dict)
    """Nodes, by name, whose agent is not running, and since when."""
    leaving: Mapping[str, float] = field(default_factory=dict)
    """What is on its way out, and since when: nodes (by uid) that turned out not to be meant for
    the Cache, copies (by id) that another serves in place of."""
    slots: int = 0
    """How many more extractions this Cache may begin now."""
    shadowed: frozenset[str] = frozenset()
    """Namespaces in which a GKMCache of the same name stands before this ClusterGKMCache."""
    claims: tuple[Claim, ...] = ()
    volumes: tuple[Volume, ...] = ()
    jobs: tuple[Job, ...] = ()
    pods: tuple[JobPod, ...] = ()
    namesakes: frozenset[tuple[str, str]] = frozenset()
    """(namespace, name) of the claims of other Caches of the same name."""
    resolution: ImageFacts | Trouble | None = None
    """Of ``spec.image``, if it was looked up in this process."""
    looked: Looked = Looked()
    uses: Mapping[str, Use] = field(default_factory=dict)
    """By the claim's uid."""
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    """By copy id."""
    said: Mapping[str, Said] = field(default_factory=dict)
    """By the uid of a claim, Job or pod."""
