"""The frameworks whose caches GKM knows from the inside."""

from typing import Final

from gkm.kernels.framework import Framework
from gkm.kernels.triton import Triton

FRAMEWORKS: Final[tuple[Framework, ...]] = (Triton(),)


def by_name(name: str | None) -> Framework | None:
    """Return the framework of that name, if it is one of those."""
    return next((one for one in FRAMEWORKS if one.name == name), None)
