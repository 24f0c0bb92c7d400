"""A container of GKM's Jobs as a process of this machine: the real program on the real folder."""

import asyncio
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.program import Process, Spawner

_LONGEST = 60.0


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    code: int
    message: str


@dataclass
class Runner:
    """Runs the Jobs' containers of one node."""

    spawner: Spawner
    at_work: set[Process] = field(default_factory=set)

    async def run(self, container: dict[str, Any], volume: Path, scratch: Path) -> Ended:
        """Run the container's arguments with its mount replaced by ``volume``.

        Cancelling it ends the program as a kubelet does, and waits for its end.
        """
        log = scratch.with_suffix(".termination")
        log.touch()
        mount = container["volumeMounts"][0]["mountPath"]
        _, *arguments = (str(volume) if word == mount else word for word in container["args"])
        given = {item["name"]: item.get("value", "") for item in container.get("env") or ()}
        process = await self.spawner.spawn(
            [*arguments, "--termination-log", str(log)], given, scratch.with_suffix(".log")
        )
        self.at_work.add(process)
        try:
            await asyncio.wait({process.ended}, timeout=_LONGEST)
        finally:
            process.signal(signal.SIGTERM)
            code = await process.ended
            self.at_work.discard(process)
            message = log.read_text()
            log.unlink()
            scratch.with_suffix(".log").unlink()
        return Ended(code, message)

    def kill(self) -> None:
        """SIGKILL whatever runs."""
        for process in self.at_work:
            process.signal(signal.SIGKILL)
