"""Watches and lists that die, lie, repeat themselves or expire, under a real operator."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from gkm.api import names
from gkm.kube.client import path
from tests.faults.troubles import LIST, READS, WATCH, Trouble, Troubles, What
from tests.faults.weather import Weather

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]
_SOON = 15.0


def line(what: str, obj: object) -> bytes:
    return json.dumps({"type": what, "object": obj}).encode() + b"\n"


def lines(body: bytes, resource: str = "*") -> Trouble:
    return Trouble(What.LINES, WATCH, resource, body=body)


def body(text: bytes, verb: str) -> Trouble:
    return Trouble(What.BODY, verb, body=text)


GONE = line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
ROWS: dict[str, tuple[Trouble, ...]] = {
    "F42-410 in the stream": (lines(GONE),),
    "F43-410 as the answer to a watch": (Trouble(What.STATUS, WATCH, code=410),),
    "F45-ERROR 500 and 504": (
        lines(line("ERROR", {"code": 500}), "gkm*"),
        lines(line("ERROR", {"code": 504})),
    ),
    "F45-ERROR 429 and an unknown code": (
        lines(line("ERROR", {"code": 429}), "gkm*"),
        lines(line("ERROR", {"code": 799})),
    ),
    "F46-half a line": (lines(b'{"type": "MODIFIED", "object": {"meta'),),
    "F46-garbage": (lines(b"<html>\n"),),
    "F46-a line of 2 MiB": (lines(b'"' + b"x" * (2 << 20) + b'"\n'),),
    "F47-no metadata": (lines(line("MODIFIED", {"kind": "Any"})),),
    "F47-unknown type": (lines(line("CHANGED", {"kind": "Any"})),),
    "F47-a bookmark without a version": (lines(line("BOOKMARK", {"kind": "Any"})),),
    "F36-HTML": (body(b"<html>bad gateway</html>", READS),),
    "F36-an empty body": (body(b"", READS),),
    "F36-a wrong type": (body(b'{"kind": "Status", "metadata": {}}', READS),),
    "F36-an empty object": (body(b'{"metadata": {"resourceVersion": "1"}}', READS),),
    "F36-no UTF-8": (body(b'{"a": "\xff\xfe"}', READS),),
}


KINDS = (
    *("gkmcaches", "persistentvolumeclaims", "clustergkmcaches", "jobs", "persistentvolumes"),
    *("pods", "namespaces", "nodes", "storageclasses", "gkmcachenodes", "clustergkmcachenodes"),
)


@pytest.mark.parametrize("turn", range(2), ids=lambda turn: f"F36 F42 F43 F45 F46 F47-{turn}")
async def test_every_watch_may_have_a_trouble_of_its_own(sky: Weather, turn: int) -> None:
    """Each of the kinds meets another row at a time."""
    rows = list(ROWS)
    chosen = {kind: rows[(3 * turn + n) % len(rows)] for n, kind in enumerate(KINDS)}
    troubles = [replace(one, resource=kind) for kind, row in chosen.items() for one in ROWS[row]]
    half = len(troubles) // 2  # many wait for a second request of their kind
    took = await sky.through(f"each kind another, turn {turn}", 4.0, *troubles, idle=half)
    assert took <= _SOON


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
async def test_what_a_watch_or_a_list_says_wrong_is_outlived(sky: Weather, row: str) -> None:
    await sky.fresh()
    took = await sky.through(row, 4.0, *ROWS[row])
    assert took <= _SOON


async def test_watches_that_are_closed_every_few_seconds_are_resumed(sky: Weather) -> None:
    await sky.fresh()
    await sky.settled(sky.spot())
    begun = time.monotonic()
    took = await sky.through("F40", 9.0, Trouble(What.CLOSE, WATCH, seconds=2.0))
    lists = sky.transport.count(begun, LIST, "persistentvolumeclaims")
    sky.note("F40", f"{lists} lists of claims")
    assert took <= _SOON
    assert lists == 0


@pytest.mark.parametrize(
    "row", ["F51-duplicate", pytest.param("F51-reorder", marks=pytest.mark.slow)]
)
async def test_events_may_come_twice_or_in_another_order(sky: Weather, row: str) -> None:
    took = await sky.through(row, 6.0, Trouble(What(row.partition("-")[2]), WATCH))
    assert took <= _SOON


@pytest.mark.slow
async def test_own_writes_that_are_seen_late_are_not_made_again(sky: Weather) -> None:
    kinds = ("persistentvolumeclaims", "persistentvolumes", "jobs")
    lag = [Trouble(What.LAG, WATCH, kind, seconds=8.0) for kind in kinds]
    took = await sky.through("F53", 10.0, *lag)
    assert took <= 40


@pytest.mark.slow
async def test_a_list_may_expire_between_its_pages(sky: Weather) -> None:  # F44
    where = path("StorageClass")
    for number in range(510):
        meta = {"name": f"many-{number}"}
        body = {"metadata": meta, "provisioner": "example.com/none"}
        await sky.stack.client.create("StorageClass", "", body)
    await sky.fresh()
    expired = Trouble(What.STATUS, LIST, "storageclasses", code=410, continued=True, times=2)
    again = replace(ROWS["F42-410 in the stream"][0], resource="storageclasses", times=1)
    begun = time.monotonic()
    took = await sky.through("F44", 8.0, again, expired)
    pages = sky.transport.count(begun, LIST, "storageclasses")
    sky.note("F44", f"{pages} pages asked for, 2 of them expired")
    await sky.stack.client.send("DELETE", where)
    assert pages >= 4
    assert took <= _SOON


async def test_lists_from_the_past_delete_nothing(sky: Weather) -> None:  # F52
    await sky.fresh()
    mine = sky.spot()
    await sky.settled(mine)
    before = len(sky.stack.recorder.history)
    stale = Trouble(What.STALE, LIST)
    took = await sky.through("F52", 4.0, lines(GONE), stale)
    assert took <= _SOON
    gone = [s for s in sky.stack.recorder.history[before:] if s.event == "DELETED"]
    claims = {s.obj["metadata"]["name"] for s in gone if s.kind == "PersistentVolumeClaim"}
    assert mine.serves()
    assert all(name.endswith("-staging") for name in claims)


@pytest.mark.slow
async def test_watches_that_stall_are_found(sky: Weather) -> None:  # F41
    await sky.fresh()
    await sky.settled(sky.spot())
    sky.transport.begin(Trouble(What.STALL, WATCH))
    sky.transport.cut()
    await asyncio.sleep(2)
    sky.transport.troubles = Troubles()  # what is stalled stays so; what is opened anew is well
    spot, begun = sky.spot(), time.monotonic()
    await spot.apply(names.CACHE)
    kinds = ("gkmcaches", "clustergkmcaches", "persistentvolumeclaims", "nodes")
    for kind in kinds:
        await sky.until(kind, _asked(sky, kind, begun), 75)
        sky.note("F41", f"{kind}: opened again after {time.monotonic() - begun:.1f} s")
    await sky.until("the Cache serves", spot.serves)
    took = time.monotonic() - begun
    sky.note("F41", f"a Cache made meanwhile serves {took:.1f} s after the stall")
    assert took <= 90


def _asked(sky: Weather, kind: str, since: float) -> Callable[[], object]:
    return lambda: sky.transport.count(since, WATCH, kind)
