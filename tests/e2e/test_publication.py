"""A Cache becomes volumes that pods see complete or not at all, and leaves nothing behind."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.e2e import proxies
from tests.e2e.actors import Actors, eventually, reading
from tests.e2e.audit import OPERATOR, Ledger
from tests.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]
CLASSES = {"made by GKM": None, "provisioned": "shared"}


def storage(name: str) -> dict[str, str]:
    """The part of a spec that asks for this kind of volume."""
    chosen = CLASSES[name]
    return {"storageClassName": chosen} if chosen else {}


@pytest.mark.parametrize("volumes", CLASSES)
def test_a_gkmcache_is_a_complete_volume_in_its_namespace(
    actors: Actors, expected: str, volumes: str
) -> None:
    here = actors.namespace("a")
    actors.cache(here, "kernels", **storage(volumes))
    actors.wait_ready("gkmcache", here, "kernels")
    actors.pod(here, "after", "kernels", reading(3))
    assert actors.wait_pod(here, "after", "Succeeded", "Failed") == "Succeeded"
    assert set(actors.logs(here, "after").split()) == {expected}


@pytest.mark.parametrize("volumes", CLASSES)
@pytest.mark.parametrize("count", [1, 3])
def test_a_clustergkmcache_is_a_complete_volume_in_each_of_its_namespaces(
    actors: Actors, expected: str, volumes: str, count: int
) -> None:
    places = [actors.namespace(f"n{number}") for number in range(count)]
    name = actors.cluster_cache("all", workloadNamespaces=places, **storage(volumes))
    for place in places:
        actors.pod(place, "early", name, reading(3))
    actors.wait_ready("clustergkmcache", "", name)
    for place in places:
        assert actors.wait_pod(place, "early", "Succeeded", "Failed") == "Succeeded"
        assert set(actors.logs(place, "early").split()) == {expected}
    states = actors.get("clustergkmcache", "", name)["status"]["namespaces"]
    assert [(s["namespace"], s["claim"]) for s in states] == [(place, name) for place in places]
    assert {s["phase"] for s in states} <= {"Extracted", "Running"}


@pytest.mark.parametrize("volumes", CLASSES)
def test_pods_from_before_during_and_after_never_see_a_part_of_a_slow_extraction(
    actors: Actors, stage: Stage, expected: str, volumes: str
) -> None:
    here = actors.namespace("slow")
    actors.pod(here, "before", "kernels", reading(20))
    image = stage.cache_reference("v1", proxy=proxies.SLOW)
    actors.cache(here, "kernels", image=image, **storage(volumes))
    actors.wait_ready("gkmcache", here, "kernels", "Downloading")
    for number in range(4):
        actors.pod(here, f"during-{number}", "kernels", reading(20))
        time.sleep(0.5)
    assert actors.ready("gkmcache", here, "kernels")["reason"] == "Downloading", "not slow enough"
    actors.wait_ready("gkmcache", here, "kernels")
    actors.pod(here, "after", "kernels", reading(3))
    for name in ("before", *(f"during-{number}" for number in range(4)), "after"):
        assert actors.wait_pod(here, name, "Succeeded", "Failed") == "Succeeded"
        assert set(actors.logs(here, name).split()) == {expected}


def test_a_long_extraction_says_how_far_it_is_and_in_the_end_how_long_it_took(
    actors: Actors, stage: Stage, log: Path
) -> None:
    here, ledger = actors.namespace("long"), Ledger.from_now(log)
    actors.cache(here, "kernels", image=stage.cache_reference("v1", proxy=proxies.CRAWLING))
    far = re.compile(r"copied into the volume: \d+\.\d of \d+\.\d MiB, \d+ files")
    eventually("how far it is", lambda: far.search(_message(actors, here)))
    actors.wait_ready("gkmcache", here, "kernels")
    assert re.search(r": \d+ files, \d+\.\d MiB, extracted in \d\d\.\d s$", _message(actors, here))
    mine = [r["objectRef"] for r in ledger.requests(OPERATOR) if r["verb"] == "patch"]
    told = [r for r in mine if r.get("namespace") == here and r.get("subresource") == "status"]
    assert len(told) <= 4


@pytest.mark.parametrize("volumes", CLASSES)
def test_deleting_a_cache_waits_for_its_pods_and_leaves_nothing(
    actors: Actors, expected: str, volumes: str
) -> None:
    here = actors.namespace("gone")
    actors.cache(here, "kernels", **storage(volumes))
    actors.wait_ready("gkmcache", here, "kernels")
    actors.pod(here, "user", "kernels", reading(1000))
    actors.wait_pod(here, "user", "Running")
    actors.delete("gkmcache", here, "kernels", wait=False)
    found = actors.wait_ready("gkmcache", here, "kernels", "Deleting")
    eventually("names the pod", lambda: "user" in _message(actors, here))
    assert found["status"] == "False"
    assert set(actors.logs(here, "user").split()) == {expected}
    actors.delete("pod", here, "user")
    actors.wait_clean()


@pytest.mark.parametrize("volumes", CLASSES)
def test_a_cache_whose_extraction_cannot_run_says_so_and_is_deleted_without_a_trace(
    actors: Actors, volumes: str
) -> None:
    here = actors.namespace("never")
    nowhere = {"spec": {"nodeSelector": {"no-node": "has-this"}}}
    actors.cache(here, "kernels", podTemplate=nowhere, **storage(volumes))
    eventually("the scheduler's words", lambda: "Unschedulable" in _message(actors, here))
    actors.delete("gkmcache", here, "kernels", wait=False)
    actors.wait_clean()


def test_a_namespace_that_leaves_the_list_is_cleaned_and_the_others_stay(actors: Actors) -> None:
    stays, leaves = actors.namespace("stays"), actors.namespace("leaves")
    name = actors.cluster_cache("moves", workloadNamespaces=[stays, leaves])
    actors.wait_ready("clustergkmcache", "", name)
    eventually("both claims", lambda: _claims(actors, name) == [leaves, stays])
    actors.cluster_cache("moves", workloadNamespaces=[stays])
    eventually("one claim", lambda: _claims(actors, name) == [stays])


def test_columns_show_the_state_and_how_many_nodes_and_pods_are_concerned(actors: Actors) -> None:
    here = actors.namespace("columns")
    actors.cache(here, "kernels")
    wait = ("wait", "--for=condition=Ready", "gkmcache/kernels", "-n", here, "--timeout=60s")
    actors.stage.kubectl(*wait)
    header, row = actors.stage.kubectl("get", "gkmcache", "-n", here).splitlines()
    assert header.split()[:4] == ["NAME", "AGE", "STATUS", "NODES"]
    assert row.split()[2] == "Extracted"
    meant, used, unused, failed, *pods = map(int, row.split()[3:])
    assert (used, failed, pods) == (0, 0, [0, 0, 0])
    assert meant == unused > 0


def _message(actors: Actors, namespace: str) -> str:
    return str(actors.ready("gkmcache", namespace, "kernels")["message"])


def _claims(actors: Actors, name: str) -> list[str]:
    found = json.loads(actors.stage.kubectl("get", "pvc", "-A", "-o", "json"))["items"]
    mine = (o["metadata"] for o in found)
    return sorted(meta["namespace"] for meta in mine if meta["name"] == name)
