"""What is planned for a Cache that gets a copy on each node."""

from dataclasses import replace
from typing import Any

import pytest

from gkm.api import names
from gkm.core.gpu import Gpu
from gkm.core.image import ImageFacts
from gkm.core.outcome import EXIT_RETRY, Outcome
from gkm.core.view import Entry, Node, Report, Taint, Trouble
from tests.unit.world import DIGEST, FOUND, KEY, ON_HOST, OTHER, World

H100 = Gpu(0, "cuda", "90", 32, "H100")
MI210 = Gpu(0, "hip", "gfx90a", 64, "MI210")
SUMMARY = '{"targets":[{"backend":"cuda","arch":"90","warp_size":32}]}'
FOR_H100 = ImageFacts(DIGEST, {"cache.triton.image/summary": SUMMARY}, 1000)
NEWER = ImageFacts(OTHER, FOR_H100.labels, 1000)


def node(name: str, uid: str = "", **more: Any) -> Node:
    labels = {names.LABEL_HOSTNAME: name}
    return Node(name, uid or f"uid-{name}", "1", labels, **more)


def report(of: Node, *gpus: Gpu) -> Report:
    return Report(of.name, f"report-{of.uid}", "1", "", of.uid, gpus)


def world(*nodes: str, **options: Any) -> World:
    """A per-node Cache for H100 and nodes that have one each."""
    found = [node(name) for name in nodes]
    options.setdefault("resolution", FOR_H100)
    return World(
        spec={"accessModes": ["ReadWriteOnce"]},
        nodes={one.name: one for one in found},
        reports={one.name: report(one, H100) for one in found},
        **options,
    )


def fill(here: World, name: str, digest: str = DIGEST) -> None:
    """Let the copy of a node be extracted and bound."""
    here.finish(digest, node=name)
    here.settle()
    here.bind(serving(here, name, digest)["metadata"]["name"])
    here.settle()


def serving(here: World, name: str, digest: str = DIGEST) -> dict[str, Any]:
    return next(
        claim
        for claim in here.all("PersistentVolumeClaim")
        if claim["metadata"]["labels"].get(names.LABEL_NODE) == name
        and claim["metadata"]["labels"][names.LABEL_ROLE] == "serving"
        and claim["metadata"]["annotations"][names.ANNOTATION_DIGEST] == digest
    )


def waiting(name: str, uid: str = "") -> str:
    return names.waiting_name(KEY, "uid-1", uid or f"uid-{name}")


def served(*nodes: str, **options: Any) -> World:
    here = world(*nodes, **options)
    here.settle()
    for name in nodes:
        fill(here, name)
    return here


@pytest.mark.parametrize(("settings", "most"), [(None, 6), (ON_HOST, 7)])
def test_each_node_gets_a_copy_of_its_own_in_few_writes(settings: Any, most: int) -> None:
    here = served("n1", "n2", **({"settings": settings} if settings else {}))
    assert here.ready["reason"] == "Extracted"
    assert [serving(here, n)["metadata"]["name"] for n in ("n1", "n2")] == [
        waiting("n1"),
        waiting("n2"),
    ]
    children = [w for w in here.writes if w != "status" and "GKMCache" not in w]
    assert len(children) == 2 * most
    assert here.status["counts"]["nodeCnt"] == 2
    assert here.status["counts"]["nodeNotInUseCnt"] == 2


def test_the_job_runs_on_its_node_and_tolerates_what_daemons_do() -> None:
    here = world("n1")
    here.edit(
        podTemplate={
            "spec": {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "kubernetes.io/hostname", "operator": "Exists"}
                                    ]
                                },
                                {
                                    "matchFields": [
                                        {
                                            "key": "metadata.name",
                                            "operator": "In",
                                            "values": ["n1", "n2"],
                                        }
                                    ]
                                },
                            ]
                        }
                    }
                }
            }
        }
    )
    here.settle()
    (job,) = here.all("Job")
    pod = job["spec"]["template"]["spec"]
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    pin = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
    assert [pin in term["matchFields"] for term in required["nodeSelectorTerms"]] == [True, True]
    assert any(t["key"] == "node.kubernetes.io/unschedulable" for t in pod["tolerations"])


def test_a_volume_that_gkm_makes_is_bound_to_its_node_by_the_hostname_label() -> None:
    here = world("n1", settings=ON_HOST)
    here.nodes = {"n1": replace(here.nodes["n1"], labels={names.LABEL_HOSTNAME: "other"})}
    here.settle()
    (volume,) = here.all("PersistentVolume")
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["other"]


