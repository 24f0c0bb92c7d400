"""Builds a stack, from the control plane up, and takes it away again."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gkm.kube.access import Access, from_kubeconfig
from tests.cluster import cluster as clusters
from tests.cluster.cluster import Cluster
from tests.faults import images, install
from tests.faults.admission import Admission
from tests.faults.agent import Agent
from tests.faults.disks import Disks
from tests.faults.images import Image
from tests.faults.node import Node, Site
from tests.faults.program import Program, Spawner
from tests.faults.provisioner import Provisioner
from tests.faults.recorder import KINDS, Admin, Recorder
from tests.faults.stack import Stack, first_port, listening, say
from tests.faults.truth import Truth
from tests.stage import NAMESPACE

NODES = 3
_PROGRAMS = {
    "operator": "tests.faults.operator_main:main",
    "agent": "tests.faults.agent_main:main",
    "webhook": "tests.faults.webhook_main:main",
    "extract": "gkm.extract.app:extract_main",
}


@asynccontextmanager
async def running(number: int) -> AsyncIterator[Stack]:
    """Start stack ``number``; in the end nothing of it is left."""
    name = f"gkm-faults-{number}"
    cluster = await asyncio.to_thread(install.fresh, name, say)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        await asyncio.to_thread(install.chart, cluster, say)
        made = await asyncio.to_thread(images.both, cluster.registry, folder)
        async with Admin(from_kubeconfig(cluster.kubeconfig)) as client:
            stack = await _around(number, cluster, folder, made, client)
            try:
                await stack.start()
                yield stack
            finally:
                await stack.stop()
    finally:
        await asyncio.to_thread(clusters.down, name, say)
        shutil.rmtree(folder, ignore_errors=True)


async def _around(
    number: int, cluster: Cluster, folder: Path, made: tuple[Image, Image], client: Admin
) -> Stack:
    spawners = {name: Spawner(program) for name, program in _PROGRAMS.items()}
    for spawner in spawners.values():
        await spawner.start()
    access, recorder = from_kubeconfig(cluster.kubeconfig), Recorder(client)
    disks, expected = Disks(folder), {image.digest: image.tree for image in made}
    site = Site(client, recorder, disks, folder, spawners["extract"], expected)
    port = first_port(number)
    agents = spawners["agent"]
    nodes = [await _node(n, site, access, agents, port + 1 + n) for n in range(1, NODES + 1)]
    program = Program("webhook", spawners["webhook"], folder / "webhook.log")
    proxy = await listening(access, folder, program)
    token = cluster.kubectl("create", "token", "gkm-operator", "-n", NAMESPACE, "--duration=24h")
    tasks = [asyncio.create_task(recorder.run(kind)) for kind in KINDS]
    await asyncio.wait_for(recorder.synced(), 30)
    return Stack(
        number=number,
        cluster=cluster,
        folder=folder,
        client=client,
        recorder=recorder,
        site=site,
        nodes=nodes,
        admission=Admission(program, proxy, cluster, port + 2 + NODES),
        truth=Truth(recorder, disks, expected),
        provisioner=Provisioner(client, recorder, disks),
        images=made,
        access=access,
        token=token.strip(),
        tasks=tasks,
        spawners=spawners,
    )


async def _node(number: int, site: Site, access: Access, agents: Spawner, port: int) -> Node:
    name, first = f"fault-node-{number}", number == 1
    program = Program(f"agent-{number}", agents, site.scratch / f"agent-{number}.log")
    proxy = await listening(access, site.scratch, program)
    agent = Agent(name, site.client, program, proxy, site.scratch, port)
    return Node(name, site, agent, main=first)
