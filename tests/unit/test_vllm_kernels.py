"""vLLM's caches, in every flavour: what an image says about them."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.api.errors import Rejected
from gkm.cli.pack import pack
from gkm.core.fit import Verdict, fit
from gkm.core.gpu import Gpu
from gkm.core.gputargets import Targets, from_labels
from gkm.kernels.framework import Description
from gkm.kernels.triton import Triton
from gkm.kernels.vllm import Vllm
from tests import vllmtrees as trees
from tests.caches import cache_of
from tests.unit.test_pack import opened

VLLM = Vllm()
H100 = Gpu(0, "cuda", "90", 32, "H100")
MI300X = Gpu(0, "hip", "gfx942", 64, "MI300X")
SUBPATH = "io.kserve.km/cache-mount-subpath"
HASHES = "io.kserve.km/cache-hash"
FORMAT = "cache.vllm.image/format"
TORCH, AOT = "torch_compile_cache", "torch_compile_cache/torch_aot_compile"
SM90 = {"backend": "cuda", "arch": "90", "warp_size": 32}
SM90_128 = {**SM90, "cuda_version": "12.8"}
GFX942 = {"backend": "hip", "arch": "gfx942", "warp_size": 64}


def described(root: Path, *found: trees.Files) -> Description:
    trees.fill(root, *found)
    cache = cache_of(root)
    assert cache.framework.name == "vllm"
    return cache.description


def told(description: Description) -> Targets:
    """What a reader of the image's labels gets."""
    return from_labels({"cache.vllm.image/summary": json.dumps(description.summary)})


FLAVOURS: dict[str, tuple[list[trees.Files], str, str, list[str], list[dict[str, Any]]]] = {
    "triton": ([trees.triton()], "triton", TORCH, ["c0ffee1234"], [GFX942]),
    "files": ([trees.binary()], "binary", TORCH, ["a1b2c3d4e5"], [SM90_128]),
    "directories": ([trees.unpacked()], "binary", TORCH, ["0f0f0f0f0f"], [SM90_128]),
    "mega": ([trees.mega()], "binary", AOT, ["d00d" * 16], [SM90]),
    "aot": ([trees.aot()], "aot_compile", AOT, ["beef" * 16], [GFX942]),
    "regular and mega": (
        [trees.mega(), trees.binary()],
        "binary",
        TORCH,
        ["a1b2c3d4e5", "d00d" * 16],
        [SM90, SM90_128],
    ),
    "everything": (
        [trees.aot(), trees.mega(), trees.triton(), trees.binary(), trees.unpacked()],
        "aot_compile,binary,triton",
        TORCH,
        ["0f0f0f0f0f", "a1b2c3d4e5", "c0ffee1234", "beef" * 16, "d00d" * 16],
        [SM90, SM90_128, GFX942],
    ),
}


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=FLAVOURS)
def test_the_labels_of_every_flavour(
    flavour: tuple[list[trees.Files], str, str, list[str], list[dict[str, Any]]], tmp_path: Path
) -> None:
    found, kinds, subpath, hashes, targets = flavour
    description = described(tmp_path / "cache", *found)
    assert description.labels == {
        FORMAT: kinds,
        "io.kserve.km/framework": "vllm",
        "io.kserve.km/cache-type": "torch-compile",
        HASHES: ",".join(hashes),
        SUBPATH: subpath,
        "io.kserve.km/cache-root-env": "VLLM_CACHE_ROOT=/home/kserve/.cache/vllm",
    }
    assert description.summary == {"targets": targets}
    assert description.entries == len(hashes)
    assert [entry["vllmHash"] for entry in description.manifest["vllm"]] == hashes
    size = sum(one.stat().st_size for one in (tmp_path / "cache").rglob("*") if one.is_file())
    manifest, config, members = opened(tmp_path / "oci", pack(tmp_path / "cache", tmp_path / "oci"))
    labels = config["config"]["Labels"]
    files = [one for one in members if one.isreg() and one.name.startswith("io.vllm.cache/")]
    assert labels["cache.vllm.image/cache-size-bytes"] == str(sum(one.size for one in files))
    assert labels["cache.vllm.image/entry-count"] == str(len(hashes))
    assert labels.items() >= description.labels.items()
    assert len(manifest["layers"]) == 1
    assert members[-1].name == "io.vllm.manifest/manifest.json"
    assert size > 0


