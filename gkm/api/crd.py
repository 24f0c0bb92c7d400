"""Turns the models into CRDs: ``python -m gkm.api.crd DIR...`` writes one file per kind.

The files are checked in, and a test holds them to the models. What is done here is to translate
pydantic's JSON schema to what Kubernetes calls a structural one: no references, no ``null`` type,
no titles. What a field means or refuses is said in the models.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from gkm.api import rules
from gkm.api.cache import CacheSpec, CacheStatus, Model
from gkm.api.cachenode import CacheNodeStatus
from gkm.api.meta import CACHE_NODE, CATEGORY, CLUSTER_CACHE_NODE, RESOURCES, Column, Resource
from gkm.api.names import CACHE, CLUSTER_CACHE, GROUP, VERSION

Json = dict[str, Any]

_DESCRIPTIONS: Final = {
    CACHE: "A GKMCache brings a packed GPU kernel cache to the pods of its own namespace.",
    CLUSTER_CACHE: "A ClusterGKMCache brings a packed GPU kernel cache to the pods of the "
    "namespaces that it names.",
    CACHE_NODE: "A GKMCacheNode says which caches of its namespace are on one node. "
    "GKM writes it; do not edit it.",
    CLUSTER_CACHE_NODE: "A ClusterGKMCacheNode says which GPUs and which cluster-wide caches one "
    "node has. GKM writes it; do not edit it.",
}
_Fields = Mapping[str, type[Model]]
_CACHE_FIELDS: Final[_Fields] = {"spec": CacheSpec, "status": CacheStatus}
_NODE_FIELDS: Final[_Fields] = {"status": CacheNodeStatus}
_FIELDS: Final[Mapping[str, _Fields]] = {
    CACHE: _CACHE_FIELDS,
    CLUSTER_CACHE: _CACHE_FIELDS,
    CACHE_NODE: _NODE_FIELDS,
    CLUSTER_CACHE_NODE: _NODE_FIELDS,
}
_RULES: Final = {CACHE: [rules.NAME, rules.NO_WORKLOAD_NAMESPACES], CLUSTER_CACHE: [rules.NAME]}


def structural(model: type[Model]) -> Json:
    """Give a model's schema in the form that a CRD asks for."""
    schema = model.model_json_schema(by_alias=True)
    return _node(schema, schema.get("$defs", {}))


def _node(schema: Json, defs: Json) -> Json:
    said = _collapsed(schema, defs)
    kept = {key: value for key, value in said.items() if key not in ("title", "$defs", "default")}
    if "properties" in kept or kept.get("additionalProperties") is True:
        kept.pop("additionalProperties", None)
    if "description" in kept:
        kept["description"] = " ".join(kept["description"].split())
    if "properties" in kept:
        kept["properties"] = {k: _node(v, defs) for k, v in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = _node(kept[key], defs)
    if kept.get("type") == "integer":
        kept.setdefault("format", "int64")
    return kept | _default(said)


def _collapsed(schema: Json, defs: Json) -> Json:
    """Put a reference's target, or the one alternative that is not null, in its place."""
    inner = schema
    if "anyOf" in schema:
        inner = next(option for option in schema["anyOf"] if option.get("type") != "null")
    if "$ref" in inner:
        inner = defs[inner["$ref"].rpartition("/")[2]]
    outer = {key: value for key, value in schema.items() if key not in ("anyOf", "$ref")}
    return outer if inner is schema else {**inner, **outer}


def _default(schema: Json) -> Json:
    """Keep a default that a user should see: an empty one says nothing."""
    default = schema.get("default")
    return {"default": default} if default and not isinstance(default, dict) else {}


def _column(column: Column) -> Json:
    said: Json = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**said, "priority": column.priority} if column.priority else said


def _schema(kind: str) -> Json:
    text = "Version of the API, or name of the kind: see Kubernetes' API conventions."
    fields = {name: structural(model) for name, model in _FIELDS[kind].items()}
    schema: Json = {
        "type": "object",
        "description": _DESCRIPTIONS[kind],
        "properties": {
            "apiVersion": {"type": "string", "description": text},
            "kind": {"type": "string", "description": text},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            **fields,
        },
    }
    if "spec" in fields:
        schema["required"] = ["spec"]
    if kind in _RULES:
        schema["x-kubernetes-validations"] = _RULES[kind]
    return schema


def crd(resource: Resource) -> Json:
    """Give the CustomResourceDefinition of one kind."""
    names = {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.singular,
        "shortNames": [resource.short_name],
        "categories": [CATEGORY],
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
        "schema": {"openAPIV3Schema": _schema(resource.kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.crd_name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": names,
            "versions": [version],
        },
    }


class _Plain(yaml.SafeDumper):
    """Writes everything out: an anchor in a CRD would only puzzle its reader."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def files() -> dict[str, str]:
    """Give the file name and text of every CRD."""
    head = "# Generated from gkm/api by `make crds`: edit the models, not this file.\n"
    return {
        f"{GROUP}_{resource.plural}.yaml": head
        + yaml.dump(crd(resource), Dumper=_Plain, sort_keys=False, width=100)
        for resource in RESOURCES.values()
    }


def main(directories: list[str]) -> None:
    """Write the CRDs into each directory."""
    for directory in map(Path, directories):
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files().items():
            (directory / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
