"""Admission under load, through a real API server: pods are asked for and never made.

`python -m tests.bench.admission --kubeconfig FILE` on a cluster with GKM, whose webhook's replicas
restart meanwhile and whose certificate changes; the end-to-end suite runs a short one.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp

from gkm.api.names import LABEL_MUTATION
from gkm.kube.access import Access, from_kubeconfig
from gkm.kube.client import Client, path
from gkm.operator import certificate
from tests.cluster.kubectl import kubectl
from tests.stage import NAMESPACE

Json = dict[str, Any]


@dataclass
class Result:
    """What came of it; ``seconds`` of each request that was answered as it should be."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    rotations: int = 0
    restarts: int = 0

    def __str__(self) -> str:
        ordered = sorted(self.seconds) or [0.0]
        middle, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
        return (
            f"{len(self.seconds)} admitted, {len(self.failures)} failures, "
            f"p50 {middle * 1000:.1f} ms, p99 {late * 1000:.1f} ms, "
            f"{self.restarts} restarts of all replicas, {self.rotations} certificates"
        )


def pod(claim: str, number: int) -> Json:
    """A pod with the label, that any node may run."""
    container = {
        "name": "main",
        "image": "none",
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
    }
    volume = {"name": "cache", "persistentVolumeClaim": {"claimName": claim}}
    meta = {"name": f"load-{number}", "labels": {LABEL_MUTATION: "true"}}
    spec = {"containers": [container], "volumes": [volume]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


class Load:
    """Asks for pods at a steady rate, and notes how each request went."""

    def __init__(self, access: Access, namespace: str, claim: str) -> None:
        self.result = Result()
        self._access = access
        self._url = f"{access.server}{path('Pod', namespace)}?dryRun=All"
        self._claim = claim

    async def run(self, count: int, rate: float) -> None:
        """Send ``count`` requests, ``rate`` of them a second."""
        headers = {"Authorization": f"Bearer {self._access.token()}"}
        connector = aiohttp.TCPConnector(ssl=self._access.tls(), limit=64)
        async with (
            aiohttp.ClientSession(connector=connector, headers=headers) as session,
            asyncio.TaskGroup() as group,
        ):
            begun = time.monotonic()
            for number in range(count):
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
                group.create_task(self._ask(session, number))

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        begun = time.monotonic()
        async with session.post(self._url, json=pod(self._claim, number)) as reply:
            said = await reply.json()
        if reply.status == 201 and "initContainers" in said["spec"]:
            self.result.seconds.append(time.monotonic() - begun)
        else:
            self.result.failures.append(json.dumps(said)[:500])


async def rotate(access: Access, times: int, done: Callable[[], None]) -> None:
    """Give the webhook a new certificate so many times, as the operator does when one is due."""
    async with Client(access) as client:
        keeper = certificate.Certificate(client, NAMESPACE, lambda: True)
        for _ in range(times):
            with mock.patch.object(certificate, "due", return_value=True):
                await keeper.look()
            done()


async def restart(kubeconfig: Path, times: int, done: Callable[[], None]) -> None:
    """Restart all replicas so many times, as an upgrade does."""
    deployment = ("-n", NAMESPACE, "deployment/gkm-webhook")
    for _ in range(times):
        for command in (("restart",), ("status", "--timeout=120s")):
            arguments = ("rollout", command[0], *deployment, *command[1:])
            await asyncio.to_thread(kubectl, kubeconfig, *arguments)
        done()


@dataclass(frozen=True)
class Plan:
    """How much of what."""

    count: int
    rate: float
    rotations: int
    restarts: int


async def measure(kubeconfig: Path, namespace: str, claim: str, plan: Plan) -> Result:
    """Load, restarts and rotations at once, until all are done; the load goes on till then."""
    access = from_kubeconfig(kubeconfig)
    load = Load(access, namespace, claim)
    result = load.result

    def rotated() -> None:
        result.rotations += 1

    def restarted() -> None:
        result.restarts += 1

    await load.run(20, plan.rate)  # connections, and the first look of the webhook
    result.seconds.clear()
    parts: list[Coroutine[Any, Any, None]] = [
        load.run(plan.count, plan.rate),
        rotate(access, plan.rotations, rotated),
        restart(kubeconfig, plan.restarts, restarted),
    ]
    await asyncio.gather(*parts)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--claim", required=True, help="name of a shared Cache of the namespace")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--rotations", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=3)
    options = parser.parse_args()
    plan = Plan(options.count, options.rate, options.rotations, options.restarts)
    try:
        result = asyncio.run(measure(options.kubeconfig, options.namespace, options.claim, plan))
    except subprocess.CalledProcessError as error:
        sys.exit(str(error))
    print(result)
    for failure in result.failures[:5]:
        print(failure)
    return bool(result.failures)


if __name__ == "__main__":
    sys.exit(main())