GOLDEN = """\
{
  "vllm": [
    {
      "vllmHash": "a1b2c3d4e5",
      "cacheFormat": "binary",
      "binary": [
        {
          "rank": "rank_0_0",
          "prefix": "backbone",
          "artifact_count": 3,
          "artifact_names": [
            "artifact_compile_range_1_512_subgraph_0",
            "artifact_compile_range_1_512_subgraph_1",
            "artifact_compile_range_1_512_subgraph_10"
          ],
          "code_hash": "9c",
          "config_hash": "77aa01",
          "compiler_hash": "5e5e02",
          "cache_save_format": "binary",
          "target_device": "cuda",
          "env": {
            "VLLM_MAIN_CUDA_VERSION": "12.8",
            "VLLM_TARGET_DEVICE": "cuda",
            "VLLM_USE_FASTOKENS": false
          }
        }
      ]
    },
    {
      "vllmHash": "c0ffee1234",
      "cacheFormat": "triton",
      "triton": [
        {
          "hash": "c0ff0",
          "dummy_key": "81e4d9aecce1f7278e54f59a7d66578c8519d8b2a318e87b8bafb7c2e9f12c09",
          "num_stages": 1,
          "num_warps": 4,
          "backend": "hip",
          "arch": "gfx90a",
          "warp_size": 64
        }
      ]
    },
    {
      "vllmHash": "beef",
      "cacheFormat": "aot_compile",
      "aot_compile": [
        {
          "hash": "beef",
          "rank": "rank_0_0",
          "model_file": "model",
          "file_size": SIZE
        }
      ]
    },
    {
      "vllmHash": "d00d",
      "cacheFormat": "binary",
      "binary": [
        {
          "rank": "rank_0_0",
          "prefix": "",
          "artifact_count": 1,
          "artifact_names": [
            "model"
          ],
          "cache_save_format": "mega-aot"
        }
      ]
    }
  ]
}"""


def test_the_manifest_to_the_letter(tmp_path: Path) -> None:
    old = {"backend": "hip", "arch": "gfx90a", "warp_size": 64}
    found = [trees.binary(), trees.triton(target=old), trees.mega("d00d"), trees.aot("beef")]
    description = described(tmp_path, *found)
    size = (tmp_path / trees.AOT / "beef" / "rank_0_0" / "model").stat().st_size
    assert json.dumps(description.manifest, indent=2) == GOLDEN.replace("SIZE", str(size))


def test_every_rank_and_every_triton_cache_is_described_mcv_15(tmp_path: Path) -> None:
    nvidia = {"backend": "cuda", "arch": 80, "warp_size": 32}
    found = [
        trees.triton(target=nvidia),
        trees.triton(rank="rank_1_0"),
        trees.triton("c1c1c1c1c1", trees.CUDA_90),
        trees.binary(rank="rank_0_0"),
        trees.binary(rank="rank_1_0"),
    ]
    description = described(tmp_path, *found)
    binary, first, second = description.manifest["vllm"]
    assert [one["rank"] for one in binary["binary"]] == ["rank_0_0", "rank_1_0"]
    assert [one["arch"] for one in first["triton"]] == ["80", "gfx942"]
    assert [one["arch"] for one in second["triton"]] == ["90"]
    assert [one["arch"] for one in description.summary["targets"]] == ["80", "90", "90", "gfx942"]


@pytest.mark.parametrize("content", [b"", b"no kernel in here", b"\x7fELF\x02\x01\x01"])
@pytest.mark.parametrize("make", [trees.binary, trees.mega])
def test_what_names_no_gpu_is_unknown_not_guessed_mcv_11_13(
    make: Any, content: bytes, tmp_path: Path
) -> None:
    description = described(tmp_path, make(content=content))
    assert description.summary == {"targets": []}
    for gpu in (H100, MI300X):
        assert fit(told(description), gpu).verdict is Verdict.UNKNOWN
    assert any("names a GPU" in note for note in description.notes)


