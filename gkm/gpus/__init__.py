"""What GPUs a machine has: its drivers are asked, else its Node's labels; or they are simulated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gkm.core.gpu import Gpu, numbered
from gkm.gpus.amd import AmdSysfs
from gkm.gpus.detector import Detector, Finding
from gkm.gpus.labels import NodeLabels
from gkm.gpus.nvml import Nvml
from gkm.gpus.simulated import parse

DRIVERS: Final[tuple[Detector, ...]] = (Nvml(), AmdSysfs())
"""Every vendor's driver, asked in this order."""

_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Inventory:
    """The GPUs of a machine.

    ``how``: who told of them, empty if nobody did. ``notes``: what the others say, and who they
    are. ``certain``: nothing was there that could not be read; else a GPU that is missing here may
    be there, and what was known of it before should stay.
    """

    gpus: tuple[Gpu, ...]
    how: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    certain: bool = True


def detect(
    simulated: str = "",
    labels: Mapping[str, str] = _NO_LABELS,
    drivers: Sequence[Detector] = DRIVERS,
) -> Inventory:
    """Look for GPUs, afresh at every call; may take seconds where a driver must be woken.

    A text of simulated GPUs stands for everything else. All drivers are asked, since one machine
    can have GPUs of two vendors; the node's labels only if no driver knows a GPU. Raises
    Rejected(BadSimulatedGPUs); a driver that fails is a note.
    """
    if simulated:
        return Inventory(parse(simulated), ("simulated",))
    told = _joined([(one.how, one.look()) for one in drivers])
    if told.gpus:
        return told
    named = NodeLabels(labels)
    found = _joined([(named.how, named.look())]) if labels else Inventory(())
    return Inventory(found.gpus, found.how, told.notes + found.notes, told.certain)


def _joined(findings: Sequence[tuple[str, Finding]]) -> Inventory:
    """Put them together; numbers stay their detector's own on a machine with one vendor."""
    gpus: list[Gpu] = []
    for _, finding in findings:
        gpus += numbered(finding.gpus, gpus[-1].index + 1) if gpus else finding.gpus
    return Inventory(
        tuple(gpus),
        tuple(how for how, finding in findings if finding.gpus),
        tuple(f"{how}: {finding.note}" for how, finding in findings if finding.note),
        not any(finding.broken for _, finding in findings),
    )
