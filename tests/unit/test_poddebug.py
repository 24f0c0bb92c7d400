"""What becomes of containers that people add to a running pod to look inside."""

from typing import Any

import pytest

from gkm.api import names
from gkm.api.errors import Rejected
from gkm.core.jsonpatch import diff
from gkm.core.known import Known
from gkm.core.poddebug import patch_debug
from tests.unit.test_podpatch import (
    BOTH,
    NODE,
    cache,
    known,
    mounts_of,
    patched,
    pod,
)

Json = dict[str, Any]
PART = "ephemeralContainers"
WRITER, READER = {"mountPath": "/look"}, {"mountPath": "/cache", "readOnly": True}


def running(*mounts: Json, claim: str = "shared") -> Json:
    """A pod as the webhook let it through, with a container that mounts the cache so."""
    return patched(pod(claim, mounts=[{"name": "data", **one} for one in mounts], nodeName=NODE))


def adding(what: Json, *containers: Json) -> Json:
    spec = what["spec"]
    return what | {"spec": spec | {PART: [*spec.get(PART, ()), *containers]}}


def looker(name: str = "look", mount: Json = WRITER) -> Json:
    return {"name": name, "image": "i", "volumeMounts": [{"name": "data", **mount}]}


def debugged(old: Json, *containers: Json, picture: Known = BOTH) -> Json:
    asked = adding(old, *containers)
    result = patch_debug(asked, old, "team", picture)
    assert {op["path"].split("/")[2] for op in diff(asked, result)} <= {PART}
    assert patch_debug(result, old, "team", picture) == result
    return result


def test_a_writable_mount_gets_the_layer_that_the_pod_has() -> None:
    result = debugged(running(WRITER), looker())
    assert mounts_of(result, PART) == [
        ("gkm-layer-0", "/look", False),
        ("gkm-layer-0", "/cache", False),
        ("data", "/run/gkm/data", True),
    ]


@pytest.mark.parametrize("claim", ["shared", "local"])
def test_without_a_layer_the_cache_itself_is_read(claim: str) -> None:
    result = debugged(running(READER, claim=claim), looker())
    assert mounts_of(result, PART) == [("data", "/look", True), ("data", "/cache", True)]


def test_variables_are_set_as_for_other_containers() -> None:
    picture = known(cache("shared", environment=("A",)))
    result = debugged(running(READER), looker(), picture=picture)
    assert result["spec"][PART][0]["env"] == [{"name": "A", "value": "/cache"}]


def test_containers_that_were_there_and_those_without_the_cache_stay_as_they_are() -> None:
    there, stranger = looker("there"), {"name": "stranger", "image": "i"}
    old = adding(running(READER), there)
    result = debugged(old, stranger, looker())
    assert result["spec"][PART][0] is there
    assert result["spec"][PART][1] is stranger
    assert mounts_of(result, PART, 2)[0] == ("data", "/look", True)


def test_a_pod_that_was_not_changed_is_left_alone() -> None:
    old = running(READER)
    del old["metadata"]["annotations"]
    asked = adding(old, looker())
    assert patch_debug(asked, old, "team", BOTH) is asked


def test_volumes_that_became_caches_later_are_left_alone() -> None:
    old = running(READER)
    old["metadata"]["annotations"][names.ANNOTATION_MUTATED] = "other=shared"
    asked = adding(old, looker())
    assert patch_debug(asked, old, "team", BOTH) is asked


@pytest.mark.parametrize("left", [(), (cache("shared", deleting=True),)])
def test_a_cache_that_goes_or_is_gone_refuses_nobody(left: tuple[Any, ...]) -> None:
    result = debugged(running(READER), looker(), picture=known(*left, nodes={}))
    assert mounts_of(result, PART)[0] == ("data", "/look", bool(left))


@pytest.mark.parametrize("old", [None, [], {"spec": 1}])
def test_what_is_no_pod_is_refused(old: Any) -> None:
    with pytest.raises(Rejected, match="no pod"):
        patch_debug(running(READER), old, "team", BOTH)


def test_what_would_keep_all_others_waiting_is_refused() -> None:
    many = looker() | {"volumeMounts": [{"name": "data", "mountPath": "/x"}] * 100_000}
    old = running(READER)
    with pytest.raises(Rejected, match="too many"):
        patch_debug(adding(old, many), old, "team", BOTH)
