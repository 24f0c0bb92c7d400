"""GKM's agent on one node: its pod is the real DaemonSet's, its process is ours.

The process talks through a proxy of its own, with a token that is bound to the pod, and so to the
node: by that the chart's policy tells one agent from another. A process that was killed is started
again in the same pod, as a kubelet starts a container again.
"""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.cluster.control import render_kubeconfig
from tests.faults import podstatus
from tests.faults.program import Program
from tests.faults.proxy import Proxy
from tests.faults.recorder import Admin
from tests.stage import NAMESPACE, SIMULATED

Json = dict[str, Any]
_COMPONENT, _AGENT = "app.kubernetes.io/component", "agent"
_LOOK_SECONDS = 0.05
_BLINK = 0.3
"""How long an agent that was killed stays away."""


def is_agent(pod: Json) -> bool:
    """Whether a pod is one of the chart's agents."""
    labels = pod["metadata"].get("labels") or {}
    return pod["metadata"]["namespace"] == NAMESPACE and labels.get(_COMPONENT) == _AGENT


class Agent:
    """The agent of the node ``node``; ``port`` is where it answers probes."""

    def __init__(
        self, node: str, client: Admin, program: Program, proxy: Proxy, folder: Path, port: int
    ) -> None:
        self.program, self.proxy = program, proxy
        self.up = asyncio.Event()
        """Set while it runs and has reported."""
        self._client, self._port = client, port
        self._kubeconfig = folder / f"{program.name}.yaml"
        program.environment = {
            "KUBECONFIG": str(self._kubeconfig),
            "GKM_NODE_NAME": node,
            "GKM_SIMULATED_GPUS": SIMULATED,
            "GKM_PROBE_PORT": str(port),
        }

    async def run(self, pod: Json) -> None:
        """Be the pod's container, again and again, until cancelled."""
        await self._log_in(pod)
        self.proxy.resume()
        await self.program.start()
        try:
            await self._reported()
            await podstatus.running(self._client, pod, ready=True)
            while True:
                await self.program.killed.wait()
                self.up.clear()
                await self.program.gone()
                await asyncio.sleep(_BLINK)
                self.proxy.resume()
                await self.program.start()
                await self._reported()
        finally:
            self.up.clear()
            self.program.kill()
            await self.program.gone()

    async def stop(self) -> None:
        """End what is left."""
        await self.program.stop()
        await self.proxy.stop()

    async def _log_in(self, pod: Json) -> None:
        meta = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"boundObjectRef": bound, "expirationSeconds": 86400},
        }
        where = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/gkm-agent/token"
        token = (await self._client.send("POST", where, body))["status"]["token"]
        server = f"http://127.0.0.1:{self.proxy.port}"
        config = render_kubeconfig("faults", server, b"", token)
        self._kubeconfig.write_text(yaml.safe_dump(config))

    async def _reported(self) -> None:
        if await ready(self.program, f"http://127.0.0.1:{self._port}/readyz"):
            self.up.set()


async def ready(program: Program, url: str) -> bool:
    """Wait until a program's probe is answered well; False if it is killed before."""
    while not await answers(url):
        if program.killed.is_set():
            return False
        if program.exit_code is not None:
            raise RuntimeError(f"{program.name} ended by itself: {program.exit_code}")
        await asyncio.sleep(_LOOK_SECONDS)
    return True


async def answers(url: str) -> bool:
    """Whether a probe is answered well."""
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, ssl=False) as reply,
        ):
            return reply.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
