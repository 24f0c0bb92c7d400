"""A real registry (the distribution project's) on a loopback port, for tests."""

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest


def registry_binary() -> str | None:
    """Where the registry is: built by tests/cluster, else on PATH; None if nowhere."""
    if find_spec("tests.cluster.components"):
        components = import_module("tests.cluster.components")
        return str(components.program("registry", print))
    return shutil.which("registry")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a registry that keeps its data in ``folder``; gives its ``host:port``."""
    binary = registry_binary()
    if binary is None:
        pytest.skip("no registry binary: tests/cluster builds one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = folder / "registry.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: '{host}'}}\n"
    )
    process = subprocess.Popen(
        [binary, "serve", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(host, process)
        yield host
    finally:
        process.terminate()
        process.wait()


def _wait(host: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{host}/v2/", timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("the registry does not start")
