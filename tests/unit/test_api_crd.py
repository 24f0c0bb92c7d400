"""The CRDs follow the models, and are what an API server takes as a structural schema."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gkm.api.crd import crd, files, main
from gkm.api.meta import RESOURCES

ROOT = Path(__file__).parents[2]
KINDS = tuple(RESOURCES)
CACHES = ("GKMCache", "ClusterGKMCache")


def schema_of(kind: str) -> dict[str, Any]:
    version = crd(RESOURCES[kind])["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every schema inside a schema, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from nodes(schema[key], path + mark)


def rules_at(kind: str, path: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = dict(nodes(schema_of(kind)))[path].get(
        "x-kubernetes-validations", []
    )
    return found


@pytest.mark.parametrize("folder", ["crds", "charts/gkm/crds"])
def test_checked_in_files_are_the_generated_ones(folder: str) -> None:
    found = {path.name: path.read_text() for path in (ROOT / folder).iterdir()}
    assert found == files(), "run `make crds`"


def test_main_writes_every_directory(tmp_path: Path) -> None:
    main([str(tmp_path / "a"), str(tmp_path / "b")])
    for folder in ("a", "b"):
        assert {p.name: p.read_text() for p in (tmp_path / folder).iterdir()} == files()


@pytest.mark.parametrize("kind", KINDS)
def test_names_scope_and_status(kind: str) -> None:
    resource, made = RESOURCES[kind], crd(RESOURCES[kind])
    assert made["metadata"]["name"] == f"{resource.plural}.gkm.io"
    assert made["spec"]["names"]["shortNames"] == [resource.short_name]
    assert made["spec"]["names"]["categories"] == ["gkm"]
    assert made["spec"]["scope"] == ("Namespaced" if resource.namespaced else "Cluster")
    assert made["spec"]["versions"][0]["subresources"] == {"status": {}}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described_in_one_line(kind: str) -> None:
    for path, node in nodes(schema_of(kind)):
        if re.match(r"\.(spec|status)", path) and not path.endswith(("[]", "{}")):
            assert node.get("description"), path
            assert "\n" not in node["description"], path


@pytest.mark.parametrize("kind", KINDS)
def test_schema_is_structural(kind: str) -> None:
    for path, node in nodes(schema_of(kind)):
        assert node["type"] in {"object", "array", "string", "integer"}, path
        assert not {"$ref", "$defs", "anyOf", "title", "uniqueItems"} & set(node), path
        assert not {"properties", "additionalProperties"} <= set(node), path
        assert ("items" in node) == (node["type"] == "array"), path
        assert ("format" in node) or node["type"] != "integer", path


@pytest.mark.parametrize("kind", KINDS)
def test_columns_show_fields_that_exist(kind: str) -> None:
    known = dict(nodes(schema_of(kind)))
    for column in RESOURCES[kind].columns:
        path = column.path.replace("[0]", "[]")
        if not path.startswith(".metadata"):
            assert known[path]["type"] == column.type, path


@pytest.mark.parametrize("kind", CACHES)
def test_what_a_user_must_give_and_what_is_filled_in(kind: str) -> None:
    schema = schema_of(kind)
    assert schema["required"] == ["spec"]
    assert schema["properties"]["spec"]["required"] == ["image"]
    filled = {path: node["default"] for path, node in nodes(schema) if "default" in node}
    assert filled.pop(".spec.accessModes") == ["ReadWriteOnce"]
    assert filled.pop(".spec.mountPath") == "/cache"
    assert set(filled) == {".status.conditions[].status"}


@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("field", ["storageClassName", "accessModes", "mountPath"])
def test_storage_fields_cannot_be_changed(kind: str, field: str) -> None:
    every = rules_at(kind, ".spec") + rules_at(kind, f".spec.{field}")
    (rule,) = (rule for rule in every if field in rule["message"] and "oldSelf" in rule["rule"])
    assert "delete this object and create it again" in rule["message"]


def test_only_a_cluster_cache_may_name_namespaces() -> None:
    fields = [rule.get("fieldPath") for rule in rules_at("GKMCache", "")]
    assert ".spec.workloadNamespaces" in fields
    assert [rule["fieldPath"] for rule in rules_at("ClusterGKMCache", "")] == [".metadata.name"]


@pytest.mark.parametrize("kind", CACHES)
def test_the_api_server_can_bound_the_cost_of_every_rule(kind: str) -> None:
    for path, node in nodes(schema_of(kind)):
        if "x-kubernetes-validations" in node and node["type"] != "object":
            assert {"maxLength", "maxItems"} & set(node), path


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        (".spec.image", ["a", "q.io:5/a/b:c", "a@sha256:0"], ["", "a b", " a", "a\n"]),
        (
            ".spec.mountPath",
            ["/cache", "/a/..b", "/a/.c/d...", "/a-b_c/1.2"],
            ["", "/", "a", "/a/", "//a", "/a//b", "/..", "/a/../b", "/a/.", "/a b", "/a:b"],
        ),
        (
            ".spec.storageSize",
            ["5", "1Gi", "1.5Gi", "0.5M", "10k"],
            ["", "0", "0Gi", "0.0", "-1Gi", "1GB", "1 Gi", "1e3", "1m", ".5Gi"],
        ),
        (".spec.refresh", ["1m", "10m", "24h", "7d"], ["", "0m", "10", "10s", "1h30m", "m"]),
        (".spec.workloadNamespaces[]", ["a", "a-1", "1"], ["", "A", "-a", "a-", "a.b", "a_b"]),
        (".spec.imagePullSecrets[].name", ["a", "a.b-c"], ["", "A", ".a", "a-"]),
    ],
)
def test_patterns(path: str, good: list[str], bad: list[str]) -> None:
    """Python's regular expressions agree with the API server's on what these patterns use."""

    def accepted(value: str) -> bool:
        every = " && ".join(rule["rule"] for rule in rules_at("GKMCache", path))
        found = re.findall(r"(!?)self\.matches\(r'(.*?)'\)", every)
        assert found
        return all(
            bool(re.search(pattern.replace("$", r"\Z"), value)) != bool(no) for no, pattern in found
        )

    assert [value for value in good if not accepted(value)] == []
    assert [value for value in bad if accepted(value)] == []


def test_files_are_plain_yaml() -> None:
    for text in files().values():
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"
        assert not re.search(r"^\s*[^#\n]*: [&*]\w+", text, re.MULTILINE)
