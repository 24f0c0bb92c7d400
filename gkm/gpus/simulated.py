"""GPUs that are only said to be there, for clusters without any: KIND, the demo, tests.

The text comes from a chart value or from an annotation of a Node, and is a list of groups
``type=H100,driver=550.54.15,count=2;type=MI210``, or ``none`` for a node without GPUs. A type is a
model of the catalogue or, for any other GPU, ``cuda:120`` or ``hip:gfx1151``.
"""

import re
from collections.abc import Mapping
from typing import Final

from gkm.api.errors import Rejected
from gkm.core.gpu import CUDA, HIP, Gpu, arch_name, numbered, warp_size
from gkm.gpus.catalog import BY_NAME, MODELS

NONE: Final = "none"
_MOST_GPUS: Final = 64
_FIELDS: Final = ("type", "driver", "count")
_DRIVER: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+~-]{0,62}", re.ASCII)
_COUNT: Final = re.compile(r"[1-9][0-9]?", re.ASCII)
_GIB: Final = 1 << 30


def parse(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs that ``text`` names; raises Rejected(BadSimulatedGPUs), saying what is wrong.

    ``driver`` may be missing; ``count`` is 1 unless given, and at most 64 for the whole node.
    """
    if text.strip() == NONE:
        return ()
    groups = [_group(_fields(group)) for group in text.split(";")]
    gpus = [gpu for group in groups for gpu in group]
    if len(gpus) > _MOST_GPUS:
        raise _bad("count", f"{len(gpus)} in all", f"at most {_MOST_GPUS} on one node")
    return numbered(gpus)


def _fields(group: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for part in group.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in _FIELDS:
            raise _bad("group", group.strip(), "type=NAME[,driver=VERSION][,count=NUMBER] or none")
        if name in found:
            raise _bad(name, f"twice in {group.strip()}", "each field once in a group")
        found[name] = value
    return found


def _group(fields: Mapping[str, str]) -> list[Gpu]:
    driver, count = fields.get("driver", ""), fields.get("count", "1")
    if "driver" in fields and not _DRIVER.fullmatch(driver):
        raise _bad("driver", driver, "a version such as 550.54.15")
    if not _COUNT.fullmatch(count) or int(count) > _MOST_GPUS:
        raise _bad("count", count, f"a whole number from 1 to {_MOST_GPUS}")
    return [_gpu(fields.get("type", ""), driver)] * int(count)


def _gpu(kind: str, driver: str) -> Gpu:
    backend, colon, raw = kind.partition(":")
    arch = arch_name(backend, raw) if colon else ""
    if arch:
        return Gpu(0, backend, arch, warp_size(backend, arch), kind, driver, simulated=True)
    model = BY_NAME.get(kind.lower())
    if model is None:
        known = ", ".join(model.name for model in MODELS)
        raise _bad("type", kind, f"{CUDA}:ARCH, {HIP}:ARCH or one of {known}")
    lanes = warp_size(model.backend, model.arch)
    memory = model.memory_gib * _GIB
    return Gpu(0, model.backend, model.arch, lanes, model.product, driver, memory, simulated=True)


def _bad(field: str, found: str, expected: str) -> Rejected:
    return Rejected(
        "BadSimulatedGPUs", f"simulated GPUs: {field} is '{found[:80]}', expected {expected}"
    )
