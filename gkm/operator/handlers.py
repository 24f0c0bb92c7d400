"""What kopf calls: it watches the two kinds that people write, and nothing else.

Only ``on.event``: kopf then writes nothing of its own (no finalizer, no annotation), and each
handler is one line, because everything that matters is level-triggered.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from gkm.api.meta import RESOURCES
from gkm.api.names import CACHE, CLUSTER_CACHE, GROUP, VERSION
from gkm.kube.access import Access
from gkm.operator.fleet import Fleet

_LONGEST_SILENCE = 180.0
"""Bookmarks come about once a minute."""
_LOGIN_LASTS = timedelta(minutes=10)
"""kopf then asks again, and gets the token that is in the pod by then."""


def register(
    registry: kopf.OperatorRegistry, fleet: Fleet, access: Access, silence: Callable[[], float]
) -> None:
    """Register the handlers on a registry of their own; nothing is global.

    ``silence`` is for how many seconds the quietest watch has heard nothing.
    """

    async def observe(event: kopf.RawEvent, resource: kopf.Resource, **_: Any) -> None:
        fleet.observe(resource.kind or "", event["type"] or "MODIFIED", dict(event["object"]))

    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=access.server,
            ca_data=base64.b64encode(access.authority.encode()),
            scheme="Bearer",
            token=access.token(),
            expiration=datetime.now(UTC) + _LOGIN_LASTS,
        )

    async def watching(**_: Any) -> float:
        seconds = silence()
        if seconds > _LONGEST_SILENCE:
            raise kopf.PermanentError(f"a watch has heard nothing for {seconds:.0f} s")
        return seconds

    kopf.on.login(registry=registry)(login)
    kopf.on.probe(registry=registry, id="silence")(watching)
    for kind in (CACHE, CLUSTER_CACHE):
        kopf.on.event(
            GROUP, VERSION, RESOURCES[kind].plural, registry=registry, id=f"observe-{kind}"
        )(observe)


def settings() -> kopf.OperatorSettings:
    """Settings of kopf: quiet, standalone, and with nothing of its own in the cluster."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    chosen.persistence.finalizer = f"{GROUP}/kopf"
    return chosen
