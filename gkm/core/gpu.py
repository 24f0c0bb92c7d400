"""One GPU, and the names that caches, drivers and labels give its architecture.

Everything is brought to one spelling, that of Triton's ``GPUTarget``: backend ``cuda`` with the
compute capability as a number (``90``), backend ``hip`` with LLVM's processor (``gfx942``).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

CUDA: Final = "cuda"
HIP: Final = "hip"

_BACKENDS: Final = {"rocm": HIP}
_BACKEND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_CUDA_ARCH = re.compile(r"(?:sm_?|compute_)?([1-9][0-9]{1,2})[af]?")
_HIP_ARCH = re.compile(r"(gfx(?:[1-9][0-9]?)[0-9a-f]{2})(?::.*)?", re.DOTALL)


@dataclass(frozen=True)
class Gpu:
    """What is known of one GPU of a machine.

    ``index`` counts from 0 and is the GPU's only name in a status; ``arch`` is empty and
    ``warp_size`` (32 or 64 lanes) 0 where nobody knows them. ``mig``: NVIDIA's partitions are on;
    each part has the architecture of the whole, so it fits the same caches.
    """

    index: int
    backend: str
    arch: str
    warp_size: int
    product: str
    driver_version: str = ""
    memory_bytes: int | None = None
    uuid: str = ""
    mig: bool = False
    simulated: bool = False


def numbered(gpus: Iterable[Gpu], first: int = 0) -> tuple[Gpu, ...]:
    """Give GPUs the numbers from ``first`` on, in their order."""
    return tuple(replace(gpu, index=index) for index, gpu in enumerate(gpus, first))


def backend_name(raw: object) -> str:
    """Return the backend in Triton's spelling (vLLM says ``rocm`` for ``hip``); "" if none."""
    name = raw.strip().lower() if isinstance(raw, str) else ""
    return _BACKENDS.get(name, name) if _BACKEND.fullmatch(name) else ""


def arch_name(backend: str, raw: object) -> str:
    """Return an architecture in Triton's spelling; "" if it is none of the backend's.

    For cuda 90, ``sm_90``, ``sm90``, ``compute_90`` and ``sm_90a`` are one: the letter says which
    instructions a compiler may use, a framework looks for its kernels by the number alone. For hip
    what follows a colon (``gfx90a:sramecc+:xnack-``) says how the GPU is switched, not what it is.
    """
    text = str(raw) if type(raw) is int else raw
    if not isinstance(text, str):
        return ""
    pattern = {CUDA: _CUDA_ARCH, HIP: _HIP_ARCH}.get(backend)
    found = pattern.fullmatch(text.strip().lower()) if pattern else None
    return found[1] if found else ""


def warp_size(backend: str, arch: str) -> int:
    """Lanes of a warp (AMD: wavefront) that compilers use by default; 0 if not known.

    NVIDIA has 32; AMD has 64 up to gfx9 (GCN, CDNA) and 32 from gfx10 on (RDNA). Source: LLVM,
    AMDGPUUsage, "wavefrontsize64"; Triton's AMD driver reports the same.
    """
    if backend == CUDA:
        return 32
    if not arch:
        return 0
    return 64 if len(arch) == len("gfx90a") else 32
