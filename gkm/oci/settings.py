"""How registries are reached: settings without secrets, one JSON text for Jobs.

The operator reads them once and hands the same text to every Job in ``GKM_REGISTRY``.
Credentials travel another way (Secret volumes, ``keychain.py``) and are never part of this.
"""

import json
import ssl
from dataclasses import dataclass

from gkm.api.errors import Rejected

ENVIRONMENT = "GKM_REGISTRY"


@dataclass(frozen=True)
class RegistrySettings:
    """What differs between sites.

    ``plain_http`` names the hosts (with port, if any) that are spoken to without TLS, and no other
    is; ``ca_bundle`` is PEM text, certificate authorities that are trusted besides the system's.
    Raises Rejected(BadSettings) for a bundle that is none.
    """

    plain_http: frozenset[str] = frozenset()
    ca_bundle: str = ""

    def __post_init__(self) -> None:
        try:
            self.trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        except ssl.SSLError as error:
            expected = "expected PEM (-----BEGIN CERTIFICATE-----)"
            raise Rejected("BadSettings", f"caBundle: {error.args[-1]}; {expected}") from None

    @classmethod
    def from_json(cls, text: str) -> "RegistrySettings":
        """Read what ``to_json`` wrote; empty text means the defaults. Raises Rejected."""
        try:
            raw = json.loads(text or "{}")
            return cls(frozenset(raw.get("plainHttp", ())), str(raw.get("caBundle") or ""))
        except (ValueError, TypeError, AttributeError):
            raise Rejected(
                "BadSettings", f"{ENVIRONMENT} is not what GKM writes: {text[:200]}"
            ) from None

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps({"plainHttp": sorted(self.plain_http), "caBundle": self.ca_bundle})

    def scheme(self, host: str) -> str:
        """``http`` for the hosts that were named, ``https`` for all others."""
        return "http" if host in self.plain_http else "https"

    def trust(self, context: ssl.SSLContext) -> None:
        """Add the bundle to what ``context`` trusts."""
        if self.ca_bundle:
            # Python takes ASCII only; what is not stands in comments between the certificates.
            text = self.ca_bundle.encode("ascii", "ignore").decode()
            context.load_verify_locations(cadata=text)
