"""One control plane with everything around it: recorder, nodes, provisioner, proxies, programs.

The control plane is real, without scheduler and kube-proxy: the nodes that are played bind their
own pods. GKM is installed from its chart, but for the Deployments: operator and webhook are
processes here, with the rights of the chart's ServiceAccounts and no others. So are the agents, in
pods of the chart's DaemonSet.
"""

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from gkm.kube.access import Access
from gkm.kube.client import path
from tests.cluster.cluster import Cluster
from tests.cluster.control import render_kubeconfig
from tests.faults import install
from tests.faults.admission import Admission
from tests.faults.images import Image
from tests.faults.node import Node, Site
from tests.faults.program import Program, Spawner
from tests.faults.provisioner import Provisioner
from tests.faults.proxy import Proxy
from tests.faults.recorder import Admin, Recorder
from tests.faults.rules import Fault, Rule, Rulebook
from tests.faults.truth import Truth
from tests.stage import NAMESPACE

Json = dict[str, Any]
_FIRST_PORT, _PORTS = 18080, 10
"""Of each stack: two for operators, then those of the nodes' agents, then the webhook's."""
_LEASE = path("Lease", NAMESPACE, "gkm-operator")
_START_SECONDS = 60.0


def say(line: str) -> None:
    """Print one line for a person."""
    print(line, flush=True)


class Numbered(Protocol):
    """Whose writes (or reviews) are numbered and struck."""

    rulebook: Rulebook
    last_write: float
    ended: float

    def begin(self, rules: Iterable[Rule] = ()) -> None:
        """Start numbering anew, with these rules."""


@dataclass
class Seat:
    """One operator and the proxy that it talks through."""

    proxy: Proxy
    operator: Program


