"""The frameworks whose caches GKM knows from the inside."""

from collections.abc import Mapping
from typing import Final

from gkm.api.errors import Rejected
from gkm.core.image import framework as named_framework
from gkm.kernels.framework import Framework
from gkm.kernels.triton import Triton

FRAMEWORKS: Final[tuple[Framework, ...]] = (Triton(),)


def required(labels: Mapping[str, str]) -> Framework:
    """Return the framework whose cache an image with these labels holds.

    Raises:
        Rejected: the labels name none, or one whose paths nobody here can rewrite: its cache
            would be mounted, and ignored.

    """
    name = named_framework(labels)
    if name is None:
        raise Rejected("NotACacheImage", "the image lacks the labels of a kernel cache")
    found = next((one for one in FRAMEWORKS if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in FRAMEWORKS)
        raise Rejected(
            "UnsupportedFramework",
            f"the image holds a {name} cache; this version brings {known} caches only",
        )
    return found
