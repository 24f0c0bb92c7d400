"""What a Job makes of a registry that misbehaves: the right bytes, or nothing and a reason.

Rows F68 to F78 and F82 to F87 of ``README.md``; the others are in ``test_registry_ways.py``.
"""

import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gkm.api.errors import Rejected, Retry
from gkm.core.image import Reference
from gkm.oci import media, pace, resume
from gkm.oci.manifest import Descriptor
from gkm.oci.registry import Registry
from gkm.oci.resume import TRIES
from gkm.oci.settings import RegistrySettings
from tests.extract.badreg import (
    BadRegistry,
    Behaviour,
    blob,
    chunked,
    cut,
    drip,
    endless,
    honest,
    ignores_range,
    in_turn,
    manifest,
    needs,
    part,
    raw,
    says,
    silent,
    stall,
)
from tests.extract.pulls import (
    CONFIG,
    CONFIG_PATH,
    FILES,
    IMAGE,
    LAYER,
    LAYER_PATH,
    MANIFEST,
    MANIFEST_PATH,
    NAME,
    Ended,
    content,
    crafted,
    nothing_or_all,
    published,
    pull,
    run,
)
from tests.images import Image, cache_files, descriptor, digest

Json = dict[str, Any]
GONE = (11, "RegistryUnavailable")
OTHER = (11, "DigestMismatch")
REFUSED = (10, "BadImage")
DONE = (0, "Extracted")
REQUESTS = 3
"""Manifest, config and one layer: layers + 2."""


def middle(body: bytes) -> bytes:
    """The same length, other bytes."""
    return body[: len(body) // 2] + bytes(8) + body[len(body) // 2 + 8 :]


def manifest_of(**change: object) -> bytes:
    """The honest image's manifest with other keys."""
    return json.dumps({**json.loads(MANIFEST), **change}).encode()


def layer_of(**change: object) -> bytes:
    """The honest image's manifest with another descriptor of its layer."""
    return manifest_of(layers=[{**descriptor(LAYER, media.OCI_LAYER_GZIP), **change}])


def config_of(**change: object) -> bytes:
    return manifest_of(config={**descriptor(CONFIG, media.OCI_CONFIG), **change})


def index(*entries: Mapping[str, object], **change: object) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries, **change}
    ).encode()


def zeros(before: bytes) -> Iterator[bytes]:
    yield before
    while True:
        yield bytes(65536)


def trailers() -> Iterator[bytes]:
    yield b"%x\r\n" % len(LAYER) + LAYER + b"\r\n0\r\n"
    while True:
        yield b"X: y\r\n" * 1000


def interim() -> Iterator[bytes]:
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n" * 1000


@dataclass(frozen=True)
class Case:
    """A run of the program: what the registry does otherwise, and how it must end."""

    id: str
    paths: Mapping[str, Behaviour]
    ends: tuple[int, str]
    document: bytes = MANIFEST
    asked: int | None = None
    """Number of requests, if it must be exactly this."""
    sent: int = 1 << 40
    """Bytes that the registry gets rid of at most, sockets' buffers included."""
    message: str = ""
    media_type: str = media.OCI_MANIFEST


BUFFERS = 16 << 20
"""What sockets of this machine may hold, and a step's limit for each of the tries."""
TWICE_BUSY = in_turn(says(429, Retry_After=1), says(503, Retry_After=1), honest(LAYER))
HUGE_HEADER = raw(lambda: iter([b"HTTP/1.1 200 OK\r\nX: ", b"x" * (1 << 20), b"\r\n\r\n"]))
MANY_HEADERS = raw(lambda: iter([b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000, b"\r\n"]))
NO_END_OF_HEADERS = raw(lambda: zeros(b"HTTP/1.1 200 OK\r\n"))
DENSE = b'{"layers":[' + b"{}," * 1_300_000 + b"{}]}"
INNER = {manifest(digest(index())): honest(index())}
NESTED = index(descriptor(index(), media.OCI_MANIFEST))
MINUS_ONE = chunked(lambda: zeros(b"-1\r\n"))
ERROR_1GIB = endless(500, Content_Length=1 << 30)
MANY = [descriptor(b"", media.OCI_LAYER_GZIP)] * 20_000
NOTE = {"org.example.note": "x" * (1 << 20)}

