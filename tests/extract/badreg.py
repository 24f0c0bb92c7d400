"""A registry that misbehaves: real sockets, real TLS, one scripted behaviour for each path.

A behaviour is a function of what was asked and of the wire; those here are put together by tests.
Everything that was asked is in a log, with the bytes that the other side let us send.
"""

import contextlib
import itertools
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from gkm.oci import media
from gkm.oci.settings import RegistrySettings
from tests.images import Image

REPOSITORY: Final = "k/c"
_PIECE: Final = 64 * 1024


@dataclass
class Asked:
    """One request; ``sent`` counts the bytes that were sent back, head included."""

    method: str
    path: str
    headers: Mapping[str, str]
    at: float = field(default_factory=time.monotonic)
    sent: int = 0

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")

    @property
    def start(self) -> int:
        """The first byte of the range that was asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else 0


class Wire:
    """What a behaviour writes to; waits end when the registry is stopped or the other side left."""

    def __init__(self, connection: socket.socket, asked: Asked, stopped: threading.Event) -> None:
        self._connection = connection
        self._asked = asked
        self._stopped = stopped

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)
        self._asked.sent += len(data)

    def head(self, status: int, headers: Mapping[str, object]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {headers[name]}" for name in headers)]
        self.send("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))

    def wait(self, seconds: float) -> None:
        """Sleep; raises OSError when that makes no sense any more."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if select.select([self._connection], [], [], min(left, 0.05))[0]:
                raise ConnectionAbortedError("the other side left")
            if self._stopped.is_set():
                raise ConnectionAbortedError("stopped")

    def tunnel(self, port: int) -> None:
        """Pass everything on to this port of ours, and back, until one side has enough."""
        with socket.create_connection(("127.0.0.1", port)) as other:
            ways = {self._connection: other, other: self._connection}
            while not self._stopped.is_set():
                for source in select.select(list(ways), [], [], 0.05)[0]:
                    if not (piece := source.recv(_PIECE)):
                        return
                    ways[source].sendall(piece)

    def reset(self) -> None:
        """End with a reset, not in order."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


Behaviour = Callable[[Asked, Wire], None]


def honest(content: bytes, media_type: str = "application/octet-stream") -> Behaviour:
    """Serve the content, or the range of it that is asked for."""

    def behave(asked: Asked, wire: Wire) -> None:
        _promise(asked, wire, content, media_type)
        wire.send(content[asked.start :])

    return behave


def cut(content: bytes, at: int, *, reset: bool = False) -> Behaviour:
    """Promise the content, or the rest of it from where it is asked for, and break off ``at``."""

    def behave(asked: Asked, wire: Wire) -> None:
        _promise(asked, wire, content)
        wire.send(content[asked.start : at])
        if reset:
            wire.reset()

    return behave


def _promise(
    asked: Asked, wire: Wire, content: bytes, media_type: str = "application/octet-stream"
) -> None:
    headers = {"Content-Length": len(content) - asked.start, "Content-Type": media_type}
    if asked.start:
        part = f"bytes {asked.start}-{len(content) - 1}/{len(content)}"
        wire.head(206, {**headers, "Content-Range": part})
    else:
        wire.head(200, headers)


def says(status: int, body: bytes = b"", **headers: object) -> Behaviour:
    """Answer with a status; ``Retry_After=3`` is the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def behave(_: Asked, wire: Wire) -> None:
        wire.head(status, {"Content-Length": len(body), **named})
        wire.send(body)

    return behave


def ignores_range(content: bytes, at: int | None = None) -> Behaviour:
    """Serve the whole, whatever is asked for, up to ``at``."""

    def behave(_: Asked, wire: Wire) -> None:
        wire.head(200, {"Content-Length": len(content)})
        wire.send(content[:at])

    return behave


def part(content: bytes, shift: int = 0, total: int | str | None = None) -> Behaviour:
    """Answer with another range than is asked for, or call the whole another size."""

    def behave(asked: Asked, wire: Wire) -> None:
        start = max(0, asked.start + shift)
        whole = len(content) if total is None else total
        named = f"bytes {start}-{len(content) - 1}/{whole}"
        wire.head(206, {"Content-Length": len(content) - start, "Content-Range": named})
        wire.send(content[start:])

    return behave


def chunked(pieces: Callable[[], Iterator[bytes]], **headers: str) -> Behaviour:
    """Send what stands between the chunks, too: ``pieces`` are raw."""

    def behave(_: Asked, wire: Wire) -> None:
        wire.head(200, {"Transfer-Encoding": "chunked", **headers})
        for piece in pieces():
            wire.send(piece)

    return behave