def test_a_provisioned_claim_names_its_node_so_that_no_other_zone_is_chosen() -> None:
    here = world("n1")
    here.settle()
    (claim,) = here.all("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"][names.ANNOTATION_SELECTED_NODE] == "n1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"taints": (Taint("gpu", "yes", "NoSchedule"),)}, "taint gpu=yes:NoSchedule"),
        ({"labels": {}}, "nodeSelector asks for pool=gpu"),
    ],
)
def test_a_node_that_the_template_keeps_out_is_no_target_and_the_status_says_why(
    change: dict[str, Any], why: str
) -> None:
    here = world("n1")
    if "labels" in change:
        here.edit(podTemplate={"spec": {"nodeSelector": {"pool": "gpu"}}})
    here.nodes = {"n1": replace(here.nodes["n1"], **change)}
    here.settle()
    assert here.children() == []
    assert (here.ready["status"], here.ready["reason"]) == ("False", "Pending")
    assert why in here.ready["message"]
    assert "n1" not in here.ready["message"]


def test_a_toleration_lets_the_cache_onto_a_tainted_node() -> None:
    here = world("n1")
    here.nodes = {"n1": replace(here.nodes["n1"], taints=(Taint("gpu", "yes", "NoSchedule"),))}
    here.edit(podTemplate={"spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}})
    here.settle()
    assert len(here.all("Job")) == 1


def test_a_cordoned_node_is_filled_all_the_same() -> None:
    here = world("n1")
    taint = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
    here.nodes = {"n1": replace(here.nodes["n1"], taints=(taint,))}
    here.settle()
    assert len(here.all("Job")) == 1


def test_nodes_whose_gpus_do_not_fit_are_no_targets_and_if_none_fits_that_is_said() -> None:
    here = world("n1", "n2")
    here.reports["n2"] = report(here.nodes["n2"], MI210)
    here.settle()
    assert [j["metadata"]["labels"][names.LABEL_NODE] for j in here.all("Job")] == ["n1"]
    here = world("n1")
    here.reports["n1"] = report(here.nodes["n1"], MI210)
    here.settle()
    degraded = here.status["conditions"][3]
    assert (degraded["status"], degraded["reason"]) == ("True", "NoCompatibleNode")
    assert "this GPU is hip gfx90a" in degraded["message"]


@pytest.mark.parametrize("gpus", [(), None])
def test_a_node_without_gpus_or_report_gets_nothing_and_keeps_what_it_has(gpus: Any) -> None:
    fresh, old = world("n1"), served("n1")
    for here in (fresh, old):
        here.reports["n1"] = replace(report(here.nodes["n1"]), gpus=gpus)
        here.settle()
    assert fresh.children() == []
    before = list(old.writes)
    old.now += 86400
    old.settle()
    assert old.writes == before
    assert old.ready["reason"] == "Extracted"


def test_nothing_is_begun_on_a_node_that_is_not_ready_and_the_status_says_so() -> None:
    here = served("n1")
    here.nodes["n2"] = node("n2", trouble="NotReady")
    here.reports["n2"] = report(here.nodes["n2"], H100)
    before = len(here.all("Job")), here.children()
    here.settle()
    assert (len(here.all("Job")), here.children()) == before
    assert (here.ready["status"], here.ready["reason"]) == ("True", "Extracted")
    assert "a on n2: node n2 is NotReady" in here.status["conditions"][1]["message"]
    here.nodes["n2"] = node("n2")
    here.settle()
    fill(here, "n2")
    assert "2 of 2 copies for nodes" in here.ready["message"]


def test_a_node_that_is_not_meant_any_more_keeps_its_copy_for_ten_minutes() -> None:
    here = served("n1")
    here.reports["n1"] = report(here.nodes["n1"], MI210)
    wanted = here.settle()
    assert wanted.again == here.now + 600
    here.now += 599
    here.settle()
    assert serving(here, "n1")
    here.now += 2
    here.settle()
    here.now += 5
    here.settle()
    assert here.all("PersistentVolumeClaim") == []


def test_a_node_that_is_meant_again_in_time_loses_nothing() -> None:
    here = served("n1")
    here.reports["n1"] = report(here.nodes["n1"], MI210)
    here.settle()
    here.now += 500
    here.reports["n1"] = report(here.nodes["n1"], H100)
    here.settle()
    here.reports["n1"] = report(here.nodes["n1"], MI210)
    here.now += 500
    here.settle()
    assert serving(here, "n1")


def test_a_node_that_is_gone_takes_its_copy_along_without_a_job() -> None:
    here = served("n1", "n2", settings=ON_HOST)
    before = len(here.writes)
    del here.nodes["n2"]
    here.settle()
    here.now += 5
    here.settle()
    left = {o["metadata"]["labels"].get(names.LABEL_NODE) for o in here.all("PersistentVolume")}
    assert left == {"n1"}
    assert "create Job" not in here.writes[before:]
    assert here.status["counts"]["nodeCnt"] == 1


def test_a_node_replaced_under_its_name_gets_a_new_copy_under_a_new_name() -> None:
    here = served("n1", settings=ON_HOST)
    here.nodes["n1"] = node("n1", "uid-new")
    here.reports["n1"] = report(here.nodes["n1"], H100)
    here.users = [_pod("old", waiting("n1"))]
    here.settle()
    fresh = next(
        c
        for c in here.all("PersistentVolumeClaim")
        if c["metadata"]["annotations"][names.ANNOTATION_NODE_UID] == "uid-new"
    )
    assert fresh["metadata"]["name"].endswith("-staging")
    old = here.get("PersistentVolumeClaim", "a", waiting("n1"))
    assert old["metadata"]["annotations"][names.ANNOTATION_SUPERSEDED] == "Outdated"
    here.finish(node="n1")
    here.settle()
    assert here.get("PersistentVolumeClaim", "a", waiting("n1", "uid-new"))


def _pod(name: str, claim: str) -> dict[str, Any]:
    volumes = [{"name": "cache", "persistentVolumeClaim": {"claimName": claim}}]
    return {"metadata": {"name": name}, "spec": {"volumes": volumes}, "status": {}}


def update(here: World) -> None:
    here.edit(image="registry.test/kernels:v2")
    here.resolution = NEWER
    here.settle()


def test_a_new_image_is_published_beside_the_old_one_which_stays_five_minutes() -> None:
    here = served("n1")
    update(here)
    assert "superseded" not in str(serving(here, "n1"))
    assert here.ready["reason"] == "Outdated"
    fill(here, "n1", OTHER)
    new, old = serving(here, "n1", OTHER), serving(here, "n1")
    assert old["metadata"]["name"] == waiting("n1") != new["metadata"]["name"]
    assert old["metadata"]["annotations"][names.ANNOTATION_SUPERSEDED] == "Outdated"
    here.now += 299
    here.settle()
    assert serving(here, "n1")
    here.now += 2
    here.settle()
    here.now += 5
    here.settle()
    assert [c["metadata"]["name"] for c in here.all("PersistentVolumeClaim")] == [
        new["metadata"]["name"]
    ]
    assert here.ready["reason"] == "Extracted"


def test_going_back_takes_the_mark_off_and_extracts_nothing() -> None:
    here = served("n1")
    update(here)
    fill(here, "n1", OTHER)
    before = len(here.writes)
    here.edit(image="registry.test/kernels:v1")
    here.resolution = FOR_H100
    here.settle()
    assert here.ready["reason"] == "Extracted"
    assert names.ANNOTATION_SUPERSEDED not in serving(here, "n1")["metadata"]["annotations"]
    assert "create Job" not in here.writes[before:]


def test_a_bad_new_image_never_costs_the_good_copy() -> None:
    here = served("n1")
    update(here)
    here.end_job(Outcome("BadArchive", "no"), code=EXIT_RETRY, node="n1")
    here.settle()
    assert here.ready["reason"] == "Outdated"
    here.now += 86400
    here.settle()
    assert serving(here, "n1")


def test_a_third_image_reaches_a_node_that_joined_in_between() -> None:
    here = served("n1")
    update(here)
    here.nodes["n2"] = node("n2")
    here.reports["n2"] = report(here.nodes["n2"], H100)
    here.settle()
    here.edit(image="registry.test/kernels:v1")
    here.resolution = FOR_H100
    here.settle()
    fill(here, "n2")
    assert serving(here, "n2")["metadata"]["name"] == waiting("n2")
    assert here.ready["reason"] == "Extracted"
    assert "2 of 2" in here.ready["message"]


def test_as_many_extractions_begin_as_there_are_slots_and_the_rest_says_that_it_waits() -> None:
    here = world("n1", "n2", "n3", slots=1)
    wanted = here.plan()
    while any(type(a).__name__ != "CheckUse" for a in wanted.actions) and not here.all("Job"):
        for action in wanted.actions:
            here.obey(action)
        wanted = here.plan()
    here.slots = 0
    here.settle()
    assert len(here.all("Job")) == 1
    assert here.plan().queued
    assert "waits its turn" in here.status["conditions"][1]["message"]


def test_pods_and_nodes_are_counted_as_agents_report_them_each_for_its_own_cache() -> None:
    here = served("n1", "n2")
    entry = Entry("kernels", DIGEST, "a", waiting("n1"), 3)
    older = replace(entry, digest=OTHER, claim=waiting("n2"), pods=1)
    forged = replace(entry, claim="looks-alike", pods=50)
    here.entries = (("n1", entry), ("n1", forged), ("n2", older))
    here.settle()
    counts = here.status["counts"]
    assert (counts["nodeInUseCnt"], counts["nodeNotInUseCnt"]) == (2, 0)
    assert (counts["podRunningCnt"], counts["podOutdatedCnt"]) == (3, 1)
    assert here.ready["reason"] == "Outdated"
    here.entries = (("n1", entry),)
    here.settle()
    assert here.ready["reason"] == "Running"
    assert here.status["namespaces"][0]["phase"] == "Running"


def test_a_failed_node_is_an_error_that_is_named_while_the_others_serve() -> None:
    here = world("n1", "n2")
    here.settle()
    fill(here, "n1")
    here.end_job(Outcome("NoSpace", "disk is full"), code=EXIT_RETRY, node="n2")
    here.settle()
    assert (here.ready["status"], here.ready["reason"]) == ("False", "Error")
    assert here.status["failingNodes"] == [
        {"node": "n2", "reason": "NoSpace", "message": here.status["failingNodes"][0]["message"]}
    ]
    assert here.status["counts"]["nodeErrorCnt"] == 1
    assert here.status["namespaces"][0]["claim"] == "kernels"


def test_deletion_waits_for_users_marks_the_claim_and_leaves_nothing() -> None:
    here = served("n1", settings=ON_HOST)
    here.users = [_pod("worker", waiting("n1"))]
    here.delete_cache()
    here.settle()
    marked = here.get("PersistentVolumeClaim", "a", waiting("n1"))
    assert marked["metadata"]["annotations"][names.ANNOTATION_SUPERSEDED] == "Deleting"
    assert "worker" in here.ready["message"]


def test_the_targets_of_the_image_are_told_in_the_status_and_on_the_claims() -> None:
    here = served("n1")
    said = here.status["compiledFor"]
    assert said["targets"] == [{"backend": "cuda", "arch": "90", "warpSize": 32, "cudaVersion": ""}]
    assert here.status["environment"] == ["TRITON_CACHE_DIR"]
    told = serving(here, "n1")["metadata"]["annotations"][names.ANNOTATION_TARGETS]
    assert '"arch":"90"' in told


def test_an_image_that_names_no_gpu_goes_to_every_node_that_has_one() -> None:
    here = world("n1", resolution=FOUND)
    here.settle()
    assert len(here.all("Job")) == 1


def test_an_agent_that_is_down_for_a_minute_is_named_and_nothing_else_suffers() -> None:
    here = served("n1", "n2")
    before = here.children()
    here.silent = {"n2": here.now}
    assert here.settle().again == here.now + 60
    assert here.status["conditions"][3]["status"] == "False"
    here.now += 60
    here.settle()
    assert (here.ready["reason"], here.children()) == ("Extracted", before)
    degraded = here.status["conditions"][3]
    assert (degraded["status"], degraded["reason"]) == ("True", "AgentDown")
    assert "n2" in degraded["message"]


def test_an_image_for_other_gpus_never_costs_the_good_copy() -> None:
    here = served("n1")
    summary = '{"targets":[{"backend":"hip","arch":"gfx90a","warp_size":64}]}'
    here.edit(image="registry.test/kernels:v2")
    here.resolution = ImageFacts(OTHER, {"cache.triton.image/summary": summary}, 1000)
    for seconds in (0, 601, 5, 86400):
        here.now += seconds
        here.settle()
    assert serving(here, "n1")
    assert here.ready["reason"] == "Outdated"
    assert "does not fit" in here.ready["message"]


def test_a_short_taint_on_a_node_that_the_new_image_does_not_fit_costs_nothing() -> None:
    here = served("n1")
    summary = '{"targets":[{"backend":"hip","arch":"gfx90a","warp_size":64}]}'
    here.edit(image="registry.test/kernels:v2")
    here.resolution = ImageFacts(OTHER, {"cache.triton.image/summary": summary}, 1000)
    for seconds in (0, 4200):
        here.now += seconds
        here.settle()
    here.nodes["n1"] = replace(here.nodes["n1"], taints=(Taint("gpu", "", "NoSchedule"),))
    for seconds in (0, 6, 6):
        here.now += seconds
        here.settle()
    assert serving(here, "n1")


def test_a_restart_writes_nothing_about_a_copy_that_is_on_its_way_out() -> None:
    here = served("n1")
    here.users = [_pod("worker", waiting("n1"))]
    here.reports["n1"] = report(here.nodes["n1"], MI210)
    for seconds in (0, 601, 61):
        here.now += seconds
        here.settle()
    assert "being removed" in here.ready["message"] or "worker" in here.ready["message"]
    before = list(here.writes)
    here.leaving, here.uses = {}, {}
    here.plan()
    for action in here.plan().actions:
        here.obey(action)
    assert [w for w in here.writes[len(before) :] if w != "status"] == []


def test_after_going_back_the_other_copy_stays_until_every_webhook_knows() -> None:
    here = served("n1")
    here.users = [_pod("old", waiting("n1"))]
    update(here)
    fill(here, "n1", OTHER)
    here.now += 1000
    here.settle()
    here.edit(image="registry.test/kernels:v1")
    here.resolution = FOR_H100
    for seconds in (0, 5, 290):
        here.now += seconds
        here.settle()
        assert serving(here, "n1", OTHER)
    for seconds in (10, 5):
        here.now += seconds
        here.settle()
    assert len(here.all("PersistentVolumeClaim")) == 1


def test_the_pods_of_a_namespace_are_listed_once_for_all_its_claims() -> None:
    here = served("n1", "n2", "n3")
    here.users = [_pod("worker", waiting("n1"))]
    here.delete_cache()
    here.settle()
    assert here.lists == 1


def test_only_the_newest_of_the_earlier_copies_is_kept_for_a_bad_image() -> None:
    here = served("n1")
    here.users = [_pod("old", waiting("n1"))]
    here.now += 10
    update(here)
    fill(here, "n1", OTHER)
    third = "sha256:" + "ef" * 32
    here.edit(image="registry.test/kernels:v3")
    here.resolution = ImageFacts(third, FOR_H100.labels, 1000)
    here.settle()
    assert "superseded" in str(serving(here, "n1"))
    assert "superseded" not in str(serving(here, "n1", OTHER))
    assert "scale them to zero" not in here.ready["message"]


def test_while_a_new_image_cannot_be_looked_up_a_node_that_joins_gets_the_pinned_one() -> None:
    here = served("n1")
    here.nodes["n2"] = node("n2")
    here.reports["n2"] = report(here.nodes["n2"], H100)
    here.settle()
    here.edit(image="registry.test/kernels:typo")
    here.resolution = Trouble("ImageNotFound", "no such tag", here.now + 300)
    here.settle()
    fill(here, "n2")
    assert serving(here, "n2")
    assert here.ready["reason"] == "Outdated"
    assert "ImageNotFound" in here.ready["message"]


def test_a_claim_whose_volume_is_gone_is_replaced_though_pods_name_it() -> None:
    here = served("n1")
    here.users = [_pod("worker", waiting("n1"))]
    claim = serving(here, "n1")
    del here.objects["PersistentVolume", "", claim["spec"]["volumeName"]]
    here.change({**claim, "status": {"phase": "Lost"}})
    here.settle()
    assert [c["metadata"]["labels"]["gkm.io/role"] for c in here.all("PersistentVolumeClaim")] == [
        "staging"
    ]


def test_a_node_that_keeps_its_copy_for_a_while_is_counted_though_it_is_not_meant() -> None:
    here = served("n1")
    here.reports["n1"] = report(here.nodes["n1"], MI210)
    here.settle()
    counts = here.status["counts"]
    assert (counts["nodeCnt"], counts["nodeNotInUseCnt"]) == (1, 1)
    assert here.status["conditions"][3]["reason"] == "AsExpected"


def test_nodes_that_are_left_out_are_said_where_all_is_well() -> None:
    here = served("n1")
    here.nodes["n2"] = node("n2")
    here.reports["n2"] = report(here.nodes["n2"], MI210)
    here.settle()
    assert (
        "not meant for it: 1 node: the cache does not fit"
        in (here.status["conditions"][1]["message"])
    )


def test_a_look_alike_claim_counts_for_nobody() -> None:
    here = served("n1")
    forged = serving(here, "n1")
    forged["metadata"] |= {"name": "looks-alike", "uid": "forged"}
    here.change(forged)
    here.entries = (("n1", Entry("kernels", OTHER, "a", "looks-alike", 50)),)
    here.settle()
    assert here.status["counts"]["podOutdatedCnt"] == 0
