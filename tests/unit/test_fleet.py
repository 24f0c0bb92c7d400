"""The operator's picture: which Cache a change concerns, and what late news may not do."""

from typing import Any

import pytest

from gkm.api.names import CACHE, CLUSTER_CACHE, CacheKey
from gkm.core.objects import STAGING, CopyRef, marks
from gkm.core.view import Trouble
from gkm.operator.fleet import Fleet
from gkm.operator.slots import Slots
from tests.unit.world import DIGEST

Json = dict[str, Any]
KEY = CacheKey(CACHE, "a", "kernels")


class Listening:
    """A fleet, and the keys that it has called for."""

    def __init__(self) -> None:
        self.called: list[CacheKey] = []
        self.fleet = Fleet(self.called.append, Slots(32, lambda _: None))

    def observe(self, kind: str, event: str, obj: Json) -> list[CacheKey]:
        self.called.clear()
        self.fleet.observe(kind, event, obj)
        return list(self.called)


@pytest.fixture
def on() -> Listening:
    return Listening()


def cache(version: int, *, kind: str = CACHE, namespace: str = "a", **spec: Any) -> Json:
    uid = f"uid-{kind}-{namespace}"
    meta = {"name": "kernels", "uid": uid, "resourceVersion": str(version), "generation": 1}
    place = {"namespace": namespace} if namespace else {}
    return {"metadata": meta | place, "spec": {"image": "r.test/k:v1", **spec}}


def claim(version: int, *, uid: str = "c1", phase: str = "Pending") -> Json:
    labels, annotations = marks(CopyRef("copy", KEY, "uid", "a", DIGEST), STAGING)
    meta = {
        "namespace": "a",
        "name": "kernels-copy-staging",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": labels,
        "annotations": annotations,
    }
    return {"metadata": meta, "spec": {}, "status": {"phase": phase}}


def namespace(version: int, name: str = "b") -> Json:
    return {"metadata": {"name": name, "uid": f"ns-{name}", "resourceVersion": str(version)}}


def test_a_child_concerns_its_cache_once_per_change(on: Listening) -> None:
    assert on.observe("PersistentVolumeClaim", "ADDED", claim(1)) == [KEY]
    assert on.observe("PersistentVolumeClaim", "MODIFIED", claim(1)) == []
    assert on.observe("PersistentVolumeClaim", "MODIFIED", claim(2)) == []
    assert on.observe("PersistentVolumeClaim", "MODIFIED", claim(3, phase="Bound")) == [KEY]


def test_older_news_is_ignored(on: Listening) -> None:
    on.observe("PersistentVolumeClaim", "ADDED", claim(5, phase="Bound"))
    assert on.observe("PersistentVolumeClaim", "MODIFIED", claim(4)) == []
    assert on.fleet.view(KEY).claims[0].phase == "Bound"


def test_late_news_does_not_bring_back_what_is_gone(on: Listening) -> None:
    on.observe("PersistentVolumeClaim", "ADDED", claim(1))
    assert on.observe("PersistentVolumeClaim", "DELETED", claim(4)) == [KEY]
    assert on.observe("PersistentVolumeClaim", "MODIFIED", claim(3)) == []
    assert on.fleet.view(KEY).claims == ()


def test_what_lost_its_labels_is_back_when_it_has_them_again(on: Listening) -> None:
    on.observe("PersistentVolumeClaim", "ADDED", claim(1))
    on.observe("PersistentVolumeClaim", "DELETED", claim(2))
    assert on.observe("PersistentVolumeClaim", "ADDED", claim(3)) == [KEY]
    assert len(on.fleet.view(KEY).claims) == 1
    on.fleet.replace("PersistentVolumeClaim", [], "4")
    on.fleet.replace("PersistentVolumeClaim", [claim(5)], "6")
    assert len(on.fleet.view(KEY).claims) == 1


def test_what_was_deleted_by_us_never_comes_back(on: Listening) -> None:
    on.observe("PersistentVolumeClaim", "ADDED", claim(1))
    on.observe("PersistentVolumeClaim", "DELETED", {"metadata": {"uid": "c1"}})
    assert on.observe("PersistentVolumeClaim", "MODIFIED", claim(9)) == []


def test_nothing_is_kept_of_a_cache_of_which_nothing_is_left(on: Listening) -> None:
    on.observe(CACHE, "ADDED", cache(1))
    on.observe("PersistentVolumeClaim", "ADDED", claim(2))
    on.observe("PersistentVolumeClaim", "DELETED", claim(3))
    on.observe(CACHE, "DELETED", cache(4))
    assert (on.fleet._children, on.fleet._by_name, on.fleet._memory) == ({}, {}, {})


def test_what_a_complete_list_does_not_name_is_gone(on: Listening) -> None:
    on.observe("PersistentVolumeClaim", "ADDED", claim(1))
    on.fleet.replace("PersistentVolumeClaim", [claim(2, uid="c2")], "2")
    assert [found.uid for found in on.fleet.view(KEY).claims] == ["c2"]


