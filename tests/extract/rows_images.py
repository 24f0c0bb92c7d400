"""Manifests, configs, labels, and honest images: M45 to M60, and M46's group files."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from gkm.oci import media
from tests.extract import packing
from tests.extract import tarbytes as t
from tests.extract.images import GOOD, LABELS, VLLM, Image, Layer, P, image, layer
from tests.extract.row import WITH_GOOD, Hashes, Refused, Row, Tree, good, hashes
from tests.extract.rows_headers import many
from tests.images import digest

SIZE = "cache.triton.image/cache-size-bytes"
VLLM_LABELS = {"cache.vllm.image/summary": "null"}
NOT_A_CACHE = Refused("NotACacheImage", ("lacks the labels of a kernel cache",))
DOCUMENT = Refused("BadImage", ("at most 4 MiB",))


def _bad_cache(what: str, content: bytes, *words: str) -> Row:
    group = t.file(P + b"KEY/__grp__a.json", content)
    words = words or ("'KEY/__grp__a.json'", "is no group file of Triton's cache")
    return Row("M46", what, lambda: image(GOOD, group), Refused("BadCache", words))


def _deep(text: bytes, count: int) -> bytes:
    return b'{"child_paths":' + text * count


def _children(count: int) -> bytes:
    return json.dumps({"child_paths": {f"{n:x}": "" for n in range(count)}}).encode()


def _far() -> Row:
    """A small group file far below: each of its paths grows by the path of its folder."""
    far = b"/".join([b"d" * 200] * 4)
    group = t.pax((b"path", P + far + b"/__grp__a.json")) + t.file(b"g", _children(80_000))
    expected = Refused("BadCache", ("dddd", "names more than 100 files"))
    return Row("M46", "group-that-grows", lambda: image(GOOD, group), expected)


def _elf(machine: int, sections: int) -> bytes:
    return struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, machine, 1, 0, 0, 1 << 60,
                       0, 64, 56, 0, 64, sections, 0)  # fmt: skip


def _copied(number: str, what: str, contents: dict[str, bytes]) -> Row:
    """Files that are bytes to us: copied, never parsed, loaded or run."""
    tree: dict[str, bytes | None] = {}
    for name, content in contents.items():
        tree |= {name[:at]: None for at, sign in enumerate(name) if sign == "/"}
        tree[name] = content
    parts = (t.file(P + name.encode(), content) for name, content in contents.items())
    return good(number, what, *parts, tree=tree)


def _labels(number: str, what: str, labels: object, expected: Refused | Tree) -> Row:
    return Row(number, what, lambda: image(GOOD, labels=labels), expected)


def _sized(what: str, size: str) -> Row:
    says = (f"promises {size:.40} bytes", "it holds 4")
    return _labels("M48", what, {**LABELS, SIZE: size}, Refused("SizeMismatch", says))


def _spoilt(what: str, key: str, value: object, *words: str) -> Row:
    """A config that says ``value`` for ``key``."""
    return Row("M49", what, lambda: image(GOOD, config={key: value}), Refused("BadImage", words))


Entries = list[dict[str, Any]]


def _platforms(ours: bool, count: int = 1000) -> Any:
    def index(found: dict[str, Any]) -> Entries:
        names = [f"machine{n}" for n in range(count)]
        names += ["amd64", "arm64"] if ours else []
        return [{**found, "platform": {"os": "linux", "architecture": n}} for n in names]

    return index


def _attested(image_too: bool) -> Any:
    def index(found: dict[str, Any]) -> Entries:
        unknown = {**found, "platform": {"os": "unknown", "architecture": "unknown"}}
        return [unknown, found] if image_too else [unknown]

    return index


def _layer_size(size: int) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["layers"][0]["size"] = size

    return change


def _of_index(found: dict[str, Any]) -> Entries:
    return [{**found, "mediaType": media.OCI_INDEX}]


SPLIT: dict[str, bytes] = {f"KEY{n % 7}/f{n}": b"%d" % n * 100 for n in range(120)}
SPLIT_TREE: Tree = {**{f"KEY{n}": None for n in range(7)}, **SPLIT}


def _split(numbers: range) -> Image:
    named = list(SPLIT.items())
    chosen = [named[n % 120] for n in numbers[:120]]
    layers = [layer(t.file(P + name.encode(), body)) for name, body in chosen]
    return Image(tuple(layers + [layer(t.folder(b"l%d" % n)) for n in numbers[120:]]))


# What the packers of MCV make, by its own documents and the images that it ships.
FILES: dict[str, bytes] = {"KEY/add.json": b'{"hash":"h"}', "KEY/add.ttir": b"module {}"}
CUDA = FILES | {"KEY/add.ptx": b".version 8.4", "KEY/add.cubin": b"\x7fELF\x02cubin"}
ROCM = FILES | {"KEY/add.amdgcn": b".amdgcn_target", "KEY/add.hsaco": b"\x7fELF\x02hsaco"}
MANIFEST = t.file(b"io.triton.manifest/manifest.json", b'{"triton": []}')
USER: dict[str, t.Field] = {"uname": b"builder", "uid": 1001, "mtime": 1_720_000_000}
ROOT: dict[str, t.Field] = {"uname": b"", "uid": 0, "gid": 0}


def _docker(contents: dict[str, bytes]) -> bytes:
    """Folders with a slash, none for the top, the user who built; the manifest comes last."""
    parts = [t.folder(P + b"KEY/", **USER)]
    parts += [t.file(P + n.encode(), body, **USER) for n, body in contents.items()]
    return b"".join([*parts, t.folder(b"io.triton.manifest/", **USER), MANIFEST])


def _buildah(contents: dict[str, bytes]) -> bytes:
    """Folders without a slash, those at the top too, and nobody's name."""
    parts = [t.folder(name, **ROOT) for name in (P[:-1], P + b"KEY")]
    parts += [t.file(P + n.encode(), body, **ROOT) for n, body in contents.items()]
    return b"".join([*parts, t.folder(b"io.triton.manifest", **ROOT), MANIFEST])


