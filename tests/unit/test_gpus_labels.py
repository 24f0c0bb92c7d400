"""GPUs from the labels that real labellers put on nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.core.gpu import Gpu
from gkm.gpus.labels import NodeLabels, from_labels

MIB, GIB = 1 << 20, 1 << 30


def gfd(product: str, compute: str, count: int = 1, memory: int = 81559) -> dict[str, str]:
    """Labels of NVIDIA's GPU feature discovery."""
    major, minor = compute.split(".")
    return {
        "nvidia.com/cuda.driver-version.full": "550.54.15",
        "nvidia.com/cuda.driver.major": "550",
        "nvidia.com/gpu.compute.major": major,
        "nvidia.com/gpu.compute.minor": minor,
        "nvidia.com/gpu.count": str(count),
        "nvidia.com/gpu.family": "hopper",
        "nvidia.com/gpu.memory": str(memory),
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.replicas": "1",
    }


AMD = {
    "amd.com/gpu.cu-count": "304",
    "amd.com/gpu.device-id": "74a1",
    "amd.com/gpu.driver-version": "6.8.5",
    "amd.com/gpu.family": "AI",
    "amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM",
    "amd.com/gpu.vram": "192G",
    "beta.amd.com/gpu.device-id": "74a1",
    "beta.amd.com/gpu.device-id.74a1": "8",
}


@pytest.mark.parametrize(
    ("product", "compute", "arch", "name"),
    [
        ("Tesla-T4", "7.5", "75", "Tesla T4"),
        ("NVIDIA-A100-SXM4-80GB", "8.0", "80", "NVIDIA A100 SXM4 80GB"),
        ("NVIDIA-L40S", "8.9", "89", "NVIDIA L40S"),
        ("NVIDIA-H100-80GB-HBM3", "9.0", "90", "NVIDIA H100 80GB HBM3"),
        ("NVIDIA-H100-80GB-HBM3-SHARED", "9.0", "90", "NVIDIA H100 80GB HBM3"),
        ("NVIDIA-B200", "10.0", "100", "NVIDIA B200"),
        ("NVIDIA-GeForce-RTX-5090", "12.0", "120", "NVIDIA GeForce RTX 5090"),
    ],
)
def test_nvidias_labels_say_everything(product: str, compute: str, arch: str, name: str) -> None:
    one = Gpu(0, "cuda", arch, 32, name, "550.54.15", 81559 * MIB)
    other = Gpu(1, "cuda", arch, 32, name, "550.54.15", 81559 * MIB)
    assert from_labels(gfd(product, compute, 2)) == (one, other)


def test_older_feature_discoveries_split_the_drivers_version() -> None:
    labels = gfd("Tesla-T4", "7.5")
    del labels["nvidia.com/cuda.driver-version.full"]
    labels |= {"nvidia.com/cuda.driver.minor": "104", "nvidia.com/cuda.driver.rev": "05"}
    assert [gpu.driver_version for gpu in from_labels(labels)] == ["550.104.05"]


def test_parts_of_a_gpu_are_counted_as_they_are_labelled() -> None:
    found = from_labels(gfd("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "8.0", 7, 4864))
    assert [gpu.index for gpu in found] == list(range(7))
    assert {(gpu.product, gpu.mig, gpu.arch) for gpu in found} == {
        ("NVIDIA A100 SXM4 40GB", True, "80")
    }


def test_a_count_of_zero_is_no_gpu() -> None:
    assert from_labels(gfd("NVIDIA-A100-MIG-INVALID", "8.0", 0)) == ()


def test_amds_device_id_names_the_architecture() -> None:
    one = {key: value for key, value in AMD.items() if not key.startswith("beta.")}
    name = "AMD Instinct MI300X OAM"
    assert from_labels(one) == (Gpu(0, "hip", "gfx942", 64, name, "6.8.5", 192 * GIB),)
    assert {(gpu.product, gpu.memory_bytes) for gpu in from_labels(AMD)} == {(name, 192 * GIB)}
    assert len(from_labels(AMD)) == 8, "only the older prefix counts"


def test_amds_labeller_counts_each_model() -> None:
    found = from_labels({"amd.com/gpu.device-id.740f": "2", "amd.com/gpu.device-id.744c": "1"})
    assert [(gpu.index, gpu.product, gpu.arch, gpu.warp_size) for gpu in found] == [
        (0, "AMD Instinct MI210", "gfx90a", 64),
        (1, "AMD Instinct MI210", "gfx90a", 64),
        (2, "AMD Radeon RX 7900 XTX", "gfx1100", 32),
    ]


def test_a_model_that_nobody_knows_has_no_architecture_rather_than_a_wrong_one() -> None:
    found = from_labels({"amd.com/gpu.device-id": "ffff"})
    assert [(gpu.product, gpu.arch, gpu.warp_size) for gpu in found] == [("AMD GPU ffff", "", 0)]


@pytest.mark.parametrize(
    ("key", "backend"),
    [
        ("nvidia.com/gpu.present", "cuda"),
        ("feature.node.kubernetes.io/pci-10de.present", "cuda"),
        ("feature.node.kubernetes.io/pci-0302_10de.present", "cuda"),
        ("rocm.amd.com/gpu.present", "hip"),
        ("feature.node.kubernetes.io/amd-gpu", "hip"),
    ],
)
def test_a_label_that_says_only_that_there_is_a_gpu_leaves_the_rest_open(
    key: str, backend: str
) -> None:
    assert [(gpu.backend, gpu.arch) for gpu in from_labels({key: "true"})] == [(backend, "")]
    assert from_labels({key: "false"}) == ()


def test_a_node_with_gpus_of_two_vendors_has_both() -> None:
    found = from_labels({"amd.com/gpu.device-id": "740f", **gfd("Tesla-T4", "7.5")})
    assert [(gpu.index, gpu.backend) for gpu in found] == [(0, "cuda"), (1, "hip")]
    assert NodeLabels({}).look().gpus == ()


KEYS = sorted({*gfd("x", "1.0"), *AMD, "amd.com/gpu.device-id.x", "rocm.amd.com/gpu.present"})


@given(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=20)))
def test_odd_labels_are_never_an_error(labels: dict[str, str]) -> None:
    found = from_labels(labels)
    assert [gpu.index for gpu in found] == list(range(len(found)))
    assert len(found) <= 128 * 4
