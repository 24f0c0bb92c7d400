"""The frameworks whose caches GKM knows from the inside."""

from collections.abc import Mapping
from typing import Final

from gkm.api.errors import Rejected
from gkm.core.image import framework as named_framework
from gkm.kernels.framework import Framework
from gkm.kernels.inductor import Inductor
from gkm.kernels.triton import Triton
from gkm.kernels.vllm import Vllm

FRAMEWORKS: Final[tuple[Framework, ...]] = (Vllm(), Inductor(), Triton())
"""Those of ``core.image.FRAMEWORKS``, in the order in which a directory is looked at: vLLM's holds
caches of torch, and torch's one of Triton."""

_BY_NAME: Final = {one.name: one for one in FRAMEWORKS}


def required(labels: Mapping[str, str]) -> Framework:
    """Return the framework whose cache an image with these labels holds.

    Raises:
        Rejected: the labels name none.

    """
    name = named_framework(labels)
    if name is None:
        raise Rejected("NotACacheImage", "the image lacks the labels of a kernel cache")
    return _BY_NAME[name]
