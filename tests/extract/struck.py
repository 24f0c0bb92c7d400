"""One extraction that something happens to at one of its system calls.

strace kills the real program, or makes a call of it fail, when it makes this call for the nth time.
The program is forked and stands still until strace is at it, so that calls count from its own first
line on. With ``-f`` each of its threads counts for itself.
"""

import asyncio
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gkm.core.outcome import Outcome
from tests.faults.program import Process, Spawner

_PATIENCE = 30.0
_LOOK = 0.001


@dataclass(frozen=True)
class Strike:
    """What happens at which call: ``what`` in strace's words (``signal=KILL``, ``error=EIO``)."""

    call: str
    nth: int
    what: str = "signal=KILL"

    def __str__(self) -> str:
        return f"{self.what} at {self.call} {self.nth}"


@dataclass(frozen=True)
class Ended:
    """How a run ended; ``code`` is negative for a signal."""

    code: int
    outcome: Outcome | None
    log: str


class Lab:
    """Runs the program on volumes; an async context manager."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder = folder
        self._environment = {"GKM_REGISTRY": json.dumps({"plainHttp": [registry]})}
        self._spawner = Spawner("tests.extract.stopped:main")

    async def __aenter__(self) -> Self:
        await self._spawner.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._spawner.stop()

    async def run(self, arguments: Sequence[str], strike: Strike | None = None) -> Ended:
        """Run the program to its end."""
        options = []
        if strike is not None:
            inject = f"inject={strike.call}:{strike.what}:when={strike.nth}"
            options = ["-f", "-e", f"trace={strike.call}", "-e", inject]
        return await self._run(arguments, options)

    async def calls(self, arguments: Sequence[str]) -> Counter[str]:
        """How often each system call is made: by one thread, the one that makes it most."""
        await self._run(arguments, ["-f"])
        counted: Counter[tuple[str, str]] = Counter()
        for line in (self.folder / "trace").read_text().splitlines():
            thread, _, rest = line.partition(" ")
            name = rest.strip().partition("(")[0]
            if name.isidentifier():  # neither the end of a call that was interrupted nor a signal
                counted[thread, name] += 1
        most: Counter[str] = Counter()
        for (_, name), count in counted.items():
            most[name] = max(most[name], count)
        return most

    async def _run(self, arguments: Sequence[str], options: Sequence[str]) -> Ended:
        log, said = self.folder / "log", self.folder / "said"
        log.write_bytes(b"")
        said.write_bytes(b"")
        process = await self._spawner.spawn(
            [*arguments, "--termination-log", str(said)], self._environment, log
        )
        async with asyncio.timeout(_PATIENCE):
            await _until(process, "State:\tT")
            tracer = await self._traced(process, options) if options else None
            process.signal(signal.SIGCONT)
            code = await process.ended
            if tracer is not None:
                await tracer.wait()
        return Ended(code, Outcome.parse(said.read_text()), log.read_text())

    async def _traced(self, process: Process, options: Sequence[str]) -> asyncio.subprocess.Process:
        trace = ["strace", "-qq", "-o", str(self.folder / "trace"), *options]
        tracer = await asyncio.create_subprocess_exec(*trace, "-p", str(process.pid))
        await _until(process, f"TracerPid:\t{tracer.pid}")
        return tracer


async def _until(process: Process, wanted: str) -> None:
    while wanted not in _status(process.pid):  # noqa: ASYNC110 - the kernel tells nobody
        await asyncio.sleep(_LOOK)


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def fill(volume: Path, template: Path) -> None:
    """Make ``volume`` what ``template`` is, whatever it was."""
    for folder, _, _ in os.walk(volume):
        Path(folder).chmod(0o755)
    shutil.rmtree(volume, ignore_errors=True)
    shutil.copytree(template, volume, symlinks=True)


def tree(volume: Path) -> dict[str, bytes | None]:
    """Everything on a volume but what belongs to nobody; None for a directory."""
    return {
        str(path.relative_to(volume)): None if path.is_dir() else path.read_bytes()
        for path in sorted(volume.rglob("*"))
        if path.name != "lost+found"
    }
