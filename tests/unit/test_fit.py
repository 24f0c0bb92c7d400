"""Which caches fit which GPUs: a table of cases, and what holds for all of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.core.fit import NodeFit, Verdict, fit, fit_node
from gkm.core.gpu import Gpu, arch_name, backend_name, warp_size
from gkm.core.gputargets import Target, Targets, from_labels, parse

FITS, UNFIT, UNKNOWN = Verdict.FITS, Verdict.UNFIT, Verdict.UNKNOWN


def gpu(backend: str, arch: str, driver: str = "", index: int = 0) -> Gpu:
    return Gpu(index, backend, arch, warp_size(backend, arch), f"{backend} {arch}", driver)


T4, A100, H100 = gpu("cuda", "75"), gpu("cuda", "80"), gpu("cuda", "90", "550.54.15")
B200, RTX5090 = gpu("cuda", "100", "580.65.06"), gpu("cuda", "120")
MI210, MI300X, RDNA3 = gpu("hip", "gfx90a"), gpu("hip", "gfx942"), gpu("hip", "gfx1100")
NAMELESS = gpu("cuda", "")
WAVE64 = Gpu(0, "hip", "gfx1100", 64, "RX 7900 in wave64")


def target(backend: object, arch: object, warp: object = 32, **more: object) -> dict[str, Any]:
    return {"backend": backend, "arch": arch, "warp_size": warp, **more}


def triton(*targets: Any) -> dict[str, str]:
    return {"cache.triton.image/summary": json.dumps({"targets": targets})}


def vllm(*targets: Any) -> dict[str, str]:
    return {"cache.vllm.image/summary": json.dumps({"targets": targets})}


SILENT = "the image does not say for which GPUs it was compiled"
CASES: dict[str, tuple[dict[str, str], Gpu, Verdict, str]] = {
    # Triton, as `gkm pack` and MCV write it
    "same": (triton(target("cuda", "90")), H100, FITS, "compiled for cuda 90"),
    "number": (triton(target("cuda", 90)), H100, FITS, "compiled for cuda 90"),
    "one of several": (
        triton(target("cuda", "80"), target("hip", "gfx90a", 64)),
        MI210,
        FITS,
        "compiled for hip gfx90a",
    ),
    "newer GPU, no way through PTX": (
        triton(target("cuda", "80"), target("cuda", "90")),
        B200,
        UNFIT,
        "compiled for cuda 80, cuda 90, this GPU is cuda 100",
    ),
    "same generation, other number": (
        triton(target("cuda", "86")),
        gpu("cuda", "89"),
        UNFIT,
        "compiled for cuda 86, this GPU is cuda 89",
    ),
    "other vendor": (
        triton(target("cuda", "90")),
        MI300X,
        UNFIT,
        "compiled for cuda 90, this GPU is hip gfx942",
    ),
    "MI300 is not what MCV took it for": (
        triton(target("hip", "gfx90c", 64)),
        MI300X,
        UNFIT,
        "compiled for hip gfx90c, this GPU is hip gfx942",
    ),
    "RDNA has warps of 32": (
        triton(target("hip", "gfx1100", 32)),
        RDNA3,
        FITS,
        "compiled for hip gfx1100",
    ),
    "other warp size": (
        triton(target("hip", "gfx1100", 64)),
        RDNA3,
        UNFIT,
        "compiled for hip gfx1100 (warp size 64), this GPU is hip gfx1100",
    ),
    "a GPU that says 64": (
        triton(target("hip", "gfx1100", 64)),
        WAVE64,
        FITS,
        "compiled for hip gfx1100 (warp size 64)",
    ),
    # Spellings
    "sm_90": (triton(target("cuda", "sm_90")), H100, FITS, "compiled for cuda 90"),
    "SM90": (triton(target("CUDA", "SM90")), H100, FITS, "compiled for cuda 90"),
    "compute_90": (triton(target("cuda", "compute_90")), H100, FITS, "compiled for cuda 90"),
    "sm_90a": (triton(target("cuda", "sm_90a")), H100, FITS, "compiled for cuda 90"),
    "sm_120f": (triton(target("cuda", "sm_120f")), RTX5090, FITS, "compiled for cuda 120"),
    "switched gfx": (
        triton(target("hip", "gfx90a:sramecc+:xnack-", 64)),
        MI210,
        FITS,
        "compiled for hip gfx90a",
    ),
    "rocm is hip": (vllm(target("rocm", "gfx942", 64)), MI300X, FITS, "compiled for hip gfx942"),
    # PTX and driver
    "a PTX version is no driver": (
        triton(target("cuda", "90", ptx_version=84)),
        H100,
        FITS,
        "compiled for cuda 90",
    ),
    "a driver for its CUDA": (
        vllm(target("cuda", "sm_90", ptx_version=570, cuda_version="12.8")),
        H100,
        FITS,
        "compiled for cuda 90",
    ),
    "a driver that is too old for its CUDA": (
        vllm(target("cuda", "sm_90", ptx_version=580, cuda_version="13.0")),
        H100,
        UNKNOWN,
        (
            "compiled with CUDA 13.0, which needs NVIDIA driver 580 or newer, or the package "
            "cuda-compat in the workload; here is 550.54.15"
        ),
    ),
    "a driver that nobody knows": (
        vllm(target("cuda", "sm_80", cuda_version="13.0")),
        A100,
        FITS,
        "compiled for cuda 80",
    ),
    # What MCV writes without knowing
    "vLLM's fallback": (
        vllm(target("cuda", "sm_75")),
        T4,
        UNKNOWN,
        "the image names sm_75 only because its packer did not know the GPU",
    ),
    "vLLM's fallback says nothing about others either": (
        vllm(target("cuda", "sm_75", cuda_version="12.8")),
        MI300X,
        UNKNOWN,
        "the image names sm_75 only because its packer did not know the GPU",
    ),
    "vLLM on a real T4": (
        vllm(target("cuda", "sm_75", ptx_version=535)),
        T4,
        FITS,
        "compiled for cuda 75",
    ),
    "vLLM's fallback for AMD": (
        vllm(target("rocm", "gfx908", 64)),
        MI210,
        UNKNOWN,
        "the image names gfx908 only because its packer did not know the GPU",
    ),
    "vLLM's warp size is a constant": (
        vllm(target("hip", "gfx1100", 64)),
        RDNA3,
        FITS,
        "compiled for hip gfx1100",
    ),
    "an architecture of old vLLM images": (
        vllm(target("cuda", "sm_12.9")),
        H100,
        UNKNOWN,
        "the image names no cuda architecture that GKM knows",
    ),
    "unknown, but not of this vendor": (
        vllm(target("cuda", "unknown")),
        MI210,
        UNFIT,
        "compiled for cuda of unknown architecture, this GPU is hip gfx90a",
    ),
    "a kernel without a target": (
        triton(target("cuda", "80"), target("", "", 0)),
        H100,
        UNKNOWN,
        "the image holds kernels that name no GPU",
    ),
    "a kernel without a target beside one that fits": (
        triton(target("cuda", "80"), target("", "", 0)),
        A100,
        FITS,
        "compiled for cuda 80",
    ),
    "no device at all": (
        vllm(target("cpu", "", 1)),
        H100,
        UNFIT,
        "compiled for cpu of unknown architecture, this GPU is cuda 90",
    ),
    # Nothing said
    "null": ({"cache.vllm.image/summary": "null"}, H100, UNKNOWN, SILENT),
    "empty": ({"cache.vllm.image/summary": ""}, H100, UNKNOWN, SILENT),
    "no targets": (triton(), H100, UNKNOWN, SILENT),
    "no label": ({}, H100, UNKNOWN, SILENT),
    "no JSON": ({"cache.triton.image/summary": "[" * 9999}, H100, UNKNOWN, SILENT),
    "huge": ({"cache.triton.image/summary": json.dumps("x" * 70000)}, H100, UNKNOWN, SILENT),
    "odd types": (
        triton(7, None, [], target(1, {}, "x")),
        H100,
        UNKNOWN,
        "the image holds kernels that name no GPU",
    ),
    # A GPU that is not known
    "GPU of unknown architecture": (
        triton(target("cuda", "90")),
        NAMELESS,
        UNKNOWN,
        "the architecture of this GPU is not known",
    ),
    "GPU of unknown architecture, other vendor": (
        triton(target("hip", "gfx942", 64)),
        NAMELESS,
        UNFIT,
        "compiled for hip gfx942, this GPU is cuda of unknown architecture",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_table(case: tuple[dict[str, str], Gpu, Verdict, str]) -> None:
    labels, one, verdict, reason = case
    found = fit(from_labels(labels), one)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_triton_wins_where_an_image_has_both_labels() -> None:
    assert from_labels({**vllm(target("cuda", "sm_80")), **triton(target("cuda", 90))}) == (
        Targets((Target("cuda", "90", 32),))
    )


def test_targets_are_sorted_and_each_there_once() -> None:
    one, other = target("hip", "gfx942", 64), target("cuda", "90")
    assert parse(json.dumps({"targets": [one, other, one, target("CUDA", "sm_90")]})).known == (
        Target("cuda", "90", 32),
        Target("hip", "gfx942", 64),
    )


MIXED = (
    gpu("cuda", "90", index=0),
    gpu("cuda", "90", index=1),
    gpu("cuda", "75", index=2),
    gpu("cuda", "", index=3),
)


def test_a_node_is_summed_up_in_one_sentence() -> None:
    found = fit_node(from_labels(triton(target("cuda", "90"))), reversed(MIXED))
    assert found.verdict is FITS
    assert found.numbers(FITS) == (0, 1)
    assert found.numbers(UNFIT) == (2,)
    assert found.numbers(UNKNOWN) == (3,)
    assert found.message == (
        "fits GPUs 0, 1 (compiled for cuda 90); "
        "may fit GPU 3 (the architecture of this GPU is not known); "
        "does not fit GPU 2 (compiled for cuda 90, this GPU is cuda 75)"
    )


@pytest.mark.parametrize(
    ("gpus", "verdict"),
    [((), UNFIT), (MIXED, FITS), (MIXED[2:], UNKNOWN), (MIXED[2:3], UNFIT)],
)
def test_a_node_fits_if_one_gpu_does(gpus: tuple[Gpu, ...], verdict: Verdict) -> None:
    assert fit_node(from_labels(triton(target("cuda", "90"))), gpus).verdict is verdict
    assert NodeFit(()).message == "fits nothing here: there is no GPU"


ARCHES = ["75", 90, "sm_90", "sm_90a", "gfx90a", "gfx1100:xnack-", "unknown", "sm_12.9", "", None]
ENTRY = st.fixed_dictionaries(
    {
        "backend": st.sampled_from(["cuda", "CUDA", "hip", "rocm", "tpu", "", None]) | st.text(),
        "arch": st.sampled_from(ARCHES) | st.text(),
        "warp_size": st.sampled_from([0, 32, 64, True, None]) | st.integers(),
    },
    optional={
        "cuda_version": st.sampled_from(["11.8", "12.8", "13.0", ""]) | st.text(),
        "ptx_version": st.integers(),
    },
)
SUMMARY = st.lists(ENTRY, max_size=5).map(lambda targets: json.dumps({"targets": targets}))
NAMES = st.sampled_from(["triton", "vllm", ""])
GPUS = st.sampled_from([T4, A100, H100, B200, RTX5090, MI210, MI300X, RDNA3, WAVE64, NAMELESS])


@given(SUMMARY | st.text(), NAMES)
def test_what_is_written_down_is_read_back(summary: str, name: str) -> None:
    targets = parse(summary, name)
    assert parse(targets.to_json()) == targets
    assert targets.known or targets.doubt
    assert list(targets.known) == sorted(set(targets.known))


@given(SUMMARY | st.text(), NAMES, GPUS)
def test_every_cache_gets_a_verdict_on_every_gpu_and_a_reason(
    summary: str, name: str, one: Gpu
) -> None:
    targets = parse(summary, name)
    found = fit(targets, one)
    assert found.reason
    assert found.gpu == one
    if found.verdict is FITS:
        same = [known for known in targets.known if known.backend == one.backend]
        assert one.arch in {known.arch for known in same}
    if found.verdict is UNFIT:
        assert not targets.doubt


@given(st.lists(ENTRY, max_size=4), ENTRY, NAMES, GPUS)
def test_another_target_never_takes_a_fit_away(
    entries: list[dict[str, Any]], more: dict[str, Any], name: str, one: Gpu
) -> None:
    before = fit(parse(json.dumps({"targets": entries}), name), one).verdict
    after = fit(parse(json.dumps({"targets": [*entries, more]}), name), one).verdict
    if before is FITS:
        assert after is FITS


@given(st.lists(ENTRY, max_size=5), st.randoms(), NAMES)
def test_the_order_of_targets_means_nothing(
    entries: list[dict[str, Any]], random: Any, name: str
) -> None:
    shuffled = list(entries)
    random.shuffle(shuffled)
    one, other = (parse(json.dumps({"targets": found}), name) for found in (entries, shuffled))
    assert one.known == other.known
    assert bool(one.doubt) == bool(other.doubt)


@given(GPUS, st.sampled_from(["triton", "vllm"]))
def test_a_cache_that_was_compiled_on_a_gpu_fits_it(one: Gpu, name: str) -> None:
    written = json.dumps({"targets": [target(one.backend, one.arch, one.warp_size)]})
    found = fit(parse(written, name), one)
    assert found.verdict is (FITS if one.arch else UNKNOWN)


@given(st.text(), st.text() | st.integers() | st.none())
def test_names_are_stable_under_reading_them_again(backend: str, arch: object) -> None:
    name = backend_name(backend)
    assert backend_name(name) == name
    assert arch_name(name, arch_name(name, arch)) == arch_name(name, arch)
