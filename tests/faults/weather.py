"""One stack under changing weather, in one life of its operator: what a fault costs, in figures."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gkm.api import names
from gkm.core import explain
from gkm.kube.client import path
from tests.cluster import cache as kept
from tests.faults import oracles, recorder
from tests.faults.building import running
from tests.faults.recorder import CLAIM, JOB, POD, VOLUME, ours
from tests.faults.stack import Seat, Stack, say
from tests.faults.transport import Transport
from tests.faults.troubles import LIST, Trouble
from tests.faults.world import World

Json = dict[str, Any]
_LOOK = 0.05
_LONGEST = 90.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Spot(World):
    """A Cache of its own in a namespace that all share."""

    number: int = 0

    @property
    def cache(self) -> str:
        return f"kernels-{self.number}"

    def space(self, number: int) -> str:
        return f"weather-{number}"

    async def strangers_claim(self) -> Json:
        """Let somebody else make a claim of the Cache's name; as it was made."""
        spec: Json = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
        spec["resources"] = {"requests": {"storage": "1Gi"}}
        meta = {"name": self.cache, "namespace": self.space(1)}
        body = {"apiVersion": "v1", "kind": CLAIM, "metadata": meta, "spec": spec}
        return await self.stack.client.create(CLAIM, self.space(1), body)

    async def pod(self, name: str) -> None:
        """Start a pod that uses the cache in the first namespace."""
        volume = {"name": "cache", "persistentVolumeClaim": {"claimName": self.cache}}
        container = {"name": "main", "image": "example.com/reader:faults"}
        body = {
            "apiVersion": "v1",
            "kind": POD,
            "metadata": {"name": name, "namespace": self.space(1)},
            "spec": {"containers": [container], "volumes": [volume]},
        }
        await self.stack.client.create(POD, self.space(1), body)

    async def delete_pod(self, name: str) -> None:
        """Delete a pod; the node confirms it."""
        await self.stack.client.send("DELETE", path(POD, self.space(1), name))

    def serves(self, kind: str = names.CACHE, image: int = 0) -> bool:
        """Whether the Cache is extracted in the first namespace, and says so."""
        cache = self.found(kind) or {}
        status: Json = cache.get("status") or {}
        phases = {one["namespace"]: one["phase"] for one in status.get("namespaces") or ()}
        digest = status.get("resolvedDigest") == self.stack.images[image].digest
        return digest and phases.get(self.space(1)) == explain.EXTRACTED

    def children(self) -> dict[str, int]:
        """What there is of this Cache."""
        every = {kind: self.stack.recorder.all(kind) for kind in (CLAIM, JOB, VOLUME)}
        return {kind: sum(map(self._mine, objects)) for kind, objects in every.items()}

    def _mine(self, obj: Json) -> bool:
        told = (obj["metadata"].get("annotations") or {}).get(names.ANNOTATION_CACHE, "")
        return ours(obj) and self.cache in told.split("/")


