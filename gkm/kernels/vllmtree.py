"""vLLM's cache directory, read into the entries of MCV's manifest.

| below ``torch_compile_cache/``              | ``cacheFormat`` and ``cache_save_format``       |
|---------------------------------------------|-------------------------------------------------|
| ``<hash>/rank_0_0/<prefix>/artifact_…``     | binary: ``binary``; of directories ``unpacked`` |
| ``<hash>/…/triton_cache/…``                 | triton                                          |
| ``torch_aot_compile/<hash>/rank_0_0/model`` | binary: ``mega-aot``; a directory: aot_compile  |

Sources: vLLM 0.11.0 and 0.33.0, compilation/backends.py, compiler_interface.py and decorators.py;
the entries are those of MCV's pkg/cache/vllm.go. Whether ``model`` holds all graphs ("mega") or
names those of other directories, only its pickle says: like MCV, this calls each such file mega.
Unlike MCV, a hash may have any number of ``triton_cache``, artifacts without a readable
``cache_key_factors.json`` count, and a directory without anything that is known does not.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from gkm.core.gpu import CUDA
from gkm.core.gputargets import Target
from gkm.kernels import vllmfactors
from gkm.kernels.embedded import embedded_targets
from gkm.kernels.metadata import Kernel, read_kernels
from gkm.kernels.vllmfactors import Factors

AOT: Final = "torch_aot_compile"
_RANK = re.compile(r"rank_[0-9]+_[0-9]+", re.ASCII)
_ARTIFACT: Final = "artifact_"
_ARTIFACT_PATH = re.compile(
    rf"(?P<folder>{_RANK.pattern}(?:/(?!{_ARTIFACT})[^/]+)?)/(?P<name>{_ARTIFACT}[^/]*)(?P<inside>/.*)?",
    re.ASCII | re.DOTALL,
)
"""The directory for the part of the model (``backbone``) is missing in the oldest caches."""
_GRAPHS: Final = frozenset({"fxgraph", "aotautograd"})
_MODEL: Final = "model"
_LARGEST_FACTORS: Final = 1024 * 1024
_CUDA_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){1,3}", re.ASCII)


@dataclass(frozen=True)
class Unit:
    """One directory named by a hash: ``files`` are its paths, relative to it; sorted."""

    root: Path
    name: str
    aot: bool
    files: tuple[str, ...]

    @cached_property
    def entry(self) -> Mapping[str, Any] | None:
        """The manifest's entry; None if the directory holds nothing that is known."""
        lists = self._aot_lists() if self.aot else self._lists()
        kind, found = next(((kind, found) for kind, found in lists if found), ("", []))
        return {"vllmHash": self.name, "cacheFormat": kind, kind: found} if kind else None

    @cached_property
    def kernels(self) -> list[Kernel]:
        """Triton's kernels that lie here as files."""
        return read_kernels(self.root, self.files)

    @cached_property
    def targets(self) -> frozenset[Target]:
        """What the kernels were compiled for, wherever they lie here: as files or in artifacts."""
        found = {kernel.target for kernel in self.kernels if kernel.target}
        for path in filter(_is_opaque, self.files):
            found |= embedded_targets(self.root / path)
        version = next((v for f in self.factors.values() if f and (v := f.cuda_version)), "")
        known = version if _CUDA_VERSION.fullmatch(version) else ""
        return frozenset(
            replace(one, cuda_version=known if one.backend == CUDA else "") for one in found
        )

    @cached_property
    def factors(self) -> Mapping[str, Factors | None]:
        """What each ``cache_key_factors.json`` says, by its path; None: it cannot be read."""
        paths = [path for path in self.files if path.rpartition("/")[2] == vllmfactors.NAME]
        return {path: _factors(self.root / path) for path in paths}

    def _lists(self) -> Iterator[tuple[str, list[Any]]]:
        yield "binary", list(self._artifacts())
        cached = (one for one in self.kernels if "triton_cache" in one.path.split("/"))
        yield "triton", [kernel.entry for kernel in cached]

    def _artifacts(self) -> Iterator[Mapping[str, Any]]:
        """Yield an entry for each rank and prefix."""
        found: dict[str, dict[str, bool]] = {}
        for path in self.files:
            if split := _ARTIFACT_PATH.fullmatch(path):
                found.setdefault(split["folder"], {})[split["name"]] = bool(split["inside"])
        for folder, names in sorted(found.items()):
            rank, _, prefix = folder.partition("/")
            factors = self.factors.get(f"{folder}/{vllmfactors.NAME}") or Factors()
            listed = sorted(names)
            saved = "unpacked" if names[listed[0]] else "binary"
            yield _binary(rank, prefix, listed, saved, factors)

    def _aot_lists(self) -> Iterator[tuple[str, list[Any]]]:
        ranks = sorted({path.partition("/")[0] for path in self.files})
        models = [rank for rank in ranks if _RANK.fullmatch(rank)]
        whole = [rank for rank in models if f"{rank}/{_MODEL}" in self.files]
        yield "binary", [_binary(rank, "", [_MODEL], "mega-aot", Factors()) for rank in whole]
        parts = (
            rank
            for rank in models
            if any(path.startswith(f"{rank}/{_MODEL}/") for path in self.files)
        )
        yield "aot_compile", [self._model(rank) for rank in parts]

    def _model(self, rank: str) -> Mapping[str, Any]:
        size = (self.root / rank / _MODEL).stat().st_size
        return {"hash": self.name, "rank": rank, "model_file": _MODEL, "file_size": size}


def units(root: Path, files: Iterable[str]) -> list[Unit]:
    """Find the directories named by a hash below ``root``, those of ``torch_aot_compile`` last."""
    found: dict[tuple[bool, str], list[str]] = {}
    for path in sorted(files):
        aot = path.startswith(f"{AOT}/")
        name, slash, rest = path.removeprefix(f"{AOT}/").partition("/")
        if slash:
            found.setdefault((aot, name), []).append(rest)
    folders = {False: root, True: root / AOT}
    return [
        Unit(folders[aot] / name, name, aot, tuple(paths))
        for (aot, name), paths in sorted(found.items())
    ]


def _binary(
    rank: str, prefix: str, names: list[str], saved: str, factors: Factors
) -> Mapping[str, Any]:
    always = {"rank": rank, "prefix": prefix, "artifact_count": len(names)}
    optional = {
        "artifact_names": names,
        "code_hash": factors.code_hash,
        "config_hash": factors.config_hash,
        "compiler_hash": factors.compiler_hash,
        "cache_save_format": saved,
        "target_device": factors.target_device,
        "env": factors.env,
    }
    return {**always, **{key: value for key, value in optional.items() if value}}


def _is_opaque(path: str) -> bool:
    """Say whether the file is a pickled graph, or several."""
    parts = path.split("/")
    whole = _MODEL in parts or parts[-1].startswith(_ARTIFACT)
    return whole or not _GRAPHS.isdisjoint(parts[:-1])


def _factors(path: Path) -> Factors | None:
    if path.stat().st_size > _LARGEST_FACTORS:
        return None
    return vllmfactors.parse(path.read_bytes())
