"""``gkm check``: a truth table of what caches say and what GPUs there are, and its exit codes."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from gkm.cli.check import gpu
from gkm.core.fit import fit
from gkm.core.gputargets import parse
from tests.unit.cli import fill, gkm

FITS, UNFIT, UNKNOWN = "Fits", "Unfit", "Unknown"


def triton(backend: str, arch: object, warp: int = 32) -> tuple[str, str]:
    return "triton", json.dumps(
        {"targets": [{"backend": backend, "arch": arch, "warp_size": warp}]}
    )


def vllm(backend: str, arch: str, **more: Any) -> tuple[str, str]:
    target = {"backend": backend, "arch": arch, "warp_size": 64, **more}
    return "vllm", json.dumps({"targets": [target]})


BOTH = json.dumps(
    {
        "targets": [
            {"backend": "cuda", "arch": "90", "warp_size": 32},
            {"backend": "hip", "arch": "gfx942", "warp_size": 64},
        ]
    }
)
HALF = json.dumps(
    {
        "targets": [{"backend": "cuda", "arch": "90", "warp_size": 32}],
        "doubt": "one kernel names no GPU",
    }
)
# What the image says, the GPU, the verdict.
TABLE = [
    # The same architecture, however it is spelled.
    (triton("cuda", 90), "cuda:90", FITS),
    (triton("cuda", "90"), "H100", FITS),
    (triton("cuda", "sm_90"), "cuda:90", FITS),
    (triton("cuda", "sm90"), "cuda:sm_90", FITS),
    (triton("cuda", "compute_90"), "cuda:90", FITS),
    (triton("CUDA", "90"), "cuda:90", FITS),
    # A letter says which instructions were used; a framework looks by the number.
    (triton("cuda", "sm_90a"), "cuda:90", FITS),
    (triton("cuda", "90"), "cuda:sm_90a", FITS),
    (triton("cuda", "sm_120f"), "cuda:120", FITS),
    (triton("cuda", "sm_120f"), "cuda:sm_120a", FITS),
    (triton("cuda", "sm_100a"), "cuda:103", UNFIT),
    (triton("cuda", "sm_120f"), "cuda:121", UNFIT),
    # Another one, older or newer.
    (triton("cuda", 80), "cuda:86", UNFIT),
    (triton("cuda", 80), "cuda:90", UNFIT),
    (triton("cuda", 90), "A100", UNFIT),
    (triton("cuda", 75), "T4", FITS),
    (triton("cuda", 75), "V100", UNFIT),
    (triton("cuda", 9), "cuda:90", UNKNOWN),
    # Another vendor.
    (triton("cuda", 90), "hip:gfx942", UNFIT),
    (triton("hip", "gfx942", 64), "cuda:90", UNFIT),
    (triton("xpu", "pvc"), "cuda:90", UNFIT),
    # AMD: how a GPU is switched is no part of what it is.
    (triton("hip", "gfx90a", 64), "hip:gfx90a", FITS),
    (triton("hip", "gfx90a:sramecc+:xnack-", 64), "hip:gfx90a", FITS),
    (triton("hip", "gfx90a", 64), "hip:gfx90a:sramecc+", FITS),
    (triton("hip", "gfx90a:sramecc+", 64), "MI210", FITS),
    (triton("rocm", "gfx942", 64), "MI300X", FITS),
    (triton("hip", "gfx942", 64), "rocm:gfx942", FITS),
    (triton("hip", "gfx90a", 64), "hip:gfx942", UNFIT),
    (triton("hip", "gfx1100"), "hip:gfx1101", UNFIT),
    # Lanes of a warp are part of Triton's key.
    (triton("hip", "gfx1100", 32), "hip:gfx1100", FITS),
    (triton("hip", "gfx1100", 32), "hip:gfx1100:32", FITS),
    (triton("hip", "gfx1100", 64), "hip:gfx1100:32", UNFIT),
    (triton("hip", "gfx1100", 64), "hip:gfx1100:64", FITS),
    (triton("hip", "gfx942", 64), "hip:gfx942:32", UNFIT),
    (triton("hip", "gfx942", 0), "hip:gfx942:32", FITS),
    # What vLLM's images say of lanes is a constant, and no reason to say no.
    (vllm("rocm", "gfx1100"), "hip:gfx1100:32", FITS),
    (vllm("cuda", "sm_90", ptx_version=570), "cuda:90", FITS),
    (vllm("cuda", "sm_90", ptx_version=570), "cuda:80", UNFIT),
    # What MCV writes when it does not know is no target.
    (vllm("cuda", "sm_75"), "T4", UNKNOWN),
    (vllm("cuda", "sm_75"), "H100", UNKNOWN),
    (vllm("cuda", "sm_75"), "MI300X", UNKNOWN),
    (vllm("cuda", "sm_75", ptx_version=570), "T4", FITS),
    (vllm("rocm", "gfx908"), "MI300X", UNKNOWN),
    (vllm("cuda", "sm_12.9"), "cuda:120", UNKNOWN),
    (vllm("cuda", "unknown"), "cuda:90", UNKNOWN),
    # Several targets, and some that are not known.
    (("triton", BOTH), "cuda:90", FITS),
    (("triton", BOTH), "hip:gfx942", FITS),
    (("triton", BOTH), "cuda:80", UNFIT),
    (("triton", HALF), "cuda:90", FITS),
    (("triton", HALF), "cuda:80", UNKNOWN),
    (("triton", HALF), "hip:gfx942", UNKNOWN),
    (triton("", "", 0), "cuda:90", UNKNOWN),
    (triton("cuda", "unknown"), "cuda:90", UNKNOWN),
    (triton("cuda", "unknown"), "hip:gfx942", UNFIT),
    (("vllm", "null"), "cuda:90", UNKNOWN),
    (("vllm", ""), "hip:gfx942", UNKNOWN),
    (("triton", '{"targets":[]}'), "cuda:90", UNKNOWN),
    (("triton", "no JSON"), "cuda:90", UNKNOWN),
]


@pytest.mark.parametrize(("said", "named", "verdict"), TABLE)
def test_verdicts(said: tuple[str, str], named: str, verdict: str) -> None:
    framework, summary = said
    assert fit(parse(summary, framework), gpu(named)).verdict == verdict


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("check") / "cache", arch=90)


@pytest.mark.parametrize(
    ("options", "code", "verdict"),
    [
        ("--gpu cuda:90", 0, FITS),
        ("--gpu cuda:80", 1, UNFIT),
        ("--gpu cuda:80 --gpu H100", 0, FITS),
        ("", 1, UNFIT),
    ],
)
def test_exit_codes(cache: Path, options: str, code: int, verdict: str) -> None:
    done = gkm("check", cache, *options.split())
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.splitlines()[-1].startswith(f"{verdict}: ")
    told = gkm("check", cache, "-o", "json", *options.split())
    assert told.returncode == code
    assert json.loads(told.stdout)["verdict"] == verdict


def test_each_gpu_has_its_reason(cache: Path) -> None:
    done = gkm("check", cache, "--gpu", "cuda:90", "--gpu", "hip:gfx942")
    assert done.stdout.splitlines()[:3] == [
        "GPU  TYPE        VERDICT  REASON",
        "0    cuda:90     Fits     compiled for cuda 90",
        "1    hip:gfx942  Unfit    compiled for cuda 90, this GPU is hip gfx942",
    ]


KUBECTL = """#!{python}
import json, sys
kind = sys.argv[2]
objects = json.loads(open({objects!r}).read())
if kind not in objects:
    sys.exit("Error from server (NotFound): not found")
