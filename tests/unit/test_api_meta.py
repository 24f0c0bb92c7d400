"""Names and columns are those of the Go original: its users must feel at home."""

import pytest

from gkm.api.meta import RESOURCES, plural

NODE = ["Node-In-Use", "Node-Not-In-Use", "Node-Error", "Pod-Running"]
CACHE = ["Age", "Status", "Nodes", *NODE]


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("GKMCache", [*CACHE, "Pod-Outdated", "Pod-Deleting", "Last-Updated"]),
        ("ClusterGKMCache", [*CACHE, "Pod-Deleting", "Pod-Outdated", "Last-Updated"]),
        ("GKMCacheNode", [*NODE, "Pod-Deleting", "Pod-Outdated"]),
        ("ClusterGKMCacheNode", [*NODE, "Pod-Deleting", "Pod-Outdated"]),
    ],
)
def test_columns_in_the_documented_order(kind: str, columns: list[str]) -> None:
    assert [column.name for column in RESOURCES[kind].columns] == columns


def test_only_last_updated_needs_wide_output() -> None:
    wide = {c.name for resource in RESOURCES.values() for c in resource.columns if c.priority}
    assert wide == {"Last-Updated"}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("GKMCache", ("gkmcaches", "gkmcache", "gkmc", True)),
        ("ClusterGKMCache", ("clustergkmcaches", "clustergkmcache", "cgkmc", False)),
        ("GKMCacheNode", ("gkmcachenodes", "gkmcachenode", "gkmcn", True)),
        ("ClusterGKMCacheNode", ("clustergkmcachenodes", "clustergkmcachenode", "cgkmcn", False)),
    ],
)
def test_names(kind: str, names: tuple[str, str, str, bool]) -> None:
    one = RESOURCES[kind]
    assert (plural(kind), one.singular, one.short_name, one.namespaced) == names


def test_paths() -> None:
    cache, cluster = RESOURCES["GKMCache"], RESOURCES["ClusterGKMCache"]
    base = "/apis/gkm.io/v1alpha1"
    assert cache.path() == f"{base}/gkmcaches"
    assert cache.path("ns") == f"{base}/namespaces/ns/gkmcaches"
    assert cache.path("ns", "a", "status") == f"{base}/namespaces/ns/gkmcaches/a/status"
    assert cluster.path(name="a") == f"{base}/clustergkmcaches/a"
