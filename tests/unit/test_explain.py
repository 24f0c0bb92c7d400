"""`gkm explain` on folders, image layouts and registries; with pods of all shapes."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from gkm.api.errors import Rejected
from gkm.cli import explain
from gkm.cli.pack import Wish, pack
from gkm.core.podfacts import container_of, facts, pod_of, volume_of
from gkm.oci.settings import ENVIRONMENT
from tests.images import Answer, Image, Script, cache_files, digest, scripted

KERNEL = {
    "hash": "h1",
    "target": {"backend": "cuda", "arch": 90, "warp_size": 32},
    "num_warps": 4,
    "triton_version": "3.9.0",
    "TRITON_DEFAULT_FP_FUSION": "true",
}
LAUNCHER = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(44)


def files(home: str) -> dict[str, bytes]:
    group = {"child_paths": {"add.json": f"{home}/KEY/add.json"}}
    return {
        "KEY/add.json": json.dumps(KERNEL).encode(),
        "KEY/__grp__add.json": json.dumps(group).encode(),
        "KEY/add.ttir": b"module {}",
        "LAUNCH/__triton_launcher.cpython-311-x86_64-linux-gnu.so": LAUNCHER,
    }


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    root = tmp_path / "cache"
    for name, content in files(str(root)).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def pod(image: str = "example.com/vllm:v1", **container: Any) -> dict[str, Any]:
    mount = {"name": "kernels", "mountPath": "/cache"}
    main = {"name": "main", "image": image, "volumeMounts": [mount], **container}
    claim = {"name": "kernels", "persistentVolumeClaim": {"claimName": "llama"}}
    meta = {"annotations": {"gkm.io/mutated": "kernels=llama"}}
    return {"kind": "Pod", "metadata": meta, "spec": {"containers": [main], "volumes": [claim]}}


ENV = [
    {"name": "TRITON_CACHE_DIR", "value": "/cache"},
    {"name": "TRITON_DEFAULT_FP_FUSION", "value": "1"},
]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, str]]:
    """The exit code, and each factor's word."""
    code = explain.main([*map(str, arguments), "-o", "json"])
    found = json.loads(capsys.readouterr().out)
    return code, {one["name"]: one["word"] for one in found["factors"]}


def test_a_folder_where_it_is_used_hits(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(cache))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    told = ("--with", "triton=3.9.0", "--with", "python=3.11")
    code, words = run(capsys, cache, *told)
    assert code == 0
    assert set(words.values()) == {"Same"}
    monkeypatch.delenv("TRITON_CACHE_DIR")
    code, words = run(capsys, cache, *told)
    assert (code, words["where triton looks (TRITON_CACHE_DIR)"]) == (1, "Differs")
    assert explain.main([str(cache), *told]) == 1
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "no hit"
    assert "set it to" in others[0]


def test_an_image_layout_is_read_without_unpacking(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "/cache")
    pack(cache, tmp_path / "image", Wish())
    code, words = run(capsys, tmp_path / "image", "--with", "triton=3.8.0")
    assert code == 1
    assert words["version of triton"] == "Differs"
    assert words["paths in the cache"] == "Same"


def workload(script: Script) -> str:
    """An image with a Python 3.11 and Triton; only its config matters."""
    image = Image([cache_files({"a": b""})], labels={})
    name, blobs = image.documents()
    manifest = json.loads(blobs[name])
    old = manifest["config"]["digest"]
    config = json.loads(blobs.pop(old)) | {"architecture": "amd64"}
    config["config"]["Env"] = ["PYTHON_VERSION=3.11.9", "TRITON_VERSION=3.9.0", "PATH=/bin"]
    raw = json.dumps(config).encode()
    manifest["config"] |= {"digest": digest(raw), "size": len(raw)}
    script.answers[f"/v2/work/load/blobs/{digest(raw)}"] = Answer(raw)
    script.answers["/v2/work/load/manifests/v1"] = Answer(json.dumps(manifest).encode())
    return f"{script.host}/work/load:v1"


