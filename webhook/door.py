"""Who may stay connected: anybody in the cluster can reach the webhook, and hold connections open.

A connection that does not send a request soon is closed, and when there are too many the one that
has been quiet for longest makes room. The API server's own are neither.
"""

import asyncio
from typing import Final

from aiohttp import web

FIRST_REQUEST_SECONDS: Final = 10.0
_MOST: Final = 500


class Door:
    """Makes the protocol of each new connection, as ``loop.create_server`` asks for it."""

    def __init__(self, server: web.Server, most: int = _MOST) -> None:
        self._server = server
        self._most = most
        self._heard: dict[web.RequestHandler, float] = {}

    def __call__(self) -> web.RequestHandler:
        """Accept a connection."""
        connected = self._server.connections
        self._heard = {one: self._heard.get(one, 0.0) for one in connected}
        if len(connected) >= self._most:
            min(connected, key=self._heard.__getitem__).force_close()
        protocol = self._server()
        loop = asyncio.get_running_loop()
        loop.call_later(FIRST_REQUEST_SECONDS, self._expect, protocol)
        return protocol

    def heard(self, protocol: web.RequestHandler) -> None:
        """Note that a complete request came."""
        self._heard[protocol] = asyncio.get_running_loop().time()

    def _expect(self, protocol: web.RequestHandler) -> None:
        if not self._heard.get(protocol):
            protocol.force_close()
