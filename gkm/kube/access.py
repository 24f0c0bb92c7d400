"""How to reach the API server: address, trust and token, from the pod or from a kubeconfig.

The token and the authority in a pod are read again each minute: both are changed while we run.
A kubeconfig (for running a program outside a pod) must log in with a token.
"""

import base64
import os
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gkm.api.errors import Rejected

_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_AGAIN_SECONDS = 60.0


@dataclass
class Access:
    """Where the API server is, whom it is signed by (PEM), and how to log in."""

    server: str
    authority: str
    folder: Path | None = None
    """Where a pod finds both, as ``token`` and ``ca.crt``."""
    _token: str = field(default="", repr=False)
    _read: float = field(default=float("-inf"), repr=False)
    _tls: ssl.SSLContext | None = field(default=None, repr=False)

    def tls(self) -> ssl.SSLContext:
        """Trust in the API server's authority and in nobody else; it follows the authority."""
        if self._tls is None:
            self._tls = ssl.create_default_context(cadata=self.authority)
        return self._tls

    def token(self) -> str:
        """The bearer token as it is now."""
        if self.folder is not None and time.monotonic() - self._read > _AGAIN_SECONDS:
            self._token = (self.folder / "token").read_text().strip()
            self._trust((self.folder / "ca.crt").read_text())
            self._read = time.monotonic()
        return self._token

    def _trust(self, authority: str) -> None:
        """Trust a new authority beside the old one, in connections that are made from now on."""
        if authority and authority != self.authority:
            self.tls().load_verify_locations(cadata=authority)
            self.authority = authority


def find() -> Access:
    """Log in as ``$KUBECONFIG`` says, else as the pod's service account. Raises Rejected."""
    if "KUBECONFIG" in os.environ:
        return from_kubeconfig(Path(os.environ["KUBECONFIG"]))
    if (_POD / "token").exists():
        # By address, as every client does: a pod needs no DNS to reach its API server.
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        host = f"[{host}]" if ":" in host else host
        return Access(f"https://{host}:{port}", (_POD / "ca.crt").read_text(), _POD)
    raise Rejected("NoCluster", "not in a pod, and KUBECONFIG names no file")


def from_kubeconfig(path: Path) -> Access:
    """Read the current context of a kubeconfig. Raises Rejected if a part of it is missing."""
    config = yaml.safe_load(path.read_text())
    context = _named(config, "contexts", config.get("current-context", ""))["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    if "token" not in user:
        raise Rejected("BadKubeconfig", f"user {context['user']} in {path} has no token")
    data = cluster.get("certificate-authority-data", "")
    authority = base64.b64decode(data).decode()
    return Access(cluster["server"], authority, None, user["token"])


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    found = next((item for item in config.get(section) or () if item["name"] == name), None)
    if found is None:
        raise Rejected("BadKubeconfig", f"{section} has no entry {name!r}")
    return dict(found)