@dataclass
class Stack:
    """What an experiment has in its hands."""

    number: int
    cluster: Cluster
    folder: Path
    client: Admin
    recorder: Recorder
    site: Site
    nodes: list[Node]
    admission: Admission
    truth: Truth
    provisioner: Provisioner
    images: tuple[Image, Image]
    access: Access
    token: str
    tasks: list["asyncio.Task[None]"]
    spawners: dict[str, Spawner]
    seats: list[Seat] = field(default_factory=list)
    reviving: "asyncio.Task[None] | None" = None
    """The control plane's restart, if it was killed."""
    rest: float = 0.0
    """Seconds for which an operator that was killed stays away."""

    @property
    def seat(self) -> Seat:
        """The first operator's."""
        return self.seats[0]

    @property
    def victims(self) -> dict[str, Numbered]:
        """What may be struck, by its name in plans. Of the agents it is the first node's."""
        agent, gate = self.nodes[0].agent.proxy, self.admission.gate
        return {"operator": self.seat.proxy, "agent": agent, "webhook": gate}

    @property
    def present(self) -> list[Node]:
        """The nodes that are there."""
        return [node for node in self.nodes if node.here]

    @property
    def up(self) -> bool:
        """Whether every program but the operator runs, and has looked around."""
        agents = all(node.agent.up.is_set() for node in self.present)
        return agents and self.admission.up.is_set()

    @property
    def last_write(self) -> float:
        """When an agent last wrote, or a pod was last shown to the webhook."""
        every = [node.agent.proxy.last_write for node in self.nodes]
        return max(*every, self.admission.gate.last_write)

    async def sit(self) -> Seat:
        """Make room for one more operator; it is not started."""
        count = len(self.seats)
        name = f"operator-{'ab'[count]}"
        operator = Program(name, self.spawners["operator"], self.folder / f"{name}.log")
        proxy = await listening(self.access, self.folder, operator)
        proxy.strikes = {
            Fault.TERMINATE: operator.terminate,
            Fault.FREEZE: operator.freeze,
            Fault.KILL_EVERYTHING: self.kill_everything,
        }
        operator.environment = self._environment(operator.name, proxy.port, count)
        self.seats.append(Seat(proxy, operator))
        return self.seats[-1]

    async def alone(self) -> None:
        """Take a second operator away, if there is one."""
        for seat in self.seats[1:]:
            await seat.operator.stop()
            await seat.proxy.stop()
        del self.seats[1:]

    def kill_everything(self) -> None:
        """Kill every program of GKM, the API server and etcd; what does not come back by itself
        is started again."""
        self.seat.operator.kill()
        self.admission.program.kill()
        for node in self.nodes:
            node.kill()
        self.client.away = True
        self.reviving = asyncio.create_task(self._revive())

    async def _revive(self) -> None:
        await asyncio.to_thread(install.kill_control_plane, self.cluster)
        await asyncio.sleep(2)  # until the recorder is sure to have listed
        self.client.away = False

    def _environment(self, name: str, port: int, count: int) -> dict[str, str]:
        config = render_kubeconfig("faults", f"http://127.0.0.1:{port}", b"", self.token)
        kubeconfig = self.folder / f"{name}.yaml"
        kubeconfig.write_text(yaml.safe_dump(config))
        return {
            "KUBECONFIG": str(kubeconfig),
            "GKM_NAMESPACE": NAMESPACE,
            "GKM_IMAGE": "example.com/gkm:faults",
            "GKM_HOST_PATH": str(self.site.disks.shared),
            "GKM_REGISTRY": json.dumps({"plainHttp": [self.cluster.registry]}),
            "GKM_PROBE_PORT": str(first_port(self.number) + count),
        }

    async def give_lease_back(self) -> None:
        """Stand in for the fifteen seconds after which a dead leader's Lease may be taken."""
        await self.client.send("PATCH", _LEASE, {"spec": {"holderIdentity": ""}}, patch=True)

    async def holder(self) -> str:
        """Who holds the Lease."""
        lease = await self.client.send("GET", _LEASE)
        return str(lease["spec"].get("holderIdentity") or "")

    def check(self) -> None:
        """Raise what ended a part of the harness, if one did."""
        for task in self.tasks:
            if task.done():
                raise RuntimeError(f"the harness is broken: {task.exception()!r}")
        if self.reviving is not None and self.reviving.done():
            self.reviving.result()

    def problems(self) -> list[str]:
        """Take what nodes and provisioner have to complain of."""
        found: list[str] = []
        for part in (self.site, self.truth, self.provisioner):
            found += part.problems
            part.problems.clear()
        return found

    async def start(self) -> None:
        """Bring up nodes, operator and webhook; returns once all have looked around."""
        for node in self.nodes:
            await node.join()
        await self.sit()
        await self.seat.operator.start()
        await self.admission.start(self.folder)
        self.tasks.append(asyncio.create_task(self.admission.keep()))
        until = time.monotonic() + _START_SECONDS
        while not self.up:
            self.check()
            if time.monotonic() > until:
                raise TimeoutError(f"not all programs came up:\n{self._last_words()}")
            await asyncio.sleep(0.1)

    def _last_words(self) -> str:
        every = [self.seat.operator, self.admission.program]
        logs = [program.log for program in every + [node.agent.program for node in self.nodes]]
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in logs)

    async def stop(self) -> None:
        """End every program."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for seat in self.seats:
            await seat.operator.stop()
            await seat.proxy.stop()
        for node in self.nodes:
            await node.stop()
        await self.admission.stop()
        for spawner in self.spawners.values():
            await spawner.stop()


def first_port(stack: int) -> int:
    """The first of a stack's ports on this machine."""
    return _FIRST_PORT + _PORTS * stack


async def listening(access: Access, folder: Path, program: Program) -> Proxy:
    """A proxy for a program; it listens."""
    trace = folder / f"{program.name}.jsonl"
    trace.touch()
    program.log.touch()
    proxy = Proxy(access.server, access.tls(), trace, program.kill)
    await proxy.start()
    return proxy
