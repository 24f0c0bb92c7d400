"""Why a copy does not get on: said in the words of whoever knows, asked for no more than needed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gkm.core import explain, inquire
from gkm.core.inquire import LONG
from gkm.core.observe import POD_PATIENCE, STORAGE_PATIENCE
from gkm.core.progress import Progress
from gkm.core.retry import QUOTA_EXCEEDED
from gkm.core.view import Node, StorageClass, Trouble
from tests.unit.world import ON_HOST, World, cluster_world

FAST = StorageClass("fast", "uid-fast", "1", default=False)
JOB_EVENT = {
    "type": "Warning",
    "reason": "FailedCreate",
    "message": 'Error creating: pods "{name}-abcde" is forbidden: violates PodSecurity',
    "lastTimestamp": "2026-01-01T00:00:00Z",
}


def job_name(world: World) -> str:
    return str(world.all("Job")[0]["metadata"]["name"])


def waiting_pod(world: World, message: str) -> None:
    """The Job's pod, which the scheduler has not been able to place for a while."""
    world.now += POD_PATIENCE
    job = world.all("Job")[0]
    world.put_pod(job, {"phase": "Pending", "conditions": [_unscheduled(message)]})


def _unscheduled(message: str) -> dict[str, str]:
    return {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
    }


def test_a_class_that_does_not_exist_is_an_error_that_lists_those_that_do() -> None:
    world = World(spec={"storageClassName": "slow"}, classes={"fast": FAST})
    world.settle()
    waiting_pod(world, "pod has unbound immediate PersistentVolumeClaims")
    world.settle()
    assert world.ready["reason"] == "Error"
    assert "no StorageClass slow: create it, or delete the Cache" in world.ready["message"]
    assert "(fast)" in world.ready["message"]
    world.classes["slow"] = StorageClass("slow", "u", "1", default=False)
    world.settle()
    assert world.ready["reason"] == "Pending"


def test_what_the_scheduler_settles_soon_is_not_worth_a_word() -> None:
    world = World()
    world.settle()
    begun = len(world.writes)
    waiting_pod(world, "pod has unbound immediate PersistentVolumeClaims")
    world.now -= 1
    assert world.settle().again == world.now + 1
    assert world.writes[begun:] == []
    world.now += 1
    world.settle()
    assert (world.writes[begun:], world.ready["reason"]) == (["status"], "Pending")


def test_no_default_class_is_an_error_unless_gkm_makes_the_volumes() -> None:
    for settings, reason in ((World().settings, "Error"), (ON_HOST, "Pending")):
        world = World(classes={"fast": FAST}, settings=settings)
        world.settle()
        waiting_pod(world, "pod has unbound immediate PersistentVolumeClaims")
        world.settle()
        assert world.ready["reason"] == reason


def test_a_job_whose_pods_are_refused_says_why_and_the_same_refusal_is_written_once() -> None:
    world = World()
    world.settle()
    world.now += 5
    world.events[job_name(world)] = [
        {**JOB_EVENT, "message": JOB_EVENT["message"].format(name=job_name(world))}
    ]
    world.settle()
    assert (world.ready["reason"], "violates PodSecurity" in world.ready["message"]) == (
        "Pending",
        True,
    )
    begun = len(world.writes)
    message = JOB_EVENT["message"].format(name=job_name(world)).replace("abcde", "fghij")
    world.events[job_name(world)].append(
        {**JOB_EVENT, "message": message, "lastTimestamp": "2026-01-01T00:09:00Z"}
    )
    world.now += 70
    world.settle()
    assert world.writes[begun:] == []


def test_a_claim_that_nobody_provisions_says_what_its_provisioner_said() -> None:
    world = World()
    world.settle()
    waiting_pod(world, "pod has unbound immediate PersistentVolumeClaims")
    claim = world.all("PersistentVolumeClaim")[0]["metadata"]["name"]
    world.events[claim] = [
        {"type": "Normal", "reason": "WaitForFirstConsumer", "eventTime": "2026-01-02T00:00:00Z"},
        {"type": "Warning", "reason": "ProvisioningFailed", "message": "the array is on fire"},
    ]
    world.settle()
    assert "unbound immediate" in world.ready["message"]
    world.now += STORAGE_PATIENCE
    world.settle()
    assert f"claim {claim}: ProvisioningFailed: the array is on fire" in world.ready["message"]


def test_a_pod_that_cannot_mount_is_asked_about_in_time() -> None:
    world = World()
    world.settle()
    (claim,) = world.all("PersistentVolumeClaim")
    world.bind(claim["metadata"]["name"])
    world.put_pod(world.all("Job")[0], {"phase": "Pending"})
    pod = f"{job_name(world)}-x"
    world.events[pod] = [{"type": "Warning", "reason": "FailedMount", "message": "no route"}]
    begun = world.now
    while world.now < begun + STORAGE_PATIENCE:
        again = world.settle().again
        assert again is not None
        world.now = again
    world.settle()
    assert world.now == begun + STORAGE_PATIENCE
    assert f"extraction pod {pod}: FailedMount: no route" in world.ready["message"]


