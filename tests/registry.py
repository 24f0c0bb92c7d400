"""A real registry (the distribution project's) on a loopback port, for tests."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificate

ADDRESS = "127.0.0.1"
USERS = {"first": "first-canary-7Qm2", "second": "second-canary-9Xk4"}
"""Names and passwords that a registry with login knows."""
_HTPASSWD = """\
first:$2b$04$3.TLdePg61lGi04/Ben/AOFpIAFRmTbEDDLYTs82FH4MX5mSHCayK
second:$2b$04$X.sIB8P5QI0c3ZrHVsMsieBTwvIv5RXBo6DvewFTwj.QRh0WTmyN.
"""
"""bcrypt of the above: the registry takes nothing else, and Python has none."""


def registry_binary() -> str | None:
    """Where the registry is: built by tests/cluster, else on PATH; None if nowhere."""
    if shutil.which("go") and find_spec("tests.cluster.components"):
        components = import_module("tests.cluster.components")
        return str(components.program("registry", print))
    return shutil.which("registry")


@contextlib.contextmanager
def running(folder: Path, *, login: bool = False, tls: Certificate | None = None) -> Iterator[str]:
    """Run a registry that keeps its data in ``folder``; gives its ``host:port``.

    With ``login`` it wants one of ``USERS``. Several may run on the same folder at once.
    """
    binary = registry_binary()
    if binary is None:
        pytest.skip("no registry binary: tests/cluster builds one, with Go")
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    host = f"{ADDRESS}:{port}"
    settings = folder / f"registry-{port}.yml"
    settings.write_text(json.dumps(_settings(folder, host, login, tls)))  # JSON is YAML
    process = subprocess.Popen(
        [binary, "serve", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(port, process)
        yield host
    finally:
        process.terminate()
        process.wait()


def _settings(folder: Path, host: str, login: bool, tls: Certificate | None) -> dict[str, Any]:
    http: dict[str, Any] = {"addr": host}
    if tls:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": http,
    }
    if login:
        (folder / "htpasswd").write_text(_HTPASSWD)
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    return settings


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection((ADDRESS, port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("the registry does not start")
