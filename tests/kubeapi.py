"""A small API server in memory, for programs that watch and write: it keeps, streams and counts.

It knows the paths of the kinds that a test names, field and label selectors as far as the agent
uses them, merge patches, preconditions and resourceVersions; nothing is validated.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from gkm.kube.access import Access
from gkm.kube.client import Client

Json = dict[str, Any]
Selector = Callable[[Json], bool]


class Plain(Access):
    """Access without TLS."""

    def tls(self) -> Any:
        return False


def merged(old: Json, patch: Json) -> Json:
    """Apply a merge patch."""
    new = {key: value for key, value in old.items() if patch.get(key, "") is not None}
    for key, value in patch.items():
        if isinstance(value, dict):
            before = old.get(key)
            new[key] = merged(before if isinstance(before, dict) else {}, value)
        elif value is not None:
            new[key] = value
    return new


class KubeApi:
    """Objects by (plural, namespace, name); ``writes`` lists every write that was asked for."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.writes: list[str] = []
        self.bodies: list[Json] = []
        self.down = False
        self.terminating: set[str] = set()
        self.unknown: set[str] = set()
        """Fields of a status that are not kept, as with CRDs of an earlier version."""
        self._version = itertools.count(1)
        self._last = 0
        self._history: list[tuple[int, str, Json, str]] = []
        self._news = asyncio.Event()

    def put(self, plural: str, obj: Json) -> Json:
        """Make or replace an object, as anybody else would."""
        meta = obj["metadata"]
        key = (plural, meta.get("namespace", ""), meta["name"])
        known = self.objects.get(key)
        version = self._next()
        meta.setdefault("uid", known["metadata"]["uid"] if known else f"uid-{version}")
        obj = obj | {"metadata": meta | {"resourceVersion": str(version)}}
        self.objects[key] = obj
        self._tell("MODIFIED" if known else "ADDED", plural, obj)
        return obj

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object."""
        obj = self.objects.pop((plural, namespace, name))
        self._next()
        self._tell("DELETED", plural, obj)

    def _next(self) -> int:
        self._last = next(self._version)
        return self._last

    def _tell(self, event: str, plural: str, obj: Json) -> None:
        self._history.append((self._last, event, obj, plural))
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return _refusal(503, "ServiceUnavailable")
        plural, namespace, name, subresource = _parts(request.path)
        if request.method == "GET" and "watch" in request.query:
            return await self._watch(request, plural)
        if request.method == "GET":
            picked = _selector(request)
            items = [o for (p, _, _), o in self.objects.items() if p == plural and picked(o)]
            return web.json_response(
                {"metadata": {"resourceVersion": str(self._last)}, "items": items}
            )
        body = await request.json()
        where = "/".join(filter(None, (plural, namespace, name, subresource)))
        self.writes.append(f"{request.method} {where}")
        self.bodies.append(body)
        if request.method == "POST":
            return self._create(plural, namespace, body)
        return self._change(request.method, (plural, namespace, name), body)

    def _create(self, plural: str, namespace: str, body: Json) -> web.Response:
        if namespace in self.terminating:
            return _refusal(403, "Forbidden")
        if (plural, namespace, body["metadata"]["name"]) in self.objects:
            return _refusal(409, "AlreadyExists")
        return web.json_response(self.put(plural, body))

    def _change(self, method: str, key: tuple[str, str, str], body: Json) -> web.Response:
        known = self.objects.get(key)
        if known is None:
            return _refusal(404, "NotFound")
        if method == "DELETE":
            if body["preconditions"]["uid"] != known["metadata"]["uid"]:
                return _refusal(409, "Conflict")
            self.remove(*key)
            return web.json_response({"kind": "Status"})
        fence = body.get("metadata", {}).get("resourceVersion")
        if fence not in (None, known["metadata"]["resourceVersion"]):
            return _refusal(409, "Conflict")
        new = merged(known, body)
        kept = {k: v for k, v in new.get("status", {}).items() if k not in self.unknown}
        return web.json_response(self.put(key[0], new | {"status": kept}))

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        since, picked = int(request.query["resourceVersion"]), _selector(request)
        while not self.down:
            news = self._news
            for version, event, obj, kind in list(self._history):
                if kind == plural and version > since and picked(obj):
                    line = json.dumps({"type": event, "object": obj})
                    await reply.write(line.encode() + b"\n")
            since = self._last
            await news.wait()
        return reply

    def cut(self) -> None:
        """Go away: watches end, requests are refused until ``down`` is False again."""
        self.down = True
        self._wake()


def _parts(path: str) -> tuple[str, str, str, str]:
    """Plural, namespace, name and subresource of a path."""
    parts = path.strip("/").split("/")[2 if path.startswith("/api/") else 3 :]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    return plural, namespace, name, subresource


def _selector(request: web.Request) -> Selector:
    fields, labels = request.query.get("fieldSelector"), request.query.get("labelSelector")

    def picked(obj: Json) -> bool:
        return _fields_match(obj, fields or "") and _labels_match(obj, labels or "")

    return picked


def _fields_match(obj: Json, selector: str) -> bool:
    path, _, wanted = selector.partition("=")
    found: Any = obj
    for part in path.split(".") if path else ():
        found = (found or {}).get(part)
    return not selector or found == wanted


def _labels_match(obj: Json, selector: str) -> bool:
    """``key=value,key in (one,other)``, as the agent asks."""
    if not selector:
        return True
    equal, _, among = selector.partition(",")
    labels = obj["metadata"].get("labels") or {}
    key, _, values = among.partition(" in ")
    return labels.get(equal.split("=")[0]) == equal.split("=")[1] and labels.get(
        key
    ) in values.strip("()").split(",")


def _refusal(status: int, reason: str) -> web.Response:
    body = {"kind": "Status", "code": status, "reason": reason, "message": "because"}
    return web.json_response(body, status=status)


@asynccontextmanager
async def served(api: KubeApi) -> AsyncIterator[Client]:
    """Serve it on a local port; yields a client of it."""
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", api.handle)
    async with TestServer(app, shutdown_timeout=0.1) as server:
        access = Plain(str(server.make_url("")).rstrip("/"), "", None, "token")
        async with Client(access) as client:
            yield client
            api.cut()
