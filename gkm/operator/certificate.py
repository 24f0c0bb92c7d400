"""Keeps the webhook's certificate: in a Secret for the webhook, its authority where pods are sent.

Nobody notices a rotation, because the new authority is trusted beside the old one before the new
certificate is served. While nothing is due, nothing is written.
"""

import asyncio
import base64
import logging
import time
from collections.abc import Callable
from dataclasses import astuple
from enum import Enum, auto
from typing import Any, Final

import aiohttp

from gkm.api.names import WEBHOOK_SECRET
from gkm.kube.client import Client
from gkm.kube.errors import ApiError
from gkm.operator.issuer import Issued, due, issue, newest

Json = dict[str, Any]
_log = logging.getLogger(__name__)

CONFIGURATION: Final = "gkm-pods"
_HOOKS: Final = "MutatingWebhookConfiguration"
_KEYS: Final = ("tls.crt", "tls.key", "ca.crt")
_LOOK_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5.0
_SPREAD_SECONDS: Final = 10.0
"""Until then every API server has seen whom to trust."""


class Step(Enum):
    """What is to be done."""

    NOTHING = auto()
    TRUST = auto()
    """The certificate is good, but its authority is not where pods are sent."""
    ROTATE = auto()


def names(namespace: str) -> tuple[str, ...]:
    """DNS names by which the API server, and people, may call the webhook's Service."""
    service = f"gkm-webhook.{namespace}"
    return (service, f"{service}.svc", f"{service}.svc.cluster.local")


def decide(held: Issued | None, bundles: list[bytes], namespace: str, now: float) -> Step:
    """Say what to do about what is in the Secret and in each webhook's ``caBundle``."""
    if held is None or due(held, names(namespace), now):
        return Step.ROTATE
    trusted = all(held.authority.strip() in bundle for bundle in bundles)
    return Step.NOTHING if trusted else Step.TRUST


class Certificate:
    """Keeps the certificate of the webhook in ``namespace``; writes only while ``leading``."""

    def __init__(self, client: Client, namespace: str, leading: Callable[[], bool]) -> None:
        self._client = client
        self._namespace = namespace
        self._leading = leading

    async def keep(self) -> None:
        """Look, and put right what is not, until cancelled."""
        while True:
            try:
                found = await self.look() if self._leading() else False
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                _log.warning("the webhook's certificate: %r", error)
                found = False
            await asyncio.sleep(_LOOK_SECONDS if found else _RETRY_SECONDS)

    async def look(self) -> bool:
        """Put right what is not, once; False if pods are not sent to the webhook (yet).

        Raises ApiError, and aiohttp's errors.
        """
        hooks = await self._client.get(_HOOKS, "", CONFIGURATION)
        if hooks is None:
            return False
        secret = await self._client.get("Secret", self._namespace, WEBHOOK_SECRET)
        held = _held(secret)
        step = decide(held, _bundles(hooks), self._namespace, time.time())
        if step is Step.TRUST and held is not None:
            await self._trust(hooks, held.authority)
        elif step is Step.ROTATE:
            await self._rotate(hooks, secret, held)
        return True

    async def _rotate(self, hooks: Json, secret: Json | None, held: Issued | None) -> None:
        new = issue(names(self._namespace), time.time())
        served = newest(held.authority) if held else b""
        served = served or newest(b"".join(_bundles(hooks)[:1]))  # the Secret may be spoilt
        await self._trust(hooks, new.authority + served)
        if served:
            await asyncio.sleep(_SPREAD_SECONDS)
        await self._store(new, secret, hooks["metadata"]["uid"])

    async def _trust(self, hooks: Json, bundle: bytes) -> None:
        if not self._leading():
            return
        text = base64.b64encode(bundle).decode()
        every = [
            hook | {"clientConfig": hook["clientConfig"] | {"caBundle": text}}
            for hook in hooks.get("webhooks") or ()
        ]
        fence = {"resourceVersion": hooks["metadata"]["resourceVersion"]}
        body = {"metadata": fence, "webhooks": every}
        await self._client.patch(_HOOKS, "", CONFIGURATION, body)
        _log.info("the API server is told to trust the webhook's authority")

    async def _store(self, new: Issued, secret: Json | None, owner_uid: str) -> None:
        if not self._leading():
            return
        body = _secret(new, owner_uid)
        if secret is None:
            await self._client.create("Secret", self._namespace, body)
        else:
            body["metadata"]["resourceVersion"] = secret["metadata"]["resourceVersion"]
            del body["type"]  # cannot be changed
            await self._client.patch("Secret", self._namespace, WEBHOOK_SECRET, body)
        _log.info("the webhook has a new certificate")


def _secret(issued: Issued, owner_uid: str) -> Json:
    """The Secret; it goes when the webhook's configuration is uninstalled."""
    owner = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": _HOOKS,
        "name": CONFIGURATION,
        "uid": owner_uid,
    }
    encoded = [base64.b64encode(part).decode() for part in astuple(issued)]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": WEBHOOK_SECRET, "ownerReferences": [owner]},
        "data": dict(zip(_KEYS, encoded, strict=True)),
    }


def _held(secret: Json | None) -> Issued | None:
    """What the Secret holds; empty parts where it lacks some."""
    if secret is None:
        return None
    data = secret.get("data") or {}
    return Issued(*(base64.b64decode(data.get(key) or "") for key in _KEYS))


def _bundles(hooks: Json) -> list[bytes]:
    configs = [hook["clientConfig"] for hook in hooks.get("webhooks") or ()]
    return [base64.b64decode(config.get("caBundle") or "") for config in configs]
