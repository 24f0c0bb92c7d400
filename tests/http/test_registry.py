"""The registry client against a scripted server: what it asks, and how it fails."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate

import pytest

from gkm.api.errors import Rejected, Retry
from gkm.core.image import Reference
from gkm.oci import media, pace
from gkm.oci.manifest import LARGEST_DOCUMENT, Descriptor, host_architecture
from gkm.oci.registry import Registry
from gkm.oci.settings import RegistrySettings
from tests.images import Answer, Image, Script, cache_files, descriptor, digest, scripted

IMAGE = Image([cache_files({"a": b"1"})], size_label="1")
NAME, BLOBS = IMAGE.documents()
LAYER = next(
    Descriptor(media.OCI_LAYER_GZIP, d, len(b)) for d, b in BLOBS.items() if b[:2] == b"\x1f\x8b"
)

EMPTY = descriptor(b"", "x")


@pytest.fixture
def script() -> Iterator[Script]:
    with scripted() as running:
        yield running


def resolve(script: Script, reference: str = "k/c:v1") -> object:
    return script.registry().resolve(f"{script.host}/{reference}")


def failure(kind: type[Retry | Rejected], call: Callable[[], object]) -> Retry | Rejected:
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, Retry | Rejected)
    return caught.value


def test_a_tag_becomes_a_digest_with_labels_and_size(script: Script) -> None:
    script.add(IMAGE)
    facts = script.registry().resolve(f"{script.host}/k/c:v1")
    assert facts.digest == NAME
    assert facts.labels["cache.triton.image/cache-size-bytes"] == "1"
    assert facts.layer_bytes == LAYER.size


def test_an_index_keeps_its_digest_and_picks_this_machines_image(script: Script) -> None:
    script.add(IMAGE)
    foreign = Image([cache_files({"b": b"22"})], size_label="2")
    script.add(foreign, tag="foreign")
    entries = [
        {**descriptor(b"{}", media.OCI_MANIFEST), "platform": {"os": "unknown"}},
        {**_entry(foreign), "platform": {"os": "linux", "architecture": "s390x"}},
        {**_entry(IMAGE), "platform": {"os": "linux", "architecture": host_architecture()}},
    ]
    _serve_index(script, entries)
    facts = script.registry().resolve(f"{script.host}/k/c:index")
    assert facts.labels["cache.triton.image/cache-size-bytes"] == "1"
    assert facts.digest == digest(script.answers["/v2/k/c/manifests/index"].body)
    _serve_index(script, entries[:2])
    facts = script.registry().resolve(f"{script.host}/k/c:index")
    assert facts.labels["cache.triton.image/cache-size-bytes"] == "2"


def _entry(image: Image) -> dict[str, object]:
    name, blobs = image.documents()
    return descriptor(blobs[name], media.OCI_MANIFEST)


def _serve_index(script: Script, entries: list[dict[str, object]]) -> None:
    index = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries})
    script.answers["/v2/k/c/manifests/index"] = Answer(index.encode())


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (404, Retry, "ImageNotFound"),
        (401, Retry, "Unauthorized"),
        (403, Retry, "Unauthorized"),
        (400, Rejected, "RegistryRefused"),
        (429, Retry, "RegistryUnavailable"),
        (500, Retry, "RegistryUnavailable"),
        (503, Retry, "RegistryUnavailable"),
    ],
)
def test_a_status_becomes_a_reason(
    script: Script, status: int, kind: type[Retry | Rejected], reason: str
) -> None:
    script.answers["/v2/k/c/manifests/v1"] = Answer(status=status, headers={"Retry-After": "7"})
    error = failure(kind, lambda: resolve(script))
    assert error.reason == reason
    assert getattr(error, "after", None) == (7 if reason == "RegistryUnavailable" else None)


def test_nobody_there_and_silence_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SILENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        registry = Registry(RegistrySettings(frozenset({host})))
        assert (
            failure(Retry, lambda: registry.resolve(f"{host}/k/c")).reason == "RegistryUnavailable"
        )
    assert failure(Retry, lambda: registry.resolve(f"{host}/k/c")).reason == "RegistryUnavailable"


def test_tls_is_spoken_unless_the_host_is_named(script: Script) -> None:
    registry = Registry(RegistrySettings())
    error = failure(Retry, lambda: registry.resolve(f"{script.host}/k/c"))
    assert error.reason == "RegistryUnavailable"
    assert not script.asked


@pytest.mark.parametrize(
    "document",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"layers": [], "manifests": []}',
        b'{"layers": [], "layers": []}',
        b'{"mediaType": "text/plain", "layers": []}',
        b'{"layers": [], "config": {"mediaType": "x", "digest": "sha256:1", "size": 1}}',
        json.dumps({"layers": [], "config": {**descriptor(b"", "x"), "size": -1}}).encode(),
        json.dumps({"layers": [EMPTY] * 129, "config": EMPTY}).encode(),
        b'{"manifests": []}',
        b'{"a":' * 100_000,
        b" " * (LARGEST_DOCUMENT + 1),
    ],
)  # fmt: skip
def test_a_document_that_breaks_the_rules_is_refused(script: Script, document: bytes) -> None:
    script.answers["/v2/k/c/manifests/v1"] = Answer(document)
    assert failure(Rejected, lambda: resolve(script)).reason == "BadImage"


def test_other_bytes_than_the_digest_says_are_never_taken(script: Script) -> None:
    pinned = script.add(IMAGE)
    config = next(d for d, b in BLOBS.items() if b"rootfs" in b)
    for path in (f"/v2/k/c/manifests/{NAME}", f"/v2/k/c/blobs/{config}"):
        good = script.answers[path]
        script.answers[path] = Answer(good.body.replace(b"1", b"2"))
        error = failure(Retry, lambda: script.registry().resolve(pinned))
        assert error.reason == "DigestMismatch"
        script.answers[path] = good


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body[:-1], "DigestMismatch"),
        (lambda body: body + b"x", "DigestMismatch"),
        (lambda body: b"x" + body[1:], "DigestMismatch"),
    ],
)
def test_a_blob_is_all_right_or_an_error(
    script: Script, change: Callable[[bytes], bytes], reason: str
) -> None:
    script.add(IMAGE)
    where = _where(script)
    path = f"/v2/k/c/blobs/{LAYER.digest}"
    assert b"".join(script.registry().blob(where, LAYER)) == BLOBS[LAYER.digest]
    script.answers[path] = Answer(change(BLOBS[LAYER.digest]))
    error = failure(Retry, lambda: b"".join(script.registry().blob(where, LAYER)))
    assert error.reason == reason


def _where(script: Script) -> Reference:
    return Reference.parse(f"{script.host}/k/c:v1")


def test_an_image_without_the_labels_is_no_cache(script: Script) -> None:
    script.add(Image([cache_files({"a": b""})], labels={}))
    error = failure(Rejected, lambda: resolve(script))
    assert error.reason == "NotACacheImage"
    assert "gkm pack" in error.message


@pytest.mark.parametrize(
    "location", ["ftp://x/", "http://127.0.0.1:1/", "", "http://[x", "http://a:b/", "/\u00e9"]
)
def test_a_redirect_to_nowhere_fails(script: Script, location: str) -> None:
    script.answers["/v2/k/c/manifests/v1"] = Answer(status=302, headers={"Location": location})
    with pytest.raises((Rejected, Retry)):
        resolve(script)


@pytest.mark.parametrize(
    ("said", "after"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_how_long_a_server_asks_to_wait(script: Script, said: str, after: float | None) -> None:
    script.answers["/v2/k/c/manifests/v1"] = Answer(status=503, headers={"Retry-After": said})
    error = failure(Retry, lambda: resolve(script))
    assert isinstance(error, Retry)
    assert error.after == after


def test_a_server_may_name_the_moment_to_come_back(script: Script) -> None:
    headers = {"Retry-After": formatdate(time.time() + 100, usegmt=True)}
    script.answers["/v2/k/c/manifests/v1"] = Answer(status=429, headers=headers)
    error = failure(Retry, lambda: resolve(script))
    assert isinstance(error, Retry)
    assert error.after == pytest.approx(100, abs=5)


@pytest.mark.parametrize("status", [206, 204, 408, 425])
def test_what_may_be_otherwise_next_time_is_not_final(script: Script, status: int) -> None:
    script.answers["/v2/k/c/manifests/v1"] = Answer(status=status)
    assert failure(Retry, lambda: resolve(script)).reason == "RegistryUnavailable"
