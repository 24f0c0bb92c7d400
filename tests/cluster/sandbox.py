"""The namespaces that hold one cluster, and the programs in them.

A cluster is one process, network and mount namespace. That makes its end simple: when the first
process is killed the kernel kills every other one, containers included, and with them go the
bridge, the veths, the iptables rules and the mounts. No list of processes has to be right for that.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster.report import ClusterError

# The kubelet sets these for the whole machine, kernel.panic_on_oops among them: let it set copies.
_SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# SIGCHLD is ignored so that orphans (shims, containers) do not stay as zombies of a first process
# that never waits. /run is private: lock files and sockets of the cluster do not mix with ours.
_FIRST = f"""
mount -t tmpfs -o mode=755 tmpfs /run
for name in {" ".join(_SYSCTLS)}; do
  mkdir -p "$(dirname "/run/sysctl/$name")"
  cat "/proc/sys/$name" > "/run/sysctl/$name" && mount --bind "/run/sysctl/$name" "/proc/sys/$name"
done
exec env --ignore-signal=CHLD sleep infinity
"""


class Sandbox:
    """The namespaces of the cluster whose state is in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self._record = folder / "sandbox.stat"

    def start(self) -> None:
        """Make the namespaces, empty but for a first process that sleeps."""
        self.logs.mkdir(parents=True, exist_ok=True)
        # The record is written by the very process that it is about, before it becomes anything
        # else: there is no moment at which it runs and `stop` would not find it.
        script = (
            'cat /proc/$$/stat > "$0" && exec unshare --net --pid --mount --fork --kill-child '
            '--mount-proc sh -c "$1"'
        )
        with (self.logs / "sandbox.log").open("wb") as log:
            subprocess.run(
                ["setsid", "--fork", "sh", "-c", script, str(self._record), _FIRST],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
            )
        ready = "grep -q sleep /proc/1/comm"  # the last thing that the first process becomes
        for _ in range(100):
            if self.pid and self.succeeds("sh", "-c", ready):
                return
            time.sleep(0.05)
        raise ClusterError(f"cannot make namespaces: {self.log_tail('sandbox')}")

    @property
    def pid(self) -> int | None:
        """The process that holds the namespaces; never another one that got its number later."""
        try:
            recorded = parse_stat(self._record.read_text())
        except (OSError, ValueError, IndexError):
            return None
        return recorded[0] if _identity(recorded[0]) == recorded else None

    def stop(self) -> None:
        """Kill everything in the sandbox, and wait until it is gone."""
        pid = self.pid
        if pid is None:
            return
        members = _members(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while members := [member for member in members if _identity(member[0]) == member]:
            if time.monotonic() > deadline:
                raise ClusterError(f"processes of {self.folder.name} do not end: {members}")
            time.sleep(0.05)

    def run(self, *command: str, stdin: Path | None = None) -> str:
        """Run a command in the sandbox to its end and return its output."""
        done = self._enter(*command, stdin=stdin)
        if done.returncode:
            raise ClusterError(f"{shlex.join(command)}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def succeeds(self, *command: str) -> bool:
        """Whether a command in the sandbox ends well."""
        return self._enter(*command).returncode == 0

    def spawn(self, name: str, command: Sequence[str]) -> int:
        """Start a program that outlives us; returns its number inside the sandbox."""
        log = self.logs / f"{name}.log"
        script = 'log=$0; "$@" >"$log" 2>&1 </dev/null & echo $!'
        return int(self.run("setsid", "--wait", "sh", "-c", script, str(log), *command))

    def wait(self, name: str, pid: int, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until a program is ready; say why if it dies before that."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.has(pid):
                raise ClusterError(f"{name} died; the end of its log:\n{self.log_tail(name)}")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{name} is not ready after {seconds:.0f} s; the end of its log:\n"
                    f"{self.log_tail(name)}"
                )
            time.sleep(0.1)

    def has(self, pid: int) -> bool:
        """Whether a program that `spawn` started still runs."""
        return self.succeeds("kill", "-0", str(pid))

    def log_tail(self, name: str, lines: int = 15) -> str:
        """Return the end of a program's log."""
        file = self.logs / f"{name}.log"
        text = file.read_text(errors="replace") if file.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _enter(self, *command: str, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        pid = self.pid
        if pid is None:
            raise ClusterError(f"cluster {self.folder.name} does not run")
        namespaces = f"/proc/{pid}/ns"
        with (stdin or Path(os.devnull)).open("rb") as source:
            return subprocess.run(
                [
                    "nsenter",
                    f"--net={namespaces}/net",
                    f"--mount={namespaces}/mnt",
                    f"--pid={namespaces}/pid_for_children",
                    *command,
                ],
                stdin=source,
                capture_output=True,
                text=True,
                check=False,
            )


def parse_stat(text: str) -> tuple[int, str]:
    """Return a process's number and start time; its name may hold blanks and brackets."""
    head, _, rest = text.rpartition(")")
    return int(head.split()[0]), rest.split()[19]


def _identity(pid: int) -> tuple[int, str] | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (OSError, ValueError, IndexError):
        return None


def _members(holder: int) -> list[tuple[int, str]]:
    """Every process that is in the sandbox's process namespace, and the one that holds it."""
    inside = Path(f"/proc/{holder}/ns/pid_for_children").readlink()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            identity = _identity(int(folder.name))
            if identity and (folder / "ns" / "pid_for_children").readlink() == inside:
                found.append(identity)
    return found
