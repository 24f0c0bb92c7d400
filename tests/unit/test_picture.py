"""The webhook's picture: what is kept of what the API server sends."""

import tracemalloc
from typing import Any

import pytest

from gkm.api import names
from gkm.api.names import CACHE, CLUSTER_CACHE, CacheKey
from tests.webhooks import CLAIM_NAME, a_cache, a_claim, a_node, a_picture
from webhook.picture import CLAIM, NODE, SCOPES, Picture

Json = dict[str, Any]
LOCAL = CacheKey(CACHE, "team", "local")
LATER: Json = a_claim(digest="sha256:2")


def chosen(picture: Picture) -> str:
    return picture.known.claim(picture.known.caches[LOCAL], "team", "uid-of-node-1")


def test_a_list_is_the_whole_truth_about_its_kind() -> None:
    picture = a_picture()
    assert chosen(picture) == CLAIM_NAME
    picture.replace(CLUSTER_CACHE, [], "2")
    assert set(picture.known.caches) == {LOCAL, CacheKey(CACHE, "team", "shared")}
    picture.replace(CLAIM, [LATER], "2")
    assert chosen(picture) == LATER["metadata"]["name"]
    picture.replace(CACHE, [], "2")
    picture.replace(NODE, [a_node("2")], "2")
    assert not picture.known.caches
    assert picture.known.nodes == {"node-2": "uid-of-node-2"}
    assert picture.known.hosts == {"host-2": "node-2"}


@pytest.mark.parametrize("how", ["deleted", "terminating", "lost"])
def test_a_claim_that_is_not_bound_any_more_is_not_given_out(how: str) -> None:
    picture, claim = a_picture(), a_claim()
    if how == "terminating":
        claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if how == "lost":
        claim["status"]["phase"] = "Lost"
    picture.observe(CLAIM, "DELETED" if how == "deleted" else "MODIFIED", claim)
    assert not picture.known.claims
    picture.observe(CLAIM, "ADDED", LATER)
    assert chosen(picture) == LATER["metadata"]["name"]


def test_a_shared_claim_has_no_node_and_is_called_like_its_cache() -> None:
    picture, claim = a_picture(), a_claim(node="")
    picture.observe(CLAIM, "ADDED", claim)
    assert len(picture.known.claims) == 1
    shared = picture.known.caches[CacheKey(CACHE, "team", "shared")]
    assert picture.known.claim(shared, "team", "") == "shared"


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("metadata", {"name": "evil"}),
        ("metadata", {"name": "local"}),
        ("metadata", {"namespace": "other"}),
        ("annotations", {names.ANNOTATION_NODE_UID: "uid-of-node-2"}),
        ("annotations", {names.ANNOTATION_DIGEST: "sha256:9"}),
        ("annotations", {names.ANNOTATION_TARGET: "other"}),
        ("labels", {names.LABEL_CACHE_UID: "uid-of-another"}),
        ("labels", {names.LABEL_COPY: "aaaaaaaaaaaaa"}),
    ],
)
def test_a_claim_that_gkm_would_not_have_made_so_is_not_given_out(part: str, change: Json) -> None:
    picture, claim = Picture(), a_claim()
    meta = claim["metadata"]
    (meta if part == "metadata" else meta[part]).update(change)
    picture.observe(CLAIM, "ADDED", claim)
    assert not picture.known.claims


def a_host(number: str, host: str) -> Json:
    node = a_node(number)
    node["metadata"]["labels"] = {names.LABEL_HOSTNAME: host}
    return node


def test_a_node_that_gets_another_hostname_loses_the_one_it_had() -> None:
    picture = a_picture()
    picture.observe(NODE, "MODIFIED", a_host("1", "new"))
    assert picture.known.hosts == {"new": "node-1"}
    picture.observe(NODE, "DELETED", a_host("1", "new"))
    assert picture.known.hosts == {}


@pytest.mark.parametrize("leaving", ["1", "2"])
def test_of_two_nodes_with_one_hostname_the_one_that_stays_has_it(leaving: str) -> None:
    picture = a_picture()
    picture.observe(NODE, "ADDED", a_host("2", "host-1"))
    picture.observe(NODE, "DELETED", a_host(leaving, "host-1"))
    (staying,) = picture.known.nodes
    assert picture.known.hosts == {"host-1": staying}


def test_nodes_and_caches_come_and_go() -> None:
    picture = a_picture()
    picture.observe(NODE, "DELETED", a_node("1"))
    assert not picture.known.nodes
    assert not picture.known.hosts
    going = a_cache("local", "ReadWriteOnce", deletionTimestamp="2026-01-01T00:00:00Z")
    picture.observe(CACHE, "MODIFIED", going)
    assert picture.known.caches[LOCAL].deleting
    picture.observe(CACHE, "DELETED", going)
    assert LOCAL not in picture.known.caches


def test_what_cannot_be_read_is_not_there_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    picture, claim, cache = a_picture(), a_claim(digest="sha256:3"), a_cache("bad", "x")
    del claim["metadata"]["creationTimestamp"]
    del cache["spec"]["mountPath"]
    picture.replace(CLAIM, [claim, LATER], "2")
    picture.observe(CACHE, "ADDED", cache)
    assert chosen(picture) == LATER["metadata"]["name"]
    assert "team/bad cannot be read" in caplog.text


def test_little_of_a_listed_object_is_kept() -> None:
    for kind, obj in ((CACHE, a_cache("a", "b")), (CLAIM, a_claim()), (NODE, a_node("1"))):
        large = obj | {"metadata": obj["metadata"] | {"managedFields": ["x" * 1000]}}
        assert len(repr(SCOPES[kind].slim(large))) < 1000


def test_ten_thousand_claims_are_small() -> None:
    tracemalloc.start()
    picture = Picture()
    listed = (
        SCOPES[CLAIM].slim(a_claim(node=str(n), digest=f"sha256:{n % 9:064}"))
        for n in range(10_000)
    )
    picture.replace(CLAIM, list(listed), "1")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(picture.known.claims) == 10_000
    assert kept < 24 * 1024 * 1024
