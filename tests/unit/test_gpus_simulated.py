"""The text that simulates GPUs: what it means, and what is refused with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.api.errors import Rejected
from gkm.core.gpu import Gpu, warp_size
from gkm.gpus.catalog import BY_DEVICE_ID, BY_NAME, MODELS
from gkm.gpus.simulated import parse

GIB = 1 << 30


def test_groups_become_gpus_in_their_order() -> None:
    t4 = ("cuda", "75", 32, "NVIDIA T4", "535.104.05", 16 * GIB)
    assert parse("type=T4,driver=535.104.05,count=2; type=mi300x") == (
        Gpu(0, *t4, simulated=True),
        Gpu(1, *t4, simulated=True),
        Gpu(2, "hip", "gfx942", 64, "AMD Instinct MI300X", "", 192 * GIB, simulated=True),
    )


@pytest.mark.parametrize(
    ("text", "backend", "arch", "lanes"),
    [
        ("type=cuda:120", "cuda", "120", 32),
        ("type=cuda:sm_90a", "cuda", "90", 32),
        ("type=hip:gfx1151", "hip", "gfx1151", 32),
        ("type=hip:gfx90a,count=1", "hip", "gfx90a", 64),
    ],
)
def test_a_type_may_be_an_architecture(text: str, backend: str, arch: str, lanes: int) -> None:
    assert [(gpu.backend, gpu.arch, gpu.warp_size) for gpu in parse(text)] == [
        (backend, arch, lanes)
    ]


def test_a_node_can_have_no_gpu() -> None:
    assert parse(" none ") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "group is '', expected type=NAME"),
        ("T4", "group is 'T4', expected type=NAME"),
        ("type=T4;", "group is '', expected type=NAME"),
        ("type=T4,model=2", "group is 'type=T4,model=2', expected type=NAME"),
        ("type=T4,type=L4", "type is 'twice in type=T4,type=L4', expected each field once"),
        ("count=2", "type is '', expected cuda:ARCH, hip:ARCH or one of V100, T4, A100"),
        ("type=Voodoo2", "type is 'Voodoo2', expected cuda:ARCH"),
        ("type=cuda:gfx90a", "type is 'cuda:gfx90a', expected cuda:ARCH"),
        ("type=tpu:5", "type is 'tpu:5', expected cuda:ARCH"),
        ("type=T4,count=0", "count is '0', expected a whole number from 1 to 64"),
        ("type=T4,count=two", "count is 'two', expected a whole number from 1 to 64"),
        ("type=T4,count=65", "count is '65', expected a whole number from 1 to 64"),
        ("type=T4,count=60;type=L4,count=5", "count is '65 in all', expected at most 64"),
        ("type=T4,driver=", "driver is '', expected a version such as 550.54.15"),
        ("type=T4,driver=a b", "driver is 'a b', expected a version such as 550.54.15"),
    ],
)
def test_what_is_wrong_is_said_with_field_found_and_expected(text: str, message: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse(text)
    assert refused.value.reason == "BadSimulatedGPUs"
    assert refused.value.message.startswith(f"simulated GPUs: {message}")


@given(st.text("type=countdrivr,;:0123456789 T4none", max_size=60))
def test_any_text_is_gpus_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except Rejected:
        return
    assert [gpu.index for gpu in found] == list(range(len(found)))
    assert all(gpu.simulated for gpu in found)


def test_the_catalogue_names_every_model_and_device_once() -> None:
    assert len(BY_NAME) == len(MODELS)
    assert len(BY_DEVICE_ID) == sum(len(model.device_ids) for model in MODELS)
    assert all(warp_size(model.backend, model.arch) for model in MODELS)
