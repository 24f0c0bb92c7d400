"""What a node's agent reports: which claims concern it, and what they amount to."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.api import names
from gkm.api.cachenode import CacheEntry, CacheNodeStatus
from gkm.api.names import CACHE, CLUSTER_CACHE, CacheKey
from gkm.core import nodegpus, nodeview
from gkm.core.gputargets import Target, Targets
from gkm.core.mergepatch import difference
from gkm.core.nodereport import CLUSTER, Look, read, report, stamped
from gkm.core.nodeview import NodeClaim, NodePod, ThisNode
from gkm.core.objects import CopyRef
from gkm.core.retry import Failure
from gkm.gpus.simulated import parse
from tests.kubeapi import merged
from tests.nodeclaims import DIGEST, KEY, OTHER, claim_of, copy_of

NODE = ThisNode("worker-1", "node-uid")
LOOK = Look(parse("type=H100,count=2;type=MI210"))
FITS_H100 = Targets((Target("cuda", "90", 32),)).to_json()
SERVING = NodeClaim(
    "ns", "serving", KEY, DIGEST, "serving", shared=False, node_uid="node-uid", targets=FITS_H100
)
STAGING = replace(SERVING, name="staging", role="staging")
SHARED = replace(SERVING, name="shared", shared=True, node_uid="")
FAILED = Failure("job", "input", "PullFailed", "no such image", 1, 0.0, final=True).to_json()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pod(uid: str, *claims: str, namespace: str = "ns") -> NodePod:
    return NodePod(uid, namespace, frozenset(claims))


def entry(claims: Sequence[NodeClaim], *pods: NodePod, look: Look = LOOK) -> CacheEntry | None:
    """The one entry of the namespace's CacheNode."""
    status = report(NODE, look, claims, pods).get("ns")
    return status.caches["cache"][DIGEST] if status else None


USED = pod("one", "serving")
CASES: dict[str, tuple[list[NodeClaim], list[NodePod], str]] = {
    "a copy comes": ([STAGING], [], "Downloading"),
    "its extraction is no user": ([STAGING], [pod("job", "staging")], "Downloading"),
    "it failed": ([replace(STAGING, failed=FAILED)], [], "Error"),
    "a failure that is no JSON": ([replace(STAGING, failed="?")], [], "Downloading"),
    "it is there": ([SERVING], [], "Extracted"),
    "it is there, what it came from goes": ([SERVING, STAGING], [], "Extracted"),
    "it is there after a failure": ([SERVING, replace(STAGING, failed=FAILED)], [], "Extracted"),
    "it is used": ([SERVING], [USED], "Running"),
    "a name that only begins alike": ([SERVING], [pod("one", "serving-2")], "Extracted"),
    "a pod elsewhere": ([SERVING], [pod("one", "serving", namespace="other")], "Extracted"),
    "a newer one is wanted": ([replace(SERVING, superseded="Outdated")], [USED], "Outdated"),
    "none is wanted": ([replace(SERVING, superseded="Deleting")], [USED], "Deleting"),
    "one goes, one comes": (
        [SERVING, replace(SERVING, name="old", superseded="Deleting")],
        [],
        "Deleting",
    ),
    "shared and used here": ([SHARED], [pod("one", "shared")], "Running"),
    "shared, superseded, used here": (
        [replace(SHARED, superseded="Outdated")],
        [pod("one", "shared")],
        "Outdated",
    ),
    "shared and not used here": ([SHARED], [], ""),
    "shared and not there yet": ([replace(SHARED, role="staging")], [pod("job", "shared")], ""),
    "another node's": ([replace(SERVING, node_uid="other")], [USED], ""),
    "of no node": ([replace(SERVING, node_uid="")], [USED], ""),
}


@pytest.mark.parametrize("case", CASES)
def test_the_word_of_an_entry(case: str) -> None:
    claims, pods, word = CASES[case]
    found = entry(claims, *pods)
    assert (found.conditions[0].reason if found else "") == word
    if found:
        good = word in ("Extracted", "Running", "Outdated")
        assert found.conditions[0].status == ("True" if good else "False")


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (("Downloading", "Extracted"), "Extracted"),
        (("Running", "Extracted", "Outdated"), "Outdated"),
        (("Running", "Deleting"), "Deleting"),
        (("Deleting", "Error", "Running"), "Error"),
    ],
)
def test_one_entry_speaks_for_all_namespaces(words: tuple[str, ...], first: str) -> None:
    claims, pods = [], []
    for namespace, word in zip("abc", words, strict=False):
        role = "staging" if word in ("Downloading", "Error") else "serving"
        claims.append(
            replace(
                SERVING,
                namespace=namespace,
                key=CacheKey(CLUSTER_CACHE, "", "cache"),
                role=role,
                failed=FAILED if word == "Error" else "",
                superseded=word if word in ("Outdated", "Deleting") else "",
            )
        )
        if word == "Running":
            pods.append(pod("one", "serving", namespace=namespace))
    found = report(NODE, LOOK, claims, pods)
    assert set(found) == {CLUSTER}
    said = found[CLUSTER].caches["cache"][DIGEST]
    assert said.conditions[0].reason == first
    assert said.conditions[0].message == ("no such image" if first == "Error" else "")
    assert [one.phase for one in said.claims] == list(words)


