"""AMD's GPUs from trees of sysfs in the kernel's format."""

from pathlib import Path

import pytest

from gkm.core.gpu import Gpu
from gkm.gpus.amd import AmdSysfs, gfx_name
from gkm.gpus.detector import Finding

GIB = 1 << 30
KFD = "sys/class/kfd/kfd/topology/nodes"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def cpu(node: int) -> dict[str, str]:
    facts = "cpu_cores_count 64\nsimd_count 0\nwave_front_size 0\ngfx_target_version 0\n"
    return {f"{KFD}/{node}/properties": facts}


def gpu(node: int, device: int, version: int, wave: int, gib: int = 64) -> dict[str, str]:
    minor = 128 + node
    return {
        f"{KFD}/{node}/properties": (
            f"cpu_cores_count 0\nsimd_count 416\nmem_banks_count 2\nwave_front_size {wave}\n"
            f"gfx_target_version {version}\nvendor_id 4098\ndevice_id {device}\n"
            f"drm_render_minor {minor}\nunique_id {0xDAFF740F00000000 + node}\n"
        ),
        f"{KFD}/{node}/mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {gib * GIB}\n",
        f"{KFD}/{node}/mem_banks/1/properties": "heap_type 4\nsize_in_bytes 65536\n",
    }


DRIVER = {"sys/module/amdgpu/version": "6.8.5\n"}


@pytest.mark.parametrize(
    ("device", "version", "wave", "arch", "product"),
    [
        (0x66A1, 90006, 64, "gfx906", "AMD Instinct MI50"),
        (0x738C, 90008, 64, "gfx908", "AMD Instinct MI100"),
        (0x740F, 90010, 64, "gfx90a", "AMD Instinct MI210"),
        (0x74A1, 90402, 64, "gfx942", "AMD Instinct MI300X"),
        (0x75A3, 90500, 64, "gfx950", "AMD Instinct MI355X"),
        (0x73BF, 100300, 32, "gfx1030", "AMD Radeon RX 6900 XT"),
        (0x744C, 110000, 32, "gfx1100", "AMD Radeon RX 7900 XTX"),
        (0x7550, 120001, 32, "gfx1201", "AMD Radeon RX 9070 XT"),
        (0x1586, 110501, 32, "gfx1151", "AMD gfx1151"),
    ],
)
def test_the_driver_names_the_architecture(
    tmp_path: Path, device: int, version: int, wave: int, arch: str, product: str
) -> None:
    write(tmp_path, {**cpu(0), **gpu(1, device, version, wave), **DRIVER})
    assert AmdSysfs(tmp_path).look() == Finding(
        (Gpu(0, "hip", arch, wave, product, "6.8.5", 64 * GIB, "GPU-daff740f00000001"),)
    )


def test_gpus_of_several_kinds_are_numbered_as_hip_numbers_them(tmp_path: Path) -> None:
    nodes = [cpu(0), cpu(1), gpu(2, 0x740F, 90010, 64), gpu(10, 0x744C, 110000, 32, 24)]
    for files in nodes:
        write(tmp_path, files)
    found = AmdSysfs(tmp_path).look().gpus
    assert [(one.index, one.arch, one.memory_bytes) for one in found] == [
        (0, "gfx90a", 64 * GIB),
        (1, "gfx1100", 24 * GIB),
    ]


def test_what_a_board_says_of_itself_is_its_name(tmp_path: Path) -> None:
    board = {"sys/class/drm/renderD129/device/product_name": "AMD Instinct MI210 64GB\n"}
    write(tmp_path, {**gpu(1, 0x740F, 90010, 64), **board})
    assert [one.product for one in AmdSysfs(tmp_path).look().gpus] == ["AMD Instinct MI210 64GB"]


def test_a_driver_that_is_part_of_the_kernel_has_its_version(tmp_path: Path) -> None:
    kernel = {"proc/sys/kernel/osrelease": "6.12.10-100.fc40.x86_64\n"}
    write(tmp_path, {**gpu(1, 0x740F, 90010, 64), **kernel})
    driver = [one.driver_version for one in AmdSysfs(tmp_path).look().gpus]
    assert driver == ["6.12.10-100.fc40.x86_64"]


def test_an_old_driver_without_a_wave_size_costs_nothing(tmp_path: Path) -> None:
    write(tmp_path, gpu(1, 0x744C, 110000, 0))
    assert [one.warp_size for one in AmdSysfs(tmp_path).look().gpus] == [32]


def test_without_the_driver_or_without_a_gpu_there_are_none(tmp_path: Path) -> None:
    assert AmdSysfs(tmp_path).look() == Finding(note="no AMD driver here")
    write(tmp_path, cpu(0))
    assert AmdSysfs(tmp_path).look() == Finding(note="the AMD driver has no GPU")


@pytest.fixture
def _hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """KFD as a container without the device sees it: a GPU's node answers EPERM."""
    read = Path.read_text

    def guarded(path: Path, *arguments: str | None, **named: str | None) -> str:
        text = read(path, *arguments, **named)
        if path.name == "properties" and "simd_count 416" in text:
            raise PermissionError(1, "Operation not permitted", str(path))
        return text

    monkeypatch.setattr(Path, "read_text", guarded)


@pytest.mark.usefixtures("_hidden")
def test_a_container_without_the_device_learns_the_model_from_pci(tmp_path: Path) -> None:
    cards = {
        "sys/bus/pci/drivers/amdgpu/0000:41:00.0/device": "0x74a1\n",
        "sys/bus/pci/drivers/amdgpu/0000:41:00.0/mem_info_vram_total": f"{192 * GIB}\n",
        "sys/bus/pci/drivers/amdgpu/0000:c1:00.0/device": "0xffff\n",
        "sys/bus/pci/drivers/amdgpu/module": "",
    }
    write(tmp_path, {**cpu(0), **gpu(1, 0x74A1, 90402, 64), **DRIVER, **cards})
    found = AmdSysfs(tmp_path).look()
    assert found.gpus == (
        Gpu(0, "hip", "gfx942", 64, "AMD Instinct MI300X", "6.8.5", 192 * GIB),
        Gpu(1, "hip", "", 0, "AMD GPU ffff", "6.8.5"),
    )
    assert not found.broken


@pytest.mark.usefixtures("_hidden")
def test_gpus_that_nobody_shows_are_not_said_to_be_absent(tmp_path: Path) -> None:
    write(tmp_path, {**cpu(0), **gpu(1, 0x74A1, 90402, 64)})
    found = AmdSysfs(tmp_path).look()
    assert (found.gpus, found.broken) == ((), True)


def test_a_strange_tree_is_a_note_and_no_error(tmp_path: Path) -> None:
    write(tmp_path, {f"{KFD}/one/properties": "simd_count 4\n"})
    found = AmdSysfs(tmp_path).look()
    assert found.broken
    assert "sysfs cannot be read" in found.note
    other = write(tmp_path / "other", {f"{KFD}/0/properties": "simd_count N/A\n\x00\nx y z\n"})
    assert AmdSysfs(other).look().gpus == ()


def test_versions_are_hexadecimal_in_minor_and_stepping() -> None:
    named = {90000: "gfx900", 80003: "gfx803", 90012: "gfx90c", 100306: "gfx1036"}
    assert {version: gfx_name(version) for version in named} == named
