"""An API server that is away, overloaded, slow, or of several minds, under a real operator."""

import asyncio
import itertools
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from gkm.api import names
from gkm.kube.client import path
from gkm.kube.errors import ApiError
from tests.faults import plane
from tests.faults.plane import ETCD, SERVER
from tests.faults.recorder import CLAIM, JOB, POD, VOLUME
from tests.faults.rules import Fault, Rule
from tests.faults.troubles import LIST, READS, WATCH, WRITE, Trouble, What
from tests.faults.weather import Spot, Weather

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]
Json = dict[str, Any]
SLOW = pytest.mark.slow


def refused(code: int, verb: str = "*", resource: str = "*", **more: Any) -> Trouble:
    return Trouble(What.STATUS, verb, resource, code=code, **more)


ROWS: dict[str, tuple[float, tuple[Trouble, ...]]] = {
    "F23-503 for 10 s": (10, (refused(503),)),
    "F24-5 % errors": (15, tuple(refused(code, chance=0.02) for code in (500, 502, 504))),
    "F25-429 and Retry-After 3": (8, (refused(429, after="3"),)),
    "F25-429 without": (8, (refused(429),)),
    "F27-403 on reads of claims and Caches": (
        8,
        (refused(403, READS, "persistentvolumeclaims"), refused(403, READS, "gkmcaches")),
    ),
    "F27-403 on writes of Jobs": (6, (refused(403, WRITE, "jobs"),)),
    "F31-401": (8, (refused(401),)),
    "F33-2 s a call": (12, (Trouble(What.DELAY, seconds=2.0),)),
    "F34-reset before": (8, (Trouble(What.RESET, WRITE, chance=0.5),)),
    "F34-reset after": (8, (Trouble(What.RESET_AFTER, WRITE, chance=0.5),)),
    "F35-black hole": (12, (Trouble(What.BLACK_HOLE),)),
}
LONG: dict[str, tuple[float, tuple[Trouble, ...]]] = {
    "F23-503 for 40 s": (40, (refused(503),)),
    "F23-503 for 54 s": (54, (refused(503),)),
    "F23-503 for 90 s": (90, (refused(503),)),
    "F23-503 for 300 s": (300, (refused(503),)),
    "F24-5 % errors for 5 minutes": (300, ROWS["F24-5 % errors"][1]),
    "F27-403 for 2 minutes": (120, ROWS["F27-403 on reads of claims and Caches"][1]),
    "F33-1 kB a second": (40, (Trouble(What.DRIP, READS),)),
    "F33-10 s a call but the Lease's": (60, (Trouble(What.DELAY, seconds=10, spared="leases"),)),
    "F35-black hole for 40 s": (40, (Trouble(What.BLACK_HOLE),)),
    "F36-50 MiB": (20, (Trouble(What.BODY, LIST, body=b"x" * (50 << 20)),)),
    "F42-410 for 3 minutes": (
        180,
        (Trouble(What.LINES, WATCH, body=b'{"type": "ERROR", "object": {"code": 410}}\n' * 2),),
    ),
}


WATCHES = {"pods": 2, "gkmcaches": 2, "clustergkmcaches": 2}
"""Of which kinds the operator keeps more than one: kopf lists before it watches, and we look for
what kopf never saw."""
QUICK = ("F23-503 for 10 s", "F35-black hole")


@pytest.mark.parametrize(
    "row", [row if row in QUICK else pytest.param(row, marks=SLOW) for row in ROWS | LONG]
)
async def test_a_cache_that_is_made_meanwhile_serves_soon_after(sky: Weather, row: str) -> None:
    seconds, troubles = (ROWS | LONG)[row]
    await sky.fresh()
    begun = time.monotonic()
    took = await sky.through(row, seconds, *troubles)
    assert took <= (15 if seconds <= 30 else 60)
    if seconds >= 120:
        await steady(sky, row, begun, seconds)


async def steady(sky: Weather, row: str, begun: float, seconds: float) -> None:
    """B2: at most two lists a minute for each watch, once it has lasted for a minute."""
    late = [a for a in sky.transport.asked if begun + 60 < a.at < begun + seconds]
    lists = Counter(a.resource for a in late if a.verb == LIST)
    rates = {kind: count * 60 / (seconds - 60) for kind, count in lists.items()}
    sky.note(row, f"lists a minute after the first: {rates}")
    assert all(rate <= 2 * WATCHES.get(kind, 1) for kind, rate in rates.items())


