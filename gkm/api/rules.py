"""What the API server refuses at once, and the words it says then: schema parts of the Cache kinds.

Plain dictionaries that ``gkm.api.cache`` hangs on its fields. Only the CRDs carry them, the Python
models do not check again: an object that was stored under older rules must stay readable. Every
message says what to do. Lengths and counts are bounded so that the API server can afford the rules.
"""

from typing import Final

from pydantic import JsonValue

Schema = dict[str, JsonValue]


def rule(cel: str, message: str, **more: str) -> JsonValue:
    """One validation rule, in the API server's expression language CEL."""
    return {"rule": cel, "message": message, **more}


def rules(*each: JsonValue) -> Schema:
    """Schema part that holds validation rules."""
    return {"x-kubernetes-validations": list(each)}


def list_map(key: str, limit: int | None = None) -> Schema:
    """Schema part of a list whose entries are told apart by one field."""
    said: Schema = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return said if limit is None else {**said, "maxItems": limit}


_AGAIN = "cannot be changed: delete this object and create it again with the new value"

DNS_LABEL: Final[Schema] = {
    "maxLength": 63,
    **rules(
        rule(
            "self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "use lower case letters, digits and '-' only, with a letter or digit at both ends",
        )
    ),
}
DNS_SUBDOMAIN: Final[Schema] = {
    "maxLength": 253,
    **rules(
        rule(
            "self.matches(r'^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')",
            "use lower case letters, digits, '-' and '.' only, with a letter or digit at both ends",
        )
    ),
}

NAME: Final = rule(
    "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
    "choose a name of at most 63 characters without '.': volume claims and labels carry it",
    fieldPath=".metadata.name",
)
NO_WORKLOAD_NAMESPACES: Final = rule(
    "!has(self.spec.workloadNamespaces)",
    "remove workloadNamespaces: a GKMCache serves its own namespace only; "
    "create a ClusterGKMCache to serve several",
    fieldPath=".spec.workloadNamespaces",
)

SPEC: Final = rules(
    rule(
        "has(self.storageClassName) == has(oldSelf.storageClassName) && "
        "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
        f"storageClassName {_AGAIN}",
        fieldPath=".storageClassName",
    ),
    rule(
        "!has(self.refresh) || !self.image.contains('@')",
        "remove refresh, or name a tag: the digest in image never becomes another",
        fieldPath=".refresh",
    ),
)
IMAGE: Final[Schema] = {
    "maxLength": 525,
    **rules(
        rule(
            r"self.matches(r'^\S+$')",
            "name an image, without blanks: REGISTRY/REPOSITORY:TAG "
            "or REGISTRY/REPOSITORY@sha256:DIGEST",
        ),
        rule("!self.contains('://')", "write the image without 'https://' or another scheme"),
    ),
}
PULL_SECRETS: Final = list_map("name", 16)
STORAGE_CLASS: Final[Schema] = {
    "maxLength": 253,
    **rules(
        rule(
            "size(self) > 0",
            "name a StorageClass (kubectl get storageclass), "
            "or leave storageClassName out to use the cluster's default",
        )
    ),
}
ACCESS_MODES: Final[Schema] = {
    "maxItems": 3,
    "x-kubernetes-list-type": "set",
    **rules(
        rule("size(self) > 0", "name an access mode, or leave accessModes out for ReadWriteOnce"),
        rule("self == oldSelf", f"accessModes {_AGAIN}"),
    ),
}
ACCESS_MODE: Final[Schema] = {"enum": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"]}
MOUNT_PATH: Final[Schema] = {
    "maxLength": 512,
    **rules(
        rule(
            r"self.matches(r'^(/[^/:\s]+)+$') && !self.matches(r'/[.][.]?(/|$)')",
            "write an absolute path below '/', such as /cache: without '.' or '..' in it, "
            "blanks, ':' or '/' at its end",
        ),
        rule("self == oldSelf", f"mountPath {_AGAIN}"),
    ),
}
STORAGE_SIZE: Final[Schema] = {
    "maxLength": 32,
    **rules(
        rule(
            "self.matches(r'^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$') && "
            "self.matches(r'[1-9]')",
            "write a size above zero, such as 500Mi or 2Gi",
        )
    ),
}
WORKLOAD_NAMESPACES: Final[Schema] = {"maxItems": 1000, "x-kubernetes-list-type": "set"}
REFRESH: Final[Schema] = {
    "maxLength": 8,
    **rules(
        rule(
            "self.matches(r'^[1-9][0-9]*[mhd]$')",
            "write whole minutes, hours or days, such as 10m, 12h or 1d; "
            "leave refresh out to look the image up only when it changes",
        )
    ),
}
