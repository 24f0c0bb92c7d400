"""What GKM may do is what it does: the roles against the audit log of the whole suite.

Runs last; when only a part of the suite runs, there is nothing to compare with.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.report import ClusterError
from tests.e2e.audit import OPERATOR, Ledger, resource
from tests.stage import NAMESPACE, Stage

pytestmark = pytest.mark.cluster
UNINSTALL = f"system:serviceaccount:{NAMESPACE}:gkm-uninstall"
Right = tuple[str, str, str]
"""Group, resource, verb."""


def used(log: Path, user: str) -> set[Right]:
    return {
        (e["objectRef"].get("apiGroup", ""), resource(e["objectRef"]), e["verb"])
        for e in Ledger(log).requests(user)
        if e.get("annotations", {}).get("authorization.k8s.io/decision") == "allow"
        and "system:basic-user" not in e["annotations"].get("authorization.k8s.io/reason", "")
    }


def granted(stage: Stage, *role: str) -> set[Right]:
    rules: list[dict[str, Any]] = json.loads(stage.kubectl("get", *role, "-o", "json"))["rules"]
    return {
        (group, name, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for name in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.usefixtures("whole_suite")
@pytest.mark.parametrize("program", ["operator", "webhook", "agent"])
def test_a_program_holds_exactly_the_rights_that_it_used(
    stage: Stage, log: Path, program: str
) -> None:
    rights = granted(stage, "clusterrole", f"gkm-{program}")
    if program != "agent":
        rights |= granted(stage, "role", f"gkm-{program}", "-n", NAMESPACE)
    seen = used(log, f"system:serviceaccount:{NAMESPACE}:gkm-{program}")
    assert sorted(rights - seen) == []
    assert sorted(seen - rights) == []


@pytest.mark.usefixtures("whole_suite")
def test_uninstalling_uses_only_what_its_own_account_may(log: Path) -> None:
    caches = {
        ("gkm.io", name, verb)
        for name in ("gkmcaches", "clustergkmcaches")
        for verb in ("list", "delete")
    }
    assert used(log, UNINSTALL) == caches


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("list", "secrets"),
        ("create", "pods"),
        ("delete", "pods"),
        ("delete", "namespaces"),
        ("delete", "gkmcaches.gkm.io"),
        ("patch", "jobs.batch"),
        ("patch", "deployments.apps"),
        ("patch", "nodes"),
        ("create", "clusterroles"),
    ],
)
def test_the_operator_is_refused_what_it_does_not_need(stage: Stage, verb: str, what: str) -> None:
    with pytest.raises(ClusterError):
        stage.kubectl("auth", "can-i", verb, what, "--as", OPERATOR, "-A")


def test_the_operator_may_do_what_it_needs(stage: Stage) -> None:
    assert "yes" in stage.kubectl("auth", "can-i", "patch", "pv", "--as", OPERATOR)
