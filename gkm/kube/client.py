"""The one thin client of the API server: create, merge patch, delete, get, paged list, watch.

It knows paths and answers, no meaning: JSON in, JSON out. Every request has a time limit, and at
most ``_CONNECTIONS`` are open at once, so that a burst here is no burst there. What comes back is
looked at before it is believed: an answer that is none would pass for an empty list.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from gkm.api.meta import RESOURCES
from gkm.kube.access import Access
from gkm.kube.errors import ApiError

Json = dict[str, Any]
_log = logging.getLogger(__name__)

_CONNECTIONS = 24
_REQUEST_SECONDS = 30
WATCH_SECONDS = 290
_AWAY_SECONDS = 5.0
"""A server that has answered nothing for so long is away: a program asks more often than that."""
_SILENCE_SECONDS = 70
"""Bookmarks come about once a minute, but for a kind of which the API server has seen no change
since it started: a watch that is silent for longer is dead, or as good as dead."""
_LATE_SECONDS = 10
"""How late the server may be to end a watch."""
_LOG_SECONDS, _LOG_LINES, _LOG_BYTES = 5, 20, 8192
_LONGEST_AFTER = 60.0
"""Seconds that an answer may ask us to wait."""
_LARGEST = 64 * 1024 * 1024
_JSON = {"Content-Type": "application/json"}
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_VERSION = frozenset({"resourceVersion"})
_IDENTITY = _VERSION | {"name", "uid"}
BOOKMARK = "BOOKMARK"
_CHANGES = ("ADDED", "MODIFIED", "DELETED")

_CORE = {
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "PersistentVolume": "persistentvolumes",
    "Pod": "pods",
    "Namespace": "namespaces",
    "Event": "events",
    "Secret": "secrets",
    "Node": "nodes",
}
_OTHER = {
    "Job": "/apis/batch/v1/jobs",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "Lease": "/apis/coordination.k8s.io/v1/leases",
    "MutatingWebhookConfiguration": (
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    ),
}


@dataclass(frozen=True)
class Scope:
    """Which objects of a kind to list or watch, and how much of each."""

    namespace: str = ""
    """Empty: everywhere."""
    labels: str = ""
    fields: str = ""
    """Selectors, by which the server picks."""
    metadata: bool = False
    """The server sends the objects' metadata only."""
    slim: Callable[[Json], Json] = lambda obj: obj
    """What is kept of an object as soon as it is read: many at once may be large."""
    page: int = 500
    """How many are read at a time, before that."""

    def query(self) -> dict[str, str]:
        """The part of a URL's query that says it."""
        said = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: text for name, text in said.items() if text}

    def accept(self, what: str) -> dict[str, str]:
        """The header that says it; ``what`` is the end of the answer's kind."""
        form = f";as=PartialObjectMetadata{what};g=meta.k8s.io;v=v1" if self.metadata else ""
        return {"Accept": f"application/json{form}"}


EVERYTHING = Scope()


