"""The strict tar reader: what it takes, and that nothing else gets through or crashes it."""

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gkm.api.errors import Rejected
from gkm.oci import archive
from gkm.oci.archive import Archive, Tally
from tests.images import Entry, tar

COMPONENT = st.text(
    st.characters(whitelist_categories=("Ll", "Nd"), whitelist_characters="._-+ "),
    min_size=1,
    max_size=60,
).filter(lambda part: part not in (".", "..") and not part.startswith(".wh."))
PATH = st.lists(COMPONENT, min_size=1, max_size=5).map("/".join)


def read(raw: bytes, chunk: int = 1000) -> list[Entry]:
    pieces = (raw[at : at + chunk] for at in range(0, len(raw), chunk))
    opened = Archive(pieces, Tally())
    return [
        (one.name, None if one.directory else b"".join(opened.data())) for one in opened.members()
    ]


def refusal(raw: bytes) -> str:
    with pytest.raises(Rejected) as caught:
        read(raw)
    return caught.value.message


def member(name: str, **fields: object) -> bytes:
    """One archive whose first member has these odd fields."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(info, field, value)
        archive.addfile(info)
    return out.getvalue()


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(PATH, st.binary(max_size=2000), max_size=12), st.integers(1, 3000))
def test_what_was_packed_is_read(files: dict[str, bytes], chunk: int) -> None:
    folded: dict[str, str] = {}
    for name in list(files):
        parts = name.split("/")
        ancestors = ["/".join(parts[:end]) for end in range(1, len(parts))]
        if any(folded.setdefault(a.casefold(), a) != a for a in ancestors) or any(
            a.casefold() == other.casefold() for a in ancestors for other in files
        ):
            del files[name]
    unique = {name.casefold(): name for name in files}
    entries = [(name, files[name]) for name in sorted(unique.values())]
    assert read(tar(entries), chunk) == entries


MUTABLE = tar([("io.triton.cache", None), ("io.triton.cache/k/a", b"x" * 700), ("b" * 150, b"y")])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_refused_or_read_and_never_more(data: st.DataObject) -> None:
    raw = bytearray(MUTABLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(raw))))
    try:
        found = read(bytes(raw[:cut]))
    except Rejected:
        return
    for name, _ in found:
        assert not name.startswith("/")
        assert not {"", ".", ".."} & set(name.split("/"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=4000))
def test_noise_is_refused(raw: bytes) -> None:
    if raw.strip(b"\x00"):
        refusal(raw)


def test_both_spellings_of_directories_are_taken() -> None:
    assert read(tar([("a/", None), ("a/f", b"1")])) == read(tar([("a", None), ("a/f", b"1")]))


def test_a_gnu_long_name_is_taken() -> None:
    name = "d/" + "n" * 200
    assert read(member(name)) == [(name, b"")]


@pytest.mark.parametrize(
    "name",
    ["/abs", "../up", "a/../b", "a/./b", "./a", "a//b", "..", "a\\b", "a\nb", "a\x1bb", "a\u202eb",
     "a\ufeffb", "a/.wh.b", ".wh..wh..opq", "d/" * 70 + "f", "c" * 300, ("q" * 200 + "/") * 6],
)  # fmt: skip
def test_a_name_with_a_second_meaning_is_refused(name: str) -> None:
    refusal(tar([(name, b"")]))


def test_a_name_that_is_no_utf8_is_refused() -> None:
    assert "UTF-8" in refusal(member("a\udcff"))


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
     tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"K", b"g", b"Z"],
)  # fmt: skip
def test_only_files_and_directories_belong_in_a_cache(kind: bytes) -> None:
    assert "only regular files and directories" in refusal(member("a", type=kind, linkname="b"))


@pytest.mark.parametrize(
    "names",
    [["a", "a"], ["a/", "a/"], ["a", "A"], ["a", "a/b"], ["a/b", "a"], ["a/b", "A/c"],
     ["caf\u00e9", "cafe\u0301"], ["a/", "a"]],
)  # fmt: skip
def test_twins_are_refused(names: list[str]) -> None:
    refusal(tar([(name, None if name.endswith("/") else b"") for name in names]))


def test_an_archive_that_ends_early_or_goes_on_is_refused() -> None:
    whole = tar([("a", b"x" * 600)])
    body = 512 + 1024
    for end in (0, 100, 512, 700, body, body + 512):
        refusal(whole[:end])
    assert read(whole[: body + 1024]) == [("a", b"x" * 600)]
    refusal(whole[: body + 1024] + b"more")
    refusal(whole[:body] + bytes(512) + whole)


def test_a_path_stands_once_in_all_layers_of_an_image_and_folders_may_stand_in_each() -> None:
    tally = Tally()
    for entries in ([("d/", None), ("d/a", b"")], [("d/", None), ("d/b", b"")]):
        found = Archive(_whole(tar(entries)), tally).members()
        assert [one.directory for one in found] == [True, False]
    with pytest.raises(Rejected, match="stands twice"):
        list(Archive(_whole(tar([("d/A", b"")])), tally).members())


def test_layers_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGEST_CACHE", 1000)
    tally = Tally()
    list(Archive(_whole(tar([("a", b"x" * 600)])), tally).members())
    with pytest.raises(Rejected, match="larger than any cache"):
        list(Archive(_whole(tar([("b", b"x" * 600)])), tally).members())


def test_wrong_numbers_are_refused() -> None:
    good = member("a")
    refusal(good[:148] + b"0000000\x00" + good[156:])
    assert "disagree" in refusal(_pax({"size": "5"}))
    assert "not possible" in refusal(member("a", type=tarfile.DIRTYPE, size=512))
    refusal(member("a", size=1 << 40))


@pytest.mark.parametrize("key", ["GNU.sparse.major", "linkpath"])
def test_pax_records_that_change_the_meaning_are_refused(key: str) -> None:
    refusal(_pax({key: "1"}))


def _pax(headers: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = headers
        archive.addfile(info)
    return out.getvalue()


def test_content_that_nobody_reads_is_skipped() -> None:
    raw = tar([("a", b"x" * 5000), ("b", b"y")])
    assert [one.name for one in Archive(_whole(raw), Tally()).members()] == ["a", "b"]


def _whole(raw: bytes) -> Iterator[bytes]:
    yield raw
