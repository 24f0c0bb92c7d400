"""Users, drains and nodes take children away under GKM: it says so, and makes them anew.

Each test carries the row of the fault matrix that it answers (F102 to F120).
"""

import json
import time
from typing import Any

import pytest

from tests.e2e import proxies
from tests.e2e.actors import VOLUMES, Actors, eventually, reading
from tests.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]
Json = dict[str, Any]
JOBS = "batch.kubernetes.io/job-name"


def uid(actors: Actors, kind: str, namespace: str, name: str) -> str:
    return str(actors.get(kind, namespace, name)["metadata"]["uid"])


def served(actors: Actors, namespace: str, volumes: str) -> str:
    """A Cache that serves; the uid of its claim."""
    actors.cache(namespace, "kernels", **VOLUMES[volumes])
    actors.wait_ready("gkmcache", namespace, "kernels")
    return uid(actors, "pvc", namespace, "kernels")


def served_anew(actors: Actors, namespace: str, former: str, expected: str) -> None:
    """Wait until another claim serves, and read what is on it."""

    def another() -> bool:
        found = actors.stage.kubectl("get", "pvc", "-n", namespace, "-o", "json")
        claims = (obj["metadata"] for obj in json.loads(found)["items"])
        return any(c["name"] == "kernels" and c["uid"] != former for c in claims)

    eventually("another claim", another)
    actors.wait_ready("gkmcache", namespace, "kernels")
    actors.pod(namespace, "reader", "kernels", reading(3))
    assert actors.wait_pod(namespace, "reader", "Succeeded", "Failed") == "Succeeded"
    assert set(actors.logs(namespace, "reader").split()) == {expected}


def running_job(actors: Actors, stage: Stage, namespace: str, **spec: Any) -> Json:
    """A Cache of a slow image, and its Job as soon as the Job's pod runs; the pod."""
    image = stage.cache_reference("v1", proxy=proxies.SLOW)
    actors.cache(namespace, "kernels", image=image, **spec)

    def look() -> Json | None:
        found = json.loads(stage.kubectl("get", "pods", "-n", namespace, "-l", JOBS, "-o", "json"))[
            "items"
        ]
        running = (pod for pod in found if pod["status"].get("phase") == "Running")
        return next(running, None)

    return eventually("the extraction runs", look)


@pytest.mark.parametrize("volumes", VOLUMES)
def test_f102_a_claim_that_a_user_deletes_is_made_and_filled_anew(
    actors: Actors, expected: str, volumes: str
) -> None:
    here = actors.namespace("claim")
    former = served(actors, here, volumes)
    actors.delete("pvc", here, "kernels")
    served_anew(actors, here, former, expected)


@pytest.mark.parametrize("volumes", VOLUMES)
def test_f102_a_claim_that_a_user_deletes_under_a_pod_stays_until_the_pod_ends(
    actors: Actors, expected: str, volumes: str
) -> None:
    here = actors.namespace("mounted")
    former = served(actors, here, volumes)
    actors.pod(here, "user", "kernels", reading(1000))
    actors.wait_pod(here, "user", "Running")
    actors.delete("pvc", here, "kernels", wait=False)

    def told() -> str:
        ready = actors.ready("gkmcache", here, "kernels")
        return str(ready["message"]) if ready["status"] == "False" else ""

    message = eventually("the status says that it serves no more", told)
    print(message)
    assert "is being deleted" in message
    assert set(actors.logs(here, "user").split()) == {expected}
    actors.delete("pod", here, "user")
    served_anew(actors, here, former, expected)


@pytest.mark.parametrize("volumes", VOLUMES)
def test_f103_a_volume_that_a_user_deletes_is_replaced_and_not_leaked(
    actors: Actors, stage: Stage, expected: str, volumes: str
) -> None:
    here = actors.namespace("volume")
    former = served(actors, here, volumes)
    volume = actors.get("pvc", here, "kernels")["spec"]["volumeName"]
    gone = uid(actors, "pv", "", volume)
    actors.delete("pv", "", volume, wait=False)
    served_anew(actors, here, former, expected)
    path = "jsonpath={.items[*].metadata.uid}"
    eventually("the volume is gone", lambda: gone not in stage.kubectl("get", "pv", "-o", path))


