"""The real webhook, called by the real API server through the chart's own Service.

The Service has no endpoints that anybody could reach from the API server, for no pod here has an
address: one rule in the cluster's network namespace leads its address to this machine, as
kube-proxy would. A URL in the webhook's configuration would not do: the certificate that the
operator makes is for the Service's names.
"""

import asyncio
from pathlib import Path

import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.control import render_kubeconfig
from tests.faults.agent import ready
from tests.faults.gate import Gate
from tests.faults.program import Program
from tests.faults.proxy import Proxy
from tests.stage import NAMESPACE

_SERVICE = "gkm-webhook"


class Admission:
    """The webhook's process, the proxy that it reads through, and the gate in front of it."""

    def __init__(self, program: Program, proxy: Proxy, cluster: Cluster, port: int) -> None:
        self.program, self.proxy = program, proxy
        self.gate = Gate(cluster._control.addresses.machine, port, program.kill)
        self.up = asyncio.Event()
        """Set while it runs and answers."""
        self._cluster, self._port = cluster, port

    async def start(self, folder: Path) -> None:
        """Lead the Service here, and prepare the process."""
        await self.gate.start()
        await asyncio.to_thread(self._lead)
        token = self._cluster.kubectl(
            *("create", "token", _SERVICE, "-n", NAMESPACE, "--duration=24h")
        )
        server = f"http://127.0.0.1:{self.proxy.port}"
        config = render_kubeconfig("faults", server, b"", token.strip())
        kubeconfig = folder / f"{self.program.name}.yaml"
        kubeconfig.write_text(yaml.safe_dump(config))
        self.program.environment = {
            "KUBECONFIG": str(kubeconfig),
            "GKM_NAMESPACE": NAMESPACE,
            "GKM_IMAGE": "example.com/gkm:faults",
            "GKM_PORT": str(self._port),
        }

    async def keep(self) -> None:
        """Run the webhook, again each time that it is killed, until cancelled."""
        while True:
            self.proxy.resume()
            await self.program.start()
            await self._listening()
            await self.program.killed.wait()
            self.up.clear()
            await self.program.gone()

    async def stop(self) -> None:
        """End everything."""
        await self.program.stop()
        await self.proxy.stop()
        await self.gate.stop()

    async def _listening(self) -> None:
        """Wait until it answers: it has no certificate before the operator has made one."""
        if await ready(self.program, f"https://127.0.0.1:{self._port}/readyz"):
            self.up.set()

    def _lead(self) -> None:
        where = ["get", "service", _SERVICE, "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}"]
        address = self._cluster.kubectl(*where)
        machine = self._cluster._control.addresses.machine
        to = ["-p", "tcp", "-d"]
        nat = ["iptables", "-t", "nat", "-A"]
        there = f"{machine}:{self.gate.port}"
        rule = [*nat, "OUTPUT", *to, address, "--dport", "443", "-j", "DNAT", "--to-destination"]
        self._cluster._sandbox.run(*rule, there)
        # The API server has chosen its own address by the Service's: nobody here could answer it.
        back = [*nat, "POSTROUTING", *to, machine, "--dport", str(self.gate.port)]
        self._cluster._sandbox.run(*back, "-j", "MASQUERADE")
