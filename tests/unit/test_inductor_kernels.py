"""torch.compile's cache: a real one that was made for the CPU, and what one for a GPU adds."""

import json
import tarfile
from pathlib import Path

import pytest

from gkm.cli.pack import pack
from gkm.core.fit import Verdict, fit
from gkm.core.gpu import Gpu
from gkm.core.gputargets import from_labels
from gkm.kernels.inductor import Inductor
from tests import vllmtrees as trees
from tests.caches import cache_of
from tests.unit.test_pack import opened

CAPTURED = Path(__file__).parent / "data" / "inductor" / "cpu.tar.gz"
INDUCTOR = Inductor()
H100 = Gpu(0, "cuda", "90", 32, "H100")
GRAPH = f"fxgraph/ab/f{'ab' * 25}c/x"
SOURCE = f"ab/cab{'2' * 49}.py"


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    with tarfile.open(CAPTURED) as archive:
        archive.extractall(tmp_path / "cache", filter="data")
    return tmp_path / "cache"


def test_a_real_cache_is_recognised_and_described(captured: Path) -> None:
    cache = cache_of(captured)
    assert cache.framework.name == "inductor"
    assert cache.description.manifest == {
        "inductor": [
            {
                "kind": "aotautograd",
                "hash": "agu3n7yppiizt6ohip3eqmy4r63qomk4gfo6kbtbvhx4rn57rsqe",
            },
            {"kind": "fxgraph", "hash": "f3hbs25r4wwvvzbhpu4btjaipkto636oixoopanbffv4wlqpt6mh"},
        ]
    }
    assert cache.description.notes == (
        "the cache holds code for the CPU only",
        "it holds shared objects that load on x86_64 only",
    )


def test_code_for_the_cpu_fits_no_gpu_and_is_kept_from_none(captured: Path, tmp_path: Path) -> None:
    _, config, members = opened(tmp_path / "oci", pack(captured, tmp_path / "oci"))
    labels = config["config"]["Labels"]
    assert labels["cache.inductor.image/entry-count"] == "2"
    found = fit(from_labels(labels), H100)
    assert (found.verdict, found.reason) == (
        Verdict.UNKNOWN,
        "the cache holds code for the CPU only",
    )
    names = [one.name for one in members if one.isreg()]
    assert all(name.startswith("io.inductor.cache/") for name in names[:-1])
    assert names[-1] == "io.inductor.manifest/manifest.json"


def test_packing_changes_no_byte_of_it(captured: Path) -> None:
    files = [one.relative_to(captured).as_posix() for one in captured.rglob("*") if one.is_file()]
    assert files
    assert not any(map(INDUCTOR.is_relocated, files))


@pytest.mark.parametrize(
    "files",
    [
        {GRAPH: trees.bundle(trees.CUDA_90)},
        {GRAPH: b"graph", **trees.kernel("triton/0", trees.CUDA_90)},
        {SOURCE: b"# code", **trees.kernel("triton/0", trees.CUDA_90)},
    ],
)
def test_kernels_name_their_gpu_wherever_they_lie(files: trees.Files, tmp_path: Path) -> None:
    trees.fill(tmp_path, files)
    cache = cache_of(tmp_path)
    assert cache.framework.name == "inductor"
    target = {"backend": "cuda", "arch": "90", "warp_size": 32}
    assert cache.description.summary == {"targets": [target]}
    assert len(cache.description.manifest["inductor"]) == cache.description.entries


def test_groups_of_triton_follow_the_mount_path_mcv_23() -> None:
    group = "triton/0/KEY/__grp__add.json"
    assert INDUCTOR.is_relocated(group)
    assert not INDUCTOR.is_relocated("ab/__grp__add.json")
    content = json.dumps({"child_paths": {"add.ptx": "/tmp/torchinductor_me/add.ptx"}}).encode()
    moved = json.loads(INDUCTOR.relocate(group, content, "/cache"))
    assert moved == {"child_paths": {"add.ptx": "/cache/triton/0/KEY/add.ptx"}}


@pytest.mark.parametrize(
    "path", ["fxgraph/x", "ab/cba.py", "cab.py", f"inductor_cache/{GRAPH}", "triton/0/KEY/a.ttir"]
)
def test_what_is_no_cache_of_torch_is_not_described(path: str, tmp_path: Path) -> None:
    trees.fill(tmp_path, {path: b""})
    assert INDUCTOR.describe(tmp_path, [path]) is None


def test_the_outermost_framework_counts(tmp_path: Path) -> None:
    inside = {f"torch_compile_cache/h/rank_0_0/inductor_cache/{GRAPH}": b""}
    assert cache_of(trees.fill(tmp_path / "vllm", inside)).framework.name == "vllm"
    beside = {GRAPH: b"", **trees.kernel("triton/0", trees.CUDA_90)}
    assert cache_of(trees.fill(tmp_path / "torch", beside)).framework.name == "inductor"
    alone = trees.kernel("", trees.CUDA_90)
    assert cache_of(trees.fill(tmp_path / "triton", alone)).framework.name == "triton"
