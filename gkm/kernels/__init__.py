"""The frameworks whose caches GKM knows from the inside: each is a module of its name.

It is imported when it is needed: an extraction needs one of them.
"""

from collections.abc import Mapping
from importlib import import_module

from gkm.api.errors import Rejected
from gkm.core.image import FRAMEWORKS
from gkm.core.image import framework as named_framework
from gkm.kernels.framework import Framework


def known() -> tuple[Framework, ...]:
    """Return all, in the order in which a directory is looked at.

    vLLM's holds caches of torch, and torch's one of Triton: the other way round than with labels.
    """
    return tuple(map(_by_name, reversed(FRAMEWORKS)))


def required(labels: Mapping[str, str]) -> Framework:
    """Return the framework whose cache an image with these labels holds.

    Raises:
        Rejected: the labels name none.

    """
    name = named_framework(labels)
    if name is None:
        raise Rejected("NotACacheImage", "the image lacks the labels of a kernel cache")
    return _by_name(name)


def _by_name(name: str) -> Framework:
    found: Framework = import_module(f"gkm.kernels.{name}").FRAMEWORK
    return found
