"""What the headers of compiled kernels and launchers say, as real compilers wrote them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.kernels.elf import HEADER_BYTES, HostObject, gpu_target, host_object

CUDA_7, CUDA_8, AMD = (0x33, 7), (0x41, 8), (0x40, 3)


def elf(machine: int, flags: int = 0, kind: tuple[int, int] = (0, 0)) -> bytes:
    """A header as the tables of the ABI have it; ``kind`` is the OS ABI and its version."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(kind) + bytes(7)
    return ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 0, 0, flags, 64, 0, 0, 64, 0, 0)


@pytest.mark.parametrize(
    ("kind", "machine", "flags", "target"),
    [
        # captured: kernels that Triton 3.9 compiled, and the target in the JSON beside them
        (CUDA_7, 190, 0x4B054B, ("cuda", "75")),
        (CUDA_7, 190, 0x500550, ("cuda", "80")),
        (CUDA_7, 190, 0x560556, ("cuda", "86")),
        (CUDA_7, 190, 0x590559, ("cuda", "89")),
        (CUDA_8, 190, 0x9005A04, ("cuda", "90")),
        (CUDA_8, 190, 0xA005A04, ("cuda", "90")),
        (CUDA_8, 190, 0x9006402, ("cuda", "100")),
        (CUDA_8, 190, 0x9006702, ("cuda", "103")),
        (CUDA_8, 190, 0x9007802, ("cuda", "120")),
        (AMD, 224, 0x530, ("hip", "gfx908")),
        (AMD, 224, 0x53F, ("hip", "gfx90a")),
        (AMD, 224, 0x54C, ("hip", "gfx942")),
        (AMD, 224, 0x54F, ("hip", "gfx950")),
        (AMD, 224, 0x41, ("hip", "gfx1100")),
        (AMD, 224, 0x46, ("hip", "gfx1101")),
        (AMD, 224, 0x4A, ("hip", "gfx1151")),
        (AMD, 224, 0x48, ("hip", "gfx1200")),
        (AMD, 224, 0x4E, ("hip", "gfx1201")),
        (AMD, 224, 0x449, ("hip", "gfx1250")),
        # not known: a generic processor, an ABI of tomorrow, no SM version, a CPU
        (AMD, 224, 0x51, None),
        ((0x41, 9), 190, 0x9005A04, None),
        (CUDA_7, 190, 0, None),
        ((0, 0), 62, 0, None),
    ],
)
def test_a_compiled_kernel_names_its_gpu(
    kind: tuple[int, int], machine: int, flags: int, target: tuple[str, str] | None
) -> None:
    assert gpu_target(elf(machine, flags, kind)) == target


@pytest.mark.parametrize(
    ("name", "machine", "found"),
    [
        ("__triton_launcher.so", 62, HostObject("x86_64")),
        (
            "__triton_launcher.cpython-311-x86_64-linux-gnu.so",
            62,
            HostObject("x86_64", "cpython-311"),
        ),
        ("hip_utils.cpython-313t-aarch64.so", 183, HostObject("aarch64", "cpython-313t")),
        ("cuda_utils.abi3.so", 183, HostObject("aarch64", "abi3")),
        ("c4tjx.main.so", 62, HostObject("x86_64")),
        ("__triton_launcher.so", 224, None),
        ("__triton_launcher.so", 9999, None),
    ],
)
def test_a_launcher_names_cpu_and_python_mcv_24(
    name: str, machine: int, found: HostObject | None
) -> None:
    assert host_object(name, elf(machine)) == found


@given(st.binary(max_size=100), st.integers(0, HEADER_BYTES))
def test_junk_and_cut_headers_are_no_error(junk: bytes, length: int) -> None:
    whole = elf(190, 0x500550, CUDA_7)
    for content in (junk, whole[:length], whole[:16] + junk, b"\x7fELF\x01\x01\x01" + whole[7:]):
        gpu_target(content)
        host_object("a.so", content)
    if length < HEADER_BYTES:
        assert gpu_target(whole[:length]) is None
