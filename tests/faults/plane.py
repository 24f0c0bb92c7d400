"""The control plane's own faults: its programs are killed, stopped and started again."""

import asyncio
import itertools
import time
from typing import Any

from gkm.kube.client import path
from tests.cluster import components
from tests.cluster.control import api_ready
from tests.faults.recorder import CLAIM, JOB, POD, VOLUME
from tests.faults.stack import Stack, say

Json = dict[str, Any]
SERVER, ETCD = "kube-apiserver", "etcd"
_numbers = itertools.count(1)


async def signalled(stack: Stack, program: str, signal: str) -> None:
    """Send a signal to one program of the control plane."""
    command = f"kill -{signal} $(pidof {program})"
    await asyncio.to_thread(stack.cluster._sandbox.run, "sh", "-c", command)


async def started(stack: Stack, program: str) -> None:
    """Start a program again, as it was started first; return when the API server serves."""
    control = stack.cluster._control
    flags = control._apiserver() if program == SERVER else control._etcd()
    binary = str(components.program(program, say))
    await asyncio.to_thread(stack.cluster._sandbox.spawn, program, [binary, *flags])
    await serving(stack)


async def serving(stack: Stack, seconds: float = 60) -> None:
    """Wait until the API server says that it is ready."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(api_ready, stack.cluster._control.server):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def recovered(stack: Stack, namespace: str, seconds: float = 180) -> float:
    """Wait until the controller manager does its work again; how many seconds that takes.

    Its watches stay away for up to a minute after an API server that was away for seconds (the
    back-off of client-go's reflectors). Until it binds a volume, gives a Job its pod and clears a
    deleted Job away, nothing that anybody asks of Kubernetes comes about.
    """
    name, begun = f"probe-{next(_numbers)}", time.monotonic()
    bodies = _probe(namespace, name)
    for kind, body in bodies.items():
        await stack.client.create(kind, "" if kind == VOLUME else namespace, body)
    find = stack.recorder.find

    def bound() -> bool:
        claim = find(CLAIM, namespace, name) or {}
        return bool((claim.get("status") or {}).get("phase") == "Bound")

    def begun_by_job() -> bool:
        owned = {"kind": JOB, "name": name}
        owners = [pod["metadata"].get("ownerReferences") or () for pod in stack.recorder.all(POD)]
        return any(owned.items() <= one.items() for every in owners for one in every)

    async with asyncio.timeout(seconds):
        while not (bound() and begun_by_job()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        options = {"propagationPolicy": "Foreground"}
        await stack.client.send("DELETE", path(JOB, namespace, name), options)
        while find(JOB, namespace, name):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    took = time.monotonic() - begun
    for kind in (CLAIM, VOLUME):
        await stack.client.send("DELETE", path(kind, "" if kind == VOLUME else namespace, name))
    return took


def _probe(namespace: str, name: str) -> dict[str, Json]:
    """A volume, its claim, and a Job whose pod no node takes."""
    modes = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    volume = modes | {"capacity": {"storage": "1Mi"}, "hostPath": {"path": f"/{name}"}}
    volume |= {"claimRef": {"namespace": namespace, "name": name}}
    claim = modes | {"volumeName": name, "resources": {"requests": {"storage": "1Mi"}}}
    container = {"name": "main", "image": "example.com/probe:faults"}
    pod = {"restartPolicy": "Never", "containers": [container]}
    specs: dict[str, Json] = {VOLUME: volume, CLAIM: claim, JOB: {"template": {"spec": pod}}}
    return {kind: {"metadata": {"name": name}, "spec": spec} for kind, spec in specs.items()}
