"""The thin client and the informer against a scripted API server: pages, watches that end badly."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gkm.api.errors import Rejected, Retry
from gkm.kube.access import Access
from gkm.kube.client import Client, Scope, path
from gkm.kube.errors import ApiError
from gkm.kube.informer import Informer
from gkm.kube.lease import Lease

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
    assert seen == [("ADDED", {"metadata": {"name": "a"}})]
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
    "in half a line": b'{"type": "ADDED", "obj',
    "in a line of rubbish": b"<html>\n",
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_watch_may_end_in_any_way_and_the_picture_stays_right(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gkm.kube.informer._FIRST_PAUSE", 0.01)
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