def test_one_silent_directory_leaves_a_doubt_about_all_mcv_11(tmp_path: Path) -> None:
    description = described(tmp_path, trees.binary(), trees.mega("d00d", b"graphs"))
    assert description.summary["doubt"] == "nothing in d00d names a GPU"
    assert fit(told(description), H100).verdict is Verdict.FITS
    assert fit(told(description), MI300X).verdict is Verdict.UNKNOWN


def test_a_real_sm_75_is_believed_mcv_11(tmp_path: Path) -> None:
    content = bytes(3_000_000) + trees.cubin(75) + bytes(10)
    description = described(tmp_path, trees.mega(content=content))
    assert fit(told(description), Gpu(0, "cuda", "75", 32, "T4")).verdict is Verdict.FITS


def test_a_target_on_the_border_of_two_pieces_is_found(tmp_path: Path) -> None:
    kernel = trees.metadata(trees.GFX942)
    for start in range(1024 * 1024 - len(kernel), 1024 * 1024, 17):
        description = described(tmp_path, trees.mega(content=bytes(start) + kernel))
        assert description.summary == {"targets": [GFX942]}


def test_rocm_is_hip_mcv_12(tmp_path: Path) -> None:
    rocm = {"backend": "rocm", "arch": "gfx942", "warp_size": 64}
    env = {"VLLM_TARGET_DEVICE": "rocm", "VLLM_MAIN_CUDA_VERSION": "12.8"}
    description = described(tmp_path, trees.binary(content=trees.bundle(rocm), env=env))
    assert description.summary == {"targets": [GFX942]}
    assert fit(told(description), MI300X).verdict is Verdict.FITS
    assert description.manifest["vllm"][0]["binary"][0]["target_device"] == "rocm"


def test_a_directory_of_models_is_aot_and_has_a_summary_mcv_14(tmp_path: Path) -> None:
    description = described(tmp_path, trees.mega("d00d"), trees.aot("beef"))
    kinds = [entry["cacheFormat"] for entry in description.manifest["vllm"]]
    assert kinds == ["aot_compile", "binary"]
    assert description.summary == {"targets": [SM90, GFX942]}


def test_what_is_not_known_is_not_counted_and_said_mcv_16(tmp_path: Path) -> None:
    odd = {f"{trees.ROOT}/odd/rank_0_0/backbone/notes.txt": b"?"}
    description = described(tmp_path, trees.binary(), odd)
    assert description.entries == 1
    assert any("torch_compile_cache/odd holds no cache" in note for note in description.notes)
    lonely = trees.binary(content=b"")
    rest = {k: v for k, v in lonely.items() if "artifact_" not in k.rpartition("/")[2]}
    nothing = described(tmp_path / "nothing", rest)
    assert (nothing.entries, nothing.labels) == (0, {FORMAT: "unpacked"})
    assert nothing.manifest == {"vllm": []}
    assert nothing.summary == {"targets": []}


def test_the_same_cache_gives_the_same_labels_mcv_17(tmp_path: Path) -> None:
    found = FLAVOURS["everything"][0]
    first = described(tmp_path / "one", *found)
    assert described(tmp_path / "two", *reversed(found)) == first


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"env": 1, "code_hash": 2}', b"[" * 99_999])
def test_a_broken_dump_of_settings_costs_no_entry_mcv_18(content: bytes, tmp_path: Path) -> None:
    folder = f"{trees.ROOT}/a1b2c3d4e5/rank_0_0/backbone"
    broken = {f"{folder}/cache_key_factors.json": content}
    description = described(tmp_path, trees.binary(), broken)
    entry = description.manifest["vllm"][0]["binary"][0]
    expected = ["rank", "prefix", "artifact_count", "artifact_names", "cache_save_format"]
    assert (description.entries, list(entry)) == (1, expected)
    assert description.summary == {"targets": [SM90]}


