"""Extractions at once: never more than allowed, nobody starves, a stuck one holds up nobody."""

from gkm.api.names import CACHE, CacheKey
from gkm.core.objects import EMPTY, EXTRACT
from gkm.core.view import Job, JobPod
from gkm.operator.slots import Slots

A, B, C = (CacheKey(CACHE, "a", name) for name in "abc")


def job(key: CacheKey, uid: str, role: str = EXTRACT, *, done: bool = False) -> Job:
    who = ("a", uid, uid, "1", key, "cache-uid", uid, "digest", "a", role, "hash", False, "", "")
    return Job(*who, done=done, created=1000.0)


def pod(of: Job, waiting: str) -> JobPod:
    return JobPod("a", f"{of.name}-x", "pod", "1", of.key, of.uid, "Pending", waiting)


def test_running_extractions_take_slots_and_nothing_else_does() -> None:
    slots = Slots(3, lambda _: None)
    jobs = [job(A, "1"), job(B, "2", EMPTY), job(B, "3", done=True)]
    assert slots.free(C, jobs, [], 1000) == 2


def test_what_is_being_made_counts_until_it_is_there() -> None:
    slots = Slots(3, lambda _: None)
    with slots.promise(A, 2):
        assert slots.free(B, [], [], 1000) == 1
        with slots.promise(A, 1):
            assert slots.free(B, [], [], 1000) == 0
    assert slots.free(B, [], [], 1000) == 3


def test_a_job_that_no_node_takes_gives_its_slot_back_after_thirty_seconds() -> None:
    slots, stuck = Slots(1, lambda _: None), job(A, "1")
    pods = [pod(stuck, "Unschedulable: no")]
    assert slots.free(B, [stuck], pods, 1029) == 0
    assert slots.free(B, [stuck], pods, 1030) == 1


def test_the_more_wait_the_fewer_each_may_have_but_always_one() -> None:
    slots = Slots(4, lambda _: None)
    assert slots.free(A, [], [], 1000) == 4
    slots.wait(B)
    assert slots.free(A, [], [], 1000) == 2
    for name in "defghijk":
        slots.wait(CacheKey(CACHE, "a", name))
    assert slots.free(A, [], [], 1000) == 1
    assert slots.free(A, [job(A, "1")], [], 1000) == 0


def test_turns_come_in_the_order_of_asking() -> None:
    called: list[CacheKey] = []
    slots = Slots(1, called.append)
    for key in (B, A, B):
        slots.wait(key)
    for _ in range(3):
        slots.ended()
    assert called == [B, A]
