"""What a user gets wrong shows where users look, with what to do, and heals when mended."""

import json
from typing import Any

import pytest

from gkm.api.names import CACHE, CacheKey, child_name, copy_id
from tests import push
from tests.e2e import proxies
from tests.e2e.actors import Actors, eventually
from tests.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled")]
REPOSITORY = "gkm/triton-cache"


def told(actors: Actors, namespace: str, *words: str, reason: str = "Error") -> str:
    """Wait until the Cache says all of ``words`` with this reason; its message."""

    def look() -> str | None:
        found = actors.ready("gkmcache", namespace, "kernels")
        good = found["reason"] == reason and all(word in found["message"] for word in words)
        return str(found["message"]) if good else None

    try:
        message = eventually(f"said {words[0]}", look)
    except AssertionError as error:
        found = actors.get("gkmcache", namespace, "kernels").get("status")
        raise AssertionError(f"{error}; status: {json.dumps(found)}") from None
    print(f"    {message}")
    described = actors.stage.kubectl("describe", "gkmcache", "kernels", "-n", namespace)
    assert all(word in " ".join(described.split()) for word in words), described
    if reason == "Error":
        assert "Warning" in described.partition("Events:")[2], described
    return message


def quota(actors: Actors, namespace: str, claims: int) -> None:
    hard = {"persistentvolumeclaims": str(claims)}
    meta = {"name": "claims", "namespace": namespace}
    actors.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}
    )

    def counted() -> bool:
        status = actors.get("resourcequota", namespace, "claims").get("status") or {}
        return bool(status.get("hard") == hard)

    eventually("the quota holds", counted)


def test_an_image_that_does_not_exist_is_said_and_its_arrival_heals_it(
    actors: Actors, stage: Stage
) -> None:
    here, tag = actors.namespace("typo"), f"late-{actors.prefix}"
    actors.cache(here, "kernels", image=stage.cache_reference(tag))
    told(actors, here, "ImageNotFound", tag, stage.registry)
    push.tag(stage.registry, REPOSITORY, "v1", tag)
    actors.wait_ready("gkmcache", here, "kernels")