def endless(status: int = 200, **headers: object) -> Behaviour:
    """Send zeros until the other side has enough."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def behave(_: Asked, wire: Wire) -> None:
        wire.head(status, named)
        while True:
            wire.send(bytes(_PIECE))

    return behave


def raw(pieces: Callable[[], Iterator[bytes]]) -> Behaviour:
    """Send these bytes and nothing around them."""

    def behave(_: Asked, wire: Wire) -> None:
        for piece in pieces():
            wire.send(piece)

    return behave


def drip(content: bytes, pause: float, *, after: int = 0, head: bool = False) -> Behaviour:
    """Serve ``after`` bytes at once and then one every ``pause`` seconds; the head too, if said."""

    def behave(asked: Asked, wire: Wire) -> None:
        begun = after
        if head:
            begun = 0
            for byte in b"HTTP/1.1 200 Scripted\r\nX-Long: " + b"x" * 10_000:
                wire.send(bytes([byte]))
                wire.wait(pause)
        _promise(asked, wire, content)
        begun = max(begun, asked.start)
        wire.send(content[asked.start : begun])
        for byte in content[begun:]:
            wire.send(bytes([byte]))
            wire.wait(pause)

    return behave


def stall(content: bytes, at: int) -> Behaviour:
    """Promise the content, send it up to ``at``, and say no more."""

    def behave(asked: Asked, wire: Wire) -> None:
        _promise(asked, wire, content)
        wire.send(content[asked.start : at])
        wire.wait(3600)

    return behave


def silent(_: Asked, wire: Wire) -> None:
    """Say nothing."""
    wire.wait(3600)


def needs(authorization: str, challenge: str, then: Behaviour) -> Behaviour:
    """Challenge whoever does not bring this ``Authorization``."""

    def behave(asked: Asked, wire: Wire) -> None:
        if asked.authorization == authorization:
            then(asked, wire)
        else:
            says(401, WWW_Authenticate=challenge)(asked, wire)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave otherwise each time; the last is kept."""
    turns = itertools.chain(behaviours, itertools.repeat(behaviours[-1]))

    def behave(asked: Asked, wire: Wire) -> None:
        next(turns)(asked, wire)

    return behave


def tunnel(port: int) -> Behaviour:
    """Be a proxy: CONNECT leads to this port of ours, whatever was asked for."""

    def behave(_: Asked, wire: Wire) -> None:
        wire.head(200, {})
        wire.tunnel(port)

    return behave


class BadRegistry:
    """Listens while it is used in a ``with`` block; ``paths`` may be changed at any time."""

    def __init__(self, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        self.paths: dict[str, Behaviour] = {}
        self.asked: list[Asked] = []
        self.connections = 0
        self._tls = tls
        self._stopped = threading.Event()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.host = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"

    @property
    def settings(self) -> RegistrySettings:
        return RegistrySettings(plain_http=frozenset({self.host}))

    def add(self, image: Image) -> str:
        """Serve an image honestly; returns its pinned reference."""
        name, blobs = image.documents()
        for digest, content in blobs.items():
            if digest != name:
                self.paths[blob(digest)] = honest(content)
        served = honest(blobs[name], media.OCI_MANIFEST)
        self.paths[manifest(name)] = self.paths[manifest("v1")] = served
        return f"{self.host}/{REPOSITORY}@{name}"

    def times(self, path: str) -> list[float]:
        """When a path was asked for."""
        return [one.at for one in self.asked if one.path == path]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stopped.is_set():
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # Whoever has enough leaves; whoever distrusts the certificate, too.
        with contextlib.suppress(OSError, ValueError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            connection.settimeout(60)
            asked = _read(connection)
            self.asked.append(asked)
            behaviour = self.paths.get(asked.path, says(404))
            behaviour(asked, Wire(connection, asked, self._stopped))
        connection.close()


def blob(digest: str) -> str:
    """Path of a blob."""
    return f"/v2/{REPOSITORY}/blobs/{digest}"


def manifest(name: str) -> str:
    """Path of a manifest, by digest or tag."""
    return f"/v2/{REPOSITORY}/manifests/{name}"


def _read(connection: socket.socket) -> Asked:
    """Read the head of one request; raises ValueError for what is none."""
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        if not (piece := connection.recv(_PIECE)):
            raise ValueError("the other side left")
        found += piece
        if not found[:1].isalpha():
            raise ValueError("the other side speaks TLS")
    first, *lines = found.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(": ") for line in lines)
    return Asked(method, path, {name.lower(): value for name, _, value in pairs})
