"""Every field of the spec either takes effect when it is changed or cannot be: none is ignored.

Walks the CRD's own schema, so that a field which is new has to be entered here. The change is made
while the extraction is under way; what is filled is not filled again for the sake of the way there.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from gkm.api.crd import crd
from gkm.api.meta import RESOURCES
from gkm.api.names import CLUSTER_CACHE, CacheKey
from gkm.core.actions import Resolve
from tests.unit.world import World

Json = dict[str, Any]
MARK = "changed"
KEY = CacheKey(CLUSTER_CACHE, "", "kernels")
REFUSED = {"storageClassName", "accessModes", "mountPath"}
"""By a rule of the CRD; tests/e2e/test_api.py sees the API server do it."""
EXPRESSION = {"matchExpressions": [{"key": MARK, "operator": "Exists"}]}
REQUIRED = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [EXPRESSION]}}
IN_JOB: dict[str, Json] = {
    "imagePullSecrets": {"imagePullSecrets": [{"name": MARK}]},
    "podTemplate.metadata.labels": {"podTemplate": {"metadata": {"labels": {"a": MARK}}}},
    "podTemplate.metadata.annotations": {"podTemplate": {"metadata": {"annotations": {"a": MARK}}}},
    "podTemplate.spec.nodeSelector": {"podTemplate": {"spec": {"nodeSelector": {"a": MARK}}}},
    "podTemplate.spec.tolerations": {"podTemplate": {"spec": {"tolerations": [{"key": MARK}]}}},
    "podTemplate.spec.affinity": {
        "podTemplate": {"spec": {"affinity": {"nodeAffinity": REQUIRED}}}
    },
    "podTemplate.spec.priorityClassName": {"podTemplate": {"spec": {"priorityClassName": MARK}}},
}
"""Field and change; the value must be in the extraction Job afterwards."""
ELSEWHERE = {"image", "storageSize", "workloadNamespaces", "refresh"}


def filling() -> World:
    """A Cache whose Job runs."""
    world = World(key=KEY, spec={"workloadNamespaces": ["a"]}, namespaces={"a": False, "b": False})
    world.settle()
    assert len(world.all("Job")) == 1
    assert MARK not in str(world.objects)
    return world


def leaves(schema: Json, path: str = "") -> Iterator[str]:
    """The fields that a user sets; what is Kubernetes' own below them is one field."""
    for name, node in schema["properties"].items():
        here = f"{path}.{name}" if path else name
        if node.get("properties") and here != "podTemplate.spec.affinity":
            yield from leaves(node, here)
        else:
            yield here


def test_every_field_of_the_schema_is_accounted_for() -> None:
    version = crd(RESOURCES[CLUSTER_CACHE])["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert set(leaves(spec)) == REFUSED | set(IN_JOB) | ELSEWHERE


@pytest.mark.parametrize("field", IN_JOB)
def test_a_change_reaches_the_job_that_has_not_finished(field: str) -> None:
    world = filling()
    before = world.all("Job")[0]["metadata"]["uid"]
    world.edit(**IN_JOB[field])
    world.settle()
    (job,) = world.all("Job")
    assert job["metadata"]["uid"] != before
    assert MARK in str(job["spec"])


@pytest.mark.parametrize("field", IN_JOB)
def test_a_change_leaves_a_copy_that_serves_as_it_is(field: str) -> None:
    world = World()
    world.serve()
    before = world.children()
    world.edit(**IN_JOB[field])
    world.settle()
    assert (world.children(), world.ready["reason"]) == (before, "Extracted")
    assert world.status["observedGeneration"] == 2


def test_a_changed_image_is_looked_up() -> None:
    world = filling()
    world.edit(image=f"registry.test/kernels:{MARK}")
    world.resolution = None
    asked = [action for action in world.plan().actions if isinstance(action, Resolve)]
    assert [one.image for one in asked] == [f"registry.test/kernels:{MARK}"]


def test_a_changed_size_makes_the_claim_anew() -> None:
    world = filling()
    world.edit(storageSize="77Mi")
    world.settle()
    (claim,) = world.all("PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "77Mi"


def test_changed_namespaces_move_the_copies() -> None:
    world = filling()
    world.edit(workloadNamespaces=["b"])
    world.settle()
    assert [job["metadata"]["namespace"] for job in world.all("Job")] == ["b"]


def test_a_changed_interval_makes_the_tag_be_looked_up_in_time() -> None:
    world = World()
    world.serve()
    assert world.plan().again is None
    world.edit(refresh="1m")
    again = world.plan().again
    assert again is not None
    assert world.now < again <= world.now + 60
