"""The life of a copy: it ends well from every state, and what it must never do."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gkm.core.copy import Claim, Job, Observed, Phase, Step, Volume, next_step, phase
from tests.unit.fair_world import carry_out, turn

BOOLS = (False, True)
MOST_STEPS = 12


def filling() -> Iterator[Observed]:
    """Every state of a copy that is being made, served or taken away."""
    for wanted, ours, stale, staging, job, volume, serving in product(
        BOOLS, BOOLS, BOOLS, Claim, Job, Volume, Claim
    ):
        yield Observed(
            wanted=wanted,
            ours=ours,
            stale_ref=stale,
            staging=staging,
            job=job,
            volume=volume,
            serving=serving,
        )


def reclaiming() -> Iterator[Observed]:
    """Every state of a copy whose volume is being given back."""
    for wanted, ours, stale, volume, reclaim, emptying, serving in product(
        BOOLS, BOOLS, BOOLS, Volume, Claim, Job, Claim
    ):
        yield Observed(
            wanted=wanted,
            ours=ours,
            stale_ref=stale,
            volume=volume,
            reclaim=reclaim,
            emptying=emptying,
            serving=serving,
        )


anything = st.builds(
    Observed,
    wanted=st.booleans(),
    name_free=st.booleans(),
    ours=st.booleans(),
    kept=st.booleans(),
    staging=st.sampled_from(Claim),
    job=st.sampled_from(Job),
    volume=st.sampled_from(Volume),
    stale_ref=st.booleans(),
    node_gone=st.booleans(),
    superseded=st.booleans(),
    serving=st.sampled_from(Claim),
    reclaim=st.sampled_from(Claim),
    emptying=st.sampled_from(Job),
)


def ended(seen: Observed) -> bool:
    wanted = Phase.PUBLISHED if seen.wanted else Phase.GONE
    return phase(seen) is wanted and next_step(seen) is Step.WAIT


@cache
def after(seen: Observed) -> Observed:
    return turn(carry_out(next_step(seen), seen))


def steps_to_the_end(seen: Observed) -> int:
    history = [seen]
    while not ended(seen):
        seen = after(seen)
        history.append(seen)
        assert len(history) <= MOST_STEPS + 1, [(next_step(s).name, s) for s in history]
    return len(history) - 1


@pytest.mark.parametrize("states", [filling, reclaiming])
def test_in_a_fair_world_every_state_ends_published_or_gone(
    states: "type[Iterable[Observed]]",
) -> None:
    longest = max(steps_to_the_end(turn(seen)) for seen in states())
    print(f"longest way to the end: {longest} steps")


@settings(max_examples=500)
@given(anything)
def test_any_mixture_of_states_ends_published_or_gone(seen: Observed) -> None:
    steps_to_the_end(turn(seen))


@settings(max_examples=500)
@given(anything)
def test_phase_and_step_are_total_and_agree(seen: Observed) -> None:
    quiet = {Phase.GONE, Phase.BLOCKED}
    assert next_step(seen) is Step.WAIT or phase(seen) not in quiet


@settings(max_examples=500)
@given(anything)
def test_a_volume_is_reserved_only_when_filled_and_the_name_is_free(seen: Observed) -> None:
    if next_step(seen) is Step.RESERVE:
        assert seen.wanted
        assert seen.job is Job.DONE
        assert seen.staging is Claim.BOUND
        assert seen.volume is Volume.STAGING
        assert seen.name_free


@settings(max_examples=500)
@given(anything)
def test_a_serving_claim_is_created_only_on_a_reserved_volume_without_staging(
    seen: Observed,
) -> None:
    if next_step(seen) is Step.PUBLISH:
        assert seen.volume is Volume.SERVING
        assert seen.staging is Claim.NONE
        assert seen.job is Job.NONE
        assert not seen.stale_ref


@settings(max_examples=500)
@given(anything)
def test_a_terminating_serving_claim_is_never_published(seen: Observed) -> None:
    if seen.serving is Claim.GOING:
        assert phase(seen) is not Phase.PUBLISHED


@settings(max_examples=500)
@given(anything)
def test_a_published_copy_that_is_wanted_is_left_alone(seen: Observed) -> None:
    if phase(seen) is Phase.PUBLISHED:
        marked = {Step.RESTORE} if seen.superseded else set()
        assert next_step(seen) in {Step.WAIT, Step.DROP_STAGING, *marked}


@settings(max_examples=500)
@given(anything)
def test_a_volume_is_given_back_only_after_its_serving_claim_is_gone(seen: Observed) -> None:
    if next_step(seen) in (Step.RECLAIM, Step.EMPTY):
        assert seen.serving is Claim.NONE
        assert seen.staging is Claim.NONE
