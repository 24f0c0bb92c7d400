"""kopf, as we run it, against a scripted API server that does what ends kopf, or blinds it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gkm.api.meta import RESOURCES
from gkm.api.names import CACHE, CLUSTER_CACHE, GROUP, VERSION
from gkm.kube.access import Access
from gkm.operator.watch import Watch

Json = dict[str, Any]
WHERE = RESOURCES[CACHE].path()


class Plain(Access):
    """Access without TLS, with a token that can be changed."""

    def tls(self) -> Any:
        return False

    def token(self) -> str:
        return self._token


def cache(name: str, version: int) -> Json:
    meta = {"name": name, "namespace": "ns", "uid": name, "resourceVersion": str(version)}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": CACHE, "metadata": meta, "spec": {}}


def event(what: str, obj: Any) -> bytes:
    return json.dumps({"type": what, "object": obj}).encode() + b"\n"


def _group(name: str, version: str) -> Json:
    only = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "preferredVersion": only, "versions": [only]}


def _resource(plural: str, kind: str, namespaced: bool) -> Json:
    verbs = ["list", "watch"]
    return {
        "name": plural,
        "singularName": "",
        "kind": kind,
        "namespaced": namespaced,
        "verbs": verbs,
    }


class Server:
    """Lists one Cache, and streams what it is told to; counts what is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.tokens: set[str] = set()
        self.valid = "token"
        self.there = True
        """Whether the CRDs are."""
        self.listed = [cache("first", 1)]
        self.watched: list[bytes] = []
        """What each watch of Caches is answered with; the last stays open."""
        self.after: bytes | None = None
        """What every watch after those is answered with, at once; None: it stays open."""
        self.expired = 0
        """How many times the second page of a list is no longer to be had."""
        self.gone = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != self.valid:
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        self.tokens.add(token)
        if not request.path.startswith(f"/apis/{GROUP}/{VERSION}/"):
            return web.json_response(self._discovered(request.path))
        verb = "watch" if "watch" in request.query else "list"
        if request.path != WHERE:
            return await (self._silent(request) if verb == "watch" else self._list([]))
        self.asked[verb] += 1
        if verb == "list":
            return await self._page(request)
        if self.watched:
            return await self._silent(request, self.watched.pop(0), stay=not self.watched)
        return await self._silent(request, self.after or b"", stay=self.after is None)

    def _discovered(self, where: str) -> Json:
        """What kopf has to find before it begins."""
        ours = [RESOURCES[kind] for kind in (CACHE, CLUSTER_CACHE)] if self.there else []
        groups = {GROUP: VERSION, "apiextensions.k8s.io": "v1"}
        kinds = {
            "/api/v1": [("namespaces", "Namespace", False)],
            "/apis/apiextensions.k8s.io/v1": [("customresourcedefinitions", "CRD", False)],
            f"/apis/{GROUP}/{VERSION}": [(one.plural, one.kind, one.namespaced) for one in ours],
        }
        if where == "/api":
            return {"versions": ["v1"]}
        if where == "/apis":
            return {"groups": [_group(name, version) for name, version in groups.items()]}
        return {"resources": [_resource(*one) for one in kinds[where]]}

    async def _page(self, request: web.Request) -> web.Response:
        if not self.expired:
            return await self._list(self.listed)
        if "continue" in request.query:
            self.expired -= 1
            return web.json_response({"kind": "Status", "code": 410}, status=410)
        return await self._list(self.listed, "next")

    async def _list(self, items: list[Json], token: str = "") -> web.Response:
        meta = {"resourceVersion": "10", "continue": token}
        return web.json_response({"metadata": meta, "items": items})

    async def _silent(
        self, request: web.Request, body: bytes = b"", *, stay: bool = True
    ) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(body)
        if stay:
            await self.gone.wait()
        return reply


async def _rest(seconds: float, _: float) -> None:
    await asyncio.sleep(seconds)


