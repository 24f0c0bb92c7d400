"""A copy on each node: every pod mounts its own node's, and real Triton hits in each."""

import json
from typing import Any

import pytest
import yaml

from gkm.api import names
from tests.e2e import proxies
from tests.e2e.actors import Actors, eventually
from tests.stage import EXAMPLES, Compiled, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]
Json = dict[str, Any]
COMPILATIONS, EXTRA = 9, 3
"""What the workload compiles, and what it compiles that no image holds."""
GPU_TAINT = "example.com/gpus"


def items(stage: Stage, kind: str, *where: str) -> list[Json]:
    found: list[Json] = json.loads(stage.kubectl("get", kind, *where, "-o", "json"))["items"]
    return found


def nodes(stage: Stage, *, tainted: bool = False) -> list[str]:
    """Names of the nodes that hold pods of any kind, or of those with special GPUs."""
    found = items(stage, "nodes")
    return [
        node["metadata"]["name"]
        for node in found
        if tainted == any(t["key"] == GPU_TAINT for t in node["spec"].get("taints") or ())
    ]


def apply_example(actors: Actors, file: str) -> list[Json]:
    documents = [d for d in yaml.safe_load_all(actors.stage.example(file)) if d]
    for obj in documents:
        meta = obj["metadata"]
        if obj["kind"] == "Namespace":
            actors.namespaces.append(meta["name"])
        elif obj["kind"].endswith("GKMCache"):
            actors.caches.append((obj["kind"], meta.get("namespace", ""), meta["name"]))
        actors.apply(obj)
    return documents


def pods(stage: Stage, namespace: str) -> list[Json]:
    return items(stage, "pods", "-n", namespace, "-l", "app=workload")


def results(stage: Stage, pod: Json) -> list[Compiled]:
    """What the runs of the workload in a pod printed, as far as they have ended."""
    meta = pod["metadata"]
    said = stage.kubectl(
        "logs", "-n", meta["namespace"], meta["name"], "-c", "workload", "--ignore-errors"
    )
    return [Compiled.read(line) for line in said.splitlines() if line.startswith("{")]


def wait_workload(stage: Stage, namespace: str, on: list[str], runs: int = 2) -> list[Json]:
    """Wait until a workload pod has run on each of these nodes; the pods."""

    def look() -> list[Json] | None:
        found = [p for p in pods(stage, namespace) if p["status"].get("phase") == "Running"]
        here = sorted(pod["spec"].get("nodeName", "") for pod in found)
        done = here == sorted(on) and all(len(results(stage, p)) >= runs for p in found)
        return found if done else None

    return eventually(f"workload in {namespace} ran on {len(on)} nodes", look)


def claim_of(stage: Stage, pod: Json) -> Json:
    """The claim of GKM's that a pod mounts."""
    (name,) = (
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    )
    found: Json = json.loads(
        stage.kubectl("get", "pvc", "-n", pod["metadata"]["namespace"], name, "-o", "json")
    )
    return found


def check_hits(stage: Stage, found: list[Json]) -> None:
    for pod in found:
        node = pod["spec"]["nodeName"]
        claim = claim_of(stage, pod)
        assert claim["metadata"]["annotations"][names.ANNOTATION_NODE] == node
        cached, extra = results(stage, pod)[:2]
        print(f"{pod['metadata']['namespace']} on {node}: {cached}, then {extra}")
        assert (cached.hits, cached.misses) == (COMPILATIONS, 0)
        assert (extra.hits, extra.misses) == (0, EXTRA)


@pytest.mark.parametrize(
    ("example", "tainted"),
    [("03-daemonset", False), ("04-cluster-daemonset", False), ("05-tainted-nodes", True)],
)
def test_daemonset_examples_hit_on_every_node_as_they_stand(
    actors: Actors, stage: Stage, example: str, tainted: bool
) -> None:
    """Created at the same time as the Cache; a kernel that it does not hold compiles."""
    assert (EXAMPLES / example / "README.md").exists()
    made = apply_example(actors, f"{example}/cache.yaml")
    users = apply_example(actors, f"{example}/daemonset.yaml")
    for obj in users:
        namespace = obj["metadata"]["namespace"]
        check_hits(stage, wait_workload(stage, namespace, nodes(stage, tainted=tainted)))
    cache = made[-1]
    where = cache["metadata"].get("namespace", "")
    actors.wait_ready(cache["kind"], where, cache["metadata"]["name"], "Running")
    for kind in ("gkmcache", "clustergkmcache", "gkmcachenode", "clustergkmcachenode"):
        print(stage.kubectl("get", kind, *(["-A"] if kind.startswith("gkm") else [])))


