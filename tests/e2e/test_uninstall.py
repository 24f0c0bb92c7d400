"""`helm uninstall` ends cleanly, or says what holds it up and takes nothing away."""

from collections.abc import Iterator

import pytest

from tests import stage as staging
from tests.e2e.actors import Actors, no_operator, reading
from tests.stage import NAMESPACE, ROOT, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled", "alone")]


@pytest.fixture
def installed_again(stage: Stage) -> Iterator[None]:
    yield
    uninstall(stage, "--ignore-not-found")  # only a failed test leaves anything of it
    staging.install(stage, print)


@pytest.mark.usefixtures("installed_again")
def test_uninstalling_waits_for_pods_names_them_and_then_leaves_nothing(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("last")
    actors.cache(here, "kernels")
    actors.cluster_cache("all", workloadNamespaces=[here])
    actors.wait_ready("gkmcache", here, "kernels")
    actors.pod(here, "user", "kernels", reading(1000))
    actors.wait_pod(here, "user", "Running")
    with pytest.raises(RuntimeError, match="timed out"):
        uninstall(stage, "--timeout", "20s")
    said = stage.kubectl("logs", "-n", NAMESPACE, "job/gkm-uninstall")
    print(said)
    assert f"GKMCache/{here}/kernels: claim {here}/kernels is used by pod user" in said
    stage.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/gkm-operator", "--timeout=5s")
    assert "used by pod user" in actors.ready("gkmcache", here, "kernels")["message"]
    actors.delete("pod", here, "user")
    uninstall(stage, "--timeout", "90s")
    assert stage.kubectl("get", "gkmcache,clustergkmcache", "-A", "-o", "name") == ""
    assert actors.leftovers() == []
    left = "deployments,serviceaccounts,roles,rolebindings,jobs"
    names = stage.kubectl("get", left, "-n", NAMESPACE, "-o", "name").split()
    assert names == ["serviceaccount/default"]


def uninstall(stage: Stage, *options: str) -> None:
    staging.helm(stage, "uninstall", "gkm", "--namespace", NAMESPACE, *options, log=print)


def test_f121_without_an_operator_the_documented_command_lets_a_cache_go_and_the_next_cleans_up(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("orphaned")
    actors.cache(here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")
    with no_operator(stage):
        actors.delete("gkmcache", here, "kernels", wait=False)
        patch = '{"metadata":{"finalizers":null}}'
        assert f"-p '{patch}'" in (ROOT / "README.md").read_text()
        which = ("gkmcache", "kernels", "-n", here)
        stage.kubectl("patch", *which, "--type=merge", "-p", patch)
        stage.kubectl("wait", *which, "--for=delete", "--timeout=10s")
        assert any("PersistentVolumeClaim" in left for left in actors.leftovers())
    actors.wait_clean()
