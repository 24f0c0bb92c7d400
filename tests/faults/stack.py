"""One control plane with everything around it: recorder, node, provisioner, proxies, operators.

The control plane is real, without scheduler and kube-proxy: the node that is played binds its own
pods. GKM is installed from its chart, but for the Deployment: the operator is a process here, with
the rights of the chart's ServiceAccount and no others.
"""

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gkm.kube.access import Access, from_kubeconfig
from gkm.kube.client import path
from tests.cluster import cluster as clusters
from tests.cluster import components
from tests.cluster.cluster import Cluster
from tests.cluster.control import render_kubeconfig
from tests.faults import images
from tests.faults.images import Image
from tests.faults.node import Node
from tests.faults.process import Operator
from tests.faults.provisioner import Provisioner, storage_class
from tests.faults.proxy import Proxy
from tests.faults.recorder import KINDS, Admin, Recorder
from tests.faults.truth import Truth
from tests.stage import CHART, NAMESPACE

Json = dict[str, Any]
_FIRST_PORT = 18080
_LEASE = path("Lease", NAMESPACE, "gkm-operator")
_NOT_NEEDED = ("kube-scheduler", "kube-proxy")


def say(line: str) -> None:
    """Print one line for a person."""
    print(line, flush=True)


@dataclass
class Seat:
    """One operator and the proxy that it talks through."""

    proxy: Proxy
    operator: Operator


@dataclass
class Stack:
    """What an experiment has in its hands."""

    number: int
    cluster: Cluster
    folder: Path
    client: Admin
    recorder: Recorder
    node: Node
    truth: Truth
    provisioner: Provisioner
    images: tuple[Image, Image]
    access: Access
    token: str
    tasks: list["asyncio.Task[None]"]
    seats: list[Seat] = field(default_factory=list)

    @property
    def volumes(self) -> Path:
        """The folder of all volumes."""
        return self.folder / "volumes"

    @property
    def seat(self) -> Seat:
        """The first operator's."""
        return self.seats[0]

    async def sit(self) -> Seat:
        """Make room for one more operator; it is not started."""
        count = len(self.seats)
        name = f"operator-{'ab'[count]}"
        operator = Operator(name, self.folder / f"{name}.log", {})
        proxy = Proxy(
            self.access.server, self.access.tls(), self.folder / f"{name}.jsonl", operator.kill
        )
        await proxy.start()
        operator.environment = self._environment(name, proxy.port, count)
        self.seats.append(Seat(proxy, operator))
        return self.seats[-1]

    def _environment(self, name: str, port: int, count: int) -> dict[str, str]:
        config = render_kubeconfig("faults", f"http://127.0.0.1:{port}", b"", self.token)
        kubeconfig = self.folder / f"{name}.yaml"
        kubeconfig.write_text(yaml.safe_dump(config))
        return {
            "KUBECONFIG": str(kubeconfig),
            "GKM_NAMESPACE": NAMESPACE,
            "GKM_IMAGE": "example.com/gkm:faults",
            "GKM_HOST_PATH": str(self.volumes),
            "GKM_REGISTRY": json.dumps({"plainHttp": [self.cluster.registry]}),
            "GKM_PROBE_PORT": str(_FIRST_PORT + 10 * self.number + count),
        }

    async def give_lease_back(self) -> None:
        """Stand in for the fifteen seconds after which a dead leader's Lease may be taken."""
        await self.client.send("PATCH", _LEASE, {"spec": {"holderIdentity": ""}}, patch=True)

    def check(self) -> None:
        """Raise what ended a part of the harness, if one did."""
        for task in self.tasks:
            if task.done():
                raise RuntimeError(f"the harness is broken: {task.exception()!r}")

    def problems(self) -> list[str]:
        """Take what node and provisioner have to complain of."""
        found: list[str] = []
        for part in (self.node, self.truth, self.provisioner):
            found += part.problems
            part.problems.clear()
        return found


@asynccontextmanager
async def running(number: int) -> AsyncIterator[Stack]:
    """Start stack ``number``; in the end nothing of it is left."""
    name = f"gkm-faults-{number}"
    cluster = await asyncio.to_thread(_fresh, name)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        await asyncio.to_thread(_install, cluster)
        made = await asyncio.to_thread(images.both, cluster.registry, folder)
        async with _around(number, cluster, folder, made) as stack:
            yield stack
    finally:
        await asyncio.to_thread(clusters.down, name, say)
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _around(
    number: int, cluster: Cluster, folder: Path, made: tuple[Image, Image]
) -> AsyncIterator[Stack]:
    access = from_kubeconfig(cluster.kubeconfig)
    token = cluster.kubectl(
        "create", "token", "gkm-operator", "-n", NAMESPACE, "--duration=24h"
    ).strip()
    async with Admin(access) as client:
        recorder = Recorder(client)
        node = Node(client, recorder, folder)
        node.expected = {image.digest: image.tree for image in made}
        truth = Truth(recorder, node.expected)
        provisioner = Provisioner(client, recorder, folder / "volumes")
        tasks = [asyncio.create_task(recorder.run(kind)) for kind in KINDS]
        tasks.append(asyncio.create_task(node.run()))
        await asyncio.wait_for(recorder.synced(), 30)
        stack = Stack(
            number=number,
            cluster=cluster,
            folder=folder,
            client=client,
            recorder=recorder,
            node=node,
            truth=truth,
            provisioner=provisioner,
            images=made,
            access=access,
            token=token,
            tasks=tasks,
        )
        try:
            await stack.sit()
            yield stack
        finally:
            for seat in stack.seats:
                await seat.operator.stop()
                await seat.proxy.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _fresh(name: str) -> Cluster:
    """A cluster in which nothing of an interrupted run is left."""
    if Cluster.find(name) is not None:
        clusters.down(name, say)
    return Cluster.up(name, 0, say)


def _install(cluster: Cluster) -> None:
    """CRDs and rights from the chart, the storage class; away with what nobody needs."""
    for name in _NOT_NEEDED:
        cluster._sandbox.run("sh", "-c", f"kill $(pidof {name})")
    helm = str(components.program("helm", say))
    options = ["--include-crds", "--no-hooks", "--kube-version", components.VERSION]
    command = [helm, "template", "gkm", str(CHART), "--namespace", NAMESPACE, *options]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    documents = [one for one in yaml.safe_load_all(rendered) if one]
    wanted = [one for one in documents if one["kind"] != "Deployment"]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    items = [space, storage_class(), *wanted]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    cluster.kubectl("delete", "deployments", "--all", "-n", "local-path-storage")
    cluster.kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=30s")
