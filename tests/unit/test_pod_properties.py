"""What must hold for every pod that the webhook changes, and for every difference it sends."""

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.api.errors import Rejected
from gkm.core.jsonpatch import diff
from gkm.core.known import Published
from gkm.core.poddebug import patch_debug
from tests.unit.test_podpatch import LOCAL, NODE, OLD, TARGET, WAITING, cache, known, patched

Json = dict[str, Any]
TEXT = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(0, 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
FUTURE: st.SearchStrategy[Any] = st.sampled_from([None, {"a/b": {"~": [1, {}]}}, [True, 1.0], "x"])
NAMES = st.sampled_from(["data", "more", "tmp", "a/b", "~x"])
MOUNTS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "mountPath": st.sampled_from(["/cache", "/cache/", "/x", "/y/z"])},
        optional={"readOnly": st.booleans(), "subPath": st.just("a"), "future": FUTURE},
    ),
    max_size=4,
    unique_by=lambda mount: mount["mountPath"],
)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["a", "b", "c", "d"])},
        optional={
            "volumeMounts": MOUNTS,
            "env": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["A", "B"])})),
            "future": FUTURE,
        },
    ),
    max_size=3,
    unique_by=lambda container: container["name"],
)
VOLUMES = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES},
        optional={
            "persistentVolumeClaim": st.fixed_dictionaries(
                {"claimName": st.sampled_from(["shared", "local", "own"])},
                optional={"readOnly": st.booleans()},
            ),
            "future": FUTURE,
        },
    ),
    max_size=4,
    unique_by=lambda volume: volume["name"],
)
PODS = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"containers": CONTAINERS, "volumes": VOLUMES, "nodeName": st.just(NODE)},
            optional={"initContainers": CONTAINERS, "future": FUTURE},
        )
    },
    optional={
        "metadata": st.fixed_dictionaries({}, optional={"annotations": st.none(), "x": FUTURE}),
        "future": FUTURE,
    },
)
ENVIRONMENT = known(cache("shared", environment=("A",)), cache("local", shared=False))


def without_ours(what: Json) -> Json:
    """A pod without the fields that are ours to write."""
    bare = copy.deepcopy(what)
    bare.pop("metadata", None)
    spec = bare["spec"]
    spec["volumes"] = [v for v in spec["volumes"] if not v["name"].startswith("gkm-layer-")]
    for volume in spec["volumes"]:
        if volume.get("persistentVolumeClaim"):
            volume.pop("persistentVolumeClaim")
    inits = spec.pop("initContainers", None) or []
    spec["initContainers"] = [
        c for c in inits if not c["name"].startswith(("gkm-layer-", "gkm-check-"))
    ]
    for container in (*spec["containers"], *spec["initContainers"]):
        mounts = container.pop("volumeMounts", [])
        kept = [m for m in mounts if not m["mountPath"].startswith(("/cache", "/run/gkm/"))]
        container["volumeMounts"] = [{k: v for k, v in m.items() if k != "name"} for m in kept]
        env = container.pop("env", [])
        container["env"] = [e for e in env if e != {"name": "A", "value": "/cache"}]
    return bare


@given(PODS)
def test_the_patch_of_a_patched_pod_is_empty_and_only_our_fields_change(what: Json) -> None:
    before = copy.deepcopy(what)
    try:
        once = patched(what, ENVIRONMENT)
    except Rejected:
        return
    assert what == before
    assert diff(once, patched(once, ENVIRONMENT)) == []
    assert without_ours(once) == without_ours(what)
    assert jsonpatch.apply_patch(what, diff(what, once)) == once


@given(PODS, st.booleans())
def test_a_pod_is_patched_again_after_the_picture_changed(what: Json, gone: bool) -> None:
    try:
        once = patched(what, ENVIRONMENT)
    except Rejected:
        return
    name = WAITING[:-1] + ("a" if WAITING[-1] != "a" else "b")
    later = known(
        cache("shared"), LOCAL, claims={} if gone else {TARGET: {"1": Published(name, OLD, "")}}
    )
    again = patched(once, later)
    assert {op["path"].rpartition("/")[2] for op in diff(once, again)} <= {"claimName"}
    assert patched(again, later) == again


@given(JSON, JSON)
def test_a_difference_makes_the_one_of_the_other(old: Any, new: Any) -> None:
    made = jsonpatch.apply_patch({"v": copy.deepcopy(old)}, diff({"v": old}, {"v": new}))
    assert repr(made) == repr({"v": new}) or made == {"v": new}


NAMED = st.lists(st.fixed_dictionaries({"name": TEXT}, optional={"x": JSON}), max_size=4)


@given(NAMED, NAMED, NAMED)
def test_what_is_put_before_and_behind_is_added(front: Any, old: Any, back: Any) -> None:
    new = [*front, *old, *back]
    operations = diff(old, new)
    assert jsonpatch.apply_patch(copy.deepcopy(old), operations) == new
    names_of = [item["name"] for item in new]
    if all(names_of) and len(set(names_of)) == len(names_of):
        assert {op["op"] for op in operations} <= {"add"}


@given(JSON)
def test_anything_at_all_gets_a_pod_or_words(what: Any) -> None:
    with pytest.raises(Rejected):
        patched(what)


@given(PODS, CONTAINERS)
def test_again_a_container_for_debugging_stays_and_so_does_the_rest(
    what: Json, containers: Any
) -> None:
    try:
        old = patched(what, ENVIRONMENT)
    except Rejected:
        return
    asked = old | {"spec": old["spec"] | {"ephemeralContainers": containers}}
    before = copy.deepcopy(asked)
    result = patch_debug(asked, old, "team", ENVIRONMENT)
    operations = diff(asked, result)
    assert {op["path"].split("/")[2] for op in operations} <= {"ephemeralContainers"}
    assert patch_debug(result, old, "team", ENVIRONMENT) == result
    assert asked == before
    assert jsonpatch.apply_patch(asked, operations) == result
