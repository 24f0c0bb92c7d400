"""Puts the agent together: settings, client, informers, inventory, reporter, probes.

Every part is made here and given what it needs; nothing else reads the environment.
"""

import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass
from functools import partial

from gkm.agent.inventory import Inventory
from gkm.agent.picture import CLAIM, NODE, POD, Picture
from gkm.agent.reporter import Reporter
from gkm.api import names
from gkm.api.errors import Rejected
from gkm.api.meta import CACHE_NODE, CLUSTER_CACHE_NODE
from gkm.core.nodeview import slim_claim, slim_pod
from gkm.kube.access import find
from gkm.kube.client import Client, Scope
from gkm.kube.informer import Informer
from gkm.kube.probes import application, serve
from gkm.kube.supervise import keep, leave

_log = logging.getLogger(__name__)

_FIRST_LOOK = 20.0
"""Seconds that the first report waits for the GPUs: a driver may hang."""
_PAGE = 10
"""Pods and claims that are read at a time: users make them, and may make them large."""


@dataclass(frozen=True)
class Settings:
    """What the installation decides."""

    node: str
    simulated: str = ""
    resync: float = 600.0


def main(_arguments: list[str]) -> int:
    """Run the agent until SIGTERM; the exit code."""
    logging.basicConfig(level=os.environ.get("GKM_LOG_LEVEL", "INFO").upper(), stream=sys.stderr)
    settings = Settings(
        node=os.environ["GKM_NODE_NAME"],
        simulated=os.environ.get("GKM_SIMULATED_GPUS", ""),
        resync=float(os.environ.get("GKM_RESYNC_SECONDS", "600")),
    )
    try:
        asyncio.run(_run(settings))
    except Rejected as word:
        _log.error("%s", word)
        return 1
    return 0


class Agent:
    """All parts, wired; ``run`` runs them until it is cancelled."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self.picture = Picture(self._heed)
        self.inventory = Inventory(settings.simulated, self.picture, self._report)
        self.reporter = Reporter(client, self.picture, lambda: self.inventory.look)
        self.informers = _informers(settings, client, self.picture)

    async def run(self) -> None:
        """Watch, look and report for ever."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers:
                group.create_task(informer.run())
            for informer in self.informers:
                await informer.synced.wait()
            group.create_task(keep("the inventory", self.inventory.run))
            await asyncio.wait(
                [group.create_task(self.inventory.looked.wait())], timeout=_FIRST_LOOK
            )
            group.create_task(keep("the reporter", self.reporter.run))

    def alive(self) -> float:
        """When (monotonic seconds) the slowest watch last got anywhere."""
        return min(informer.alive for informer in self.informers)

    def _heed(self, kind: str) -> None:
        if kind == NODE:
            self.inventory.wake()
        self._report()

    def _report(self) -> None:
        self.reporter.wake()


def _informers(settings: Settings, client: Client, picture: Picture) -> list[Informer]:
    """Watch only what concerns the node; the API server picks it."""
    follow = partial(Informer, client, receiver=picture, resync=settings.resync)
    nodes = f"{names.node_label(settings.node)},{names.SHARED}"
    ours = f"{names.MANAGED_BY}={names.MANAGER},{names.LABEL_NODE} in ({nodes})"
    name = f"metadata.name={settings.node}"
    here = Scope(fields=f"spec.nodeName={settings.node}", slim=slim_pod, page=_PAGE)
    itself = Scope(fields=name)
    return [
        follow(POD, scope=here),
        follow(CLAIM, scope=Scope(labels=ours, metadata=True, slim=slim_claim, page=_PAGE)),
        follow(NODE, scope=Scope(fields=name, metadata=True)),
        # By name, not by label: an object of this name is in the way even without our labels.
        follow(CACHE_NODE, scope=itself),
        follow(CLUSTER_CACHE_NODE, scope=itself),
    ]


async def _run(settings: Settings) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Client(find()) as client, asyncio.TaskGroup() as group:
        agent = Agent(settings, client)
        probes = serve(application(agent.alive, agent.reporter.reported.is_set))
        tasks = [group.create_task(agent.run()), group.create_task(probes)]
        await stop.wait()
        for task in tasks:
            task.cancel()
    leave(0)