@pytest.mark.parametrize("above", [".hidden", "vendor", "fxgraph/inductor_cache"])
def test_the_path_to_the_cache_says_nothing_mcv_19(above: str, tmp_path: Path) -> None:
    root = tmp_path / above / ".cache"
    assert described(root, trees.mega()).entries == 1
    files = trees.kernel("triton", trees.CUDA_90)
    trees.fill(tmp_path / "plain" / above, files)
    assert VLLM.describe(tmp_path / "plain" / above, sorted(files)) is None


def test_the_current_directory_can_be_packed_mcv_19(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.fill(tmp_path / "cache", trees.binary())
    monkeypatch.chdir(tmp_path / "cache")
    here = pack(Path(), tmp_path / "one")
    assert pack(tmp_path / "cache", tmp_path / "two") == here
    monkeypatch.chdir(os.fspath(tmp_path / "cache" / trees.ROOT))
    assert pack(Path(".."), tmp_path / "three") == here


def test_the_artifacts_of_older_releases_are_known(tmp_path: Path) -> None:
    folder = f"{trees.ROOT}/0b0b0b0b0b/rank_0_0"
    found = {f"{folder}/artifact_shape_None_subgraph_0": trees.bundle(trees.CUDA_90)}
    inside = {f"{folder}/backbone/artifact_shape_None_subgraph_0/fxgraph/a/b/c": b"graph"}
    description = described(tmp_path, found, inside)
    entries = description.manifest["vllm"][0]["binary"]
    saved = [(one["prefix"], one["cache_save_format"]) for one in entries]
    assert saved == [("", "binary"), ("backbone", "unpacked")]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"modelinfos/a.json": b'{"hash": "x"}'},
        {"torch_compile_cache/readme": b""},
        trees.kernel("KEY", trees.CUDA_90),
    ],
)
def test_what_is_no_vllm_cache_is_not_described(files: trees.Files, tmp_path: Path) -> None:
    trees.fill(tmp_path, files)
    assert VLLM.describe(tmp_path, sorted(files)) is None


@pytest.mark.parametrize("level", ["", "torch_compile_cache", "torch_compile_cache/c0ffee1234"])
def test_a_part_of_a_cache_is_refused_not_taken_for_tritons(level: str, tmp_path: Path) -> None:
    found = {f"vllm/{name}": body for name, body in trees.triton().items()}
    index = "vllm/torch_compile_cache/c0ffee1234/rank_0_0/backbone/vllm_compile_cache.py"
    trees.fill(tmp_path, found, {index: b"{}"})
    with pytest.raises(Rejected, match=r"NotACache.*VLLM_CACHE_ROOT"):
        cache_of(tmp_path / "vllm" / level if level else tmp_path)


def test_model_infos_are_no_kernels(tmp_path: Path) -> None:
    found = {"modelinfos/a.json": b'{"hash": "x"}', **trees.kernel("", trees.CUDA_90)}
    trees.fill(tmp_path, found)
    description = Triton().describe(tmp_path, sorted(found))
    assert description is not None
    assert description.entries == 1


FOLDERS = ["torch_compile_cache", "torch_aot_compile", "rank_0_0", "triton_cache", "fxgraph", "h"]
FILES = ["vllm_compile_cache.py", "cache_key_factors.json", "artifact_a", "model", "a.json", "a.so"]
NAMES = st.sampled_from([*FOLDERS, *FILES])
PATHS = st.lists(NAMES, min_size=2, max_size=5).map("/".join)
JUNK = st.binary(max_size=80) | st.sampled_from(
    [trees.factors(), trees.metadata(trees.CUDA_90), trees.cubin(90)[:70], b'{"target": []}']
)


@given(st.dictionaries(PATHS, JUNK, max_size=8))
def test_no_tree_is_an_error(tmp_path_factory: pytest.TempPathFactory, tree: trees.Files) -> None:
    parents = {str(parent) for path in tree for parent in Path(path).parents}
    tree = {path: content for path, content in tree.items() if path not in parents}
    root = trees.fill(tmp_path_factory.mktemp("junk"), tree)
    description = None
    with contextlib.suppress(Rejected):
        description = VLLM.describe(root, sorted(tree))
    if description:
        assert description.entries == len(description.manifest["vllm"])
        assert told(description).known or told(description).doubt