print(json.dumps(objects[kind]))
"""
REPORT = {
    "status": {
        "nodeName": "n1",
        "gpus": [
            {"gpuType": "NVIDIA H100", "backend": "cuda", "arch": "90", "warpSize": 32, "ids": [0]},
            {
                "gpuType": "NVIDIA T4",
                "backend": "cuda",
                "arch": "75",
                "warpSize": 32,
                "ids": [2, 1],
            },
        ],
    }
}
LABELS = {
    "nvidia.com/gpu.count": "1",
    "nvidia.com/gpu.product": "NVIDIA-A100",
    "nvidia.com/gpu.compute.major": "8",
    "nvidia.com/gpu.compute.minor": "0",
}
NODE = {"metadata": {"labels": LABELS}}


@pytest.mark.parametrize(
    ("objects", "code", "verdicts"),
    [
        ({"clustergkmcachenodes.gkm.io": REPORT, "nodes": NODE}, 0, [FITS, UNFIT, UNFIT]),
        ({"clustergkmcachenodes.gkm.io": {"status": {}}, "nodes": NODE}, 1, [UNFIT]),
        ({"nodes": NODE}, 1, [UNFIT]),
        ({"nodes": {"metadata": {}}}, 3, []),
    ],
    ids=["the agent's report", "an empty report", "labels", "no labels"],
)
def test_the_gpus_of_a_node(
    cache: Path, tmp_path: Path, objects: dict[str, Any], code: int, verdicts: list[str]
) -> None:
    (tmp_path / "objects").write_text(json.dumps(objects))
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL.format(python=sys.executable, objects=str(tmp_path / "objects")))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    done = gkm("check", cache, "--node", "n1", "-o", "json", env={"PATH": str(tmp_path)})
    assert done.returncode == code, done.stderr
    assert [one["verdict"] for one in json.loads(done.stdout)["gpus"]] == verdicts
