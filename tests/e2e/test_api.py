"""What the API server itself refuses, fills in and explains, because the CRDs say so."""

import json
from typing import Any

import pytest

from tests.cluster.report import ClusterError
from tests.e2e.actors import Actors
from tests.stage import Stage

pytestmark = pytest.mark.cluster
IMAGE = "registry.example.com/kernels:v1"
BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "image missing": ("GKMCache", {}, "spec.image"),
    "mode ReadWriteOncePod": (
        "GKMCache",
        {"image": IMAGE, "accessModes": ["ReadWriteOncePod"]},
        "supported values",
    ),
    "mount path relative": ("GKMCache", {"image": IMAGE, "mountPath": "cache"}, "mountPath"),
    "mount path with dots": ("GKMCache", {"image": IMAGE, "mountPath": "/a/../b"}, "mountPath"),
    "size without meaning": ("GKMCache", {"image": IMAGE, "storageSize": "big"}, "storageSize"),
    "namespaces on a GKMCache": (
        "GKMCache",
        {"image": IMAGE, "workloadNamespaces": ["a"]},
        "workloadNamespaces",
    ),
}


def dry_run(stage: Stage, obj: dict[str, Any]) -> str:
    return stage.kubectl(
        "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(obj)
    )


def cache(kind: str, spec: dict[str, Any], name: str = "kernels") -> dict[str, Any]:
    place = {"namespace": "default"} if kind == "GKMCache" else {}
    meta = {"name": name} | place
    return {"apiVersion": "gkm.io/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_spec_is_refused_and_the_field_is_named(stage: Stage, case: str) -> None:
    kind, spec, words = BAD[case]
    with pytest.raises(ClusterError, match=words):
        dry_run(stage, cache(kind, spec))


def test_a_name_that_no_claim_can_have_is_refused(stage: Stage) -> None:
    for name in ("a.b", "a" * 64):
        with pytest.raises(ClusterError, match=r"metadata.name|63"):
            dry_run(stage, cache("GKMCache", {"image": IMAGE}, name))


def test_defaults_are_filled_in(stage: Stage) -> None:
    made = json.loads(dry_run(stage, cache("ClusterGKMCache", {"image": IMAGE})))
    assert made["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert made["spec"]["mountPath"] == "/cache"


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    ("field", "value"), [("mountPath", "/other"), ("storageClassName", "x"), ("accessModes", [])]
)
def test_what_cannot_change_later_is_refused_with_what_to_do(
    actors: Actors, field: str, value: object
) -> None:
    here = actors.namespace("fixed")
    actors.cache(here, "kernels")
    with pytest.raises(ClusterError, match=r"delete|at least"):
        actors.cache(here, "kernels", **{field: value})
    actors.wait_ready("gkmcache", here, "kernels")


def test_fields_are_explained(stage: Stage) -> None:
    told = stage.kubectl("explain", "gkmcache.spec.accessModes")
    assert "Cannot be changed later" in " ".join(told.split())


def test_short_names_and_the_category_work(stage: Stage) -> None:
    for name in ("gkmc", "cgkmc", "gkmcn", "cgkmcn", "gkm"):
        stage.kubectl("get", name, "-A")
