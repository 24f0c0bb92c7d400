"""vLLM's compile cache (``$VLLM_CACHE_ROOT``, default ``~/.cache/vllm``), read without vLLM.

What it holds is ``gkm.kernels.vllmtree``. The labels are those of MCV, pkg/cache/vllm.go, with one
difference: a target is named only if something in the cache names it. MCV took the GPU of the
machine that packed, or made one up, so GKM disbelieves ``sm_75`` in a vLLM summary: architectures
are written here as in a Triton summary (``75``), which MCV's readers take for the same. The label
``format`` says ``binary`` for artifacts that are directories too, and ``unpacked`` only for a cache
in which nothing is known, as MCV has it; ``cache_save_format`` in the manifest is exact.

A cache is found again by its directory's hash, which contains no path of the cache (vLLM 0.33.0,
envs.py, ``compile_factors``), but the paths of vLLM's and the model's own source files: pods must
run the image that compiled. Inductor's pickles are not rewritten: they do not need it.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from gkm.api.errors import Rejected
from gkm.core.gputargets import document
from gkm.kernels import vllmfactors, vllmpaths
from gkm.kernels.framework import Description
from gkm.kernels.hostobjects import host_notes
from gkm.kernels.triton import Triton, nameless
from gkm.kernels.vllmtree import AOT, Unit, units

_OWN: Final = frozenset({vllmpaths.INDEX, vllmfactors.NAME})
_SIGNS: Final = frozenset({AOT, "inductor_cache", "triton_cache", "fxgraph"})
_FORMATS: Final = ("aot_compile", "binary", "triton")
_KSERVE: Final = "io.kserve.km/"
_ROOT_VARIABLE: Final = "VLLM_CACHE_ROOT=/home/kserve/.cache/vllm"
_TRITON: Final = Triton()


class Vllm:
    """Describes and relocates vLLM's caches."""

    name = "vllm"

    def describe(self, root: Path, files: list[str]) -> Description | None:
        """Describe the cache by the directories that its hashes name.

        Raises Rejected(NotACache) for a part of one: vLLM would not look for it there, and what
        Triton left in it would be taken for the whole.
        """
        inside = [path for path in files if path.startswith(vllmpaths.ROOT)]
        if not any(map(_is_sign, inside)):
            _refuse_part(root, files)
            return None
        below = (path.removeprefix(vllmpaths.ROOT) for path in inside)
        every = units(root / vllmpaths.ROOT, below)
        known = [unit for unit in every if unit.entry]
        silent = [unit.name for unit in known if not unit.targets]
        doubt = f"nothing in {_listed(silent)} names a GPU" if silent else ""
        targets = {target for unit in known for target in unit.targets}
        summary = document(targets, doubt if targets else "")
        notes = (*_notes(every), *filter(None, [doubt]), *host_notes(root, files))
        manifest = {"vllm": [unit.entry for unit in known]}
        return Description(manifest, summary, len(known), _labels(known), notes)

    def is_relocated(self, path: str) -> bool:
        """Say whether ``path`` is an index of graphs, vLLM's dump of settings or a Triton group."""
        return path.startswith(vllmpaths.ROOT) and (
            posixpath.basename(path) in _OWN or _TRITON.is_relocated(path)
        )

    def relocate(self, path: str, content: bytes, mount_path: str) -> bytes:
        """Move the paths; vLLM's dump of its settings holds none that matter."""
        name = posixpath.basename(path)
        if name == vllmpaths.INDEX:
            return vllmpaths.move(path, content, mount_path)
        return content if name == vllmfactors.NAME else _TRITON.relocate(path, content, mount_path)

    def shipped(self, path: str, content: bytes) -> bytes:
        """Take the secrets out of vLLM's dump of its settings."""
        is_dump = posixpath.basename(path) == vllmfactors.NAME
        return vllmfactors.without_secrets(content) if is_dump else content


FRAMEWORK: Final = Vllm()


def _refuse_part(root: Path, files: Iterable[str]) -> None:
    part = next((path for path in files if posixpath.basename(path) in _OWN), None)
    if part:
        raise Rejected(
            "NotACache",
            f"{root} holds '{part}' of a vLLM cache, but not as '{vllmpaths.ROOT}<hash>/…': name "
            "the directory that VLLM_CACHE_ROOT means, such as ~/.cache/vllm",
        )


def _is_sign(path: str) -> bool:
    """Say whether only vLLM leaves a file of this path below ``torch_compile_cache``."""
    *folders, name = path.split("/")
    artifact = name.startswith("artifact_") or any(one.startswith("artifact_") for one in folders)
    return name in _OWN or artifact or not _SIGNS.isdisjoint(folders)


def _labels(known: list[Unit]) -> Mapping[str, str]:
    entries = [unit.entry for unit in known if unit.entry]
    formats = {entry["cacheFormat"] for entry in entries}
    written = ",".join(one for one in _FORMATS if one in formats)
    labels = {"cache.vllm.image/format": written or "unpacked"}
    if not entries:
        return labels
    hashes = dict.fromkeys(unit.name for unit in known)
    subpath = vllmpaths.ROOT + AOT if known[0].aot else vllmpaths.ROOT.rstrip("/")
    return {
        **labels,
        f"{_KSERVE}framework": "vllm",
        f"{_KSERVE}cache-type": "torch-compile",
        f"{_KSERVE}cache-hash": ",".join(hashes),
        f"{_KSERVE}cache-mount-subpath": subpath,
        f"{_KSERVE}cache-root-env": _ROOT_VARIABLE,
    }


def _notes(every: list[Unit]) -> Iterator[str]:
    """Say what a packer should know of each directory."""
    for unit in every:
        where = f"{vllmpaths.ROOT}{AOT + '/' if unit.aot else ''}{unit.name}"
        if not unit.entry:
            yield f"{where} holds no cache that GKM knows: it is packed, and not counted"
        if few := nameless(unit.kernels):
            yield f"{where}: {few}"
        for path, factors in unit.factors.items():
            if factors is None:
                yield f"{where}/{path} cannot be read: it is packed as an empty object"
            elif factors.secrets:
                names = _listed(factors.secrets)
                yield f"{where}/{path} holds secrets: {names} packed without the values"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
