"""What is done to a control plane from outside: made, given GKM's chart, killed, cut off."""

import json
import subprocess
import time

import yaml

from tests.cluster import cluster as clusters
from tests.cluster import components
from tests.cluster.cluster import Cluster
from tests.cluster.control import REGISTRY_PORT, api_ready
from tests.cluster.report import Log
from tests.faults.provisioner import storage_class
from tests.stage import CHART, NAMESPACE

_NOT_NEEDED = ("kube-scheduler", "kube-proxy")
_REFUSED = f"INPUT -p tcp --dport {REGISTRY_PORT} -j REJECT --reject-with tcp-reset"


def fresh(name: str, log: Log) -> Cluster:
    """A cluster in which nothing of an interrupted run is left."""
    if Cluster.find(name) is not None:
        clusters.down(name, log)
    return Cluster.up(name, 0, log)


def chart(cluster: Cluster, log: Log) -> None:
    """Everything of the chart but the Deployments; away with what nobody needs."""
    for name in _NOT_NEEDED:
        cluster._sandbox.run("sh", "-c", f"kill $(pidof {name})")
    helm = str(components.program("helm", log))
    options = ["--include-crds", "--no-hooks", "--kube-version", components.VERSION]
    command = [helm, "template", "gkm", str(CHART), "--namespace", NAMESPACE, *options]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    documents = [one for one in yaml.safe_load_all(rendered) if one]
    wanted = [one for one in documents if one["kind"] != "Deployment"]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    items = [space, storage_class(), *wanted]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    cluster.kubectl("delete", "deployments", "--all", "-n", "local-path-storage")
    cluster.kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=30s")


def kill_control_plane(cluster: Cluster) -> None:
    """SIGKILL the API server and etcd, and start them again; returns when the first is ready."""
    control, sandbox = cluster._control, cluster._sandbox
    pids = sandbox.run("pidof", "kube-apiserver", "etcd").split()
    sandbox.run("kill", "-9", *pids)
    while any(sandbox.has(int(pid)) for pid in pids):  # the last of their threads keeps the ports
        time.sleep(0.05)
    parts = {"etcd": control._etcd(), "kube-apiserver": control._apiserver()}
    for name, flags in parts.items():
        program = [str(components.program(name, cluster.log)), *flags]
        pid = sandbox.spawn(name, program)
    sandbox.wait("kube-apiserver", pid, lambda: api_ready(control.server))


def cut_registry(cluster: Cluster, *, off: bool) -> None:
    """Let the registry refuse every connection, or serve again."""
    cluster._sandbox.run("iptables", "-I" if off else "-D", *_REFUSED.split())