def _honest(number: str, what: str, body: bytes, contents: dict[str, bytes], **how: str) -> Row:
    def build() -> Image:
        tar = body + t.END
        kind = how.get("layer", media.OCI_LAYER_GZIP)
        pack = packing.zstd_frame if kind == media.OCI_LAYER_ZSTD else packing.gzip
        size = str(sum(map(len, contents.values())))
        manifest = how.get("manifest", media.OCI_MANIFEST)
        one = Layer(pack(tar), digest(tar), kind)
        return Image((one,), labels={**LABELS, SIZE: size}, manifest_type=manifest)

    return Row(number, what, build, {"KEY": None, **contents})


def _vllm(number: str, what: str, name: str, content: bytes = b"m") -> Row:
    """A file of a vLLM cache, as it is."""
    path = f"torch_compile_cache/hash/rank_0_0/{name}"
    folders = {path[:at]: None for at, sign in enumerate(path) if sign == "/"}
    body = t.file(VLLM + path.encode(), content)
    return Row(number, what, lambda: image(body, labels=VLLM_LABELS), {**folders, path: content})


def _bad_vllm(what: str, content: bytes, *words: str) -> Row:
    body = t.file(VLLM + b"torch_compile_cache/hash/vllm_compile_cache.py", content)
    expected = Refused("BadCache", ("'torch_compile_cache/hash/vllm_compile_cache.py'", *words))
    return Row("M58", what, lambda: image(body, labels=VLLM_LABELS), expected)


