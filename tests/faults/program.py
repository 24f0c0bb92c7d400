"""One of GKM's programs as a process that can be killed, with a successor that is ready to go.

Starting Python and importing what the program needs takes a second or two of CPU, and no write is
made in it: the successor has that behind it and waits for the word, so that a restart costs what
counts.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.stage import ROOT

_END_SECONDS = 15.0


class Program:
    """At most one running process of a program, and its successor.

    ``module`` is what is run; ``spare``: whether a successor is kept ready.
    """

    def __init__(self, name: str, module: str, log: Path, *, spare: bool = True) -> None:
        self.name, self.log = name, log
        self.environment: dict[str, str] = {}
        self.killed = asyncio.Event()
        self.asked = False
        """Whether it was asked to end (SIGTERM), not killed."""
        self._module, self._spare = module, spare
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
        self.asked = False
        if self._spare:
            self._next = await self._prepare()

    def kill(self) -> None:
        """SIGKILL the running process."""
        self._signal(signal.SIGKILL)
        self.killed.set()

    def terminate(self) -> None:
        """SIGTERM, as a kubelet sends it first."""
        self._signal(signal.SIGTERM)
        self.asked = True
        self.killed.set()

    def freeze(self) -> None:
        """SIGSTOP: the process is there, and does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    async def gone(self) -> int:
        """Wait until the process that was killed or asked is no more; its exit code."""
        if self._running is None:
            return 0
        with suppress(TimeoutError):
            await asyncio.wait_for(self._running.wait(), _END_SECONDS)
        if self._running.returncode is None:
            self._signal(signal.SIGKILL)
        code = await self._running.wait()
        self._running = None
        return code

    @property
    def exit_code(self) -> int | None:
        """How the running process ended by itself; None while it runs."""
        return self._running.returncode if self._running is not None else None

    async def stop(self) -> None:
        """End both for good."""
        for process in (self._running, self._next):
            if process is not None and process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._running = self._next = None

    def _signal(self, number: signal.Signals) -> None:
        if self._running is not None:
            with suppress(ProcessLookupError):
                self._running.send_signal(number)

    async def _prepare(self) -> asyncio.subprocess.Process:
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._module),
                cwd=ROOT,
                env={**os.environ, **self.environment, "GKM_IDENTITY": self.name},
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
