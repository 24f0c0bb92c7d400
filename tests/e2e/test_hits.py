"""It works only if Triton hits: real kernels, real containers, another path than they came from."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.actors import Actors, eventually
from tests.stage import EXAMPLES, Compiled, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]
COMPILATIONS = 9
"""Three kernels for CUDA sm_80, sm_90 and AMD gfx942."""


def workload(stage: Stage, namespace: str, name: str, *options: str) -> dict[str, Any]:
    """The pod of examples/01-namespace, moved into ``namespace``."""
    pod: dict[str, Any] = yaml.safe_load(stage.example("01-namespace/pod.yaml"))
    pod["metadata"] |= {"name": name, "namespace": namespace}
    pod["spec"]["containers"][0]["args"] = list(options)
    return pod


def run(actors: Actors, pod: dict[str, Any]) -> Compiled:
    """Run a workload to its end."""
    meta = pod["metadata"]
    actors.apply(pod)
    phase = actors.wait_pod(meta["namespace"], meta["name"], "Succeeded", "Failed")
    output = actors.logs(meta["namespace"], meta["name"], "workload")
    assert phase == "Succeeded", output
    print(output)
    return Compiled.read(output)


def test_every_kernel_hits_and_one_that_is_not_there_still_compiles(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("hit")
    actors.cache(here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")
    found = run(actors, workload(stage, here, "all"))
    assert (found.hits, found.misses, found.stages) == (COMPILATIONS, 0, 0)
    extra = run(actors, workload(stage, here, "extra", "--kernels", "extra"))
    assert extra.hits == 0
    assert extra.stages > 0


def test_the_same_image_misses_where_its_paths_were_not_made_to_fit(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("miss")
    actors.cache(here, "kernels", mountPath="/elsewhere")
    actors.wait_ready("gkmcache", here, "kernels")
    found = run(actors, workload(stage, here, "all"))
    assert (found.hits, found.misses) == (0, COMPILATIONS)
    assert found.stages > 0


@pytest.mark.parametrize("example", ["01-namespace", "02-cluster"])
def test_examples_hit_as_they_stand(actors: Actors, stage: Stage, example: str) -> None:
    cache, use = [
        [d for d in yaml.safe_load_all(stage.example(f"{example}/{path.name}")) if d]
        for path in sorted(path_of(example), key=lambda p: p.name != "cache.yaml")
    ]
    for obj in cache:
        meta = obj["metadata"]
        if obj["kind"] == "Namespace":
            actors.namespaces.append(meta["name"])
        else:
            actors.caches.append((obj["kind"], meta.get("namespace", ""), meta["name"]))
        actors.apply(obj)
    for obj in use:
        actors.apply(obj)
    for obj in use:
        namespace = obj["metadata"]["namespace"]
        for pod in finished(actors, namespace):
            output = actors.logs(namespace, pod, "workload")
            assert Compiled.read(output).hits == COMPILATIONS, output


def path_of(example: str) -> list[Path]:
    """Manifests of an example."""
    return list((EXAMPLES / example).glob("*.yaml"))


def finished(actors: Actors, namespace: str) -> list[str]:
    """Wait for the workload pods of a namespace; their names."""

    def look() -> list[str] | None:
        found = json.loads(actors.stage.kubectl("get", "pods", "-n", namespace, "-o", "json"))
        pods = [pod for pod in found["items"] if pod["spec"]["containers"][0]["name"] == "workload"]
        done = [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Succeeded"]
        return done if pods and len(done) == len(pods) else None

    return eventually(f"workload in {namespace}", look)