def test_gpus_are_judged_once_they_are_known() -> None:
    found = entry([SERVING])
    assert found is not None
    assert (found.compatible_gpus, found.incompatible_gpus) == ((0, 1), (2,))
    assert found.fit.startswith("fits GPUs 0, 1")
    unknown = entry([SERVING], look=Look(None))
    assert unknown is not None
    assert (unknown.compatible_gpus, unknown.incompatible_gpus, unknown.fit) == ((), (), "")
    assert report(NODE, Look(None), [], ())[CLUSTER].node_name == ""
    none = report(NODE, Look((), "no driver"), [], ())[CLUSTER]
    assert (none.node_name, none.gpus, none.gpu_message) == ("worker-1", (), "no driver")


def test_counts_are_of_the_object() -> None:
    old = replace(SERVING, name="old", digest=OTHER, superseded="Outdated")
    gone = replace(SERVING, name="gone", key=replace(KEY, name="gone"), superseded="Deleting")
    failed = replace(STAGING, key=replace(KEY, name="failed"), failed=FAILED)
    both = pod("both", "serving", "old")
    claims = [SERVING, old, gone, failed]
    pods = [both, pod("one", "serving"), pod("last", "gone")]
    assert (
        report(NODE, LOOK, claims, pods)["ns"].counts
        == read({"counts": _counts(1, 0, 1, running=2, deleting=1, outdated=1)}).counts
    )
    assert report(NODE, LOOK, claims, [])["ns"].counts == read({"counts": _counts(0, 1, 1)}).counts
    assert (
        report(NODE, LOOK, [STAGING], [])["ns"].counts == read({"counts": _counts(0, 0, 0)}).counts
    )


def _counts(used: int, idle: int, failed: int, **pods: int) -> dict[str, Any]:
    words = {f"pod{w.title()}Cnt": pods.get(w, 0) for w in ("running", "deleting", "outdated")}
    return {"nodeInUseCnt": used, "nodeNotInUseCnt": idle, "nodeErrorCnt": failed} | words


def test_times_move_only_with_what_they_date() -> None:
    later, last = NOW + timedelta(hours=1), NOW + timedelta(hours=2)

    def dated(pods: list[NodePod], old: CacheNodeStatus, now: datetime) -> CacheNodeStatus:
        claims = [SERVING] if old.caches else [STAGING]
        return stamped(report(NODE, LOOK, claims, pods)["ns"], old, now)

    first = dated([], CacheNodeStatus(), NOW)
    extracted = dated([], first, later)
    running = dated([USED], extracted, last)
    times = [
        (one.conditions[0].last_transition_time, one.last_updated)
        for one in (status.caches["cache"][DIGEST] for status in (first, extracted, running))
    ]
    assert times == [(NOW, NOW), (later, later), (later, last)]
    assert stamped(report(NODE, LOOK, [SERVING], [USED])["ns"], running, last) == running


def test_a_status_that_cannot_be_read_counts_as_empty() -> None:
    assert read({"gpus": "rubbish"}) == CacheNodeStatus()


claims_of = st.builds(
    NodeClaim,
    namespace=st.just("ns"),
    name=st.sampled_from("abc"),
    key=st.sampled_from([KEY, replace(KEY, name="two"), CacheKey(CLUSTER_CACHE, "", "cache")]),
    digest=st.sampled_from([DIGEST, OTHER]),
    role=st.sampled_from(["staging", "serving"]),
    shared=st.booleans(),
    node_uid=st.sampled_from(["node-uid", "other", ""]),
    targets=st.sampled_from(["", FITS_H100, "rubbish"]),
    failed=st.sampled_from(["", FAILED, "rubbish"]),
    superseded=st.sampled_from(["", "Outdated", "Deleting"]),
)
worlds = st.tuples(
    st.lists(claims_of, max_size=6, unique_by=lambda claim: (claim.namespace, claim.name)),
    st.lists(
        st.builds(
            pod,
            st.sampled_from("uvwxy"),
            st.sampled_from("abc"),
            st.sampled_from("abcd"),
            namespace=st.sampled_from(["ns", "other"]),
        ),
        max_size=5,
        unique_by=lambda one: one.uid,
    ),
)


