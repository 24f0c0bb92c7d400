"""A blob from many answers: the right bytes in their order, whatever breaks, or an error."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.api.errors import Rejected, Retry
from gkm.oci import resume
from gkm.oci.http import Answer
from gkm.oci.resume import Ask, Tries, download, first

BLOB = bytes(range(200))
AWAY = Retry("RegistryUnavailable", "away")


@dataclass
class Scripted:
    """One answer: what it says to be (``whole``, ``part``, ``other``), and how it breaks."""

    kind: str
    breaks_after: int
    pieces: int
    raises: bool
    url: str = "http://r.test/x"

    def asked(self, headers: Mapping[str, str]) -> "Scripted":
        if self.kind == "away":
            raise AWAY
        asked = headers.get("Range", "")
        self.start = int(asked[len("bytes=") : -1]) if asked else 0
        self.ranged = bool(asked) and self.kind != "whole"
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def status(self) -> int:
        return 206 if self.ranged else 200

    @property
    def length(self) -> int:
        return len(BLOB) - (self.start if self.ranged else 0)

    def header(self, _: str) -> str:
        start = self.start + (1 if self.kind == "other" else 0)
        return f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"

    def stream(self, limit: int) -> Iterator[bytes]:
        body = BLOB[self.start if self.ranged else 0 :][:limit]
        body = body[: self.breaks_after]
        for at in range(0, len(body), self.pieces):
            yield body[at : at + self.pieces]
        if self.raises:
            raise AWAY


ANSWERS = st.builds(
    Scripted,
    st.sampled_from(["whole", "part", "other", "away"]),
    st.integers(0, len(BLOB) + 1),
    st.integers(1, len(BLOB)),
    st.booleans(),
)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "sleep", lambda _: None)


def host(answers: Iterator[Scripted]) -> Ask:
    def ask(headers: Mapping[str, str]) -> Answer:
        answer: Any = next(answers).asked(headers)
        return cast("Answer", answer)

    return ask


@given(answers=st.lists(ANSWERS, min_size=12, max_size=12), hosts=st.integers(1, 3))
def test_whatever_breaks_the_bytes_come_in_their_order_or_it_says_so(
    answers: list[Scripted], hosts: int
) -> None:
    left = iter(answers)
    came = b""
    with suppress(Retry):
        for piece in download([host(left)] * hosts, len(BLOB), Tries(4)):
            assert piece
            came += piece
            assert BLOB.startswith(came)
        assert came == BLOB


@given(cuts=st.lists(st.integers(0, len(BLOB)), min_size=4, max_size=4), whole=st.booleans())
def test_four_breaks_are_survived_and_a_fifth_is_not(cuts: list[int], whole: bool) -> None:
    kind = "whole" if whole else "part"
    broken = [Scripted(kind, max(0, at - 1), 7, raises=True) for at in cuts]
    good = Scripted(kind, len(BLOB), 50, raises=False)
    assert b"".join(download([host(iter([*broken, good]))], len(BLOB), Tries(5))) == BLOB
    none = Scripted(kind, 0, 1, raises=True)
    with pytest.raises(Retry):
        list(download([host(iter([none] * 5))], len(BLOB), Tries(5)))


def test_a_try_that_brought_much_was_not_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "WORTH", 20)
    answers = (Scripted("part", 20, 7, raises=True) for _ in range(9))
    good = Scripted("part", len(BLOB), 50, raises=False)
    source = iter([*answers, good])
    assert b"".join(download([host(source)], len(BLOB), Tries(2))) == BLOB


def test_only_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(resume, "sleep", pauses.append)
    for word in (Retry("Unauthorized", ""), Retry("ImageNotFound", ""), Rejected("BadImage", "")):
        with pytest.raises(type(word)) as caught:
            Tries(5).failed(word)
        assert caught.value is word
    with pytest.raises(Retry):
        Tries(5).failed(Retry("RegistryUnavailable", "", after=resume.LONGEST_PAUSE + 1))
    assert not pauses
    tries = Tries(5)
    for _ in range(4):
        tries.failed(AWAY)
    with pytest.raises(Retry):
        tries.failed(AWAY)
    assert len(pauses) == 4
    assert sum(pauses) < 10


def test_the_first_way_that_works_is_taken() -> None:
    def fails() -> str:
        raise Rejected("BadRedirect", "there")

    assert first([fails, lambda: "second"], Tries(1)) == "second"
    with pytest.raises(Rejected, match=r"BadRedirect: there \(before, there\)"):
        first([fails, fails], Tries(3))
