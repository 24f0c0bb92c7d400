"""Watches straight at the API server: the full history of every object that matters, in its order.

Everything that judges a run reads from here, and the nodes and the workloads learn from here what
is there. It changes nothing. Where the API server itself is killed, what is missed is told as a
list tells it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

from gkm.api import names
from gkm.api.meta import CACHE_NODE, CLUSTER_CACHE_NODE
from gkm.kube.client import Client
from gkm.kube.errors import ApiError

Json = dict[str, Any]
CLAIM, VOLUME, JOB, POD = "PersistentVolumeClaim", "PersistentVolume", "Job", "Pod"
_TRIES, _BUSY_SECONDS, _AWAY_SECONDS = 50, 0.2, 0.5
REPORTS = (CACHE_NODE, CLUSTER_CACHE_NODE)
KINDS = (CLAIM, VOLUME, JOB, POD, names.CACHE, names.CLUSTER_CACHE, *REPORTS)


class Admin(Client):
    """GKM's own client, with the few calls that only an administrator or a node makes.

    While the API server is being killed and started again (``away``) it waits.
    """

    away = False

    async def send(
        self, method: str, where: str, body: Json | None = None, *, patch: bool = False
    ) -> Json:
        """Send any request; raises ApiError."""
        media = "application/merge-patch+json" if patch else "application/json"
        return await self._send(method, where, body=body, headers={"Content-Type": media})

    async def _send(self, method: str, where: str, **options: Any) -> Json:
        for _ in range(_TRIES):
            try:
                return await super()._send(method, where, **options)
            except (aiohttp.ClientError, TimeoutError, OSError):
                if not self.away:
                    raise
            except ApiError as error:
                if not (self.away and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR):
                    raise
            await asyncio.sleep(_AWAY_SECONDS)
        raise TimeoutError(f"{method} {where}: the API server does not come back")


@dataclass(frozen=True)
class Seen:
    """One event: ADDED, MODIFIED or DELETED, with the object as it was then."""

    version: int
    event: str
    kind: str
    obj: Json

    @property
    def uid(self) -> str:
        return str(self.obj["metadata"]["uid"])


def ours(obj: Json) -> bool:
    """Whether GKM made an object."""
    return (obj["metadata"].get("labels") or {}).get(names.MANAGED_BY) == names.MANAGER


def is_cache(kind: str) -> bool:
    return kind in (names.CACHE, names.CLUSTER_CACHE)


class Recorder:
    """The history since the start, and what is there now."""

    def __init__(self, client: Admin) -> None:
        self.history: list[Seen] = []
        self.last_change = time.monotonic()
        """When anything of GKM last changed."""
        self.listeners: list[Callable[[Seen], None]] = []
        self._client = client
        self._there: dict[str, dict[str, Json]] = {kind: {} for kind in KINDS}
        self._synced = {kind: asyncio.Event() for kind in KINDS}

    async def run(self, kind: str) -> None:
        """Follow one kind until cancelled. An event that is lost ends this: half a history is none.

        While a CRD is new the API server is busy now and then, and forgets versions; that loses
        nothing as long as no object was seen.
        """
        version, tries = "", 0
        while tries < _TRIES:
            try:
                version = version or await self._list(kind)
                async for event, obj in self._client.watch(kind, version):
                    version, tries = obj["metadata"]["resourceVersion"], 0
                    if event != "BOOKMARK":
                        self._take(event, kind, obj)
            except ApiError as error:
                if not (self._bearable(error) or self._new(kind, error)):
                    raise
                version = "" if error.gone or self._client.away else version
            except (aiohttp.ClientError, TimeoutError, OSError):
                if not self._client.away:
                    raise
                version = ""
            tries += 1
            await asyncio.sleep(_BUSY_SECONDS)

    def _bearable(self, error: ApiError) -> bool:
        return self._client.away or error.status == HTTPStatus.TOO_MANY_REQUESTS

    def _new(self, kind: str, error: ApiError) -> bool:
        return error.gone and all(seen.kind != kind for seen in self.history)

    async def _list(self, kind: str) -> str:
        objects, version = await self._client.list(kind)
        there = self._there[kind]
        listed = {obj["metadata"]["uid"] for obj in objects}
        for uid, obj in list(there.items()):
            if uid not in listed:
                self._take("DELETED", kind, obj)
        for obj in objects:
            known = there.get(obj["metadata"]["uid"])
            if known is None:
                self._take("ADDED", kind, obj)
            elif known["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._take("MODIFIED", kind, obj)
        self._synced[kind].set()
        return version

    async def synced(self) -> None:
        """Wait for the first list of every kind."""
        for event in self._synced.values():
            await event.wait()

    def all(self, kind: str) -> list[Json]:
        """Every object of a kind that is there now."""
        return list(self._there[kind].values())

    def find(self, kind: str, namespace: str, name: str) -> Json | None:
        """One object by its name."""
        for obj in self._there[kind].values():
            meta = obj["metadata"]
            if (meta.get("namespace", ""), meta["name"]) == (namespace, name):
                return obj
        return None

    def caches(self) -> Iterator[tuple[str, Json]]:
        """Every Cache of both kinds."""
        for kind in (names.CACHE, names.CLUSTER_CACHE):
            yield from ((kind, obj) for obj in self.all(kind))

    def since(self, mark: int) -> list[Seen]:
        """The history from a mark (a former length) on, in the API server's order."""
        return sorted(self.history[mark:], key=lambda seen: seen.version)

    def _take(self, event: str, kind: str, obj: Json) -> None:
        seen = Seen(int(obj["metadata"]["resourceVersion"]), event, kind, obj)
        if event == "DELETED":
            self._there[kind].pop(seen.uid, None)
        else:
            self._there[kind][seen.uid] = obj
        self.history.append(seen)
        if is_cache(kind) or ours(obj):
            self.last_change = time.monotonic()
        for listener in self.listeners:
            listener(seen)
