"""What is planned for a Cache, from its creation to its end, write by write."""

from dataclasses import replace

import pytest

from gkm.api.names import FINALIZER
from gkm.core.image import ImageFacts
from gkm.core.outcome import EXIT_REJECTED, EXIT_RETRY, Outcome
from gkm.core.view import Trouble
from tests.unit.world import DIGEST, ON_HOST, OTHER, World, cluster_world


def test_writes_from_apply_to_extracted_on_a_provisioned_volume() -> None:
    world = World()
    world.serve()
    assert world.writes == [
        "patch GKMCache",
        "create PersistentVolumeClaim",
        "create Job",
        "status",
        "patch PersistentVolume",
        "delete Job",
        "delete PersistentVolumeClaim",
        "create PersistentVolumeClaim",
        "status",
    ]
    assert world.ready["reason"] == "Extracted"
    assert world.status["resolvedDigest"] == DIGEST


def test_writes_from_apply_to_extracted_on_a_volume_that_gkm_makes() -> None:
    world = World(settings=ON_HOST)
    world.serve()
    assert world.writes[:4] == [
        "patch GKMCache",
        "create PersistentVolume",
        "create PersistentVolumeClaim",
        "create Job",
    ]
    assert len(world.writes) == 10


def test_what_is_extracted_says_how_much_it_is_and_how_long_it_took() -> None:
    world = cluster_world("a", "b")
    world.settle()
    for space, seconds in (("a", 12.3), ("b", 4.56)):
        world.finish(namespace=space)
        outcome = Outcome("Extracted", "done", DIGEST, 5 << 20, 34, seconds)
        world.end_job(outcome, namespace=space)
    world.settle()
    for space in "ab":
        world.bind(world.key.name, namespace=space)
    world.settle()
    wanted = f"2 of 2 namespaces have the cache ({DIGEST}): 34 files, 5.0 MiB, extracted in 4.6"
    assert world.ready["message"] == f"{wanted} to 12.3 s"
    begun = len(world.writes)
    world.settle()
    assert world.writes[begun:] == []


@pytest.mark.parametrize("settings", [ON_HOST, replace(ON_HOST, host_path="")])
def test_a_plan_without_a_change_writes_nothing(settings: object) -> None:
    world = World(settings=settings)  # type: ignore[arg-type]
    world.serve()
    before = list(world.writes)
    for seconds in (1, 60, 3600):
        world.now += seconds
        world.resolution = None
        world.settle()
    assert world.writes == before


def test_a_claim_that_the_binder_forgot_is_nudged_once_after_two_seconds() -> None:
    world = World(settings=ON_HOST)
    world.settle()
    world.finish()
    world.settle()
    begun = len(world.writes)
    world.settle()
    assert world.writes[begun:] == []
    world.now += 2
    world.settle()
    assert world.writes[begun:] == ["patch PersistentVolumeClaim"]
    world.bind("kernels")
    world.now += 10
    world.settle()
    assert world.writes[begun + 1 :] == ["status"]


def test_the_status_while_extracting_names_no_claim_and_is_not_ready() -> None:
    world = World()
    world.settle()
    assert (world.ready["status"], world.ready["reason"]) == ("False", "Downloading")
    assert world.status["namespaces"][0]["claim"] == ""


def test_a_job_that_did_not_say_the_digest_is_not_taken_for_filled() -> None:
    world = World()
    world.settle()
    world.finish(OTHER)
    world.settle()
    assert not any(c["metadata"]["name"] == "kernels" for c in world.all("PersistentVolumeClaim"))


def test_a_failed_job_is_recorded_once_tried_again_when_due_and_then_serves() -> None:
    world = World()
    world.settle()
    world.end_job(Outcome("RegistryUnavailable", "connection refused"), code=EXIT_RETRY)
    world.settle()
    assert world.ready["reason"] == "Error"
    assert "connection refused" in world.ready["message"]
    before = list(world.writes)
    world.settle()
    assert world.writes == before
    world.now += 300
    world.settle()
    assert world.writes[len(before) :] == ["delete Job", "create Job"]
    world.finish()
    world.settle()
    world.bind("kernels")
    world.settle()
    assert world.ready["reason"] == "Extracted"


def test_a_rejected_image_is_not_tried_again_until_the_input_changes() -> None:
    world = World()
    world.settle()
    world.end_job(Outcome("BadArchive", "member '../x' is refused"), code=EXIT_REJECTED)
    world.settle()
    world.now += 3600
    before = list(world.writes)
    world.settle()
    assert world.writes == before
    assert "../x" in world.ready["message"]
    world.edit(podTemplate={"spec": {"priorityClassName": "high"}})
    world.settle()
    assert world.writes[len(before) :] == ["delete Job", "create Job", "status"]


def test_an_unknown_image_is_an_error_and_makes_no_child() -> None:
    world = World(resolution=Trouble("ImageNotFound", "no such tag", 0.0, final=True))
    world.settle()
    assert world.children() == []
    assert (world.ready["reason"], world.ready["message"]) == (
        "Error",
        "a: ImageNotFound: no such tag",
    )


def test_a_registry_that_is_down_is_asked_again_and_delays_no_deletion() -> None:
    world = World(resolution=Trouble("RegistryUnavailable", "timeout", 1060.0))
    assert world.settle().again == 1060.0
    world.now = 1061.0
    assert type(world.plan().actions[0]).__name__ == "Resolve"
    world.delete_cache()
    assert world.plan().actions == ()


def test_the_finalizer_comes_before_the_first_child_and_goes_after_the_last() -> None:
    world = World()
    first = world.plan().actions[0]
    assert first.body["metadata"]["finalizers"] == [FINALIZER]  # type: ignore[union-attr]
    world.serve()
    world.delete_cache()
    world.settle()
    assert FINALIZER in world.objects["GKMCache", "a", "kernels"]["metadata"]["finalizers"]
    world.now += 5
    world.settle()
    assert world.objects == {}


