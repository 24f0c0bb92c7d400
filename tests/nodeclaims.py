"""Claims exactly as GKM makes them, for what reads claims of a node."""

from typing import Any

from gkm.api import names
from gkm.api.names import CACHE, CacheKey
from gkm.core import objects
from gkm.core.objects import SERVING, STAGING, CopyRef

Json = dict[str, Any]

NODE, NODE_UID = "worker-1", "node-uid"
DIGEST, OTHER = ("sha256:" + letter * 64 for letter in "ab")
KEY = CacheKey(CACHE, "ns", "cache")


def copy_of(
    key: CacheKey = KEY, namespace: str = "ns", node_uid: str = NODE_UID, digest: str = DIGEST
) -> CopyRef:
    """A copy for the node; for all of them if ``node_uid`` is empty."""
    own = names.copy_id(key, "cache-uid", namespace, node_uid, digest)
    node = NODE if node_uid else ""
    return CopyRef(own, key, "cache-uid", namespace, digest, node, node_uid)


def claim_of(copy: CopyRef, role: str = SERVING, **annotations: str) -> Json:
    """Return the staging or serving claim of a copy, the latter under the copy's own name."""
    labels, said = objects.marks(copy, role)
    meta = {
        "name": copy.staging if role == STAGING else copy.serving_names[-1],
        "namespace": copy.target,
        "labels": labels,
        "annotations": said | annotations,
    }
    return {"metadata": meta, "spec": {}}
