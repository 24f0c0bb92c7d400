"""The registry behind a front with login, token service and TLS by an authority of its own.

It runs in the cluster, so that it works on any: a pod of GKM's image behind a Service whose cluster
IP is in the certificate, because a test cluster may have no DNS.
"""

import json
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gkm.oci.keychain import Credentials
from tests.certificates import issue
from tests.e2e import private_program
from tests.e2e.actors import Json
from tests.stage import Stage

NAMESPACE = "gkm-private-registry"
_NAME = "private"
_PROGRAM = Path(private_program.__file__).read_text()


@dataclass(frozen=True)
class PrivateRegistry:
    """Where it is, the authority that GKM must trust, and the one login that it knows."""

    host: str
    ca_pem: str
    login: Credentials

    def docker_config(self, password: str = "") -> str:
        """A ``.dockerconfigjson`` with the login, or with another password."""
        who = {"username": self.login.username, "password": password or self.login.password}
        return json.dumps({"auths": {self.host: who}})


def start(stage: Stage) -> PrivateRegistry:
    """Start it and wait until it serves."""
    login = Credentials("reader", f"canary-{secrets.token_hex(8)}")
    labels = {"app": _NAME}
    _apply(stage, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    ports = [{"port": private_program.PORT}]
    _apply(stage, _object("Service", spec={"selector": labels, "ports": ports}))
    ip = ("get", "service", _NAME, "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}")
    address = stage.kubectl(*ip).strip()
    with tempfile.TemporaryDirectory() as folder:
        made = issue(Path(folder), address)
        files = {"tls.crt": made.certificate.read_text(), "tls.key": made.key.read_text()}
    files["login"] = f"{login.username}:{login.password}"
    _apply(stage, _object("Secret", stringData=files))
    pod = _object("Pod", spec=_pod(stage))
    pod["metadata"]["labels"] = labels
    _apply(stage, pod)
    ready = ("--for=condition=Ready", "--timeout=60s")
    stage.kubectl("wait", "-n", NAMESPACE, f"pod/{_NAME}", *ready)
    return PrivateRegistry(f"{address}:{private_program.PORT}", made.ca_pem, login)


def stop(stage: Stage) -> None:
    """Take it away."""
    stage.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _apply(stage: Stage, obj: Json) -> None:
    stage.kubectl("apply", "-f", "-", stdin=json.dumps(obj))


def _object(kind: str, **body: Json) -> Json:
    meta: Json = {"name": _NAME, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, **body}


def _pod(stage: Stage) -> Json:
    # The kubelet takes any certificate here.
    health = {"path": "/healthz", "port": private_program.PORT, "scheme": "HTTPS"}
    container = {
        "name": "front",
        "image": stage.gkm_image,
        "command": ["/opt/gkm/bin/python", "-u", "-c", _PROGRAM, stage.registry],
        "readinessProbe": {"httpGet": health, "periodSeconds": 1},
        "volumeMounts": [{"name": "files", "mountPath": str(private_program.FILES)}],
    }
    return {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "files", "secret": {"secretName": _NAME}}],
    }