def test_a_list_that_was_on_its_way_does_not_undo_our_own_later_write(on: Listening) -> None:
    on.observe("PersistentVolumeClaim", "ADDED", claim(7))
    on.fleet.replace("PersistentVolumeClaim", [], "6")
    assert [found.uid for found in on.fleet.view(KEY).claims] == ["c1"]


def test_a_claim_concerns_and_blocks_the_caches_of_its_name(on: Listening) -> None:
    twin = CacheKey(CLUSTER_CACHE, "", "kernels")
    on.observe(CLUSTER_CACHE, "ADDED", cache(1, kind=CLUSTER_CACHE, namespace=""))
    assert set(on.observe("PersistentVolumeClaim", "ADDED", claim(1))) == {KEY, twin}
    assert on.fleet.view(twin).namesakes == {("a", "kernels-copy-staging")}


def test_an_object_without_our_marks_is_no_child(on: Listening) -> None:
    stranger = claim(1)
    stranger["metadata"]["annotations"] = {}
    assert on.observe("PersistentVolumeClaim", "ADDED", stranger) == []


def test_a_namespace_concerns_the_caches_that_name_it(on: Listening) -> None:
    on.observe(CACHE, "ADDED", cache(1))
    on.observe(
        CLUSTER_CACHE, "ADDED", cache(1, kind=CLUSTER_CACHE, namespace="", workloadNamespaces=["b"])
    )
    assert on.observe("Namespace", "ADDED", namespace(1)) == [
        CacheKey(CLUSTER_CACHE, "", "kernels")
    ]
    assert on.observe("Namespace", "ADDED", namespace(1, "a")) == [KEY]


def test_a_gkmcache_concerns_the_cluster_cache_of_its_name(on: Listening) -> None:
    twin = CacheKey(CLUSTER_CACHE, "", "kernels")
    on.observe(CLUSTER_CACHE, "ADDED", cache(1, kind=CLUSTER_CACHE, namespace=""))
    assert set(on.observe(CACHE, "ADDED", cache(1))) == {KEY, twin}
    assert on.fleet.view(twin).shadowed == {"a"}
    on.observe(CACHE, "DELETED", cache(2))
    assert on.fleet.view(twin).shadowed == frozenset()


def test_a_cache_that_lost_its_last_finalizer_while_deleting_is_gone(on: Listening) -> None:
    on.observe(CACHE, "ADDED", cache(1))
    last = cache(2)
    last["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert on.observe(CACHE, "MODIFIED", last) == [KEY]
    assert on.fleet.view(KEY).cache is None


def test_an_edit_makes_every_attempt_start_anew(on: Listening) -> None:
    on.observe(CACHE, "ADDED", cache(1))
    on.fleet.view(KEY)
    on.fleet.memory(KEY).failing = 7.0
    edited = cache(2)
    edited["metadata"]["generation"] = 2
    on.observe(CACHE, "MODIFIED", edited)
    on.fleet.view(KEY)
    assert on.fleet.memory(KEY).failing is None


def test_an_object_that_cannot_be_read_stops_nothing(on: Listening) -> None:
    strange = claim(1)
    strange["spec"] = None
    on.observe("PersistentVolumeClaim", "ADDED", strange)
    on.observe("PersistentVolumeClaim", "ADDED", claim(2, uid="c2"))
    assert [found.uid for found in on.fleet.view(KEY).claims] == ["c2"]
    assert on.observe("PersistentVolumeClaim", "MODIFIED", claim(3)) == [KEY]


def test_a_cache_made_again_under_its_name_inherits_nothing(on: Listening) -> None:
    on.observe(CACHE, "ADDED", cache(1))
    on.fleet.view(KEY)
    on.fleet.memory(KEY).resolution = Trouble("ImageNotFound", "no", 0.0, final=True)
    again = cache(2)
    again["metadata"]["uid"] = "another"
    on.observe(CACHE, "DELETED", cache(1))
    on.observe(CACHE, "ADDED", again)
    assert on.fleet.view(KEY).resolution is None


def test_a_child_whose_annotation_names_another_cache_leaves_no_ghost(on: Listening) -> None:
    on.observe("PersistentVolumeClaim", "ADDED", claim(1))
    moved = claim(2)
    moved["metadata"]["annotations"]["gkm.io/cache"] = "GKMCache/a/other"
    assert set(on.observe("PersistentVolumeClaim", "MODIFIED", moved)) == {
        KEY,
        CacheKey(CACHE, "a", "other"),
    }
    assert on.fleet.view(KEY).claims == ()


def test_a_cache_that_flaps_posts_ten_events_a_minute(on: Listening) -> None:
    memory = on.fleet.memory(KEY)
    told = [second for second in range(300) if memory.may_tell(1000.0 + second)]
    assert len(told) == 50
    assert told[:11] == [*range(10), 60]


def test_who_leads_again_remembers_nothing_of_the_last_time(on: Listening) -> None:
    on.observe(CACHE, "ADDED", cache(1))
    on.fleet.memory(KEY).note_leaving({"node"}, 1000.0)
    on.fleet.memory(KEY).troubles["copy"] = Trouble("Bad", "no", 0.0, final=True)
    on.fleet.forget_memories()
    view = on.fleet.view(KEY)
    assert (view.leaving, view.troubles, view.resolution) == ({}, {}, None)