def test_an_image_that_holds_no_cache_is_refused_and_an_edit_heals_it(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("foreign")
    push.image(stage.registry, "gkm/foreign", "v1", {"org.example": "no cache"})
    actors.cache(here, "kernels", image=f"{stage.registry}/gkm/foreign:v1")
    told(actors, here, "NotACacheImage", "gkm pack")
    actors.cache(here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_registry_that_is_down_is_said_and_heals_by_itself(actors: Actors, stage: Stage) -> None:
    here = actors.namespace("down")
    actors.cache(here, "kernels", image=stage.cache_reference("v1", proxy=proxies.LATE))
    told(actors, here, "RegistryUnavailable", stage.proxies[proxies.LATE])
    proxies.run(stage, proxies.LATE)
    actors.wait_ready("gkmcache", here, "kernels")


def test_bytes_that_are_not_those_of_the_digest_are_never_published(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("torn")
    actors.cache(here, "kernels", image=stage.cache_reference("v1", proxy=proxies.TORN))
    told(actors, here, "DigestMismatch", "tried again")
    assert "kernels\n" not in stage.kubectl("get", "pvc", "-n", here, "-o", "name")
    actors.cache(here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_cache_too_large_for_the_size_asked_for_is_refused_with_both_sizes(
    actors: Actors,
) -> None:
    here = actors.namespace("small")
    actors.cache(here, "kernels", storageSize="4Ki")
    told(actors, here, "TooLarge", "spec.storageSize allows 4096: raise it")
    actors.cache(here, "kernels", storageSize="64Mi")
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_storage_class_that_does_not_exist_is_named_and_its_creation_heals_it(
    actors: Actors,
) -> None:
    here, name = actors.namespace("class"), f"{actors.prefix}-class"
    actors.cache(here, "kernels", storageClassName=name)
    told(actors, here, f"no StorageClass {name}", "create it", "shared")
    shared = actors.get("storageclass", "", "shared")
    actors.apply({**shared, "metadata": {"name": name}})
    try:
        actors.wait_ready("gkmcache", here, "kernels")
        actors.delete("gkmcache", here, "kernels")
        actors.wait_clean()
    finally:
        actors.delete("storageclass", "", name)


def test_a_quota_that_leaves_no_room_is_quoted_and_raising_it_heals(actors: Actors) -> None:
    here = actors.namespace("quota")
    quota(actors, here, 0)
    actors.cache(here, "kernels")
    told(actors, here, "exceeded quota: claims", "raise the quota")
    quota(actors, here, 1)
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_pod_that_no_node_may_run_is_explained_by_the_scheduler(actors: Actors) -> None:
    here = actors.namespace("nowhere")
    actors.cache(here, "kernels", podTemplate={"spec": {"nodeSelector": {"no-node": "has-this"}}})
    told(actors, here, "Unschedulable", "didn't match Pod's node affinity", reason="Pending")
    actors.cache(here, "kernels", podTemplate={})
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_pod_that_a_limit_forbids_is_explained_by_the_refusal(actors: Actors) -> None:
    here = actors.namespace("limits")
    limits: dict[str, Any] = {"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]}
    meta = {"name": "tiny", "namespace": here}
    actors.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": limits})
    actors.cache(here, "kernels")
    told(actors, here, "FailedCreate", "maximum memory usage per Container", reason="Pending")


def test_a_pod_that_the_namespaces_security_forbids_is_explained_by_the_refusal(
    actors: Actors, stage: Stage
) -> None:
    if not stage.host_path:
        pytest.skip("only the permission fix of hostPath volumes is more than `restricted` allows")
    here, level = actors.namespace("forbids"), "pod-security.kubernetes.io/enforce"
    stage.kubectl("label", "namespace", here, f"{level}=restricted", "--overwrite")
    actors.cache(here, "kernels")
    told(actors, here, "FailedCreate", "violates PodSecurity", reason="Pending")
    stage.kubectl("label", "namespace", here, f"{level}=baseline", "--overwrite")
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_claim_that_belongs_to_somebody_else_is_named_and_left_alone(actors: Actors) -> None:
    here = actors.namespace("taken")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    meta = {"name": "kernels", "namespace": here}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
    actors.apply(claim)
    before = actors.get("pvc", here, "kernels")["metadata"]
    actors.cache(here, "kernels")
    told(actors, here, "NameTaken", f"{here}/kernels", "delete it, or give the Cache another name")
    after = actors.get("pvc", here, "kernels")["metadata"]
    assert (after["uid"], after["resourceVersion"]) == (before["uid"], before["resourceVersion"])
    actors.delete("pvc", here, "kernels")
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_job_that_belongs_to_somebody_else_is_named_and_left_alone(
    actors: Actors, stage: Stage
) -> None:
    here = actors.namespace("job")
    quota(actors, here, 0)
    actors.cache(here, "kernels")
    told(actors, here, "exceeded quota")
    cache = actors.get("gkmcache", here, "kernels")
    key, digest = CacheKey(CACHE, here, "kernels"), cache["status"]["resolvedDigest"]
    name = child_name("kernels", copy_id(key, cache["metadata"]["uid"], here, "", digest))
    container = {"name": "main", "image": stage.gkm_image}
    pod = {"restartPolicy": "Never", "containers": [container]}
    job = {"suspend": True, "template": {"spec": pod}}
    meta = {"name": name, "namespace": here}
    actors.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": job})
    quota(actors, here, 2)
    told(actors, here, "NameTaken", f"Job {here}/{name}", "delete it")
    assert actors.get("job", here, name)["spec"]["suspend"] is True
    actors.delete("job", here, name)
    actors.wait_ready("gkmcache", here, "kernels")


def test_a_namespace_that_is_missing_is_named_and_served_once_it_exists(actors: Actors) -> None:
    late = f"{actors.prefix}-late"
    name = actors.cluster_cache("late", workloadNamespaces=[late])
    found = actors.wait_ready("clustergkmcache", "", name, "NoNamespace")
    assert f"namespace {late} does not exist: create it" in found["message"]
    actors.namespace("late")
    actors.wait_ready("clustergkmcache", "", name)
