"""``gkm push``, ``pull`` and ``inspect`` against a real registry, and Docker's helpers."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from requests import ReadTimeout

from gkm.api.errors import Retry
from gkm.cli import upload
from gkm.oci.manifest import host_architecture
from tests.certificates import issue
from tests.images import Answer, Image, cache_files, descriptor, scripted
from tests.registry import ADDRESS, USERS, running
from tests.unit.cli import Done, fill, gkm

HELPER = """#!/bin/sh
echo '{{"ServerURL": "x", "Username": "first", "Secret": "{secret}"}}'
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return fill(tmp_path / "cache")


def well(done: Done) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def blobs(layout: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in (layout / "blobs" / "sha256").iterdir()}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_is_pushed_comes_back_byte_for_byte(
    host: str, cache: Path, tmp_path: Path, compression: str
) -> None:
    digest = well(gkm("pack", cache, "-o", tmp_path / "a", "--compression", compression))
    reference = f"{host}/me/{compression}:v1"
    pinned = well(gkm("push", tmp_path / "a", reference, "--plain-http"))
    assert pinned == f"{host}/me/{compression}@{digest}"
    assert well(gkm("pull", pinned, "-o", tmp_path / "b", "--plain-http")) == digest
    assert blobs(tmp_path / "b") == blobs(tmp_path / "a")
    again = f"{host}/me/{compression}:v2"
    assert well(gkm("push", tmp_path / "b", again, "--plain-http")).endswith(digest)
    told = json.loads(well(gkm("inspect", reference, "--plain-http", "-o", "json", "--kernels")))
    assert (told["digest"], told["entries"], told["kind"]) == (digest, 1, "image")
    assert told["kernels"]["triton"][0]["hash"] == "h1"


