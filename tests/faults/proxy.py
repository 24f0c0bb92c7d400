"""A recording HTTP proxy in front of the API server, for one program; it makes writes go wrong.

Plain HTTP to the program, TLS to the API server; the program's own token passes through, so it
keeps its own rights. What goes wrong with single writes is said by ``rules``; what goes wrong with
requests of any kind for a while, by ``transport``, through which all reads go.
"""

import asyncio
import hashlib
import json
import math
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from tests.faults.rules import Fault, Rule, Rulebook, Write
from tests.faults.transport import Transport

_HOP = frozenset({"connection", "content-length", "host", "transfer-encoding", "accept-encoding"})
_DYING_SECONDS = 0.03
"""How long the killed program has to read its last reply."""


class Proxy:
    """Listens on a loopback port of its own; ``kill`` ends the program behind it.

    ``strikes`` is what else may happen to it, or to others, at a write.
    """

    def __init__(
        self, upstream: str, tls: ssl.SSLContext, trace: Path, kill: Callable[[], None]
    ) -> None:
        self.rulebook = Rulebook()
        self.transport = Transport(self._send)
        self.port = 0
        self.writes: list[Write] = []
        """Of this run, numbered ones only, those that were held or never forwarded included."""
        self.accepted: list[tuple[float, Write]] = []
        """Of this run, numbered ones only, and when."""
        self.strikes: dict[Fault, Callable[[], None]] = {}
        self.last_write = time.monotonic()
        self.led = math.inf
        """When the operator that is behind it now took the Lease; its first pass comes after."""
        self.ended = 0.0
        """When it was killed last."""
        self.held, self.struck = asyncio.Event(), asyncio.Event()
        self.finished_held = asyncio.Event()
        self.trace = trace
        self._upstream, self._tls, self._kill = upstream, tls, kill
        self._release = asyncio.Event()
        self._cut = False
        self._sequence = 0

    async def start(self) -> None:
        """Listen."""
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls)
        timeout = aiohttp.ClientTimeout(total=None, connect=5)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, skip_auto_headers=("Accept-Encoding",)
        )
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        self._socket = await loop.create_server(self._server, "127.0.0.1", 0)
        self.port = self._socket.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        self._socket.close()
        await self._server.shutdown(1)
        await self._session.close()

    def begin(self, rules: Iterable[Rule] = ()) -> None:
        """Start numbering anew, with these rules."""
        self.rulebook = Rulebook(rules)
        self.writes, self.accepted = [], []
        self._cut = False
        self.held, self.struck = asyncio.Event(), asyncio.Event()
        self._release = asyncio.Event()
        self.finished_held = asyncio.Event()

    def resume(self) -> None:
        """Let writes through again: the program that was killed is gone."""
        self._cut = False
        self.led = math.inf

    def release(self) -> None:
        """Forward the write that is held, as it was."""
        self._release.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self.transport.meet(request)
            if answer is not None:
                return answer
            body = await request.read()
            # Shielded: a write that the API server was sent is not unsent by a client that dies.
            return await asyncio.shield(asyncio.create_task(self._write(request, body)))
        except aiohttp.ClientConnectionError:  # the API server itself is away
            return _reset(request)

    async def _write(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if self._cut:
            return _reset(request)
        write, rule = self.rulebook.take(request.method, *_place(request.path, body))
        if write.number:
            self.writes.append(write)
            self.last_write = time.monotonic()
        return await self._struck(request, body, write, rule)

    async def _struck(
        self, request: web.BaseRequest, body: bytes, write: Write, rule: Rule | None
    ) -> web.StreamResponse:
        if rule and rule.fault in self.strikes:
            return await self._strike(request, body, write, rule.fault)
        match rule.fault if rule else None:
            case Fault.KILL_BEFORE:
                self._record(write, body, "killed before", 0.0)
                self._end()
                return _reset(request)
            case Fault.KILL_AFTER_COMMIT:
                await self._forward(request, body, write)
                self._end()
                return _reset(request)
            case Fault.KILL_AFTER_REPLY:
                reply = await self._forward(request, body, write)
                self._cut = True
                asyncio.get_running_loop().call_later(_DYING_SECONDS, self._end)
                return reply
            case Fault.RESET_BEFORE:
                self._record(write, body, "reset before", 0.0)
                return _reset(request)
            case Fault.RESET_AFTER:
                await self._forward(request, body, write)
                return _reset(request)
            case Fault.STATUS if rule:
                self._record(write, body, f"answered {rule.code}", 0.0)
                return _refusal(rule.code)
            case Fault.DELAY if rule:
                await asyncio.sleep(rule.seconds)
            case Fault.HOLD:
                return await self._hold(request, body, write)
        return await self._forward(request, body, write)

    async def _hold(
        self, request: web.BaseRequest, body: bytes, write: Write
    ) -> web.StreamResponse:
        self._cut = True
        self.held.set()
        await self._release.wait()
        try:
            return await self._forward(request, body, write)
        finally:
            self.finished_held.set()

    async def _strike(
        self, request: web.BaseRequest, body: bytes, write: Write, fault: Fault
    ) -> web.StreamResponse:
        """Let a write through while something happens to its writer; or kill all after it."""
        everything = fault is Fault.KILL_EVERYTHING
        reply = await self._forward(request, body, write) if everything else None
        self._cut, self.ended = everything, time.monotonic()
        self.strikes[fault]()
        self.struck.set()
        return reply or await self._forward(request, body, write)

    def _end(self) -> None:
        self._cut = True
        self.ended = time.monotonic()
        self._kill()

    async def _forward(
        self, request: web.BaseRequest, body: bytes, write: Write
    ) -> web.StreamResponse:
        begun = time.monotonic()
        async with self._send(request, body) as reply:
            answer = await reply.read()
            self._record(write, body, reply.status, time.monotonic() - begun)
            self._note(write, reply.status)
            return web.Response(body=answer, status=reply.status, headers=_headers(reply.headers))

    def _note(self, write: Write, status: int) -> None:
        if write.number:
            self.last_write = time.monotonic()
            if status < 400:
                self.accepted.append((self.last_write, write))
        elif write.resource == "leases" and status < 400:
            self.led = min(self.led, time.monotonic())

    def _send(
        self, request: web.BaseRequest, body: bytes | None
    ) -> "aiohttp.client._RequestContextManager":
        url = self._upstream + request.raw_path
        headers = _headers(request.headers)
        return self._session.request(
            request.method, URL(url, encoded=True), data=body, headers=headers
        )

    def _record(self, write: Write, body: bytes, status: int | str, seconds: float) -> None:
        self._sequence += 1
        line = {
            "seq": self._sequence,
            "number": write.number,
            "verb": write.verb,
            "resource": write.resource,
            "namespace": write.namespace,
            "name": write.name,
            "body": hashlib.sha256(body).hexdigest()[:16],
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        with self.trace.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _place(path: str, body: bytes) -> tuple[str, str, str]:
    """Resource (with its subresource), namespace and name that a write is about."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    resource, name, subresource = (*parts, "", "")[:3]
    if not name:
        meta: dict[str, Any] = json.loads(body).get("metadata") or {}
        name = meta.get("name", "")
    return f"{resource}/{subresource}" if subresource else resource, namespace, name


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _HOP}


def _reset(request: web.BaseRequest) -> web.Response:
    """Break the connection off; what is answered goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refusal(code: int) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    return web.json_response({**status, "reason": "Fault", "message": "asked for"}, status=code)
