"""Reading Triton's cache without Triton: metadata, targets, group files, MCV's fingerprint."""

import json
from pathlib import Path

import pytest

from gkm.api.errors import Rejected
from gkm.core.gputargets import from_labels
from gkm.kernels.metadata import dummy_key
from gkm.kernels.triton import Triton
from tests import vllmtrees as trees
from tests.caches import cache_of

TRITON = Triton()
SM90: dict[str, object] = {"backend": "cuda", "arch": "90", "warp_size": 32}
GFX1100: dict[str, object] = {"backend": "hip", "arch": "gfx1100", "warp_size": 32}


@pytest.mark.parametrize(
    ("target", "details", "key"),
    [
        (("hip", "gfx90a", 64), {"num_warps": 4, "num_stages": 2}, "049765a0815d7c5d"),
        (("cuda", "75", 32), {"num_warps": 4, "num_stages": 3}, "41d97af6107f2738"),
        (("hip", "gfx90a", 64), {"num_warps": 4, "num_stages": 1}, "81e4d9aecce1f727"),
        (
            ("cuda", "90", 32),
            {"num_warps": 4, "num_stages": 3, "debug": True, "ptx_version": 84},
            "c398cd4cd23cf581",
        ),
    ],
)
def test_the_dummy_key_is_that_of_mcv(
    target: tuple[str, str, int], details: dict[str, int | None], key: str
) -> None:
    assert dummy_key(details, *target).startswith(key)


def test_a_cache_is_described_by_its_kernels(tmp_path: Path) -> None:
    kernels = {
        "A/add.json": {
            "hash": "h1",
            "target": {"backend": "hip", "arch": "gfx942", "warp_size": 64},
        },
        "B/add.json": {
            "hash": "h2",
            "target": {"backend": "cuda", "arch": 90, "warp_size": 32},
            "num_warps": 8,
            "num_stages": "three",
            "arch": 5,
        },
        "C/none.json": {"hash": "h3"},
        "D/other.json": [1],
        "B/__grp__add.json": {"child_paths": {}},
    }
    for name, content in kernels.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "D" / "broken.json").write_text("{")
    found = TRITON.describe(tmp_path, [*kernels, "D/broken.json"])
    assert found is not None
    assert found.entries == 2
    assert found.summary == {
        "targets": [
            {"backend": "cuda", "arch": "90", "warp_size": 32},
            {"backend": "hip", "arch": "gfx942", "warp_size": 64},
        ]
    }
    assert [list(entry) for entry in found.manifest["triton"]] == [
        ["hash", "dummy_key", "backend", "arch", "warp_size"],
        ["hash", "dummy_key", "num_warps", "backend", "arch", "warp_size"],
    ]


LAYOUTS: dict[str, tuple[dict[str, object], bytes | None, dict[str, object] | None]] = {
    "3.x": ({"target": {"backend": "cuda", "arch": 90, "warp_size": 32}}, None, SM90),
    "3.x, no warp size": ({"target": {"backend": "hip", "arch": "gfx1100"}}, None, GFX1100),
    "3.x, arch as sm90": ({"arch": "sm90", "target": {"backend": "cuda", "arch": 90}}, None, SM90),
    "2.2": ({"target": ["cuda", 90]}, None, SM90),
    "2.1": ({"hash": None, "arch": 90, "num_warps": 4}, None, SM90),
    "2.1 with cc": ({"cc": 90}, None, SM90),
    "2.1 on ROCm": ({"arch": "gfx1100", "name": "add"}, None, GFX1100),
    "2.0, a cubin": ({"hash": 5, "shared": 0}, trees.cubin(90), SM90),
    "a target of another shape": ({"target": {"arch": []}}, trees.cubin(90), SM90),
    "a header of tomorrow": ({}, b"\x7fELF\x02\x01\x01\x41\x09" + bytes(99), None),
    "nothing": ({"name": "add"}, None, None),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_target_is_found_in_every_layout_mcv_18(
    layout: tuple[dict[str, object], bytes | None, dict[str, object] | None], tmp_path: Path
) -> None:
    metadata, cubin, target = layout
    files = {"KEY/add.ttir": b"", "KEY/add.json": json.dumps({"hash": "h1", **metadata}).encode()}
    files |= {"KEY/add.cubin": cubin} if cubin else {}
    trees.fill(tmp_path, files)
    found = TRITON.describe(tmp_path, sorted(files))
    assert found is not None
    doubt = "1 of 1 kernels name no GPU"
    expected = {"targets": [target]} if target else {"targets": [], "doubt": doubt}
    assert found.summary == expected
    assert found.entries == 1
    assert found.manifest["triton"][0]["hash"] == ("h1" if "hash" not in metadata else "KEY")
    assert found.notes == (() if target else (doubt,))
    labels = {"cache.triton.image/summary": json.dumps(found.summary)}
    assert from_labels(labels).doubt == ("" if target else doubt)


def test_launchers_are_told_to_the_packer_mcv_24(tmp_path: Path) -> None:
    name = "__triton_launcher.cpython-311-x86_64-linux-gnu.so"
    header = b"\x7fELF\x02\x01\x01" + bytes(11) + b"\x3e" + bytes(99)
    files = {**trees.kernel("KEY", trees.CUDA_90), f"KEY/{name}": header}
    trees.fill(tmp_path, files)
    found = TRITON.describe(tmp_path, sorted(files))
    assert found is not None
    assert found.notes == ("it holds shared objects that load on x86_64 and cpython-311 only",)


def test_what_is_no_triton_cache_is_not_described(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"hash": "x"}')
    assert TRITON.describe(tmp_path, ["a.json"]) is None
    assert TRITON.describe(tmp_path, []) is None


def test_a_group_points_below_the_mount_path() -> None:
    group = {"child_paths": {"add.ptx": "/home/me/.triton/cache/KEY/add.ptx"}, "more": 1}
    moved = TRITON.relocate("KEY/__grp__add.json", json.dumps(group).encode(), "/cache")
    assert json.loads(moved) == {"child_paths": {"add.ptx": "/cache/KEY/add.ptx"}, "more": 1}
    assert TRITON.is_relocated("KEY/__grp__add.json")
    assert not TRITON.is_relocated("KEY/add.json")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"child_paths": 1}', b'{"child_paths": {"a": 1}}']
)
def test_a_group_that_triton_cannot_have_written_is_refused(content: bytes) -> None:
    with pytest.raises(Rejected, match="BadCache"):
        TRITON.relocate("KEY/__grp__add.json", content, "/cache")


@pytest.mark.parametrize("above", ["cache", "a/b"])
def test_a_directory_above_the_cache_is_refused_and_the_right_one_named(
    tmp_path: Path, above: str
) -> None:
    """Packed as it is, it would be mounted and never looked into."""
    trees.fill(tmp_path, trees.kernel(above, trees.CUDA_90))
    with pytest.raises(Rejected, match=f"NotACache.*TRITON_CACHE_DIR.*/{above}$"):
        cache_of(tmp_path)


def test_one_kernels_directory_is_refused(tmp_path: Path) -> None:
    trees.fill(tmp_path, trees.kernel("", trees.CUDA_90))
    with pytest.raises(Rejected, match=r"NotACache.*one kernel's directory"):
        cache_of(tmp_path / "AA11")
