"""A tag that is followed by choice: when it is looked up again, and what the answer does."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.core import parse
from gkm.core.actions import Resolve
from gkm.core.image import ImageFacts
from gkm.core.refresh import next_look
from gkm.core.view import Cache, Looked, Trouble
from tests.unit.world import DIGEST, IMAGE, KEY, OTHER, World

HOUR = 3600.0
MOVED = ImageFacts(OTHER, {}, 1000)
AWAY = Trouble("RegistryUnavailable", "timeout", 1e9)


def served(refresh: str | None = "1h") -> World:
    """A Cache that serves the image that its tag meant when it was new."""
    world = World(spec={"refresh": refresh} if refresh else {})
    world.serve()
    world.looked = Looked(world.now, DIGEST)
    return world


def asks(world: World) -> bool:
    return any(isinstance(action, Resolve) for action in world.plan().actions)


def wanted(world: World) -> dict[str, Any]:
    """The status that the plan asks for."""
    status = world.plan().status
    assert status is not None
    return status


def test_without_refresh_a_tag_is_never_looked_up_again() -> None:
    world = served(refresh=None)
    world.now += 1000 * 24 * HOUR
    assert not asks(world)
    world.resolution, world.looked = MOVED, Looked(world.now, DIGEST)
    assert wanted(world)["resolvedDigest"] == DIGEST


def test_a_tag_is_looked_up_once_an_interval_and_not_before() -> None:
    world = served()
    due = world.plan().again
    assert due is not None
    assert world.now < due <= world.now + HOUR
    world.now = due - 1
    assert not asks(world)
    world.now = due
    assert asks(world)
    world.looked = Looked(due, DIGEST)
    assert not asks(world)
    assert world.plan().again == due + HOUR


def test_an_answer_that_changes_nothing_writes_nothing() -> None:
    world = served()
    world.now += 2 * HOUR
    world.looked = Looked(world.now, DIGEST)
    plan = world.plan()
    assert (plan.actions, plan.status) == ((), world.status)


def test_a_tag_that_has_moved_is_an_update_of_the_image() -> None:
    world = served()
    world.resolution, world.looked = MOVED, Looked(world.now, DIGEST)
    world.settle()
    assert (world.status["resolvedDigest"], world.ready["reason"]) == (OTHER, "Outdated")
    assert not asks(world)


def test_an_answer_from_before_the_present_pin_is_not_believed() -> None:
    world = served()
    world.resolution, world.looked = MOVED, Looked(world.now, OTHER)
    assert wanted(world)["resolvedDigest"] == DIGEST


@pytest.mark.parametrize("final", [False, True])
def test_a_look_that_fails_changes_no_copy_and_is_told(final: bool) -> None:
    world = served()
    world.resolution = replace(AWAY, again=world.now + 60, final=final)
    world.looked = Looked(world.now, DIGEST)
    plan = world.plan()
    assert plan.actions == ()
    assert plan.again is not None
    assert plan.again <= world.now + (HOUR if final else 60)
    ready, _, resolved, _ = wanted(world)["conditions"]
    assert (ready["reason"], resolved["reason"]) == ("Extracted", "RefreshFailed")
    assert (ready["status"], resolved["status"]) == ("True", "True")
    assert "RegistryUnavailable: timeout" in resolved["message"]


def test_after_a_restart_a_failure_stands_until_the_next_look_which_is_made_at_once() -> None:
    world = served()
    world.resolution, world.looked = replace(AWAY, again=world.now + 60), Looked(world.now, DIGEST)
    world.settle()
    world.resolution, world.looked = None, Looked(world.now, DIGEST)
    assert wanted(world) == world.status
    assert asks(world)


@given(st.floats(0, 4e9), st.sampled_from(["1m", "10m", "12h", "1d", "9999999d"]))
def test_the_next_time_is_later_and_at_most_an_interval_away(after: float, refresh: str) -> None:
    seconds = int(refresh[:-1]) * {"m": 60, "h": 3600, "d": 86400}[refresh[-1]]
    found = next_look(_cache(refresh), after)
    assert after < found <= after + seconds


@pytest.mark.parametrize("refresh", ["", "1", "0m", "1s", "-1m", "1 m", "m", "1mm"])
def test_what_is_no_interval_means_never(refresh: str) -> None:
    assert next_look(_cache(refresh), 0.0) == float("inf")


def test_a_digest_is_never_looked_up_again() -> None:
    assert next_look(_cache("1m", f"{IMAGE}@{DIGEST}"), 0.0) == float("inf")


def _cache(refresh: str, image: str = IMAGE) -> Cache:
    meta = {"namespace": KEY.namespace, "name": KEY.name, "uid": "u", "resourceVersion": "1"}
    spec = {"image": image, "refresh": refresh}
    return parse.cache(KEY.kind, {"metadata": meta | {"generation": 1}, "spec": spec})
