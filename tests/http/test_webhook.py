"""The webhook as the API server, and as a stranger, meets it: TLS, limits, hostile bodies."""

import asyncio
import base64
import json
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import jsonpatch
import pytest

from gkm.core.podlayer import Program
from gkm.kube.client import Client
from tests.certificates import issue
from tests.http.test_kube import client_of
from tests.reviews import bodies, debugging, fault, review
from tests.webhooks import CLAIM_NAME, HOST, Running, a_cache, a_claim, a_node, a_secret, running
from webhook import door
from webhook.app import serve
from webhook.picture import CLAIM
from webhook.server import Server

Json = dict[str, Any]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[tuple[Running, Server]]:
    async with running(tmp_path) as both:
        yield both


@pytest.fixture
def one(live: tuple[Running, Server]) -> Running:
    return live[0]


async def ask(
    one: Running, body: bytes, session: aiohttp.ClientSession | None = None, **options: Any
) -> tuple[int, bytes]:
    if session is None:
        async with aiohttp.ClientSession() as own:
            return await ask(one, body, own, **options)
    options = {"ssl": one.trust()} | options
    async with session.post(f"{one.url}/mutate-pods", data=body, **options) as reply:
        return reply.status, await reply.read()


async def get(one: Running, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(one.url + path, ssl=False) as reply:
        return reply.status


async def raw(one: Running, *parts: bytes, wait: float = 5) -> bytes:
    """Send bytes as they are; returns what came until the server closed."""
    reader, writer = await asyncio.open_connection(HOST, one.port, ssl=one.trust())
    for part in parts:
        writer.write(part)
    answer = await asyncio.wait_for(reader.read(), wait)
    writer.close()
    return answer


async def test_a_pod_gets_a_patch_that_makes_it_what_it_shall_be(one: Running) -> None:
    asked = review()
    status, answer = await ask(one, json.dumps(asked).encode())
    response = json.loads(answer)["response"]
    assert (status, response["uid"], response["allowed"]) == (200, "uid-1", True)
    assert response["patchType"] == "JSONPatch"
    patch = json.loads(base64.b64decode(response["patch"]))
    pod = jsonpatch.apply_patch(asked["request"]["object"], patch)
    claims = [volume.get("persistentVolumeClaim") for volume in pod["spec"]["volumes"]]
    assert claims[:2] == [
        {"claimName": "shared", "readOnly": True},
        {"claimName": CLAIM_NAME, "readOnly": True},
    ]
    again = review()
    again["request"]["object"] = pod
    _, answer = await ask(one, json.dumps(again).encode())
    assert json.loads(answer)["response"] == {"uid": "uid-1", "allowed": True}


async def test_a_pod_that_cannot_be_helped_is_refused_in_words(one: Running) -> None:
    status, answer = await ask(one, json.dumps(review(volumes=[])).encode())
    response = json.loads(answer)["response"]
    assert (status, response["allowed"], response["status"]["code"]) == (200, False, 403)
    assert "GKMCache" in response["status"]["message"]


@pytest.mark.parametrize("change", ["label", "operation"])
async def test_what_does_not_concern_us_is_let_through(one: Running, change: str) -> None:
    asked = review()
    if change == "label":
        asked["request"]["object"]["metadata"]["labels"] = {}
    else:
        asked["request"]["operation"] = "DELETE"
    _, answer = await ask(one, json.dumps(asked).encode())
    assert json.loads(answer)["response"] == {"uid": "uid-1", "allowed": True}


async def test_who_creates_a_pod_that_has_to_wait_is_warned(one: Running) -> None:
    one.picture.replace(CLAIM, [], "2")
    _, answer = await ask(one, json.dumps(review()).encode())
    response = json.loads(answer)["response"]
    assert (response["allowed"], "patch" in response) == (True, True)
    (warning,) = response["warnings"]
    assert warning.startswith("GKM: the pod waits for GKMCache team/local")


async def test_a_container_for_debugging_that_mounts_a_cache_gets_what_others_get(
    one: Running,
) -> None:
    _, answer = await ask(one, json.dumps(debugging(review())).encode())
    patch = json.loads(base64.b64decode(json.loads(answer)["response"]["patch"]))
    assert {tuple(change["path"].split("/")[:4]) for change in patch} == {
        ("", "spec", "ephemeralContainers", "0")
    }


async def test_hostile_reviews_never_bring_out_a_fault(one: Running) -> None:
    trust = one.trust()
    async with aiohttp.ClientSession() as session:
        for body in islice(bodies(0), 2000):
            status, answer = await ask(one, body, session, ssl=trust)
            assert not fault(body, status, answer), body


async def test_a_fault_of_ours_is_an_answer_too_and_is_logged(
    one: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("webhook.server.decide", lambda *_: 1 / 0)
    status, answer = await ask(one, json.dumps(review()).encode())
    response = json.loads(answer)["response"]
    assert (status, response["uid"], response["allowed"]) == (200, "uid-1", False)
    assert "ZeroDivisionError" in caplog.text


HEAD = b"POST /mutate-pods HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
HOSTILE = {
    "too much, as announced": (HEAD + b"Content-Length: 4194305\r\n\r\n" + b"x" * 4194305, b"413"),
    "too much, in chunks": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b" " * 0x100000 + b"\r\n",
        b"413",
    ),
    "compressed": (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", b"415"),
    "a bad chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    "no http": (b"\x00\x01\x02\r\n\r\n", b"400"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b"400"),
    "a long header": (HEAD + b"X: " + b"x" * 20000 + b"\r\n\r\n", b"400"),
    "another path": (b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
    "another method": (
        b"PUT /mutate-pods HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"405",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_requests_are_refused_as_their_senders_fault(one: Running, kind: str) -> None:
    request, expected = HOSTILE[kind]
    parts = [request]
    if kind == "too much, in chunks":
        head, _, chunk = request.partition(b"\r\n\r\n")
        parts = [head + b"\r\n\r\n", *[chunk] * 5]
    assert (await raw(one, *parts)).split()[1] == expected


async def test_a_body_that_does_not_come_is_not_waited_for(
    one: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.server._BODY_SECONDS", 0.1)
    assert b"408" in await raw(one, HEAD + b"Content-Length: 10\r\n\r\n{")


async def test_a_connection_without_a_request_is_closed(
    one: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "FIRST_REQUEST_SECONDS", 0.1)
    assert await raw(one, b"POST /mutate-pods HT") == b""
    async with aiohttp.ClientSession() as session:
        body = json.dumps(review()).encode()
        trust = one.trust()
        assert (await ask(one, body, session, ssl=trust))[0] == 200
        await asyncio.sleep(0.2)
        assert (await ask(one, body, session, ssl=trust))[0] == 200


async def test_too_many_connections_cost_the_quietest(live: tuple[Running, Server]) -> None:
    one, server = live
    server._door._most = 5
    body, trust = json.dumps(review()).encode(), one.trust()
    async with aiohttp.ClientSession() as session:
        await ask(one, body, session, ssl=trust)
        silent = [await asyncio.open_connection(HOST, one.port, ssl=trust) for _ in range(20)]
        assert (await ask(one, body, session, ssl=trust))[0] == 200
        await asyncio.sleep(0.1)
        assert len(server._door._server.connections) <= 6
        for _, writer in silent:
            writer.close()


async def test_tls_below_1_2_is_not_spoken(one: Running) -> None:
    old = one.trust()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(one, b"", ssl=old)


async def test_certificates_are_replaced_while_requests_run_and_none_fails(one: Running) -> None:
    bundle, rotations = one.files.ca_pem, 10
    body, done, failed = json.dumps(review()).encode(), 0, 0
    over = asyncio.Event()

    async def requests(*, keep: bool) -> None:
        nonlocal done, failed
        async with aiohttp.ClientSession() as session:
            trust = ssl.create_default_context(cadata=bundle)
            headers = {} if keep else {"Connection": "close"}
            while not over.is_set():
                trust = trust if keep else ssl.create_default_context(cadata=bundle)
                try:
                    status, _ = await ask(one, body, session, ssl=trust, headers=headers)
                    done, failed = done + 1, failed + (status != 200)
                except aiohttp.ClientError:
                    failed += 1

    async with asyncio.TaskGroup() as group:
        for keep in (True, True, False):
            group.create_task(requests(keep=keep))
        for version in range(rotations):
            files = await asyncio.to_thread(one.rotate)
            bundle += files.ca_pem  # the authority first, as the operator does it
            await asyncio.sleep(0.05)
            one.certificate.observe("Secret", "MODIFIED", a_secret(files, str(version)))
            await asyncio.sleep(0.05)
        over.set()
    assert failed == 0
    assert done > rotations
    newest = ssl.create_default_context(cadata=files.ca_pem)
    assert (await ask(one, body, ssl=newest))[0] == 200


@pytest.mark.parametrize("spoil", ["tls.key", "tls.crt", "other key"])
async def test_a_certificate_of_no_use_leaves_the_old_one(
    one: Running, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = a_secret(one.files)
    if spoil == "other key":
        secret["data"]["tls.key"] = a_secret(one.rotate())["data"]["tls.key"]
    else:
        del secret["data"][spoil]
    one.certificate.observe("Secret", "MODIFIED", secret)
    one.certificate.observe("Secret", "DELETED", secret)
    assert "holds no certificate" in caplog.text
    assert (await ask(one, json.dumps(review()).encode()))[0] == 200


async def test_readiness_is_one_thing_and_health_another(live: tuple[Running, Server]) -> None:
    one, server = live
    assert (await get(one, "/readyz"), await get(one, "/healthz")) == (200, 200)
    one.ready = False
    assert (await get(one, "/readyz"), await get(one, "/healthz")) == (503, 200)
    one.ready = True
    assert (await get(one, "/readyz"), await get(one, "/healthz")) == (200, 200)
    leaving = asyncio.create_task(server.stop(0.5))
    await asyncio.sleep(0.1)
    assert await get(one, "/readyz") == 503
    assert (await ask(one, json.dumps(review()).encode()))[0] == 200
    await leaving
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(one, "/healthz")


async def test_while_it_is_not_ready_the_api_server_is_sent_to_another_replica(
    live: tuple[Running, Server],
) -> None:
    one, server = live
    body, trust = json.dumps(review()).encode(), one.trust()
    async with aiohttp.ClientSession() as session:
        assert (await ask(one, body, session, ssl=trust))[0] == 200
        one.ready = False
        async with session.post(f"{one.url}/mutate-pods", data=body, ssl=trust) as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
            assert "ask another replica" in await reply.text()
            assert reply.headers["Connection"] == "close"
        await asyncio.sleep(0.1)
        assert server._door._server.connections == []


async def test_a_webhook_that_is_stopped_before_its_certificate_came_just_ends() -> None:
    async def empty(_: Any) -> Any:
        return aiohttp.web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})

    stop = asyncio.Event()
    async with client_of(empty) as client:
        assert isinstance(client, Client)
        task = asyncio.create_task(serve(client, "ns", Program("i", "Always"), 600, stop))
        await asyncio.sleep(0.1)
        assert not task.done()
        stop.set()
        await asyncio.wait_for(task, 5)


async def test_the_program_follows_the_cluster_and_leaves_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Running(tmp_path, issue(tmp_path, HOST), port=free_port())
    monkeypatch.setattr("webhook.app._PORT", one.port)
    monkeypatch.setattr("webhook.app._PAUSE_SECONDS", 0)
    listed = {
        "gkmcaches": [a_cache("shared", "ReadOnlyMany"), a_cache("local", "ReadWriteOnce")],
        "persistentvolumeclaims": [a_claim()],
        "nodes": [a_node("1")],
        "secrets": [a_secret(one.files)],
    }

    async def cluster(request: aiohttp.web.Request) -> aiohttp.web.Response:
        if "watch" in request.query:
            assert int(request.query["timeoutSeconds"]) <= 40
            await asyncio.sleep(60)
        found = listed.get(request.path.rpartition("/")[2], [])
        every = {"name": "any", "uid": "any", "resourceVersion": "1"}
        items = [one | {"metadata": every | one["metadata"]} for one in found]
        return aiohttp.web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})

    stop = asyncio.Event()
    async with client_of(cluster) as client:
        task = asyncio.create_task(serve(client, "ns", Program("i", "Always"), 600, stop))
        assert await until_ready(one)
        assert await answered_with_a_patch(one)
        with monkeypatch.context() as silent:
            silent.setattr("webhook.app._LONGEST_SILENCE", 0.0)
            assert await get(one, "/readyz") == 503
        stop.set()
        await asyncio.wait_for(task, 5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def until_ready(one: Running) -> bool:
    for _ in range(200):
        with suppress(aiohttp.ClientError):
            if await get(one, "/readyz") == 200:
                return True
        await asyncio.sleep(0.05)
    return False


async def answered_with_a_patch(one: Running) -> bool:
    _, answer = await ask(one, json.dumps(review()).encode())
    return "patch" in json.loads(answer)["response"]


async def test_the_door_forgets_connections_that_are_gone(live: tuple[Running, Server]) -> None:
    one, server = live
    for _ in range(5):
        await get(one, "/healthz")
    await asyncio.sleep(0.1)
    assert len(server._door._heard) <= 2
