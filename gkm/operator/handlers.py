"""What kopf calls: it watches the two kinds that people write, and nothing else.

Only ``on.event``: kopf then writes nothing of its own (no finalizer, no annotation), and each
handler is one line, because everything that matters is level-triggered.
"""

from collections.abc import Callable
from typing import Any

import aiohttp
import kopf

from gkm.api.meta import RESOURCES
from gkm.api.names import CACHE, CLUSTER_CACHE, GROUP, VERSION

End = Callable[[], object]
Observe = Callable[[str, str, dict[str, Any]], object]
"""Takes the kind, what happened (as the API server says it), and the object."""
WATCH_SECONDS = 25
_SILENCE_SECONDS = 35.0
_PAGE = 500


def registry(
    observe: Observe, ended: End, server: str, session: aiohttp.ClientSession
) -> kopf.OperatorRegistry:
    """The handlers, on a registry of their own; nothing is global.

    ``ended`` is called as soon as it is certain that kopf ends, which may take it a while.
    """

    async def observed(event: kopf.RawEvent, resource: kopf.Resource, **_: Any) -> None:
        observe(resource.kind or "", event["type"] or "MODIFIED", dict(event["object"]))

    async def cleanup(**_: Any) -> None:
        ended()

    def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=server, aiohttp_session=session)

    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made)(login)
    kopf.on.cleanup(registry=made)(cleanup)
    for kind in (CACHE, CLUSTER_CACHE):
        plural = RESOURCES[kind].plural
        kopf.on.event(GROUP, VERSION, plural, registry=made, id=f"observe-{kind}")(observed)
    return made


def settings() -> kopf.OperatorSettings:
    """Settings of kopf: quiet, standalone, with nothing of its own in the cluster, and impatient.

    It tries nothing twice, for whoever runs it begins anew; and no watch is long, so that one that
    stalls is found soon.
    """
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    chosen.networking.error_backoffs = ()
    chosen.watching.server_timeout = WATCH_SECONDS
    chosen.watching.inactivity_timeout = _SILENCE_SECONDS
    chosen.watching.chunk_size = _PAGE
    chosen.process.ultimate_exiting_timeout = None  # it would kill all of us, not only itself
    chosen.persistence.finalizer = f"{GROUP}/kopf"
    return chosen
