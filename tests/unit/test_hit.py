"""`gkm explain` finds what keeps a framework from its cache, and invents nothing."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.core.hit import CacheFacts, PodFacts, Word, compare, verdict
from gkm.core.hitvariables import IN_TRITONS_KEY, OFF_SWITCHES, normal

CACHE = CacheFacts(
    framework="triton",
    versions={"triton": frozenset({"3.9.0"})},
    environment={"TRITON_DEFAULT_FP_FUSION": frozenset({"true"})},
    homes=frozenset({"/cache"}),
    machines=frozenset({"x86_64"}),
    pythons=frozenset({"cpython-311"}),
    kernels=9,
)
POD = PodFacts(
    versions={"triton": "3.9.0"},
    environment={"TRITON_CACHE_DIR": "/cache", "TRITON_DEFAULT_FP_FUSION": "1", "PATH": "/bin"},
    whole=True,
    mounts=("/cache",),
    machine="x86_64",
    python="cpython-311",
)
VLLM = replace(
    CACHE,
    framework="vllm",
    versions={name: frozenset({"1"}) for name in ("vllm", "torch", "triton")},
)
SERVER = replace(
    POD,
    versions=dict.fromkeys(("vllm", "torch", "triton"), "1"),
    environment={"VLLM_CACHE_ROOT": "/cache/", "TRITON_DEFAULT_FP_FUSION": "on"},
    arguments=("serve", "model"),
)


def env(pod: PodFacts, **variables: str | None) -> PodFacts:
    found = {**pod.environment, **variables}
    return replace(pod, environment={k: v for k, v in found.items() if v != "UNSET"})


def differing(cache: CacheFacts, pod: PodFacts) -> list[str]:
    return [one.name for one in compare(cache, pod) if one.word is Word.DIFFERS]


def unknown(cache: CacheFacts, pod: PodFacts) -> list[str]:
    return [one.name for one in compare(cache, pod) if one.word is Word.UNKNOWN]


def test_nothing_is_invented_for_an_equal_pair() -> None:
    assert {one.word for one in compare(CACHE, POD)} == {Word.SAME}
    assert verdict(compare(CACHE, POD)) is Word.SAME


def test_of_torchs_caches_only_the_gpus_model_stays_unknown() -> None:
    assert unknown(VLLM, SERVER) == ALWAYS_UNKNOWN["vllm"]
    assert differing(VLLM, SERVER) == []


ALWAYS_UNKNOWN = {"triton": [], "vllm": ["model of the GPU"]}
PLANTED: list[tuple[str, CacheFacts, PodFacts]] = [
    ("version of triton", CACHE, replace(POD, versions={"triton": "3.8.0"})),
    ("version of torch", VLLM, replace(SERVER, versions={**SERVER.versions, "torch": "2"})),
    ("version of vllm", VLLM, replace(SERVER, versions={**SERVER.versions, "vllm": "2"})),
    ("TRITON_DEFAULT_FP_FUSION", CACHE, env(POD, TRITON_DEFAULT_FP_FUSION="0")),
    ("TRITON_DEFAULT_FP_FUSION", CACHE, env(POD, TRITON_DEFAULT_FP_FUSION="UNSET")),
    ("TRITON_F32_DEFAULT", CACHE, env(POD, TRITON_F32_DEFAULT="tf32")),
    ("DISABLE_LLVM_OPT", VLLM, env(SERVER, DISABLE_LLVM_OPT="1")),
    ("paths in the cache", replace(CACHE, homes=frozenset({"/home/me/.triton"})), POD),
    ("where triton looks (TRITON_CACHE_DIR)", CACHE, env(POD, TRITON_CACHE_DIR="/tmp")),
    ("where triton looks (TRITON_CACHE_DIR)", CACHE, env(POD, TRITON_CACHE_DIR="UNSET")),
    ("where triton looks (TRITON_CACHE_DIR)", CACHE, replace(POD, mounts=())),
    ("where vllm looks (VLLM_CACHE_ROOT)", VLLM, env(SERVER, VLLM_CACHE_ROOT="/data")),
    ("CPU of the programs in it", CACHE, replace(POD, machine="aarch64")),
    ("Python of the programs in it", CACHE, replace(POD, python="cpython-312")),
    ("the arguments", VLLM, replace(SERVER, arguments=("serve", "m", "--enforce-eager"))),
    ("TRITON_ALWAYS_COMPILE", CACHE, env(POD, TRITON_ALWAYS_COMPILE="1")),
    ("VLLM_DISABLE_COMPILE_CACHE", VLLM, env(SERVER, VLLM_DISABLE_COMPILE_CACHE="1")),
    ("TORCHINDUCTOR_FX_GRAPH_CACHE", VLLM, env(SERVER, TORCHINDUCTOR_FX_GRAPH_CACHE="0")),
]


@pytest.mark.parametrize(("name", "cache", "pod"), PLANTED)
def test_each_planted_difference_is_found_alone(
    name: str, cache: CacheFacts, pod: PodFacts
) -> None:
    assert differing(cache, pod) == [name]
    assert unknown(cache, pod) == ALWAYS_UNKNOWN[cache.framework]
    assert next(one for one in compare(cache, pod) if one.name == name).why


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("version of triton", {"versions": {}}),
        ("CPU of the programs in it", {"machine": ""}),
        ("Python of the programs in it", {"python": ""}),
        ("other variables", {"whole": False}),
        ("the mount", {"partial": ("/cache",)}),
    ],
)
def test_what_the_pod_does_not_say_is_unknown_and_never_the_same(
    name: str, changed: dict[str, Any]
) -> None:
    pod = replace(POD, **changed)
    assert unknown(CACHE, pod) == [name]
    assert differing(CACHE, pod) == []


def test_what_the_cache_does_not_say_is_unknown() -> None:
    assert unknown(replace(CACHE, versions={}), POD) == ["version of triton"]
    hashed = replace(VLLM, hashes={"code_hash": frozenset({"9c"})})
    assert unknown(hashed, SERVER) == ["code_hash", *ALWAYS_UNKNOWN["vllm"]]


def test_a_value_from_a_secret_is_unknown() -> None:
    pod = env(POD, TRITON_CACHE_DIR=None, TRITON_DEFAULT_FP_FUSION=None)
    assert unknown(CACHE, pod) == [
        "where triton looks (TRITON_CACHE_DIR)",
        "TRITON_DEFAULT_FP_FUSION",
    ]


LOOKS = "where triton looks (TRITON_CACHE_DIR)"


def test_what_the_webhook_may_still_change_is_unknown() -> None:
    pod = replace(env(POD, TRITON_CACHE_DIR="UNSET"), mounts=("/models",))
    assert differing(CACHE, pod) == [LOOKS, "paths in the cache"]
    assert unknown(CACHE, replace(pod, pending=True)) == [LOOKS, "paths in the cache"]
    elsewhere = replace(env(POD, TRITON_CACHE_DIR="/cache"), mounts=("/models",), pending=True)
    assert LOOKS in unknown(CACHE, elsewhere)


def test_what_only_costs_a_launcher_is_told_and_decides_nothing() -> None:
    found = compare(CACHE, replace(POD, python="cpython-312", machine="aarch64"))
    assert [one.word for one in found].count(Word.DIFFERS) == 2
    assert verdict(found) is Word.SAME
    torch = replace(CACHE, framework="inductor", homes=frozenset())
    pod = env(POD, TORCHINDUCTOR_CACHE_DIR="/cache", TRITON_CACHE_DIR="UNSET")
    assert verdict(compare(torch, replace(pod, machine="aarch64"))) is Word.DIFFERS


def test_a_version_with_its_place_of_build_is_the_same() -> None:
    for version in ("3.9.0+git1234", "v3.9.0"):
        assert differing(CACHE, replace(POD, versions={"triton": version})) == []


def test_vllms_own_variables_are_compared_where_the_pod_sets_them() -> None:
    cache = replace(VLLM, settings={"VLLM_ATTENTION_BACKEND": frozenset({"FLASH_ATTN"})})
    assert differing(cache, SERVER) == []
    assert differing(cache, env(SERVER, VLLM_ATTENTION_BACKEND="FLASHINFER")) == [
        "VLLM_ATTENTION_BACKEND"
    ]
    assert differing(cache, env(SERVER, VLLM_ATTENTION_BACKEND="FLASH_ATTN")) == []
    numbers = replace(VLLM, settings={"VLLM_USE_V1": frozenset({"True"})})
    assert differing(numbers, env(SERVER, VLLM_USE_V1="1")) == []


def test_a_switch_from_a_secret_is_unknown() -> None:
    assert unknown(CACHE, env(POD, TRITON_INTERPRET=None)) == ["TRITON_INTERPRET"]


def test_torchs_triton_kernels_may_be_looked_for_elsewhere() -> None:
    assert differing(VLLM, env(SERVER, TRITON_CACHE_DIR="/other")) == ["TRITON_CACHE_DIR"]
    assert differing(VLLM, env(SERVER, TRITON_CACHE_DIR="/cache/triton/0")) == []


@pytest.mark.parametrize(
    ("arguments", "eager"),
    [
        (("serve", "m", "--enforce-eager"), True),
        (("serve", "m", "--enforce-eager=True"), True),
        (("serve", "m", "--enforce-eager=false"), False),
        (("sh", "-c", "vllm serve m --enforce-eager --port 1"), True),
        (("serve", "m", "-O0"), True),
        (("serve", "m", "-O", "0"), True),
        (("serve", "m", "-O.mode=0"), True),
        (("serve", "m", "-O3"), False),
        (("serve", "m", "--compilation-config", '{"level": 0}'), True),
        (("serve", "m", '--compilation-config={"mode":3}'), False),
        (("serve", "m", "--no-enforce-eager"), False),
    ],
)
def test_vllm_is_seen_to_compile_nothing(arguments: tuple[str, ...], *, eager: bool) -> None:
    found = differing(VLLM, replace(SERVER, arguments=arguments))
    assert found == (["the arguments"] if eager else [])


def test_variables_that_are_set_by_some_kernels_only_fit_both_ways() -> None:
    mixed = replace(CACHE, environment={"TRITON_DEFAULT_FP_FUSION": frozenset({"true", ""})})
    assert differing(mixed, POD) == []
    assert differing(mixed, env(POD, TRITON_DEFAULT_FP_FUSION="UNSET")) == []
    assert differing(mixed, env(POD, TRITON_DEFAULT_FP_FUSION="0")) == ["TRITON_DEFAULT_FP_FUSION"]


@given(st.sampled_from(sorted(IN_TRITONS_KEY)), st.text(min_size=1, max_size=9))
def test_any_variable_of_tritons_key_that_only_the_pod_sets_differs(name: str, value: str) -> None:
    found = differing(replace(CACHE, environment={}), env(POD, **{name: value}))
    assert name in found


@given(st.sampled_from(sorted(IN_TRITONS_KEY)), st.text(max_size=9))
def test_the_same_value_never_differs(name: str, value: str) -> None:
    cache = replace(CACHE, environment={name: frozenset({normal(value)})})
    pod = replace(POD, environment={"TRITON_CACHE_DIR": "/cache", name: value})
    assert differing(cache, pod) == []


@pytest.mark.parametrize("name", sorted(OFF_SWITCHES))
def test_a_switch_in_its_other_position_is_no_difference(name: str) -> None:
    _, off, _ = OFF_SWITCHES[name]
    harmless = next(value for value in ("0", "1", "") if not off(value))
    assert differing(VLLM, env(SERVER, **{name: harmless})) == []
