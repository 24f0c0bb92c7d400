"""The thin client and the informer against a scripted API server: pages, watches that end badly."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import accumulate
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gkm.api.errors import Rejected, Retry
from gkm.kube import lease
from gkm.kube.access import Access
from gkm.kube.client import Client, Scope, path
from gkm.kube.errors import ApiError
from gkm.kube.informer import Informer
from gkm.kube.lease import Lease
from gkm.kube.supervise import Pause

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Plain(Access):
    """Access without TLS."""

    def tls(self) -> Any:
        return False


@asynccontextmanager
async def client_of(handler: Handler) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handler)
    async with TestServer(app) as server:
        access = Plain(str(server.make_url("")).rstrip("/"), "", None, "token")
        async with Client(access) as client:
            yield client


def pod(name: str, version: int) -> Json:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


def page(*names: str, token: str = "") -> web.Response:
    meta = {"resourceVersion": "10"} | ({"continue": token} if token else {})
    return web.json_response({"metadata": meta, "items": [pod(name, 1) for name in names]})


def refusal(status: int, reason: str, **headers: str) -> web.Response:
    body = {"kind": "Status", "code": status, "reason": reason, "message": "because"}
    return web.json_response(body, status=status, headers=headers)


class Picture:
    """Records what an informer hands over."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lists = 0

    def replace(self, _kind: str, objects: list[Json], _version: str) -> None:
        self.lists += 1
        self.names = {obj["metadata"]["name"] for obj in objects}

    def observe(self, _kind: str, event: str, obj: Json) -> None:
        name = obj["metadata"]["name"]
        self.names = self.names - {name} if event == "DELETED" else self.names | {name}


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("Pod", "a", "b"), "/api/v1/namespaces/a/pods/b"),
        (("PersistentVolume", "", "v"), "/api/v1/persistentvolumes/v"),
        (("Job", "a"), "/apis/batch/v1/namespaces/a/jobs"),
        (("GKMCache", "a", "c", "status"), "/apis/gkm.io/v1alpha1/namespaces/a/gkmcaches/c/status"),
        (("ClusterGKMCache", "", "c"), "/apis/gkm.io/v1alpha1/clustergkmcaches/c"),
    ],
)
def test_paths_are_those_of_the_api_server(arguments: tuple[str, ...], where: str) -> None:
    assert path(*arguments) == where


async def test_a_list_is_read_to_its_last_page() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer token"
        return page("b") if request.query.get("continue") else page("a", token="next")

    async with client_of(handler) as client:
        found, version = await client.list("Pod")
    assert [obj["metadata"]["name"] for obj in found] == ["a", "b"]
    assert version == "10"


async def test_a_scope_says_to_the_server_which_objects_and_how_much_of_them() -> None:
    asked: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request)
        if "watch" in request.query:
            event = {"type": "ADDED", "object": pod("a", 2)}
            return web.Response(text=json.dumps(event) + "\n")
        return page("a")

    def slim(obj: Json) -> Json:
        return {"metadata": {"name": obj["metadata"]["name"]}}

    scope = Scope("ns", "a=b", "metadata.name=c", metadata=True, slim=slim, page=7)
    async with client_of(handler) as client:
        found, version = await client.list("Pod", scope)
        seen = [event async for event in client.watch("Pod", version, scope)]
    assert found == [{"metadata": {"name": "a"}}]
    assert seen[1:] == [("ADDED", {"metadata": {"name": "a"}})]
    assert asked[0].query["limit"] == "7"
    for request, kind in zip(
        asked, ("PartialObjectMetadataList", "PartialObjectMetadata"), strict=True
    ):
        assert request.path == "/api/v1/namespaces/ns/pods"
        assert request.query["labelSelector"] == "a=b"
        assert request.query["fieldSelector"] == "metadata.name=c"
        assert request.headers["Accept"] == f"application/json;as={kind};g=meta.k8s.io;v=v1"


async def test_no_watch_is_longer_than_the_informer_was_told() -> None:
    seconds: asyncio.Queue[str] = asyncio.Queue()

    async def handler(request: web.Request) -> web.Response:
        if "watch" in request.query:
            seconds.put_nowait(request.query["timeoutSeconds"])
            return web.Response(text="")
        return page()

    async with client_of(handler) as client:
        informer = Informer(client, "Pod", Picture(), resync=600, longest=40)
        task = asyncio.create_task(informer.run())
        assert await seconds.get() == "40"
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_of_a_log_no_more_than_its_end_is_read() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path_qs)
        return web.Response(text="line\n" * 100_000)

    async with client_of(handler) as client:
        log = await client.log("space", "extract-x")
    assert asked == ["/api/v1/namespaces/space/pods/extract-x/log?tailLines=20&limitBytes=8192"]
    assert len(log) == 8192