def test_pack_pushes_the_same_image(host: str, cache: Path, tmp_path: Path) -> None:
    reference = f"{host}/me/direct:v1"
    digest = well(gkm("pack", cache, "-o", tmp_path / "a", "--ref", reference))
    pushed = well(gkm("pack", cache, "--push", reference, "--plain-http"))
    assert pushed == f"{host}/me/direct@{digest}"
    done = gkm("check", reference, "--plain-http", "--gpu", "cuda:90")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_large_blob_goes_in_chunks(
    host: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_CHUNKED_FROM", 100)
    monkeypatch.setattr(upload, "_CHUNK", 64)
    digest = well(gkm("pack", cache, "-o", tmp_path / "a"))
    pinned = upload.push(tmp_path / "a", f"{host}/me/chunks:v1", plain_http=True)
    assert well(gkm("pull", pinned, "-o", tmp_path / "b", "--plain-http")) == digest
    assert blobs(tmp_path / "b") == blobs(tmp_path / "a")


def test_a_pull_fetches_only_what_is_not_there(tmp_path: Path) -> None:
    image, other = (Image([cache_files({"a": content})]) for content in (b"1", b"2"))
    with scripted() as script:
        first, second = script.add(image), script.add(other, "v2")
        target = tmp_path / "image"

        def fetched(reference: str) -> int:
            script.asked.clear()
            well(gkm("pull", reference, "-o", target, "--plain-http"))
            return sum("/blobs/" in path for path, _ in script.asked)

        assert fetched(first) == 3  # a config is read to choose, and then kept
        assert fetched(first) == 1
        folder = target / "blobs" / "sha256"
        layer = next(one for one in folder.iterdir() if one.read_bytes()[:2] == b"\x1f\x8b")
        layer.write_bytes(layer.read_bytes()[:-1] + b"!")
        assert fetched(first) == 2
        assert fetched(second) == 3
        assert json.loads(well(gkm("inspect", target, "-o", "json")))["digest"] == second[-71:]


def test_a_failed_pull_leaves_nothing_and_a_failed_update_the_old_image(tmp_path: Path) -> None:
    good, bad = Image([cache_files({"a": b"1"})]), Image([cache_files({"a": b"2"})])
    with scripted() as script:
        first, second = script.add(good), script.add(bad, "v2")
        for path, answer in list(script.answers.items()):
            if answer.body in bad.documents()[1].values() and answer.body[:2] == b"\x1f\x8b":
                script.answers[path] = Answer(answer.body[:-1] + b"?")
        target = tmp_path / "image"
        assert gkm("pull", second, "-o", target, "--plain-http").returncode == 11
        assert list(tmp_path.iterdir()) == []
        digest = well(gkm("pull", first, "-o", target, "--plain-http"))
        assert gkm("pull", second, "-o", target, "--plain-http").returncode == 11
        assert json.loads(well(gkm("inspect", target, "-o", "json")))["digest"] == digest


def test_an_index_is_resolved_for_this_machine_or_for_another(tmp_path: Path) -> None:
    ours, theirs = Image([cache_files({"a": b"1"})]), Image([cache_files({"a": b"2"})])
    other = "arm64" if host_architecture() == "amd64" else "amd64"
    with scripted() as script:
        entries = []
        for image, arch in ((ours, host_architecture()), (theirs, other)):
            script.add(image)
            digest, contents = image.documents()
            entry = descriptor(contents[digest], "application/vnd.oci.image.manifest.v1+json")
            entries.append({**entry, "platform": {"os": "linux", "architecture": arch}})
        kind = "application/vnd.oci.image.index.v1+json"
        index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
        script.answers["/v2/k/c/manifests/all"] = Answer(index)
        reference = f"{script.host}/k/c:all"
        pulled = [
            well(gkm("pull", reference, "-o", tmp_path / name, "--plain-http", *options))
            for name, options in (("a", []), ("b", ["--arch", other]))
        ]
        assert pulled == [ours.documents()[0], theirs.documents()[0]]


@contextmanager
def docker_config(folder: Path, monkeypatch: pytest.MonkeyPatch, secret: str) -> Iterator[None]:
    folder.mkdir()
    program = folder / "docker-credential-test"
    program.write_text(HELPER.format(secret=secret))
    program.chmod(0o755)
    (folder / "config.json").write_text(json.dumps({"credsStore": "test"}))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    yield


def test_a_credential_helper_opens_a_registry_for_writing_and_reading(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    well(gkm("pack", cache, "-o", tmp_path / "a"))
    (tmp_path / "registry").mkdir()
    with (
        running(tmp_path / "registry", login=True) as host,
        docker_config(tmp_path / "right", monkeypatch, USERS["first"]),
    ):
        env = {"DOCKER_CONFIG": str(tmp_path / "right")}
        reference = f"{host}/me/c:v1"
        pinned = well(gkm("push", tmp_path / "a", reference, "--plain-http", env=env))
        well(gkm("inspect", pinned, "--plain-http", env=env))
        well(gkm("pull", pinned, "-o", tmp_path / "b", "--plain-http", env=env))
        settings = json.dumps({"plainHttp": [host]})
        done = gkm("extract", pinned, tmp_path / "x", env={**env, "GKM_REGISTRY": settings})
        assert done.returncode == 0
        pod = {**env, "GKM_REGISTRY": settings, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
        done = gkm("extract", pinned, tmp_path / "y", env=pod)
        assert (done.returncode, "no login" in done.stderr) == (11, True)
        with docker_config(tmp_path / "wrong", monkeypatch, "wrong-canary-8Hd2"):
            for command in (("push", tmp_path / "a", reference), ("inspect", pinned)):
                wrong = {"DOCKER_CONFIG": str(tmp_path / "wrong")}
                done = gkm(*command, "--plain-http", env=wrong)
                assert (done.returncode, done.stderr.count("\n")) == (11, 1)
                assert f"docker login {host}" in done.stderr
                assert "canary" not in done.stderr


def test_an_unknown_authority_is_named(cache: Path, tmp_path: Path) -> None:
    well(gkm("pack", cache, "-o", tmp_path / "a"))
    (tmp_path / "registry").mkdir()
    certificate = issue(tmp_path / "registry", ADDRESS)
    with running(tmp_path / "registry", tls=certificate) as host:
        for command in (("push", tmp_path / "a", f"{host}/k/c:v1"), ("inspect", f"{host}/k/c:v1")):
            done = gkm(*command)
            assert (done.returncode, done.stderr.count("\n")) == (11, 1)
            assert "certificate" in done.stderr
        (tmp_path / "ca.pem").write_text(certificate.ca_pem)
        trusting = {"REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem")}
        well(gkm("push", tmp_path / "a", f"{host}/k/c:v1", env=trusting))


def test_a_silent_registry_is_not_waited_for_mcv_35(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MCV's calls had no time limit. (The limits of reading: ``gkm/oci/pace.py`` and its tests.)"""
    monkeypatch.setattr(upload, "_SECONDS", (0.5, 0.5))
    well(gkm("pack", cache, "-o", tmp_path / "a"))
    with socket.socket() as silent:
        silent.bind((ADDRESS, 0))
        silent.listen()
        host = f"{ADDRESS}:{silent.getsockname()[1]}"
        with pytest.raises(Retry, match="RegistryUnavailable") as caught:
            upload.push(tmp_path / "a", f"{host}/k/c:v1", plain_http=True)
    assert host in str(caught.value)
    assert isinstance(caught.value.__cause__, ReadTimeout)
    assert threading.active_count() == 1


@pytest.mark.parametrize(
    ("reference", "means"),
    [
        ("{host}/k/c", "{host}/k/c:latest"),
        ("{host}/k/c:v1", "{host}/k/c:v1"),
        ("{host}/k/c@{digest}", "{host}/k/c@{digest}"),
        ("{host}/k/c:v1@{digest}", "{host}/k/c:v1@{digest}"),
    ],
)
def test_the_port_of_a_registry_is_no_tag_mcv_29(reference: str, means: str) -> None:
    with scripted() as script:
        digest = script.add(Image([cache_files({"a": b"1"})])).partition("@")[2]
        script.answers["/v2/k/c/manifests/latest"] = script.answers["/v2/k/c/manifests/v1"]
        names = {"host": script.host, "digest": digest}
        done = gkm("inspect", reference.format(**names), "--plain-http", "-o", "json")
        assert json.loads(well(done))["name"] == means.format(**names)


def test_a_title_is_the_name_and_no_digest_mcv_29(cache: Path, tmp_path: Path) -> None:
    names = ("localhost:5000/me/kernels", f"localhost:5000/me/kernels@sha256:{'0' * 64}")
    for number, name in enumerate(names):
        well(gkm("pack", cache, "-o", tmp_path / str(number), "--ref", name))
        told = json.loads(well(gkm("inspect", tmp_path / str(number), "-o", "json")))
        assert told["title"] == "kernels"
