"""A webhook of our own on a loopback port, with a small cluster in its picture, for tests."""

import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from gkm.api import names
from gkm.api.names import CacheKey
from gkm.core.objects import SERVING, CopyRef, marks
from gkm.core.podlayer import Program
from tests.certificates import Certificate as Files
from tests.certificates import issue
from webhook.certificate import Certificate
from webhook.picture import CLAIM, NODE, Picture
from webhook.server import Server

Json = dict[str, Any]
Post = Callable[[bytes], Awaitable[tuple[int, bytes]]]
HOST = "127.0.0.1"


def a_cache(name: str, mode: str, **meta: Any) -> Json:
    return {
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-of-{name}", **meta},
        "spec": {"accessModes": [mode], "mountPath": "/cache"},
        "status": {"resolvedDigest": "sha256:1", "environment": ["TRITON_CACHE_DIR"]},
    }


def a_copy(node: str = "1", digest: str = "sha256:1") -> CopyRef:
    """A copy of the Cache ``local`` on a node, or of ``shared`` if there is no node."""
    node, node_uid = (f"node-{node}", f"uid-of-node-{node}") if node else ("", "")
    key = CacheKey(names.CACHE, "team", "local" if node else "shared")
    uid = f"uid-of-{key.name}"
    copy = names.copy_id(key, uid, "team", node_uid, digest)
    return CopyRef(copy, key, uid, "team", digest, node, node_uid)


def a_claim(*, node: str = "1", digest: str = "sha256:1", phase: str = "Bound") -> Json:
    """The claim of a copy, under the name that belongs to it alone."""
    copy = a_copy(node, digest)
    name = copy.serving_names[-1]
    labels, annotations = marks(copy, SERVING)
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-of-{name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": labels,
            "annotations": annotations,
        },
        "status": {"phase": phase},
    }


CLAIM_NAME: str = a_claim()["metadata"]["name"]


def a_node(number: str) -> Json:
    labels = {"kubernetes.io/hostname": f"host-{number}"}
    return {
        "metadata": {"name": f"node-{number}", "uid": f"uid-of-node-{number}", "labels": labels}
    }


def a_secret(files: Files, version: str = "1") -> Json:
    data = {"tls.crt": files.certificate, "tls.key": files.key}
    encoded = {key: base64.b64encode(path.read_bytes()).decode() for key, path in data.items()}
    return {"metadata": {"resourceVersion": version}, "data": encoded}


def a_picture() -> Picture:
    """One shared Cache, one per node, a node, and a claim on it."""
    picture = Picture()
    caches = [a_cache("shared", "ReadOnlyMany"), a_cache("local", "ReadWriteOnce")]
    picture.replace(names.CACHE, caches, "1")
    picture.replace(NODE, [a_node("1")], "1")
    picture.replace(CLAIM, [a_claim()], "1")
    return picture


@dataclass
class Running:
    """A webhook that answers at ``url``, and what a test may turn."""

    folder: Path
    files: Files
    picture: Picture = field(default_factory=a_picture)
    certificate: Certificate = field(default_factory=Certificate)
    ready: bool = True
    port: int = 0

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.files.ca_pem)

    def rotate(self) -> Files:
        """Issue another authority and certificate; the Secret is not changed yet."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        return issue(place, HOST)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Running, Server]]:
    one = Running(folder, issue(folder, HOST))
    one.certificate.replace("Secret", [a_secret(one.files)], "1")
    server = Server(one.picture.known, Program("image", "Always"), lambda: one.ready)
    one.port = await server.start(HOST, 0, one.certificate)
    try:
        yield one, server
    finally:
        await server.stop(0)


@asynccontextmanager
async def connected() -> AsyncIterator[Post]:
    """Give a function that posts a body to a webhook of its own: status and answer."""
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as (one, _), aiohttp.ClientSession() as session:
            trust = one.trust()

            async def post(body: bytes) -> tuple[int, bytes]:
                url = f"{one.url}/mutate-pods"
                async with session.post(url, data=body, ssl=trust) as reply:
                    return reply.status, await reply.read()

            yield post