@given(worlds, st.randoms())
def test_the_order_of_what_is_seen_does_not_matter(
    world: tuple[list[NodeClaim], list[NodePod]], random: Any
) -> None:
    claims, pods = world
    before = report(NODE, LOOK, claims, pods)
    random.shuffle(claims)
    random.shuffle(pods)
    assert report(NODE, LOOK, claims, pods) == before


@given(worlds)
def test_what_always_holds(world: tuple[list[NodeClaim], list[NodePod]]) -> None:
    claims, pods = world
    here = {pod.uid for pod in pods if pod.namespace == "ns"}
    mine = {claim.name for claim in claims if claim.shared or claim.node_uid == "node-uid"}
    found = report(NODE, LOOK, claims, pods)
    assert CLUSTER in found
    for place, status in found.items():
        assert status.caches or place == CLUSTER
        entries = [one for versions in status.caches.values() for one in versions.values()]
        said = [claim for one in entries for claim in one.claims]
        assert {one.claim for one in said} <= mine
        counts = status.counts
        assert counts is not None
        words = (counts.pod_running_cnt, counts.pod_outdated_cnt, counts.pod_deleting_cnt)
        assert all(0 <= count <= len(here) for count in words)
        assert counts.node_in_use_cnt == int(sum(words) > 0)
        assert counts.node_in_use_cnt + counts.node_not_in_use_cnt <= 1
        assert counts.node_error_cnt == int(any(one.phase == "Error" for one in said))
        assert sum(one.pods for one in said) >= max(words)


@given(worlds, worlds)
def test_a_patch_leads_from_one_report_to_the_next_and_then_to_nothing(
    one: tuple[list[NodeClaim], list[NodePod]], other: tuple[list[NodeClaim], list[NodePod]]
) -> None:
    held: dict[str, Any] = {}
    for claims, pods in (one, other, other):
        wanted = stamped(report(NODE, LOOK, claims, pods)[CLUSTER], read(held), NOW)
        new = wanted.model_dump(by_alias=True, exclude_defaults=True, mode="json")
        patch = difference(held, new)
        held = merged(held, patch)
        assert read(held) == read(new)
    assert patch == {}


@pytest.mark.parametrize("text", ["none", "type=H100,count=2", "type=MI210;type=H100;type=MI210"])
def test_gpus_can_be_read_back_from_a_report(text: str) -> None:
    gpus = parse(text)
    back = nodegpus.reported(report(NODE, Look(gpus), [], ())[CLUSTER])
    assert back is not None
    assert nodegpus.groups(back) == nodegpus.groups(gpus)
    assert [gpu.index for gpu in back] == list(range(len(gpus)))
    assert nodegpus.reported(CacheNodeStatus()) is None


def changed(role: str = "serving", **changes: Any) -> dict[str, Any]:
    """A claim of GKM's that somebody changed."""
    obj = claim_of(copy_of(), role)
    return obj | {"metadata": obj["metadata"] | changes}


def test_a_claim_counts_only_where_and_as_gkm_would_have_made_it() -> None:
    name, labels = copy_of().serving_names[-1], changed()["metadata"]["labels"]
    made = NodeClaim("ns", name, KEY, DIGEST, "serving", shared=False, node_uid="node-uid")
    assert nodeview.claim(changed()) == made
    assert nodeview.claim(claim_of(copy_of(node_uid=""))) == replace(
        made, name="cache", shared=True, node_uid=""
    )
    assert nodeview.claim(changed("staging")) is not None
    assert nodeview.claim(changed("reclaim")) is None
    changes: tuple[dict[str, Any], ...] = (
        {"name": "another"},
        {"namespace": "other"},
        {"annotations": {}},
        {"labels": labels | {names.LABEL_COPY: "aaaaaaaaaaaaa"}},
        {"labels": labels | {names.LABEL_CACHE_UID: "another"}},
    )
    for change in changes:
        assert nodeview.claim(changed(**change)) is None, change


@pytest.mark.parametrize(
    "copy",
    [
        copy_of(digest="sha256:" + "a" * 100_000),
        copy_of(CacheKey(CLUSTER_CACHE, "", "c" * 64)),
        copy_of(CacheKey(CLUSTER_CACHE, "ns", "cache")),
        copy_of(CacheKey(CACHE, "", "cache")),
    ],
    ids=["long digest", "long name", "a namespace too many", "no namespace"],
)
def test_a_forged_claim_that_would_be_long_or_out_of_place_does_not_count(copy: CopyRef) -> None:
    assert nodeview.claim(claim_of(copy)) is None


