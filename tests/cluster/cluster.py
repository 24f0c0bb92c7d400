"""A cluster as its users see it: up, down, load an image, ask kubectl.

State lives in one folder per cluster; `down` removes that folder last, so a cluster that was
interrupted at any point can always be taken down.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import (
    archives,
    cache,
    cgroups,
    components,
    images,
    network,
    requirements,
    storage,
)
from tests.cluster.control import Control, api_ready
from tests.cluster.kubectl import kubectl
from tests.cluster.network import Addresses
from tests.cluster.node import PRIVATE_FOLDER, SHARED_FOLDER, Node
from tests.cluster.report import ClusterError, Log, step
from tests.cluster.sandbox import Sandbox

_READY_SECONDS = 120


class Cluster:
    """A cluster on this machine, running or not; `up` starts it, or finds it running."""

    def __init__(self, name: str, addresses: Addresses, log: Log = print) -> None:
        self.name = name
        self.log = log
        self._sandbox = Sandbox(_folder(name))
        self._control = Control(name, addresses, self._sandbox)

    @classmethod
    def up(cls, name: str = "gkm", nodes: int = 2, log: Log = print) -> "Cluster":
        """Start a cluster, or return the one with this name if it runs and is healthy."""
        requirements.check_name(name)
        requirements.check()
        with _locked(name):
            found = cls.find(name, log)
            if found and found.healthy():
                return found
            if _folder(name).exists():
                with step(log, f"removed what was left of {name}"):
                    _remove(name)
            with step(log, f"cluster {name} is up"):
                return _start(name, nodes, log)

    @classmethod
    def find(cls, name: str, log: Log = print) -> "Cluster | None":
        """Return the cluster with this name if there is a trace of it."""
        try:
            state = json.loads((_folder(name) / "state.json").read_text())
        except FileNotFoundError:
            return None
        return cls(name, Addresses(state["index"]), log)

    @property
    def kubeconfig(self) -> Path:
        """Admin's kubeconfig; its audit log name is `gkm-admin`."""
        return self._control.kubeconfig("admin")

    @property
    def registry(self) -> str:
        """host:port of the registry (plain http), the same for pods, nodes and this machine."""
        return self._control.registry

    @property
    def shared_dir(self) -> Path:
        """This machine's view of the folder that all nodes share."""
        return self._sandbox.folder / "shared"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line for each request to the API server, with the user's name."""
        return self._control.audit_log

    @property
    def nodes(self) -> list[Node]:
        folders = (self._sandbox.folder / "nodes").glob("*/containerd.pid")
        return [Node(self._control, n) for n in sorted(int(file.parent.name) for file in folders)]

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl as admin and return its output."""
        return kubectl(self.kubeconfig, *arguments, stdin=stdin)

    def load(self, image: str) -> None:
        """Give every node an image: a tag that was built here, or a docker or OCI archive file."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(step(self.log, f"loaded {image} into {len(self.nodes)} nodes"))
            file = Path(image)
            archive = file if file.is_file() else stack.enter_context(images.archive_of(image))
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda node: node.load(archive), self.nodes))

    def add_node(self) -> Node:
        """Add one node and wait until it is ready."""
        with _locked(self.name):
            # One that was taken away keeps its folder: a number is given once.
            taken = (int(folder.name) for folder in (self._sandbox.folder / "nodes").iterdir())
            node = Node(self._control, max(taken, default=0) + 1)
            with step(self.log, f"node {node.name} is ready"):
                node.start(archives.small_images(self.log), self.log)
                self._wait_for_nodes([node])
            return node

    def remove_node(self, node: Node) -> None:
        """Take a node away: its programs first, then the Node object, as a cloud does."""
        with _locked(self.name):
            node.stop()
            self.kubectl("delete", "node", node.name)

    def replace_node(self, node: Node) -> None:
        """Let a node come back under its name as another one: with another uid.

        As with real machines it is away for longer than its pods, which Kubernetes clears away.
        """
        with _locked(self.name), step(self.log, f"node {node.name} is replaced"):
            node.stop_kubelet()
            self.kubectl("delete", "node", node.name)
            here = f"--field-selector=spec.nodeName={node.name}"
            self.kubectl("wait", "--for=delete", "pod", "--all", "-A", here, "--timeout=120s")
            node.start_kubelet(self.log)
            self._wait_for_nodes([node])

    def healthy(self) -> bool:
        """Whether the API server answers and every node is ready."""
        return (
            self._sandbox.pid is not None
            and api_ready(self._control.server)
            and self._unready({node.name for node in self.nodes}) == set()
        )

    def status(self) -> str:
        """Describe the cluster for a person."""
        if self._sandbox.pid is None:
            return f"{self.name}: dead (run `down` to remove what is left)"
        if not api_ready(self._control.server):
            return f"{self.name}: its API server does not answer; logs: {self._sandbox.logs}"
        return "\n".join(
            [
                f"{self.name}: API server {self._control.server}, registry {self.registry}",
                f"kubeconfig {self.kubeconfig}",
                f"logs {self._sandbox.logs}, audit log {self.audit_log}",
                self.kubectl("get", "nodes").rstrip(),
            ]
        )

    def down(self) -> None:
        """End every process of the cluster and remove every trace of it."""
        down(self.name, self.log)

    def _wait_for_nodes(self, nodes: list[Node]) -> None:
        names = {node.name for node in nodes}
        deadline = time.monotonic() + _READY_SECONDS
        while missing := self._unready(names):
            if time.monotonic() > deadline:
                worst = min(missing).rpartition("-")[2]
                raise ClusterError(
                    f"not ready after {_READY_SECONDS} s: {', '.join(sorted(missing))}; the end of "
                    f"the kubelet's log:\n{self._sandbox.log_tail(f'kubelet-{worst}')}"
                )
            time.sleep(0.3)

    def _unready(self, names: set[str]) -> set[str]:
        try:
            listed = json.loads(self.kubectl("get", "nodes", "--output=json"))["items"]
        except ClusterError:
            return names
        ready = {
            node["metadata"]["name"]
            for node in listed
            for condition in node["status"].get("conditions", ())
            if condition["type"] == "Ready" and condition["status"] == "True"
        }
        return names - ready


