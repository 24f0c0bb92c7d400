"""The files of a vLLM cache that are not carried as they are: paths, and secrets."""

import contextlib
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.api.errors import Rejected
from gkm.cli.pack import pack
from gkm.kernels.vllm import Vllm
from gkm.kernels.vllmfactors import parse, without_secrets
from tests import vllmtrees as trees
from tests.unit.test_pack import blob, opened

VLLM = Vllm()
FOLDER = "torch_compile_cache/a1b2c3d4e5/rank_0_0/backbone"
INDEX = f"{FOLDER}/vllm_compile_cache.py"
FACTORS = f"{FOLDER}/cache_key_factors.json"

# As vLLM 0.33, 0.11 with torch's own cache, 0.11 standalone, and 0.12 with a range's name.
INDEXES = [
    """{   ((1, 512), 0, 'inductor_standalone'): {   'cache_key': 'a77',
                                                'graph_handle': (   'artifact_0',
                                                                    'ROOT/artifact_0')}}""",
    """{   (None, 0, 'inductor'): ('fq3', 'ROOT/../inductor_cache/ab/cab.py'),
    (8, 0, 'inductor'): ('fq4', 'ROOT/../inductor_cache/ac/cac.py')}""",
    "{(None, 0, 'inductor_standalone'): ('artifact_shape_None_subgraph_0', \"ROOT/it's\")}",
    "{(Range(start=1, end=512), 0, 'inductor_standalone'): ('artifact_0', 'ROOT/artifact_0')}",
    "{(None, 0, 'eager'): None}",
    "{}",
]


def index(text: str, root: str) -> bytes:
    return text.replace("ROOT", f"{root}/{FOLDER}").encode()


@pytest.mark.parametrize("text", INDEXES)
def test_an_index_names_the_files_below_the_mount_path_mcv_23(text: str) -> None:
    for built in (trees.BUILT, "/data/torch_compile_cache/vllm", "/c", ""):
        moved = VLLM.relocate(INDEX, index(text, built), "/mnt/cache")
        assert moved == index(text, "/mnt/cache")


def test_a_path_that_was_broken_at_its_blanks_becomes_whole_mcv_23() -> None:
    broken = b"{(None, 0, 'i'): ('f',\n '/home/my '\n    'own/torch_compile_cache/h/x y')}"
    moved = VLLM.relocate(INDEX, broken, "/cache")
    assert moved == b"{(None, 0, 'i'): ('f',\n '/cache/torch_compile_cache/h/x y')}"


def test_nothing_but_paths_of_the_cache_is_touched_mcv_23() -> None:
    text = (
        b"{(None, 0, '/etc/passwd'): ('torch_compile_cache/x', 'a/torch_compile_cache/x'),"
        b" 'a': '/home/torch_compile_cache', 'b': '/home/my_torch_compile_cache/x', 'c': 'it\\'s',"
        b" \"'\": '\"', 'e': -1, 'f': True}"
    )
    assert VLLM.relocate(INDEX, text, "/cache") == text


PART = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
PLACE = st.lists(PART, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PLACE, PLACE, st.lists(PART, max_size=5))
def test_there_and_back_gives_the_same_bytes_mcv_23(one: str, other: str, names: list[str]) -> None:
    here = trees.index(FOLDER, tuple(names), one)
    there = VLLM.relocate(INDEX, here, other)
    assert VLLM.relocate(INDEX, there, one) == here
    assert VLLM.relocate(INDEX, there, other) == there


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"__import__('os')",
        b"{'a': print()}",
        b"{'a': 'b",
        b"{'a': 'b\n'}",
        b"{'a': f'{b}'}",
        b"{'a': 1.5}",
        b"{'a': '/x\\'/torch_compile_cache/y'}",
        b"{}; import os",
        b"{" + b"'/torch_compile_cache/'," * 4001 + b"}",
        b"{" + b"'" * 99_999 + b"\\",
        b"'/torch_compile_cache/x'",
        b"",
    ],
)
def test_an_index_that_vllm_cannot_have_written_is_refused(content: bytes) -> None:
    with pytest.raises(Rejected, match=r"BadCache: 'torch_compile_cache/a1b2.*vllm_compile_cache"):
        VLLM.relocate(INDEX, content, "/cache")