CASES = [
    Case("F68-500", {LAYER_PATH: says(500)}, GONE, asked=2 + TRIES, message="answers 500"),
    Case("F68-503-manifest", {MANIFEST_PATH: says(503)}, GONE, asked=TRIES),
    Case("F68-429-then-well", {LAYER_PATH: TWICE_BUSY}, DONE, asked=2 + 3),
    Case("F68-come-back-tomorrow", {LAYER_PATH: says(429, Retry_After=86400)}, GONE, asked=3),
    Case("F72-resumed", {LAYER_PATH: in_turn(cut(LAYER, 70_000), honest(LAYER))}, DONE, asked=4),
    Case("F72-for-ever", {LAYER_PATH: cut(LAYER, 70_000)}, GONE, asked=2 + TRIES),
    Case("F74-layer", {LAYER_PATH: honest(middle(LAYER))}, OTHER, asked=REQUESTS),
    Case("F74-config", {CONFIG_PATH: honest(middle(CONFIG))}, OTHER, asked=2),
    Case("F74-manifest", {MANIFEST_PATH: honest(middle(MANIFEST))}, OTHER, asked=1),
    Case(
        "F74-header-lies-about-right-bytes",
        {MANIFEST_PATH: says(200, MANIFEST, Docker_Content_Digest=digest(b"other"))},
        DONE,
    ),
    Case(
        "F74-header-lies-about-other-bytes",
        {MANIFEST_PATH: says(200, middle(MANIFEST), Docker_Content_Digest=NAME)},
        OTHER,
    ),
    Case("F75-layer-smaller", {}, OTHER, layer_of(size=len(LAYER) - 1), asked=REQUESTS),
    Case("F75-layer-larger", {}, OTHER, layer_of(size=len(LAYER) + 1), asked=REQUESTS),
    Case("F75-layer-negative", {}, REFUSED, layer_of(size=-1), asked=1),
    Case("F75-layer-2^63", {}, REFUSED, layer_of(size=1 << 63), asked=1),
    Case("F75-layer-fraction", {}, REFUSED, layer_of(size=1.5), asked=1),
    Case("F75-config-smaller", {}, OTHER, config_of(size=len(CONFIG) - 1), asked=2),
    Case("F75-config-larger", {}, OTHER, config_of(size=len(CONFIG) + 1), asked=2),
    Case("F75-config-1GiB", {}, REFUSED, config_of(size=1 << 30), asked=1),
    Case("F76-longer", {LAYER_PATH: says(200, LAYER + b"x")}, OTHER, asked=REQUESTS),
    Case("F76-endless", {LAYER_PATH: endless()}, OTHER, sent=BUFFERS),
    Case("F76-endless-config", {CONFIG_PATH: endless()}, OTHER, sent=BUFFERS),
    Case("F76-endless-manifest", {MANIFEST_PATH: endless()}, REFUSED, sent=BUFFERS),
    Case("F76-chunk-of-size--1", {LAYER_PATH: MINUS_ONE}, OTHER, sent=BUFFERS),
    Case("F76-trailers", {LAYER_PATH: chunked(trailers)}, DONE, sent=BUFFERS),
    Case("F77-5MiB", {}, REFUSED, manifest_of(note="x" * (5 << 20)), message="4194304 bytes"),
    Case("F77-20k-layers", {}, REFUSED, manifest_of(layers=MANY), message="at most 128"),
    Case("F77-100k-layers", {}, REFUSED, manifest_of(layers=MANY * 5), message="4194304 bytes"),
    Case("F77-129-layers", {}, REFUSED, manifest_of(layers=MANY[:129]), message="at most 128"),
    Case("F77-annotation-1MiB", {}, DONE, manifest_of(annotations=NOTE)),
    Case(
        "F77-nested",
        {manifest(digest(index())): honest(index())},
        REFUSED,
        NESTED,
        media_type=media.OCI_INDEX,
    ),
    Case("F77-a-million-objects", {}, REFUSED, DENSE, message="100000 values"),
    Case("F77-deep-json", {}, REFUSED, b'{"a":' * 100_000, message="no JSON"),
    Case("F78-image-and-index", {}, REFUSED, manifest_of(manifests=[]), message="either"),
    Case("F78-key-twice", {}, REFUSED, MANIFEST[:-1] + b',"layers":[]}', message="twice"),
    Case("F78-sent-as-index", {}, REFUSED, media_type=media.OCI_INDEX, message="is sent as"),
    Case("F78-type-of-index", {}, REFUSED, manifest_of(mediaType=media.OCI_INDEX), media_type=""),
    Case("F83-header-1MiB", {MANIFEST_PATH: HUGE_HEADER}, GONE, asked=TRIES),
    Case("F83-10k-headers", {MANIFEST_PATH: MANY_HEADERS}, GONE, asked=TRIES),
    Case("F83-no-end-of-headers", {MANIFEST_PATH: NO_END_OF_HEADERS}, GONE, sent=BUFFERS),
    Case(
        "F83-error-body-1GiB",
        {LAYER_PATH: endless(500, Content_Length=1 << 30)},
        GONE,
        sent=BUFFERS,
    ),
    Case("F83-answer-after-answer", {MANIFEST_PATH: raw(interim)}, GONE, sent=TRIES * BUFFERS),
    Case(
        "F85-ignores-range", {LAYER_PATH: in_turn(cut(LAYER, 70_000), ignores_range(LAYER))}, DONE
    ),
    Case("F85-ignores-range-and-breaks-off", {LAYER_PATH: ignores_range(LAYER, 70_000)}, GONE),
    Case(
        "F85-other-range",
        {LAYER_PATH: in_turn(cut(LAYER, 70_000), part(LAYER, -1), honest(LAYER))},
        DONE,
        asked=5,
    ),
    Case("F85-always-other-range", {LAYER_PATH: in_turn(cut(LAYER, 70_000), part(LAYER, 1))}, GONE),
    Case(
        "F85-wrong-total",
        {LAYER_PATH: in_turn(cut(LAYER, 70_000), part(LAYER, 0, len(LAYER) + 1))},
        GONE,
    ),
    Case(
        "F85-range-of-unknown-total",
        {LAYER_PATH: in_turn(cut(LAYER, 70_000), part(LAYER, 0, "*"))},
        DONE,
        asked=4,
    ),
    Case(
        "F85-other-bytes-in-the-range",
        {LAYER_PATH: in_turn(cut(LAYER, 10), honest(middle(LAYER)))},
        OTHER,
    ),
    Case("F85-range-that-nobody-asked-for", {LAYER_PATH: part(LAYER)}, GONE),
]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, "Future[Run]"]]:
    """The chosen cases, begun all at once: most of them wait, for pauses between tries."""
    names = {item.name for item in request.session.items}
    chosen = [case for case in CASES if f"test_a_job_ends_as_it_should[{case.id}]" in names]
    with ThreadPoolExecutor(6) as pool:
        yield {
            case.id: pool.submit(run_case, case, tmp_path_factory.mktemp("case")) for case in chosen
        }