def test_a_pod_and_its_image_tell_all_there_is_to_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as script:
        settings = {"plainHttp": [script.host]}
        monkeypatch.setenv(ENVIRONMENT, json.dumps(settings))
        reference = script.add(Image([cache_files(files("/build"))]))
        file = tmp_path / "pod.yaml"
        file.write_text(json.dumps(pod(workload(script), env=ENV)))
        code, words = run(capsys, reference, "--pod", file)
        assert (code, set(words.values())) == (0, {"Same"})
        code, words = run(capsys, reference, "--pod", file, "--mount-path", "/elsewhere")
        assert (code, words["paths in the cache"]) == (1, "Differs")
        file.write_text(json.dumps(pod(f"{script.host}/no/image:v1", env=ENV)))
        code, words = run(capsys, reference, "--pod", file)
    assert code == 3
    assert {name for name, word in words.items() if word == "Unknown"} == {
        "version of triton",
        "other variables",
        "CPU of the programs in it",
        "Python of the programs in it",
    }


def test_what_the_webhook_will_change_is_not_held_against_a_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as script:
        monkeypatch.setenv(ENVIRONMENT, json.dumps({"plainHttp": [script.host]}))
        reference = script.add(Image([cache_files(files("/build"))]))
        manifest = pod(workload(script), env=ENV[1:])
        manifest["metadata"] = {"labels": {"gkm.io/pvc-mutation": "true"}}
        file = tmp_path / "pod.json"
        file.write_text(json.dumps(manifest))
        code, words = run(capsys, reference, "--pod", file)
        assert (code, words["where triton looks (TRITON_CACHE_DIR)"]) == (3, "Unknown")
        del manifest["metadata"]
        file.write_text(json.dumps(manifest))
        code, words = run(capsys, reference, "--pod", file)
    assert (code, words["where triton looks (TRITON_CACHE_DIR)"]) == (1, "Differs")


def test_an_image_with_arguments_and_variables_stands_for_a_pod(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as script:
        monkeypatch.setenv(ENVIRONMENT, json.dumps({"plainHttp": [script.host]}))
        reference = script.add(Image([cache_files(files("/build"))]))
        told = ["--image", workload(script), "--env", "TRITON_CACHE_DIR=/cache"]
        code, words = run(capsys, reference, *told, "--env", "TRITON_DEFAULT_FP_FUSION=1")
        assert (code, set(words.values())) == (0, {"Same"})
        code, words = run(capsys, reference, *told)
    assert (code, words["TRITON_DEFAULT_FP_FUSION"]) == (1, "Differs")


def test_the_platform_is_that_of_the_pods_nodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as script:
        monkeypatch.setenv(ENVIRONMENT, json.dumps({"plainHttp": [script.host]}))
        reference = script.add(Image([cache_files(files("/build"))]))
        manifest = pod(workload(script), env=ENV)
        manifest["spec"]["nodeSelector"] = {"kubernetes.io/arch": "arm64"}
        file = tmp_path / "pod.yaml"
        file.write_text(json.dumps(manifest))
        code, words = run(capsys, reference, "--pod", file)
    assert (code, words["CPU of the programs in it"]) == (0, "Differs")


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"spec: 2024-13-45",
        b"[" * 5000,
        b"kind: Pod\nspec: {containers: [{env: [{value: x}]}]}",
        b"kind: Pod\nspec: {containers: [{volumeMounts: [{name: x}]}]}",
        b"kind: Pod\nspec: {containers: [{command: 5}]}",
        b"kind: Pod\nspec: {containers: [{args: sh}]}",
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line(
    text: bytes, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pod.yaml"
    file.write_bytes(text)
    assert explain.main([str(cache), "--pod", str(file)]) == 10
    assert capsys.readouterr().err.count("\n") == 1


def test_vllms_index_and_settings_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "vllm" / "torch_compile_cache" / "0123456789" / "rank_0_0" / "backbone"
    part.mkdir(parents=True)
    index = f"{{(None, 0, 'inductor'): ('h', '{tmp_path}/vllm/torch_compile_cache/x/a')}}"
    (part / "vllm_compile_cache.py").write_text(index)
    (part / "artifact_compile_range_1_2_subgraph_0").write_bytes(b"x")
    factors = {"code_hash": "c", "env": {"VLLM_ATTENTION_BACKEND": "A", "VLLM_API_KEY": "hidden"}}
    (part / "cache_key_factors.json").write_text(json.dumps(factors))
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "vllm"))
    monkeypatch.setenv("VLLM_ATTENTION_BACKEND", "B")
    code = explain.main([str(tmp_path / "vllm")])
    told = capsys.readouterr().out
    assert code == 1
    assert "Differs  VLLM_ATTENTION_BACKEND: cache A, pod B" in told
    assert f"Same     paths in the cache: cache {tmp_path}/vllm" in told
    assert "hidden" not in told