def daemonset(stage: Stage, namespace: str, claim: str = "kernels") -> Json:
    """The DaemonSet of examples/03-daemonset, moved into ``namespace``."""
    made: Json = yaml.safe_load(stage.example("03-daemonset/daemonset.yaml"))
    made["metadata"]["namespace"] = namespace
    made["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = claim
    return made


def per_node(actors: Actors, namespace: str, **spec: Any) -> None:
    actors.cache(namespace, "kernels", accessModes=["ReadWriteOnce"], **spec)


def refusals(stage: Stage, namespace: str) -> list[str]:
    found = items(stage, "events", "-n", namespace)
    return [e["message"] for e in found if e["reason"] == "FailedCreate"]


def test_pods_before_the_cache_are_refused_with_words_and_run_once_it_is_there(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("early")
    actors.apply(daemonset(stage, here))
    said = eventually("a refusal", lambda: refusals(stage, here))
    print(said[0])
    assert "kernels" in said[0]
    per_node(actors, here)
    check_hits(stage, wait_workload(stage, here, nodes(stage)))


def test_a_node_whose_gpus_do_not_fit_gets_nothing_and_the_status_says_why(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("misfit")
    node = nodes(stage)[-1]
    mark = f"{names.ANNOTATION_SIMULATED}=type=T4,driver=535.104.05"
    stage.kubectl("annotate", "node", node, mark)
    try:
        eventually(f"{node} reports its T4", lambda: "T4" in _gpus(stage, node))
        per_node(actors, here)
        actors.wait_ready("gkmcache", here, "kernels")
        assert _counts(actors, here)["nodeCnt"] == len(nodes(stage)) - 1
        claims = items(stage, "pvc", "-n", here)
        assert node not in {c["metadata"]["annotations"][names.ANNOTATION_NODE] for c in claims}
    finally:
        stage.kubectl("annotate", "node", node, f"{names.ANNOTATION_SIMULATED}-")
    eventually(f"{node} reports its own", lambda: "T4" not in _gpus(stage, node))
    eventually(
        "a copy on every node",
        lambda: _counts(actors, here)["nodeNotInUseCnt"] == len(nodes(stage)),
    )


def _counts(actors: Actors, namespace: str) -> dict[str, int]:
    found: dict[str, int] = actors.get("gkmcache", namespace, "kernels")["status"]["counts"]
    return found


def _gpus(stage: Stage, node: str) -> str:
    return stage.kubectl("get", "clustergkmcachenode", node, "-o", "jsonpath={.status.gpus}")


def digests(stage: Stage, namespace: str) -> dict[str, str]:
    """Of each running workload pod: the digest of the copy that it mounts."""
    running = (p for p in pods(stage, namespace) if p["status"].get("phase") == "Running")
    return {
        pod["spec"]["nodeName"]: claim_of(stage, pod)["metadata"]["annotations"][
            names.ANNOTATION_DIGEST
        ]
        for pod in running
        if "deletionTimestamp" not in pod["metadata"]
    }


def set_image(actors: Actors, namespace: str, image: str) -> None:
    patch = json.dumps({"spec": {"image": image}})
    where = ["gkmcache", "kernels", "-n", namespace, "--type=merge", "-p", patch]
    actors.stage.kubectl("patch", *where)


def restart(stage: Stage, namespace: str, on: list[str]) -> list[Json]:
    before = {pod["metadata"]["uid"] for pod in pods(stage, namespace)}
    stage.kubectl("delete", "pods", "-n", namespace, "-l", "app=workload", "--wait=true")
    found = wait_workload(stage, namespace, on)
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in found)
    return found


def test_a_bad_image_costs_nobody_the_good_copy_and_back_or_on_works_on_every_node(
    actors: Actors, stage: Stage, compiled: str, other_image: str
) -> None:
    here, every = actors.namespace("update"), nodes(stage)
    good, other = (image.rpartition("@")[2] for image in (compiled, other_image))
    per_node(actors, here)
    actors.apply(daemonset(stage, here))
    wait_workload(stage, here, every)
    set_image(actors, here, stage.cache_reference("v2", proxies.TORN))
    failing = actors.wait_ready("gkmcache", here, "kernels", "Outdated")
    print(failing["message"])
    assert set(digests(stage, here).values()) == {good}
    check_hits(stage, restart(stage, here, every))
    set_image(actors, here, stage.cache_reference("v1"))
    actors.wait_ready("gkmcache", here, "kernels", "Running")
    set_image(actors, here, stage.cache_reference("v2"))

    def on_every_node() -> bool:
        found = items(stage, "pvc", "-n", here, "-l", "gkm.io/role=serving")
        bound = [c["metadata"]["annotations"] for c in found if c["status"]["phase"] == "Bound"]
        return [one[names.ANNOTATION_DIGEST] for one in bound].count(other) == len(every)

    eventually("the third image is beside the first on every node", on_every_node)
    ready = actors.wait_ready("gkmcache", here, "kernels", "Outdated")
    print(ready["message"])
    restart(stage, here, every)
    assert digests(stage, here) == dict.fromkeys(every, other)
    actors.wait_ready("gkmcache", here, "kernels", "Running")
