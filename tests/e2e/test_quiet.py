"""Idle means idle: writes are counted in the API server's own audit log."""

import json
import time
from pathlib import Path

import pytest

from tests.cluster.report import ClusterError
from tests.e2e.actors import Actors, eventually
from tests.stage import NAMESPACE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]
OPERATOR = f"system:serviceaccount:{NAMESPACE}:gkm-operator"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
QUIET_SECONDS = 30


class Ledger:
    """The operator's writes from now on, Lease renewals apart."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._start = log.stat().st_size

    def writes(self) -> list[str]:
        with self._log.open("rb") as file:
            file.seek(self._start)
            entries = [json.loads(line) for line in file if line.endswith(b"\n")]
        return [
            f"{entry['verb']} {entry['objectRef']['resource']}"
            for entry in entries
            if entry["user"]["username"] == OPERATOR
            and entry["verb"] in WRITES
            and entry["objectRef"]["resource"] != "leases"
        ]


@pytest.fixture
def log(stage: Stage) -> Path:
    audit = getattr(stage.cluster, "audit_log", None)
    if audit is None:
        pytest.skip("only a cluster of our own keeps an audit log")
    return Path(audit)


def test_nothing_is_written_while_nothing_changes_nor_on_a_restart(
    actors: Actors, stage: Stage, log: Path
) -> None:
    here = actors.namespace("quiet")
    begun = Ledger(log)
    actors.cache(here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")
    time.sleep(2)
    print(f"apply to Extracted: {begun.writes()}")
    idle = Ledger(log)
    time.sleep(QUIET_SECONDS)
    assert idle.writes() == []
    restart = Ledger(log)
    deployment = ("-n", NAMESPACE, "deployment/gkm-operator")
    stage.kubectl("rollout", "restart", *deployment)
    stage.kubectl("rollout", "status", *deployment, "--timeout=120s")
    eventually("a replica of the new ones leads", lambda: _leads(stage))
    time.sleep(QUIET_SECONDS)
    assert restart.writes() == []
    actors.cache(here, "other")
    actors.wait_ready("gkmcache", here, "other")


def _leads(stage: Stage) -> bool:
    lease = json.loads(stage.kubectl("get", "lease", "gkm-operator", "-n", NAMESPACE, "-o", "json"))
    holder = lease["spec"]["holderIdentity"].rpartition("_")[0]
    pods = stage.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name").split()
    return f"pod/{holder}" in pods


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("delete", "pods"),
        ("delete", "namespaces"),
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