@dataclass(frozen=True)
class Run:
    """A case that ended."""

    ended: Ended
    asked: int
    sent: int
    folder: Path


def run_case(case: Case, folder: Path) -> Run:
    with BadRegistry() as bad:
        pinned = crafted(bad, case.document, case.media_type)
        bad.paths.update(case.paths)
        ended = run(bad.settings, pinned, folder)
        return Run(ended, len(bad.asked), sum(one.sent for one in bad.asked), folder)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The program with an honest registry."""
    found = run_case(Case("usual", {}, DONE), tmp_path_factory.mktemp("usual"))
    assert (found.ended.code, found.ended.reason, found.asked) == (*DONE, REQUESTS)
    assert content(found.folder) == FILES
    return found.ended


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_job_ends_as_it_should(
    case: Case, runs: Mapping[str, "Future[Run]"], usual: Ended
) -> None:
    found = runs[case.id].result()
    assert (found.ended.code, found.ended.reason) == case.ends, found.ended.log
    assert case.message in found.ended.message
    assert published(found.folder) == (case.ends == DONE)
    nothing_or_all(found.folder)
    assert case.asked in (None, found.asked)
    assert found.sent <= case.sent
    assert found.ended.rss <= usual.rss + 20 * 1024
    assert "Traceback" not in found.ended.log


def test_f68_a_registry_that_is_down_is_tried_and_then_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host = f"127.0.0.1:{closed.getsockname()[1]}"
    ended = run(RegistrySettings(frozenset({host})), f"{host}/k/c@{NAME}", tmp_path)
    assert (ended.code, ended.reason) == GONE
    assert not published(tmp_path)


def test_f68_a_volume_that_is_complete_needs_no_registry(tmp_path: Path) -> None:
    with BadRegistry() as bad:
        pinned = bad.add(IMAGE)
        for asked in (REQUESTS, REQUESTS):
            assert run(bad.settings, pinned, tmp_path).code == 0
            assert len(bad.asked) == asked
    assert run(bad.settings, pinned, tmp_path).code == 0
    assert content(tmp_path) == FILES


@pytest.fixture
def bad() -> Iterator[BadRegistry]:
    with BadRegistry() as running:
        yield running


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which pass at once."""
    pauses: list[float] = []
    monkeypatch.setattr(resume, "sleep", pauses.append)
    return pauses