def test_of_a_large_object_little_is_kept_and_it_says_the_same() -> None:
    large = {"annotations": {"other": "x" * 200_000}, "managedFields": ["x" * 200_000]}
    times = {"creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "later"}
    obj = claim_of(copy_of(), **{names.ANNOTATION_TARGETS: FITS_H100, "other": "x" * 200_000})
    obj["metadata"] |= times | {"managedFields": large, "uid": "u", "resourceVersion": "1"}
    obj["metadata"]["labels"] |= {f"label-{n}": "x" * 63 for n in range(1000)}
    slim = nodeview.slim_claim(obj)
    assert nodeview.claim(slim) == nodeview.claim(obj)
    assert nodeview.claim(slim) is not None
    assert len(json.dumps(slim)) < 2000
    meta = {"name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "1", **large}
    volumes = [{"persistentVolumeClaim": {"claimName": "c"}}, {"configMap": large}]
    spec = {"nodeName": "worker-1", "volumes": volumes, "containers": [large]}
    obj = {"metadata": meta, "spec": spec, "status": {"phase": "Running", "conditions": [large]}}
    assert nodeview.pod(nodeview.slim_pod(obj)) == nodeview.pod(obj) == pod("u", "c")
    assert len(json.dumps(nodeview.slim_pod(obj))) < 300


@pytest.mark.parametrize("name", [names.ANNOTATION_TARGETS, names.ANNOTATION_FAILED])
def test_a_text_that_is_longer_than_any_of_gkm_is_not_kept(name: str) -> None:
    found = nodeview.claim(nodeview.slim_claim(claim_of(copy_of(), **{name: "x" * 200_000})))
    assert found is not None
    assert (found.targets, found.failed) == ("", "")


def many(count: int, namespace: str, year: int) -> list[NodeClaim]:
    """Claims of a ClusterGKMCache each, in the order in which they were made."""
    return [
        replace(
            SERVING,
            namespace=namespace,
            name=f"claim-{n}",
            key=CacheKey(CLUSTER_CACHE, "", f"{namespace}-{n}"),
            created=f"{year}-01-01T{n // 60:02}:{n % 60:02}:00Z",
        )
        for n in range(count)
    ]


def test_any_number_of_claims_makes_a_report_of_bounded_size() -> None:
    forged = [
        replace(one, role="staging", failed=FAILED.replace("no such image", "\U0001f600" * 2000))
        for one in many(1400, "ns", 2025)
    ]
    status = report(NODE, LOOK, forged, [])[CLUSTER]
    assert status.claims_left_out == 1200
    assert status.gpus
    assert len(status.model_dump_json(by_alias=True).encode()) < 700_000
    assert status == report(NODE, LOOK, reversed(forged), [])[CLUSTER]


def test_newcomers_push_nobody_out_and_no_namespace_takes_the_room_of_another() -> None:
    def listed(*claims: NodeClaim) -> set[str]:
        return set(report(NODE, LOOK, claims, [])[CLUSTER].caches)

    old, new, few = many(150, "ns", 2025), many(1000, "ns", 2026), many(50, "few", 2026)
    assert listed(*new, *old) == {one.key.name for one in [*old, *new[:50]]}
    assert {one.key.name for one in few} < listed(*old, *new, *few)
    assert report(NODE, LOOK, [*old, *few], [])[CLUSTER].claims_left_out == 0


def test_a_claim_that_is_being_deleted_says_so() -> None:
    found = nodeview.claim(changed(deletionTimestamp="2026-01-01T00:00:00Z"))
    assert found is not None
    assert found.superseded == "Deleting"


@pytest.mark.parametrize(
    ("phase", "node", "uses"),
    [
        ("Pending", "worker-1", True),
        ("Running", "worker-1", True),
        ("Succeeded", "worker-1", False),
        ("Failed", "worker-1", False),
        ("Pending", "", False),
    ],
)
def test_a_pod_uses_its_claims_from_its_scheduling_to_its_end(
    phase: str, node: str, uses: bool
) -> None:
    volume = {"persistentVolumeClaim": {"claimName": "c"}}
    spec = {"nodeName": node, "volumes": [volume, volume, {"emptyDir": {}}]}
    meta = {"name": "p", "namespace": "ns", "uid": "u", "deletionTimestamp": "now"}
    found = nodeview.pod({"metadata": meta, "spec": spec, "status": {"phase": phase}})
    assert found == (pod("u", "c") if uses else None)
