"""The one thin client of the API server: create, merge patch, delete, get, paged list, watch.

It knows paths and answers, no meaning: JSON in, JSON out. Every request has a time limit, and at
most ``_CONNECTIONS`` are open at once, so that a burst here is no burst there.
"""

import json
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

_CONNECTIONS = 24
_REQUEST_SECONDS = 30
WATCH_SECONDS = 290
_SILENCE_SECONDS = 70
"""Bookmarks come about once a minute, but for a kind of which the API server has seen no change
since it started: a watch that is silent for longer is dead, or as good as dead."""
_JSON = {"Content-Type": "application/json"}
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}

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
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
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

    async def __aenter__(self) -> "Self":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self._access.tls()),
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS, connect=5),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """Read an object; None if there is none."""
        try:
            return await self._send("GET", path(kind, namespace, name))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def create(self, kind: str, namespace: str, body: Json) -> Json:
        """POST an object; a conflict means that the name is taken."""
        return await self._send("POST", path(kind, namespace), body=body)

    async def patch(
        self, kind: str, namespace: str, name: str, body: Json, subresource: str = ""
    ) -> Json:
        """Merge-patch an object; a resourceVersion in ``body`` fences it."""
        where = path(kind, namespace, name, subresource)
        return await self._send("PATCH", where, body=body, headers=_MERGE_PATCH)

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> Json | None:
        """Delete exactly this object; None if it is not there.

        A Job stays, terminating, until its pods are gone: who waits for the one waits for both.
        """
        policy = "Foreground" if kind == "Job" else "Background"
        options = {"preconditions": {"uid": uid}, "propagationPolicy": policy}
        try:
            return await self._send("DELETE", path(kind, namespace, name), body=options)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def list(self, kind: str, scope: Scope = EVERYTHING) -> tuple[list[Json], str]:
        """List what is in scope, in pages; also returns the resourceVersion to watch from."""
        found: list[Json] = []
        query = {"limit": str(scope.page), **scope.query()}
        where, headers = path(kind, scope.namespace), scope.accept("List")
        while True:
            page = await self._send("GET", where, query=query, headers=headers)
            found.extend(scope.slim(obj) for obj in page.get("items") or ())
            more = page["metadata"].get("continue")
            if not more:
                return found, page["metadata"]["resourceVersion"]
            query["continue"] = more

    async def watch(
        self, kind: str, version: str, scope: Scope = EVERYTHING, *, seconds: float = WATCH_SECONDS
    ) -> AsyncIterator[tuple[str, Json]]:
        """Yield (type, object) from ``version`` on until the stream ends, or falls silent.

        The server ends it after ``seconds``, and of its own accord after a few minutes. Whoever
        watches again from the last version has missed nothing.

        Raises ApiError for an ERROR event (410: list again).
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, min(WATCH_SECONDS, int(seconds)))),
            **scope.query(),
        }
        limits = aiohttp.ClientTimeout(total=None, connect=5, sock_read=_SILENCE_SECONDS)
        where, headers = path(kind, scope.namespace), scope.accept("")
        async with self._request(
            "GET", where, query=query, headers=headers, timeout=limits
        ) as reply:
            await _checked(reply)
            async for line in _lines(reply.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"])
                bookmark = event["type"] == "BOOKMARK"
                yield event["type"], event["object"] if bookmark else scope.slim(event["object"])

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
            answer: Json = await reply.json()
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
    text = await reply.text()
    try:
        raise _error(json.loads(text), reply)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ApiError(reply.status, reply.reason or "Error", text[:200]) from None


def _error(status: Json, reply: aiohttp.ClientResponse | None = None) -> ApiError:
    after = reply.headers.get("Retry-After", "") if reply is not None else ""
    return ApiError(
        int(status.get("code") or (reply.status if reply is not None else 500)),
        status.get("reason") or "Error",
        status.get("message") or "",
        after=float(after) if after.isdigit() else None,
    )


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Split a stream into lines of any length, as aiohttp does not; silence ends it."""
    rest = b""
    with suppress(TimeoutError):
        async for chunk in stream.iter_any():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
