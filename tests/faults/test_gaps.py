"""Events that never come: what they would have told is found by the next complete list."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gkm.api import names
from tests.faults.troubles import WATCH, Trouble, What
from tests.faults.weather import Weather, weather

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]
_RESYNC = 15.0
ONCE = (("ADDED", 1), ("MODIFIED", 1), ("MODIFIED", 2), ("DELETED", 1))
KINDS = ("gkmcaches", "persistentvolumeclaims", "persistentvolumes", "jobs", "pods")
TWO_CLAIMS = [("persistentvolumeclaims", "ADDED", 2), ("persistentvolumeclaims", "DELETED", 2)]
LOST = [(kind, *once) for kind in KINDS for once in ONCE] + TWO_CLAIMS
"""Each event that there is in the life of a Cache: only of claims it has two."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sky() -> AsyncIterator[Weather]:
    async with weather(5, GKM_RESYNC_SECONDS=str(_RESYNC)) as here:
        await here.settled(here.spot())
        yield here
        assert not here.violations()


@pytest.mark.parametrize(("kind", "event", "nth"), LOST)
async def test_one_event_is_lost(sky: Weather, kind: str, event: str, nth: int) -> None:
    """F48: the nth event of its type, in the life of a Cache from its creation to its end."""
    lost = Trouble(What.DROP, WATCH, kind, event=event, nth_event=nth)
    sky.transport.begin(lost)
    sky.transport.cut()
    await asyncio.sleep(1.5)
    spot = sky.spot()
    await spot.apply(names.CACHE)
    made = await sky.until("the Cache serves", spot.serves, 4 * _RESYNC)
    gone = await sky.delete(spot)
    sky.note(f"F48-{kind} {event} {nth}", f"serves after {made:.1f} s, gone {gone:.1f} s after")
    assert sky.transport.troubles.lost
    assert gone <= 4 * _RESYNC


async def test_every_event_is_lost(sky: Weather) -> None:  # F48
    sky.transport.begin(Trouble(What.DROP, WATCH, event="*"))
    sky.transport.cut()
    spot = sky.spot()
    await spot.apply(names.CACHE)
    made = await sky.until("the Cache serves", spot.serves, 8 * _RESYNC)
    lost = sky.transport.troubles.lost
    sky.note("F48-all", f"{lost} events lost, serves after {made:.1f} s")
    assert lost
