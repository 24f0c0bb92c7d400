"""Who is asked first, machines with two vendors, and what `gkm gpus` prints of it."""

import json
from collections.abc import Callable

import pytest

import gkm.cli.gpus as command
from gkm.core.gpu import Gpu
from gkm.gpus import Inventory, detect
from gkm.gpus.detector import Finding

T4 = Gpu(0, "cuda", "75", 32, "Tesla T4", "535.104.05", 15 << 30)
MI210 = Gpu(0, "hip", "gfx90a", 64, "AMD Instinct MI210")
LABELS = {"nvidia.com/gpu.present": "true"}


class Driver:
    """A detector that sees what it is told to."""

    def __init__(self, how: str, *gpus: Gpu, note: str = "", broken: bool = False) -> None:
        self.how = how
        self.finding = Finding(gpus, note, broken)

    def look(self) -> Finding:
        return self.finding


NOTHING = Driver("NVML", note="no NVIDIA driver here")
BROKEN = Driver("NVML", note="Driver Not Loaded", broken=True)


def test_a_driver_stands_before_labels() -> None:
    assert detect("", LABELS, [Driver("NVML", T4)]) == Inventory((T4,), ("NVML",))


def test_labels_are_read_when_no_driver_knows_a_gpu() -> None:
    found = detect("", LABELS, [NOTHING])
    assert [gpu.backend for gpu in found.gpus] == ["cuda"]
    assert found.how == ("node labels",)
    assert found.notes == ("NVML: no NVIDIA driver here",)


def test_simulated_gpus_stand_before_everything() -> None:
    found = detect("type=H100", LABELS, [Driver("NVML", T4)])
    assert (found.how, [gpu.product for gpu in found.gpus]) == (("simulated",), ["NVIDIA H100"])
    assert detect("none", LABELS, [Driver("NVML", T4)]) == Inventory((), ("simulated",))


def test_gpus_of_two_vendors_are_all_there_with_numbers_of_their_own() -> None:
    late = Gpu(2, "cuda", "75", 32, "Tesla T4")
    found = detect("", {}, [Driver("NVML", T4, late), Driver("AMD sysfs", MI210, MI210)])
    assert [(gpu.index, gpu.backend) for gpu in found.gpus] == [
        (0, "cuda"),
        (2, "cuda"),
        (3, "hip"),
        (4, "hip"),
    ]
    assert found.how == ("NVML", "AMD sysfs")


def test_none_is_certain_only_if_nothing_was_broken() -> None:
    assert detect("", {}, [NOTHING]) == Inventory((), (), ("NVML: no NVIDIA driver here",))
    assert not detect("", {}, [BROKEN]).certain
    assert not detect("", LABELS, [BROKEN]).certain
    assert not detect("", {}, [BROKEN, Driver("AMD sysfs", MI210)]).certain


Show = Callable[..., str]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    def run(inventory: Inventory, *arguments: str) -> str:
        monkeypatch.setattr(command, "detect", lambda: inventory)
        assert command.main(arguments) == 0
        return capsys.readouterr().out

    return run


def test_the_table_is_plain_where_nobody_looks(show: Show) -> None:
    other = Gpu(1, "hip", "", 0, "AMD GPU ffff", mig=True)
    assert show(Inventory((T4, other), ("NVML", "AMD sysfs"), ("AMD sysfs: told by PCI",))) == (
        "GPU  TYPE                BACKEND  ARCH     WARP     MEMORY   DRIVER\n"
        "0    Tesla T4            cuda     75       32       15 GiB   535.104.05\n"
        "1    AMD GPU ffff (MIG)  hip      unknown  unknown  unknown  unknown\n"
        "told by NVML and AMD sysfs\n"
        "  AMD sysfs: told by PCI\n"
    )


def test_a_terminal_gets_the_same_cells(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    printed = show(Inventory((T4,), ("NVML",)))
    assert "Tesla T4" in printed
    assert "15 GiB" in printed


def test_a_machine_without_gpus_says_so_and_why(show: Show) -> None:
    assert show(detect("", {}, [NOTHING])) == "no GPUs found\n  NVML: no NVIDIA driver here\n"


def test_json_holds_every_field(show: Show) -> None:
    found = json.loads(show(Inventory((T4,), ("NVML",)), "-o", "json"))
    assert found["how"] == ["NVML"]
    assert found["certain"] is True
    assert found["gpus"][0] == {
        "index": 0,
        "backend": "cuda",
        "arch": "75",
        "warp_size": 32,
        "product": "Tesla T4",
        "driver_version": "535.104.05",
        "memory_bytes": 15 << 30,
        "uuid": "",
        "mig": False,
        "simulated": False,
    }
