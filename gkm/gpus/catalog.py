"""GPUs by model, for sources that say what a GPU is called but not what it can run.

PCI device ids: libdrm, data/amdgpu.ids, and the Linux driver's own list (amdgpu_drv.c). Processors:
LLVM, AMDGPUUsage, "Processors". Compute capabilities: https://developer.nvidia.com/cuda-gpus.
"""

from dataclasses import dataclass
from typing import Final

from gkm.core.gpu import CUDA, HIP


@dataclass(frozen=True)
class Model:
    """One model; ``memory_gib`` of its largest variant, ``device_ids`` in lower-case hex."""

    name: str
    backend: str
    arch: str
    memory_gib: int
    product: str
    device_ids: tuple[str, ...] = ()


def _nvidia(name: str, arch: str, memory_gib: int) -> Model:
    return Model(name, CUDA, arch, memory_gib, f"NVIDIA {name}")


def _instinct(name: str, arch: str, memory_gib: int, device_ids: str) -> Model:
    return Model(name, HIP, arch, memory_gib, f"AMD Instinct {name}", tuple(device_ids.split()))


def _radeon(name: str, arch: str, memory_gib: int, device_ids: str) -> Model:
    return Model(name, HIP, arch, memory_gib, f"AMD Radeon {name}", tuple(device_ids.split()))


MODELS: Final = (
    _nvidia("V100", "70", 32),
    _nvidia("T4", "75", 16),
    _nvidia("A100", "80", 80),
    _nvidia("A30", "80", 24),
    _nvidia("A10", "86", 24),
    _nvidia("A40", "86", 48),
    _nvidia("L4", "89", 24),
    _nvidia("L40S", "89", 48),
    _nvidia("H100", "90", 80),
    _nvidia("H200", "90", 141),
    _nvidia("GH200", "90", 144),
    _nvidia("B200", "100", 192),
    _nvidia("GB200", "100", 192),
    _nvidia("B300", "103", 288),
    _instinct("MI25", "gfx900", 16, "6860"),
    _instinct("MI50", "gfx906", 32, "66a0 66a1"),
    _instinct("MI100", "gfx908", 32, "738c 738e"),
    _instinct("MI210", "gfx90a", 64, "740f 7410"),
    _instinct("MI250X", "gfx90a", 64, "7408 740c"),
    _instinct("MI300A", "gfx942", 128, "74a0"),
    _instinct("MI300X", "gfx942", 192, "74a1 74a9 74b5 74bd"),
    _instinct("MI308X", "gfx942", 192, "74a2 74a8 74b6"),
    _instinct("MI325X", "gfx942", 256, "74a5 74b9"),
    _instinct("MI350X", "gfx950", 288, "75a0 75b0"),
    _instinct("MI355X", "gfx950", 288, "75a3 75b3"),
    _radeon("RX 6900 XT", "gfx1030", 16, "73bf 73af 73a5"),
    _radeon("PRO W6800", "gfx1030", 32, "73a3"),
    _radeon("RX 7900 XTX", "gfx1100", 24, "744c"),
    _radeon("PRO W7900", "gfx1100", 48, "7448"),
    _radeon("RX 7800 XT", "gfx1101", 16, "747e"),
    _radeon("RX 7600", "gfx1102", 8, "7480"),
    _radeon("RX 9060 XT", "gfx1200", 16, "7590"),
    _radeon("RX 9070 XT", "gfx1201", 16, "7550"),
    _radeon("AI PRO R9700", "gfx1201", 32, "7551"),
)

BY_NAME: Final = {model.name.lower(): model for model in MODELS}
BY_DEVICE_ID: Final = {device: model for model in MODELS for device in model.device_ids}
"""AMD's GPUs only: NVIDIA's sources all say the compute capability."""
