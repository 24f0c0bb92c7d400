"""What can be held against the chart without helm; that it renders and runs is seen end to end."""

import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gkm.api.names import LABEL_MUTATION, WEBHOOK_SECRET
from gkm.operator import certificate

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "gkm"
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in values.items():
        here = f"{path}.{key}"
        if isinstance(value, dict) and value and key != "resources":
            yield from leaves(value, here)
        else:
            yield here


def schema_leaves(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, part in schema["properties"].items():
        if "properties" in part:
            assert part["additionalProperties"] is False, key
            yield from schema_leaves(part, f"{path}.{key}")
        else:
            yield f"{path}.{key}"


def rules(name: str) -> list[dict[str, Any]]:
    """Rules of a role; only its metadata holds template actions."""
    plain = "\n".join(line for line in TEMPLATES[name].splitlines() if "{{" not in line)
    return [rule for document in yaml.safe_load_all(plain) for rule in document.get("rules", ())]


def test_versions_follow_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]


def test_schema_knows_exactly_the_values() -> None:
    assert SCHEMA["additionalProperties"] is False
    # `global` is what helm itself hands to a chart that is part of another.
    assert set(schema_leaves(SCHEMA)) - {".global"} == set(leaves(VALUES))


def test_templates_use_exactly_the_values() -> None:
    used = set(re.findall(r"\.Values((?:\.\w+)+)", "".join(TEMPLATES.values())))
    assert used == set(leaves(VALUES))


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for before, line in itertools.pairwise(["", *lines]):
        if re.match(
            r"(  )?\w", line
        ):  # deeper lie the parts of `resources`, which are Kubernetes' own
            assert before.lstrip().startswith("#"), line


def test_operator_may_read_secrets_by_name_only_and_make_no_pod() -> None:
    for rule in rules("clusterrole.yaml"):
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        if "secrets" in rule["resources"]:
            assert (rule["resources"], rule["verbs"]) == (["secrets"], ["get"])
        if "pods" in rule["resources"]:
            assert set(rule["verbs"]) == {"list", "watch"}


def test_operator_writes_leases_and_a_certificate_in_its_own_namespace_only() -> None:
    cluster = {name for rule in rules("clusterrole.yaml") for name in rule["resources"]}
    assert "leases" not in cluster
    own = [(r["resources"], r.get("resourceNames"), set(r["verbs"])) for r in rules("role.yaml")]
    assert own == [
        (["leases"], None, {"create"}),
        (["leases"], ["gkm-operator"], {"get", "patch"}),
        (["secrets"], None, {"create"}),
        (["secrets"], [WEBHOOK_SECRET], {"get", "patch"}),
    ]


def test_webhook_may_only_look() -> None:
    may = {
        name: (rule.get("resourceNames"), set(rule["verbs"]))
        for rule in rules("webhook-rbac.yaml")
        for name in rule["resources"]
    }
    looking = (None, {"list", "watch"})
    assert may == {
        "gkmcaches": looking,
        "clustergkmcaches": looking,
        "persistentvolumeclaims": looking,
        "nodes": looking,
        "secrets": ([WEBHOOK_SECRET], {"list", "watch"}),
    }


def test_only_pods_that_ask_for_it_depend_on_the_webhook() -> None:
    text = TEMPLATES["webhook-configuration.yaml"].replace("{{ .Release.Namespace }}", "own")
    plain = "\n".join(line for line in text.splitlines() if "{{" not in line)
    config = yaml.safe_load(plain)
    assert config["metadata"]["name"] == certificate.CONFIGURATION
    pods, debugging = config["webhooks"]
    for hook in (pods, debugging):
        assert hook["objectSelector"] == {"matchLabels": {LABEL_MUTATION: "true"}}
        (elsewhere,) = hook["namespaceSelector"]["matchExpressions"]
        assert (elsewhere["operator"], elsewhere["values"]) == ("NotIn", ["kube-system", "own"])
        assert hook["reinvocationPolicy"] == "IfNeeded"
        assert hook["timeoutSeconds"] <= 10
        # What helm never wrote it does not take away: the authority survives an upgrade.
        assert "caBundle" not in hook["clientConfig"]
    asked = [
        (hook["failurePolicy"], *rule["resources"], *rule["operations"])
        for hook in (pods, debugging)
        for rule in hook["rules"]
    ]
    assert asked == [
        ("Fail", "pods", "CREATE"),
        ("Ignore", "pods/ephemeralcontainers", "UPDATE"),
    ]


def test_every_rule_says_which_files_need_it() -> None:
    for name in ("clusterrole.yaml", "role.yaml", "webhook-rbac.yaml"):
        blocks = re.findall(r"((?:^  #.*\n)*)^  - apiGroups:", TEMPLATES[name], re.MULTILINE)
        assert len(blocks) == len(rules(name))
        assert all(blocks)
        for path in re.findall(r"(?:gkm|webhook)/[\w/]+\.py", "".join(blocks)):
            assert (ROOT / path).is_file(), path


def test_operator_reads_no_more_than_this() -> None:
    reading = {
        name: set(rule["verbs"]) & {"get", "list", "watch"}
        for rule in rules("clusterrole.yaml")
        for name in rule["resources"]
    }
    assert reading["pods"] == reading["namespaces"] == {"list", "watch"}
    assert reading["storageclasses"] == {"list", "watch"}
    assert reading["events"] == {"list"}
    assert reading["pods/log"] == {"get"}
    assert reading["secrets"] == {"get"}
    assert reading["mutatingwebhookconfigurations"] == {"get"}


def test_operator_may_write_exactly_this() -> None:
    reading = {"get", "list", "watch"}
    writes = {
        name: set(rule["verbs"]) - reading
        for rule in rules("clusterrole.yaml")
        for name in rule["resources"]
        if set(rule["verbs"]) - reading
    }
    volumes = {"create", "patch", "delete"}
    assert writes == {
        "gkmcaches": {"patch"},
        "clustergkmcaches": {"patch"},
        "gkmcaches/status": {"patch"},
        "clustergkmcaches/status": {"patch"},
        "persistentvolumeclaims": volumes,
        "persistentvolumes": volumes,
        "jobs": {"create", "delete"},
        "events": {"create"},
        "mutatingwebhookconfigurations": {"patch"},
    }


def test_the_webhook_configuration_named_in_rbac_is_ours() -> None:
    (named,) = (r["resourceNames"] for r in rules("clusterrole.yaml") if "resourceNames" in r)
    assert named == [certificate.CONFIGURATION]


def test_operator_gets_its_whole_environment() -> None:
    found = re.findall(r"- name: (GKM_\w+)", TEMPLATES["deployment.yaml"])
    assert sorted(found) == [
        "GKM_EXTRACTIONS",
        "GKM_EXTRACTION_DEADLINE",
        "GKM_EXTRACTION_RESOURCES",
        "GKM_HOST_PATH",
        "GKM_IDENTITY",
        "GKM_IMAGE",
        "GKM_IMAGE_PULL_POLICY",
        "GKM_LOG_LEVEL",
        "GKM_NAMESPACE",
        "GKM_REGISTRY",
        "GKM_RESYNC_SECONDS",
        "GKM_WEBHOOK_CERTIFICATE",
    ]


def test_webhook_gets_its_whole_environment() -> None:
    found = re.findall(r"- name: (GKM_\w+)", TEMPLATES["webhook-deployment.yaml"])
    read = re.findall(r"\"(GKM_\w+)\"", (ROOT / "webhook" / "app.py").read_text())
    assert sorted(found) == sorted(read)
