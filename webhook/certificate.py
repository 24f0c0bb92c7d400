"""The server's certificate: taken from a Secret, replaced in place while requests run.

The operator (or cert-manager) writes the Secret; an informer brings it here. The TLS context stays
the same object, so connections that are open are not disturbed, and new ones get the new
certificate.
"""

import asyncio
import base64
import logging
import os
import ssl
from typing import Any

from gkm.api.names import WEBHOOK_SECRET
from gkm.kube.client import Scope

Json = dict[str, Any]
_log = logging.getLogger(__name__)


def scope(namespace: str) -> Scope:
    """The one Secret, as an informer follows it."""
    return Scope(namespace=namespace, fields=f"metadata.name={WEBHOOK_SECRET}")


class Certificate:
    """Receives the Secret; ``context`` serves what it holds once ``there`` is set."""

    def __init__(self) -> None:
        self.context = _context()
        self.there = asyncio.Event()

    def replace(self, kind: str, objects: list[Json], _version: str) -> None:
        """Take the Secret, if there is one."""
        for secret in objects:
            self.observe(kind, "ADDED", secret)

    def observe(self, _kind: str, event: str, secret: Json) -> None:
        """Take a change; what is of no use leaves the certificate that was there before."""
        if event == "DELETED":
            return
        try:
            data = secret.get("data") or {}
            pem = b"".join(base64.b64decode(data[key]) for key in ("tls.key", "tls.crt"))
            # On a context of its own first: a certificate without its key would spoil the other.
            load(_context(), pem)
            load(self.context, pem)
        except (KeyError, ValueError, ssl.SSLError) as error:
            _log.error("the Secret %s holds no certificate and key: %r", WEBHOOK_SECRET, error)
            return
        _log.info("serving the certificate of version %s", secret["metadata"]["resourceVersion"])
        self.there.set()


def load(context: ssl.SSLContext, pem: bytes) -> None:
    """Load key and certificate from memory: the key never lies on a disk. Raises SSLError."""
    file = os.memfd_create("certificate")
    try:
        os.write(file, pem)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