async def test_what_is_not_there_is_none_and_a_delete_names_the_uid() -> None:
    bodies: list[Json] = []

    async def handler(request: web.Request) -> web.Response:
        if request.method == "DELETE":
            bodies.append(await request.json())
        return refusal(404, "NotFound")

    async with client_of(handler) as client:
        assert await client.get("Pod", "a", "b") is None
        assert await client.delete("Pod", "a", "b", "uid-1") is None
    assert bodies[0]["preconditions"] == {"uid": "uid-1"}


@pytest.mark.parametrize(
    ("status", "word"), [(409, Retry), (403, Retry), (500, Retry), (422, Rejected), (400, Rejected)]
)
async def test_a_refusal_becomes_the_word_that_says_what_helps(
    status: int, word: type[Exception]
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return refusal(status, "Reason")

    async with client_of(handler) as client:
        with pytest.raises(ApiError) as caught:
            await client.create("Pod", "a", {})
    assert isinstance(caught.value.word(), word)
    assert "because" in str(caught.value.word())


async def test_a_busy_server_says_how_long_to_wait() -> None:
    async def handler(_: web.Request) -> web.Response:
        return refusal(429, "TooManyRequests", **{"Retry-After": "7"})

    async with client_of(handler) as client:
        with pytest.raises(ApiError) as caught:
            await client.create("Pod", "a", {})
    word = caught.value.word()
    assert isinstance(word, Retry)
    assert word.after == 7


async def test_an_answer_that_is_no_status_is_an_error_too() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="<html>bad gateway</html>", status=502)

    async with client_of(handler) as client:
        with pytest.raises(ApiError, match="502"):
            await client.get("Pod", "a", "b")