def word(call: Callable[[], object]) -> str:
    """The reason of what ``call`` raises."""
    with pytest.raises((Retry, Rejected)) as caught:
        call()
    assert isinstance(caught.value, Retry | Rejected)
    return caught.value.reason


def test_f68_a_name_that_nobody_knows_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, hasty: list[float], tmp_path: Path
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    settings = RegistrySettings()
    assert word(lambda: pull(settings, f"r.test/k/c@{NAME}", tmp_path)) == "RegistryUnavailable"
    assert len(hasty) == TRIES - 1


def test_f68_the_pauses_grow_and_differ_and_the_server_may_ask_for_more(
    bad: BadRegistry, hasty: list[float], tmp_path: Path
) -> None:
    pinned = bad.add(IMAGE)
    bad.paths[LAYER_PATH] = says(503)
    for _ in range(2):
        assert word(lambda: pull(bad.settings, pinned, tmp_path)) == "RegistryUnavailable"
    first, second = hasty[: TRIES - 1], hasty[TRIES - 1 :]
    assert first != second
    for number, pause in enumerate(first):
        assert 0.5 <= pause / (resume.FIRST_PAUSE * 2**number) <= 1
    hasty.clear()
    bad.paths[LAYER_PATH] = says(503, Retry_After=7)
    assert word(lambda: pull(bad.settings, pinned, tmp_path)) == "RegistryUnavailable"
    assert all(pause > 7 for pause in hasty)


def test_f68_the_operator_asks_once(bad: BadRegistry) -> None:
    pinned = bad.add(IMAGE)
    bad.paths[MANIFEST_PATH] = says(503, Retry_After=7)
    with pytest.raises(Retry) as caught:
        Registry(bad.settings).resolve(pinned)
    assert caught.value.after == 7
    assert len(bad.asked) == 1


def test_f69_f70_a_job_asks_for_its_digest_and_for_no_tag(bad: BadRegistry, tmp_path: Path) -> None:
    pinned = bad.add(IMAGE)
    bad.add(Image([cache_files({"other": b"2"})], size_label="1"))
    assert bad.paths[manifest("v1")] != bad.paths[MANIFEST_PATH]
    pull(bad.settings, pinned, tmp_path)
    assert content(tmp_path) == FILES
    assert manifest("v1") not in [one.path for one in bad.asked]


