"""What the files of a cache tell of how it was made, gathered one file after the other.

So it works on a folder and on the archive of an image alike; nothing is imported or executed, and
nothing but small files is read. What it is compared with is ``gkm.core.hit``'s business.
"""

import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from gkm.core.hit import CacheFacts
from gkm.core.hitvariables import IN_TRITONS_KEY
from gkm.kernels.elf import HEADER_BYTES, host_object

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a file that is read whole; larger ones tell nothing."""
_ANY_PYTHON: Final = "abi3"
_VLLM_HASHES: Final = ("code_hash", "config_hash", "compiler_hash")


class Evidence:
    """``look`` at each file, in any order; then ask for the ``facts``."""

    def __init__(self, framework: str) -> None:
        self._framework = framework
        self._versions: defaultdict[str, set[str]] = defaultdict(set)
        self._environments: list[Mapping[str, str]] = []
        self._homes: set[str] = set()
        self._machines: set[str] = set()
        self._pythons: set[str] = set()
        self._hashes: defaultdict[str, set[str]] = defaultdict(set)

    @staticmethod
    def wants(path: str) -> bool:
        """Say whether the file at this relative path is worth reading."""
        return path.endswith((".json", ".so"))

    def look(self, path: str, content: bytes) -> None:
        """Take one file; what is not understood is passed over."""
        name = posixpath.basename(path)
        if path.endswith(".so"):
            self._program(name, content)
            return
        document = _document(content)
        if name.startswith("__grp__"):
            self._group(path, document)
        elif name == "cache_key_factors.json":
            self._factors(document)
        elif isinstance(document.get("hash"), str) and "num_warps" in document:
            self._kernel(document)

    def facts(self) -> CacheFacts:
        """Return what was found so far."""
        variables = {name for environment in self._environments for name in environment}
        return CacheFacts(
            framework=self._framework,
            versions=_frozen(self._versions),
            environment={
                name: frozenset(one.get(name, "") for one in self._environments)
                for name in variables
            },
            homes=frozenset(self._homes),
            machines=frozenset(self._machines),
            pythons=frozenset(self._pythons),
            hashes=_frozen(self._hashes),
            kernels=len(self._environments),
        )

    def _kernel(self, metadata: Mapping[str, Any]) -> None:
        """Triton writes its version and its environment beside a kernel's options."""
        version = metadata.get("triton_version")
        if isinstance(version, str):
            self._versions["triton"].add(version)
        self._environments.append(
            {
                name: value
                for name, value in metadata.items()
                if isinstance(value, str) and (name in IN_TRITONS_KEY or _is_variable(name))
            }
        )

    def _group(self, path: str, group: Mapping[str, Any]) -> None:
        """A group's children lie beside it, so their paths tell where the cache's root was."""
        children = group.get("child_paths")
        folder = posixpath.dirname(path)
        for child in children.values() if isinstance(children, dict) else ():
            home = posixpath.dirname(child) if isinstance(child, str) else ""
            if home == folder or home.endswith(f"/{folder}"):
                self._homes.add(home.removesuffix(folder).rstrip("/") or "/")

    def _factors(self, document: Mapping[str, Any]) -> None:
        for name in _VLLM_HASHES:
            if isinstance(document.get(name), str):
                self._hashes[name].add(document[name])

    def _program(self, name: str, content: bytes) -> None:
        if found := host_object(name, content[:HEADER_BYTES]):
            self._machines.add(found.machine)
            if found.python and found.python != _ANY_PYTHON:
                self._pythons.add(found.python)


def _is_variable(name: str) -> bool:
    """Other versions of Triton have other variables in their key; options are in lower case."""
    return re.fullmatch(r"[A-Z][A-Z0-9_x]{5,}", name) is not None


def _document(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _frozen(found: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(values) for name, values in found.items()}
