"""Whether one bad Cache, registry, node or namespace slows 200 good Caches: `make bench-herd`.

Runs on the fault harness's control plane. What is measured is the operator, so the extractions are
played: they end at once. Runs with and without each evil take turns; ratios are printed.
"""

import argparse
import asyncio
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gkm.api import names
from gkm.core.outcome import Outcome
from tests.faults.building import running
from tests.faults.recorder import Seen
from tests.faults.runner import Ended, Runner
from tests.faults.stack import Stack, say

Json = dict[str, Any]
GOOD, SPACES, EVIL = 200, 10, 20
_NUMBER = 7
_PATIENCE = 300.0
_EVIL = "evil"
_ENDLESS: set[str] = set()
"""Digests of images of which no extraction ends."""


class Played(Runner):
    """Extractions are over at once, but those of an image that stands for a bad node."""

    async def run(self, container: Json, _volume: Path, _scratch: Path) -> Ended:
        _, _, digest = container["args"][1].partition("@")
        if digest in _ENDLESS:
            await asyncio.Event().wait()
        return Ended(0, Outcome("Extracted", "played", digest).to_json())


class Herd:
    """Many Caches on one stack; ``silent`` is a registry that never answers."""

    def __init__(self, stack: Stack, silent: str) -> None:
        self.silent = silent
        self._stack = stack
        self._asked: dict[str, float] = {}
        self._took: dict[str, float] = {}
        stack.recorder.listeners.append(self._listen)

    @property
    def image(self) -> str:
        return self._stack.images[0].reference

    @property
    def endless(self) -> str:
        """An image of which no extraction ends."""
        return self._stack.images[1].reference

    @property
    def missing(self) -> str:
        """An image that is not there."""
        return f"{self._stack.cluster.registry}/gkm/none:v1"

    async def spaces(self) -> None:
        """Make the namespaces."""
        for name in (_EVIL, *(f"good-{number}" for number in range(SPACES))):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await self._stack.client.create("Namespace", "", body)

    async def run(self, evil: "Evil", turn: str) -> list[float]:
        """Seconds from the creation of each good Cache until it is Ready, beside an evil."""
        await evil(self, turn)
        await asyncio.sleep(3)
        self._took.clear()
        good = [(f"good-{n % SPACES}", f"{turn}-{n}") for n in range(GOOD)]
        for namespace, name in good:
            self._asked[f"{namespace}/{name}"] = time.monotonic()
            await self.apply(namespace, name, self.image)
        await self._until("all good ones are Ready", lambda: len(self._took) == GOOD)
        took = list(self._took.values())
        await self._clear()
        return took

    async def apply(self, namespace: str, name: str, image: str) -> None:
        """Make a shared Cache."""
        meta = {"name": name, "namespace": namespace}
        spec = {"image": image, "accessModes": ["ReadOnlyMany"]}
        body = {"apiVersion": names.API_VERSION, "kind": names.CACHE, "metadata": meta}
        await self._stack.client.create(names.CACHE, namespace, {**body, "spec": spec})

    async def quota(self) -> None:
        """Let the evil namespace have no claim."""
        meta, hard = {"name": "none"}, {"persistentvolumeclaims": "0"}
        body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta}
        where = f"/api/v1/namespaces/{_EVIL}/resourcequotas"
        await self._stack.client.send("POST", where, {**body, "spec": {"hard": hard}})

    def _listen(self, seen: Seen) -> None:
        if seen.kind != names.CACHE or seen.event == "DELETED":
            return
        meta: Json = seen.obj["metadata"]
        conditions = (seen.obj.get("status") or {}).get("conditions") or [{}]
        where = f"{meta['namespace']}/{meta['name']}"
        if conditions[0].get("status") == "True" and where in self._asked:
            self._took[where] = time.monotonic() - self._asked.pop(where)

    async def _clear(self) -> None:
        """Delete everything, and wait until it is gone."""
        for namespace in (_EVIL, *(f"good-{number}" for number in range(SPACES))):
            where = f"/apis/gkm.io/v1alpha1/namespaces/{namespace}/gkmcaches"
            await self._stack.client.send("DELETE", where)
        quota = f"/api/v1/namespaces/{_EVIL}/resourcequotas"
        await self._stack.client.send("DELETE", quota)
        recorder = self._stack.recorder
        await self._until("nothing is left", lambda: not recorder.all(names.CACHE))

    async def _until(self, what: str, look: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE
        while not look():
            self._stack.check()
            if time.monotonic() > until:
                raise TimeoutError(f"{what}: not within {_PATIENCE:.0f} s")
            await asyncio.sleep(0.1)


Evil = Callable[[Herd, str], Awaitable[None]]


async def nothing(_herd: Herd, _turn: str) -> None:
    """Without anything evil."""


async def bad_caches(herd: Herd, turn: str) -> None:
    """Caches whose image is not there, asked for again and again."""
    for number in range(EVIL):
        await herd.apply(_EVIL, f"{turn}-typo-{number}", herd.missing)


async def bad_registry(herd: Herd, turn: str) -> None:
    """Caches of a registry that takes connections and never answers."""
    for number in range(EVIL):
        await herd.apply(_EVIL, f"{turn}-silent-{number}", f"{herd.silent}/gkm/any:v{number}")


async def bad_namespace(herd: Herd, turn: str) -> None:
    """Caches in a namespace whose quota refuses every claim."""
    await herd.quota()
    for number in range(EVIL):
        await herd.apply(_EVIL, f"{turn}-refused-{number}", herd.image)


async def bad_node(herd: Herd, turn: str) -> None:
    """Caches whose extractions run and never end, as on a node that hangs."""
    for number in range(EVIL):
        await herd.apply(_EVIL, f"{turn}-endless-{number}", herd.endless)


EVILS: tuple[Evil, ...] = (nothing, bad_caches, bad_registry, bad_namespace, bad_node)


async def bench(runs: int) -> None:
    """Run each evil ``runs`` times, in turns, and print the table."""
    seconds: dict[str, list[float]] = {evil.__name__: [] for evil in EVILS}
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent:
        async with running(_NUMBER) as stack:
            _ENDLESS.add(stack.images[1].digest)
            for node in stack.nodes:
                node._runner = Played(node._runner.spawner)
            host, port = silent.getsockname()
            herd = Herd(stack, f"{host}:{port}")
            await herd.spaces()
            for number in range(runs):
                for evil in EVILS:
                    took = await herd.run(evil, f"t{number}-{evil.__name__.replace('_', '-')}")
                    seconds[evil.__name__] += took
                    say(f"run {number + 1} of {runs}, {evil.__name__}: {_said(took)}")
    base = seconds[nothing.__name__]
    for name, took in seconds.items():
        median = statistics.median(took) / statistics.median(base)
        tenth = _p90(took) / _p90(base)
        say(f"{name:14} {_said(took)}; {median:.2f}x and {tenth:.2f}x")


def _said(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, p90 {_p90(seconds):.2f} s"


def _p90(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=10)[-1]


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    asyncio.run(bench(parser.parse_args().runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