def test_f104_a_job_that_a_user_deletes_while_it_runs_is_run_again(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("job")
    running_job(actors, stage, here)
    stage.kubectl("delete", "jobs", "--all", "-n", here, "--wait=false")
    actors.wait_ready("gkmcache", here, "kernels")


def test_f105_an_extraction_that_is_evicted_is_tried_again(actors: Actors, stage: Stage) -> None:
    here = actors.namespace("evicted")
    pod = running_job(actors, stage, here)["metadata"]["name"]
    place = {"name": pod, "namespace": here}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": place}
    where = f"/api/v1/namespaces/{here}/pods/{pod}/eviction"
    stage.kubectl("create", "--raw", where, "-f", "-", stdin=json.dumps(body))
    actors.wait_ready("gkmcache", here, "kernels")


def test_f106_an_extraction_that_runs_too_long_is_ended_told_and_tried_again(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("endless")
    pod = running_job(actors, stage, here)["metadata"]["name"]
    soon = json.dumps({"spec": {"activeDeadlineSeconds": 1}})
    stage.kubectl("patch", "pod", pod, "-n", here, "--type=merge", "-p", soon)
    found = actors.wait_ready("gkmcache", here, "kernels", "Error")
    print(found["message"])
    assert "DeadlineExceeded" in found["message"]
    actors.wait_ready("gkmcache", here, "kernels")


def test_f107_a_corrected_pod_template_reaches_the_job_that_waits(actors: Actors) -> None:
    here = actors.namespace("corrected")
    nowhere = {"spec": {"nodeSelector": {"no-node": "has-this"}}}
    actors.cache(here, "kernels", podTemplate=nowhere)

    def unschedulable() -> bool:
        return "Unschedulable" in str(actors.ready("gkmcache", here, "kernels")["message"])

    eventually("the scheduler's words", unschedulable)
    edited = time.monotonic()
    actors.cache(here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")
    assert time.monotonic() - edited < 30


def test_f118_a_pod_that_no_node_runs_yet_keeps_its_claim(actors: Actors) -> None:
    here = actors.namespace("unscheduled")
    served(actors, here, "made by GKM")
    selector = {"no-node": "has-this"}
    actors.pod(here, "waits", "kernels", reading(1), nodeSelector=selector)
    actors.delete("gkmcache", here, "kernels", wait=False)

    def named() -> bool:
        return "waits" in str(actors.ready("gkmcache", here, "kernels")["message"])

    eventually("the pod is named", named)
    time.sleep(15)
    assert "deletionTimestamp" not in actors.get("pvc", here, "kernels")["metadata"]
    actors.delete("pod", here, "waits")
    released = time.monotonic()
    actors.wait_clean()
    assert time.monotonic() - released < 30


def test_f119_a_cache_that_is_made_and_deleted_again_and_again_leaves_nothing(
    actors: Actors, expected: str
) -> None:
    here = actors.namespace("again")
    for _ in range(20):
        actors.cache(here, "kernels")
        time.sleep(0.3)
        actors.delete("gkmcache", here, "kernels")
    actors.wait_clean()
    served(actors, here, "made by GKM")
    actors.pod(here, "reader", "kernels", reading(3))
    assert actors.wait_pod(here, "reader", "Succeeded", "Failed") == "Succeeded"
    assert set(actors.logs(here, "reader").split()) == {expected}


@pytest.mark.parametrize("cascade", ["orphan", "foreground"])
def test_f120_whatever_way_a_cache_is_deleted_nothing_is_left(actors: Actors, cascade: str) -> None:
    here = actors.namespace("cascade")
    served(actors, here, "made by GKM")
    actors.stage.kubectl("delete", "gkmcache", "kernels", "-n", here, f"--cascade={cascade}")
    actors.wait_clean()