def path(kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """URL path of an object, or of a list if ``name`` is empty (everywhere without a namespace)."""
    if kind in RESOURCES:
        return RESOURCES[kind].path(namespace, name, subresource)
    base = f"/api/v1/{_CORE[kind]}" if kind in _CORE else _OTHER[kind]
    prefix, _, plural = base.rpartition("/")
    # Quoted: a name with `..` in it must not lead to another object.
    namespace, name = quote(namespace, safe=""), quote(name, safe="")
    parts = [prefix, f"namespaces/{namespace}"] if namespace else [prefix]
    return "/".join([*parts, plural, *filter(None, (name, subresource))])


class Client:
    """Talks to one API server. Use as an async context manager."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None
        self._heard = time.monotonic()
        self._back = asyncio.Event()

    async def __aenter__(self) -> "Self":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self._access.tls()),
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS, connect=5),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def rest(self, seconds: float, asked: float = 0.0) -> None:
        """Sleep; if the server answers nobody, only until it answers somebody again.

        ``asked``: the seconds that the server asked for; they are slept in any case.
        """
        await asyncio.sleep(asked)
        seconds -= asked
        if time.monotonic() - self._heard < _AWAY_SECONDS:
            await asyncio.sleep(max(0.0, seconds))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._back.wait()

    def _hear(self) -> None:
        back, self._back = self._back, asyncio.Event()
        self._heard = time.monotonic()
        back.set()

    async def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """Read an object; None if there is none."""
        try:
            return _object(await self._send("GET", path(kind, namespace, name)))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def create(self, kind: str, namespace: str, body: Json) -> Json:
        """POST an object; a conflict means that the name is taken."""
        return _object(await self._send("POST", path(kind, namespace), body=body))

    async def patch(
        self, kind: str, namespace: str, name: str, body: Json, subresource: str = ""
    ) -> Json:
        """Merge-patch an object; a resourceVersion in ``body`` fences it."""
        where = path(kind, namespace, name, subresource)
        return _object(await self._send("PATCH", where, body=body, headers=_MERGE_PATCH))

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> Json | None:
        """Delete exactly this object; None if it is not there.

        A Job stays, terminating, until its pods are gone: who waits for the one waits for both.
        """
        policy = "Foreground" if kind == "Job" else "Background"
        options = {"preconditions": {"uid": uid}, "propagationPolicy": policy}
        try:
            left = await self._send("DELETE", path(kind, namespace, name), body=options)
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return left if left.get("kind") == "Status" else _object(left, _IDENTITY)

    async def list(
        self, kind: str, scope: Scope = EVERYTHING, heard: Callable[[], object] = lambda: None
    ) -> tuple[list[Json], str]:
        """List what is in scope, in pages; also returns the resourceVersion to watch from.

        ``heard`` is called with each page.
        """
        found: list[Json] = []
        query = {"limit": str(scope.page), **scope.query()}
        where, headers = path(kind, scope.namespace), scope.accept("List")
        while True:
            page = await self._send("GET", where, query=query, headers=headers)
            heard()
            found.extend(scope.slim(obj) for obj in _items(page))
            more = page["metadata"].get("continue")
            if not more:
                return found, page["metadata"]["resourceVersion"]
            query["continue"] = more

    async def watch(
        self, kind: str, version: str, scope: Scope = EVERYTHING, *, seconds: float = WATCH_SECONDS
    ) -> AsyncIterator[tuple[str, Json]]:
        """Yield (type, object) from ``version`` on until the stream ends, breaks or falls silent.

        The server ends it after ``seconds``, and of its own accord after a few minutes. Whoever
        watches again from the last version has missed nothing.

        The first is a bookmark of ours where it begins: the server took the watch.

        Raises ApiError for an ERROR event (410: list again), TimeoutError if the server does not
        end it when it should.
        """
        seconds = max(1, min(WATCH_SECONDS, int(seconds)))
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
            **scope.query(),
        }
        silence = min(_SILENCE_SECONDS, seconds + _LATE_SECONDS)
        limits = aiohttp.ClientTimeout(total=None, connect=5, sock_read=silence)
        where, headers = path(kind, scope.namespace), scope.accept("")
        async with self._request(
            "GET", where, query=query, headers=headers, timeout=limits
        ) as reply:
            await _checked(reply)
            self._hear()
            begun = time.monotonic()
            yield BOOKMARK, {"metadata": {"resourceVersion": version}}
            try:
                async for line in _lines(reply.content):
                    self._hear()
                    event = _event(line, scope)
                    if event is not None:
                        yield event
            except TimeoutError:
                if time.monotonic() - begun > seconds:
                    raise
            except aiohttp.ClientError as error:  # something in between cuts what is idle
                _log.info("the watch of %s was cut off: %r", kind, error)

    async def log(self, namespace: str, pod: str) -> str:
        """The last lines of the log of a pod's only container, at most 8 KiB."""
        query = {"tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_BYTES)}
        limits = aiohttp.ClientTimeout(total=_LOG_SECONDS, connect=5)
        where = path("Pod", namespace, pod, "log")
        found = bytearray()
        async with self._request("GET", where, query=query, timeout=limits) as reply:
            await _checked(reply)
            async for chunk in reply.content.iter_any():
                found += chunk
                if len(found) >= _LOG_BYTES:
                    break
        return found[:_LOG_BYTES].decode(errors="replace")

    async def _send(
        self,
        method: str,
        where: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        data = None if body is None else json.dumps(body).encode()
        headers = {**_JSON, **(headers or {})} if data else headers
        async with self._request(method, where, query=query, data=data, headers=headers) as reply:
            await _checked(reply)
            answer = _parsed(await read_body(reply))
            self._hear()
            return answer

    def _request(
        self,
        method: str,
        where: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            msg = "the client is used outside its context"
            raise RuntimeError(msg)
        every = {"Accept": "application/json", **(headers or {})}
        token = self._access.token()
        if token:
            every["Authorization"] = f"Bearer {token}"
        url = self._access.server + where
        return self._session.request(method, url, params=query, headers=every, **options)


async def _checked(reply: aiohttp.ClientResponse) -> None:
    if reply.status < 400:
        return
    text = (await read_body(reply)).decode(errors="replace")
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"reason": reply.reason, "message": text[:200]}
    raise _error({**status, "code": reply.status}, after(reply.headers))


def after(headers: Mapping[str, str]) -> float | None:
    """For how many seconds a busy server wants to be left in peace."""
    said = headers.get("Retry-After", "")
    return min(float(said), _LONGEST_AFTER) if said.isdecimal() else None


def _error(status: Any, wait: float | None = None) -> ApiError:
    """What a Status object says; one that says nothing is a fault of the server."""
    known: Json = status if isinstance(status, dict) else {}
    code = known.get("code")
    return ApiError(
        code if isinstance(code, int) and code >= 400 else 500,
        str(known.get("reason") or "Error"),
        str(known.get("message") or ""),
        after=wait,
    )


async def read_body(reply: aiohttp.ClientResponse) -> bytes:
    """Read an answer; of what cannot be one, only how it begins."""
    read = bytearray()
    async for chunk in reply.content.iter_any():
        if not read and not chunk.startswith(b"{"):
            return chunk[:200]
        read += chunk
        if len(read) > _LARGEST:
            raise _unreadable("an answer without an end")
    return bytes(read)


def _parsed(text: bytes) -> Json:
    """Decode an answer, or an event. Raises ApiError."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _unreadable(text[:200])
    return answer


def _object(obj: Any, wanted: frozenset[str] = _VERSION) -> Json:
    """Return an object, or a list of some, that says of itself what all do. Raises ApiError."""
    meta = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(meta, dict) or not all(meta.get(name) for name in wanted):
        raise _unreadable("an object without metadata")
    found: Json = obj
    return found


def _items(page: Json) -> list[Json]:
    """The objects on a page; without ``items`` it is none, and not an empty one."""
    items = _object(page).get("items", "")
    if not isinstance(items, list | None):
        raise _unreadable("no list")
    return [_object(obj, _IDENTITY) for obj in items or ()]


def _unreadable(what: object) -> ApiError:
    """What is no answer of an API server's comes from something in between."""
    return ApiError(502, "Unreadable", f"not what was asked for: {what}")


def _event(line: bytes, scope: Scope) -> tuple[str, Json] | None:
    """Read a line of a watch; None if a later API server says it of what we do not know.

    Raises ApiError: what cannot be read may have been a change, so that only a list helps.
    """
    event = _parsed(line)
    what, obj = event.get("type"), event.get("object")
    if what == "ERROR":
        raise _error(obj)
    if what in _CHANGES:
        return what, scope.slim(_object(obj, _IDENTITY))
    if what == BOOKMARK:
        return what, _object(obj)
    _log.warning("a watch told of %.64r, which is unknown", what)
    return None


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Split a stream into lines of any length, as aiohttp does not."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LARGEST:
            raise _unreadable("an event without an end")
        for line in whole:
            if line.strip():
                yield line
