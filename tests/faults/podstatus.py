"""What a node says of its pods."""

from datetime import UTC, datetime
from typing import Any

from gkm.kube.client import path
from tests.faults.recorder import POD, Admin
from tests.faults.runner import Ended

Json = dict[str, Any]


async def running(client: Admin, pod: Json, *, ready: bool = False) -> None:
    """Say that a pod runs; ``ready``: and that its probes say so, too."""
    at = now()
    told: Json = {"type": "Ready", "status": "True", "lastTransitionTime": at}
    more: Json = {"conditions": [told]} if ready else {}
    await _report(client, pod, "Running", {"running": {"startedAt": at}}, more)


async def over(client: Admin, pod: Json, ended: Ended) -> None:
    """Say how a pod ended."""
    well, at = ended.code == 0, now()
    terminated = {
        "exitCode": ended.code if ended.code >= 0 else 128 - ended.code,
        "reason": "Completed" if well else "Error",
        "message": ended.message,
        "startedAt": at,
        "finishedAt": at,
    }
    await _report(client, pod, "Succeeded" if well else "Failed", {"terminated": terminated}, {})


async def _report(client: Admin, pod: Json, phase: str, state: Json, more: Json) -> None:
    container = pod["spec"]["containers"][0]
    told = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": phase == "Running",
        "restartCount": 0,
        "state": state,
    }
    status = {"phase": phase, "startTime": now(), "containerStatuses": [told], **more}
    body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
    await client.send("PATCH", place(pod["metadata"], "status"), body, patch=True)


def place(meta: Json, subresource: str = "") -> str:
    """URL path of a pod, by its metadata."""
    return path(POD, meta["namespace"], meta["name"], subresource)


def now() -> str:
    """The time, as the API server writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
