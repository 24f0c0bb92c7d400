"""What the files of a cache tell of how it was made, gathered one file after the other.

So it works on a folder and on the archive of an image alike; nothing is imported or executed, and
nothing but small files is read. What it is compared with is ``gkm.core.hit``'s business.
"""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final

from gkm.core.hit import CacheFacts
from gkm.core.hitvariables import IN_TRITONS_KEY
from gkm.kernels import vllmfactors, vllmpaths
from gkm.kernels.elf import HEADER_BYTES, host_object
from gkm.kernels.metadata import json_object

_MOST, _LONGEST = 200, 200
"""Of different names, of values of one, and of a value's characters: an honest cache has few."""
_ANY_PYTHON: Final = "abi3"
_VLLM_HASHES: Final = ("code_hash", "config_hash", "compiler_hash")


class Evidence:
    """``look`` at each file, in any order; then ask for the ``facts``."""

    def __init__(self, framework: str) -> None:
        self._framework = framework
        self._kernels = 0
        self._versions: defaultdict[str, set[str]] = defaultdict(set)
        self._variables: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._settings: defaultdict[str, set[str]] = defaultdict(set)
        self._homes: set[str] = set()
        self._machines: set[str] = set()
        self._pythons: set[str] = set()
        self._hashes: defaultdict[str, set[str]] = defaultdict(set)

    @staticmethod
    def wants(path: str) -> bool:
        """Say whether the file at this relative path is worth reading."""
        return path.endswith((".json", ".so", f"/{vllmpaths.INDEX}"))

    def look(self, path: str, content: bytes) -> None:
        """Take one file; what is not understood is passed over."""
        name = posixpath.basename(path)
        if path.endswith(".so"):
            self._program(name, content)
            return
        if name == vllmfactors.NAME:
            self._factors(content)
            return
        if name == vllmpaths.INDEX:
            for home in vllmpaths.homes(content):
                _add(self._homes, home)
            return
        document = json_object(content)
        if name.startswith("__grp__"):
            self._group(path, document)
        elif isinstance(document.get("hash"), str) and "num_warps" in document:
            self._kernel(document)

    def facts(self) -> CacheFacts:
        """Return what was found so far."""
        return CacheFacts(
            framework=self._framework,
            versions=_frozen(self._versions),
            environment={
                name: frozenset(values) | ({""} if values.total() < self._kernels else frozenset())
                for name, values in self._variables.items()
            },
            homes=frozenset(self._homes),
            machines=frozenset(self._machines),
            pythons=frozenset(self._pythons),
            settings=_frozen(self._settings),
            hashes=_frozen(self._hashes),
            kernels=self._kernels,
        )

    def _kernel(self, metadata: Mapping[str, Any]) -> None:
        """Triton writes its version and its environment beside a kernel's options."""
        self._kernels += 1
        _add(self._versions["triton"], metadata.get("triton_version"))
        for name, value in metadata.items():
            known = name in IN_TRITONS_KEY or _is_variable(name)
            if known and isinstance(value, str) and len(self._variables) < _MOST:
                values = self._variables[name]
                if value in values or len(values) < _MOST:
                    values[value[:_LONGEST]] += 1

    def _group(self, path: str, group: Mapping[str, Any]) -> None:
        """A group's children lie beside it, so their paths tell where the cache's root was."""
        children = group.get("child_paths")
        folder = posixpath.dirname(path)
        for child in children.values() if isinstance(children, dict) else ():
            home = posixpath.dirname(child) if isinstance(child, str) else ""
            if home == folder or home.endswith(f"/{folder}"):
                _add(self._homes, home.removesuffix(folder).rstrip("/") or "/")

    def _factors(self, content: bytes) -> None:
        """Take what vLLM says that its hash was made of, but for secrets and paths."""
        found = vllmfactors.parse(content)
        if found is None:
            return
        for name in _VLLM_HASHES:
            _add(self._hashes[name], getattr(found, name) or None)
        for name, value in (found.env or {}).items():
            if value is not None and len(self._settings) < _MOST:
                _add(self._settings[name], str(value))

    def _program(self, name: str, content: bytes) -> None:
        if found := host_object(name, content[:HEADER_BYTES]):
            self._machines.add(found.machine)
            if found.python and found.python != _ANY_PYTHON:
                self._pythons.add(found.python)


def _is_variable(name: str) -> bool:
    """Other versions of Triton have other variables in their key; options are in lower case."""
    return re.fullmatch(r"[A-Z][A-Z0-9_x]{5,}", name) is not None


def _add(found: set[str], value: object) -> None:
    if isinstance(value, str) and len(found) < _MOST:
        found.add(value[:_LONGEST])


def _frozen(found: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(values) for name, values in found.items() if values}