def running(world: World) -> str:
    """The Job's program begins now; the name of its pod."""
    (claim,) = world.all("PersistentVolumeClaim")
    world.bind(claim["metadata"]["name"])
    began = datetime.fromtimestamp(world.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    states = [{"state": {"running": {"startedAt": began}}}]
    world.put_pod(world.all("Job")[0], {"phase": "Running", "containerStatuses": states})
    return f"{job_name(world)}-x"


def test_a_long_extraction_says_how_far_it_is_every_half_minute() -> None:
    world = World()
    world.settle()
    begun, pod = world.now, running(world)
    world.logs[pod] = Progress(1 << 20, 3 << 20, 40).to_line()
    said: list[tuple[float, str]] = []
    writes = len(world.writes)
    while world.now < begun + 100:
        again = world.settle().again
        told = (world.now - begun, world.ready["message"].partition("volume: ")[2])
        said += [told] if told[1] and told[1] not in (text for _, text in said) else []
        if world.now >= begun + 60:
            world.logs[pod] += "\nnoise\n" + Progress(2 << 20, 3 << 20, 55).to_line() + "\n"
        assert again is not None
        world.now = again
    assert said == [(LONG, "1.0 of 3.0 MiB, 40 files"), (90, "2.0 of 3.0 MiB, 55 files")]
    assert world.ready["reason"] == "Downloading"
    assert world.writes[writes:] == ["status", "status"]


def test_a_log_that_says_nothing_is_no_news() -> None:
    world = World()
    world.settle()
    pod = running(world)
    world.logs[pod] = "progress: 1 of many bytes, \x1b[31m files"
    writes = len(world.writes)
    world.now += LONG
    world.settle()
    assert world.said
    assert world.writes[writes:] == []


def test_what_a_pod_waited_for_is_not_said_of_it_once_it_runs() -> None:
    world = World()
    world.settle()
    world.now += STORAGE_PATIENCE
    (claim,) = world.all("PersistentVolumeClaim")
    world.bind(claim["metadata"]["name"])
    world.put_pod(world.all("Job")[0], {"phase": "Pending"})
    pod = f"{job_name(world)}-x"
    world.events[pod] = [{"type": "Warning", "reason": "FailedMount", "message": "no route"}]
    world.settle()
    assert "no route" in world.ready["message"]
    running(world)
    world.settle()
    assert (world.ready["reason"], "no route" in world.ready["message"]) == ("Downloading", False)


def test_of_many_long_extractions_three_are_asked() -> None:
    world = cluster_world(*"abcde")
    world.settle()
    for job in world.all("Job"):
        space = job["metadata"]["namespace"]
        claim = next(
            c for c in world.all("PersistentVolumeClaim") if c["metadata"]["namespace"] == space
        )
        world.bind(claim["metadata"]["name"], namespace=space)
        states = [{"state": {"running": {"startedAt": "1970-01-01T00:16:40Z"}}}]
        world.put_pod(job, {"phase": "Running", "containerStatuses": states})
    world.now += LONG
    world.settle()
    assert len(world.said) == 3


def test_events_are_not_listed_while_everything_goes_well() -> None:
    world = World()
    world.settle()
    world.now += 60
    world.finish()
    world.settle()
    assert world.said == {}


def test_an_event_without_anything_to_tell_is_no_reason() -> None:
    assert inquire.heard([{"type": "Normal", "reason": "Provisioning"}], None, 5.0).message == ""


def test_a_failure_is_told_rather_than_the_waiting_that_is_repeated_after_it() -> None:
    waiting = {
        "type": "Normal",
        "reason": "ExternalProvisioning",
        "message": "waiting for a volume",
        "lastTimestamp": "2026-01-02T00:00:00Z",
    }
    failed = {
        "type": "Warning",
        "reason": "ProvisioningFailed",
        "message": "request 1f2e3d4c-0000: no space, 17 tried",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    assert "waiting for a volume" in inquire.heard([waiting], None, 5.0).message
    said = inquire.heard([waiting, failed], None, 5.0)
    assert said.message == "ProvisioningFailed: request 1f2e3d4c-0000: no space, 17 tried"
    again = "(combined from similar events): request aaaabbbb-1111: no space, 18 tried"
    same = inquire.heard([{**failed, "message": again}], said, 9.0)
    assert (same.message, same.checked) == (said.message, 9.0)
    other = inquire.heard([{**failed, "message": "quota"}], said, 9.0)
    assert other.message == "ProvisioningFailed: quota"


@pytest.mark.parametrize(("attempts", "told"), [(1, False), (3, True)])
def test_a_quota_that_still_counts_the_staging_claim_is_told_only_when_it_lasts(
    attempts: int, told: bool
) -> None:
    world = World()
    world.settle()
    world.finish()
    world.settle()
    copy = world.all("PersistentVolume")[0]["metadata"]["labels"]["gkm.io/copy"]
    del world.objects["PersistentVolumeClaim", "a", "kernels"]
    trouble = Trouble(QUOTA_EXCEEDED, "exceeded quota: claims", world.now + 60, attempts=attempts)
    world.troubles[copy] = trouble
    world.settle()
    assert (world.ready["reason"] == "Error") is told
    assert explain.refused(trouble).message.endswith("exceeded quota: claims; raise the quota")


def deleting(**options: Any) -> World:
    """A Cache that is deleted, its serving claim gone, its volume on the way out."""
    world = World(**options)
    world.serve()
    world.delete_cache()
    for _ in range(3):
        world.settle()
        world.now += 5
    return world


def test_an_emptying_job_whose_pods_are_refused_is_named() -> None:
    world = deleting(settings=ON_HOST)
    (volume,) = world.all("PersistentVolume")
    reclaim = volume["spec"]["claimRef"]["name"]
    world.bind(reclaim, namespace="gkm-system")
    world.settle()
    message = JOB_EVENT["message"].format(name=reclaim)
    world.events[reclaim] = [{**JOB_EVENT, "message": message}]
    world.now += POD_PATIENCE
    world.settle()
    assert "is being emptied by Job" in world.ready["message"]
    assert "violates PodSecurity" in world.ready["message"]


def test_a_removal_that_is_refused_says_so() -> None:
    world = deleting(settings=ON_HOST)
    copy = world.all("PersistentVolume")[0]["metadata"]["labels"]["gkm.io/copy"]
    world.troubles[copy] = Trouble(QUOTA_EXCEEDED, "exceeded quota: claims", world.now + 60)
    world.settle()
    assert "cannot be cleared away: QuotaExceeded: exceeded quota" in world.ready["message"]


def test_a_provisioner_that_takes_its_time_is_named_and_a_quick_one_is_not() -> None:
    world = World()
    world.serve()
    (volume,) = world.all("PersistentVolume")
    del world.objects["PersistentVolumeClaim", "a", "kernels"]
    world.delete_cache()
    moment = datetime.fromtimestamp(world.now, UTC).isoformat()
    world.change({**volume, "status": {"phase": "Released", "lastPhaseTransitionTime": moment}})
    again = world.settle().again
    assert "is being removed" in world.ready["message"]
    assert again == world.now + STORAGE_PATIENCE
    world.now = again
    world.settle()
    assert f"volume {volume['metadata']['name']} is being deleted" in world.ready["message"]


def test_another_size_reaches_the_volume_that_gkm_made_too() -> None:
    world = World(settings=ON_HOST, spec={"storageSize": "1Mi"})
    world.settle()
    world.edit(storageSize="64Mi")
    world.settle()
    claims, volumes = world.all("PersistentVolumeClaim"), world.all("PersistentVolume")
    assert [c["spec"]["resources"]["requests"]["storage"] for c in claims] == ["64Mi"]
    assert [v["spec"]["capacity"]["storage"] for v in volumes] == ["64Mi"]


def test_a_volume_that_some_nodes_cannot_reach_degrades_the_cache_and_names_those_that_can() -> (
    None
):
    world = World()
    world.serve()
    (volume,) = world.all("PersistentVolume")
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["one", "two"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    world.change({**volume, "spec": {**volume["spec"], "nodeAffinity": {"required": required}}})
    world.settle()
    conditions = {c["type"]: c for c in world.status["conditions"]}
    assert (world.ready["status"], world.ready["reason"]) == ("True", "Extracted")
    assert conditions["Degraded"]["reason"] == "NotOnAllNodes"
    assert "kubernetes.io/hostname in (one, two) only" in conditions["Degraded"]["message"]


def test_an_extraction_on_a_node_that_is_not_heard_of_says_so() -> None:
    world = World(nodes={"n1": Node("n1", "uid-n1", "1", {}, trouble="NotReady")})
    world.settle()
    world.now += POD_PATIENCE
    world.put_pod(world.all("Job")[0], {"phase": "Running"}, "n1")
    world.settle()
    assert world.ready["reason"] == "Pending"
    assert "is on node n1, which is not ready" in world.ready["message"]
    world.nodes["n1"] = Node("n1", "uid-n1", "2", {})
    world.settle()
    assert world.ready["reason"] == "Downloading"


def test_an_extraction_that_ran_too_long_says_what_to_raise() -> None:
    world = World()
    world.settle()
    (job,) = world.all("Job")
    assert job["spec"]["template"]["spec"]["activeDeadlineSeconds"] == world.settings.deadline
    world.bind(world.all("PersistentVolumeClaim")[0]["metadata"]["name"])
    world.put_pod(job, {"phase": "Failed", "reason": "DeadlineExceeded"}, "n1")
    world.settle()
    assert world.ready["reason"] == "Error"
    assert "raise extraction.deadlineSeconds" in world.ready["message"]
