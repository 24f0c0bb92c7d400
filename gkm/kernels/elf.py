"""What the first bytes of an ELF file say about the machine that can run it.

Compiled kernels are ELF files, for NVIDIA (cubin) as for AMD (hsaco), and so are the launchers that
Triton compiles for the CPU. This reads one header: it is no loader, and looks at no section.

Sources: the System V ABI's chapter on object files (header), LLVM's "User Guide for AMDGPU
Backend" (table "AMDGPU Machine (EF_AMDGPU_MACH)"), and for cubins, whose flags NVIDIA does not
publish, what ptxas writes: up to CUDA 12.x for ABI version 7 the SM version in the lowest byte
(``0x500550`` for sm_80), for ABI version 8 in the second (``0x9005a04`` for sm_90).
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from gkm.core.gpu import CUDA, HIP

HEADER_BYTES: Final = 64
"""Size of the header of a 64-bit file; more is never needed."""
MAGIC: Final = b"\x7fELF\x02\x01\x01"
"""64 bits, little-endian, version 1: all machines here are that."""

_FIELDS: Final = struct.Struct("<7sBB7xHHIQQQI")
_CUBIN: Final = 190
_HSACO: Final = 224
_HOSTS: Final = {62: "x86_64", 183: "aarch64", 243: "riscv64", 21: "ppc64le", 22: "s390x"}
_SM_SHIFTS: Final = {7: 0, 8: 8}
_SMALLEST_SM: Final = 20

# fmt: off
_PROCESSORS: Final = {
    0x20: "gfx600", 0x21: "gfx601", 0x22: "gfx700", 0x23: "gfx701", 0x24: "gfx702",
    0x25: "gfx703", 0x26: "gfx704", 0x28: "gfx801", 0x29: "gfx802", 0x2A: "gfx803",
    0x2B: "gfx810", 0x2C: "gfx900", 0x2D: "gfx902", 0x2E: "gfx904", 0x2F: "gfx906",
    0x30: "gfx908", 0x31: "gfx909", 0x32: "gfx90c", 0x33: "gfx1010", 0x34: "gfx1011",
    0x35: "gfx1012", 0x36: "gfx1030", 0x37: "gfx1031", 0x38: "gfx1032", 0x39: "gfx1033",
    0x3A: "gfx602", 0x3B: "gfx705", 0x3C: "gfx805", 0x3D: "gfx1035", 0x3E: "gfx1034",
    0x3F: "gfx90a", 0x40: "gfx940", 0x41: "gfx1100", 0x42: "gfx1013", 0x43: "gfx1150",
    0x44: "gfx1103", 0x45: "gfx1036", 0x46: "gfx1101", 0x47: "gfx1102", 0x48: "gfx1200",
    0x49: "gfx1250", 0x4A: "gfx1151", 0x4B: "gfx941", 0x4C: "gfx942", 0x4E: "gfx1201",
    0x4F: "gfx950", 0x55: "gfx1152", 0x58: "gfx1153",
}
# fmt: on

_EXTENSION = re.compile(r"\.(cpython-[0-9]{2,4}[a-z]{0,4}|abi3)[.-]")


@dataclass(frozen=True)
class HostObject:
    """Code for a CPU: ``machine`` as ``uname -m`` says it, ``python`` its ABI, "" if not known."""

    machine: str
    python: str = ""


def gpu_target(content: bytes) -> tuple[str, str] | None:
    """Return backend and architecture (Triton's spelling) of a cubin or hsaco; None: it is none.

    None also for a processor that is not in the table: better unknown than a guess.
    """
    header = _header(content)
    if header is None:
        return None
    abi, machine, flags = header
    if machine == _CUBIN and abi in _SM_SHIFTS:
        version = flags >> _SM_SHIFTS[abi] & 0xFF
        return (CUDA, str(version)) if version >= _SMALLEST_SM else None
    processor = _PROCESSORS.get(flags & 0xFF) if machine == _HSACO else None
    return (HIP, processor) if processor else None


def host_object(name: str, content: bytes) -> HostObject | None:
    """Say for which CPU and Python an object file was made; None if it is for no CPU known here.

    Only the file's name tells the Python, where the compiler put it there
    (``__triton_launcher.cpython-311-x86_64-linux-gnu.so``).
    """
    header = _header(content)
    machine = _HOSTS.get(header[1]) if header else None
    if machine is None:
        return None
    found = _EXTENSION.search(name)
    return HostObject(machine, found[1] if found else "")


def _header(content: bytes) -> tuple[int, int, int] | None:
    """Return ABI version, machine and flags; None if these bytes begin no ELF file as above."""
    if len(content) < HEADER_BYTES or not content.startswith(MAGIC):
        return None
    _, _, abi, _, machine, _, _, _, _, flags = _FIELDS.unpack_from(content)
    return abi, machine, flags
