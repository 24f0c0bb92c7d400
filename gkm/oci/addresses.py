"""Connections that lead no further into a network than they may.

A registry can send its client elsewhere: by a redirect, or to a token service. Whoever controls one
could so make GKM ask what only GKM can reach: the metadata service of a cloud, a program beside it.
What counts is the address that is connected to, not the name, which may mean another one the next
time it is looked up.
"""

import ipaddress
import socket
import time
from enum import IntEnum
from typing import Final

from gkm.api.errors import Rejected

CONNECT_SECONDS: Final = 10.0
"""For all addresses of a host together."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NOT_GLOBAL: Final = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("fec0::/10"))
"""RFC 6890 and 3879; older Pythons call them global, and one is where a cloud has its metadata."""


class Reach(IntEnum):
    """How far inside an address is. From each, GKM may be sent to the same and to those before."""

    PUBLIC = 0
    PRIVATE = 1
    """Of a site: RFC 1918, 4193, 6598, and whatever else is not routed on the Internet."""
    LOOPBACK = 2
    SPECIAL = 3
    """Link-local, where metadata services are; unspecified, multicast and reserved addresses."""


def reach(address: str) -> Reach:
    """Tell how far inside an IP address is; raises ValueError if it is none."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(found.packed[-4:])
        if inner:
            return reach(str(inner))
    if found.is_loopback:
        return Reach.LOOPBACK
    if found.is_link_local or found.is_unspecified or found.is_multicast or found.is_reserved:
        return Reach.SPECIAL
    site = not found.is_global or any(found in network for network in _NOT_GLOBAL)
    return Reach.PRIVATE if site else Reach.PUBLIC


def connect(host: str, port: int, within: Reach = Reach.SPECIAL) -> tuple[socket.socket, Reach]:
    """Connect to the first address of ``host`` that answers; tells also how far inside it is.

    Addresses further inside than ``within`` are left out. Raises Rejected(BadRedirect) if that
    leaves none, and OSError.
    """
    ends = time.monotonic() + CONNECT_SECONDS
    failure: OSError | None = None
    for address in _addresses(host, port, within):
        try:
            left = max(ends - time.monotonic(), 0.1)
            return socket.create_connection((address, port), left), reach(address)
        except OSError as error:
            failure = failure or error
    raise failure or OSError(f"{host} has no address")


def check_spelling(host: str, within: Reach) -> Reach:
    """Judge ``host`` where a proxy will look it up: all that can be told is an address in it.

    Any spelling counts that a C library understands (``127.1``, ``0x7f000001``). A name is taken
    for a public one. Raises Rejected(BadRedirect).
    """
    try:
        return reach(_addresses(host, 0, within, socket.AI_NUMERICHOST)[0])
    except socket.gaierror:
        return Reach.PUBLIC


def _addresses(host: str, port: int, within: Reach, flags: int = 0) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    addresses = [str(entry[4][0]) for entry in found]
    allowed = [one for one in addresses if reach(one) <= within]
    if addresses and not allowed:
        raise Rejected(
            "BadRedirect",
            f"'{host}' is at {addresses[0]}, further inside than the registry that sends GKM there",
        )
    return allowed
