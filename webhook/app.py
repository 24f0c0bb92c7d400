"""Puts the webhook together: settings, client, informers, certificate, server.

Every part is made here and given what it needs; nothing else reads the environment.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from functools import partial
from typing import Final

from gkm.api.errors import Rejected
from gkm.core.podlayer import Program
from gkm.kube.access import find
from gkm.kube.client import Client
from gkm.kube.informer import Informer
from webhook.certificate import Certificate, scope
from webhook.picture import SCOPES, Picture
from webhook.server import Server

_log = logging.getLogger(__name__)
_PORT: Final = 9443
_LONGEST_SILENCE: Final = 60.0
"""Seconds. The operator keeps a claim for minutes after its successor came, so a picture of this
age names none of those that go. A claim without a successor (its Cache was just deleted, its node
is not meant any more) it may still name: such a pod waits until it is deleted, too."""
_WATCH_SECONDS: Final = 40.0
"""Bookmarks come about once a minute, too seldom for the above; the end of a watch is news, too."""
_PAUSE_SECONDS: Final = 5.0
"""How long after SIGTERM new connections are taken: so long others may not know that we leave."""


def main(_arguments: list[str]) -> int:
    """Run the webhook until SIGTERM; the exit code."""
    logging.basicConfig(level=os.environ.get("GKM_LOG_LEVEL", "INFO").upper(), stream=sys.stderr)
    try:
        asyncio.run(_run())
    except Rejected as word:
        _log.error("%s", word)
        return 1
    return 0


async def _run() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    program = Program(
        os.environ["GKM_IMAGE"], os.environ.get("GKM_IMAGE_PULL_POLICY", "IfNotPresent")
    )
    namespace = os.environ.get("GKM_NAMESPACE", "gkm-system")
    resync = float(os.environ.get("GKM_RESYNC_SECONDS", "600"))
    async with Client(find()) as client:
        await serve(client, namespace, program, resync, stop)


async def serve(
    client: Client, namespace: str, program: Program, resync: float, stop: asyncio.Event
) -> None:
    """Follow the cluster and answer until ``stop`` is set; listen once a certificate is there."""
    picture, certificate = Picture(), Certificate()
    follow = partial(Informer, client, resync=resync, longest=_WATCH_SECONDS)
    informers = [follow(kind, picture, scope=part) for kind, part in SCOPES.items()]
    informers.append(follow("Secret", certificate, scope=scope(namespace)))

    def ready() -> bool:
        oldest = min(informer.progress for informer in informers)
        synced = all(informer.synced.is_set() for informer in informers)
        return synced and time.monotonic() - oldest < _LONGEST_SILENCE

    server = Server(picture.known, program, ready)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(informer.run()) for informer in informers]
        stopping = group.create_task(stop.wait())
        waiting = group.create_task(certificate.there.wait())
        await asyncio.wait((stopping, waiting), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            await server.start("", _PORT, certificate)
            await stopping
            await server.stop(_PAUSE_SECONDS)
        for task in (*tasks, waiting):
            task.cancel()
