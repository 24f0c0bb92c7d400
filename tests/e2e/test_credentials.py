"""Images of a registry with login and a private authority: who may, who may not, and no leak."""

import base64
import json
from collections.abc import Iterator

import pytest

from tests.cluster.report import ClusterError
from tests.e2e.actors import Actors, Json, eventually
from tests.e2e.private_registry import PrivateRegistry
from tests.stage import NAMESPACE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]
WRONG = "wrong-canary-5Tz3"
NO_LOGIN = "there is no login for it in spec.imagePullSecrets"
REFUSED = "the login of spec.imagePullSecrets was refused"


@pytest.fixture
def image(stage: Stage, private: PrivateRegistry) -> str:
    return stage.cache_reference("v1").replace(stage.registry, private.host, 1)


@pytest.fixture
def shared_secret(actors: Actors, stage: Stage, private: PrivateRegistry) -> Iterator[str]:
    """The right Secret in GKM's own namespace; its name."""
    name = f"{actors.prefix}-login"
    secret(actors, NAMESPACE, name, private.docker_config())
    yield name
    stage.kubectl("delete", "secret", name, "-n", NAMESPACE)


def secret(actors: Actors, namespace: str, name: str, config: str) -> None:
    meta = {"name": name, "namespace": namespace}
    data = {".dockerconfigjson": config}
    kind = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson"}
    actors.apply({**kind, "metadata": meta, "stringData": data})


def pulling(*names: str) -> list[Json]:
    return [{"name": name} for name in names]


def told(actors: Actors, name: str, words: str) -> str:
    """Wait until the status of a ClusterGKMCache says it; returns the status."""

    def look() -> str | None:
        found = json.dumps(actors.get("clustergkmcache", "", name).get("status"))
        return found if words in found else None

    return eventually(f"status of {name}: {words}", look)


def test_the_right_secret_among_others_resolves_and_extracts(
    actors: Actors, private: PrivateRegistry, image: str
) -> None:
    here = actors.namespace("right")
    secret(actors, here, "stale", private.docker_config(WRONG))
    secret(actors, here, "login", private.docker_config())
    actors.cache(here, "kernels", image=image, imagePullSecrets=pulling("stale", "login"))
    actors.wait_ready("gkmcache", here, "kernels")


def test_without_a_secret_the_error_names_the_registry_and_the_field(
    actors: Actors, private: PrivateRegistry, image: str
) -> None:
    here = actors.namespace("none")
    actors.cache(here, "kernels", image=image)
    said = actors.wait_ready("gkmcache", here, "kernels", "Error")["message"]
    assert f"registry {private.host} does not show '{image}'" in said
    assert NO_LOGIN in said


def test_a_wrong_password_is_told_and_heals_once_the_secret_is_corrected(
    actors: Actors, private: PrivateRegistry, image: str
) -> None:
    here = actors.namespace("wrong")
    secret(actors, here, "login", private.docker_config(WRONG))
    actors.cache(here, "kernels", image=image, imagePullSecrets=pulling("login"))
    said = actors.wait_ready("gkmcache", here, "kernels", "Error")["message"]
    assert REFUSED in said
    secret(actors, here, "login", private.docker_config())
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_missing_secret_is_named_and_heals_once_it_exists(
    actors: Actors, private: PrivateRegistry, image: str
) -> None:
    here = actors.namespace("late")
    actors.cache(here, "kernels", image=image, imagePullSecrets=pulling("not-there-yet"))
    said = actors.wait_ready("gkmcache", here, "kernels", "Error")["message"]
    assert "not-there-yet" in said
    secret(actors, here, "not-there-yet", private.docker_config())
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_clustergkmcache_needs_the_secret_here_and_in_each_of_its_namespaces(
    actors: Actors, private: PrivateRegistry, image: str, shared_secret: str
) -> None:
    has, lacks = actors.namespace("has"), actors.namespace("lacks")
    secret(actors, has, shared_secret, private.docker_config())
    secrets = pulling(shared_secret)
    places = [has, lacks]
    name = actors.cluster_cache(
        "shared", image=image, imagePullSecrets=secrets, workloadNamespaces=places
    )
    told(actors, name, NO_LOGIN)
    states = actors.get("clustergkmcache", "", name)["status"]["namespaces"]
    failed = {one["namespace"]: one.get("message", "") for one in states}[lacks]
    assert NO_LOGIN in failed
    secret(actors, lacks, shared_secret, private.docker_config())
    actors.wait_ready("clustergkmcache", "", name)


def test_no_password_is_ever_shown(
    actors: Actors, stage: Stage, private: PrivateRegistry, image: str, shared_secret: str
) -> None:
    here = actors.namespace("leak")
    secret(actors, here, shared_secret, private.docker_config(WRONG))
    name = actors.cluster_cache(
        "leak", image=image, imagePullSecrets=pulling(shared_secret), workloadNamespaces=[here]
    )
    seen = [eventually("a Job that is refused", lambda: _refused_job(stage, here))]
    seen += [told(actors, name, REFUSED), _everything(stage)]
    secret(actors, here, shared_secret, private.docker_config())
    actors.wait_ready("clustergkmcache", "", name)
    seen.append(_everything(stage))
    for password in (WRONG, private.login.password):
        login = f"{private.login.username}:{password}"
        for text in (password, *map(_base64, (login, private.docker_config(password)))):
            assert not any(text in one for one in seen)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _refused_job(stage: Stage, namespace: str) -> str | None:
    """What an extraction that failed leaves behind: Job, pod, log."""
    found = stage.kubectl("get", "jobs,pods", "-n", namespace, "-o", "json")
    for obj in json.loads(found)["items"]:
        if obj["kind"] == "Pod" and obj["status"].get("phase") == "Failed":
            try:
                log = stage.kubectl("logs", "-n", namespace, obj["metadata"]["name"])
            except ClusterError:  # the operator took the Job away meanwhile; there will be others
                return None
            return found + log if "Unauthorized" in log else None
    return None


def _everything(stage: Stage) -> str:
    """All objects that are no Secrets, and the operator's logs."""
    kinds = "gkmcaches,clustergkmcaches,events,jobs,pods,pvc,pv,configmaps,deployments"
    objects = stage.kubectl("get", kinds, "-A", "-o", "json")
    pods = stage.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name").split()
    operators = [pod for pod in pods if pod.startswith("pod/gkm-operator")]
    assert operators
    logs = [stage.kubectl("logs", "-n", NAMESPACE, pod, "--tail=-1") for pod in operators]
    return objects + "".join(logs)
