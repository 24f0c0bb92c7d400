"""GKM's programs as processes that can be killed, forked from one that has its imports done."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.stage import ROOT

_END_SECONDS = 15.0


class Process:
    """One process of a program."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.ended.result() if self.ended.done() else None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Spawner:
    """Makes processes of one program, ``module:function``, in this environment and some more."""

    def __init__(self, program: str, more: Mapping[str, str] | None = None) -> None:
        self._program = program
        self._environment = {**os.environ, **(more or {})}
        self._asked: deque[asyncio.Future[Process]] = deque()
        self._processes: dict[int, Process] = {}

    async def start(self) -> None:
        """Import the program; what is asked for meanwhile waits."""
        self._server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.forkserver", self._program),
            cwd=ROOT,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read())

    async def spawn(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> Process:
        """Start one process."""
        request = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        asked: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        if self._server.stdin is None:
            raise RuntimeError("the fork server has no standard input")
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        return await asyncio.shield(asked)

    async def stop(self) -> None:
        """End all of them."""
        self._server.kill()
        await self._server.wait()
        await self._reader

    async def _read(self) -> None:
        if self._server.stdout is None:
            raise RuntimeError("the fork server has no standard output")
        async for line in self._server.stdout:
            said = json.loads(line)
            if "code" in said:
                self._processes.pop(said["pid"]).ended.set_result(said["code"])
            else:
                self._processes[said["pid"]] = process = Process(said["pid"])
                self._asked.popleft().set_result(process)


class Program:
    """At most one running process of a program."""

    def __init__(self, name: str, spawner: Spawner, log: Path) -> None:
        self.name, self.log = name, log
        self.environment: dict[str, str] = {}
        self.killed = asyncio.Event()
        self.asked = False
        """Whether it was asked to end (SIGTERM), not killed."""
        self._spawner = spawner
        self._running: Process | None = None

    async def start(self) -> None:
        """Run it."""
        environment = {**self.environment, "GKM_IDENTITY": self.name}
        self._running = await self._spawner.spawn([], environment, self.log)
        self.killed.clear()
        self.asked = False

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
        ended = self._running.ended
        await asyncio.wait({ended}, timeout=_END_SECONDS)
        self._signal(signal.SIGKILL)
        code = await ended
        self._running = None
        return code

    @property
    def exit_code(self) -> int | None:
        """How the running process ended by itself; None while it runs."""
        return self._running.code if self._running is not None else None

    async def stop(self) -> None:
        """End it for good."""
        self.kill()
        await self.gone()

    def _signal(self, number: signal.Signals) -> None:
        if self._running is not None:
            self._running.signal(number)