def _big(count: int, size: int) -> Iterator[tuple[str, bytes]]:
    """Files of this size, none like another, which shrink to about a fiftieth."""
    noise = b"".join(digest(b"%d" % n).encode() for n in range(size // 5_000))
    body = noise + bytes(size)
    return ((f"d/{n:06d}", (b"%06d" % n + body)[:size]) for n in range(count))


def _big_row(what: str, count: int, size: int, *, slow: bool) -> Row:
    def build() -> Image:
        return many(t.file(P + name.encode(), body) for name, body in _big(count, size))

    def tree() -> Hashes:
        found = {name: digest(body) for name, body in _big(count, size)}
        return {**hashes(WITH_GOOD), "d": None, **found}

    return Row("M52", what, build, tree, slow=slow, trace=not slow)


def _manifest(what: str, content: bytes, *, large: bool = False) -> Row:
    """A manifest of the cache, which is kept as bytes and read by nobody here."""
    name = b"io.triton.manifest/manifest.json"
    expected = Refused("BadCache", (name.decode(), f"has {len(content)} bytes"))
    parts = (t.file(name, content),)
    return Row("F140", what, lambda: image(GOOD, *parts), expected if large else WITH_GOOD)


BAIT = {
    "sitecustomize.py": b"raise SystemExit",
    "x.pth": b"import os",
    "KEY/launcher.so": b"\x7fELF",
    "etc/ld.so.preload": b"/evil.so",
    "python": b"#!/bin/sh",
}
BINARIES = {
    "KEY/a.so": _elf(0xFFFF, 0xFFFF),
    "KEY/a.cubin": _elf(190, 0)[:40],
    "KEY/a.hsaco": b"\x7fELF",
    "KEY/a.json": b"[" * (1 << 20),
    "KEY/b.json": b"9" * 10_000,
}
PICKLES = {"KEY/a.pkl": b"cos\nsystem\n(S'touch evil'\ntR.", "KEY/entry": b"\x80\x04\x95evil"}
TEN_MIB = {**LABELS, "x": "x" * (10 << 20)}

ROWS: list[Row] = [
    _copied("M45", "bait-for-loaders", BAIT),
    _copied("M46", "odd-binaries", BINARIES),
    _bad_cache("group-no-json", b"\xff"),
    _bad_cache("group-deep", _deep(b'{"a":', 100_000)),
    _bad_cache("group-with-a-long-number", _deep(b"9", 500_000) + b"}"),
    _bad_cache("group-of-another-type", b"[]"),
    _bad_cache("group-of-empty-objects", b"[" + b"{}," * 349_000 + b"{}]"),
    _bad_cache("group-with-numbers-for-paths", b'{"child_paths":{"a":1}}'),
    _bad_cache("group-of-2-mib", b" " * (2 << 20), "KEY/__grp__a.json", "far too many for paths"),
    _far(),
    _copied("M47", "pickles", PICKLES),
    *(_sized(f"size-{what}", size) for what, size in (
        ("zero", "0"), ("minus", "-1"), ("huge-float", "1e30"), ("one-more", "5"),
        ("one-less", "3"), ("text", "many"), ("empty", ""), ("digits-of-1-mib", "9" * (1 << 20)),
    )),
    _labels("M48", "size-missing", dict(LABELS), WITH_GOOD),
    _labels("M48", "size-right", {**LABELS, SIZE: "4"}, WITH_GOOD),
    _labels("M49", "no-labels", {}, NOT_A_CACHE),
    _labels("M49", "labels-null", None, NOT_A_CACHE),
    _labels("M49", "another-framework", {"cache.jax.image/summary": "{}"}, NOT_A_CACHE),
    _labels("M49", "label-no-text", {**LABELS, "x": 1},
            Refused("BadImage", ("labels are not all text",))),
    _labels("M49", "labels-a-list", ["x"], Refused("BadImage", ("labels are not all text",))),
    _labels("M49", "label-of-10-mib", TEN_MIB, DOCUMENT),
    # Triton wins, as it does for MCV, whose images these are.
    _labels("M49", "both-frameworks", {**LABELS, **VLLM_LABELS}, WITH_GOOD),
    _labels("M49", "config-null", None, NOT_A_CACHE),
    _spoilt("rootfs-a-text", "rootfs", "x", "0 diff_ids"),
    Row("M49", "config-a-text", lambda: image(GOOD, config={"config": "x"}), NOT_A_CACHE),
    Row("M50", "thousand-platforms-and-ours", lambda: image(GOOD, index=_platforms(ours=True)),
        WITH_GOOD),
    # Kernels are for GPUs: an image for another processor is better than none.
    Row("M50", "thousand-platforms-not-ours", lambda: image(GOOD, index=_platforms(ours=False)),
        WITH_GOOD),
    Row("M50", "attestation-first", lambda: image(GOOD, index=_attested(image_too=True)),
        WITH_GOOD),
    Row("M50", "attestations-only", lambda: image(GOOD, index=_attested(image_too=False)),
        Refused("BadImage", ("the index names no image",))),
    # An index cannot name itself, by digest; one that names what calls itself an index can be.
    Row("M50", "index-of-an-index", lambda: image(GOOD, index=_of_index),
        Refused("BadImage", ("the index names no image",))),
    Row("M51", "120-layers", lambda: _split(range(120)), SPLIT_TREE),
    Row("M51", "120-layers-backwards", lambda: _split(range(120)[::-1]), SPLIT_TREE),
    Row("M51", "129-layers", lambda: _split(range(129)),
        Refused("BadImage", ("129 layers; at most 128",))),
    _big_row("128-mib", 2_000, 65_536, slow=False),
    _big_row("4-gib-in-50000-files", 50_000, 85_900, slow=True),
    _honest("M53", "docker-builder", _docker(CUDA), CUDA, manifest=media.DOCKER_MANIFEST,
            layer=media.DOCKER_LAYER_GZIP),
    _honest("M54", "buildah", _buildah(CUDA), CUDA),
    _honest("M55", "oci-manifest-docker-layer", _docker(CUDA), CUDA, layer=media.DOCKER_LAYER_GZIP),
    _honest("M56", "triton-cuda", _docker(CUDA), CUDA),
    _honest("M57", "triton-rocm", _buildah(ROCM), ROCM),
    _honest("M57", "triton-rocm-zstd", _buildah(ROCM), ROCM, layer=media.OCI_LAYER_ZSTD),
    _honest("M57", "triton-artifact", _buildah(ROCM), ROCM,
            layer="application/cache.triton.content.layer.v1+triton"),
    _vllm("M58", "vllm-binary", "backbone/artifact_compile_range_1_512_subgraph_0"),
    _vllm("M58", "vllm-index", "backbone/vllm_compile_cache.py", b"{(None, 0, 'eager'): None}"),
    _bad_vllm("vllm-index-of-code", b"{'a': __import__('os')}", "no index of compiled graphs"),
    _bad_vllm("vllm-index-that-grows", b"{" + b"'/torch_compile_cache/'," * 40_000, "than 4000"),
    _bad_vllm("vllm-index-of-quotes", b"{" + b"'" * ((1 << 20) - 1), "no index of compiled"),
    _bad_vllm("vllm-index-of-2-mib", b" " * (2 << 20), "far too many for paths"),
    _vllm("M59", "vllm-triton", "triton_cache/KEY/add.cubin"),
    _vllm("M60", "vllm-aot", "model"),
    _manifest("manifest-of-numbers", b'{"triton":[' + b"9" * (1 << 20) + b"]}"),
    _manifest("manifest-deep", b'{"triton":' + b"[" * (1 << 20)),
    _manifest("manifest-no-json", b"\xff\x00"),
    _manifest("manifest-of-65-mib", bytes(65 << 20), large=True),
    Row("F140", "layer-of-minus-one-byte", lambda: image(GOOD, change=_layer_size(-1)),
        Refused("BadImage", ("has the size '-1', expected bytes",))),
    Row("F140", "layer-of-4-exbibytes", lambda: image(GOOD, change=_layer_size(1 << 62)),
        Refused("BadImage", (f"has the size '{1 << 62}', expected bytes",))),
    Row("F140", "layer-of-9-gib", lambda: image(GOOD, change=_layer_size(9 << 30)),
        Refused("TooLarge", (f"{9 << 30} bytes",))),
    Row("F140", "layer-of-9-gib-for-4-bytes",
        lambda: image(GOOD, change=_layer_size(9 << 30), labels={**LABELS, SIZE: "4"}),
        Refused("TooLarge", (f"{9 << 30} bytes",))),
]  # fmt: skip
