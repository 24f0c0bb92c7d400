"""One node: a containerd and a kubelet in a mount namespace of their own.

All nodes are on one machine and would see one disk. A volume that was filled on the wrong node
would then look right, so each node has private folders where programs keep state, and two folders
for volumes: one private, one that all nodes share.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster import archives, cgroups, components, network, nodeconfig
from tests.cluster.control import Control
from tests.cluster.report import Log

PRIVATE_FOLDER = "/kernel-caches"
"""In every node: a folder of its own, for hostPath and local volumes."""

SHARED_FOLDER = "/kernel-caches-shared"
"""In every node: the same folder, as a shared file system would be."""

PRIVATE_FOLDERS = ("/var/lib", "/var/log", PRIVATE_FOLDER)


@dataclass(frozen=True)
class Node:
    """Node `number` of the cluster that `control` controls."""

    control: Control
    number: int

    @property
    def name(self) -> str:
        return f"{self.control.name}-{self.number}"

    @property
    def folder(self) -> Path:
        return self.control.sandbox.folder / "nodes" / str(self.number)

    def start(self, images: Sequence[Path], log: Log) -> None:
        """Start containerd, give it the images, and start the kubelet."""
        sandbox = self.control.sandbox
        network.add_node(self.control.addresses, sandbox, self.number)
        cgroups.make(self.name)
        self._make_folders()
        self._write_configs()
        containerd = f"containerd-{self.number}"
        pid = sandbox.spawn(containerd, ["unshare", "--mount", "sh", "-euc", self._containerd()])
        self._pid_file.write_text(str(pid))
        sandbox.wait(containerd, pid, self._answers)
        for image in images:
            self.load(image)
        self.start_kubelet(log)

    def start_kubelet(self, log: Log) -> None:
        """Start the kubelet; it registers the node unless the API server knows it."""
        command = self._inside(str(components.program("kubelet", log)), *self._kubelet_flags())
        pid = self.control.sandbox.spawn(f"kubelet-{self.number}", command)
        self._kubelet_pid_file.write_text(str(pid))

    def stop_kubelet(self) -> None:
        """End the kubelet; containers go on, and after a while the node is NotReady."""
        self.control.sandbox.run("kill", self._kubelet_pid_file.read_text())

    def stop(self) -> None:
        """End kubelet and containerd, as a machine that is taken away."""
        self.stop_kubelet()
        self.control.sandbox.run("kill", self._pid_file.read_text())
        self._pid_file.unlink()

    def load(self, archive: Path) -> None:
        """Import the images of a docker or OCI archive."""
        command = self._inside(*self._ctr("images", "import", "-"))
        self.control.sandbox.run(*command, stdin=archive)

    def images(self) -> str:
        """List the images that the node has, one a line."""
        return self.control.sandbox.run(*self._inside(*self._ctr("images", "list", "--quiet")))

    @property
    def _pid_file(self) -> Path:
        return self.folder / "containerd.pid"

    @property
    def _kubelet_pid_file(self) -> Path:
        return self.folder / "kubelet.pid"

    @property
    def _run(self) -> str:
        return f"/run/{self.name}"

    def _inside(self, *command: str) -> list[str]:
        # The node's mount namespace is that of its containerd.
        return ["nsenter", "--target", self._pid_file.read_text(), "--mount", *command]

    def _ctr(self, *arguments: str) -> list[str]:
        return ["ctr", "--address", f"{self._run}/containerd.sock", "-n", "k8s.io", *arguments]

    def _answers(self) -> bool:
        command = self._inside(*self._ctr("version"))
        return self.control.sandbox.succeeds(*command)

    def _containerd(self) -> str:
        """Return the script that makes the node's file system and becomes containerd."""
        mounts = [(self._own(target), target) for target in PRIVATE_FOLDERS]
        mounts.append((self.control.sandbox.folder / "shared", SHARED_FOLDER))
        config = shlex.quote(str(self.folder / "containerd.toml"))
        lines = [
            "mount --make-rshared /",
            *(f"mount --bind {shlex.quote(str(source))} {target}" for source, target in mounts),
            f"exec containerd --config {config}",
        ]
        return "\n".join(lines)

    def _kubelet_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.control.kubeconfig(f'node-{self.number}')}",
            f"--config={self.folder / 'kubelet.yaml'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.control.addresses.node(self.number)}",
            "--root-dir=/var/lib/kubelet",
            "--cert-dir=/var/lib/kubelet/pki",
        ]

    def _own(self, target: str) -> Path:
        return self.folder / "root" / target.lstrip("/")

    def _make_folders(self) -> None:
        for target in PRIVATE_FOLDERS:
            self._own(target).mkdir(parents=True)
        # Like a mounted disk: which pods may write there is for the pods' own rules to say.
        self._own(PRIVATE_FOLDER).chmod(0o777)

    def _write_configs(self) -> None:
        control, cluster = self.control, self.control.sandbox.folder
        registry = self.folder / "registries" / control.registry
        registry.mkdir(parents=True)
        (registry / "hosts.toml").write_text(nodeconfig.plain_http(control.registry))
        (cluster / "cni").mkdir(exist_ok=True)
        network_config = nodeconfig.cni(control.addresses, cluster / "leases")
        (cluster / "cni" / "10-bridge.conflist").write_text(network_config)
        (cluster / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        (self.folder / "containerd.toml").write_text(
            nodeconfig.containerd(cluster, self._run, registry.parent, archives.PAUSE)
        )
        kubelet = nodeconfig.kubelet(
            control.addresses.node(self.number),
            self._run,
            cgroups.name(self.name),
            control.client_ca,
            cluster / "resolv.conf",
        )
        (self.folder / "kubelet.yaml").write_text(yaml.safe_dump(kubelet))
