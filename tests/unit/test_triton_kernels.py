"""Reading Triton's cache without Triton: metadata, targets, group files, MCV's fingerprint."""

import json
from pathlib import Path

import pytest

from gkm.api.errors import Rejected
from gkm.kernels.metadata import dummy_key
from gkm.kernels.triton import Triton

TRITON = Triton()


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
