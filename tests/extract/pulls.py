"""One image, and pulling it from a registry: by the real program, or faster in this process."""

import json
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gkm.core.outcome import Outcome
from gkm.extract.job import extract
from gkm.extract.volume import Volume
from gkm.oci import media
from gkm.oci.keychain import Keychain
from gkm.oci.registry import Registry
from gkm.oci.resume import TRIES
from gkm.oci.settings import RegistrySettings
from tests.extract.badreg import REPOSITORY, BadRegistry, blob, honest, manifest
from tests.images import Image, cache_files, digest
from tests.stage import ROOT

FILES: Final = {
    "KEY/add.cubin": random.Random(73).randbytes(100_000),
    "KEY/add.json": b"{}",
    "top": b"1",
}
IMAGE: Final = Image([cache_files(FILES)], size_label="100003")
NAME, BLOBS = IMAGE.documents()
MANIFEST: Final = BLOBS[NAME]
_PARTS = json.loads(MANIFEST)
CONFIG: Final = BLOBS[_PARTS["config"]["digest"]]
LAYER: Final = BLOBS[_PARTS["layers"][0]["digest"]]
MANIFEST_PATH: Final = manifest(NAME)
CONFIG_PATH: Final = blob(_PARTS["config"]["digest"])
LAYER_PATH: Final = blob(_PARTS["layers"][0]["digest"])
MOUNT_PATH: Final = "/cache"
_MEASURED: Final = """\
import runpy, sys
try:
    runpy.run_module("gkm", run_name="__main__", alter_sys=True)
finally:
    print(open("/proc/self/status").read(), file=sys.stderr)
"""


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended; ``rss`` is its peak in KiB."""

    code: int
    reason: str
    message: str
    log: str
    seconds: float
    rss: int


def run(settings: RegistrySettings, image: str, folder: Path) -> Ended:
    """Run ``gkm extract`` onto the volume ``folder/volume`` as a Job runs it, and measure it."""
    (folder / "volume").mkdir(exist_ok=True)
    termination = folder / "termination-log"
    termination.write_text("")
    options = ["--mount-path", MOUNT_PATH, "--termination-log", str(termination)]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, "extract", image, str(folder / "volume"), *options],
        env={**os.environ, "GKM_REGISTRY": settings.to_json(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    seconds = time.monotonic() - started
    peak = re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
    outcome = Outcome.parse(termination.read_text())
    assert peak, done.stderr
    assert outcome, done.stderr
    said = termination.read_text() + done.stderr
    return Ended(done.returncode, outcome.reason, outcome.message, said, seconds, int(peak[1]))


def pull(
    settings: RegistrySettings, image: str, folder: Path, keychain: Keychain | None = None
) -> Outcome:
    """Extract in this process, with a Job's tries; raises what the program would end with."""
    volume = folder / "volume"
    volume.mkdir(exist_ok=True)
    registry = Registry(settings, keychain or Keychain(), TRIES)
    with Volume(volume) as opened:
        return extract(registry, image, opened, MOUNT_PATH)


def published(folder: Path) -> bool:
    """Whether the volume is marked complete."""
    return (folder / "volume" / ".gkm" / "complete").exists()


def content(folder: Path) -> dict[str, bytes]:
    """The files of the cache on the volume."""
    volume = folder / "volume"
    return {
        str(path.relative_to(volume)): path.read_bytes()
        for path in volume.rglob("*")
        if path.is_file() and ".gkm" not in path.parts
    }


def nothing_or_all(folder: Path) -> None:
    """What must hold whatever a registry does: complete means these bytes."""
    assert not published(folder) or content(folder) == FILES


def crafted(bad: BadRegistry, raw: bytes, media_type: str = media.OCI_MANIFEST) -> str:
    """Serve these bytes as a manifest, beside the blobs of the honest image; returns its name."""
    bad.add(IMAGE)
    name = digest(raw)
    bad.paths[manifest(name)] = honest(raw, media_type)
    return f"{bad.host}/{REPOSITORY}@{name}"