@pytest.mark.parametrize(
    ("program", "signal", "seconds"),
    [
        pytest.param(SERVER, "KILL", 5.0, id="F19-the API server is killed for 5 s"),
        pytest.param(SERVER, "KILL", 30.0, id="F19-for 30 s", marks=SLOW),
        pytest.param(SERVER, "KILL", 300.0, id="F19-for 300 s", marks=SLOW),
        pytest.param(ETCD, "STOP", 12.0, id="F21-etcd stands still for 12 s", marks=SLOW),
        pytest.param(ETCD, "STOP", 30.0, id="F21-for 30 s", marks=SLOW),
        pytest.param(ETCD, "KILL", 3.0, id="F21-etcd is killed", marks=SLOW),
    ],
)
async def test_the_control_plane_goes_and_comes_back(
    sky: Weather, program: str, signal: str, seconds: float
) -> None:
    await sky.fresh()
    spot = sky.spot()
    await sky.settled(sky.spot())
    await plane.signalled(sky.stack, program, signal)
    await asyncio.sleep(seconds)
    if signal == "STOP":
        await plane.signalled(sky.stack, program, "CONT")
    else:
        await plane.started(sky.stack, program)
    await plane.serving(sky.stack)
    begun = time.monotonic()
    while True:
        with suppress(Exception):
            await spot.apply(names.CACHE)
            break
        await asyncio.sleep(0.1)
    accepted = time.monotonic() - begun  # a new API server knows no custom kinds for a while
    serves = asyncio.create_task(sky.until("the Cache serves", spot.serves, 200))
    others = await plane.recovered(sky.stack, spot.space(1))
    took = await serves
    row = "F19" if program == SERVER else "F21"
    told = f"a Cache can be made {accepted:.1f} s after, and serves {took:.1f} s after that"
    told += f"; the controller manager works {others:.1f} s after that"
    sky.note(row, f"{program} {signal} for {seconds:.0f} s: {told}")
    assert took - others <= (15 if seconds <= 30 else 60)


@SLOW
async def test_writes_that_conflict_are_thought_over(sky: Weather) -> None:  # F26
    spot = sky.spot()
    rules = [Rule(Fault.STATUS, number=number, code=409) for number in (1, 2, 4, 6, 8, 10, 12)]
    sky.seat.proxy.begin(rules)
    await spot.apply(names.CACHE)
    took = await sky.until("the Cache serves", spot.serves)
    struck = len(rules) - sky.seat.proxy.rulebook.left
    sky.note("F26", f"{struck} conflicts: serves after {took:.1f} s")
    assert struck >= 5
    assert spot.children() == {CLAIM: 1, JOB: 0, VOLUME: 1}


async def in_use(sky: Weather, pod: str) -> Spot:
    spot = sky.spot()
    await sky.settled(spot)
    await spot.pod(pod)
    await sky.until("the pod runs", lambda: phase(spot, pod) == "Running")
    return spot


def phase(spot: Spot, pod: str) -> str:
    found = spot.stack.recorder.find(POD, spot.space(1), pod) or {}
    return str((found.get("status") or {}).get("phase", ""))


@pytest.mark.parametrize(
    "row",
    [
        "F28-500",
        pytest.param("F28-403", marks=SLOW),
        pytest.param("F28-black hole", marks=SLOW),
        pytest.param("F54-pods are seen 60 s late", marks=SLOW),
    ],
)
async def test_no_claim_goes_while_nobody_can_say_who_uses_it(sky: Weather, row: str) -> None:
    await sky.fresh()
    pod = f"reader-{row[4:7].strip().lower()}"
    spot = await in_use(sky, pod)
    trouble = {
        "F28-403": refused(403, READS, "pods"),
        "F28-500": refused(500, READS, "pods"),
        "F28-black hole": Trouble(What.BLACK_HOLE, READS, "pods"),
    }.get(row, Trouble(What.LAG, WATCH, "pods", seconds=60))
    sky.transport.begin(trouble)
    sky.transport.cut()
    await spot.delete(names.CACHE)
    if row.startswith("F28"):
        await asyncio.sleep(3)
        await spot.delete_pod(pod)
        await sky.until("the pod is gone", lambda: not phase(spot, pod))
    await asyncio.sleep(7)
    assert spot.children()[CLAIM] == 1
    sky.transport.end()
    if not row.startswith("F28"):
        await spot.delete_pod(pod)
    took = await sky.until("the Cache is gone", lambda: sky.gone(spot))
    sky.note(row, f"nothing deleted meanwhile; gone {took:.1f} s after")


