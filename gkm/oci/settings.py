"""How registries are reached: settings without secrets, one JSON text for Jobs.

The operator reads them once and hands the same text to every Job in ``GKM_REGISTRY``.
Credentials travel another way (Secret volumes, ``keychain.py``) and are never part of this.
"""

import ipaddress
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gkm.api.errors import Rejected

ENVIRONMENT = "GKM_REGISTRY"
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_PROXY = re.compile(r"http://([A-Za-z0-9.-]+):([0-9]{1,5})/?")


@dataclass(frozen=True)
class RegistrySettings:
    """What differs between sites.

    ``plain_http`` names the hosts (with port, if any) that are spoken to without TLS, and no other
    is; ``ca_bundle`` is PEM text, certificate authorities that are trusted besides the system's;
    ``mirrors`` names for a registry the hosts that are asked before it, in their order. The proxies
    are URLs (``http://host:port``) for plain and for TLS connections; none is used for what is in
    ``no_proxy``: hosts with their subdomains, addresses, and networks (10.0.0.0/8).

    Raises Rejected(BadSettings) for a value that is none.
    """

    plain_http: frozenset[str] = frozenset()
    ca_bundle: str = ""
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            self.trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        except ssl.SSLError as error:
            expected = "expected PEM (-----BEGIN CERTIFICATE-----)"
            raise Rejected("BadSettings", f"caBundle: {error.args[-1]}; {expected}") from None
        for host in (host for hosts in self.mirrors.values() for host in hosts):
            if not _HOST.fullmatch(host):
                raise Rejected("BadSettings", f"mirrors: '{host}' is no host[:port]")
        for proxy in filter(None, (self.http_proxy, self.https_proxy)):
            if not _PROXY.fullmatch(proxy):  # not repeated: it may hold a password
                raise Rejected("BadSettings", "a proxy is expected as http://host:port, no more")

    @classmethod
    def from_json(cls, text: str) -> "RegistrySettings":
        """Read what ``to_json`` wrote; empty text means the defaults. Raises Rejected."""
        try:
            raw: dict[str, Any] = json.loads(text or "{}")
            return cls(
                plain_http=frozenset(_texts(raw.get("plainHttp", []))),
                ca_bundle=str(raw.get("caBundle") or ""),
                mirrors={name: _texts(hosts) for name, hosts in raw.get("mirrors", {}).items()},
                http_proxy=str(raw.get("httpProxy") or ""),
                https_proxy=str(raw.get("httpsProxy") or ""),
                no_proxy=_texts(raw.get("noProxy", [])),
            )
        except (ValueError, TypeError, AttributeError):
            raise Rejected(
                "BadSettings", f"{ENVIRONMENT} is not what GKM writes: {text[:200]}"
            ) from None

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(
            {
                "plainHttp": sorted(self.plain_http),
                "caBundle": self.ca_bundle,
                "mirrors": {name: list(self.mirrors[name]) for name in sorted(self.mirrors)},
                "httpProxy": self.http_proxy,
                "httpsProxy": self.https_proxy,
                "noProxy": list(self.no_proxy),
            }
        )

    def scheme(self, host: str) -> str:
        """``http`` for the hosts that were named, ``https`` for all others."""
        return "http" if host in self.plain_http else "https"

    def proxy(self, scheme: str, host: str, port: int) -> tuple[str, int] | None:
        """Return host and port of the proxy by which ``host`` is reached; None for no proxy."""
        found = _PROXY.fullmatch(self.http_proxy if scheme == "http" else self.https_proxy)
        if not found or any(_excepted(one, host, port) for one in self.no_proxy):
            return None
        return found[1], int(found[2])

    def trust(self, context: ssl.SSLContext) -> None:
        """Add the bundle to what ``context`` trusts."""
        if self.ca_bundle:
            # Python takes ASCII only; what is not stands in comments between the certificates.
            text = self.ca_bundle.encode("ascii", "ignore").decode()
            context.load_verify_locations(cadata=text)


def _texts(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(one, str) for one in raw):
        raise TypeError("expected a list of texts")
    return tuple(raw)


def _excepted(rule: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY, as curl and Go read it, means this host."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        name = rule.removesuffix(f":{port}").removeprefix(".").lower()
        return host == name or host.endswith(f".{name}")
