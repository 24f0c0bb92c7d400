"""What the chart runs before it goes: delete every Cache, and see them gone.

Whoever takes the operator away first leaves Caches whose finalizer nobody removes, and namespaces
that never end. The operator does the work, as for any deletion; this only asks and waits.
"""

import asyncio
import sys
import time

import aiohttp

from gkm.api.errors import Rejected
from gkm.api.names import CACHE, CLUSTER_CACHE
from gkm.arguments import Parser
from gkm.core.explain import DELETING
from gkm.kube.access import find
from gkm.kube.client import Client, Json
from gkm.kube.errors import ApiError

_PAUSE = 2.0


def main(arguments: list[str]) -> int:
    """Run ``gkm uninstall``; the exit code is 1 if Caches are left."""
    parser = Parser(prog="gkm uninstall", description="Delete every Cache and wait until all went.")
    parser.add_argument(
        "--timeout", type=float, default=120.0, help="seconds to wait (default: %(default).0f)"
    )
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(_run(options.timeout))
    except Rejected as word:
        _say(str(word))
        return 1


async def _run(timeout: float) -> int:  # noqa: ASYNC109 - in the end it says what is left
    async with Client(find()) as client:
        left = await Uninstaller(client).clear(timeout)
    for line in left:
        _say(f"still there: {line}")
    if left:
        _say("GKM stays installed: clear away what holds these up and uninstall again")
    return 1 if left else 0


class Uninstaller:
    """Deletes the Caches that are there at its start, and no others."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._first: set[str] | None = None
        self._told: set[str] = set()

    async def clear(self, seconds: float) -> list[str]:
        """Delete and wait; in words, what is left after ``seconds``."""
        until, left = time.monotonic() + seconds, ["whatever there was: nothing could be read"]
        while True:
            try:
                left = await self._round()
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                _say(f"the API server: {error!r}")
            if not left or time.monotonic() >= until:
                return left
            await asyncio.sleep(_PAUSE)

    async def _round(self) -> list[str]:
        found = [cache for kind in (CACHE, CLUSTER_CACHE) for cache in await self._all(kind)]
        if self._first is None:
            self._first = {cache["metadata"]["uid"] for cache in found}
        for cache in found:
            await self._delete(cache)
        for line in map(_standing, found):
            if line not in self._told:  # at once: whoever waits for us may not wait to the end
                self._told.add(line)
                _say(line)
        return [_standing(cache) for cache in found]

    async def _all(self, kind: str) -> list[Json]:
        """Every Cache of a kind; none if its definition is gone, and with it all of them."""
        try:
            found, _ = await self._client.list(kind)
        except ApiError as error:
            if error.not_found:
                return []
            raise
        return [{**cache, "kind": kind} for cache in found]

    async def _delete(self, cache: Json) -> None:
        meta = cache["metadata"]
        if "deletionTimestamp" not in meta and meta["uid"] in (self._first or ()):
            namespace = meta.get("namespace", "")
            await self._client.delete(cache["kind"], namespace, meta["name"], meta["uid"])


def _standing(cache: Json) -> str:
    """Name of a Cache and why it is still there."""
    meta = cache["metadata"]
    name = "/".join(filter(None, (cache["kind"], meta.get("namespace"), meta["name"])))
    conditions = (cache.get("status") or {}).get("conditions") or [{}]
    if conditions[0].get("reason") == DELETING:
        return f"{name}: {conditions[0].get('message')}"
    return f"{name}: its deletion waits for the operator"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of the chart's hook
