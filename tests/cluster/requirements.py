"""What a machine must have, said in one sentence if it lacks something."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.cluster import cache
from tests.cluster.report import ClusterError

_PROGRAMS = (
    *("containerd", "ctr", "runc", "conntrack", "iptables", "ip", "busybox", "openssl"),
    *("nsenter", "unshare", "setsid", "mount"),
)


def check() -> None:
    """Raise if a cluster cannot run here."""
    if os.geteuid() != 0:
        raise ClusterError("the local cluster needs root (namespaces and mounts): run it as root")
    missing = [name for name in _PROGRAMS if not shutil.which(name)]
    if not Path("/usr/lib/cni").is_dir():
        missing.append("the CNI plugins")
    if missing:
        raise ClusterError(f"missing: {', '.join(missing)}. Run `make deps` as root")
    probe = ["unshare", "--mount", "--net", "--pid", "--fork", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        raise ClusterError("no right to make mount, network and process namespaces: CAP_SYS_ADMIN")
    where = str(cache.root())
    if re.match(r"/(run|var/lib|var/log)(/|$)", where):
        raise ClusterError(f"GKM_CACHE={where} would be hidden inside the nodes: choose another")


def check_name(name: str) -> None:
    """Raise if a name cannot be the first part of node names and cgroups."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", name):
        raise ClusterError(f"{name!r} is no cluster name: use up to 20 of a-z, 0-9 and -")
