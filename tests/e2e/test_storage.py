"""Every kind of storage class that clusters have: a Cache serves from it, or says why it cannot."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import stage as staging
from tests.e2e.actors import Actors, eventually, reading
from tests.e2e.test_bad_input import quota, told
from tests.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]
CLASSES: dict[str, dict[str, Any]] = {
    "binds at once": {"volumeBindingMode": "Immediate"},
    "waits for its consumer": {"volumeBindingMode": "WaitForFirstConsumer"},
    "retains its volumes": {"reclaimPolicy": "Retain"},
}


@pytest.fixture
def storage_class(actors: Actors, request: pytest.FixtureRequest) -> Iterator[str]:
    """A class like `shared`, but for what the parameter says."""
    name = f"{actors.prefix}-class"
    shared = actors.get("storageclass", "", "shared")
    actors.apply({**shared, **CLASSES[request.param], "metadata": {"name": name}})
    yield name
    actors.stage.kubectl("delete", "gkmcache", "--all", "-n", actors.namespaces[0])
    actors.wait_clean()
    actors.delete("storageclass", "", name)


@pytest.mark.parametrize(
    ("storage_class", "mode"),
    list(zip(CLASSES, ["ReadWriteMany", "ReadOnlyMany", "ReadWriteMany"], strict=True)),
    indirect=["storage_class"],
)
def test_a_cache_serves_from_a_class_and_leaves_nothing_on_it(
    actors: Actors, expected: str, storage_class: str, mode: str
) -> None:
    here = actors.namespace("a")
    actors.cache(here, "kernels", storageClassName=storage_class, accessModes=[mode])
    actors.wait_ready("gkmcache", here, "kernels")
    actors.pod(here, "reader", "kernels", reading(3))
    assert actors.wait_pod(here, "reader", "Succeeded", "Failed") == "Succeeded"
    assert set(actors.logs(here, "reader").split()) == {expected}
    actors.delete("pod", here, "reader")


@pytest.mark.parametrize("volumes", [{}, {"storageClassName": "shared"}])
def test_a_quota_with_room_for_one_claim_is_enough_for_the_first_image(
    actors: Actors, volumes: dict[str, str]
) -> None:
    here = actors.namespace("one")
    quota(actors, here, 1)
    actors.cache(here, "kernels", **volumes)
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_quota_without_room_for_the_next_image_keeps_the_one_that_serves(
    actors: Actors, stage: Stage, other_image: str
) -> None:
    here = actors.namespace("next")
    quota(actors, here, 1)
    actors.cache(here, "kernels", storageClassName="shared")
    actors.wait_ready("gkmcache", here, "kernels")
    actors.cache(here, "kernels", storageClassName="shared", image=other_image)
    told(actors, here, "the earlier image serves", "raise the quota, or delete", reason="Outdated")
    stage.kubectl("delete", "resourcequota", "claims", "-n", here)
    eventually("the new image serves", lambda: _serves(actors, here, other_image))


def test_a_volume_that_one_node_can_reach_is_published_and_the_node_is_named(
    actors: Actors, expected: str
) -> None:
    here = actors.namespace("local")
    actors.cache(here, "kernels", storageClassName="node-local")
    actors.wait_ready("gkmcache", here, "kernels")
    actors.pod(here, "reader", "kernels", reading(3))
    assert actors.wait_pod(here, "reader", "Succeeded", "Failed") == "Succeeded"
    assert set(actors.logs(here, "reader").split()) == {expected}
    conditions = actors.get("gkmcache", here, "kernels")["status"]["conditions"]
    degraded = next(c for c in conditions if c["type"] == "Degraded")
    print(degraded["message"])
    assert (degraded["status"], degraded["reason"]) == ("True", "NotOnAllNodes")
    node = actors.get("pod", here, "reader")["spec"]["nodeName"]
    assert f"kubernetes.io/hostname in ({node})" in degraded["message"]


@pytest.fixture
def without_host_path(stage: Stage) -> Iterator[None]:
    """GKM installed as on a real cluster: it makes no volume itself."""
    staging.install(stage, print, hostPath={"enabled": False})
    yield
    staging.install(stage, print)


@pytest.mark.usefixtures("without_host_path")
def test_a_cluster_without_a_default_class_is_explained_and_making_one_heals(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("default")
    actors.cache(here, "kernels")
    told(actors, here, "no default StorageClass", "make one the default", "shared")
    mark = "storageclass.kubernetes.io/is-default-class"
    stage.kubectl("annotate", "storageclass", "shared", f"{mark}=true")
    try:
        actors.wait_ready("gkmcache", here, "kernels")
        actors.delete("gkmcache", here, "kernels")
        actors.wait_clean()
    finally:
        stage.kubectl("annotate", "storageclass", "shared", f"{mark}-")


@pytest.fixture
def with_little_memory(stage: Stage) -> Iterator[None]:
    """GKM installed so that its extraction pods get too little memory."""
    limits = {"requests": {"memory": "8Mi"}, "limits": {"memory": "10Mi"}}
    staging.install(stage, print, extraction={"resources": limits})
    yield
    staging.install(stage, print)


@pytest.mark.usefixtures("alone", "with_little_memory")
def test_a_job_that_is_killed_for_memory_says_so_and_what_to_raise(actors: Actors) -> None:
    here = actors.namespace("memory")
    actors.cache(here, "kernels", storageClassName="shared")
    told(actors, here, "OOMKilled", "extraction.resources.limits.memory")


def _serves(actors: Actors, namespace: str, image: str) -> bool:
    status = actors.get("gkmcache", namespace, "kernels")["status"]
    ready = status["conditions"][0]
    same = status["resolvedImage"] == image and image.partition("@")[2] in json.dumps(ready)
    return ready["reason"] in ("Extracted", "Running") and same
