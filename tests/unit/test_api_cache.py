"""The models read what an API server holds, and write what it accepts."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from gkm.api.cache import CacheSpec, CacheStatus, Condition, Counts, NamespaceStatus
from gkm.api.cachenode import CacheNodeStatus

FULL_SPEC = {
    "image": "quay.io:5000/gkm/vector-add@sha256:" + "a" * 64,
    "imagePullSecrets": [{"name": "registry"}],
    "podTemplate": {
        "metadata": {"labels": {"team": "ml"}, "annotations": {"note": "x"}},
        "spec": {
            "nodeSelector": {"gpu": "true"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}],
            "affinity": {"podAffinity": {"anything": [1, {"a": None}]}},
            "priorityClassName": "high",
        },
    },
    "storageClassName": "fast",
    "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
    "mountPath": "/home/vllm/.cache/vllm",
    "storageSize": "1.5Gi",
    "workloadNamespaces": ["a", "b"],
    "refresh": "10m",
}
FULL_STATUS = {
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Extracted",
            "message": "done",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
            "observedGeneration": 3,
        }
    ],
    "observedGeneration": 3,
    "resolvedImage": "quay.io/gkm/vector-add:v1",
    "resolvedDigest": "sha256:" + "b" * 64,
    "resolvedBytes": 1 << 40,
    "counts": {"nodeCnt": 2, "nodeErrorCnt": 0},
    "namespaces": [{"namespace": "a", "claim": "c", "phase": "Extracted", "message": ""}],
    "compiledFor": {
        "targets": [{"backend": "cuda", "arch": "90", "warpSize": 32, "cudaVersion": "12.8"}],
        "doubt": "",
    },
    "environment": ["TRITON_CACHE_DIR"],
    "failingNodes": [{"node": "n1", "reason": "NoSpace", "message": "disk is full"}],
    "lastUpdated": "2026-01-02T03:04:05Z",
}


def test_spec_comes_back_as_it_was_written() -> None:
    assert CacheSpec.model_validate(FULL_SPEC).dump() == FULL_SPEC


def test_status_comes_back_as_it_was_written() -> None:
    assert CacheStatus.model_validate(FULL_STATUS).dump() == FULL_STATUS


def test_defaults() -> None:
    spec = CacheSpec.model_validate({"image": "a"})
    assert spec.access_modes == ("ReadWriteOnce",)
    assert spec.mount_path == "/cache"
    assert spec.refresh is spec.storage_size is spec.storage_class_name is None
    assert spec.pod_template.dump() == {
        "metadata": {"labels": {}, "annotations": {}},
        "spec": {"nodeSelector": {}, "tolerations": []},
    }


def test_what_only_the_crd_refuses_stays_readable() -> None:
    odd = {"image": "", "refresh": "soon", "accessModes": ["ReadWriteOncePod"], "mountPath": ".."}
    assert CacheSpec.model_validate(odd).refresh == "soon"


def test_unknown_fields_are_ignored_at_every_level() -> None:
    spec = CacheSpec.model_validate({"image": "a", "new": 1, "podTemplate": {"new": {"x": 1}}})
    status = CacheStatus.model_validate({"pvcOwner": "Agent", "counts": {"nodeCnt": 1, "x": 2}})
    assert spec == CacheSpec(image="a")
    assert status.dump()["counts"] == {"nodeCnt": 1}


def test_spec_without_image_is_an_error() -> None:
    with pytest.raises(ValidationError, match="image"):
        CacheSpec.model_validate({})


@pytest.mark.parametrize(
    ("modes", "shared"),
    [
        (("ReadWriteOnce",), False),
        (("ReadWriteOnce", "ReadOnlyMany"), True),
        (("ReadWriteMany",), True),
        ((), False),
    ],
)
def test_shared(modes: tuple[str, ...], shared: bool) -> None:
    assert CacheSpec(image="a", access_modes=modes).shared is shared


def test_empty_status_has_no_counts() -> None:
    empty = ("conditions", "environment", "namespaces", "failingNodes")
    assert CacheStatus().dump() == {field: [] for field in empty}
    assert Counts(node_cnt=0).dump() == {"nodeCnt": 0}


def test_times_are_whole_seconds_in_utc() -> None:
    local = datetime(2026, 1, 2, 5, 4, 5, 999, tzinfo=timezone(timedelta(hours=2)))
    condition = Condition(type="Ready", last_transition_time=local)
    assert condition.last_transition_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert condition.dump()["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    assert Condition.model_validate(condition.dump()) == condition


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        NamespaceStatus(namespace="a").phase = "x"  # type: ignore[misc]


def test_node_status_comes_back_as_it_was_written() -> None:
    entry = {
        "conditions": FULL_STATUS["conditions"],
        "compatibleGPUs": [0],
        "incompatibleGPUs": [1],
        "fit": "fits GPU 0 (compiled for cuda 90)",
        "claims": [
            {"namespace": "a", "claim": "c", "phase": "Running", "message": "", "pods": 1},
        ],
        "lastUpdated": "2026-01-02T03:04:05Z",
    }
    gpus = {"gpuType": "MI210", "driverVersion": "6.12", "backend": "hip", "arch": "gfx90a"}
    status = {
        "nodeName": "n1",
        "counts": {
            "nodeInUseCnt": 1,
            "nodeNotInUseCnt": 0,
            "nodeErrorCnt": 0,
            "podRunningCnt": 1,
            "podDeletingCnt": 0,
            "podOutdatedCnt": 0,
        },
        "gpuMessage": "",
        "claimsLeftOut": 3,
        "gpus": [{**gpus, "warpSize": 64, "ids": [0, 1]}],
        "caches": {"vector-add": {"sha256:" + "c" * 64: entry}},
    }
    assert CacheNodeStatus.model_validate(status).dump() == status
