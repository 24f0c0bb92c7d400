"""How registries are reached: settings without secrets, one JSON text for Jobs.

The operator reads them once and hands the same text to every Job in ``GKM_REGISTRY``.
Credentials travel another way (Secret volumes) and are never part of this.
"""

import json
from dataclasses import dataclass

from gkm.api.errors import Rejected

ENVIRONMENT = "GKM_REGISTRY"


@dataclass(frozen=True)
class RegistrySettings:
    """What differs between sites.

    ``plain_http`` names the hosts (with port, if any) that are spoken to without TLS; ``ca_file``
    is a PEM file that replaces the system's certificate authorities.
    """

    plain_http: frozenset[str] = frozenset()
    ca_file: str | None = None

    @classmethod
    def from_json(cls, text: str) -> "RegistrySettings":
        """Read what ``to_json`` wrote; empty text means the defaults. Raises Rejected."""
        try:
            raw = json.loads(text or "{}")
            ca_file = raw.get("caFile")
            return cls(frozenset(raw.get("plainHttp", ())), ca_file and str(ca_file))
        except (ValueError, TypeError, AttributeError):
            raise Rejected("BadSettings", f"{ENVIRONMENT} is not what GKM writes: {text}") from None

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps({"plainHttp": sorted(self.plain_http), "caFile": self.ca_file})

    def scheme(self, host: str) -> str:
        """``http`` for the hosts that were named, ``https`` for all others."""
        return "http" if host in self.plain_http else "https"


@dataclass(frozen=True)
class Credentials:
    """User name and password (or token) for one registry host."""

    username: str
    password: str
