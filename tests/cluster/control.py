"""The control plane: etcd, API server, controller manager, scheduler, kube-proxy and the registry.

Everything is for a throw-away cluster: tokens are static, etcd does not sync to the disk.
"""

import base64
import json
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster import components
from tests.cluster.network import Addresses
from tests.cluster.report import ClusterError, Log
from tests.cluster.sandbox import Sandbox

REGISTRY_PORT = 5000
_API_PORT = 6443
_ETCD = "http://127.0.0.1:2379"
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
_SYSTEM_USERS = {
    "admin": ("gkm-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}
MAX_NODES = 20
"""The API server reads tokens once, at its start: those of later nodes are there from then on."""


@dataclass(frozen=True)
class Control:
    """The control plane of one cluster: its files and its programs."""

    name: str
    addresses: Addresses
    sandbox: Sandbox

    @property
    def folder(self) -> Path:
        return self.sandbox.folder / "control"

    @property
    def server(self) -> str:
        return f"https://{self.addresses.control}:{_API_PORT}"

    @property
    def registry(self) -> str:
        return f"{self.addresses.control}:{REGISTRY_PORT}"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    @property
    def client_ca(self) -> Path:
        """What kubelets trust: the API server's client certificate, which is its own CA."""
        return self.folder / "kubelet-client.crt"

    def kubeconfig(self, user: str) -> Path:
        """Return the kubeconfig of `admin`, a system component or `node-<number>`."""
        return self.folder / "kubeconfigs" / f"{user}.yaml"

    def start(self, log: Log) -> dict[str, int]:
        """Start everything; returns when the API server serves."""
        self._write_secrets()
        running = {}

        def run(name: str, *flags: str, ready: Callable[[], bool] | None = None) -> None:
            # The registry would send traces to a collector that nobody runs.
            program = ["env", "OTEL_TRACES_EXPORTER=none", str(components.program(name, log))]
            running[name] = self.sandbox.spawn(name, [*program, *flags])
            if ready:
                self.sandbox.wait(name, running[name], ready)

        run("registry", "serve", str(self._write_registry_config()))
        run("etcd", *self._etcd())
        run("kube-apiserver", *self._apiserver(), ready=self._api_ready)
        self._write_kubeconfigs()
        run("kube-controller-manager", *self._controller_manager())
        run("kube-scheduler", *self._component("scheduler"), "--leader-elect=false")
        run("kube-proxy", *self._proxy())
        return running

    def _write_secrets(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _openssl("genrsa", "-out", str(self.folder / "service-account.key"), "2048")
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
            *("-subj", "/O=system:masters/CN=kube-apiserver"),
            *("-addext", "extendedKeyUsage=clientAuth"),
            *("-keyout", str(self.folder / "kubelet-client.key"), "-out", str(self.client_ca)),
        )
        users = dict(_SYSTEM_USERS)
        for number in range(1, MAX_NODES + 1):
            users[f"node-{number}"] = (f"system:node:{self.name}-{number}", "system:nodes")
        tokens = {user: secrets.token_hex(16) for user in users}
        lines = [f'{tokens[user]},{name},{name},"{group}"' for user, (name, group) in users.items()]
        (self.folder / "tokens.csv").write_text("\n".join(lines) + "\n")
        (self.folder / "tokens.json").write_text(json.dumps(tokens))
        (self.folder / "audit-policy.yaml").write_text(yaml.safe_dump(_AUDIT_POLICY))

    def _write_kubeconfigs(self) -> None:
        self.kubeconfig("admin").parent.mkdir(exist_ok=True)
        authority = (self.folder / "certificates" / "apiserver.crt").read_bytes()
        for user, token in json.loads((self.folder / "tokens.json").read_text()).items():
            config = render_kubeconfig(self.name, self.server, authority, token)
            self.kubeconfig(user).write_text(yaml.safe_dump(config))

    def _write_registry_config(self) -> Path:
        config = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.sandbox.folder / "registry")},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.registry},
        }
        file = self.folder / "registry.yaml"
        file.write_text(yaml.safe_dump(config))
        return file

    def _etcd(self) -> list[str]:
        return [
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str]:
        key = self.folder / "service-account.key"
        return [
            f"--etcd-servers={_ETCD}",
            f"--bind-address={self.addresses.control}",
            f"--advertise-address={self.addresses.control}",
            f"--secure-port={_API_PORT}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--service-cluster-ip-range={self.addresses.services}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={self.client_ca}",
            f"--kubelet-client-key={self.folder / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={self.folder / 'audit-policy.yaml'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=2000",
        ]

    def _component(self, user: str) -> list[str]:
        return [f"--kubeconfig={self.kubeconfig(user)}"]

    def _controller_manager(self) -> list[str]:
        return [
            *self._component("controller-manager"),
            "--leader-elect=false",
            "--use-service-account-credentials",
            "--controllers=*,-nodeipam",
            *("--kube-api-qps=100", "--kube-api-burst=200"),  # 20 a second is for large clusters
            f"--service-account-private-key-file={self.folder / 'service-account.key'}",
            f"--root-ca-file={self.folder / 'certificates' / 'apiserver.crt'}",
        ]

    def _proxy(self) -> list[str]:
        return [
            *self._component("proxy"),
            "--proxy-mode=iptables",
            f"--hostname-override={self.name}-1",
            f"--cluster-cidr={self.addresses.pods}",
            # The limits of connection tracking belong to the machine: leave them alone.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            "--oom-score-adj=0",
        ]

    def _api_ready(self) -> bool:
        authority = self.folder / "certificates" / "apiserver.crt"
        return authority.exists() and api_ready(self.server)


def api_ready(server: str) -> bool:
    """Whether the API server says that it is ready (anonymous users may ask this)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a question of being up, not of trust
    try:
        with urllib.request.urlopen(f"{server}/readyz", timeout=2, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def render_kubeconfig(cluster: str, server: str, authority: bytes, token: str) -> dict[str, object]:
    """Build a kubeconfig with one cluster, one user and one context."""
    access = {
        "server": server,
        "certificate-authority-data": base64.b64encode(authority).decode(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": access}],
        "users": [{"name": cluster, "user": {"token": token}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
    }


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"openssl {arguments[0]}: {done.stderr.strip()[-500:]}")
