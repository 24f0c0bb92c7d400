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
from gkm.kube.access import find
from gkm.kube.client import Client, Json
from gkm.kube.errors import ApiError

_PAUSE = 2.0


def main(arguments: list[str]) -> int:
    """Run ``gkm uninstall``; the exit code is 1 if Caches are left."""
    parser = Parser(prog="gkm uninstall", description="Delete every Cache and wait until all went.")
    parser.add_argument(
        "--timeout", type=float, default=180.0, help="seconds to wait (default: %(default).0f)"
    )
    options = parser.parse_args(arguments)
    try:
        left = asyncio.run(_uninstall(options.timeout))
    except (Rejected, ApiError) as error:
        _say(str(error))
        return 1
    for cache in left:
        _say(f"{_name(cache)} is still there: {_why(cache)}")
    if left:
        _say("nothing else was removed: clear away what is named above and uninstall again")
    return 1 if left else 0


async def _uninstall(timeout: float) -> list[Json]:  # noqa: ASYNC109 - says what is left
    until = time.monotonic() + timeout
    async with Client(find()) as client:
        while True:
            left = [cache for kind in (CACHE, CLUSTER_CACHE) for cache in await _all(client, kind)]
            if not left or time.monotonic() > until:
                return left
            for cache in left:
                await _delete(client, cache)
            await asyncio.sleep(_PAUSE)


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


def _why(cache: Json) -> str:
    conditions = (cache.get("status") or {}).get("conditions") or [{}]
    return conditions[0].get("message") or "the operator has not begun to remove it: does it run?"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of the chart's hook
