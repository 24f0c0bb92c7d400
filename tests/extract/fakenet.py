"""A network of our own making: names that mean what a test says, addresses that lead to loopback.

Every look-up and every connection of this process is noted, by the real address that was asked for.
"""

import socket
from collections.abc import Sequence
from typing import Any

import pytest


class Network:
    """Names stand for addresses, one after the other; public addresses are local servers."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[str]] = {}
        self.routes: dict[str, str] = {}
        self.connected: list[str] = []
        look_up, connect = socket.getaddrinfo, socket.socket.connect

        def looked_up(host: str, *arguments: Any, **options: Any) -> Any:
            answers = self.names.get(host, [host])
            address = answers.pop(0) if len(answers) > 1 else answers[0]
            return look_up(address, *arguments, **options)

        def connected(self_: socket.socket, address: tuple[Any, ...]) -> None:
            self.connected.append(address[0])
            if address[0] not in self.routes:
                raise ConnectionRefusedError(f"there is no way to {address[0]} in this test")
            # A route leads from any port of an address to the same port of another.
            connect(self_, (self.routes[address[0]], address[1]))

        patch.setattr(socket, "getaddrinfo", looked_up)
        patch.setattr(socket.socket, "connect", connected)

    def name(self, name: str, addresses: Sequence[str], *, route: str = "") -> str:
        """Have a name stand for these addresses, in turn; with ``route`` they lead there."""
        self.names[name] = list(addresses)
        if route:
            self.routes.update(dict.fromkeys(addresses, route))
        return name
