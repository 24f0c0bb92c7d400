"""A node's GPUs in its report: what is believed of a look for them, and how it is written down."""

from collections.abc import Iterable
from itertools import groupby

from gkm.api.cachenode import CacheNodeStatus, GpuGroup
from gkm.core.gpu import Gpu

Gpus = tuple[Gpu, ...]


def believed(found: Gpus, *, certain: bool, before: Gpus | None) -> Gpus | None:
    """Return what is known of the GPUs after a look; None: nothing yet.

    A driver that could not be asked is no sign that a GPU went, so an uncertain look that misses
    some of those known ``before`` changes nothing.
    """
    if certain:
        return found
    if before is None:
        return found or None
    return found if len(found) >= len(before) else before


def groups(gpus: Gpus) -> tuple[GpuGroup, ...]:
    """Put GPUs of one type and driver together, in the order of their first numbers."""
    every = sorted(gpus, key=lambda gpu: (_kind(gpu), gpu.index))
    found = [_group(list(alike)) for _, alike in groupby(every, _kind)]
    return tuple(sorted(found, key=lambda group: group.ids))


def reported(status: CacheNodeStatus) -> Gpus | None:
    """Return the GPUs that an earlier report names; None if they had not been looked for."""
    if not status.node_name:
        return None
    return tuple(sorted(_ungrouped(status.gpus), key=lambda gpu: gpu.index))


def _kind(gpu: Gpu) -> tuple[str, str, str, str, int]:
    return gpu.product, gpu.driver_version, gpu.backend, gpu.arch, gpu.warp_size


def _group(alike: list[Gpu]) -> GpuGroup:
    product, driver, backend, arch, warp = _kind(alike[0])
    return GpuGroup(
        gpu_type=product,
        driver_version=driver,
        backend=backend,
        arch=arch,
        warp_size=warp,
        ids=tuple(gpu.index for gpu in alike),
    )


def _ungrouped(found: Iterable[GpuGroup]) -> Iterable[Gpu]:
    for one in found:
        for index in one.ids:
            yield Gpu(index, one.backend, one.arch, one.warp_size, one.gpu_type, one.driver_version)
