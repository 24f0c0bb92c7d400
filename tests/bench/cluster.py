"""How long a Cache takes on a real cluster, seen from outside: `make bench-cluster`.

Prints medians and extremes; asserts nothing but that the status was never ahead of the truth.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gkm.api.names import LABEL_MUTATION, LABEL_ROLE
from gkm.kube.access import from_kubeconfig
from gkm.kube.client import Client
from tests import stage as staging
from tests.bench.watcher import Watcher, watching
from tests.cluster.engine import down
from tests.stage import Stage

Json = dict[str, Any]
NAME = "gkm-bench"
MANY, NODES = 20, 2


@dataclass(frozen=True)
class Storage:
    """One way to store copies, and how many of them a Cache has then."""

    name: str
    spec: Json
    copies: int

    @property
    def provisioned(self) -> bool:
        return "storageClassName" in self.spec


_SHARED, _PER_NODE = {"accessModes": ["ReadOnlyMany"]}, {"accessModes": ["ReadWriteOnce"]}
STORAGE = (
    Storage("shared, made by GKM", _SHARED, 1),
    Storage("shared, provisioned", {**_SHARED, "storageClassName": "shared"}, 1),
    Storage("per node, made by GKM", _PER_NODE, NODES),
    Storage("per node, provisioned", {**_PER_NODE, "storageClassName": "node-local"}, NODES),
)


@dataclass
class Table:
    """Seconds by what was measured."""

    rows: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, seconds: float) -> None:
        self.rows.setdefault(what, []).append(seconds)

    def show(self) -> None:
        print(f"\n{'seconds':68} {'median':>7} {'least':>7} {'most':>7} runs")
        for what, found in self.rows.items():
            middle = statistics.median(found)
            print(f"{what:68} {middle:7.2f} {min(found):7.2f} {max(found):7.2f} {len(found):4}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="storage whose name has this: shared, per node"
    )
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    options = parser.parse_args()
    stage = staging.our_own(NAME, NODES, print)
    try:
        staging.install(stage, print)
        with tempfile.TemporaryDirectory() as folder:
            staging.compile_kernels(Path(folder) / "cache")
            staging.pack_and_push(stage, Path(folder) / "cache", "v1")
        chosen = [storage for storage in STORAGE if options.only in storage.name]
        asyncio.run(_measure(stage, chosen, options.runs)).show()
    finally:
        if not options.keep:
            down(NAME, print)
    return 0


async def _measure(stage: Stage, chosen: Sequence[Storage], runs: int) -> Table:
    table = Table()
    async with Client(from_kubeconfig(stage.kubeconfig)) as client:
        for storage in chosen:
            for number in range(runs):
                bench = Bench(stage, client, table, storage)
                await bench.one(f"one-{number}", waiting=False)
                await bench.one(f"pod-{number}", waiting=True)
                await bench.many(f"many-{number}")
                print(f"{storage.name}: run {number + 1} of {runs}")
    return table


@dataclass
class Bench:
    """One storage's measurements, each in a namespace of its own."""

    stage: Stage
    client: Client
    table: Table
    storage: Storage

    async def one(self, run: str, *, waiting: bool) -> None:
        """One Cache; with pods that wait for it, or without.

        A pod waits for a claim that all nodes share; those of a DaemonSet come with the Cache.
        """
        namespace = await self._namespace(run)
        async with watching(self.client) as watcher:
            if waiting and self.storage.copies == 1:
                await self.client.create("Pod", namespace, self._pod())
                await asyncio.sleep(1)
            started = time.monotonic()
            await self._create(namespace, "kernels")
            if waiting:
                if self.storage.copies > 1:
                    self._apply_daemonset(namespace)
                running = await watcher.first("Pod", _runs, self.storage.copies)
                self._add("apply to every waiting pod Running", running - started)
            else:
                await self._phases(watcher, started)
        await self._remove(namespace)

    async def many(self, run: str) -> None:
        """Many Caches at once, until every claim is bound and every status says so."""
        namespace = await self._namespace(run)
        async with watching(self.client) as watcher:
            started = time.monotonic()
            await asyncio.gather(*(self._create(namespace, f"c{n}") for n in range(MANY)))
            told = await watcher.first("GKMCache", self._extracted, MANY)
            claims = MANY * self.storage.copies
            true = await watcher.first("PersistentVolumeClaim", _serves, claims)
        self._add(f"{MANY} at once until all truly are Extracted", max(told, true) - started)
        await self._remove(namespace)

    async def _phases(self, watcher: Watcher, started: float) -> None:
        copies = self.storage.copies
        told = await watcher.first("GKMCache", self._extracted)
        claim = await watcher.first(
            "PersistentVolumeClaim", lambda c: _role(c) == "serving", copies
        )
        bound = await watcher.first("PersistentVolumeClaim", _serves, copies)
        staging = await watcher.first("PersistentVolumeClaim", lambda c: _role(c) == "staging")
        held = await watcher.first("PersistentVolumeClaim", _holds_staging)
        made = await watcher.first("Job", lambda _: True)
        ended = await watcher.first("Pod", lambda pod: _phase(pod) == "Succeeded")
        if told < bound:
            sys.exit("the status was ahead of the truth")
        self._add("apply to Extracted (every copy)", told - started)
        self._add("  of which the first Job, made to its pod ended", ended - made)
        if not self.storage.provisioned:  # a provisioner's volume comes when it comes
            self._add("  of which staging claim made to Bound", held - staging)
        self._add("  of which the last serving claim, made to Bound", bound - claim)

    def _extracted(self, cache: Json) -> bool:
        """Whether the status says that every copy serves."""
        status = cache.get("status") or {}
        reason = (status.get("conditions") or [{}])[0].get("reason")
        found = (status.get("counts") or {}).get("nodeNotInUseCnt")
        return reason == "Extracted" and (self.storage.copies == 1 or found == NODES)

    def _add(self, what: str, seconds: float) -> None:
        self.table.add(f"{self.storage.name}: {what}", seconds)

    async def _namespace(self, run: str) -> str:
        name = f"bench-{STORAGE.index(self.storage)}-{run}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.client.create("Namespace", "", body)
        self.stage.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name)
        return name

    async def _create(self, namespace: str, name: str) -> None:
        spec = {"image": self.stage.cache_reference("v1")}
        body = {
            "apiVersion": "gkm.io/v1alpha1",
            "kind": "GKMCache",
            "metadata": {"name": name},
            "spec": spec | self.storage.spec,
        }
        await self.client.create("GKMCache", namespace, body)

    async def _remove(self, namespace: str) -> None:
        kinds = "daemonsets,pods,gkmcaches"
        self.stage.kubectl("delete", kinds, "--all", "-n", namespace, "--grace-period=1")
        self.stage.kubectl("delete", "namespace", namespace)
        self.stage.kubectl("wait", "--for=delete", "pv", "--all", "--timeout=60s")

    def _apply_daemonset(self, namespace: str) -> None:
        pod = self._pod()
        labels = {"app": "waits", LABEL_MUTATION: "true"}
        body = {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "waits"},
            "spec": {
                "selector": {"matchLabels": {"app": "waits"}},
                "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
            },
        }
        self.stage.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(body))

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


def _role(obj: Json) -> str:
    return str((obj["metadata"].get("labels") or {}).get(LABEL_ROLE, ""))


def _phase(obj: Json) -> str:
    return str((obj.get("status") or {}).get("phase", ""))


def _serves(claim: Json) -> bool:
    return _role(claim) == "serving" and _phase(claim) == "Bound"


def _holds_staging(claim: Json) -> bool:
    return _role(claim) == "staging" and _phase(claim) == "Bound"


def _runs(pod: Json) -> bool:
    return bool(pod["metadata"]["name"].startswith("waits") and _phase(pod) == "Running")


if __name__ == "__main__":
    sys.exit(main())
