"""One leader at a time, by a Lease of our own.

As in Kubernetes' own leader election, other clocks are not trusted: a holder counts as dead when
its Lease has not changed for the Lease's duration on *our* clock. The holder's writes must ask
``valid`` each time; it turns false some time before anybody else may take over.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp

from gkm.kube.client import Client
from gkm.kube.errors import ApiError

Json = dict[str, Any]
_log = logging.getLogger(__name__)

_DURATION = 15.0
_MARGIN = 5.0
_RENEW = 2.0
_PATIENCE = 5.0
"""Seconds that one try may take: after one in vain, a holder has the time for another."""


class Lease:
    """The Lease ``namespace/name``, as ``identity`` sees it; ``on_lead`` is called on taking it."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        on_lead: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._place = (namespace, name)
        self._identity = identity
        self._on_lead = on_lead
        self._renewed = float("-inf")
        self._seen: tuple[str, float] = ("", 0.0)

    def valid(self) -> bool:
        """Whether we lead, and nobody else can have taken over yet."""
        return time.monotonic() < self._renewed + _DURATION - _MARGIN

    async def hold(self) -> None:
        """Try to lead, and keep leading, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._try()
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                _log.warning("lease: %r", error)
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Seconds until the next try: a Lease that runs out sooner is taken as soon as it does."""
        left = self._seen[1] + _DURATION - time.monotonic()
        return min(_RENEW, left) if left > 0 else _RENEW

    async def release(self) -> None:
        """Give the Lease back, so that the other replica need not wait; not at any price."""
        async with asyncio.timeout(_PATIENCE):
            await self._release()

    async def _release(self) -> None:
        lease = await self._client.get("Lease", *self._place)
        if lease is not None and _holder(lease) == self._identity:
            self._renewed = float("-inf")
            await self._write(lease, "")

    async def _try(self) -> None:
        started = time.monotonic()
        lease = await self._client.get("Lease", *self._place)
        if lease is None:
            await self._create()
        elif self._may_take(lease):
            await self._write(lease, self._identity)
        else:
            self._renewed = float("-inf")
            return
        was = self.valid()
        self._renewed = started
        if not was:
            _log.info("leading as %s", self._identity)
            self._on_lead()

    def _may_take(self, lease: Json) -> bool:
        # Now, and not when it was asked for: it may have been renewed in between.
        version, now = lease["metadata"]["resourceVersion"], time.monotonic()
        if version != self._seen[0]:
            self._seen = (version, now)
        expired = now - self._seen[1] > _DURATION
        return expired or _holder(lease) in ("", self._identity)

    async def _create(self) -> None:
        namespace, name = self._place
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": self._spec(self._identity),
        }
        await self._client.create("Lease", namespace, body)

    async def _write(self, lease: Json, holder: str) -> None:
        fence = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        body = {"metadata": fence, "spec": self._spec(holder)}
        await self._client.patch("Lease", *self._place, body)

    def _spec(self, holder: str) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(_DURATION),
            "renewTime": now,
        }


def _holder(lease: Json) -> str:
    return (lease.get("spec") or {}).get("holderIdentity") or ""