@SLOW
async def test_a_quota_is_named_and_not_run_against(sky: Weather) -> None:  # F29
    space = sky.spot().space(2)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": space},
        "spec": {"hard": {"persistentvolumeclaims": "0"}},
    }
    where = f"/api/v1/namespaces/{space}/resourcequotas"
    await sky.stack.client.send("POST", where, quota)
    spot = sky.spot()
    begun = time.monotonic()
    await spot.apply(names.CLUSTER_CACHE, 2)

    def told() -> bool:
        conditions = (spot.found(names.CLUSTER_CACHE) or {}).get("status", {}).get("conditions", ())
        return any("quota" in one["message"] for one in conditions)

    await sky.until("the status names the quota", told)
    await asyncio.sleep(15)
    tries = sky.transport.count(begun, WRITE, "persistentvolumeclaims")
    await sky.stack.client.send("DELETE", f"{where}/none")
    sky.note("F29", f"{tries} tries in {time.monotonic() - begun:.0f} s")
    assert tries <= 5


@SLOW
async def test_a_status_that_is_refused_is_not_written_again_and_again(sky: Weather) -> None:  # F30
    begun = time.monotonic()
    await sky.through("F30", 15.0, refused(422, WRITE, "gkmcaches/status"))
    tries = sky.transport.count(begun, WRITE, "gkmcaches/status")
    sky.note("F30", f"{tries} writes of the status, those after it included")
    assert tries <= 20


async def stalled(sky: Weather) -> Spot:
    """A Cache that serves, and an operator that sees nothing more of it."""
    await sky.fresh()
    spot = sky.spot()
    await sky.settled(spot)
    sky.transport.begin(Trouble(What.STALL, WATCH))
    sky.transport.cut()
    await asyncio.sleep(1.5)
    return spot


@SLOW
async def test_a_cache_that_is_made_anew_unseen_gets_children_of_its_own(sky: Weather) -> None:
    spot = await stalled(sky)  # F49
    old = spot.found(names.CACHE) or {}
    where = path(names.CACHE, spot.space(1), spot.cache)
    await spot.delete(names.CACHE)
    bare = {"metadata": {"finalizers": None}}
    with suppress(ApiError):  # the operator may have been told by its own list
        await sky.stack.client.send("PATCH", where, bare, patch=True)
    await sky.until("the Cache is gone", lambda: spot.found(names.CACHE) is None)
    await spot.apply(names.CACHE)
    sky.transport.end()
    sky.transport.cut()

    def anew() -> bool:
        uid = (spot.found(names.CACHE) or old)["metadata"]["uid"]
        owners = {
            (claim["metadata"].get("labels") or {}).get(names.LABEL_CACHE_UID)
            for claim in sky.stack.recorder.all(CLAIM)
            if claim["metadata"]["name"].startswith(spot.cache)
        }
        return uid != old["metadata"]["uid"] and spot.serves() and owners == {uid}

    took = await sky.until("only the new one's children", anew)
    sky.note("F49", f"the new Cache serves {took:.1f} s after, nothing of the old is left")


@SLOW
async def test_a_claim_that_a_stranger_made_anew_unseen_is_not_ours(sky: Weather) -> None:
    spot = await stalled(sky)  # F50
    client, space = sky.stack.client, spot.space(1)
    await client.send("DELETE", path(CLAIM, space, spot.cache))
    await sky.until(
        "the claim is gone",
        lambda: sky.stack.recorder.find(CLAIM, space, spot.cache) is None,
    )
    made = await spot.strangers_claim()
    sky.transport.end()
    sky.transport.cut()
    took = await sky.until("the status is true again", lambda: not spot.serves())
    await asyncio.sleep(5)
    there = sky.stack.recorder.find(CLAIM, space, spot.cache)
    assert there is not None
    assert there["metadata"]["uid"] == made["metadata"]["uid"]
    sky.note("F50", f"no longer called Extracted {took:.1f} s after; the stranger's claim stays")
    await client.send("DELETE", path(CLAIM, space, spot.cache))
    await sky.until("it serves again", spot.serves)


