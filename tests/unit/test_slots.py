"""Extractions at once: never more than allowed, nobody starves, a stuck one holds up nobody."""

from dataclasses import replace

import pytest

from gkm.api.names import CACHE, CacheKey
from gkm.core.objects import EMPTY, EXTRACT
from gkm.core.view import Job, JobPod
from gkm.operator.slots import Slots, running

A, B, C = (CacheKey(CACHE, "a", name) for name in "abc")


def job(key: CacheKey, uid: str, role: str = EXTRACT, *, done: bool = False) -> Job:
    who = ("a", uid, uid, "1", key, "cache-uid", uid, "digest", "a", role, "hash", False, "", "")
    return Job(*who, done=done, created=1000.0)


def pod(of: Job, phase: str) -> JobPod:
    return JobPod("a", f"{of.name}-x", "pod", "1", of.key, of.uid, phase)


def slots(limit: int) -> Slots:
    return Slots(limit, lambda _: None)


def test_running_extractions_take_slots_and_nothing_else_does() -> None:
    jobs = [job(A, "1"), job(B, "2", EMPTY), job(B, "3", done=True)]
    assert running(jobs, [], (), 1000) == [A]
    assert slots(3).free(C, [A]) == 2


def test_what_is_being_made_counts_until_it_is_there() -> None:
    some = slots(3)
    with some.promise(A, 2):
        assert some.free(B, []) == 1
        with some.promise(A, 1):
            assert some.free(B, []) == 0
    assert some.free(B, []) == 3


@pytest.mark.parametrize("pods", [[], [pod(job(A, "1"), "Pending")]], ids=["no pod", "no volume"])
def test_a_job_that_does_not_get_to_run_gives_its_slot_back_after_thirty_seconds(
    pods: list[JobPod],
) -> None:
    assert running([job(A, "1")], pods, (), 1029) == [A]
    assert running([job(A, "1")], pods, (), 1030) == []
    assert running([job(A, "1")], [pod(job(A, "1"), "Running")], (), 9000) == [A]


def test_a_job_on_a_node_that_nobody_hears_of_holds_no_slot() -> None:
    there = replace(job(A, "1"), node="n1")
    assert running([there], [pod(there, "Running")], {"n1"}, 1000) == []


def test_the_more_wait_the_fewer_each_may_have_but_always_one() -> None:
    some = slots(8)
    assert some.free(A, []) == 8
    some.planned(A, waits=True, begun=0)
    some.planned(B, waits=True, begun=0)
    assert some.free(A, []) == 4
    for name in "defghijk":
        some.planned(CacheKey(CACHE, "a", name), waits=True, begun=0)
    assert some.free(A, []) == 1
    assert some.free(A, [A]) == 0


def test_no_slot_is_idle_because_the_limit_cannot_be_divided() -> None:
    some = slots(3)
    some.planned(A, waits=True, begun=0)
    some.planned(B, waits=True, begun=0)
    assert some.free(A, [A, B]) == 1


def test_nobody_overtakes_the_first_in_line() -> None:
    called: list[CacheKey] = []
    some = Slots(1, called.append)
    some.planned(B, waits=True, begun=0)
    some.planned(C, waits=True, begun=0)
    called.clear()
    some.ended([])
    assert called == [B]
    assert [some.free(key, []) for key in (A, B, C)] == [0, 1, 0]


def test_a_slot_is_not_kept_for_who_has_its_share_already() -> None:
    called: list[CacheKey] = []
    some = Slots(2, called.append)
    for key in (A, B):
        some.planned(key, waits=True, begun=0)
    called.clear()
    some.ended([A])
    assert called == [B]
    assert some.free(B, [A]) == 1


def test_who_had_a_turn_goes_to_the_end_and_the_next_is_called() -> None:
    called: list[CacheKey] = []
    some = Slots(1, called.append)
    some.planned(B, waits=True, begun=0)
    some.planned(C, waits=True, begun=0)
    called.clear()
    some.planned(B, waits=True, begun=1)
    assert called == [C]
    some.planned(C, waits=False, begun=1)
    assert called == [C, B]
    some.planned(B, waits=False, begun=0)
    assert some.free(A, []) == 1
