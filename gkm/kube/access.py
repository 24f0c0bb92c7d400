"""How to reach the API server: address, trust and token, from the pod or from a kubeconfig.

Read once at start, but for the token: projected tokens rotate, so it is read again each minute.
Exec plugins and password logins are not supported: a pod has none, and a person's tools for them
are kubectl's.
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
_TOKEN_SECONDS = 60.0


@dataclass
class Access:
    """Where the API server is and how to log in."""

    server: str
    tls: ssl.SSLContext
    token_file: Path | None = None
    _token: str = ""
    _read: float = field(default=0.0, repr=False)

    def token(self) -> str:
        """The bearer token, empty if the client certificate logs in."""
        if self.token_file is not None and time.monotonic() - self._read > _TOKEN_SECONDS:
            self._token = self.token_file.read_text().strip()
            self._read = time.monotonic()
        return self._token


def find() -> Access:
    """Log in as the pod's service account, else as ``$KUBECONFIG`` says. Raises Rejected."""
    if "KUBECONFIG" in os.environ:
        return from_kubeconfig(Path(os.environ["KUBECONFIG"]))
    if (_POD / "token").exists():
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        host = f"[{host}]" if ":" in host else host
        tls = ssl.create_default_context(cafile=str(_POD / "ca.crt"))
        return Access(f"https://{host}:{port}", tls, _POD / "token")
    raise Rejected("NoCluster", "not in a pod, and KUBECONFIG names no file")


def from_kubeconfig(path: Path) -> Access:
    """Read the current context of a kubeconfig. Raises Rejected if a part of it is missing."""
    config = yaml.safe_load(path.read_text())
    context = _named(config, "contexts", config.get("current-context", ""))["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    access = Access(cluster["server"], _tls(cluster, user))
    access._token = user.get("token", "")  # noqa: SLF001 - the other way to make an Access
    return access


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    found = next((item for item in config.get(section) or () if item["name"] == name), None)
    if found is None:
        raise Rejected("BadKubeconfig", f"{section} has no entry {name!r}")
    return dict(found)


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    data = cluster.get("certificate-authority-data")
    authority = base64.b64decode(data).decode() if data else None
    tls = ssl.create_default_context(cafile=cluster.get("certificate-authority"), cadata=authority)
    if "client-certificate" in user:
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
    return tls
