"""One run of ``gkm extract`` as a Job runs it, and everything around it that must not change."""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gkm.core.outcome import Outcome
from tests.images import digest
from tests.stage import ROOT

SECONDS = 300
"""A run that takes longer is killed."""
_TRACE = ("strace", "-f", "-qq", "-y", "-s", "4096", "--seccomp-bpf")
_CALLS = "trace=%file,fchmod,fchown,ftruncate,mknodat"
Snapshot = dict[str, tuple[object, ...]]


@dataclass(frozen=True)
class Ended:
    """How a run ended, and what it cost: ``rss`` in KiB at its peak."""

    code: int
    rss: int
    cpu: float
    seconds: float
    output: str
    outcome: Outcome | None


class Launcher:
    """The process that starts the runs; use it in a ``with`` block."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("launcher.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run one program to its end."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


@dataclass
class Enclosure:
    """A folder with a volume, and around it what a hostile archive would like to reach."""

    root: Path
    launcher: Launcher
    registry: str
    trace: bool = False
    _before: Snapshot = field(default_factory=dict)

    def __post_init__(self) -> None:
        inside = self.root / "inside"
        for name in ("home/.ssh", "tmp", "outside", "etc", "volume"):
            (inside / name).mkdir(parents=True)
        for name in ("home/.ssh/authorized_keys", "outside/keep", "etc/passwd", "x", "evil"):
            (inside / name).write_text(f"mine: {name}")
        (inside / "outside" / "bait").symlink_to("../volume")
        (inside / "outside" / "chain").symlink_to("keep")
        (inside / "outside" / "keep").chmod(0o640)
        os.utime(inside / "etc" / "passwd", (1, 1))

    def begin(self) -> None:
        """Put a file of somebody else's on the volume; from now on nothing may change."""
        (self.volume / "lost+found").mkdir()
        (self.volume / "lost+found" / "keep").write_text("mine, too")
        self._before = self._around()

    @property
    def volume(self) -> Path:
        return self.root / "inside" / "volume"

    def extract(self, reference: str, *options: str) -> Ended:
        """Run the program; what it did outside the volume fails the test."""
        log, said = self.root / "termination-log", self.root / "output"
        log.write_text("")
        command = [sys.executable, "-m", "gkm", "extract", reference, str(self.volume)]
        command += ["--mount-path", "/cache", "--termination-log", str(log), *options]
        traced = self.root / "trace"
        if self.trace:
            command = [*_TRACE, "-e", _CALLS, "-o", str(traced), *command]
        inside = self.root / "inside"
        spent = self.launcher.run(
            {
                "command": command,
                "folder": str(inside),
                "log": str(said),
                "seconds": SECONDS,
                "environment": {
                    "PATH": os.environ["PATH"],
                    "HOME": str(inside / "home"),
                    "TMPDIR": str(inside / "tmp"),
                    "PYTHONPATH": str(ROOT),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "GKM_REGISTRY": json.dumps({"plainHttp": [self.registry]}),
                },
            }
        )
        output, outcome = said.read_text(), Outcome.parse(log.read_text())
        ended = Ended(**spent, output=output, outcome=outcome)
        assert self._around() == self._before
        assert foreign(self.volume) == []
        if self.trace:
            assert outside(traced.read_text().splitlines(), self.volume, log) == []
        return ended

    @property
    def complete(self) -> bool:
        return (self.volume / ".gkm" / "complete").exists()

    def times(self) -> list[float]:
        """When each thing in the cache was last changed, by its own account."""
        return [path.lstat().st_mtime for path in self.volume.rglob("*")]

    def tree(self) -> dict[str, str | None]:
        """The cache on the volume: files with the digest of their content, directories without."""
        return {
            name: digest(path.read_bytes()) if path.is_file() else None
            for path in sorted(self.volume.rglob("*"))
            if (name := str(path.relative_to(self.volume))).split("/")[0]
            not in (".gkm", "lost+found")
        }

    def _around(self) -> Snapshot:
        """Everything but what belongs to GKM: content, mode, inode, times, number of links."""
        found: Snapshot = {}
        for folder, directories, files in os.walk(self.root / "inside"):
            here = Path(folder)
            if here == self.volume:
                directories[:] = ["lost+found"]
                continue
            for path in (here, *(here / name for name in (*directories, *files))):
                if path != self.volume:
                    found[str(path)] = _state(path)
        return found


def _state(path: Path) -> tuple[object, ...]:
    facts = path.lstat()
    content: object = ""
    if stat.S_ISLNK(facts.st_mode):
        content = path.readlink()
    elif stat.S_ISREG(facts.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return (
        *(facts.st_mode, facts.st_ino, facts.st_mtime_ns, facts.st_nlink, facts.st_uid),
        content,
    )


def foreign(volume: Path) -> list[str]:
    """What lies on the volume and may not, whatever the archive says."""
    found = []
    for folder, directories, files in os.walk(volume):
        for name in (*directories, *files):
            path = Path(folder) / name
            facts = path.lstat()
            mode = stat.S_IMODE(facts.st_mode)
            if stat.S_ISDIR(facts.st_mode):
                fine = not mode & ~0o755
            else:
                fine = stat.S_ISREG(facts.st_mode) and not mode & ~0o644 and facts.st_nlink == 1
            if not fine or facts.st_uid != os.geteuid() or os.listxattr(path):
                found.append(f"{path} {oct(facts.st_mode)}")
    return found


_CALL = re.compile(r"^\d+ +(\w+)\((.*)$")
_PLACE = re.compile(r"(?:AT_FDCWD|\d+)<([^>]*)>(?:, \"([^\"]*)\")?")
_RESULT = re.compile(r"\) += .*$")
_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
_CHANGING = re.compile(
    r"^(mkdir|mknod|unlink|rmdir|rename|symlink|link|chmod|fchmod|chown|lchown|fchown|truncate"
    r"|ftruncate|creat|utim|futim|setxattr|lsetxattr|removexattr|mount)"
)


def outside(lines: Sequence[str], volume: Path, log: Path) -> list[str]:
    """The system calls of a trace that change, or open for writing, what is not on the volume."""
    found = []
    for line in lines:
        match = _CALL.match(line)
        if match is None:
            continue
        call, arguments = match.groups()
        opened = call in ("open", "openat", "openat2") and _WRITING.search(arguments)
        if (opened or _CHANGING.match(call)) and not _allowed(arguments, volume, log):
            found.append(line)
    return found


def _allowed(arguments: str, volume: Path, log: Path) -> bool:
    if arguments.startswith(f'AT_FDCWD<{volume.parent}>, "{log}"'):
        return True
    places = _PLACE.findall(_RESULT.sub("", arguments))
    return bool(places) and all(
        Path(folder).is_relative_to(volume) and "/" not in name and name not in (".", "..")
        for folder, name in places
    )
