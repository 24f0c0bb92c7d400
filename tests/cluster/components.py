"""The cluster's programs, built once from pinned Go modules.

The folders under `components/` hold nothing but a go.mod with `tool` lines and its go.sum; they are
separate modules because their pins differ. Registries of Go modules are reached by `go` alone.
"""

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster import cache
from tests.cluster.report import ClusterError, Log, step

VERSION = "v1.35.4"
"""Kubernetes. 1.35 is the last minor whose kubelet works with containerd 1.x and cgroup v1."""

_MODULES = Path(__file__).parent / "components"
_PROGRAMS = {
    "kubernetes": (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "etcd",
    ),
    "registry": ("registry",),
    "local-path-provisioner": ("local-path-provisioner",),
    "helm": ("helm",),
}
# Without the version the components report v0.0.0 and refuse some things.
_FLAGS = (
    "-trimpath",
    f"-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={VERSION}",
)


def build_all(log: Log) -> None:
    """Build what is not built yet."""
    for module in _PROGRAMS:
        _folder(module, log)


def program(name: str, log: Log) -> Path:
    """Return the binary with this name, built if need be."""
    module = next(module for module, names in _PROGRAMS.items() if name in names)
    return _folder(module, log) / name


def _folder(module: str, log: Log) -> Path:
    source = _MODULES / module
    pins = [(source / name).read_bytes() for name in ("go.mod", "go.sum")]
    name = f"{module}-{cache.key(*pins, *_FLAGS)}"
    return cache.entry("components", name, lambda draft: _build(module, draft, log))


def _build(module: str, into: Path, log: Log) -> None:
    if not shutil.which("go"):
        raise ClusterError("Go is missing: install Go 1.26 or newer (https://go.dev/dl)")
    with step(log, f"built {module} from its Go modules"):
        done = subprocess.run(
            ["go", "build", *_FLAGS, "-o", f"{into}/", "tool"],
            cwd=_MODULES / module,
            env={**os.environ, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ClusterError(f"go build of {module} failed:\n{done.stderr[-4000:]}")
    # Go names a program after the last part of its path: etcd's is go.etcd.io/etcd/server/v3.
    for odd in ("v3", "server"):
        if (into / odd).exists():
            (into / odd).rename(into / "etcd")
    absent = [name for name in _PROGRAMS[module] if not (into / name).is_file()]
    if absent:
        raise ClusterError(f"go build of {module} did not make {', '.join(absent)}")