class Weather:
    """The stack and its leading operator."""

    def __init__(self, found: Stack) -> None:
        self.stack = found
        self.figures: list[str] = []

    @property
    def seat(self) -> Seat:
        return self.stack.seat

    @property
    def transport(self) -> Transport:
        return self.seat.proxy.transport

    def spot(self) -> Spot:
        """Names that nobody used yet."""
        number = next(_numbers)
        return Spot(self.stack, "made by GKM", "w", number, number=number)

    def peak(self) -> int:
        """The most memory that the operator has had, in MiB."""
        process = self.seat.operator._running
        assert process is not None
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        found = next(line for line in lines if line.startswith("VmHWM"))
        return int(found.split()[1]) // 1024

    def alive(self) -> None:
        """Every operator is the process that was started."""
        for seat in self.stack.seats:
            assert seat.operator.exit_code is None, "the operator ended by itself"

    async def until(
        self, what: str, look: Callable[[], object], seconds: float = _LONGEST
    ) -> float:
        """Wait until there is something to see; how long it took."""
        begun = time.monotonic()
        while not look():
            self.alive()
            took = time.monotonic() - begun
            assert took < seconds, f"{what}: not within {seconds:.0f} s"
            await asyncio.sleep(_LOOK)
        return time.monotonic() - begun

    def note(self, row: str, text: str) -> None:
        """Remember a figure for the report."""
        self.figures.append(f"{row}: {text}")
        say(f"[{row}] {text}")

    async def fresh(self) -> None:
        """A new life of the operator, which has not learnt to be patient from earlier troubles."""
        operator = self.seat.operator
        self.transport.end()
        operator.kill()
        await operator.gone()
        await self.stack.give_lease_back()
        self.seat.proxy.resume()
        await operator.start()
        await self.until("the operator leads", lambda: self.seat.proxy.led < time.monotonic())

    async def settled(self, spot: Spot) -> None:
        """Make a Cache and wait until it serves."""
        await spot.apply(names.CACHE)
        await self.until("a Cache in good weather", spot.serves)

    async def through(self, row: str, seconds: float, *troubles: Trouble, idle: int = 0) -> float:
        """Let a Cache be made while there is trouble; how long after it the Cache serves.

        So many troubles at most (``idle``) may have happened to nobody.
        """
        spot, begun = self.spot(), time.monotonic()
        self.transport.begin(*troubles)
        self.transport.cut()
        await spot.apply(names.CACHE)
        await asyncio.sleep(seconds)
        troubled = self.transport.troubles
        lists = self.transport.count(begun, LIST, "gkmcaches")
        self.transport.end()
        took = await self.until(f"{row}: the Cache serves", spot.serves)
        self.note(
            row,
            f"{seconds:.0f} s of trouble ({troubled.struck} requests): serves {took:.1f} s after, "
            f"{lists} lists of gkmcaches meanwhile, at most {self.peak()} MiB",
        )
        assert len(troubled.idle) <= idle, f"happened to nobody: {troubled.idle}"
        assert spot.children() == {CLAIM: 1, JOB: 0, VOLUME: 1}
        return took

    async def delete(self, spot: Spot) -> float:
        """Delete a Cache; how long until nothing is left of it."""
        await spot.delete(names.CACHE)
        return await self.until("the Cache is gone", lambda: self.gone(spot))

    def gone(self, spot: Spot) -> bool:
        """Whether nothing is left of a Cache."""
        return spot.found(names.CACHE) is None and not any(spot.children().values())

    def violations(self) -> list[str]:
        """S4 and S10 over the whole history, what volumes held, and bugs that any log tells of.

        What the harness itself complains of is not counted: here the API server is away on purpose.
        """
        programs = [seat.operator for seat in self.stack.seats]
        programs += [node.agent.program for node in self.stack.nodes]
        programs.append(self.stack.admission.program)
        bugs = [bug for one in programs for bug in oracles.tracebacks(one.log.read_text())]
        seen = [one for one in self.stack.problems() if not one.startswith("harness")]
        return oracles.violations(self.stack.recorder.since(0)) + seen + bugs

    async def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """An object as the API server has it now."""
        return await self.stack.client.get(kind, namespace, name)

    async def patch(self, kind: str, namespace: str, name: str, body: Json) -> None:
        """Change an object as an administrator."""
        await self.stack.client.send("PATCH", path(kind, namespace, name), body, patch=True)


@asynccontextmanager
async def weather(number: int, **settings: str) -> AsyncIterator[Weather]:
    """Stack ``number`` with its operator running in real time; ``settings`` go to it."""
    vars(recorder)["_TRIES"] = 100_000  # an API server that is away is the weather here
    with kept.locked(kept.root() / "clusters" / f".weather-{number}.lock"):
        async with running(number) as found:
            here = Weather(found)
            found.client.away = True
            found.seat.operator.environment |= {"GKM_REAL_TIME": "1", **settings}
            await here.fresh()
            await here.spot().begin()
            yield here
            if "GKM_KEEP_LOGS" in os.environ:
                for seat in found.seats:
                    say(seat.operator.log.read_text())
