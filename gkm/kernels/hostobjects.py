"""Which CPU and which Python a cache's shared objects need: Triton compiles launchers for both.

They are part of a cache (``__triton_launcher.so``, ``cuda_utils.so``, ``hip_utils.so``, and what
torch compiles for the CPU), and load on no other machine. A fact for people, not for ``fit``: the
image's own platform speaks for its cache.
"""

from collections.abc import Iterable
from pathlib import Path

from gkm.kernels.elf import HEADER_BYTES, HostObject, host_object


def host_objects(root: Path, files: Iterable[str]) -> frozenset[HostObject]:
    """Return what the shared objects among these files need. Raises OSError."""
    found = (_read(root, path) for path in files if path.endswith(".so"))
    return frozenset(one for one in found if one)


def host_notes(root: Path, files: Iterable[str]) -> tuple[str, ...]:
    """Say for a packer what ``host_objects`` finds, sorted."""
    found = host_objects(root, files)
    machines = ", ".join(sorted({one.machine for one in found}))
    pythons = ", ".join(sorted({one.python for one in found if one.python}))
    with_python = f" and {pythons}" if pythons else ""
    return (f"it holds shared objects that load on {machines}{with_python} only",) if found else ()


def _read(root: Path, path: str) -> HostObject | None:
    with (root / path).open("rb") as file:
        return host_object(path.rpartition("/")[2], file.read(HEADER_BYTES))
