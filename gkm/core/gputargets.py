"""For which GPUs a cache was compiled, as its image says it, and how far that can be believed.

The summary label is read in every spelling that is found in images: that of ``gkm pack``, of MCV's
Triton images (``75``) and of its vLLM images (``sm_75``, ``rocm``, ``null``).
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gkm.core.gpu import CUDA, arch_name, backend_name
from gkm.core.image import framework, label

_LONGEST_SUMMARY: Final = 64 * 1024
_LONGEST_DOUBT: Final = 200
_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){0,3}", re.ASCII)
_SILENT: Final = "the image does not say for which GPUs it was compiled"
_GUESSED: Final = "the image names {} only because its packer did not know the GPU"


@dataclass(frozen=True, order=True)
class Target:
    """One kind of GPU: an empty ``arch``, a ``warp_size`` of 0 and no version are not known."""

    backend: str
    arch: str
    warp_size: int = 0
    cuda_version: str = ""


@dataclass(frozen=True)
class Targets:
    """The targets of a cache, sorted, each once.

    ``doubt`` says why it may have been compiled for others too; it is never empty if there are no
    targets.
    """

    known: tuple[Target, ...]
    doubt: str = ""

    def to_json(self) -> str:
        """Write them as a summary label, which ``parse`` reads back unchanged."""
        return json.dumps(document(self.known, self.doubt), separators=(",", ":"))


def document(targets: Iterable[Target], doubt: str = "") -> dict[str, Any]:
    """Return the content of a summary label, which ``parse`` reads: sorted, each target once."""
    found: dict[str, Any] = {"targets": [_to_json(target) for target in sorted(set(targets))]}
    return found | ({"doubt": doubt} if doubt else {})


UNSAID: Final = Targets((), _SILENT)
"""Of an image that says nothing."""


def from_labels(labels: Mapping[str, str]) -> Targets:
    """Return what an image's labels say; what cannot be read is a doubt, never an error."""
    name = framework(labels)
    return parse(labels[label(name, "summary")], name) if name else UNSAID


def parse(summary: str, framework_name: str = "") -> Targets:
    """Read a summary label, or what ``Targets.to_json`` wrote.

    Of a vLLM image two things are not believed, because MCV's packer writes them without knowing:
    its fallback target (``sm_75`` without a ``ptx_version``, ``gfx908`` with backend ``rocm``),
    and warp sizes, which are a constant per backend there (64 even for RDNA). Source: MCV,
    pkg/cache/vllm.go, summary of binary caches.
    """
    found = _document(summary)
    raw = found.get("targets")
    entries = [one for one in raw if isinstance(one, dict)] if isinstance(raw, list) else []
    known, doubts = set(), [_text(found.get("doubt"))]
    for entry in entries:
        target = _target(entry, framework_name)
        guess = _guess(entry) if framework_name == "vllm" else ""
        if guess:
            doubts.append(_GUESSED.format(guess))
        elif target.backend:
            known.add(target)
        else:
            doubts.append("the image holds kernels that name no GPU")
    doubt = next(filter(None, doubts), "" if known else _SILENT)
    return Targets(tuple(sorted(known)), doubt)


def _document(summary: str) -> Mapping[str, Any]:
    try:
        found = json.loads(summary) if len(summary) <= _LONGEST_SUMMARY else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _target(entry: Mapping[str, Any], framework_name: str) -> Target:
    backend = backend_name(entry.get("backend"))
    arch = arch_name(backend, entry.get("arch"))
    warp = 0 if framework_name == "vllm" else entry.get("warp_size")
    version = _text(entry.get("cuda_version")) if backend == CUDA else ""
    version = version if _VERSION.fullmatch(version) else ""
    return Target(backend, arch, warp if type(warp) is int and warp > 0 else 0, version)


def _guess(entry: Mapping[str, Any]) -> str:
    backend, arch = entry.get("backend"), entry.get("arch")
    if (backend, arch) == (CUDA, "sm_75") and not entry.get("ptx_version"):
        return "sm_75"
    return "gfx908" if (backend, arch) == ("rocm", "gfx908") else ""


def _text(raw: object) -> str:
    return raw[:_LONGEST_DOUBT] if isinstance(raw, str) else ""


def _to_json(target: Target) -> dict[str, Any]:
    found = {"backend": target.backend, "arch": target.arch, "warp_size": target.warp_size}
    return found | ({"cuda_version": target.cuda_version} if target.cuda_version else {})
