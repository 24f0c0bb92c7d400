"""kubectl with a cluster's kubeconfig: the one that the project's environment brings."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

from tests.cluster.report import ClusterError


def kubectl(kubeconfig: Path, *arguments: str, stdin: str = "") -> str:
    """Run kubectl and return its output."""
    done = subprocess.run(
        [str(binary()), f"--kubeconfig={kubeconfig}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def binary() -> Path:
    """Return kubectl: the one beside this interpreter, else the machine's."""
    own = Path(sysconfig.get_path("scripts")) / "kubectl"
    found = str(own) if own.is_file() else shutil.which("kubectl")
    if not found:
        raise ClusterError("kubectl is missing: run `make deps`")
    return Path(found)
