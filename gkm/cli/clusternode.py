"""The GPUs of a cluster's node, as GKM's agent reports them, or else as the node's labels tell.

Asked by ``kubectl``: it logs in wherever its user can, by certificates, plugins and proxies that no
small client of our own would know, and whoever asks about a node has it.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gkm.api.errors import Rejected, Retry
from gkm.core.gpu import Gpu
from gkm.gpus import Inventory
from gkm.gpus.labels import from_labels

_SECONDS: Final = 30.0
_REPORT: Final = "clustergkmcachenodes.gkm.io"
_MISSING: Final = ("(NotFound)", "doesn't have a resource type")


def node_gpus(name: str) -> Inventory:
    """Return the GPUs of a node. Raises Rejected(NoKubectl, NoSuchNode), Retry(NoCluster)."""
    report = _get(_REPORT, name)
    status = (report or {}).get("status") or {}
    if status.get("nodeName"):
        gpus = sorted(_reported(status), key=lambda gpu: gpu.index)
        message = status.get("gpuMessage")
        return Inventory(tuple(gpus), ("GKM's agent",), (message,) if message else (), not message)
    node = _get("nodes", name)
    if node is None:
        raise Rejected("NoSuchNode", f"--node {name}: the cluster has no such node")
    labels = node.get("metadata", {}).get("labels") or {}
    found = from_labels(labels)
    note = "GKM's agent has not reported this node: its labels may be old, or missing"
    return Inventory(found, ("node labels",), (note,), certain=bool(found))


def _reported(status: Mapping[str, Any]) -> Iterator[Gpu]:
    for group in status.get("gpus") or ():
        for index in group.get("ids") or ():
            yield Gpu(
                index,
                group.get("backend", ""),
                group.get("arch", ""),
                group.get("warpSize", 0),
                group.get("gpuType", ""),
                group.get("driverVersion", ""),
            )


def _get(kind: str, name: str) -> dict[str, Any] | None:
    """Return an object; None if there is none, or no such kind."""
    command = [
        "kubectl",
        "get",
        kind,
        "-o",
        "json",
        f"--request-timeout={_SECONDS:.0f}s",
        "--",
        name,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=2 * _SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Retry("NoCluster", "kubectl did not answer in time") from None
    except OSError as error:
        why = f"kubectl: {error.strerror}; --node needs it, --gpu does not"
        raise Rejected("NoKubectl", why) from None
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    if any(word in done.stderr for word in _MISSING):
        return None
    said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
    raise Retry("NoCluster", f"kubectl get {kind} {name}: {said[:300]}")
