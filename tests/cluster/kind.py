"""KIND, where a Docker engine answers and `kind` is on PATH: another way to get a cluster.

PROVISIONAL: written from KIND's and the registry's documents and never run, since no machine of
ours has an engine. It has no audit log and cannot add a node later; the storage class is KIND's.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.cluster import cache, docker, images
from tests.cluster.kubectl import kubectl
from tests.cluster.node import SHARED_FOLDER
from tests.cluster.report import ClusterError, Log, step

_REGISTRY_IMAGE = "docker.io/library/registry:3"
_REGISTRY_HOSTS = "/etc/containerd/certs.d"


def usable() -> bool:
    """Whether KIND can make clusters here."""
    return shutil.which("kind") is not None and docker.answers()


class KindCluster:
    """A cluster that KIND made; what it shares with `Cluster` has the same names."""

    def __init__(self, name: str, log: Log = print) -> None:
        self.name = name
        self.log = log
        folder = cache.root() / "kind" / name
        self.kubeconfig = folder / "kubeconfig"
        self.shared_dir = folder / "shared"

    @classmethod
    def up(cls, name: str, nodes: int, log: Log) -> "KindCluster":
        """Create a cluster and its registry, or return the one with this name."""
        cluster = cls(name, log)
        if name in _kind("get", "clusters").split():
            return cluster
        cluster.shared_dir.mkdir(parents=True, exist_ok=True)
        cluster.shared_dir.chmod(0o777)
        with step(log, f"cluster {name} is up"):
            config = json.dumps(render(nodes, cluster.shared_dir))
            options = (f"--name={name}", f"--kubeconfig={cluster.kubeconfig}", "--wait=120s")
            _kind("create", "cluster", *options, "--config=-", stdin=config)
            cluster._start_registry()
        return cluster

    @property
    def registry(self) -> str:
        """host:port of the registry in KIND's network, which this machine reaches too."""
        template = "{{.NetworkSettings.Networks.kind.IPAddress}}"
        address = docker.docker("inspect", f"--format={template}", f"{self.name}-registry")
        return f"{address.strip()}:5000"

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return kubectl(self.kubeconfig, *arguments, stdin=stdin)

    def load(self, image: str) -> None:
        """Give every node an image: a tag that was built here, or an archive file."""
        file = Path(image)
        with nullcontext(file) if file.is_file() else images.archive_of(image) as archive:
            _kind("load", "image-archive", str(archive), f"--name={self.name}")

    def status(self) -> str:
        return f"kubeconfig {self.kubeconfig}\n{self.kubectl('get', 'nodes').rstrip()}"

    def down(self) -> None:
        """Remove the cluster and its registry."""
        _kind("delete", "cluster", f"--name={self.name}")
        docker.docker("rm", "--force", "--volumes", f"{self.name}-registry")
        shutil.rmtree(self.kubeconfig.parent)

    def _start_registry(self) -> None:
        name = f"{self.name}-registry"
        docker.docker("run", "--detach", "--network=kind", f"--name={name}", _REGISTRY_IMAGE)
        hosts = f"{_REGISTRY_HOSTS}/{self.registry}"
        text = f'server = "http://{self.registry}"\n'
        for node in _kind("get", "nodes", f"--name={self.name}").split():
            docker.docker("exec", node, "mkdir", "-p", hosts)
            docker.docker("exec", "-i", node, "tee", f"{hosts}/hosts.toml", stdin=text)


def render(nodes: int, shared: Path) -> dict[str, Any]:
    """Build KIND's configuration: one control plane that takes pods too, and workers."""
    mounts = [{"hostPath": str(shared), "containerPath": SHARED_FOLDER}]
    patch = f'[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{_REGISTRY_HOSTS}"'
    roles: Sequence[str] = ["control-plane", *["worker"] * (nodes - 1)]
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "containerdConfigPatches": [patch],
        "nodes": [{"role": role, "extraMounts": mounts} for role in roles],
    }


def _kind(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["kind", *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"kind {' '.join(arguments[:2])}: {done.stderr.strip()[-2000:]}")
    return done.stdout
