"""Addresses of one cluster: a bridge in its own network namespace, one cable to this machine.

There is no way out of it, to the internet or to another cluster: a name that a pod looks up fails
at once instead of after a time-out. All of it is gone with the namespace; only the cable is ours
to cut.
"""

import re
import subprocess
from dataclasses import dataclass

from tests.cluster.report import ClusterError
from tests.cluster.sandbox import Sandbox

BRIDGE = "cni0"
_CANDIDATES = range(200, 240)


@dataclass(frozen=True)
class Addresses:
    """The addresses of cluster number `index`, all in 10.<index>.0.0/16."""

    index: int

    @property
    def control(self) -> str:
        """The API server and the registry, as pods, nodes and this machine reach them."""
        return f"10.{self.index}.0.2"

    @property
    def machine(self) -> str:
        """This machine, as the cluster sees it."""
        return f"10.{self.index}.0.1"

    def node(self, number: int) -> str:
        return f"10.{self.index}.1.{number}"

    @property
    def pods(self) -> str:
        return f"10.{self.index}.16.0/20"

    @property
    def gateway(self) -> str:
        return f"10.{self.index}.16.1"

    @property
    def services(self) -> str:
        return f"10.{self.index}.32.0/20"

    @property
    def cable(self) -> str:
        """The machine's end of the cable."""
        return f"gkm{self.index}"


def choose(taken: set[int]) -> Addresses:
    """Take the first range that is not taken and that nothing of this machine touches."""
    used = _ip("-4", "route", "show", "table", "all") + _ip("-4", "-o", "addr")
    for index in _CANDIDATES:
        if index not in taken and not re.search(rf"\b10\.{index}\.", used):
            return Addresses(index)
    raise ClusterError("no free address range 10.200-239.0.0/16: take another cluster down")


def connect(addresses: Addresses, sandbox: Sandbox) -> None:
    """Lay the cable and make the bridge."""
    pid = str(sandbox.pid)
    cable = addresses.cable
    _ip("link", "add", cable, "type", "veth", "peer", "name", "machine", "netns", pid)
    _ip("addr", "add", f"{addresses.machine}/30", "dev", cable)
    _ip("link", "set", cable, "up")
    sandbox.run("ip", "link", "set", "lo", "up")
    sandbox.run("ip", "addr", "add", f"{addresses.control}/30", "dev", "machine")
    sandbox.run("ip", "link", "set", "machine", "up")
    sandbox.run("ip", "link", "add", BRIDGE, "type", "bridge")
    sandbox.run("ip", "addr", "add", f"{addresses.gateway}/20", "dev", BRIDGE)
    sandbox.run("ip", "link", "set", BRIDGE, "up")
    # Nothing is there: kube-proxy rewrites the address. But without a route, programs outside pods
    # (the API server that calls a webhook) are told "unreachable" before it can.
    sandbox.run("ip", "route", "add", addresses.services, "dev", BRIDGE)
    sandbox.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    # Without it a pod that calls a Service whose pod is on the same bridge gets no answer.
    sandbox.run("sh", "-c", "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables")


def add_node(addresses: Addresses, sandbox: Sandbox, number: int) -> None:
    """Give a node an address of its own, so that all kubelets can use the usual ports."""
    sandbox.run("ip", "addr", "add", f"{addresses.node(number)}/32", "dev", "lo")


def disconnect(addresses: Addresses) -> None:
    """Cut the cable; the kernel takes its time to remove the namespace's own end."""
    subprocess.run(["ip", "link", "del", addresses.cable], capture_output=True, check=False)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
