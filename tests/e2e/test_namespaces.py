"""Namespaces come, go and come again, names are used twice: each Cache keeps to its own."""

import json
import time

import pytest

from tests.e2e.actors import VOLUMES, Actors, eventually, no_operator, reading
from tests.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]


def message(actors: Actors, kind: str, namespace: str, name: str) -> str:
    return str(actors.ready(kind, namespace, name)["message"])


def phases(actors: Actors, name: str) -> dict[str, str]:
    status = actors.get("clustergkmcache", "", name).get("status") or {}
    return {s["namespace"]: s["phase"] for s in status.get("namespaces") or ()}


@pytest.mark.parametrize("volumes", VOLUMES)
def test_a_namespace_that_is_deleted_and_made_again_gets_a_new_copy(
    actors: Actors, stage: Stage, expected: str, volumes: str
) -> None:
    stays, back = actors.namespace("stays"), actors.namespace("back")
    name = actors.cluster_cache("kernels", workloadNamespaces=[stays, back], **VOLUMES[volumes])
    eventually("both", lambda: phases(actors, name) == {stays: "Extracted", back: "Extracted"})
    first = actors.get("pvc", back, name)["metadata"]["uid"]
    stage.kubectl("delete", "namespace", back)
    eventually("said", lambda: phases(actors, name) == {stays: "Extracted", back: "NoNamespace"})
    actors.namespace("back")
    eventually("both", lambda: phases(actors, name) == {stays: "Extracted", back: "Extracted"})
    assert actors.get("pvc", back, name)["metadata"]["uid"] != first
    actors.pod(back, "reader", name, reading(3))
    assert actors.wait_pod(back, "reader", "Succeeded", "Failed") == "Succeeded"
    assert set(actors.logs(back, "reader").split()) == {expected}


def test_nothing_is_made_in_a_namespace_that_is_being_deleted(actors: Actors, stage: Stage) -> None:
    here = actors.namespace("ending")
    holding = {"name": "holds", "namespace": here, "finalizers": ["example.org/holds"]}
    actors.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": holding})
    stage.kubectl("delete", "namespace", here, "--wait=false")
    name = actors.cluster_cache("kernels", workloadNamespaces=[here])
    actors.wait_ready("clustergkmcache", "", name, "NoNamespace")
    assert "is being deleted" in message(actors, "clustergkmcache", "", name)
    assert stage.kubectl("get", "pvc,jobs", "-n", here, "-o", "name") == ""
    none = json.dumps({"metadata": {"finalizers": None}})
    stage.kubectl("patch", "configmap", "holds", "-n", here, "--type=merge", "-p", none)
    eventually("gone", lambda: "does not exist" in message(actors, "clustergkmcache", "", name))
    actors.namespace("ending")
    actors.wait_ready("clustergkmcache", "", name)


def going(actors: Actors, namespace: str) -> bool:
    return "deletionTimestamp" in actors.get("gkmcache", namespace, "kernels")["metadata"]


@pytest.mark.usefixtures("alone")
def test_f109_a_namespace_that_is_deleted_while_no_operator_runs_goes_once_one_does(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("alone")
    actors.cache(here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")
    with no_operator(stage):
        stage.kubectl("delete", "namespace", here, "--wait=false")
        eventually("the Cache is to go", lambda: going(actors, here))
        time.sleep(3)
        assert going(actors, here)
    stage.kubectl("wait", "gkmcache", "kernels", "-n", here, "--for=delete", "--timeout=60s")
    # Kubernetes looks at such a namespace less and less often.
    stage.kubectl("wait", "namespace", here, "--for=delete", "--timeout=180s")
    actors.namespaces.remove(here)
    actors.wait_clean()


@pytest.mark.parametrize("volumes", VOLUMES)
def test_a_gkmcache_stands_before_a_clustergkmcache_of_its_name(
    actors: Actors, volumes: str
) -> None:
    here, other = actors.namespace("here"), actors.namespace("other")
    name = actors.cluster_cache("kernels", workloadNamespaces=[here, other], **VOLUMES[volumes])
    eventually("both", lambda: phases(actors, name) == {here: "Extracted", other: "Extracted"})
    actors.cache(here, name, **VOLUMES[volumes])
    actors.wait_ready("gkmcache", here, name)
    eventually("gave way", lambda: phases(actors, name) == {here: "Shadowed", other: "Extracted"})
    assert actors.get("pvc", here, name)["metadata"]["annotations"]["gkm.io/cache"] == (
        f"GKMCache/{here}/{name}"
    )
    actors.delete("gkmcache", here, name)
    eventually("back", lambda: phases(actors, name) == {here: "Extracted", other: "Extracted"})


@pytest.mark.parametrize("volumes", VOLUMES)
def test_a_cache_waits_for_the_copy_that_a_predecessor_of_its_name_left_in_use(
    actors: Actors, stage: Stage, expected: str, volumes: str
) -> None:
    here = actors.namespace("heir")
    actors.cache(here, "kernels", **VOLUMES[volumes])
    actors.wait_ready("gkmcache", here, "kernels")
    actors.pod(here, "user", "kernels", reading(1000))
    actors.wait_pod(here, "user", "Running")
    actors.delete("gkmcache", here, "kernels", wait=False)
    actors.wait_ready("gkmcache", here, "kernels", "Deleting")
    none = json.dumps({"metadata": {"finalizers": None}})
    stage.kubectl("patch", "gkmcache", "kernels", "-n", here, "--type=merge", "-p", none)
    actors.cache(here, "kernels", **VOLUMES[volumes])
    eventually("said", lambda: "waits for pod user" in message(actors, "gkmcache", here, "kernels"))
    print(message(actors, "gkmcache", here, "kernels"))
    assert set(actors.logs(here, "user").split()) == {expected}
    actors.delete("pod", here, "user")
    actors.wait_ready("gkmcache", here, "kernels")
    actors.pod(here, "reader", "kernels", reading(3))
    assert actors.wait_pod(here, "reader", "Succeeded", "Failed") == "Succeeded"
    assert set(actors.logs(here, "reader").split()) == {expected}