@given(
    st.sampled_from([INDEX, FACTORS, f"{FOLDER}/__grp__a.json"]),
    st.binary() | st.text(st.sampled_from("{}()[]'\"\\, :/torch_compile_cache\n1"), max_size=99),
)
def test_junk_is_refused_or_kept_never_an_error(path: str, junk: bytes | str) -> None:
    content = junk.encode() if isinstance(junk, str) else junk
    with contextlib.suppress(Rejected):
        VLLM.relocate(path, content, "/cache")


def test_only_files_below_the_compile_cache_are_rewritten() -> None:
    group = "torch_compile_cache/h/rank_0_0/triton_cache/KEY/__grp__add.json"
    assert all(map(VLLM.is_relocated, (INDEX, FACTORS, group)))
    for path in ("vllm_compile_cache.py", "assets/__grp__a.json", f"{FOLDER}/computation_graph.py"):
        assert not VLLM.is_relocated(path)
    content = json.dumps({"child_paths": {"add.ptx": "/home/me/add.ptx"}}).encode()
    moved = json.loads(VLLM.relocate(group, content, "/cache"))
    expected = "/cache/torch_compile_cache/h/rank_0_0/triton_cache/KEY/add.ptx"
    assert moved == {"child_paths": {"add.ptx": expected}}


SECRETS: dict[str, Any] = {
    "VLLM_API_KEY": "sk-canary",
    "S3_ACCESS_KEY_ID": "AKIA-canary",
    "S3_SECRET_ACCESS_KEY": "canary/2",
    "HF_TOKEN": "hf_canary",
    "DB_PASSWORD": "canary3",
    "VLLM_USE_SECRET_SAUCE": "canary4",
    "VLLM_PROXY": "http://me:canary5@proxy:3128",
    "VLLM_HEADERS": {"x-api-key": "canary6"},
}


def test_secrets_are_not_shipped_mcv_4(tmp_path: Any) -> None:
    env = {**trees.ENV, **SECRETS}
    trees.fill(tmp_path / "cache", trees.binary(env=env))
    layout = tmp_path / "oci"
    manifest, _, members = opened(layout, pack(tmp_path / "cache", layout))
    plain = gzip.decompress(blob(layout, manifest["layers"][0]["digest"]))
    assert b"canary" not in plain
    assert len(members) > 1
    description = VLLM.describe(tmp_path / "cache", [FACTORS])
    assert description is not None
    note = next(one for one in description.notes if "holds secrets" in one)
    assert all(name in note for name in SECRETS)
    assert "canary" not in note


def test_all_but_the_secrets_stays_as_it_is_mcv_4() -> None:
    honest = trees.factors()
    assert without_secrets(honest) == honest
    cleaned = json.loads(without_secrets(trees.factors({**trees.ENV, **SECRETS})))
    assert cleaned == {**json.loads(honest), "env": {**trees.ENV, **dict.fromkeys(SECRETS, "")}}
    again = without_secrets(json.dumps(cleaned).encode())
    assert again == json.dumps(cleaned).encode()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"env": ' + b"[" * 99_999])
def test_what_cannot_be_looked_through_is_emptied_mcv_4(content: bytes) -> None:
    assert without_secrets(content) == b"{}"
    assert parse(content) is None


def test_the_manifest_repeats_what_decides_compatibility_only_mcv_4() -> None:
    env = {
        **trees.ENV,
        **SECRETS,
        "VLLM_USE_V1": True,
        "VLLM_ROCM_USE_AITER": -1.0,
        "VLLM_USE_SOMETHING": "/home/me",
        "VLLM_USE_HUGE": 12345678901234567890,
        "VLLM_USE_NAN": float("nan"),
        "VLLM_DISABLE_PYNCCL": None,
        "VLLM_LOGGING_PREFIX": "me@host",
        "HOME": "/home/me",
        "USER": "me",
    }
    found = parse(trees.factors(env))
    assert found is not None
    assert found.env == {
        "VLLM_DISABLE_PYNCCL": None,
        "VLLM_MAIN_CUDA_VERSION": "12.8",
        "VLLM_ROCM_USE_AITER": -1,
        "VLLM_TARGET_DEVICE": "cuda",
        "VLLM_USE_FASTOKENS": False,
        "VLLM_USE_V1": True,
    }
    assert found.secrets == tuple(sorted(SECRETS))