@SLOW
async def test_an_api_server_that_is_started_again_and_again(sky: Weather) -> None:  # F20
    await sky.fresh()
    await sky.settled(sky.spot())
    await asyncio.sleep(3)
    begun = time.monotonic()
    for _ in range(5):
        await plane.signalled(sky.stack, SERVER, "KILL")
        await plane.started(sky.stack, SERVER)
        await asyncio.sleep(8)
    kinds = ("gkmcaches", "persistentvolumeclaims", "nodes", "jobs")
    lists = {kind: sky.transport.count(begun, LIST, kind) for kind in kinds}
    sky.note("F20", f"5 restarts: lists {lists}, those that nobody answered included")
    await sky.settled(sky.spot())


@SLOW
async def test_a_store_that_went_back_in_time(sky: Weather) -> None:  # F22
    await sky.fresh()
    first, lost, after = sky.spot(), sky.spot(), sky.spot()
    await sky.settled(first)
    sandbox, folder = sky.stack.cluster._sandbox, sky.stack.cluster._control.folder
    await plane.signalled(sky.stack, ETCD, "STOP")
    await asyncio.to_thread(sandbox.run, "cp", "-r", f"{folder}/etcd", f"{folder}/etcd-old")
    await plane.signalled(sky.stack, ETCD, "CONT")
    await plane.serving(sky.stack)
    await sky.settled(lost)
    for program in (SERVER, ETCD):
        await plane.signalled(sky.stack, program, "KILL")
    await asyncio.sleep(1)
    script = f"rm -r {folder}/etcd && mv {folder}/etcd-old {folder}/etcd"
    await asyncio.to_thread(sandbox.run, "sh", "-c", script)
    starting = asyncio.create_task(plane.started(sky.stack, ETCD))
    await asyncio.sleep(2)
    await plane.started(sky.stack, SERVER)
    await starting
    begun = time.monotonic()
    await asyncio.sleep(20)
    assert sky.stack.recorder.find(CLAIM, first.space(1), first.cache) is not None
    await after.apply(names.CACHE)
    await sky.until("a new Cache serves", after.serves)
    took = time.monotonic() - begun
    sky.note("F22", f"nothing deleted; a Cache made 20 s afterwards serves at {took:.0f} s")


@SLOW
async def test_a_storm_of_pods_that_are_none_of_ours(sky: Weather) -> None:  # F56
    client, space = sky.stack.client, sky.spot().space(3)
    for number in range(20):
        body = {
            "apiVersion": "v1",
            "kind": POD,
            "metadata": {"name": f"other-{number}", "namespace": space},
            "spec": {"containers": [{"name": "main", "image": "example.com/none"}]},
        }
        await client.create(POD, space, body)

    async def blow() -> None:
        for number in itertools.count():
            label = {"metadata": {"labels": {"storm": str(number)}}}
            where = path(POD, space, f"other-{number % 20}")
            await client.send("PATCH", where, label, patch=True)

    storms = [asyncio.create_task(blow()) for _ in range(8)]
    spot = sky.spot()
    begun = len(sky.stack.recorder.history)
    await asyncio.sleep(5)
    await spot.apply(names.CACHE)
    took = await sky.until("a Cache serves", spot.serves)
    for storm in storms:
        storm.cancel()
    await asyncio.gather(*storms, return_exceptions=True)
    events = sum(seen.kind == POD for seen in sky.stack.recorder.history[begun:])
    sky.note("F56", f"{events} events of other pods; a Cache serves in {took:.1f} s")


@SLOW
async def test_kinds_may_be_taken_away_and_brought_back(sky: Weather) -> None:  # F55
    name = "gkmcachenodes.gkm.io"
    where = f"{path('CustomResourceDefinition')}/{name}"
    found = await sky.get("CustomResourceDefinition", "", name)
    assert found is not None
    await sky.stack.client.send("DELETE", where)
    await asyncio.sleep(5)
    body = {key: found[key] for key in ("apiVersion", "kind", "spec")}
    body |= {"metadata": {"name": name}}
    begun = time.monotonic()
    with suppress(aiohttp.ClientError):
        await sky.stack.client.send("POST", path("CustomResourceDefinition"), body)
    await sky.until(
        "it is watched again",
        lambda: sky.transport.count(begun, WATCH, "gkmcachenodes"),
        60,
    )
    sky.note("F55", f"watched again {time.monotonic() - begun:.1f} s after it came back")
    spot = sky.spot()
    await sky.settled(spot)