def down(name: str, log: Log = print) -> None:
    """Remove the cluster with this name, in whatever state it is."""
    with _locked(name):
        if not _folder(name).exists():
            log(f"{name}: there is no such cluster")
            return
        with step(log, f"{name} is down"):
            _remove(name)


def names() -> list[str]:
    """Every cluster that has left a trace on this machine."""
    return sorted(file.parent.name for file in _clusters().glob("*/state.json"))


def _start(name: str, nodes: int, log: Log) -> Cluster:
    own_images = archives.small_images(log)
    components.build_all(log)
    cluster = _reserve(name, log)
    with step(log, "control plane"):
        cluster._control.start(log)
    with step(log, f"{nodes} nodes"):
        made = [Node(cluster._control, number) for number in range(1, nodes + 1)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda node: node.start(own_images, log), made))
        documents = {"apiVersion": "v1", "kind": "List", "items": storage.manifests()}
        cluster.kubectl("apply", "--filename=-", stdin=json.dumps(documents))
        cluster._wait_for_nodes(made)
        # No pod can be made before its service account is there.
        cluster.kubectl("wait", "--for=create", "--timeout=60s", "serviceaccount/default")
    return cluster


def _reserve(name: str, log: Log) -> Cluster:
    """Take an address range, and make the namespaces and the network that everything runs in."""
    with _locked():
        # A dead cluster has no cable, but `down` will cut the one with its number.
        others = [other for name in names() if (other := Cluster.find(name))]
        addresses = network.choose({other._control.addresses.index for other in others})
        cluster = Cluster(name, addresses, log)
        cluster.shared_dir.mkdir(parents=True)
        cluster.shared_dir.chmod(0o777)
        # Written before anything is made: from here on `down` knows what to look for.
        draft = _folder(name) / "state.draft"
        draft.write_text(json.dumps({"index": addresses.index}))
        draft.rename(draft.with_name("state.json"))
        for target in (PRIVATE_FOLDER, SHARED_FOLDER):
            Path(target).mkdir(exist_ok=True)
        cluster._sandbox.start()
        network.connect(addresses, cluster._sandbox)
    return cluster


def _remove(name: str) -> None:
    folder = _folder(name)
    cluster = Cluster.find(name)
    if cluster:
        cluster._sandbox.stop()
        network.disconnect(cluster._control.addresses)
    for node in folder.glob("nodes/*"):
        cgroups.remove(f"{name}-{node.name}")
    with _locked():
        shutil.rmtree(folder)
        if not names():
            # The mount points of the nodes' volumes. Never emptied: only removed if empty.
            for target in (PRIVATE_FOLDER, SHARED_FOLDER):
                with contextlib.suppress(OSError):
                    Path(target).rmdir()


def _clusters() -> Path:
    return cache.root() / "clusters"


def _folder(name: str) -> Path:
    return _clusters() / name


@contextlib.contextmanager
def _locked(name: str = "") -> Iterator[None]:
    """Let one process at a time work on a cluster, or (without a name) on what all share."""
    with cache.locked(_clusters() / f".{name}.lock"):
        yield