class Seen:
    """What the watch told, in the main thread's loop."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.settled = 0

    def observe(self, kind: str, what: str, obj: Json) -> None:
        assert kind == CACHE
        self.names[obj["metadata"]["name"]] = what

    def settle(self) -> None:
        self.settled += 1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gkm.kube.supervise._FIRST_PAUSE", 0.1)
    monkeypatch.setattr("gkm.operator.watch._LOOK", 0.1)
    monkeypatch.setattr("getpass.getuser", _nobody)


def _nobody() -> str:
    """As in a pod, whose user has no name."""
    raise KeyError("getpwuid(): uid not found: 1000")


@asynccontextmanager
async def watching(server: Server) -> AsyncIterator[tuple[Seen, Watch, Plain]]:
    app, seen = web.Application(), Seen()
    app.router.add_route("*", "/{any:.*}", server.handle)
    async with TestServer(app, shutdown_timeout=0.1) as there:
        access = Plain(str(there.make_url("")).rstrip("/"), "", None, "token")
        watch = Watch(access, _rest, seen.observe, seen.settle)
        task = asyncio.create_task(watch.run())
        try:
            yield seen, watch, access
        finally:
            task.cancel()
            begun = time.monotonic()
            with suppress(asyncio.CancelledError):
                await task
            assert time.monotonic() - begun < 5, "it did not end when it was told to"
            server.gone.set()


async def until(look: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


ENDINGS: dict[str, bytes] = {
    "F42 with 410 Gone": event("ERROR", {"code": 410, "reason": "Gone"}),
    "F45 with an error 500": event("ERROR", {"code": 500}),
    "F45 with an error 504": event("ERROR", {"code": 504}),
    "F45 with an error 429": event("ERROR", {"code": 429}),
    "F46 in half a line": b'{"type": "ADDED", "obj',
    "F46 in a line of rubbish": b"<html>\n",
    "F36 in a line that is no text": b'{"type": "\xff\xfe"}\n',
    "F47 in an event without metadata": event("MODIFIED", {"kind": CACHE}),
    "F36 in a line that is no event": b"[]\n",
    "F36 in nothing": b"",
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_whatever_ends_kopf_it_is_there_again(ending: str) -> None:
    server = Server()
    server.watched = [ENDINGS[ending], event("ADDED", cache("second", 11))]
    async with watching(server) as (seen, _, _):
        await until(lambda: "second" in seen.names)
        await until(lambda: seen.settled)
    assert seen.names == {"first": "MODIFIED", "second": "ADDED"}


@pytest.mark.parametrize("ending", ["F42 with 410 Gone", "F36 in nothing"])
async def test_what_kopf_would_ask_for_many_times_a_second_is_asked_for_ever_more_rarely(
    ending: str,
) -> None:
    server = Server()
    server.after = ENDINGS[ending]
    async with watching(server):
        await asyncio.sleep(3)
    assert 2 <= server.asked["list"] <= 8
    assert server.asked["watch"] <= 8


async def test_a_list_may_expire_between_its_pages() -> None:  # F44
    server = Server()
    server.expired = 2
    server.watched = [event("ADDED", cache("second", 11))]
    async with watching(server) as (seen, _, _):
        await until(lambda: "second" in seen.names)
    assert server.asked["list"] == 5


async def test_an_event_of_an_unknown_type_is_ignored() -> None:  # F47
    server = Server()
    server.watched = [event("NEW", cache("odd", 11)) + event("ADDED", cache("second", 12))]
    async with watching(server) as (seen, _, _):
        await until(lambda: "second" in seen.names)
    assert server.asked["list"] == 1


async def test_a_watch_that_stalls_is_found(monkeypatch: pytest.MonkeyPatch) -> None:  # F41
    monkeypatch.setattr("gkm.operator.watch._LONGEST_SILENCE", 1.0)
    server = Server()
    server.watched = [b""]
    async with watching(server) as (seen, watch, _):
        await until(lambda: server.asked["watch"])
        server.watched = [event("ADDED", cache("second", 11))]
        await until(lambda: "second" in seen.names)
        assert time.monotonic() - watch.alive < 1


async def test_kinds_that_come_late_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:  # F55
    monkeypatch.setattr("gkm.operator.watch._LONGEST_SILENCE", 1.0)
    server = Server()
    server.there = False
    async with watching(server) as (seen, _, _):
        await asyncio.sleep(0.5)
        assert not server.asked
        server.there = True
        await until(lambda: "first" in seen.names)


async def test_a_new_token_is_used_and_an_old_one_not_for_ever() -> None:  # F31
    server = Server()
    server.valid = "new"
    async with watching(server) as (seen, _, access):
        await asyncio.sleep(1.5)
        assert not seen.names
        access._token = "new"
        await until(lambda: "first" in seen.names)
