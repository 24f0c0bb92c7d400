"""Parts of the harness that outlive the API server: for faults that are its own."""

import asyncio
from contextlib import suppress

import aiohttp

from gkm.kube.errors import ApiError
from tests.faults import node, recorder
from tests.faults.node import Node
from tests.faults.recorder import Recorder

_AGAIN = 0.3
_AWAY = (ApiError, aiohttp.ClientError, TimeoutError, OSError)


class SteadyRecorder(Recorder):
    """Lists again after a gap; what happened in it is lost, what came of it is not."""

    async def run(self, kind: str) -> None:
        while True:
            with suppress(*_AWAY):
                await self._follow(kind)
            await asyncio.sleep(_AGAIN)

    async def _follow(self, kind: str) -> None:
        objects, version = await self._client.list(kind)
        there = {obj["metadata"]["uid"] for obj in objects}
        for uid, obj in list(self._there[kind].items()):
            if uid not in there:
                self._take("DELETED", kind, obj)
        for obj in objects:
            known = self._there[kind].get(obj["metadata"]["uid"])
            if known is None or known["metadata"]["resourceVersion"] != _version(obj):
                self._take("MODIFIED" if known else "ADDED", kind, obj)
        self._synced[kind].set()
        while True:
            async for event, obj in self._client.watch(kind, version):
                version = _version(obj)
                if event != "BOOKMARK":
                    self._take(event, kind, obj)


class SteadyNode(Node):
    """Registers again, and goes on telling that it is ready."""

    async def run(self) -> None:
        while True:
            with suppress(*_AWAY):
                await self._run()
            await asyncio.sleep(_AGAIN)

    async def _run(self) -> None:
        try:
            await super().run()
        except ApiError as error:
            if not error.conflict:
                raise
            await self._client.send("DELETE", f"/api/v1/nodes/{node.NAME}")


def _version(obj: recorder.Json) -> str:
    return str(obj["metadata"]["resourceVersion"])
