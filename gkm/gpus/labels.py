"""GPUs as labels of a Node tell of them, for an agent that sees no device.

Sources: NVIDIA's GPU feature discovery (docs/gpu-feature-discovery of the k8s-device-plugin), AMD's
node labeller (cmd/k8s-node-labeller of its k8s-device-plugin), and Node Feature Discovery, which
says only that there is a GPU. NVIDIA's labels describe one model, whatever else is in the node, and
all outlive what they describe: so they are asked last.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from gkm.core.gpu import CUDA, HIP, Gpu, arch_name, numbered, warp_size
from gkm.gpus.catalog import BY_DEVICE_ID
from gkm.gpus.detector import Finding

_NVIDIA: Final = "nvidia.com/gpu"
_DRIVER: Final = "nvidia.com/cuda.driver"
_AMD: Final = ("amd.com/gpu", "beta.amd.com/gpu")
_NFD: Final = "feature.node.kubernetes.io"
_NVIDIA_PRESENT: Final = (
    f"{_NVIDIA}.present",
    f"{_NFD}/pci-10de.present",
    f"{_NFD}/pci-0300_10de.present",
    f"{_NFD}/pci-0302_10de.present",
)
_AMD_PRESENT: Final = (
    "rocm.amd.com/gpu.present",
    f"{_NFD}/amd-gpu",
    f"{_NFD}/pci-1200_1002.present",
)
_MOST_GPUS: Final = 128
"""More of one model are not believed: MIG makes 56 of 8 GPUs."""
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


class NodeLabels:
    """Reads the labels of one Node."""

    how = "node labels"

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels

    def look(self) -> Finding:
        """Report NVIDIA's GPUs before AMD's."""
        found = from_labels(self.labels)
        return Finding(found, "" if found else "none tells of a GPU")


def from_labels(labels: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs that a node's labels tell of.

    A label that only says that there is a GPU counts as one of unknown architecture: it may fit.
    With MIG's strategy ``single`` the parts are labelled like GPUs, and are counted as such.
    """
    return numbered((*_nvidia(labels), *_amd(labels)))


def _nvidia(labels: Mapping[str, str]) -> Iterator[Gpu]:
    count = labels.get(f"{_NVIDIA}.count")
    if count is None:
        if any(labels.get(key) == "true" for key in _NVIDIA_PRESENT):
            yield Gpu(0, CUDA, "", warp_size(CUDA, ""), "NVIDIA GPU")
        return
    product, mig, _ = labels.get(f"{_NVIDIA}.product", "").partition("-MIG-")
    parts = (labels.get(f"{_NVIDIA}.compute.{part}", "") for part in ("major", "minor"))
    arch = arch_name(CUDA, "".join(parts))
    gpu = Gpu(
        0,
        CUDA,
        arch,
        warp_size(CUDA, arch),
        product.removesuffix("-SHARED").replace("-", " ") or "NVIDIA GPU",
        _nvidia_driver(labels),
        memory_bytes=_number(labels.get(f"{_NVIDIA}.memory", "")) * _MIB or None,
        mig=bool(mig),
    )
    yield from [gpu] * min(_number(count), _MOST_GPUS)


def _nvidia_driver(labels: Mapping[str, str]) -> str:
    """Version of the driver: newer feature discoveries have one label, older ones three."""
    parts = (labels.get(f"{_DRIVER}.{part}", "") for part in ("major", "minor", "rev"))
    return labels.get(f"{_DRIVER}-version.full") or ".".join(filter(None, parts))


def _amd(labels: Mapping[str, str]) -> Iterator[Gpu]:
    counts = _device_counts(labels)
    for device, count in counts.items():
        yield from [_amd_gpu(labels, device, alone=len(counts) == 1)] * count
    if not counts and any(labels.get(key) == "true" for key in _AMD_PRESENT):
        yield Gpu(0, HIP, "", warp_size(HIP, ""), "AMD GPU")


def _device_counts(labels: Mapping[str, str]) -> dict[str, int]:
    """GPUs by PCI device id: ``device-id.74a1=8``; one if there is only ``device-id=74a1``."""
    for key in (f"{prefix}.device-id." for prefix in _AMD):
        counted = {name.removeprefix(key): name for name in sorted(labels) if name.startswith(key)}
        if counted:
            return {one: min(_number(labels[name]), _MOST_GPUS) for one, name in counted.items()}
    only = _amd_label(labels, "device-id")
    return {only: 1} if only else {}


def _amd_gpu(labels: Mapping[str, str], device: str, *, alone: bool) -> Gpu:
    """Return one GPU; only if all are of one model, other labels say what it is called."""
    model = BY_DEVICE_ID.get(device.lower())
    arch = model.arch if model else ""
    name = _amd_label(labels, "product-name").replace("_", " ") if alone else ""
    memory = _amd_label(labels, "vram").removesuffix("G") if alone else ""
    return Gpu(
        0,
        HIP,
        arch,
        warp_size(HIP, arch),
        name or (model.product if model else f"AMD GPU {device}"),
        _amd_label(labels, "driver-version"),
        memory_bytes=_number(memory) * _GIB or None,
    )


def _amd_label(labels: Mapping[str, str], name: str) -> str:
    found = (labels.get(f"{prefix}.{name}", "") for prefix in _AMD)
    return next(filter(None, found), "")


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,8}", text, re.ASCII) else 0
