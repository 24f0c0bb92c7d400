"""The webhook on a real API server: what it refuses, and that nobody notices when it changes."""

import asyncio

import pytest

from gkm.api import names
from gkm.api.names import LABEL_MUTATION
from tests.bench.admission import Plan, measure, pod
from tests.cluster.report import ClusterError
from tests.e2e.actors import Actors, eventually
from tests.stage import NAMESPACE, Stage

SLEEPING = ["/opt/gkm/bin/python", "-c", "import time; time.sleep(600)"]
pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]


def test_no_request_fails_while_replicas_restart_and_the_certificate_changes(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("load")
    actors.cache(here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")
    plan = Plan(count=1500, rate=50, rotations=2, restarts=1)
    result = asyncio.run(measure(stage.kubeconfig, here, "kernels", plan))
    print(result)
    assert result.failures == []
    assert (len(result.seconds), result.rotations, result.restarts) == (1500, 2, 1)


def test_a_certificate_that_was_spoilt_is_made_anew(stage: Stage) -> None:
    def held() -> str:
        where = ["secret", names.WEBHOOK_SECRET, "-n", NAMESPACE, "-o", "jsonpath={.data}"]
        return stage.kubectl("get", *where)

    before = held()
    spoilt = '{"data":{"ca.crt":"c3BvaWx0"}}'
    stage.kubectl(
        "patch", "secret", names.WEBHOOK_SECRET, "-n", NAMESPACE, "--type=merge", "-p", spoilt
    )
    eventually("another certificate", lambda: "c3BvaWx0" not in held() and held() != before)


def test_a_pod_of_a_per_node_cache_without_a_node_is_told_what_to_do(actors: Actors) -> None:
    here = actors.namespace("nodeless")
    actors.cache(here, "kernels", accessModes=["ReadWriteOnce"])
    with pytest.raises(ClusterError, match=r"use a DaemonSet, or set spec\.nodeName"):
        actors.apply({**pod("kernels", 1), "metadata": _meta(here)})


def test_a_pod_of_a_cache_that_is_being_deleted_is_refused(actors: Actors) -> None:
    here = actors.namespace("going")
    actors.cache(here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")
    actors.pod(
        here, "holds", "kernels", ["/opt/gkm/bin/python", "-c", "import time; time.sleep(600)"]
    )
    actors.wait_pod(here, "holds", "Running")
    actors.delete("gkmcache", here, "kernels", wait=False)
    actors.wait_ready("gkmcache", here, "kernels", "Deleting")
    with pytest.raises(ClusterError, match="is being deleted"):
        actors.apply({**pod("kernels", 1), "metadata": _meta(here)})


def _meta(namespace: str) -> dict[str, object]:
    return {"name": "asks", "namespace": namespace, "labels": {LABEL_MUTATION: "true"}}