DRIPS: dict[str, dict[str, Behaviour]] = {
    "silent": {MANIFEST_PATH: silent},
    "head": {MANIFEST_PATH: drip(MANIFEST, 0.02, head=True)},
    "manifest": {MANIFEST_PATH: drip(MANIFEST, 0.02)},
    "config": {CONFIG_PATH: drip(CONFIG, 0.02)},
    "config-stalls": {CONFIG_PATH: stall(CONFIG, len(CONFIG) - 1)},
    "layer-head": {LAYER_PATH: drip(LAYER, 0.02, head=True)},
    "layer": {LAYER_PATH: drip(LAYER, 0.02)},
    "layer-at-99-percent": {LAYER_PATH: drip(LAYER, 0.02, after=99 * len(LAYER) // 100)},
    "layer-stalls": {LAYER_PATH: stall(LAYER, 99 * len(LAYER) // 100)},
}


@pytest.mark.parametrize("name", DRIPS, ids=[f"F71-{name}" for name in DRIPS])
def test_f71_what_drips_ends(
    name: str, bad: BadRegistry, monkeypatch: pytest.MonkeyPatch, hasty: list[float], tmp_path: Path
) -> None:
    for limit in ("SILENCE_SECONDS", "DOCUMENT_SECONDS", "RATE_SECONDS"):
        monkeypatch.setattr(pace, limit, getattr(pace, limit) / 200)
    pinned = bad.add(IMAGE)
    bad.paths.update(DRIPS[name])
    started = time.monotonic()
    assert word(lambda: pull(bad.settings, pinned, tmp_path)) == "RegistryUnavailable"
    assert time.monotonic() - started < TRIES * pace.DOCUMENT_SECONDS + 1
    assert len(hasty) == TRIES - 1
    assert not published(tmp_path)


def test_f71_slow_is_not_too_slow(
    bad: BadRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pace, "DOCUMENT_SECONDS", 0.5)
    monkeypatch.setattr(pace, "RATE_SECONDS", 0.1)
    monkeypatch.setattr(pace, "SLOWEST", 20)
    pinned = bad.add(IMAGE)
    bad.paths[LAYER_PATH] = drip(LAYER, 0.01, after=len(LAYER) - 100)
    pull(bad.settings, pinned, tmp_path)
    assert content(tmp_path) == FILES


BY_THE_SECOND: dict[str, dict[str, Behaviour]] = {
    "manifest": {MANIFEST_PATH: drip(MANIFEST, 1)},
    "layer": {LAYER_PATH: drip(LAYER, 1, after=99 * len(LAYER) // 100)},
    "stall": DRIPS["layer-stalls"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_THE_SECOND, ids=[f"F71-{name}" for name in BY_THE_SECOND])
def test_f71_what_drips_ends_by_the_real_clock(name: str, bad: BadRegistry, tmp_path: Path) -> None:
    pinned = bad.add(IMAGE)
    bad.paths.update(BY_THE_SECOND[name])
    ended = run(bad.settings, pinned, tmp_path)
    assert (ended.code, ended.reason) == GONE
    assert ended.seconds < TRIES * pace.DOCUMENT_SECONDS + 30


@pytest.mark.parametrize("sixteenth", range(16), ids=[f"F72-{n}of16" for n in range(16)])
@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_f72_a_layer_that_is_cut_goes_on_where_it_broke_off(
    sixteenth: int, reset: bool, bad: BadRegistry, hasty: list[float], tmp_path: Path
) -> None:
    pinned, at = bad.add(IMAGE), len(LAYER) * sixteenth // 16
    bad.paths[LAYER_PATH] = cut(LAYER, at, reset=reset)
    assert word(lambda: pull(bad.settings, pinned, tmp_path)) == "RegistryUnavailable"
    assert len(hasty) == TRIES - 1
    assert not published(tmp_path)
    bad.asked.clear()
    bad.paths[LAYER_PATH] = in_turn(cut(LAYER, at, reset=reset), honest(LAYER))
    pull(bad.settings, pinned, tmp_path)
    assert content(tmp_path) == FILES
    first, second = (one for one in bad.asked if one.path == LAYER_PATH)
    assert first.start == 0
    # What a connection that was reset brought last is lost.
    assert second.start == at if not reset else second.start <= at


BODIES = {MANIFEST_PATH: MANIFEST, CONFIG_PATH: CONFIG, LAYER_PATH: LAYER}
GROUPS, FLIPS, CUTS = 20, 1000, 16


def positions() -> list[tuple[str, int, bool]]:
    """Path, bit, and whether it is flipped; else the body ends there: 1,016 of them."""
    places = [(path, bit) for path, body in BODIES.items() for bit in range(8 * len(body))]
    chosen = random.Random(1016)
    # The documents are small beside the layer: half of the flips are theirs.
    small = [place for place in places if place[0] != LAYER_PATH]
    large = places[len(small) :]
    flips = [*chosen.sample(small, FLIPS // 2), *chosen.sample(large, FLIPS // 2)]
    cuts = chosen.sample(places, CUTS)
    found = [(path, bit, True) for path, bit in flips]
    found += [(path, bit, False) for path, bit in cuts]
    chosen.shuffle(found)
    return found


@pytest.mark.parametrize(
    "group",
    [
        pytest.param(group, id=f"F73-{group}", marks=[pytest.mark.slow] if group >= 4 else [])
        for group in range(GROUPS)
    ],
)
@pytest.mark.usefixtures("hasty")
def test_f73_a_bit_that_flipped_and_an_end_that_came_early_publish_nothing(
    group: int, bad: BadRegistry, tmp_path: Path
) -> None:
    pinned = bad.add(IMAGE)
    tried = positions()[group::GROUPS]
    assert len(tried) >= 50
    for path, bit, flips in tried:
        body, usual = bytearray(BODIES[path]), bad.paths[path]
        body[bit // 8] ^= 1 << bit % 8
        bad.paths[path] = honest(bytes(body)) if flips else says(200, bytes(body[: bit // 8]))
        with pytest.raises(Retry):
            pull(bad.settings, pinned, tmp_path)
        assert not published(tmp_path)
        bad.paths[path] = usual
    pull(bad.settings, pinned, tmp_path)
    assert content(tmp_path) == FILES


@pytest.mark.parametrize("size", [1, 1000, len(LAYER) - 1], ids="F75-{}".format)
def test_f75_no_more_is_read_than_the_size_says(
    size: int, bad: BadRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = [0]
    came = pace.Pace.came

    def counted(self: pace.Pace, count: int, waited: float) -> None:
        read[0] += count
        came(self, count, waited)

    bad.add(IMAGE)
    bad.paths[LAYER_PATH] = chunked(lambda: zeros(b"fffffff\r\n"))
    monkeypatch.setattr(pace.Pace, "came", counted)
    wanted = Descriptor(media.OCI_LAYER_GZIP, digest(LAYER), size)
    where = Reference.parse(f"{bad.host}/k/c:v1")
    with pytest.raises(Retry, match="DigestMismatch"):
        list(Registry(bad.settings, tries=TRIES).blob(where, wanted))
    assert read[0] <= size + 2 * 8192  # http.client reads ahead one block


DOCUMENTS = {case.id: case.document for case in CASES if case.id.startswith("F77")}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_f77_a_monstrous_document_costs_the_operator_little_time(
    name: str, bad: BadRegistry
) -> None:
    pinned = crafted(bad, DOCUMENTS[name], "")
    bad.paths.update(INNER)
    started = time.process_time()
    if name != "F77-annotation-1MiB":
        assert word(lambda: Registry(bad.settings).resolve(pinned)) == "BadImage"
    else:
        Registry(bad.settings).resolve(pinned)
    assert time.process_time() - started < 2


def test_f82_a_layer_is_fetched_from_the_registry_and_not_from_where_it_says(
    bad: BadRegistry, tmp_path: Path
) -> None:
    with BadRegistry() as elsewhere:
        urls = [f"http://{elsewhere.host}/layer", f"https://{elsewhere.host}/layer"]
        settings = RegistrySettings(frozenset({bad.host, elsewhere.host}))
        pull(settings, crafted(bad, layer_of(urls=urls)), tmp_path)
        assert content(tmp_path) == FILES
        foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        document = layer_of(urls=urls, mediaType=foreign)
        (tmp_path / "foreign").mkdir()
        reason = word(lambda: pull(settings, crafted(bad, document), tmp_path / "foreign"))
        assert reason == "NotACacheImage"
        assert elsewhere.connections == 0


TOKENS = {
    "10MiB": says(200, json.dumps({"token": "t", "more": "x" * (10 << 20)}).encode()),
    "endless": endless(),
    "endless-error": endless(500),
    "no-json": says(200, b"{"),
    "two-lines": says(200, b'{"token": "a\\r\\nX: y"}'),
}


@pytest.mark.parametrize("name", TOKENS, ids=[f"F83-token-{name}" for name in TOKENS])
def test_f83_a_token_that_is_none_says_nothing_about_the_image(
    name: str, bad: BadRegistry, hasty: list[float], tmp_path: Path
) -> None:
    pinned = bad.add(IMAGE)
    challenge = f'Bearer realm="http://{bad.host}/token"'
    bad.paths[MANIFEST_PATH] = needs("Bearer t", challenge, honest(MANIFEST))
    bad.paths["/token"] = TOKENS[name]
    assert word(lambda: pull(bad.settings, pinned, tmp_path)) == "RegistryUnavailable"
    assert len(hasty) == TRIES - 1
    assert len(bad.times("/token")) == TRIES
    assert sum(one.sent for one in bad.asked) < 2 * BUFFERS


def test_f84_a_token_that_expires_in_the_middle_is_asked_for_once_more(
    bad: BadRegistry, tmp_path: Path
) -> None:
    image = Image([cache_files({f"{n}": b"x"}) for n in range(3)], size_label="3")
    pinned, (name, blobs) = bad.add(image), image.documents()
    challenge = f'Bearer realm="http://{bad.host}/token"'
    tokens = itertools.count(1)
    valid = ["Bearer t1"]

    def issue(asked: Any, wire: Any) -> None:
        valid[0] = f"Bearer t{next(tokens)}"
        says(200, json.dumps({"token": valid[0].removeprefix("Bearer ")}).encode())(asked, wire)

    def guarded(then: Behaviour, *, last: bool) -> Behaviour:
        def behave(asked: Any, wire: Any) -> None:
            needs(valid[0], challenge, then)(asked, wire)
            if last and asked.authorization == valid[0]:
                valid[0] = "expired"

        return behave

    bad.paths["/token"] = issue
    first_layer = next(d for d in blobs if blobs[d][:2] == b"\x1f\x8b")
    for path, then in list(bad.paths.items()):
        if path != "/token":
            bad.paths[path] = guarded(then, last=path == blob(first_layer))
    pull(bad.settings, pinned, tmp_path)
    assert published(tmp_path)
    needed = 3 + 2
    # Two for the first token, two for the second: the refusal, and asking for it.
    assert len(bad.asked) == needed + 2 + 2
    assert name


KINDS: dict[str, tuple[Image | bytes, str]] = {
    "zstd": (Image([cache_files(FILES)], layer_type=media.OCI_LAYER_ZSTD), ""),
    "docker": (Image([cache_files(FILES)], layer_type=media.DOCKER_LAYER_GZIP), ""),
    "uncompressed": (layer_of(mediaType="application/vnd.oci.image.layer.v1.tar"), "NotACache"),
    "encrypted": (layer_of(mediaType=f"{media.OCI_LAYER_GZIP}+encrypted"), "NotACacheImage"),
    "unknown": (layer_of(mediaType="text/plain"), "NotACacheImage"),
    "no-layers": (manifest_of(layers=[]), "BadImage"),
    "empty-config": (manifest_of(config=descriptor(b"{}", media.OCI_CONFIG)), "BadImage"),
}


@pytest.mark.parametrize("name", KINDS, ids=[f"F86-{name}" for name in KINDS])
def test_f86_an_image_of_another_kind_is_supported_or_refused_for_good(
    name: str, bad: BadRegistry, tmp_path: Path
) -> None:
    image, reason = KINDS[name]
    pinned = bad.add(image) if isinstance(image, Image) else crafted(bad, image)
    bad.paths[blob(digest(b"{}"))] = honest(b"{}")
    if not reason:
        pull(bad.settings, pinned, tmp_path)
        assert content(tmp_path) == FILES
        return
    with pytest.raises(Rejected, match=reason):
        pull(bad.settings, pinned, tmp_path)
    assert not published(tmp_path)


def test_f86_an_index_without_this_architecture_gives_the_image_that_it_has(
    bad: BadRegistry, tmp_path: Path
) -> None:
    other = {**descriptor(MANIFEST, media.OCI_MANIFEST), "platform": {"architecture": "riscv64"}}
    pull(bad.settings, crafted(bad, index(other), media.OCI_INDEX), tmp_path)
    assert content(tmp_path) == FILES


def test_f87_many_pulls_at_once_ask_no_more_than_each_alone(
    bad: BadRegistry, tmp_path: Path
) -> None:
    pinned, pulls = bad.add(IMAGE), 200
    folders = [tmp_path / str(number) for number in range(pulls)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda folder: pull(bad.settings, pinned, folder), folders))
    assert all(map(published, folders))
    assert len(bad.asked) == pulls * REQUESTS == bad.connections


def test_f87_a_registry_that_is_busy_gets_them_all_served_at_last(
    bad: BadRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It serves four at once, and asks the others for patience."""
    monkeypatch.setattr(resume, "FIRST_PAUSE", 0.05)
    places = threading.BoundedSemaphore(4)

    def busy(asked: Any, wire: Any) -> None:
        if not places.acquire(blocking=False):
            says(429)(asked, wire)
            return
        try:
            wire.wait(0.01)
            honest(LAYER)(asked, wire)
        finally:
            places.release()

    pinned = bad.add(IMAGE)
    bad.paths[LAYER_PATH] = busy
    folders = [tmp_path / str(number) for number in range(16)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda folder: pull(bad.settings, pinned, folder), folders))
    assert all(map(published, folders))
    assert len(bad.times(LAYER_PATH)) > 16, "nobody was asked for patience"
