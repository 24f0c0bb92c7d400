"""What ``gkm explain`` compares with where the workload itself runs: this Python, this machine."""

import os
import platform
from collections.abc import Iterable
from importlib import metadata

from gkm.core.hit import PodFacts
from gkm.core.podfacts import python_abi

_DISTRIBUTIONS = {
    "triton": ("triton", "pytorch-triton", "pytorch-triton-rocm", "triton-rocm"),
    "torch": ("torch",),
    "vllm": ("vllm",),
}


def here(mounts: Iterable[str]) -> PodFacts:
    """Return what is known of this process; no framework is imported."""
    found = {name: _version(every) for name, every in _DISTRIBUTIONS.items()}
    return PodFacts(
        versions={name: version for name, version in found.items() if version},
        environment=dict(os.environ),
        whole=True,
        mounts=tuple(mounts),
        machine=platform.machine(),
        python=python_abi(platform.python_version()),
    )


def _version(names: Iterable[str]) -> str:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""
