"""Whether an object is what its labels and annotations say: the id, place and name must agree.

Labels and annotations are what anybody may write into objects of their own, so operator, webhook
and agent believe them only where and as GKM itself would have made the object. Whoever may create
objects of any name in a namespace can still forge one there, for that namespace.
"""

from typing import Any

from gkm.api import names
from gkm.api.names import CacheKey
from gkm.core import objects
from gkm.core.objects import CopyRef

Json = dict[str, Any]


def is_genuine(ref: CopyRef, role: str, namespace: str, name: str, home: str) -> bool:
    """Judge a claim or Job; ``home`` is GKM's own namespace, where volumes are given back."""
    if not has_own_id(ref):
        return False
    places = {
        objects.STAGING: (ref.target, (ref.staging,)),
        objects.SERVING: (ref.target, ref.serving_names),
        objects.RECLAIM: (home, (ref.reclaim,)),
        objects.EXTRACT: (ref.target, (ref.job,)),
        objects.EMPTY: (home, (ref.reclaim,)),
    }
    where, allowed = places.get(role, ("", ()))
    return namespace == where and name in allowed


def has_own_id(ref: CopyRef) -> bool:
    """Whether the id is the one that GKM gives to this copy, and the copy may be where it is."""
    own = names.copy_id(ref.key, ref.cache_uid, ref.target, ref.node_uid, ref.digest)
    return ref.id == own and ref.key.namespace in ("", ref.target)


def ref_of(meta: Json) -> CopyRef | None:
    """Read from an object's metadata whose copy it says it is; None if it does not say."""
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    key = CacheKey.parse(annotations.get(names.ANNOTATION_CACHE, ""))
    copy, cache_uid = labels.get(names.LABEL_COPY), labels.get(names.LABEL_CACHE_UID)
    if key is None or not copy or not cache_uid:
        return None
    return CopyRef(
        copy,
        key,
        cache_uid,
        annotations.get(names.ANNOTATION_TARGET, ""),
        annotations.get(names.ANNOTATION_DIGEST, ""),
        annotations.get(names.ANNOTATION_NODE, ""),
        annotations.get(names.ANNOTATION_NODE_UID, ""),
    )