ENDINGS: dict[str, bytes] = {
    "normally": b"",
    "with 410 Gone": json.dumps(
        {"type": "ERROR", "object": {"code": 410, "reason": "Gone"}}
    ).encode()
    + b"\n",
    "with 500": json.dumps({"type": "ERROR", "object": {"code": 500}}).encode() + b"\n",
    "in half a line [F46]": b'{"type": "ADDED", "obj',
    "in a line of rubbish [F46]": b"<html>\n",
    "in a line that is no text [F36]": b'{"type": "\xff\xfe"}\n',
    "in a line that is no event": b"[]\n",
    "in a line without an end [F46]": b"x" * 2_000_000 + b"\n",
    "in an event without metadata [F47]": b'{"type": "MODIFIED", "object": {}}\n',
    "in an event without an object [F47]": b'{"type": "DELETED"}\n',
    "in a bookmark without a version [F47]": b'{"type": "BOOKMARK", "object": {}}\n',
    "in an event of an unknown type [F47]": b'{"type": "CHANGED", "object": {}}\n',
    "in an error that says nothing [F45]": b'{"type": "ERROR", "object": "oh"}\n',
    "in an error of an unknown code [F45]": b'{"type": "ERROR", "object": {"code": 999}}\n',
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_watch_may_end_in_any_way_and_the_picture_stays_right(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gkm.kube.supervise._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("gkm.kube.informer._SHORTEST_WATCH", 0.01)
    watches = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal watches
        if "watch" not in request.query:
            return page("listed")
        watches += 1
        reply = web.StreamResponse()
        await reply.prepare(request)
        if watches == 1:
            await reply.write(ENDINGS[ending])
        else:
            event = {"type": "ADDED", "object": pod("watched", 11)}
            await reply.write(json.dumps(event).encode() + b"\n")
            await asyncio.sleep(5)
        return reply

    picture = Picture()
    async with client_of(handler) as client:
        task = asyncio.create_task(Informer(client, "Pod", picture, resync=600).run())
        for _ in range(200):
            if "watched" in picture.names:
                break
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert picture.names == {"listed", "watched"}


ANSWERS: dict[str, bytes] = {
    "a page of a gateway": b"<html>",
    "nothing": b"",
    "no text": b"\xff\xfe",
    "an object of another kind": json.dumps(pod("a", 7)).encode(),
    "another list": b"[]",
    "a status": b'{"kind": "Status", "status": "Success", "metadata": {}}',
    "objects without names": b'{"metadata": {"resourceVersion": "9"}, "items": [{}]}',
    "items that are none": b'{"metadata": {"resourceVersion": "9"}, "items": {}}',
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_what_is_no_list_is_not_taken_for_an_empty_one(answer: str) -> None:  # F36
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=ANSWERS[answer], content_type="application/json")

    async with client_of(handler) as client:
        with pytest.raises(ApiError) as caught:
            await client.list("Pod")
        assert isinstance(caught.value.word(), Retry)


@pytest.mark.parametrize("answer", list(ANSWERS)[:3])
async def test_what_is_no_object_is_not_taken_for_one(answer: str) -> None:  # F36
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=ANSWERS[answer])

    async with client_of(handler) as client:
        with pytest.raises(ApiError):
            await client.get("Pod", "a", "b")


@pytest.mark.parametrize("begins", [b"x", b"{"])
async def test_what_cannot_be_an_answer_is_not_read_to_its_end(  # F36
    begins: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gkm.kube.client._LARGEST", 1000)

    async def handler(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        with suppress(ConnectionError):
            while True:
                await reply.write(begins * 200)
                await asyncio.sleep(0.001)
        return reply

    async with client_of(handler) as client:
        with pytest.raises(ApiError):
            await asyncio.wait_for(client.list("Pod"), 2)
        with pytest.raises(ApiError):
            async for _ in client.watch("Pod", "1"):
                pass


async def followed(handler: Handler, picture: Picture, seconds: float) -> Informer:
    """Let an informer follow ``handler`` for a while."""
    async with client_of(handler) as client:
        informer = Informer(client, "Pod", picture, resync=600)
        with suppress(TimeoutError):
            await asyncio.wait_for(informer.run(), seconds)
    return informer


async def test_a_watch_that_something_in_between_cuts_off_goes_on_from_where_it_was() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.query.get("resourceVersion", "list"))
        if "watch" not in request.query:
            return page("listed")
        reply = web.StreamResponse()
        await reply.prepare(request)
        event = {"type": "ADDED", "object": pod("watched", 10 + len(asked))}
        await reply.write(json.dumps(event).encode() + b"\n")
        assert request.transport is not None
        request.transport.abort()
        return reply

    await followed(handler, Picture(), 4)
    assert asked[:3] == ["list", "10", "12"]
    assert asked.count("list") == 1


async def test_each_page_of_a_long_list_is_a_sign_of_life() -> None:  # F33
    pages = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal pages
        pages += 1
        await asyncio.sleep(0.2)
        return page(f"pod-{pages}", token="more")

    async with client_of(handler) as client:
        informer = Informer(client, "Pod", Picture(), resync=600)
        task = asyncio.create_task(informer.run())
        await asyncio.sleep(1.1)
        task.cancel()
    assert pages > 3
    assert not informer.synced.is_set()
    assert time.monotonic() - informer.alive < 0.5


async def test_a_deletion_is_believed_only_if_the_answer_says_so() -> None:  # F36
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({})

    async with client_of(handler) as client:
        with pytest.raises(ApiError):
            await client.delete("Pod", "a", "b", "uid")


async def test_a_watch_that_always_ends_badly_is_listed_for_less_and_less_often(  # F42
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gkm.kube.supervise._FIRST_PAUSE", 0.05)

    async def handler(request: web.Request) -> web.Response:
        if "watch" not in request.query:
            return page("a")
        added = json.dumps({"type": "ADDED", "object": pod("b", 11)}).encode() + b"\n"
        return web.Response(body=added + ENDINGS["with 410 Gone"])

    picture = Picture()
    await followed(handler, picture, 1.2)
    assert 3 <= picture.lists <= 8


def test_pauses_are_half_as_long_as_the_trouble_and_begin_anew_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("gkm.kube.supervise.time.monotonic", lambda: now)
    pause, ends = Pause(), []
    for _ in range(20):
        ends.append(pause.next())
        now += ends[-1]
    assert all(one <= 15.5 for one, end in zip(ends, accumulate(ends), strict=True) if end < 45)
    assert all(30 <= one <= 40 for one in ends[-3:])  # at most two a minute
    now += 41
    assert pause.next() <= 0.5


async def test_a_watch_waits_as_long_as_a_busy_server_says() -> None:  # F25
    asked: list[float] = []

    async def handler(_: web.Request) -> web.Response:
        asked.append(time.monotonic())
        return refusal(429, "TooManyRequests", **{"Retry-After": "1"})

    await followed(handler, Picture(), 1.5)
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 1


async def test_who_waits_for_a_server_that_was_away_goes_on_when_it_answers_anybody(  # F23
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gkm.kube.client._AWAY_SECONDS", 0.1)
    away = True

    async def handler(_: web.Request) -> web.Response:
        return refusal(503, "ServiceUnavailable") if away else web.json_response(pod("a", 1))

    async with client_of(handler) as client:
        begun = time.monotonic()
        await client.rest(0.05)  # it was heard of a moment ago
        await asyncio.sleep(0.1)
        resting = asyncio.create_task(client.rest(5))
        with pytest.raises(ApiError):
            await client.get("Pod", "a", "b")
        assert not resting.done()
        away = False
        await client.get("Pod", "a", "b")
        await resting
    assert 0.15 <= time.monotonic() - begun < 2


async def test_a_bug_in_what_is_done_with_one_kind_does_not_end_its_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gkm.kube.supervise._FIRST_PAUSE", 0.01)

    class Clumsy(Picture):
        def replace(self, kind: str, objects: list[Json], version: str) -> None:
            super().replace(kind, objects, version)
            if self.lists < 3:
                raise KeyError("bug")

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="") if "watch" in request.query else page("a")

    picture = Clumsy()
    informer = await followed(handler, picture, 0.5)
    assert informer.synced.is_set()
    assert picture.lists == 3


async def test_a_server_that_does_not_end_a_watch_is_not_believed_to_be_well(  # F41
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gkm.kube.client._LATE_SECONDS", 0)

    async def handler(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await asyncio.sleep(5)
        return reply

    async with client_of(handler) as client:
        with pytest.raises(TimeoutError):
            async for _ in client.watch("Pod", "1", seconds=1):
                pass


async def test_an_informer_that_fails_is_alive_but_has_heard_nothing() -> None:  # F19
    async def handler(_: web.Request) -> web.Response:
        return refusal(503, "ServiceUnavailable")

    begun = time.monotonic()
    informer = await followed(handler, Picture(), 0.3)
    assert informer.alive > begun + 0.001
    assert informer.progress < informer.alive


class Leases:
    """An API server that holds one Lease."""

    def __init__(self) -> None:
        self.lease: Json | None = None
        self.version = 0

    async def handler(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response(self.lease) if self.lease else refusal(404, "NotFound")
        body = await request.json()
        wanted = body["metadata"].get("resourceVersion")
        if wanted is not None and wanted != str(self.version):
            return refusal(409, "Conflict")
        self.version += 1
        self.lease = body | {"metadata": {"resourceVersion": str(self.version)}}
        return web.json_response(self.lease)


async def test_one_leads_and_the_other_takes_over_only_after_a_release() -> None:
    server = Leases()
    async with client_of(server.handler) as client:
        first, second = (Lease(client, "ns", "gkm", name) for name in ("one", "two"))
        await first._try()
        await second._try()
        assert (first.valid(), second.valid()) == (True, False)
        await first.release()
        await second._try()
        assert (first.valid(), second.valid()) == (False, True)


async def test_a_holder_that_stops_renewing_loses_its_word_before_another_may_lead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("gkm.kube.lease.time.monotonic", lambda: now)
    server = Leases()
    async with client_of(server.handler) as client:
        first, second = (Lease(client, "ns", "gkm", name) for name in ("one", "two"))
        await first._try()
        await second._try()
        now += 11
        await second._try()
        assert (first.valid(), second.valid()) == (False, False)
        now += 5
        await second._try()
        assert (first.valid(), second.valid()) == (False, True)


async def test_a_holder_from_whom_the_lease_was_taken_stops_as_soon_as_it_looks() -> None:
    server = Leases()
    async with client_of(server.handler) as client:
        first, second = (Lease(client, "ns", "gkm", name) for name in ("one", "two"))
        await first._try()
        assert server.lease is not None
        server.lease["spec"]["holderIdentity"] = ""
        await second._try()
        await first._try()
        assert (first.valid(), second.valid()) == (False, True)


async def test_a_lease_that_runs_out_is_taken_as_soon_as_it_does(  # F58
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("gkm.kube.lease.time.monotonic", lambda: now)
    server = Leases()
    async with client_of(server.handler) as client:
        first, second = (Lease(client, "ns", "gkm", name) for name in ("one", "two"))
        await first._try()
        await second._try()
        assert second._pause() == lease._RENEW
        now += 14
        assert second._pause() == 1


@pytest.mark.parametrize("spoilt", [{}, {"spec": None}, {"spec": {"holderIdentity": None}}])
async def test_a_lease_that_somebody_spoilt_is_free(spoilt: Json) -> None:  # F60
    server = Leases()
    server.lease = spoilt | {"metadata": {"resourceVersion": "0"}}
    async with client_of(server.handler) as client:
        lease = Lease(client, "ns", "gkm", "one")
        await lease._try()
        assert lease.valid()
        await lease.release()
        assert server.lease["spec"]["holderIdentity"] == ""


async def test_a_lease_counts_from_when_it_was_seen_and_not_from_when_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("gkm.kube.lease.time.monotonic", lambda: now)
    server = Leases()

    async def slowly(request: web.Request) -> web.Response:
        nonlocal now
        now += 4 if request.method == "GET" and server.lease else 0
        return await server.handler(request)

    async with client_of(slowly) as client:
        first, second = (Lease(client, "ns", "gkm", name) for name in ("one", "two"))
        await first._try()
        await second._try()
        assert second._seen[1] == now
