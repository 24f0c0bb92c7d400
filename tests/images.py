"""Images for tests, honest and broken, and a scripted registry that serves them over HTTP."""

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gkm.oci import media
from gkm.oci.registry import Registry
from gkm.oci.settings import RegistrySettings

PREFIX = "io.triton.cache"
Entry = tuple[str, bytes | None]
"""A member's name and content; no content means a directory."""


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tar(entries: Iterable[Entry]) -> bytes:
    """An honest archive, as Python writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content or b"")
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            archive.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def cache_files(files: Mapping[str, bytes]) -> bytes:
    """A tar with these files below the Triton prefix."""
    return tar((f"{PREFIX}/{name}", content) for name, content in files.items())


@dataclass
class Image:
    """An image as bytes; change a field before ``documents`` to break it."""

    tars: list[bytes]
    size_label: str | None = None
    layer_type: str = media.OCI_LAYER_GZIP
    labels: dict[str, str] = field(
        default_factory=lambda: {"cache.triton.image/summary": '{"targets":[]}'}
    )

    def documents(self) -> tuple[str, dict[str, bytes]]:
        """The manifest's digest, and all blobs (the manifest among them) by digest."""
        labels = dict(self.labels)
        if self.size_label is not None:
            labels["cache.triton.image/cache-size-bytes"] = self.size_label
        layers = [self._pack(one) for one in self.tars]
        config = json.dumps(
            {
                "config": {"Labels": labels},
                "rootfs": {"type": "layers", "diff_ids": [digest(one) for one in self.tars]},
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": media.OCI_MANIFEST,
                "config": descriptor(config, media.OCI_CONFIG),
                "layers": [descriptor(one, self.layer_type) for one in layers],
            }
        ).encode()
        blobs = {digest(one): one for one in (manifest, config, *layers)}
        return digest(manifest), blobs

    def _pack(self, plain: bytes) -> bytes:
        if self.layer_type == media.OCI_LAYER_ZSTD:
            from backports import zstd

            return zstd.compress(plain)
        return gzip.compress(plain, mtime=0)


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


@dataclass
class Answer:
    """What the scripted registry says at one path."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""
    """The ``Authorization`` without which the answer is 401 with ``headers``."""


@dataclass
class Script:
    """The answers by path, and what was asked: (path, Authorization)."""

    host: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    writes: dict[str, Answer] = field(default_factory=dict)
    """What is said to HEAD, POST, PUT and PATCH, by the beginning of the path; else 404."""

    def add(self, image: Image, tag: str = "v1", repository: str = "k/c") -> str:
        """Serve an image; returns its pinned reference."""
        name, blobs = image.documents()
        for one, content in blobs.items():
            kind = "manifests" if one == name else "blobs"
            self.answers[f"/v2/{repository}/{kind}/{one}"] = Answer(content)
        self.answers[f"/v2/{repository}/manifests/{tag}"] = Answer(blobs[name])
        return f"{self.host}/{repository}@{name}"

    @property
    def settings(self) -> RegistrySettings:
        return RegistrySettings(plain_http=frozenset({self.host}))

    def registry(self) -> Registry:
        return Registry(self.settings)


@contextlib.contextmanager
def scripted() -> Iterator[Script]:
    """Run a scripted registry on a loopback port."""
    script = Script("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            who = self.headers.get("Authorization", "")
            script.asked.append((self.path, who))
            answer = script.answers.get(self.path, Answer(status=404))
            refused = bool(answer.needs) and who != answer.needs
            body = b"" if refused else answer.body
            self.send_response(401 if refused else answer.status)
            for name, value in {"Content-Length": str(len(body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def written(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.asked.append((self.path, self.headers.get("Authorization", "")))
            found = (one for path, one in script.writes.items() if self.path.startswith(path))
            answer = next(found, Answer(status=404))
            self.send_response(answer.status)
            for name, value in {"Content-Length": "0", **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    for method in ("HEAD", "POST", "PUT", "PATCH"):
        setattr(Handler, f"do_{method}", Handler.written)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
