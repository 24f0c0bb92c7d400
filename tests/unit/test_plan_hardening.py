"""What a plan must not do: believe forged children, touch what is not GKM's, write for ever."""

from dataclasses import replace

import pytest

from gkm.api import names
from gkm.api.errors import Retry
from gkm.core import publish
from gkm.core.actions import Create, Reserve, Resolve
from gkm.core.outcome import Outcome
from gkm.core.retry import Failure
from gkm.core.view import Settings, Trouble
from tests.unit.world import DIGEST, FOUND, ON_HOST, OTHER, SETTINGS, World

STAGING = "PersistentVolumeClaim"


def staging(world: World) -> dict[str, object]:
    return next(c for c in world.all(STAGING) if c["metadata"]["name"].endswith("-staging"))


def annotate(world: World, obj: dict[str, object], **annotations: str) -> None:
    obj["metadata"]["annotations"] |= annotations  # type: ignore[index]
    world._put(obj)


def test_a_claim_that_names_another_namespace_as_its_target_is_not_ours() -> None:
    world = World()
    world.settle()
    world.finish()
    annotate(world, staging(world), **{names.ANNOTATION_TARGET: "victim"})
    assert not any(isinstance(action, Reserve) for action in world.plan().actions)


def test_a_claim_that_only_wears_a_copys_label_is_not_ours() -> None:
    world = World()
    world.settle()
    real = staging(world)
    forged = {**real, "metadata": {**real["metadata"], "name": "mine", "uid": "forged"}}  # type: ignore[dict-item]
    world._put(forged)
    world.delete_cache()
    for _ in range(3):
        world.settle()
        world.now += 5
    assert world.children() == ["PersistentVolumeClaim mine"]


@pytest.mark.parametrize("text", ["²", "nan", "1e999", "x" * 5000, "[" * 5000])
def test_annotations_that_anybody_may_write_change_nothing(text: str) -> None:
    world = World()
    world.settle()
    annotate(
        world,
        staging(world),
        **{names.ANNOTATION_NUDGE: text, names.ANNOTATION_FAILED: text},
    )
    world.settle()
    assert world.ready["reason"] == "Downloading"
    assert Outcome.parse(text) is None
    assert Failure.parse(text) is None


def test_a_failure_with_values_of_other_types_is_none() -> None:
    good = Failure("j", "i", "r", "m", 1, 1.0, final=False).to_json()
    assert Failure.parse(good.replace("1.0", '"x"')) is None
    assert Outcome.parse('{"reason":"","message":"","digest":"","bytes":Infinity}') is None


