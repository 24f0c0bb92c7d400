"""What the chart lets the agent be and do."""

import re
from typing import Any

import yaml

from gkm.api.meta import CACHE_NODE, CLUSTER_CACHE_NODE, RESOURCES
from tests.unit.test_chart import ROOT, TEMPLATES, VALUES, rules


def documents(name: str) -> list[dict[str, Any]]:
    """A template without what only helm can fill in."""
    plain = re.sub(r"^\s*\{\{.*\}\}\n", "", TEMPLATES[name], flags=re.MULTILINE)
    plain = re.sub(r"\{\{.*?\}\}", "value", plain)
    return [one for one in yaml.safe_load_all(plain) if one]


def test_the_agent_writes_its_reports_and_nothing_else() -> None:
    found = {
        name: set(rule["verbs"])
        for rule in rules("agent-clusterrole.yaml")
        for name in rule["resources"]
    }
    reads, own = {"list", "watch"}, {"list", "watch", "create", "delete"}
    assert found == {
        "nodes": reads,
        "pods": reads,
        "persistentvolumeclaims": reads,
        "gkmcachenodes": own,
        "clustergkmcachenodes": own,
        "gkmcachenodes/status": {"patch"},
        "clustergkmcachenodes/status": {"patch"},
    }


def test_every_rule_says_which_files_need_it() -> None:
    text = TEMPLATES["agent-clusterrole.yaml"]
    blocks = re.findall(r"((?:^  #.*\n)*)^  - apiGroups:", text, re.MULTILINE)
    assert len(blocks) == len(rules("agent-clusterrole.yaml"))
    assert all(blocks)
    for path in re.findall(r"gkm/[\w/]+\.py", "".join(blocks)):
        assert (ROOT / path).is_file(), path


def test_the_agent_has_no_privilege_and_sees_nothing_of_its_host() -> None:
    _, daemon_set = documents("agent.yaml")
    pod = daemon_set["spec"]["template"]["spec"]
    assert not {"volumes", "hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert daemon_set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "10%"


def test_taints_keep_the_agent_from_no_node() -> None:
    assert VALUES["agent"]["tolerations"] == [{"operator": "Exists"}]


def test_the_policy_covers_every_write_that_the_role_allows() -> None:
    policy, binding = documents("agent-policy.yaml")
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    plurals = [RESOURCES[kind].plural for kind in (CACHE_NODE, CLUSTER_CACHE_NODE)]
    assert set(rule["resources"]) == {*plurals, *(f"{one}/status" for one in plurals)}
    assert set(rule["operations"]) == {"CREATE", "UPDATE", "DELETE"}
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert binding["spec"]["validationActions"] == ["Deny"]
    (who,) = policy["spec"]["matchConditions"]
    assert who["expression"].endswith(":gkm-agent'")


def test_the_agent_gets_its_whole_environment() -> None:
    given = set(re.findall(r"- name: (GKM_\w+)", TEMPLATES["agent.yaml"]))
    read = set(re.findall(r"\"(GKM_\w+)\"", (ROOT / "gkm/agent/app.py").read_text()))
    assert given == read
