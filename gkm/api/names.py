"""Every name, label and annotation that GKM puts on an object, and how the names are made.

One place, because operator, webhook, agent and command line must agree on them to the letter.
Nothing here needs pydantic: the extraction Job and the webhook import it.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

GROUP: Final = "gkm.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

CACHE: Final = "GKMCache"
CLUSTER_CACHE: Final = "ClusterGKMCache"

FINALIZER: Final = "gkm.io/cleanup"
"""On a Cache, from before its first child until nothing of it is left."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "gkm"
LABEL_CACHE_UID: Final = "gkm.io/cache-uid"
LABEL_COPY: Final = "gkm.io/copy"
LABEL_ROLE: Final = "gkm.io/role"
LABEL_DIGEST: Final = "gkm.io/digest"
"""The digest's first twelve hexadecimal digits, for people and selectors."""
LABEL_NODE: Final = "gkm.io/node"
"""``node_label`` of a node, or ``SHARED``: agents select their own node's claims and the shared."""
SHARED: Final = "SHARED"
"""No node can be called this: node names are lower case."""
LABEL_MUTATION: Final = "gkm.io/pvc-mutation"
"""``"true"`` on a pod: the webhook looks at it."""

ANNOTATION_CACHE: Final = "gkm.io/cache"
"""``<kind>/<namespace>/<name>`` of the Cache; the namespace of a ClusterGKMCache is empty."""
ANNOTATION_DIGEST: Final = "gkm.io/resolved-digest"
ANNOTATION_TARGET: Final = "gkm.io/target"
"""The namespace that the copy is for: a volume and a reclaim claim cannot say it otherwise."""
ANNOTATION_NODE: Final = "gkm.io/node-name"
ANNOTATION_NODE_UID: Final = "gkm.io/node-uid"
"""On the children of a per-node copy. A node that was replaced under its name has another uid."""
ANNOTATION_TARGETS: Final = "gkm.io/gpu-targets"
"""On claims: for which GPUs the image was compiled, as ``core.gputargets.Targets.to_json``."""
ANNOTATION_SUPERSEDED: Final = "gkm.io/superseded"
"""On a serving claim that is not wanted any more: ``OUTDATED`` or ``DELETING``."""
OUTDATED: Final = "Outdated"
DELETING: Final = "Deleting"
"""Words of that annotation, and of every status that says the same: a newer one is wanted, none."""
ANNOTATION_SIMULATED: Final = "gkm.io/simulated-gpus"
"""On a Node: the GPUs that it is said to have, in the words of ``gpus.simulated``."""
ANNOTATION_MUTATED: Final = "gkm.io/mutated"
"""On a pod that the webhook changed: ``<volume>=<cache>``, separated by commas."""
ANNOTATION_INPUT: Final = "gkm.io/input-hash"
ANNOTATION_STAGING: Final = "gkm.io/staging-uid"
"""On a Job: the uid of the staging claim that it fills."""
ANNOTATION_FAILED: Final = "gkm.io/failed"
"""On a staging claim, after a failed extraction: JSON of ``core.retry.Failure``."""
ANNOTATION_OUTCOME: Final = "gkm.io/outcome"
"""On a volume that was filled: JSON of ``core.outcome.Outcome``, as its extraction told it."""
ANNOTATION_NUDGE: Final = "gkm.io/nudge"
"""Time (epoch seconds) at which the volume binder was made to look at a claim again."""
ANNOTATION_PROVISIONER: Final = "pv.kubernetes.io/provisioned-by"
"""Kubernetes' own: a volume without it was made by an administrator, or by GKM."""
ANNOTATION_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
"""Kubernetes' own: on the class of claims that name none."""
ANNOTATION_SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
"""Kubernetes' own: on a claim, the node from which its volume must be reached."""
LABEL_HOSTNAME: Final = "kubernetes.io/hostname"
"""Kubernetes' own: on a node."""
ANNOTATION_HOST_PATH: Final = "gkm.io/host-path"
"""On a volume that GKM made: reclaiming it is GKM's work, too."""

WEBHOOK_SECRET: Final = "gkm-webhook-certificate"  # noqa: S105 - its name, not its content
"""The operator (or cert-manager) writes it, the webhook reads it; the chart says it, too."""

SECRETS_FOLDER: Final = "/registry-secrets"
"""Where the Secrets of ``spec.imagePullSecrets`` are in an extraction pod, each in a folder with
its number."""

DOCKER_CONFIG_KEYS: Final = (".dockerconfigjson", ".dockercfg")
"""Keys of the two kinds of Secrets, ``kubernetes.io/dockerconfigjson`` and ``.../dockercfg``."""

_NAME_LIMIT = 63
_COPY_ID_LENGTH = 13


@dataclass(frozen=True, order=True)
class CacheKey:
    """Identifies a Cache of either kind; ``namespace`` is empty for a ClusterGKMCache."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "CacheKey | None":
        """Read the annotation ``gkm.io/cache``; None if it is not of that form."""
        parts = text.split("/")
        if len(parts) != 3 or parts[0] not in (CACHE, CLUSTER_CACHE) or not parts[2]:
            return None
        return cls(*parts)


def copy_id(key: CacheKey, uid: str, namespace: str, node_uid: str, digest: str) -> str:
    """Name one copy: the same inputs give the same id, so a crash never makes a second child.

    ``namespace`` is the workload's, ``node_uid`` is empty in shared mode.
    """
    return _short_hash(key.kind, key.namespace, key.name, uid, namespace, node_uid, digest)


def _short_hash(*parts: str) -> str:
    raw = hashlib.sha256("\0".join(parts).encode()).digest()
    return base64.b32encode(raw).decode().lower()[:_COPY_ID_LENGTH]


def child_name(cache: str, copy: str, suffix: str = "") -> str:
    """Return ``<cache>-<copy id>[-suffix]``, its readable part cut so that it fits a label."""
    tail = f"-{copy}-{suffix}" if suffix else f"-{copy}"
    return cache[: _NAME_LIMIT - len(tail)].rstrip("-.") + tail


def staging_name(cache: str, copy: str) -> str:
    """Name of the claim that the extraction Job fills; no workload knows it."""
    return child_name(cache, copy, "staging")


def reclaim_name(cache: str, copy: str) -> str:
    """Name of the claim (in GKM's namespace) through which a volume is given back."""
    return child_name(cache, copy, "reclaim")


def waiting_name(key: CacheKey, uid: str, node_uid: str) -> str:
    """Name of the claim that a pod of this node may wait for before anything is there.

    It does not depend on the digest: whichever good copy comes first fulfils it.
    """
    return child_name(key.name, _short_hash("waiting", key.kind, key.namespace, uid, node_uid))


def node_label(node: str) -> str:
    """A node's name as a label value: itself, or if it is too long its beginning and a hash."""
    return node if len(node) <= _NAME_LIMIT else child_name(node, _short_hash("node", node))


def short_digest(digest: str) -> str:
    """The digest as a label value: twelve hexadecimal digits, or ``unknown``."""
    match = re.fullmatch(r"sha256:([0-9a-f]{12})[0-9a-f]{52}", digest)
    return match.group(1) if match else "unknown"
