"""Caches of the newest Triton and of one of the first 3.x, for every GPU that they compile for.

Compiled without a GPU, brought through a registry into another folder; then the same release finds
every kernel. A miss writes files, so a folder in which nothing changed is a hit, whatever the way
in which a release tells.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_triton_hits import gkm, snapshot
from tests.registry import running

pytest.importorskip("triton", reason="needs the dependency group `kernels`")
pytestmark = pytest.mark.triton

PROGRAM = Path(__file__).with_name("releases_program.py")
OLD = "3.0.0"
"""Its own linker for AMD is ROCm's; LLVM's (Debian: lld) does as well."""


def compiled(python: Path | str, cache: Path, *targets: str) -> dict[str, str]:
    """What became of each target."""
    linker = shutil.which("ld.lld") or ""
    done = subprocess.run(
        [python, str(PROGRAM), *targets],
        env={
            **os.environ,
            "TRITON_CACHE_DIR": str(cache),
            "TRITON_DEFAULT_FP_FUSION": "1",
            **({"TRITON_HIP_LLD_PATH": linker} if linker else {}),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"Triton {found['version']}: {found['targets']}")
    targets_: dict[str, str] = found["targets"]
    return targets_


def brought(folder: Path, built: Path) -> Path:
    """The cache in another folder, packed, pushed and extracted."""
    elsewhere = folder / "another" / "place"
    with running(folder) as host:
        gkm("pack", built, "-o", folder / "image")
        pinned = gkm("push", folder / "image", f"{host}/kernels:v1", "--plain-http")
        pulled = gkm("pull", pinned, "-o", folder / "pulled", "--plain-http")
        assert pulled.rpartition("@")[2] == pinned.rpartition("@")[2]
        shutil.rmtree(built)
        elsewhere.parent.mkdir(parents=True)
        gkm("extract", pinned, elsewhere, registry=host)
    return elsewhere


def check_hits(python: Path | str, folder: Path) -> list[str]:
    """Go the whole way; returns the targets for which this release compiles."""
    all_of_them = compiled(python, folder / "built")
    targets = [name for name, error in all_of_them.items() if not error]
    shutil.rmtree(folder / "built")
    compiled(python, folder / "built", *targets)  # without what a failed target leaves behind
    cache = brought(folder, folder / "built")
    before = snapshot(cache)
    assert set(compiled(python, cache, *targets).values()) == {""}
    assert snapshot(cache) == before, "a kernel was compiled again"
    relocated = folder / "relocated"
    shutil.copytree(cache, relocated, ignore=shutil.ignore_patterns(".gkm"))
    gkm("relocate", relocated, "--to", relocated)
    moved = cache.rename(folder / "moved")
    before = snapshot(relocated)
    compiled(python, relocated, *targets)
    assert snapshot(relocated) == before, "a kernel was compiled again"
    before = snapshot(moved)
    compiled(python, moved, *targets)
    assert snapshot(moved) != before, "without relocation it must miss"
    return targets


def test_the_newest_triton_hits_for_every_gpu(tmp_path: Path) -> None:
    targets = check_hits(sys.executable, tmp_path)
    assert len(targets) == 10


@pytest.mark.slow
def test_an_early_triton_3_hits_for_every_gpu_that_it_knows(tmp_path: Path) -> None:
    """Triton 3.0 knows neither sm_100 nor sm_120."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    wanted = [f"triton=={OLD}", "setuptools"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    targets = check_hits(python, tmp_path)
    assert set(targets) >= {f"cuda:{number}" for number in (75, 80, 86, 89, 90)}
    assert len(targets) == (8 if shutil.which("ld.lld") else 5)
