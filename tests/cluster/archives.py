"""The cluster's own small images, written as docker archives without any engine.

They hold static programs only: Debian's busybox, and the volume provisioner that was built here.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cache, components
from tests.cluster.report import ClusterError, Log

PAUSE = "localhost/gkm-cluster/pause:1"
BUSYBOX = "localhost/gkm-cluster/busybox:1"
"""On every node, for tests' own pods; its shell and tools are on PATH."""
PROVISIONER = "localhost/gkm-cluster/local-path-provisioner:1"


@dataclass(frozen=True)
class SmallImage:
    """An image of busybox and at most one program."""

    tag: str
    program: Path | None
    entrypoint: Sequence[str]

    def write(self, file: Path) -> None:
        layer = _layer(_busybox(), self.program)
        digest = hashlib.sha256(layer).hexdigest()
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["PATH=/bin"], "Cmd": list(self.entrypoint)},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            }
        ).encode()
        manifest = json.dumps(
            [{"Config": "config.json", "RepoTags": [self.tag], "Layers": ["layer.tar"]}]
        ).encode()
        with tarfile.open(file, "w") as archive:
            _add(archive, "config.json", config)
            _add(archive, "layer.tar", layer)
            _add(archive, "manifest.json", manifest)


def small_images(log: Log) -> list[Path]:
    """Return the archives that every node gets before its first pod."""
    provisioner = components.program("local-path-provisioner", log)
    images = [
        SmallImage(PAUSE, None, ["busybox", "sleep", "2147483647"]),
        SmallImage(BUSYBOX, None, ["sh"]),
        SmallImage(PROVISIONER, provisioner, [provisioner.name]),
    ]
    return [_cached(image) for image in images]


def _cached(image: SmallImage) -> Path:
    inputs = (Path(__file__), _busybox())
    program = image.program.parent.name if image.program else ""
    name = cache.key(*(file.read_bytes() for file in inputs), image.tag, program)
    make: Callable[[Path], None] = lambda draft: image.write(draft / "image.tar")  # noqa: E731
    return cache.entry("small-images", name, make) / "image.tar"


def _busybox() -> Path:
    found = shutil.which("busybox")
    if not found:
        raise ClusterError("busybox is missing: run `make deps`")
    return Path(found)


def _applets(busybox: Path) -> list[str]:
    done = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split() if name != "busybox"]


def _layer(busybox: Path, program: Path | None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        _add(tar, "bin/busybox", busybox.read_bytes(), 0o755)
        for applet in _applets(busybox):
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        if program:
            _add(tar, f"bin/{program.name}", program.read_bytes(), 0o755)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))
