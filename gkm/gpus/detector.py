"""What every way to find GPUs has in common."""

from dataclasses import dataclass
from typing import Protocol

from gkm.core.gpu import Gpu


@dataclass(frozen=True)
class Finding:
    """What one detector sees.

    ``note`` says in words why it sees none, or not all. ``broken``: there are signs of a GPU that
    could not be read, so that nothing follows from its absence.
    """

    gpus: tuple[Gpu, ...] = ()
    note: str = ""
    broken: bool = False


class Detector(Protocol):
    """One source of knowledge. A new vendor is a new file with one of these."""

    how: str
    """Where it looks, for users: ``NVML``."""

    def look(self) -> Finding:
        """Look afresh: drivers and GPUs change while GKM runs. Never raises; may take seconds."""
