"""Small pure rules: sizes, pauses, names, conditions, the proof that nobody uses a claim."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.api import names
from gkm.api.errors import Rejected, Retry
from gkm.api.names import CACHE, CacheKey
from gkm.core.conditions import READY, Fact, merged
from gkm.core.outcome import Outcome
from gkm.core.quantity import to_bytes
from gkm.core.retire import next_list, noted, unused_since_two_lists
from gkm.core.retry import UNAVAILABLE, Failure, backoff, patience, trouble, waits
from gkm.core.view import Use

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "size"),
    [("1Gi", 2**30), ("1.5Gi", 3 * 2**29), ("500M", 500_000_000), ("1e3", 1000), ("100m", 1)],
)
def test_a_size_is_read_as_kubernetes_reads_it(text: str, size: int) -> None:
    assert to_bytes(text) == size


@pytest.mark.parametrize("text", ["", "1GB", "-1Gi", "Gi", "1 Gi", "0x10"])
def test_a_size_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Rejected, match="such as 2Gi"):
        to_bytes(text)


@given(st.integers(1, 200), st.text(max_size=20))
def test_pauses_grow_and_stay_within_five_minutes(attempts: int, seed: str) -> None:
    assert 2.5 <= backoff(attempts, seed) <= 300
    assert backoff(attempts + 2, seed) >= min(backoff(attempts, seed), 150)


def test_patience_grows_with_the_time_and_not_with_the_tries() -> None:  # F34
    assert all(1 <= patience(100.0, 100.0 + n / 9, "key") <= 2 for n in range(20))
    assert 7.5 <= patience(100.0, 130.0, "key") <= 15
    assert 20 <= patience(100.0, 9_000.0, "key") <= 40
    away = Retry(UNAVAILABLE, "busy")
    first = trouble(None, away, 1000.0)
    assert trouble(trouble(first, away, 1001.0), away, 1030.0).again <= 1045


def test_a_clock_that_went_back_delays_nothing_for_longer_than_a_pause() -> None:  # F38
    again = trouble(None, Retry("Busy", "busy", after=1e9), 10_000.0).again
    assert again <= 10_300
    assert waits(again, 10_001.0)
    assert not waits(again, again)
    assert not waits(again, 10_000.0 - 3600)


def test_a_failure_counts_on_while_the_input_stays() -> None:
    first = Failure("j1", "input", "NoSpace", "full", 1, 0.0, final=False)
    second = Failure("j2", "input", "NoSpace", "full", 1, 9.0, final=False)
    edited = Failure("j3", "other", "NoSpace", "full", 1, 9.0, final=False)
    assert second.after(first).attempts == 2
    assert edited.after(first).attempts == 1
    assert Failure.parse(second.to_json()) == second
    assert Failure.parse("") is None


def test_trouble_waits_at_least_as_long_as_the_other_side_asks() -> None:
    assert trouble(None, Retry("Busy", "later", after=120), 1000.0).again >= 1120
    assert trouble(None, Rejected("Bad", "no"), 1000.0).final


@given(st.text("abcdefghij-.", min_size=1, max_size=63), st.sampled_from(["", "staging"]))
def test_child_names_fit_a_label(cache: str, suffix: str) -> None:
    name = names.child_name("c" + cache, "abcdefghijklm", suffix)
    assert len(name) <= 63
    assert name.startswith("c")


def test_every_part_of_a_copys_identity_changes_its_id() -> None:
    key, other = CacheKey(CACHE, "a", "k"), CacheKey(CACHE, "b", "k")
    ids = {
        names.copy_id(key, "u", "a", "", "d"),
        names.copy_id(other, "u", "a", "", "d"),
        names.copy_id(key, "v", "a", "", "d"),
        names.copy_id(key, "u", "b", "", "d"),
        names.copy_id(key, "u", "a", "n", "d"),
        names.copy_id(key, "u", "a", "", "e"),
    }
    assert len(ids) == 6


@given(st.sampled_from([CACHE]), st.text("abc", max_size=5), st.text("abc-", min_size=1))
def test_a_cache_key_survives_its_annotation(kind: str, namespace: str, name: str) -> None:
    key = CacheKey(kind, namespace, name)
    assert CacheKey.parse(str(key)) == key


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    first = merged((), [Fact(READY, True, "Extracted")], 1, 100.0)
    same = merged(first, [Fact(READY, True, "Running", "more")], 2, 200.0)
    other = merged(same, [Fact(READY, False, "Error")], 3, 300.0)
    assert same[0].last_transition_time == datetime.fromtimestamp(100, UTC)
    assert (same[0].reason, same[0].observed_generation) == ("Running", 2)
    assert other[0].last_transition_time == datetime.fromtimestamp(300, UTC)


def test_an_outcome_fits_a_termination_message_and_survives_it() -> None:
    outcome = Outcome("BadArchive", "x" * 9000, "sha256:d", 1, 2, 0.5)
    line = outcome.to_json()
    assert len(line) < 4096
    assert Outcome.parse(line) == Outcome("BadArchive", "x" * 1024, "sha256:d", 1, 2, 0.5)
    assert Outcome.parse("Killed") is None


def pod(name: str, phase: str = "Running", claim: str = "foo") -> dict[str, object]:
    volume = {"persistentVolumeClaim": {"claimName": claim}}
    return {"metadata": {"name": name}, "status": {"phase": phase}, "spec": {"volumes": [volume]}}


def test_pods_that_are_not_finished_use_a_claim_and_only_that_claim() -> None:
    pods = [
        pod("running"),
        pod("unscheduled", "Pending"),
        pod("done", "Succeeded"),
        pod("other", claim="foo-bar"),
    ]
    use = noted(None, pods, "foo", 0.0)
    assert use.pods == ("running", "unscheduled")
    assert use.finished == ("done",)


def test_two_empty_lists_five_seconds_apart_prove_that_nobody_uses_a_claim() -> None:
    first = noted(None, [], "foo", 100.0)
    assert not unused_since_two_lists(first, 100.0)
    assert next_list(first, seen=False) == 105.0
    second = noted(first, [], "foo", 105.0)
    assert unused_since_two_lists(second, 105.0)
    assert not unused_since_two_lists(second, 111.0), "an old proof is none"
    assert not unused_since_two_lists(second, 100.0), "nor one of a clock that was wrong"


def test_a_pod_between_two_lists_starts_the_proof_anew() -> None:
    use: Use | None = noted(None, [], "foo", 100.0)
    use = noted(use, [pod("p")], "foo", 105.0)
    use = noted(use, [], "foo", 110.0)
    assert not unused_since_two_lists(use, 110.0)


def test_an_empty_list_of_long_ago_counts_for_nothing() -> None:
    use = noted(noted(None, [], "foo", 100.0), [], "foo", 3700.0)
    assert not unused_since_two_lists(use, 3700.0)


@pytest.mark.parametrize(("seen", "longest"), [(True, 60), (False, 15)])
def test_lists_grow_apart_while_pods_stay_less_if_nobody_tells_of_their_end(
    seen: bool, longest: int
) -> None:
    use: Use | None = None
    gaps = []
    for now in range(10):
        use = noted(use, [pod("p")], "foo", float(now))
        gaps.append(next_list(use, seen=seen) - now)
    assert gaps[0] == 5
    assert gaps == sorted(gaps)
    assert gaps[-1] == longest


@pytest.mark.parametrize("word", [names.OUTDATED, names.DELETING, names.LABEL_HOSTNAME])
def test_a_word_that_programs_agree_on_is_written_once(word: str) -> None:
    sources = [path for top in ("gkm", "webhook") for path in (ROOT / top).rglob("*.py")]
    assert [p.name for p in sources if f'"{word}"' in p.read_text()] == ["names.py"]
