"""Who leads, who takes over and when, and who else pulls at the same objects."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gkm.api import names
from gkm.kube.client import path
from gkm.kube.errors import ApiError
from tests.faults.program import Spawner
from tests.faults.recorder import CLAIM, JOB, VOLUME
from tests.faults.stack import _FIRST_PORT, _LEASE, Seat
from tests.faults.troubles import WRITE, Trouble, What
from tests.faults.weather import Spot, Weather, weather
from tests.stage import NAMESPACE

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
Json = dict[str, Any]
_STACK = 5
_FAKE = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
_PEERING: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "clusterkopfpeerings.kopf.dev"},
    "spec": {
        "group": "kopf.dev",
        "scope": "Cluster",
        "names": {"plural": "clusterkopfpeerings", "kind": "ClusterKopfPeering"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sky() -> AsyncIterator[Weather]:
    """Two operators; the first leads."""
    async with weather(_STACK) as here:
        await here.settled(here.spot())
        other = await here.stack.sit()
        other.operator.environment["GKM_REAL_TIME"] = "1"
        await other.operator.start()
        await here.until("the other is ready", lambda: other.proxy.transport.asked)
        await asyncio.sleep(5)
        yield here
        assert not here.violations()


async def holder(sky: Weather) -> str:
    lease = await sky.stack.client.get("Lease", NAMESPACE, "gkm-operator")
    return str(((lease or {}).get("spec") or {}).get("holderIdentity", "")).partition("_")[0]


async def leader(sky: Weather) -> tuple[Seat, Seat]:
    """Who leads, and who stands by."""
    name = await holder(sky)
    first, second = sky.stack.seats
    return (first, second) if name == first.operator.name else (second, first)


async def taken_over(sky: Weather, by: Seat) -> float:
    begun = time.monotonic()
    while await holder(sky) != by.operator.name:
        assert time.monotonic() - begun < 30
        await asyncio.sleep(0.1)
    return time.monotonic() - begun


def send(seat: Seat, number: signal.Signals) -> None:
    assert seat.operator._running is not None
    os.kill(seat.operator._running.pid, number)


async def serves(sky: Weather, what: str) -> tuple[Spot, float]:
    spot = sky.spot()
    await spot.apply(names.CACHE)
    took = await sky.until(what, spot.serves)
    assert spot.children() == {CLAIM: 1, JOB: 0, VOLUME: 1}
    return spot, took


def writes(seat: Seat, since: float) -> int:
    """Writes but for those of the Lease."""
    asked = seat.proxy.transport.asked
    return sum(a.verb == WRITE and a.resource != "leases" and a.at > since for a in asked)


async def test_two_that_start_together_have_one_leader(sky: Weather) -> None:  # F57
    for seat in sky.stack.seats:
        seat.operator.kill()
        await seat.operator.gone()
        seat.proxy.resume()
    await sky.stack.give_lease_back()
    begun = time.monotonic()
    await asyncio.gather(*(seat.operator.start() for seat in sky.stack.seats))
    await serves(sky, "F57")
    _, standby = await leader(sky)
    assert writes(standby, begun) == 0


async def test_who_is_killed_is_replaced_within_twenty_seconds(sky: Weather) -> None:  # F58
    first, second = await leader(sky)
    spot, begun = sky.spot(), time.monotonic()
    first.operator.kill()
    await spot.apply(names.CACHE)
    took = await taken_over(sky, second)
    await first.operator.gone()
    wrote = await sky.until("the heir writes", lambda: writes(second, begun))
    sky.note("F58", f"Lease taken {took:.1f} s after the kill, first write by {took + wrote:.1f} s")
    await sky.until("F58", spot.serves)
    first.proxy.resume()
    await first.operator.start()
    assert took + wrote <= 20
    await asyncio.sleep(4)


async def test_who_cannot_renew_stops_before_the_other_begins(sky: Weather) -> None:  # F59
    first, second = await leader(sky)
    first.proxy.transport.begin(Trouble(What.BLACK_HOLE, resource="leases"))
    begun = time.monotonic()
    while await holder(sky) != second.operator.name:
        spot = sky.spot()  # there is always something to write
        await spot.apply(names.CACHE)
        await asyncio.sleep(0.5)
        assert time.monotonic() - begun < 30
    took = time.monotonic() - begun
    asked = first.proxy.transport.asked
    last = max(a.at for a in asked if a.verb == WRITE and a.resource != "leases") - begun
    first.proxy.transport.end()
    sky.note(
        "F59", f"last write {last:.1f} s after the trouble began, taken over after {took:.1f} s"
    )
    assert last < took
    assert last < 15
    await sky.until("F59", spot.serves)
    sky.alive()


@pytest.mark.slow
async def test_who_stood_still_writes_nothing_when_it_goes_on(sky: Weather) -> None:  # F16
    first, second = await leader(sky)
    send(first, signal.SIGSTOP)
    took = await taken_over(sky, second)
    spot, _ = await serves(sky, "F16")
    thawed = time.monotonic()
    send(first, signal.SIGCONT)
    await asyncio.sleep(4)
    sky.note("F16", f"taken over after {took:.1f} s; {writes(first, thawed)} writes after the thaw")
    assert writes(first, thawed) == 0
    assert await holder(sky) == second.operator.name
    assert spot.serves()


@pytest.mark.parametrize("spec", ["the other", None], ids=["F60-to the other", "F60-spoilt"])
async def test_a_lease_that_is_edited_makes_no_duplicates(sky: Weather, spec: str | None) -> None:
    _, second = await leader(sky)
    lease = await sky.stack.client.get("Lease", NAMESPACE, "gkm-operator")
    assert lease is not None
    identity = f"{second.operator.name}_{second.operator._running.pid}"  # type: ignore[union-attr]
    body = {"spec": {"holderIdentity": identity} if spec else None}
    spots = [sky.spot() for _ in range(3)]
    for number, spot in enumerate(spots):
        await spot.apply(names.CACHE)
        if number == 1:
            await sky.stack.client.send("PATCH", _LEASE, body, patch=True)
    for spot in spots:
        await sky.until("F60", spot.serves)
        assert spot.children() == {CLAIM: 1, JOB: 0, VOLUME: 1}


@pytest.mark.slow
async def test_other_operators_peerings_are_nothing_to_us(sky: Weather) -> None:  # F62
    client = sky.stack.client
    await client.send("POST", path("CustomResourceDefinition"), _PEERING)
    live = {"other": {"priority": 1000, "lifetime": 3600, "lastseen": "2099-01-01T00:00:00"}}
    body = {
        "apiVersion": "kopf.dev/v1",
        "kind": "ClusterKopfPeering",
        "metadata": {"name": "default"},
        "status": live,
    }
    for _ in range(50):
        try:
            await client.send("POST", "/apis/kopf.dev/v1/clusterkopfpeerings", body)
        except ApiError:
            await asyncio.sleep(0.2)
        else:
            break
    first, second = await leader(sky)
    first.operator.kill()
    await first.operator.gone()
    await sky.stack.give_lease_back()
    first.proxy.resume()
    await first.operator.start()
    await serves(sky, "F62")
    for seat in (first, second):
        asked = seat.proxy.transport.asked
        assert not any(a.resource == "clusterkopfpeerings" for a in asked)


async def test_users_who_fight_get_one_write_for_each_edit(sky: Weather) -> None:  # F63
    spot, _ = await serves(sky, "F63")
    begun = time.monotonic()
    client, space = sky.stack.client, spot.space(1)
    where = path(names.CACHE, space, spot.cache)
    wrong = {"status": {"counts": None, "conditions": None}}
    for number in range(6):
        await client.send("PATCH", f"{where}/status", wrong, patch=True)
        label = {"metadata": {"labels": {"user": str(number)}}}
        await client.send("PATCH", path(CLAIM, space, spot.cache), label, patch=True)
        await asyncio.sleep(1)
    await sky.until("the status is whole again", spot.serves)
    made = sum(writes(seat, begun) for seat in sky.stack.seats)
    sky.note("F63", f"{made} writes for 6 edits of the status and 6 of a claim's labels")
    assert made <= 18  # of each edit of the status an event may tell, too


async def test_a_finalizer_that_somebody_strips_is_no_hot_loop(sky: Weather) -> None:  # F64
    spot = sky.spot()
    client, where = sky.stack.client, path(names.CACHE, spot.space(1), spot.cache)
    begun = time.monotonic()
    await spot.apply(names.CACHE)
    stripped = 0
    while time.monotonic() - begun < 12:
        found = spot.found(names.CACHE) or {"metadata": {}}
        if found["metadata"].get("finalizers"):
            await client.send("PATCH", where, {"metadata": {"finalizers": None}}, patch=True)
            stripped += 1
        await asyncio.sleep(0.02)
    made = sum(
        a.at > begun and a.verb == WRITE and a.resource == "gkmcaches"
        for seat in sky.stack.seats
        for a in seat.proxy.transport.asked
    )
    sky.note("F64", f"stripped {stripped} times in 12 s: {made} writes of the finalizer")
    assert made <= 10


async def test_names_that_are_taken_are_left_alone(sky: Weather) -> None:  # F66
    spot = sky.spot()
    client, space = sky.stack.client, spot.space(1)
    made = await spot.strangers_claim()
    await spot.apply(names.CACHE)

    def told() -> bool:
        conditions = (spot.found(names.CACHE) or {}).get("status", {}).get("conditions", ())
        return any(spot.cache in c["message"] and "not" in c["message"] for c in conditions)

    await sky.until("the status says so", told)
    theirs = sky.stack.recorder.find(CLAIM, space, spot.cache)
    assert theirs is not None
    assert theirs["metadata"]["uid"] == made["metadata"]["uid"]
    assert "labels" not in theirs["metadata"]
    conditions = (spot.found(names.CACHE) or {})["status"]["conditions"]
    sky.note("F66", f"{conditions[0]['reason']}: {conditions[0]['message']}")
    await client.send("DELETE", path(CLAIM, space, spot.cache))
    took = await sky.until("F66", spot.serves)
    sky.note("F66", f"serves {took:.1f} s after the name is free")
    await spot.apply(names.CLUSTER_CACHE, 1)
    await asyncio.sleep(3)
    assert spot.children() == {CLAIM: 1, JOB: 0, VOLUME: 1}
    await sky.stack.client.send("DELETE", path(names.CLUSTER_CACHE, "", spot.cache))


async def probed(seat: Seat, sky: Weather, what: str) -> int:
    port = _FIRST_PORT + 10 * sky.stack.number + sky.stack.seats.index(seat)
    limit = aiohttp.ClientTimeout(total=5)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.get(f"http://127.0.0.1:{port}/{what}") as reply,
    ):
        return reply.status


async def test_a_program_that_stands_still_fails_its_probe(sky: Weather) -> None:  # F17
    _, second = await leader(sky)
    assert [await probed(second, sky, w) for w in ("healthz", "readyz")] == [200, 200]
    send(second, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        await probed(second, sky, "healthz")
    send(second, signal.SIGCONT)
    assert await probed(second, sky, "healthz") == 200


async def test_who_is_told_to_end_does_so_soon_whatever_the_server_does(sky: Weather) -> None:
    """F5, F35: in a black hole, while kopf is between two lives and a registry does not answer."""
    first, second = await leader(sky)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        spot = sky.spot()
        await spot.apply(names.CACHE)
        await spot.edit(names.CACHE, {"image": f"127.0.0.1:{silent.getsockname()[1]}/any:tag"})
        await asyncio.sleep(1)
        await ended(sky, first, second)


async def ended(sky: Weather, first: Seat, second: Seat) -> None:
    first.proxy.transport.begin(Trouble(What.BLACK_HOLE))
    first.proxy.transport.cut()
    await asyncio.sleep(2)
    running = first.operator._running
    assert running is not None
    begun = time.monotonic()
    first.operator.terminate()
    await asyncio.wait_for(asyncio.shield(running.ended), 20)
    took = time.monotonic() - begun
    sky.note("F5", f"SIGTERM in a black hole: ended after {took:.1f} s")
    assert took <= 10
    first.proxy.transport.end()
    first.operator._running = None
    await first.operator.start()
    await taken_over(sky, second)


@pytest.mark.skipif(not Path(_FAKE).exists(), reason="needs Debian's faketime")
@pytest.mark.slow
@pytest.mark.parametrize("skew", ["-1h", "+1h", "-5m"], ids=lambda skew: f"F38{skew}")
async def test_a_wrong_clock_makes_no_second_leader(sky: Weather, skew: str) -> None:
    first, second = await leader(sky)
    environment = {"LD_PRELOAD": _FAKE, "FAKETIME": skew, "DONT_FAKE_MONOTONIC": "1"}
    faked = Spawner("tests.faults.operator_main:main", environment)
    await faked.start()
    second.operator.kill()
    await second.operator.gone()
    second.proxy.resume()
    usual, second.operator._spawner = second.operator._spawner, faked
    await second.operator.start()
    await asyncio.sleep(8)
    assert await holder(sky) == first.operator.name
    first.operator.kill()
    took = await taken_over(sky, second)
    await first.operator.gone()
    first.proxy.resume()
    await first.operator.start()
    _, made = await serves(sky, "F38")
    sky.note(f"F38{skew}", f"takes over after {took:.1f} s, a Cache serves in {made:.1f} s")
    assert took <= 20
    second.operator._spawner = usual
