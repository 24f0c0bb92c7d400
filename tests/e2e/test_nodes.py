"""Nodes come, go, are replaced and fall silent: copies follow, and nothing is thrown away early."""

import time
from collections.abc import Iterator

import pytest

from gkm.api import names
from tests import stage as staging
from tests.cluster.cluster import Cluster
from tests.cluster.node import Node
from tests.e2e.actors import Actors, eventually
from tests.e2e.test_per_node import (
    check_hits,
    daemonset,
    items,
    nodes,
    per_node,
    pods,
    wait_workload,
)
from tests.stage import Stage, load_images

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]


@pytest.fixture
def cluster(stage: Stage) -> Cluster:
    """A cluster whose nodes we may start and stop."""
    if not isinstance(stage.cluster, Cluster):
        pytest.skip("only of our own cluster can nodes be added and taken away")
    return stage.cluster


@pytest.fixture
def added(stage: Stage, cluster: Cluster) -> Iterator[Node]:
    """One node more, with the images; gone at the end, if it is not gone before."""
    node = cluster.add_node()
    load_images(stage)
    yield node
    if node.name in {one.name for one in cluster.nodes}:
        cluster.remove_node(node)


def of_node(stage: Stage, kind: str, node: str) -> list[str]:
    """Names of the objects of GKM's that are about a node."""
    found = items(stage, kind, "-A", "-l", f"{names.LABEL_NODE}={node}")
    return [obj["metadata"]["name"] for obj in found]


def reports(stage: Stage) -> str:
    """Names of all CacheNodes."""
    return stage.kubectl("get", "gkmcachenode,clustergkmcachenode", "-A", "-o", "name")


def test_copies_follow_a_node_that_joins_is_replaced_under_its_name_and_goes(
    actors: Actors, stage: Stage, cluster: Cluster, added: Node
) -> None:
    """No pod ever runs on an empty folder: each must hit."""
    here = actors.namespace("joins")
    per_node(actors, here)
    actors.apply(daemonset(stage, here))
    check_hits(stage, wait_workload(stage, here, nodes(stage)))
    former = set(of_node(stage, "pvc", added.name))
    cluster.replace_node(added)
    check_hits(stage, wait_workload(stage, here, nodes(stage)))
    eventually(
        "the claims of the former node are gone",
        lambda: former.isdisjoint(of_node(stage, "pvc", added.name)),
    )
    cluster.remove_node(added)
    eventually("no claim of the node is left", lambda: not of_node(stage, "pvc", added.name))
    eventually("no volume of the node is left", lambda: not of_node(stage, "pv", added.name))
    eventually("no report of the node is left", lambda: added.name not in reports(stage))
    check_hits(stage, wait_workload(stage, here, nodes(stage)))
    actors.wait_ready("gkmcache", here, "kernels", "Running")


def test_a_node_that_is_cordoned_drained_and_silent_loses_nothing(
    actors: Actors, stage: Stage, cluster: Cluster
) -> None:
    here = actors.namespace("silent")
    per_node(actors, here)
    actors.apply(daemonset(stage, here))
    wait_workload(stage, here, nodes(stage))
    node = next(n for n in cluster.nodes if n.name == nodes(stage)[-1])
    stage.kubectl("cordon", node.name)
    stage.kubectl(
        "drain",
        node.name,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=60s",
        "--pod-selector",
        "app=workload",
    )
    before = {kind: sorted(of_node(stage, kind, node.name)) for kind in ("pvc", "pv")}
    node.stop_kubelet()
    try:
        eventually("the node is NotReady", lambda: not _ready(stage, node.name))
        time.sleep(10)
        kept = {kind: sorted(of_node(stage, kind, node.name)) for kind in before}
        assert kept == before
    finally:
        node.start_kubelet(print)
        stage.kubectl("uncordon", node.name)
    eventually("the node is Ready", lambda: _ready(stage, node.name))
    check_hits(stage, wait_workload(stage, here, nodes(stage)))
    assert {kind: sorted(of_node(stage, kind, node.name)) for kind in before} == before


def _ready(stage: Stage, node: str) -> bool:
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return stage.kubectl("get", "node", node, "-o", path) == "True"


def test_a_report_that_is_not_its_nodes_own_is_made_anew(stage: Stage) -> None:
    """One that does not go with its Node would speak for another machine of that name."""
    node = nodes(stage)[0]
    uid = _of_report(stage, node, ".metadata.uid")
    loose = '{"metadata":{"ownerReferences":null}}'
    stage.kubectl("patch", "clustergkmcachenode", node, "--type=merge", "-p", loose)
    eventually("it is made anew", lambda: _of_report(stage, node, ".metadata.uid") not in ("", uid))
    eventually("with its GPUs", lambda: "H100" in _of_report(stage, node, ".status.gpus"))


def _of_report(stage: Stage, node: str, path: str) -> str:
    where = ["clustergkmcachenode", node, "--ignore-not-found", "-o", f"jsonpath={{{path}}}"]
    return stage.kubectl("get", *where)


def test_a_late_driver_is_noticed_and_its_node_filled(actors: Actors, stage: Stage) -> None:
    here, node = actors.namespace("late"), nodes(stage)[0]
    mark = names.ANNOTATION_SIMULATED
    stage.kubectl("annotate", "node", node, f"{mark}=none")
    try:
        path = "jsonpath={.status.gpus}"
        eventually(
            f"{node} reports no GPU",
            lambda: stage.kubectl("get", "clustergkmcachenode", node, "-o", path) in ("", "[]"),
        )
        per_node(actors, here)
        actors.apply(daemonset(stage, here))
        rest = [name for name in nodes(stage) if name != node]
        eventually("the other nodes serve", lambda: _running(stage, here) == rest)
    finally:
        stage.kubectl("annotate", "node", node, f"{mark}-")
    check_hits(stage, wait_workload(stage, here, nodes(stage)))


def _running(stage: Stage, namespace: str) -> list[str]:
    found = (p for p in pods(stage, namespace) if p["status"].get("phase") == "Running")
    return sorted(pod["spec"]["nodeName"] for pod in found)


@pytest.fixture
def deaf(stage: Stage) -> Iterator[str]:
    """A node without an agent; the others keep theirs."""
    node, *others = nodes(stage)
    for other in (*others, *nodes(stage, tainted=True)):
        stage.kubectl("label", "node", other, "example.com/agent=yes")
    agent = {"simulatedGpus": staging.SIMULATED, "nodeSelector": {"example.com/agent": "yes"}}
    staging.install(stage, print, agent=agent)
    yield node
    staging.install(stage, print)
    stage.kubectl("label", "nodes", "--all", "example.com/agent-")


def test_a_node_whose_agent_is_down_is_named_and_pods_there_get_the_cache_all_the_same(
    actors: Actors, stage: Stage, deaf: str
) -> None:
    here = actors.namespace("deaf")
    per_node(actors, here)
    actors.apply(daemonset(stage, here))
    check_hits(stage, wait_workload(stage, here, nodes(stage)))

    def named() -> str:
        conditions = actors.get("gkmcache", here, "kernels")["status"]["conditions"]
        (found,) = (one for one in conditions if one["type"] == "Degraded")
        return str(found["message"]) if found["reason"] == "AgentDown" else ""

    said = eventually("the status says so", named)
    print(said)
    assert deaf in said
    assert actors.ready("gkmcache", here, "kernels")["status"] == "True"
