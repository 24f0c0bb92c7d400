"""NVIDIA's GPUs, as the driver's own library reports them (NVML, through nvidia-ml-py).

The library belongs to the driver and is not part of GKM's image: NVIDIA's container runtime puts it
and ``/dev/nvidiactl`` into a container that asks for them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gkm.core.gpu import CUDA, Gpu, warp_size
from gkm.gpus.detector import Finding

try:
    import pynvml
except ImportError:  # a command line without the extra `agent`
    pynvml = None


class Nvml:
    """Asks NVML; without library or driver there are no GPUs, and the note says why."""

    how = "NVML"

    def look(self) -> Finding:
        """Report the GPUs by NVML's index, which follows the PCI bus."""
        if pynvml is None:
            return Finding(note="the Python package nvidia-ml-py is not installed")
        try:
            with _library():
                return _look()
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                return Finding(note="no NVIDIA driver here")
            return Finding(note=str(error), broken=True)


@contextmanager
def _library() -> Iterator[None]:
    """Open for one look only: a library that stays open does not see a new GPU."""
    pynvml.nvmlInit()
    try:
        yield
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _look() -> Finding:
    driver = pynvml.nvmlSystemGetDriverVersion()
    found, lost = [], []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            found.append(_gpu(index, driver))
        except (pynvml.NVMLError, ValueError) as error:  # ValueError: a name that is no text
            lost.append(f"GPU {index}: {error}")
    return Finding(tuple(found), "; ".join(lost), broken=bool(lost))


def _gpu(index: int, driver: str) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    arch = str(major * 10 + minor)
    memory = _known(pynvml.nvmlDeviceGetMemoryInfo, handle)
    mig = _known(pynvml.nvmlDeviceGetMigMode, handle)
    return Gpu(
        index,
        CUDA,
        arch,
        warp_size(CUDA, arch),
        pynvml.nvmlDeviceGetName(handle),
        driver,
        memory_bytes=memory and memory.total,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        mig=bool(mig and mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE),
    )


def _known(question: Callable[[Any], Any], handle: Any) -> Any:
    """Answer of a question that not every GPU understands; None from those that do not."""
    try:
        return question(handle)
    except pynvml.NVMLError:
        return None
