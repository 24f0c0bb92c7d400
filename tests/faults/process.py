"""The operator as a process that can be killed, with a successor that is ready to go.

Starting Python and importing kopf takes a second or two of CPU, and no write is made in it: the
successor has that behind it and waits for the word, so that a restart costs what counts.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.stage import ROOT

_END_SECONDS = 15.0


class Operator:
    """At most one running operator behind one proxy, and its successor."""

    def __init__(self, name: str, log: Path, environment: dict[str, str]) -> None:
        self.killed = asyncio.Event()
        self.log = log
        self._name, self.environment = name, environment
        self._running: asyncio.subprocess.Process | None = None
        self._next: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Let the successor run, and prepare the one after it."""
        ready = self._next or await self._prepare()
        if ready.stdin is not None:
            ready.stdin.write(b"go\n")
            await ready.stdin.drain()
        self._running, self._next = ready, None
        self.killed.clear()
        self._next = await self._prepare()

    def kill(self) -> None:
        """SIGKILL the running operator."""
        if self._running is not None:
            with suppress(ProcessLookupError):
                self._running.send_signal(signal.SIGKILL)
        self.killed.set()

    async def gone(self) -> None:
        """Wait until the killed operator is no more."""
        if self._running is not None:
            await self._running.wait()
            self._running = None

    @property
    def exit_code(self) -> int | None:
        """How the running operator ended by itself; None while it runs."""
        return self._running.returncode if self._running is not None else None

    async def stop(self) -> None:
        """End both, as a Deployment does."""
        for process in (self._running, self._next):
            if process is None or process.returncode is not None:
                continue
            process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _END_SECONDS)
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._running = self._next = None

    async def _prepare(self) -> asyncio.subprocess.Process:
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.operator_main"),
                cwd=ROOT,
                env={**os.environ, **self.environment, "GKM_IDENTITY": self._name},
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
