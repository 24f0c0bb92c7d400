"""The cgroup folder under which a node's kubelet puts its pods.

Namespaces do not remove cgroups: they are the one thing of a cluster that has to be swept by hand.
"""

import time
from pathlib import Path

from tests.cluster.report import ClusterError


def name(node: str) -> str:
    """Return the cgroup of a node, the kubelet's `cgroupRoot`."""
    return f"/gkm-{node}"


def make(node: str) -> None:
    """Make a node's cgroup in every hierarchy, which the kubelet expects."""
    for folder in _folders(node):
        folder.mkdir(exist_ok=True)


def remove(node: str) -> None:
    """Remove a node's cgroup; its processes are dead, but the kernel may still be at it."""
    for folder in _folders(node):
        deadline = time.monotonic() + 10
        while folder.is_dir() and not _removed(folder):
            if time.monotonic() > deadline:
                raise ClusterError(f"cgroup {folder} cannot be removed: it still has processes")
            time.sleep(0.05)


def _folders(node: str) -> list[Path]:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [
        Path(target) / name(node).lstrip("/")
        for _, target, kind, *_ in mounts
        if kind in ("cgroup", "cgroup2")
    ]


def _removed(folder: Path) -> bool:
    # Children first. rmtree does not do: the files of a cgroup cannot be unlinked.
    for child in sorted(folder.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
        if not _rmdir(child):
            return False
    return _rmdir(folder)


def _rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
