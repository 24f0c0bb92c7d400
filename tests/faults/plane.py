"""The control plane's own faults: its programs are killed, stopped and started again."""

import asyncio

from tests.cluster import components
from tests.cluster.control import api_ready
from tests.faults.stack import Stack, say

SERVER, ETCD = "kube-apiserver", "etcd"


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