def test_an_administrators_volume_is_let_go_and_never_set_to_be_deleted() -> None:
    world = World()
    world.settle()
    claim = staging(world)
    name = claim["metadata"]["name"]  # type: ignore[index]
    world._put(
        {
            "kind": "PersistentVolume",
            "metadata": {"name": "nfs", "labels": {"site": "b"}},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
            },
        }
    )
    world.bind(name, "nfs")
    world.end_job(Outcome("Extracted", "done", DIGEST))
    world.settle()
    world.bind("kernels", "nfs")
    world.settle()
    assert world.ready["reason"] == "Extracted"
    world.delete_cache()
    for _ in range(3):
        world.settle()
        world.now += 5
    left = world.get("PersistentVolume", "", "nfs")
    assert left["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert left["metadata"]["labels"] == {"site": "b"}
    assert world.children() == ["PersistentVolume nfs"]
    assert world.objects.keys() == {("PersistentVolume", "", "nfs")}


@pytest.mark.parametrize(
    "change",
    [{"status": {"phase": "Released"}}, {"metadata": {"deletionTimestamp": "now"}}],
    ids=["released", "terminating"],
)
def test_a_volume_on_its_way_out_is_not_reserved(change: dict[str, dict[str, str]]) -> None:
    world = World()
    world.settle()
    world.finish()
    wish = next(a for a in world.plan().actions if isinstance(a, Reserve))
    volume = world.get("PersistentVolume", "", wish.volume)
    assert publish.reservation(volume, wish)
    for part, values in change.items():
        volume[part] |= values
    with pytest.raises(Retry, match="VolumeMoved"):
        publish.reservation(volume, wish)
    held = world.get("PersistentVolume", "", wish.volume)
    with pytest.raises(Retry, match="is held by"):
        publish.reservation(held, replace(wish, staging_uid="other"))


def test_a_lost_volume_is_replaced_within_seconds() -> None:
    world = World()
    world.serve()
    del world.objects["PersistentVolume", "", world.all("PersistentVolume")[0]["metadata"]["name"]]
    first = world.settle()
    assert first.again == world.now + 5
    world.now += 5
    world.settle()
    assert world.ready["reason"] == "Downloading"


def test_a_binder_that_is_away_gets_a_few_nudges_and_no_stream() -> None:
    world = World(settings=ON_HOST)
    world.settle()
    begun = len(world.writes)
    until = world.now + 600
    while world.now < until:
        again = world.settle().again
        world.now = min(until, again) if again else until
    assert 1 < len(world.writes) - begun < 25, world.writes[begun:]


def test_a_job_whose_pod_is_not_seen_yet_is_waited_for_and_then_tried_again() -> None:
    world = World()
    world.settle()
    job = world.all("Job")[0]
    done = {"type": "Complete", "status": "True", "lastTransitionTime": "1970-01-01T00:16:40Z"}
    world._put({**job, "status": {"conditions": [done]}})
    before = list(world.writes)
    world.settle()
    assert world.writes == before
    world.now += 31
    world.settle()
    assert world.writes[len(before) :] == ["patch PersistentVolumeClaim", "status"]


@pytest.mark.parametrize("settings", [SETTINGS, ON_HOST])
def test_what_a_killed_operator_began_before_it_wrote_the_pin_is_taken_up_not_away(
    settings: Settings,
) -> None:
    world = World(settings=settings)
    for _ in range(2):
        for action in world.plan().actions:
            world.obey(action)
    begun = [name for name in world.children() if not name.startswith("Job")]
    assert any("-staging" in name for name in begun)
    world.resolution = None
    assert [type(action).__name__ for action in world.plan().actions] == ["Resolve"]
    world.resolution = FOUND
    world.settle()
    assert [name for name in world.children() if not name.startswith("Job")] == begun
    assert "delete PersistentVolumeClaim" not in world.writes


def test_the_pinned_image_goes_on_while_another_is_refused_and_the_status_says_so() -> None:
    world = World(settings=ON_HOST)
    world.settle()
    world.edit(image="registry.test/kernels:typo")
    world.resolution = Trouble("NotACacheImage", "no cache", 0.0, final=True)
    world.settle()
    assert world.status["namespaces"][0]["phase"] == "Error"
    assert "Job kernels" in " ".join(world.children())
    world.edit(image="registry.test/kernels:v2")
    world.resolution = replace(FOUND, digest=OTHER)
    world.settle()
    (job,) = world.all("Job")
    assert OTHER in str(job)


def test_a_volume_whose_size_the_api_server_spells_otherwise_is_not_written_again() -> None:
    world = World(settings=ON_HOST, spec={"storageSize": "1024Mi"})
    world.settle()
    (volume,) = world.all("PersistentVolume")
    (claim,) = world.all(STAGING)
    world.change({**volume, "spec": {**volume["spec"], "capacity": {"storage": "1Gi"}}})
    del world.objects[STAGING, "a", claim["metadata"]["name"]]
    begun = len(world.writes)
    world.settle()
    assert "patch PersistentVolume" not in world.writes[begun:]


def test_giving_a_volume_back_waits_for_the_binder_to_say_that_its_claim_is_gone() -> None:
    world = World(settings=ON_HOST)
    world.serve()
    (volume,) = world.all("PersistentVolume")
    world.delete_cache()
    del world.objects[STAGING, "a", "kernels"]
    world.settle()
    assert world.get("PersistentVolume", "", volume["metadata"]["name"])["spec"] == volume["spec"]
    world.change({**volume, "status": {"phase": "Released"}})
    world.settle()
    (volume,) = world.all("PersistentVolume")
    assert volume["spec"]["claimRef"]["namespace"] == "gkm-system"


def test_a_claim_that_need_not_name_its_volume_is_given_time_before_it_is_nudged() -> None:
    world = World(settings=ON_HOST)
    world.settle()
    (claim,), (volume,) = world.all(STAGING), world.all("PersistentVolume")
    ref = {**volume["spec"]["claimRef"], "uid": claim["metadata"]["uid"]}
    bound = {**volume, "spec": {**volume["spec"], "claimRef": ref}, "status": {"phase": "Bound"}}
    world.change(bound)
    begun = len(world.writes)
    world.now += 1
    world.settle()
    assert world.writes[begun:] == []
    world.now += 1
    world.settle()
    assert world.writes[begun:] == ["patch PersistentVolumeClaim"]


def test_a_namespace_that_leaves_is_cleared_though_the_registry_is_silent() -> None:
    world = World(settings=ON_HOST)
    world.settle()
    world.namespaces = {"a": True}
    world.edit(image="registry.test/kernels:other")
    world.resolution = Trouble("RegistryUnavailable", "timeout", world.now + 60)
    world.settle()
    assert "Job kernels" not in " ".join(world.children())


def test_what_is_half_given_back_goes_on_going_though_the_registry_is_silent() -> None:
    world = World(settings=ON_HOST)
    world.settle()
    (volume,) = world.all("PersistentVolume")
    for kind in (STAGING, "Job"):
        for obj in world.all(kind):
            del world.objects[kind, "a", obj["metadata"]["name"]]
    ref = {"namespace": "gkm-system", "name": f"{volume['metadata']['name']}-reclaim"}
    world.change({**volume, "spec": {**volume["spec"], "claimRef": ref}})
    world.edit(image="registry.test/kernels:other")
    world.resolution = Trouble("ImageNotFound", "no such tag", world.now + 60)
    begun = len(world.writes)
    world.settle()
    assert "create PersistentVolumeClaim" in world.writes[begun:]


def test_a_claim_on_a_volume_that_gkm_made_comes_once_the_binder_knows_the_volume() -> None:
    world = World(settings=ON_HOST)
    for action in world.plan().actions:
        world.obey(action)
    (volume,) = world.all("PersistentVolume")
    world.change({**volume, "status": {"phase": "Pending"}})
    assert world.plan().actions == ()
    world.change({**volume, "status": {"phase": "Available"}})
    assert [action.kind for action in world.plan().actions if isinstance(action, Create)] == [
        STAGING
    ]


def test_a_staging_claim_that_somebody_deleted_is_made_again_on_the_same_volume() -> None:
    world = World(settings=ON_HOST)
    world.settle()
    (claim,) = world.all(STAGING)
    name = claim["metadata"]["name"]
    world.bind(name)
    del world.objects[STAGING, "a", name]
    (volume,) = world.all("PersistentVolume")
    begun = len(world.writes)
    world.settle()
    assert "create PersistentVolumeClaim" not in world.writes[begun:]
    world.change({**volume, "status": {"phase": "Released"}})
    world.settle()
    assert [c["metadata"]["name"] for c in world.all(STAGING)] == [name]
    (again,) = world.all("PersistentVolume")
    assert again["metadata"]["uid"] == volume["metadata"]["uid"]
    assert again["spec"]["claimRef"]["name"] == name
    assert "uid" not in again["spec"]["claimRef"]


def test_an_heir_of_the_name_waits_for_the_pods_of_its_predecessors_copy() -> None:
    world = World()
    world.serve()
    volumes = [{"name": "cache", "persistentVolumeClaim": {"claimName": "kernels"}}]
    world.users = [{"metadata": {"name": "user"}, "spec": {"volumes": volumes}, "status": {}}]
    cache = world.objects.pop(world._cache)
    meta = {"name": "kernels", "namespace": "a", "generation": 1}
    world._put({"kind": cache["kind"], "metadata": meta, "spec": cache["spec"]})
    world.settle()
    assert "waits for pod user" in world.ready["message"]


@pytest.mark.parametrize("final", [False, True])
def test_a_restart_writes_nothing_about_an_image_that_could_not_be_looked_up(final: bool) -> None:
    world = World(resolution=Trouble("ImageNotFound", "no such tag", 1060.0, final=final))
    world.settle()
    assert world.ready["reason"] == "Error"
    world.resolution = None
    plan = world.plan()
    assert plan.status == world.status
    assert [type(action) for action in plan.actions] == [Resolve]
    world.edit(image="registry.test/kernels:other")
    status = world.plan().status
    assert status is not None
    assert status["conditions"][0]["reason"] == "Pending"