def test_a_cache_is_its_image_at_its_mount_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "/models/cache")
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    told = ("--with", "triton=3.9.0", "--with", "python=3.11")
    file = tmp_path / "cache.yaml"
    with scripted() as script:
        monkeypatch.setenv(ENVIRONMENT, json.dumps({"plainHttp": [script.host]}))
        pinned = script.add(Image([cache_files(files("/build"))]))
        image, _, digest_ = pinned.partition("@")
        spec = {"image": f"{image}:moved", "mountPath": "/models/cache"}
        status = {"resolvedImage": spec["image"], "resolvedDigest": digest_}
        file.write_text(json.dumps({"kind": "GKMCache", "spec": spec, "status": status}))
        code, words = run(capsys, file, *told)
        assert (code, set(words.values())) == (0, {"Same"})
        file.write_text(json.dumps({"kind": "GKMCache", "spec": spec}))
        assert explain.main([str(file)]) == 11
        assert "ImageNotFound" in capsys.readouterr().err
    file.write_text("kind: Pod")
    assert explain.main([str(file)]) == 10
    assert "NotACache" in capsys.readouterr().err


def test_a_pod_comes_on_standard_input(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = json.dumps(pod("127.0.0.1:1/no/image:v1", env=ENV))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, words = run(capsys, cache, "--pod", "-")
    assert (code, words["paths in the cache"]) == (1, "Differs")


def test_a_layer_counts_where_the_workload_sees_it() -> None:
    found = pod()
    spec = found["spec"]
    layer = {"name": "gkm-layer-0", "args": ["overlay", "/run/gkm/kernels", "/layer"]}
    spec["initContainers"] = [layer]
    spec["containers"][0]["volumeMounts"] = [
        {"name": "gkm-layer-0", "mountPath": "/cache"},
        {"name": "kernels", "mountPath": "/run/gkm/kernels", "readOnly": True},
    ]
    assert facts(found, spec["containers"][0], "kernels").mounts == ("/cache",)


def test_what_makes_pods_is_a_pod_too() -> None:
    found = pod_of({"kind": "DaemonSet", "spec": {"template": pod()}})
    assert container_of(found, "kernels")["name"] == "main"
    assert volume_of(found) == volume_of(found, "llama") == "kernels"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "NotAPod.*list"),
        ({"kind": "ConfigMap"}, "NotAPod.*ConfigMap"),
        ({"kind": "Pod", "spec": {"containers": [3]}}, "Malformed"),
        ({"kind": "Pod", "spec": {}}, "NoCacheVolume.*none"),
    ],
)
def test_what_is_no_pod_with_a_cache_is_named(document: Any, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        volume_of(pod_of(document))


def test_a_container_or_claim_that_is_not_there_is_named() -> None:
    with pytest.raises(Rejected, match="'other'; it has main"):
        container_of(pod(), "kernels", "other")
    with pytest.raises(Rejected, match="llama"):
        volume_of(pod(), "mistral")


def test_values_that_the_manifest_does_not_hold_are_unknown() -> None:
    variables = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "B", "value": "$(A)/x"},
        {"name": "C"},
    ]
    found = pod(env=variables)
    container = found["spec"]["containers"][0]
    assert facts(found, container, "kernels").environment == {"A": None, "B": None, "C": ""}