@pytest.mark.parametrize(("on_host", "most"), [(False, 4), (True, 10)])
def test_deletion_leaves_nothing_in_few_writes(on_host: bool, most: int) -> None:
    world = World(settings=ON_HOST) if on_host else World()
    world.serve()
    begun = len(world.writes)
    world.delete_cache()
    world.settle()
    world.now += 5
    world.settle()
    if on_host:
        reclaim = next(c["metadata"]["name"] for c in world.all("PersistentVolumeClaim"))
        world.bind(reclaim, namespace="gkm-system")
        world.settle()
        world.end_job(Outcome("Emptied", "done"), namespace="gkm-system")
        world.settle()
    assert world.children() == []
    assert world.objects == {}
    assert len(world.writes) - begun <= most, world.writes[begun:]


def test_a_claim_that_a_pod_names_is_not_deleted_and_the_pod_is_named() -> None:
    world = World()
    world.serve()
    volume = {"persistentVolumeClaim": {"claimName": "kernels"}}
    world.users = [{"metadata": {"name": "user-1"}, "spec": {"volumes": [volume]}}]
    world.delete_cache()
    for _ in range(20):
        world.settle()
        world.now += 5
    assert "PersistentVolumeClaim kernels" in world.children()
    assert world.ready["reason"] == "Deleting"
    assert "user-1" in world.ready["message"]
    world.users[0]["status"] = {"phase": "Succeeded"}
    for _ in range(20):
        world.settle()
        world.now += 5
    assert world.objects == {}


def test_a_new_image_is_filled_beside_and_served_when_the_old_one_is_free() -> None:
    world = World()
    world.serve()
    world.edit(image="registry.test/kernels:v2")
    world.resolution = ImageFacts(OTHER, {}, 1000)
    world.settle()
    assert (world.ready["status"], world.ready["reason"]) == ("True", "Outdated")
    world.finish(OTHER)
    world.settle()
    world.now += 5
    world.settle()
    world.bind("kernels")
    world.settle()
    assert world.ready["reason"] == "Extracted"
    assert world.status["resolvedDigest"] == OTHER
    assert len(world.children()) == 2


def test_a_bad_new_image_never_costs_the_good_one() -> None:
    world = World()
    world.serve()
    before = world.children()
    world.edit(image="registry.test/kernels:typo")
    world.resolution = Trouble("ImageNotFound", "no such tag", 0.0, final=True)
    world.settle()
    world.now += 600
    world.settle()
    assert world.children() == before
    assert (world.ready["status"], world.ready["reason"]) == ("True", "Outdated")
    assert world.status["resolvedDigest"] == DIGEST


def test_each_namespace_gets_its_own_volume_and_a_missing_one_is_said() -> None:
    world = cluster_world("a", "b")
    world.namespaces = {"a": False}
    world.settle()
    states = {s["namespace"]: s["phase"] for s in world.status["namespaces"]}
    assert states == {"a": "Downloading", "b": "NoNamespace"}


def test_a_namespace_that_is_being_deleted_gets_no_child() -> None:
    world = cluster_world("a")
    world.namespaces = {"a": True}
    world.settle()
    assert world.children() == []
    assert world.ready["reason"] == "NoNamespace"


def test_a_gkmcache_of_the_same_name_stands_before_the_cluster_cache() -> None:
    world = cluster_world("a")
    world.shadowed = frozenset({"a"})
    world.settle()
    assert world.children() == []
    assert world.status["namespaces"][0]["phase"] == "Shadowed"


def test_a_namespace_that_leaves_the_list_loses_its_copy() -> None:
    world = cluster_world("a", "b")
    world.settle()
    for namespace in ("a", "b"):
        world.finish(namespace=namespace)
        world.settle()
        world.bind("kernels", namespace=namespace)
    world.settle()
    world.edit(workloadNamespaces=["a"])
    world.settle()
    world.now += 5
    world.settle()
    assert [c["metadata"]["namespace"] for c in world.all("PersistentVolumeClaim")] == ["a"]


def test_what_a_vanished_cache_left_behind_is_taken_away() -> None:
    world = World()
    world.serve()
    del world.objects["GKMCache", "a", "kernels"]
    world.settle()
    world.now += 5
    world.settle()
    assert world.objects == {}


def test_a_per_node_cache_is_pending_and_says_why() -> None:
    world = World(spec={"accessModes": ["ReadWriteOnce"]})
    world.settle()
    assert world.children() == []
    assert world.ready["reason"] == "Pending"
    assert world.ready["message"] == "the cluster has no node"


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    world = World()
    world.settle()
    first = world.ready["lastTransitionTime"]
    world.now += 60
    world.end_job(Outcome("NoSpace", "volume full"), code=EXIT_RETRY)
    world.settle()
    assert world.ready["lastTransitionTime"] == first


def test_trouble_with_one_copy_is_shown_and_holds_up_no_other() -> None:
    world = cluster_world("a", "b")
    world.settle()
    copy = world.get("Job", "a", world.all("Job")[0]["metadata"]["name"])["metadata"]["labels"]
    world.troubles = {copy["gkm.io/copy"]: Trouble("Forbidden", "exceeded quota", world.now + 200)}
    world.finish(namespace="b")
    world.settle()
    states = {s["namespace"]: s["phase"] for s in world.status["namespaces"]}
    assert states["a"] == "Error"
    world.bind("kernels", namespace="b")
    world.settle()
    assert {s["namespace"]: s["phase"] for s in world.status["namespaces"]}["b"] == "Extracted"
