"""Cache directories of vLLM, of every flavour that is found in the wild, a few bytes each.

Written from vLLM 0.11.0 and 0.33.0 (compilation/backends.py, compiler_interface.py, decorators.py)
and torch 2.9 (_inductor/triton_bundler.py): where files lie and what their bytes look like.
"""

import json
import pprint
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = "torch_compile_cache"
AOT = f"{ROOT}/torch_aot_compile"
BUILT = "/home/builder/.cache/vllm"
"""``VLLM_CACHE_ROOT`` of the machine that compiled."""

Files = dict[str, bytes]
CUDA_90 = {"backend": "cuda", "arch": 90, "warp_size": 32}
GFX942 = {"backend": "hip", "arch": "gfx942", "warp_size": 64}
ENV = {
    "VLLM_TARGET_DEVICE": "cuda",
    "VLLM_MAIN_CUDA_VERSION": "12.8",
    "VLLM_XLA_CACHE_PATH": f"{BUILT}/xla_cache",
    "VLLM_HOST_IP": "10.1.2.3",
    "VLLM_USE_FASTOKENS": False,
    "VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE": 163840,
    "VLLM_API_KEY": None,
}


def fill(root: Path, *trees: Mapping[str, bytes]) -> Path:
    """Write the trees below ``root``."""
    for tree in trees:
        for name, content in tree.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return root


def cubin(sm: int) -> bytes:
    """A header as ptxas 13 writes it, and something behind it."""
    ident = b"\x7fELF\x02\x01\x01\x41\x08" + bytes(7)
    return ident + struct.pack("<HHIQQQI", 2, 190, 1, 0, 0, 0, sm << 8) + bytes(100)


def metadata(target: object, name: str = "aa11", **more: object) -> bytes:
    """What Triton writes beside a kernel."""
    return json.dumps({"hash": name, "target": target, "num_warps": 4, **more}).encode()


def kernel(folder: str, target: object, name: str = "aa11", **more: object) -> Files:
    """One kernel in a Triton cache at ``folder``, compiled there below ``BUILT``."""
    key = f"{folder}/{name.upper()}".removeprefix("/")
    group = {"child_paths": {"add.json": f"{BUILT}/{key}/add.json"}}
    return {
        f"{key}/add.json": metadata(target, name, **more),
        f"{key}/add.ttir": b"module {}",
        f"{key}/__grp__add.json": json.dumps(group).encode(),
    }


def bundle(target: object) -> bytes:
    """A pickled graph: a kernel's files lie in it as they are."""
    return b"\x80\x05\x95" + bytes(2_000) + metadata(target) + b"\x94" + bytes(500)


def factors(env: Mapping[str, object] = ENV) -> bytes:
    """``cache_key_factors.json`` of vLLM 0.33."""
    hashes = {"code_hash": "9c", "config_hash": "77aa01", "compiler_hash": "5e5e02"}
    return json.dumps({"env": dict(env), **hashes}, indent=2, sort_keys=True).encode()


def index(folder: str, names: tuple[str, ...], root: str = BUILT) -> bytes:
    """``vllm_compile_cache.py`` of vLLM 0.33 for artifacts in ``folder``."""
    found: dict[Any, Any] = {}
    for number, name in enumerate(names):
        handle = (name, f"{root}/{folder}/{name}")
        found[(1, 512), number, "inductor_standalone"] = {
            "graph_handle": handle,
            "cache_key": "a" + "7" * 51,
        }
    return pprint.PrettyPrinter(indent=4).pformat(found).encode()


def triton(name: str = "c0ffee1234", target: object = GFX942, rank: str = "rank_0_0") -> Files:
    """vLLM with the adaptor of torch 2.5 to 2.7: Triton's cache, and torch's."""
    base = f"{ROOT}/{name}/{rank}"
    return {
        **kernel(f"{base}/triton_cache", target, name[:4] + rank[-3], num_stages=1),
        f"{base}/inductor_cache/ab/cabc.py": b"# generated",
        f"{base}/backbone/computation_graph.py": b"class GraphModule: ...",
    }


def binary(
    name: str = "a1b2c3d4e5",
    content: bytes | None = None,
    rank: str = "rank_0_0",
    env: Mapping[str, object] = ENV,
) -> Files:
    """Artifacts as files (``VLLM_COMPILE_CACHE_SAVE_FORMAT=binary``)."""
    folder = f"{ROOT}/{name}/{rank}/backbone"
    names = tuple(f"artifact_compile_range_1_512_subgraph_{number}" for number in (0, 1, 10))
    body = bundle(CUDA_90) if content is None else content
    return {
        **{f"{folder}/{one}": body for one in names},
        f"{folder}/cache_key_factors.json": factors(env),
        f"{folder}/vllm_compile_cache.py": index(folder, names),
        f"{folder}/computation_graph.py": b"class GraphModule: ...",
    }


def unpacked(name: str = "0f0f0f0f0f") -> Files:
    """Artifacts as directories: small caches of torch's."""
    folder = f"{ROOT}/{name}/rank_0_0/backbone"
    one = "artifact_compile_range_1_512_subgraph_0"
    return {
        f"{folder}/{one}/fxgraph/ab/fabc/xyz": b"\x80\x05 a graph without a kernel",
        **kernel(f"{folder}/{one}/triton/0", CUDA_90),
        f"{folder}/cache_key_factors.json": factors(),
        f"{folder}/vllm_compile_cache.py": index(folder, (one,)),
    }


def mega(name: str = "d00d" * 16, content: bytes | None = None, rank: str = "rank_0_0") -> Files:
    """One file with everything (``VLLM_USE_MEGA_AOT_ARTIFACT=1``), torch's cache beside it."""
    body = bundle(CUDA_90) if content is None else content
    return {f"{AOT}/{name}/{rank}/model": body, f"{AOT}/{name}/inductor_cache/x": b"x"}


def aot(name: str = "beef" * 16) -> Files:
    """A ``model`` that is a directory: MCV's odd case."""
    return {f"{AOT}/{name}/rank_0_0/model/part": bundle(GFX942)}
