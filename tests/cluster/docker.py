"""Where a Docker engine answers: it builds the images. Nothing else needs one."""

import functools
import shutil
import subprocess

from tests.cluster.report import ClusterError


@functools.cache
def answers() -> bool:
    """Whether there is a Docker engine."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def docker(*arguments: str, stdin: str = "") -> str:
    """Run docker and return its output."""
    done = subprocess.run(
        ["docker", *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"docker {arguments[0]}: {done.stderr.strip()[-2000:]}")
    return done.stdout
