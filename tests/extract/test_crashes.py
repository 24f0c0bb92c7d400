"""A volume is empty, recognisably unfinished or complete, wherever the extraction dies or fails."""

from random import Random

import pytest

from gkm.core.outcome import EXIT_DONE, EXIT_RETRY
from tests.extract.scenes import CHANGES, Point, Stand
from tests.extract.struck import Ended, Strike

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(3600)]
SEED = 7
_KILLED = -9
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS")


async def struck(stand: Stand, points: list[Point]) -> list[tuple[Strike, Ended]]:
    """Strike at each of these points; how each run ended."""
    wrong: list[str] = []
    ends = []
    for scene, strike in points:
        ended, problems = await stand.strike(scene, strike)
        ends.append((strike, ended))
        wrong += problems
    assert not wrong, "\n".join(wrong[:20])
    return ends


async def test_killed_at_a_sample_of_its_calls_it_leaves_no_half_volume(stand: Stand) -> None:
    points = await stand.points(CHANGES)
    ends = await struck(stand, Random(SEED).sample(points, min(330, len(points))))
    reached = sum(ended.code == _KILLED for _, ended in ends)
    print(f"killed at {reached} points, of {len(points)} that change a volume")
    assert reached >= 300


@pytest.mark.slow
async def test_killed_at_each_of_its_calls_it_leaves_no_half_volume(stand: Stand) -> None:
    points = await stand.points()
    ends = await struck(stand, points)
    reached = sum(ended.code == _KILLED for _, ended in ends)
    print(f"killed at {reached} of {len(points)} points")
    assert reached >= 2000


async def failing(stand: Stand, count: int | None) -> None:
    """F91: each error at these calls; ``count``: at so many of them."""
    points = [
        (scene, Strike(strike.call, strike.nth, f"error={error}"))
        for scene, strike in await stand.points(CHANGES)
        for error in ERRORS
    ]
    if count is not None:
        points = Random(SEED).sample(points, count)
    ends = await struck(stand, points)
    bugs = [f"{strike}: {e.log}" for strike, e in ends if e.code not in (EXIT_DONE, EXIT_RETRY)]
    assert not bugs, "\n".join(bugs[:5])
    failed = [(strike, ended) for strike, ended in ends if ended.code == EXIT_RETRY]
    untold = [ended for _, ended in failed if "the outcome cannot be written" in ended.log]
    print(f"{len(failed)} of {len(ends)} runs failed for it")
    assert len(failed) > len(ends) / 2
    told = [(strike, ended.outcome) for strike, ended in failed if ended not in untold]
    reasons = {(strike.what, outcome.reason) for strike, outcome in told if outcome}
    full = {(f"error={error}", "NoSpace") for error in ("ENOSPC", "EDQUOT")}
    assert full <= reasons
    assert {reason for _, reason in reasons} <= {"NoSpace", "VolumeError"}


async def test_a_sample_of_its_calls_fails_and_it_says_why_and_leaves_no_half_volume(
    stand: Stand,
) -> None:
    await failing(stand, 120)


@pytest.mark.slow
async def test_each_of_its_calls_fails_and_it_says_why_and_leaves_no_half_volume(
    stand: Stand,
) -> None:
    await failing(stand, None)
