"""Readers in pods while images change, operators die and Caches go: each sees one image, whole."""

import time

import pytest

from gkm.api.names import LABEL_MUTATION
from tests.e2e.actors import Actors, eventually, reading
from tests.e2e.test_per_node import nodes
from tests.stage import NAMESPACE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("alone")]
ROUNDS, PAUSE = 850, 0.005
"""Of each pod; with 6 pods in each of 4 rounds of updates more than 20,000 readings."""


def start(actors: Actors, stage: Stage, here: str, turn: int) -> list[str]:
    """Three readers of the shared volume, and three of a node's own; their names."""
    command, every, started = reading(ROUNDS, PAUSE), nodes(stage), []
    for number in range(3):
        node = every[number % len(every)]
        for cache in ("shared", "each"):
            name, labels = f"{cache}-{turn}-{number}", {LABEL_MUTATION: "true"}
            actors.pod(here, name, cache, command, nodeName=node, labels=labels)
            started.append(name)
    return started


def kill_the_operator(stage: Stage) -> None:
    which = ("-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator")
    stage.kubectl("delete", "pods", *which, "--grace-period=0", "--force", "--wait=false")


def test_more_than_20000_readings_during_updates_and_deletion_see_one_image_each(
    actors: Actors,
    stage: Stage,
    compiled: str,
    other_image: str,
    expected: str,
    other_expected: str,
) -> None:
    here = actors.namespace("torn")
    digests = [image.rpartition("@")[2] for image in (compiled, other_image)]
    modes = {"shared": ["ReadOnlyMany"], "each": ["ReadWriteOnce"]}
    seen: dict[str, set[str]] = {}
    readings = 0

    def set_image(turn: int) -> None:
        for name, access in modes.items():
            image = stage.cache_reference(f"v{turn % 2 + 1}")
            actors.cache(here, name, image=image, accessModes=access)

    def serves(turn: int) -> bool:
        statuses = [actors.get("gkmcache", here, name).get("status") or {} for name in modes]
        reasons = {(s.get("conditions") or [{"reason": ""}])[0]["reason"] for s in statuses}
        wanted = {s.get("resolvedDigest") for s in statuses} == {digests[turn % 2]}
        return wanted and reasons <= {"Extracted", "Running"}

    set_image(0)
    for turn in range(4):
        eventually(f"image {turn % 2 + 1} serves", lambda t=turn: serves(t))  # type: ignore[misc]
        started = start(actors, stage, here, turn)
        for name in started:
            actors.wait_pod(here, name, "Running", "Succeeded")
        if turn < 3:
            set_image(turn + 1)
        else:
            for name in modes:
                actors.delete("gkmcache", here, name, wait=False)
        time.sleep(1)
        kill_the_operator(stage)
        for name in started:
            assert actors.wait_pod(here, name, "Succeeded", "Failed") == "Succeeded"
            lines = actors.logs(here, name).split()
            readings += len(lines)
            seen[name] = set(lines)
            actors.delete("pod", here, name, wait=False)
    assert all(len(found) == 1 for found in seen.values()), seen
    assert set.union(*seen.values()) == {expected, other_expected}
    print(f"{readings} readings of whole trees by {len(seen)} pods, none torn")
    assert readings >= 20_000
    actors.wait_clean()
