"""NVIDIA's real bindings over a driver library that is played: its functions, its error codes."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml
import pytest

from gkm.core.gpu import Gpu
from gkm.gpus.detector import Finding
from gkm.gpus.nvml import Nvml

GIB = 1 << 30


@dataclass
class Card:
    """What the driver knows of one GPU; an ``error`` is its answer to everything."""

    name: str
    capability: tuple[int, int]
    memory: int | None = 16 * GIB
    mig: bool | None = None
    error: int = 0


class Library:
    """``libnvidia-ml.so.1`` as ctypes would load it."""

    def __init__(self, *cards: Card, init: int = 0, driver: str = "580.65.06") -> None:
        self.cards, self.init, self.driver = cards, init, driver
        self.open = 0

    def nvmlInitWithFlags(self, _flags: int) -> int:  # noqa: N802 - NVML's names
        self.open += self.init == 0
        return self.init

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.open -= 1
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, _size: Any) -> int:  # noqa: N802
        text.value = self.driver.encode()
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.cards)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:  # noqa: N802
        ctypes.c_void_p.from_buffer(handle._obj).value = index.value + 1
        return self.cards[int(index.value)].error

    def nvmlDeviceGetName(self, handle: Any, text: Any, _size: Any) -> int:  # noqa: N802
        text.value = self.card(handle).name.encode()
        return 0

    def nvmlDeviceGetUUID(self, handle: Any, text: Any, _size: Any) -> int:  # noqa: N802
        text.value = f"GPU-{self.cards.index(self.card(handle))}".encode()
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any, major: Any, minor: Any) -> int:  # noqa: N802
        major._obj.value, minor._obj.value = self.card(handle).capability
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        known = self.card(handle).memory
        memory._obj.total = known or 0
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED) if known is None else 0

    def nvmlDeviceGetMigMode(self, handle: Any, current: Any, _pending: Any) -> int:  # noqa: N802
        mig = self.card(handle).mig
        current._obj.value = bool(mig)
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED) if mig is None else 0

    def card(self, handle: Any) -> Card:
        return self.cards[(ctypes.cast(handle, ctypes.c_void_p).value or 0) - 1]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Library | None], Library | None]:
    def load(library: Library | None) -> Library | None:
        monkeypatch.setattr(pynvml, "nvmlLib", library)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return library

    return load


@pytest.mark.parametrize(
    ("card", "arch"),
    [
        (Card("Tesla V100-SXM2-32GB", (7, 0)), "70"),
        (Card("Tesla T4", (7, 5)), "75"),
        (Card("NVIDIA A100-SXM4-80GB", (8, 0), mig=False), "80"),
        (Card("NVIDIA A10", (8, 6)), "86"),
        (Card("NVIDIA L40S", (8, 9)), "89"),
        (Card("NVIDIA H100 80GB HBM3", (9, 0), mig=False), "90"),
        (Card("NVIDIA B200", (10, 0), mig=False), "100"),
        (Card("NVIDIA B300", (10, 3), mig=False), "103"),
        (Card("NVIDIA GeForce RTX 5090", (12, 0)), "120"),
        (Card("NVIDIA GB10", (12, 1), memory=None), "121"),
    ],
    ids=lambda value: value.name if isinstance(value, Card) else value,
)
def test_a_card_is_called_as_its_driver_calls_it(play: Any, card: Card, arch: str) -> None:
    library = play(Library(card))
    assert Nvml().look().gpus == (
        Gpu(0, "cuda", arch, 32, card.name, "580.65.06", card.memory, "GPU-0"),
    )
    assert library.open == 0, "NVML is closed again"


def test_cards_of_several_kinds_keep_their_names_and_numbers(play: Any) -> None:
    play(Library(Card("NVIDIA A100", (8, 0), mig=True), Card("Tesla T4", (7, 5))))
    found = Nvml().look()
    assert [(gpu.index, gpu.product, gpu.arch, gpu.mig) for gpu in found.gpus] == [
        (0, "NVIDIA A100", "80", True),
        (1, "Tesla T4", "75", False),
    ]
    assert not found.broken


def test_a_lost_card_costs_only_itself_and_no_other_its_number(play: Any) -> None:
    lost = Card("", (0, 0), error=pynvml.NVML_ERROR_GPU_IS_LOST)
    play(Library(Card("NVIDIA L4", (8, 9)), lost, Card("NVIDIA L4", (8, 9))))
    found = Nvml().look()
    assert [gpu.index for gpu in found.gpus] == [0, 2]
    assert (found.note, found.broken) == ("GPU 1: GPU is lost", True)


@pytest.mark.parametrize(
    ("code", "note"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "RM has detected an NVML/RM version mismatch."),
    ],
)
def test_a_driver_that_does_not_answer_is_no_proof_of_no_gpu(
    play: Any, code: int, note: str
) -> None:
    library = play(Library(init=code))
    assert Nvml().look() == Finding(note=note, broken=True)
    assert library.open == 0


def test_a_driver_that_comes_later_is_seen(play: Any) -> None:
    detector = Nvml()
    play(Library(init=pynvml.NVML_ERROR_DRIVER_NOT_LOADED))
    assert detector.look().gpus == ()
    play(Library(Card("Tesla T4", (7, 5)), driver="535.104.05"))
    assert [gpu.driver_version for gpu in detector.look().gpus] == ["535.104.05"]
    play(Library(Card("Tesla T4", (7, 5)), driver="580.65.06"))
    assert [gpu.driver_version for gpu in detector.look().gpus] == ["580.65.06"]


def test_without_the_drivers_library_there_are_no_gpus(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    play(None)
    monkeypatch.setattr(pynvml, "CDLL", absent)
    assert Nvml().look() == Finding(note="no NVIDIA driver here")


def test_without_the_bindings_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gkm.gpus.nvml.pynvml", None)
    assert "nvidia-ml-py" in Nvml().look().note
