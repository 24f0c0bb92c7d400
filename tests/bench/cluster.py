"""How long a Cache takes on a real cluster, seen from outside: `make bench-cluster`.

Prints medians and extremes; asserts nothing but that the status was never ahead of the truth.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gkm.api.names import LABEL_ROLE
from gkm.kube.access import from_kubeconfig
from gkm.kube.client import Client
from tests import stage as staging
from tests.bench.watcher import Watcher, watching
from tests.cluster.engine import down
from tests.stage import Stage

Json = dict[str, Any]
NAME = "gkm-bench"
STORAGE: dict[str, Json] = {"made by GKM": {}, "provisioned": {"storageClassName": "shared"}}
MANY = 20


@dataclass
class Table:
    """Seconds by what was measured."""

    rows: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, seconds: float) -> None:
        self.rows.setdefault(what, []).append(seconds)

    def show(self) -> None:
        print(f"\n{'seconds':58} {'median':>7} {'least':>7} {'most':>7} runs")
        for what, found in self.rows.items():
            middle = statistics.median(found)
            print(f"{what:58} {middle:7.2f} {min(found):7.2f} {max(found):7.2f} {len(found):4}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    options = parser.parse_args()
    stage = staging.our_own(NAME, 2, print)
    try:
        staging.install(stage, print)
        with tempfile.TemporaryDirectory() as folder:
            staging.compile_kernels(Path(folder) / "cache")
            staging.pack_and_push(stage, Path(folder) / "cache", "v1")
        asyncio.run(_measure(stage, options.runs)).show()
    finally:
        if not options.keep:
            down(NAME, print)
    return 0


async def _measure(stage: Stage, runs: int) -> Table:
    table = Table()
    async with Client(from_kubeconfig(stage.kubeconfig)) as client:
        for storage, spec in STORAGE.items():
            for number in range(runs):
                bench = Bench(stage, client, table, storage, spec)
                await bench.one(f"one-{number}", waiting=False)
                await bench.one(f"pod-{number}", waiting=True)
                await bench.many(f"many-{number}")
                print(f"{storage}: run {number + 1} of {runs}")
    return table


@dataclass
class Bench:
    """One storage's measurements, each in a namespace of its own."""

    stage: Stage
    client: Client
    table: Table
    storage: str
    spec: Json

    async def one(self, run: str, *, waiting: bool) -> None:
        """One Cache; with a pod that waits for it, or without."""
        namespace = await self._namespace(run)
        async with watching(self.client) as watcher:
            if waiting:
                await self.client.create("Pod", namespace, self._pod())
                await asyncio.sleep(1)
            started = time.monotonic()
            await self._create(namespace, "kernels")
            if waiting:
                running = await watcher.first("Pod", _runs)
                self._add("apply to a waiting pod Running", running - started)
            else:
                await self._phases(watcher, started)
        await self._remove(namespace)

    async def many(self, run: str) -> None:
        """Many Caches at once, until every claim is bound and every status says so."""
        namespace = await self._namespace(run)
        async with watching(self.client) as watcher:
            started = time.monotonic()
            await asyncio.gather(*(self._create(namespace, f"c{n}") for n in range(MANY)))
            told = await watcher.first("GKMCache", _extracted, MANY)
            true = await watcher.first("PersistentVolumeClaim", _serves, MANY)
        self._add(f"{MANY} at once until all truly are Extracted", max(told, true) - started)
        await self._remove(namespace)

    async def _phases(self, watcher: Watcher, started: float) -> None:
        told = await watcher.first("GKMCache", _extracted)
        claim = await watcher.first("PersistentVolumeClaim", lambda c: _role(c) == "serving")
        bound = await watcher.first("PersistentVolumeClaim", _serves)
        staging = await watcher.first("PersistentVolumeClaim", lambda c: _role(c) == "staging")
        held = await watcher.first("PersistentVolumeClaim", _holds_staging)
        made = await watcher.first("Job", lambda _: True)
        ended = await watcher.first("Pod", lambda pod: _phase(pod) == "Succeeded")
        if told < bound:
            sys.exit("the status was ahead of the truth")
        self._add("apply to Extracted", told - started)
        self._add("  of which the Job, made to its pod ended", ended - made)
        if not self.spec:  # a provisioner's volume comes when it comes
            self._add("  of which staging claim made to Bound", held - staging)
        self._add("  of which serving claim made to Bound", bound - claim)

    def _add(self, what: str, seconds: float) -> None:
        self.table.add(f"{self.storage}: {what}", seconds)

    async def _namespace(self, run: str) -> str:
        name = f"bench-{'made' if not self.spec else 'class'}-{run}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.client.create("Namespace", "", body)
        self.stage.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name)
        return name

    async def _create(self, namespace: str, name: str) -> None:
        spec = {"image": self.stage.cache_reference("v1"), "accessModes": ["ReadOnlyMany"]}
        body = {
            "apiVersion": "gkm.io/v1alpha1",
            "kind": "GKMCache",
            "metadata": {"name": name},
            "spec": spec | self.spec,
        }
        await self.client.create("GKMCache", namespace, body)

    async def _remove(self, namespace: str) -> None:
        self.stage.kubectl("delete", "pods,gkmcaches", "--all", "-n", namespace, "--grace-period=1")
        self.stage.kubectl("delete", "namespace", namespace)
        self.stage.kubectl("wait", "--for=delete", "pv", "--all", "--timeout=60s")

    def _pod(self) -> Json:
        container = {
            "name": "main",
            "image": self.stage.gkm_image,
            "command": ["/opt/gkm/bin/python", "-c", "import time; time.sleep(1000)"],
            "volumeMounts": [{"name": "cache", "mountPath": "/cache", "readOnly": True}],
        }
        claim = {"persistentVolumeClaim": {"claimName": "kernels"}}
        spec = {"containers": [container], "volumes": [{"name": "cache", **claim}]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits"}, "spec": spec}


def _extracted(cache: Json) -> bool:
    conditions = (cache.get("status") or {}).get("conditions") or [{}]
    return bool(conditions[0].get("reason") == "Extracted")


def _role(obj: Json) -> str:
    return str((obj["metadata"].get("labels") or {}).get(LABEL_ROLE, ""))


def _phase(obj: Json) -> str:
    return str((obj.get("status") or {}).get("phase", ""))


def _serves(claim: Json) -> bool:
    return _role(claim) == "serving" and _phase(claim) == "Bound"


def _holds_staging(claim: Json) -> bool:
    return _role(claim) == "staging" and _phase(claim) == "Bound"


def _runs(pod: Json) -> bool:
    return bool(pod["metadata"]["name"] == "waits" and _phase(pod) == "Running")


if __name__ == "__main__":
    sys.exit(main())
