"""The point of it all: real Triton finds a delivered cache and compiles nothing.

Kernels for three GPUs are compiled (no GPU is needed), packed, pushed to a real registry and
extracted elsewhere; then Triton itself says whether it hits.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.registry import running

pytest.importorskip("triton", reason="needs the dependency group `kernels`")
pytestmark = pytest.mark.triton

WORKLOAD = Path(__file__).parents[2] / "examples" / "workload"
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


@pytest.fixture
def mounting() -> None:
    """Skip where this process may not mount anything read-only."""
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount")


def gkm(*arguments: object, registry: str = "") -> str:
    settings = json.dumps({"plainHttp": [registry]})
    done = subprocess.run(
        [sys.executable, "-m", "gkm", *map(str, arguments)],
        env={**os.environ, "GKM_REGISTRY": settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def triton(
    cache: Path, kernels: str = "all", *, program: Path = WORKLOAD, read_only: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(program / "compile.py"), "--kernels", kernels]
    if read_only:
        command = ["unshare", "--mount", "sh", "-c", READ_ONLY, str(read_only), *command]
    return subprocess.run(
        command,
        env={**os.environ, "TRITON_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def result(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A pushed image of the kernels' cache: its registry and its pinned reference."""
    folder = tmp_path_factory.mktemp("image")
    cold = result(triton(folder / "build"))
    assert (cold["hits"], cold["misses"]) == (0, 9)
    assert cold["stages"] >= 9 * 4
    print(f"cold: {cold}")
    with running(folder) as host:
        gkm("pack", folder / "build", "-o", folder / "oci", "--ref", f"{host}/kernels:v1")
        pinned = gkm("push", folder / "oci", f"{host}/kernels:v1", "--plain-http")
        shutil.rmtree(folder / "build")  # nothing may be found where it was compiled
        yield host, pinned


@pytest.fixture
def volume(image: tuple[str, str], tmp_path: Path) -> Path:
    """The cache as a workload sees it that mounts it at this very path."""
    return extracted(image, tmp_path / "cache", tmp_path / "cache")


def extracted(image: tuple[str, str], folder: Path, mount_path: Path) -> Path:
    folder.mkdir(parents=True)
    gkm("extract", image[1], folder, "--mount-path", mount_path, registry=image[0])
    return folder


def test_every_kernel_hits_after_the_way_through_a_registry(volume: Path) -> None:
    warm = result(triton(volume))
    print(f"hit: {warm}")
    assert (warm["hits"], warm["misses"], warm["stages"]) == (9, 0, 0)


def test_the_same_image_at_another_path_misses(image: tuple[str, str], tmp_path: Path) -> None:
    """Without relocation every kernel is compiled again: so a hit above means relocation."""
    elsewhere = extracted(image, tmp_path / "cache", Path("/not/here"))
    found = result(triton(elsewhere))
    print(f"moved: {found}")
    assert (found["hits"], found["misses"]) == (0, 9)


def test_the_keys_do_not_depend_on_where_the_program_lies(volume: Path, tmp_path: Path) -> None:
    """Host and container hold it at different paths; the key has its text and line numbers."""
    moved = tmp_path / "app"
    shutil.copytree(WORKLOAD, moved)
    assert result(triton(volume, program=moved))["hits"] == 9


@pytest.mark.usefixtures("mounting")
def test_a_private_layer_hits_and_takes_what_is_missing(
    image: tuple[str, str], tmp_path: Path
) -> None:
    layer = tmp_path / "cache"
    layer.mkdir()
    source = extracted(image, tmp_path / "beside" / "volume", layer)
    gkm("overlay", source, layer)
    before = snapshot(source)
    hit = result(triton(layer, read_only=source))
    assert (hit["hits"], hit["stages"]) == (9, 0)
    first = result(triton(layer, "extra", read_only=source))
    assert (first["hits"], first["misses"]) == (0, 3)
    again = result(triton(layer, "extra", read_only=source))
    assert (again["hits"], again["stages"]) == (3, 0)
    assert snapshot(source) == before


AGREEING: dict[str, dict[str, str]] = {
    "nothing else": {},
    "a switch in another spelling": {"TRITON_DEFAULT_FP_FUSION": "on"},
    "a switch that is off": {"TRITON_DEFAULT_FP_FUSION": "0"},
    "a variable of the key": {"TRITON_F32_DEFAULT": "ieee"},
    "an empty variable of the key": {"TRITON_F32_DEFAULT": ""},
    "a variable that is not in the key": {"TRITON_PRINT_AUTOTUNING": "1"},
    "another variable of the key": {"AMDGCN_USE_BUFFER_OPS": "1"},
    "compiling always": {"TRITON_ALWAYS_COMPILE": "1"},
    "compiling always, off": {"TRITON_ALWAYS_COMPILE": "0"},
    "another folder": {"TRITON_CACHE_DIR": "/nowhere"},
}


@pytest.mark.parametrize("what", AGREEING)
def test_explain_says_what_triton_does(volume: Path, tmp_path: Path, what: str) -> None:
    """Not our list of variables decides whether a kernel is found, but Triton does."""
    changed = {
        name: value.replace("/nowhere", str(tmp_path)) for name, value in AGREEING[what].items()
    }
    environment = {"TRITON_CACHE_DIR": str(volume), "TRITON_DEFAULT_FP_FUSION": "1", **changed}
    compiler = [sys.executable, str(WORKLOAD / "compile.py")]
    explainer = [sys.executable, "-m", "gkm", "explain", str(volume)]
    told, done = (
        subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        for command in (explainer, compiler)
    )
    found = result(done)
    print(f"{what}: {found['hits']} hits, {told.stdout.splitlines()[0]}")
    assert (told.returncode, found["misses"]) in ((0, 0), (1, 9)), told.stdout


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_ino) for p in sorted(root.rglob("*"))}


@pytest.mark.usefixtures("mounting")
def test_a_read_only_mount_hits_but_raises_for_a_miss(volume: Path) -> None:
    """Why a workload gets the private layer unless it asks for a read-only mount."""
    assert result(triton(volume, read_only=volume))["hits"] == 9
    missed = triton(volume, "extra", read_only=volume)
    assert missed.returncode != 0
    assert "Read-only file system" in missed.stderr
