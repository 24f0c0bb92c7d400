"""What a change around the Caches concerns, and whom agents' words are about."""

from dataclasses import replace
from typing import Any

from gkm.api.names import CACHE, CLUSTER_CACHE, CacheKey
from gkm.core.gpu import Gpu
from gkm.core.view import AgentPod, Entry, Node, Report
from gkm.operator.surroundings import Surroundings

LOCAL, WIDE = CacheKey(CACHE, "a", "kernels"), CacheKey(CLUSTER_CACHE, "", "kernels")
OTHER = CacheKey(CACHE, "b", "kernels")
CACHES: dict[CacheKey, Any] = dict.fromkeys((LOCAL, WIDE, OTHER))
ENTRY = Entry("kernels", "sha256:1", "a", "kernels-x", 1)
GPU = Gpu(0, "cuda", "90", 32, "H100")


def report(namespace: str = "", *entries: Entry, version: str = "1", gpus: Any = ()) -> Report:
    looked = None if namespace else gpus
    return Report("n1", f"uid-{namespace}", version, namespace, "uid-n1", looked, entries)


def around() -> Surroundings:
    made = Surroundings()
    made.store(Node("n1", "uid-n1", "1", {}))
    return made


def test_entries_belong_to_the_kind_and_namespace_of_their_report() -> None:
    made = around()
    made.store(report("a", ENTRY))
    made.store(report("", replace(ENTRY, namespace="b")))
    assert made.entries(LOCAL) == (("n1", ENTRY),)
    assert made.entries(WIDE) == (("n1", replace(ENTRY, namespace="b")),)
    assert made.entries(OTHER) == ()


def test_a_newer_report_takes_the_place_of_the_older_and_a_dropped_one_is_gone() -> None:
    made = around()
    made.store(report("a", ENTRY))
    newer = report("a", replace(ENTRY, pods=2), version="2")
    made.store(newer)
    assert [entry.pods for _, entry in made.entries(LOCAL)] == [2]
    made.drop(newer)
    assert made.entries(LOCAL) == ()


def test_what_was_said_of_a_node_that_is_gone_does_not_count() -> None:
    made = around()
    made.store(report("a", ENTRY))
    made.drop(Node("n1", "uid-n1", "1", {}))
    assert made.entries(LOCAL) == ()


def test_a_pod_concerns_its_cache_only_and_a_gpu_all_of_them() -> None:
    made = around()
    old, new = report("a", ENTRY), report("a", replace(ENTRY, pods=2))
    assert list(made.concerned(old, new, CACHES)) == [LOCAL]
    old, new = report(), report(gpus=(GPU,))
    assert set(made.concerned(old, new, CACHES)) == set(CACHES)
    assert set(made.concerned(None, Node("n2", "u", "1", {}), CACHES)) == set(CACHES)


def test_an_object_that_lost_its_name_to_another_takes_nothing_along() -> None:
    made = around()
    old, new = Node("n1", "uid-n1", "1", {}), Node("n1", "uid-2", "2", {})
    made.store(new)
    made.drop(old)
    assert made.nodes == {"n1": new}


def test_an_agent_is_silent_from_its_end_until_another_is_ready() -> None:
    made = around()
    running = AgentPod("agent-x", "uid-x", "1", "n1", 0.0)
    made.store(running)
    made.store(report())
    assert made.silent() == {}
    made.store(replace(running, silent=5.0))
    assert made.silent() == {"n1": 5.0}
    made.drop(replace(running, silent=5.0))
    assert made.silent()["n1"] > 5.0
    made.store(AgentPod("agent-y", "uid-y", "2", "n1", 0.0))
    assert made.silent() == {}


def test_a_report_without_an_agent_is_silence_that_began_long_ago() -> None:
    """Else a restart would forget it, and say so in every status."""
    made = around()
    made.store(report())
    assert made.silent() == {"n1": 0.0}
