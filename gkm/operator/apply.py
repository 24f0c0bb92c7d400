"""Carries out the actions of a plan: the only place of the operator that writes.

Every write is gated by the Lease, and its answer goes into the fleet at once. What the API server
says no to becomes ``Retry`` or ``Rejected`` here; what to do about that is the controller's.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp

from gkm.api import names
from gkm.api.errors import Retry
from gkm.core import inquire, publish, retire
from gkm.core.actions import (
    CLAIM,
    LOG,
    VOLUME,
    CheckUse,
    Create,
    Delete,
    DropStaging,
    Event,
    Inquire,
    Patch,
    Read,
    Reserve,
    Write,
)
from gkm.core.view import Cache, Said
from gkm.kube.client import Client, Scope
from gkm.kube.errors import ApiError
from gkm.operator.fleet import Fleet, Memory

Json = dict[str, Any]
_log = logging.getLogger(__name__)
_PODS = 30
"""Pods that are read at a time."""


class NotLeading(Exception):  # noqa: N818 - no failure: the other replica does it
    """The Lease is not ours (any more): nothing was written."""


class Outdated(Exception):  # noqa: N818 - no failure: plan again on what is there now
    """Somebody else changed the object first; the fleet knows its present state."""


class Applier:
    """Writes to one API server while ``leading()`` is true."""

    def __init__(self, client: Client, fleet: Fleet, leading: Callable[[], bool]) -> None:
        self._client = client
        self._fleet = fleet
        self._leading = leading

    async def apply(self, action: Write | Read, memory: Memory) -> None:
        """Carry out one action. Raises Retry, Rejected, NotLeading."""
        try:
            match action:
                case Create():
                    await self._create(action)
                case Patch(kind, namespace, name, body):
                    await self._patch(kind, namespace, name, body)
                case Delete(kind, namespace, name, uid):
                    await self._delete(kind, namespace, name, uid)
                case DropStaging():
                    await self._drop_staging(action)
                case Reserve():
                    await self._reserve(action)
                case CheckUse():
                    await self._check_use(action, memory)
                case Inquire():
                    await self._inquire(action, memory)
        except ApiError as error:
            raise error.word() from error

    async def write_status(self, cache: Cache, status: Json) -> None:
        """Write the status as a merge patch: what is no longer in it is taken out.

        Fenced: what a leader of the past still had under way says nothing about the present.
        """
        key, old = cache.key, cache.status.dump()
        fence = {"uid": cache.uid, "resourceVersion": cache.version}
        body = {"metadata": fence, "status": {**dict.fromkeys(old), **status}}
        try:
            await self._patch(key.kind, key.namespace, key.name, body, "status")
        except ApiError as error:
            raise error.word() from error

    async def post(self, cache: Cache, event: Event) -> None:
        """Post an event on the Cache; one that cannot be posted is not worth a retry."""
        self.gate()
        namespace = cache.key.namespace or "default"
        now = datetime.now(UTC)
        body = {
            "metadata": {"generateName": f"{cache.key.name}.", "namespace": namespace},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": cache.key.kind,
                "namespace": cache.key.namespace,
                "name": cache.key.name,
                "uid": cache.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:1024],
            "action": "Reconcile",
            "reportingComponent": "gkm-operator",
            "reportingInstance": "gkm-operator",
            "source": {"component": "gkm-operator"},
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "count": 1,
        }
        await self._client.create("Event", namespace, body)

    async def _create(self, action: Create) -> None:
        meta = action.body["metadata"]
        self.gate()
        try:
            made = await self._client.create(action.kind, meta.get("namespace", ""), action.body)
        except ApiError as error:
            if not error.conflict:
                raise
            made = await self._own(action.kind, meta)
        self._fleet.observe(action.kind, "ADDED", made)

    async def _own(self, kind: str, meta: Json) -> Json:
        """Read the object that has the name; it is ours only if it says the same of itself."""
        namespace, name = meta.get("namespace", ""), meta["name"]
        there = await self._client.get(kind, namespace, name)
        if there is None:
            raise Retry("NameTaken", f"{kind} {name} was just deleted", after=1)
        labels = there["metadata"].get("labels") or {}
        annotations = there["metadata"].get("annotations") or {}
        same = all(labels.get(key) == meta["labels"][key] for key in meta["labels"])
        told = (names.ANNOTATION_CACHE, names.ANNOTATION_DIGEST, names.ANNOTATION_TARGET)
        if not same or any(annotations.get(key) != meta["annotations"][key] for key in told):
            raise _taken(kind, namespace, name)
        return there

    async def _patch(
        self, kind: str, namespace: str, name: str, body: Json, subresource: str = ""
    ) -> None:
        self.gate()
        try:
            made = await self._client.patch(kind, namespace, name, body, subresource)
        except ApiError as error:
            if not error.conflict:
                raise
            await self._look_again(kind, namespace, name)
            raise Outdated from error
        self._fleet.observe(kind, "MODIFIED", made)

    async def _look_again(self, kind: str, namespace: str, name: str) -> None:
        only = f"metadata.name={name}"  # by list: a right that the operator needs anyway
        for there in (await self._client.list(kind, Scope(namespace, fields=only)))[0]:
            self._fleet.observe(kind, "MODIFIED", there)

    async def _delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        self.gate()
        left = await self._client.delete(kind, namespace, name, uid)
        gone = left is None or "deletionTimestamp" not in left.get("metadata", {})
        if gone:
            self._fleet.observe(kind, "DELETED", {"metadata": {"uid": uid}})
        elif left is not None:
            self._fleet.observe(kind, "MODIFIED", left)

    async def _drop_staging(self, action: DropStaging) -> None:
        volume = await self._client.get(VOLUME, "", action.volume)
        if volume is not None and _retained_for(volume, action.uid):
            fence = {"resourceVersion": volume["metadata"]["resourceVersion"]}
            body = {"metadata": fence, "spec": {"persistentVolumeReclaimPolicy": "Delete"}}
            await self._patch(VOLUME, "", action.volume, body)
        await self._delete(CLAIM, action.namespace, action.name, action.uid)

    async def _reserve(self, action: Reserve) -> None:
        staging = await self._client.get(CLAIM, action.namespace, action.staging)
        if staging is None or "deletionTimestamp" in staging["metadata"]:
            raise Retry("ClaimGone", f"claim {action.staging} was deleted while it was filled")
        holder = await self._client.get(CLAIM, action.namespace, action.serving)
        if holder is not None:
            raise _taken(CLAIM, action.namespace, action.serving)
        volume = await self._client.get(VOLUME, "", action.volume)
        if volume is None:
            raise Retry("VolumeGone", f"volume {action.volume} is gone")
        await self._patch(VOLUME, "", action.volume, publish.reservation(volume, action))

    async def _check_use(self, action: CheckUse, memory: Memory) -> None:
        whole = Scope(action.namespace, slim=retire.slim, page=_PODS)
        pods, _ = await self._client.list("Pod", whole)
        for look in action.looks:
            earlier = memory.uses.get(look.uid)
            memory.uses[look.uid] = retire.noted(earlier, pods, look.claim, time.time())

    async def _inquire(self, action: Inquire, memory: Memory) -> None:
        mine = f"involvedObject.uid={action.uid}"
        earlier, now = memory.said.get(action.uid), time.time()
        if action.kind == LOG:
            memory.said[action.uid] = inquire.far(await self._log(action), now)
            return
        try:
            events, _ = await self._client.list("Event", Scope(action.namespace, fields=mine))
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            # What is only for the explanation must not hold up the copy.
            _log.warning("events of %s/%s: %r", action.namespace, action.name, error)
            memory.said[action.uid] = Said(earlier.message if earlier else "", now)
        else:
            memory.said[action.uid] = inquire.heard(events, earlier, now)

    async def _log(self, action: Inquire) -> str:
        try:
            return await self._client.log(action.namespace, action.name)
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.info("log of %s/%s: %r", action.namespace, action.name, error)
            return ""

    def gate(self) -> None:
        """Raise NotLeading unless the Lease is ours now."""
        if not self._leading():
            raise NotLeading


def _taken(kind: str, namespace: str, name: str) -> Retry:
    told = "exists and is not this Cache's: delete it, or give the Cache another name"
    return Retry("NameTaken", f"{kind} {namespace}/{name} {told}")


def _retained_for(volume: Json, uid: str) -> bool:
    """Whether a provisioner made the volume, for this claim, in a class that retains volumes."""
    spec = volume["spec"]
    held = (spec.get("claimRef") or {}).get("uid") == uid
    retained = spec.get("persistentVolumeReclaimPolicy") != "Delete"
    return held and retained and publish.provisioned(volume)
