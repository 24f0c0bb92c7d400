"""Which looks for GPUs are believed, and when the agent looks again."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from gkm.agent.inventory import Inventory
from gkm.agent.picture import Picture
from gkm.api import names
from gkm.api.meta import CLUSTER_CACHE_NODE
from gkm.core.gpu import Gpu
from gkm.core.nodegpus import believed
from gkm.core.nodereport import Look, report
from gkm.core.nodeview import ThisNode
from gkm.gpus import Inventory as Found
from gkm.gpus.simulated import parse

ONE, TWO, OTHERS = parse("type=H100"), parse("type=H100,count=2"), parse("type=MI210,count=2")


@pytest.mark.parametrize(
    ("found", "certain", "before", "known"),
    [
        (TWO, True, None, TWO),
        ((), True, TWO, ()),
        (ONE, True, TWO, ONE),
        ((), False, None, None),
        (ONE, False, None, ONE),
        (ONE, False, TWO, TWO),
        ((), False, TWO, TWO),
        (TWO, False, ONE, TWO),
        (OTHERS, False, TWO, OTHERS),
        ((), False, (), ()),
    ],
)
def test_an_uncertain_look_takes_nothing_away(
    found: tuple[Gpu, ...],
    certain: bool,
    before: tuple[Gpu, ...] | None,
    known: tuple[Gpu, ...] | None,
) -> None:
    assert believed(found, certain=certain, before=before) == known


class Driver:
    """Answers as it is told to; a text of simulated GPUs goes before it, as in ``detect``."""

    def __init__(self, *answers: Found) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(self, simulated: str, labels: Mapping[str, str]) -> Found:
        self.asked.append((simulated, dict(labels)))
        if simulated:
            return Found(parse(simulated))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def node(annotation: str = "", **labels: str) -> dict[str, Any]:
    annotations = {names.ANNOTATION_SIMULATED: annotation} if annotation else {}
    meta = {"name": "n", "uid": "u", "labels": labels, "annotations": annotations}
    return {"metadata": meta | {"resourceVersion": "1"}}


def an_inventory(driver: Driver, simulated: str = "") -> tuple[Inventory, Picture]:
    picture = Picture(lambda _kind: None)
    picture.observe("Node", "ADDED", node())
    return Inventory(simulated, picture, lambda: None, driver), picture


async def test_a_driver_that_comes_late_is_noticed() -> None:
    missing = Found((), notes=("NVML: no NVIDIA driver here",))
    broken = Found((), notes=("NVML: version mismatch",), certain=False)
    inventory, _ = an_inventory(Driver(missing, broken, Found(TWO), broken))
    looks = []
    for _ in range(4):
        await inventory._look()
        looks.append(inventory.look)
    assert looks == [
        Look((), "NVML: no NVIDIA driver here"),
        Look((), "NVML: version mismatch"),
        Look(TWO),
        Look(TWO, "NVML: version mismatch"),
    ]


async def test_the_annotation_goes_before_the_installation_and_that_before_drivers() -> None:
    driver = Driver(Found(()))
    inventory, picture = an_inventory(driver, "type=H100")
    await inventory._look()
    picture.observe("Node", "MODIFIED", node("type=MI210", model="x"))
    await inventory._look()
    assert driver.asked == [("type=H100", {}), ("type=MI210", {"model": "x"})]


async def test_a_mistake_in_the_text_is_said_and_changes_nothing() -> None:
    inventory, picture = an_inventory(Driver(Found(())), "type=H100")
    await inventory._look()
    picture.observe("Node", "MODIFIED", node("type=H1000"))
    await inventory._look()
    assert inventory.look.gpus == ONE
    assert "H1000" in inventory.look.message


async def test_what_was_reported_before_a_restart_stays_until_a_look_is_certain() -> None:
    inventory, picture = an_inventory(Driver(Found((), certain=False)))
    told = report(ThisNode("n", "u"), Look(TWO), [], ())[""].dump()
    meta: dict[str, Any] = {"name": "n", "uid": "own", "resourceVersion": "1"}
    for owner, known in (("another", None), ("u", 2)):
        meta |= {"ownerReferences": [{"uid": owner}], "resourceVersion": owner}
        picture.observe(CLUSTER_CACHE_NODE, "ADDED", {"metadata": meta, "status": told})
        await inventory._look()
        found = inventory.look.gpus
        assert (len(found) if found is not None else None) == known


async def test_a_change_of_the_node_is_looked_at_at_once() -> None:
    driver = Driver(Found(()))
    inventory, _ = an_inventory(driver)
    task = asyncio.create_task(inventory.run())
    await inventory.looked.wait()
    inventory.wake()
    async with asyncio.timeout(5):
        while len(driver.asked) < 2:  # noqa: ASYNC110 - the driver is asked in a thread
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
