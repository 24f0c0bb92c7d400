"""AMD's GPUs, as the Linux driver shows them in sysfs; no library and no device is opened.

Source: Linux, drivers/gpu/drm/amd/amdkfd/kfd_topology.c. KFD lists what HIP sees, in HIP's order,
partitions of a GPU too. To a container that was not given the device it refuses to read a GPU's
node (EPERM); then the driver's PCI devices are read, whose ids say less.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gkm.core.gpu import HIP, Gpu, warp_size
from gkm.gpus.catalog import BY_DEVICE_ID
from gkm.gpus.detector import Finding

_NODES: Final = "sys/class/kfd/kfd/topology/nodes"
_PCI: Final = "sys/bus/pci/drivers/amdgpu"
_FRAME_BUFFERS: Final = (1, 2)
"""``heap_type`` of a GPU's own memory: visible to the host, and not."""


class AmdSysfs:
    """Reads sysfs below ``root``; without the driver there are no GPUs."""

    how = "AMD sysfs"

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def look(self) -> Finding:
        """Report the GPUs in the order of KFD's nodes."""
        try:
            return self._look()
        except (OSError, ValueError) as error:
            return Finding(note=f"sysfs cannot be read: {error}", broken=True)

    def _look(self) -> Finding:
        nodes = self.root / _NODES
        if not nodes.is_dir():
            return Finding(note="no AMD driver here")
        try:
            return self._from_kfd(sorted(nodes.iterdir(), key=lambda path: int(path.name)))
        except PermissionError:
            return self._from_pci()

    def _from_kfd(self, nodes: list[Path]) -> Finding:
        found: list[Gpu] = []
        for node in nodes:
            facts = _properties(node / "properties")
            if facts.get("simd_count", 0) > 0 and facts.get("gfx_target_version", 0) > 0:
                found.append(self._gpu(len(found), node, facts))
        return Finding(tuple(found), "" if found else "the AMD driver has no GPU")

    def _gpu(self, index: int, node: Path, facts: dict[str, int]) -> Gpu:
        arch = gfx_name(facts["gfx_target_version"])
        wave, unique = facts.get("wave_front_size", 0), facts.get("unique_id", 0)
        card = self.root / f"sys/class/drm/renderD{facts.get('drm_render_minor', 0)}/device"
        return Gpu(
            index,
            HIP,
            arch,
            wave if wave in (32, 64) else warp_size(HIP, arch),
            _product(card, f"{facts.get('device_id', 0):04x}") or f"AMD {arch}",
            self._driver(),
            memory_bytes=sum(_banks(node)) or None,
            uuid=f"GPU-{unique:016x}" if unique else "",
        )

    def _from_pci(self) -> Finding:
        cards = sorted((self.root / _PCI).glob("*:*"))
        found = tuple(self._pci_gpu(index, card) for index, card in enumerate(cards))
        return Finding(found, "KFD hides its GPUs here, told by PCI ids only", broken=not found)

    def _pci_gpu(self, index: int, card: Path) -> Gpu:
        """Return what PCI says; a model that the catalogue lacks has no known architecture."""
        device, memory = _text(card / "device").removeprefix("0x"), card / "mem_info_vram_total"
        arch = BY_DEVICE_ID[device].arch if device in BY_DEVICE_ID else ""
        return Gpu(
            index,
            HIP,
            arch,
            warp_size(HIP, arch),
            _product(card, device) or f"AMD GPU {device}",
            self._driver(),
            memory_bytes=int(_text(memory) or 0) or None,
        )

    def _driver(self) -> str:
        """Version of AMD's own driver package, else the kernel's, whose part the driver is."""
        return _text(self.root / "sys/module/amdgpu/version") or _text(
            self.root / "proc/sys/kernel/osrelease"
        )


def gfx_name(version: int) -> str:
    """Return LLVM's name of a ``gfx_target_version``: 90010 is ``gfx90a``, 110000 ``gfx1100``."""
    major, rest = divmod(version, 10000)
    minor, stepping = divmod(rest, 100)
    return f"gfx{major}{minor:x}{stepping:x}"


def _properties(path: Path) -> dict[str, int]:
    """Read ``name number`` lines; raises OSError."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _banks(node: Path) -> Iterator[int]:
    for bank in sorted((node / "mem_banks").glob("*/properties")):
        facts = _properties(bank)
        if facts.get("heap_type") in _FRAME_BUFFERS:
            yield facts.get("size_in_bytes", 0)


def _product(card: Path, device: str) -> str:
    """Name that the board says of itself (server boards do), else the catalogue's, else ""."""
    model = BY_DEVICE_ID.get(device)
    return _text(card / "product_name") or (model.product if model else "")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
