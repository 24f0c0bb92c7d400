"""Puts the operator together: settings, client, informers, workers, Lease, kopf, probes.

Every part is made here and given what it needs; nothing else reads the environment.
"""

import asyncio
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp

from gkm.api import names
from gkm.api.errors import Rejected
from gkm.api.meta import CACHE_NODE, CLUSTER_CACHE_NODE
from gkm.api.names import CACHE, CLUSTER_CACHE, CacheKey
from gkm.core.view import Settings
from gkm.kube.access import Access, find
from gkm.kube.client import EVERYTHING, Client, Scope
from gkm.kube.errors import ApiError
from gkm.kube.informer import Informer
from gkm.kube.lease import Lease
from gkm.kube.probes import application, serve
from gkm.kube.supervise import Pause, keep, leave
from gkm.oci.settings import RegistrySettings
from gkm.operator.apply import Applier
from gkm.operator.certificate import Certificate
from gkm.operator.controller import Controller
from gkm.operator.fleet import AGENT_POD, CHILDREN, SURROUNDINGS, FiledAs, Fleet
from gkm.operator.queue import WorkQueue
from gkm.operator.resolver import Resolver
from gkm.operator.slots import Slots
from gkm.operator.watch import Watch

_log = logging.getLogger(__name__)
_WORKERS = 8
_NO_CRDS = "GKM's CRDs are not installed: helm installs them from crds/"
_AGENT_LABELS = "app.kubernetes.io/name=gkm,app.kubernetes.io/component=agent"
_REPORTS = dict.fromkeys((CACHE_NODE, CLUSTER_CACHE_NODE), Scope(page=50))
"""Each may be large: a page of them must stay far below what the client reads of an answer."""
_OURS = Scope(labels=f"{names.MANAGED_BY}={names.MANAGER}")


def main(_arguments: list[str]) -> int:
    """Run the operator until SIGTERM; the exit code."""
    logging.basicConfig(level=os.environ.get("GKM_LOG_LEVEL", "INFO").upper(), stream=sys.stderr)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    logging.getLogger("kopf._core").setLevel(logging.CRITICAL)  # how it ended is told in our words
    logging.getLogger("kopf._cogs").setLevel(logging.CRITICAL)
    try:
        asyncio.run(_run(_settings()))
    except Rejected as word:
        _log.error("%s", word)
        return 1
    return 0


def _settings() -> Settings:
    registry = RegistrySettings.from_json(os.environ.get("GKM_REGISTRY", ""))
    return Settings(
        namespace=os.environ.get("GKM_NAMESPACE", "gkm-system"),
        image=os.environ["GKM_IMAGE"],
        image_pull_policy=os.environ.get("GKM_IMAGE_PULL_POLICY", "IfNotPresent"),
        host_path=os.environ.get("GKM_HOST_PATH", ""),
        registry=registry.to_json(),
        resources=os.environ.get("GKM_EXTRACTION_RESOURCES", "{}"),
        parallel=int(os.environ.get("GKM_EXTRACTIONS", "32")),
        deadline=int(os.environ.get("GKM_EXTRACTION_DEADLINE", "3600")),
    )


class Operator:
    """All parts, wired; ``run`` runs them until a signal comes."""

    def __init__(self, settings: Settings, access: Access, client: Client, resync: float) -> None:
        self._namespace = settings.namespace
        self._resync = resync
        self._stop = asyncio.Event()
        self._due = asyncio.Event()
        self._client = client
        self._queue: WorkQueue[CacheKey] = WorkQueue()
        slots = Slots(settings.parallel, self._queue.add)
        self._fleet = Fleet(self._queue.add, slots)
        self._identity = f"{os.environ.get('GKM_IDENTITY') or socket.gethostname()}_{os.getpid()}"
        place = (settings.namespace, "gkm-operator")
        self._lease = Lease(client, *place, self._identity, on_lead=self._lead)
        follow = partial(Informer, client, receiver=self._fleet, resync=resync)
        self._informers = [
            follow(kind, scope=_REPORTS.get(kind, EVERYTHING)) for kind in SURROUNDINGS
        ]
        self._informers += [follow(kind, scope=_OURS) for kind in CHILDREN]
        agents = FiledAs(AGENT_POD, self._fleet)
        ours = Scope(settings.namespace, labels=_AGENT_LABELS)
        self._informers.append(Informer(client, "Pod", agents, resync=resync, scope=ours))
        self._watch = Watch(access, client.rest, self._fleet.observe, self._due.set)
        registries = RegistrySettings.from_json(settings.registry)
        self._controller = Controller(
            settings,
            self._fleet,
            self._queue,
            Applier(client, self._fleet, self._lease.valid),
            Resolver(client, registries, self._queue.add),
            slots,
        )

    async def run(self) -> None:
        """Start every part, open the queue after the first full sweep, stop at a signal."""
        self._heed_signals()
        parts = [informer.run() for informer in self._informers]
        parts += [keep("a worker", self._controller.work) for _ in range(_WORKERS)]
        parts += [self._watch.run(), keep("the sweep", self._sweep_for_ever)]
        parts += [keep("the Lease", self._lease.hold), *self._others()]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
            await self._stop.wait()
            for task in tasks:
                task.cancel()
        try:
            await self._lease.release()
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.warning("the Lease was not given back: %r", error)

    def _others(self) -> list[Coroutine[Any, Any, None]]:
        """What else runs; a certificate that somebody else makes is nothing to us."""
        probes = serve(application(self._alive, self._queue.opened))
        if os.environ.get("GKM_WEBHOOK_CERTIFICATE") == "off":
            return [probes]
        keeper = Certificate(self._client, self._namespace, self._lease.valid)
        return [probes, keep("the webhook's certificate", keeper.keep)]

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    def _alive(self) -> float:
        return min(self._watch.alive, *(informer.alive for informer in self._informers))

    async def _sweep_for_ever(self) -> None:
        """List the Caches, at once, now and again, and when kopf was away: it tells of no gap."""
        for informer in self._informers:
            await informer.synced.wait()
        pause = Pause()
        while True:
            self._due.clear()
            try:
                for kind in (CACHE, CLUSTER_CACHE):
                    objects, version = await self._client.list(kind)
                    self._fleet.replace(kind, objects, version)
                self._all()
                self._queue.open()
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                known = error if isinstance(error, ApiError) else None
                _log.warning("sweep: %s", _NO_CRDS if known and known.not_found else repr(error))
                asked = known.after if known else None
                await self._client.rest(pause.next(), asked or 0.0)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._resync * random.uniform(0.8, 1.2)):
                        await self._due.wait()

    def _lead(self) -> None:
        """Begin as if just started: what is remembered of an earlier lead is of another time."""
        self._fleet.forget_memories()
        self._all()

    def _all(self) -> None:
        for key in self._fleet.all_keys():
            self._queue.add(key)


async def _run(settings: Settings) -> None:
    access = find()
    resync = float(os.environ.get("GKM_RESYNC_SECONDS", "600"))
    async with Client(access) as client:
        await Operator(settings, access, client, resync).run()
    leave(0)
