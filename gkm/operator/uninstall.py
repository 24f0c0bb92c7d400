"""What the chart runs before it goes: delete every Cache, and see them gone.

Whoever takes the operator away first leaves Caches whose finalizer nobody removes, and namespaces
that never end. The operator does the work, as for any deletion; this only asks and waits.
"""

import asyncio
import sys
import time

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
        left = asyncio.run(_uninstall(options.timeout))
    except (Rejected, ApiError) as error:
        _say(str(error))
        return 1
    if left:
        _say("nothing else was removed: clear away what is named above and uninstall again")
    return 1 if left else 0


async def _uninstall(timeout: float) -> bool:  # noqa: ASYNC109 - says whether Caches are left
    until = time.monotonic() + timeout
    told: set[str] = set()
    async with Client(find()) as client:
        while left := [c for kind in (CACHE, CLUSTER_CACHE) for c in await _all(client, kind)]:
            if time.monotonic() > until:
                return True
            for cache in left:
                await _delete(client, cache)
                _tell_once(cache, told)
            await asyncio.sleep(_PAUSE)
    return False


def _tell_once(cache: Json, told: set[str]) -> None:
    """Say at once what holds a Cache up: whoever waits for us may not wait to the end."""
    conditions = (cache.get("status") or {}).get("conditions") or [{}]
    line = f"{_name(cache)}: {conditions[0].get('message')}"
    if conditions[0].get("reason") == DELETING and line not in told:
        told.add(line)
        _say(line)


async def _all(client: Client, kind: str) -> list[Json]:
    """Every Cache of a kind; none if its definition is gone, and with it all of them."""
    try:
        found, _ = await client.list(kind)
    except ApiError as error:
        if error.not_found:
            return []
        raise
    return [{**cache, "kind": kind} for cache in found]


async def _delete(client: Client, cache: Json) -> None:
    meta = cache["metadata"]
    if "deletionTimestamp" not in meta:
        _say(f"deleting {_name(cache)}")
        namespace = meta.get("namespace", "")
        await client.delete(cache["kind"], namespace, meta["name"], meta["uid"])


def _name(cache: Json) -> str:
    meta = cache["metadata"]
    return "/".join(filter(None, (cache["kind"], meta.get("namespace"), meta["name"])))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of the chart's hook
