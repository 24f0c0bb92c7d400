"""A container of GKM's Jobs as a process of this machine: the real program on the real folder."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stage import ROOT

_LONGEST = 60.0


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    code: int
    message: str


async def run(
    container: dict[str, Any],
    volume: Path,
    scratch: Path,
    at_work: set[asyncio.subprocess.Process],
) -> Ended:
    """Run the container's arguments with its mount replaced by ``volume``.

    Cancelling it ends the program as a kubelet does, and waits for its end; while it runs it is in
    ``at_work``.
    """
    log = scratch.with_suffix(".termination")
    log.touch()
    mount = container["volumeMounts"][0]["mountPath"]
    arguments = [str(volume) if word == mount else word for word in container["args"]]
    given = {item["name"]: item.get("value", "") for item in container.get("env") or ()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gkm", *arguments, "--termination-log", str(log)),
        cwd=ROOT,
        env={**os.environ, **given},
        stderr=asyncio.subprocess.DEVNULL,
    )
    at_work.add(process)
    try:
        code = await asyncio.wait_for(process.wait(), _LONGEST)
    finally:
        at_work.discard(process)
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()
        message = log.read_text()
        log.unlink()
    return Ended(code, message)
