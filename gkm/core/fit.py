"""Whether a cache fits a GPU: will the framework find its kernels there, and can they run.

| compared       | because                                                                         |
|----------------|---------------------------------------------------------------------------------|
| backend        | a cuda kernel is nothing to an AMD GPU                                          |
| architecture   | exactly: Triton and torch look for kernels by it, so a newer GPU that could run |
|                | an older kernel, or compile its PTX, still does not find it                     |
| warp size      | part of Triton's key; where the image does not know it, it is not compared      |
| driver         | NVIDIA's, only with the image's CUDA version, and never enough to say no        |

Not compared: PTX versions (an image's is an ISA, a GPU has none; MCV compared it with the driver's
major version, so that nothing ever fitted), memory, product names, MIG.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

from gkm.core.gpu import Gpu, warp_size
from gkm.core.gputargets import Target, Targets

_DRIVER_FOR_CUDA: Final = {11: 450, 12: 525, 13: 580}
"""First NVIDIA driver branch for a major version of CUDA: https://docs.nvidia.com/deploy/
cuda-compatibility/, "minor version compatibility". Older ones need the package cuda-compat."""


class Verdict(StrEnum):
    """What is known, the best first: Unfit keeps a cache from a node, Unknown never does."""

    FITS = "Fits"
    UNKNOWN = "Unknown"
    UNFIT = "Unfit"


_ORDER: Final = tuple(Verdict)
_VERBS: Final = {
    Verdict.FITS: "fits",
    Verdict.UNKNOWN: "may fit",
    Verdict.UNFIT: "does not fit",
}


@dataclass(frozen=True)
class Fit:
    """The verdict for one GPU, and why, in words for a user."""

    gpu: Gpu
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class NodeFit:
    """The verdicts for all GPUs of a node, in the order of their numbers."""

    gpus: tuple[Fit, ...]

    @property
    def verdict(self) -> Verdict:
        """Fits if one GPU does; Unfit if none may, so also without any GPU."""
        found = {fit.verdict for fit in self.gpus}
        return next((one for one in _ORDER if one in found), Verdict.UNFIT)

    @property
    def message(self) -> str:
        """What follows "the cache": GPUs that share verdict and reason together, fitting first."""
        parts = sorted(self.gpus, key=lambda fit: (_ORDER.index(fit.verdict), fit.reason))
        clauses = [
            f"{_VERBS[verdict]} {_numbers(fits)} ({reason})"
            for (verdict, reason), fits in groupby(parts, lambda fit: (fit.verdict, fit.reason))
        ]
        return "; ".join(clauses) or "fits nothing here: there is no GPU"

    def numbers(self, verdict: Verdict) -> tuple[int, ...]:
        """Numbers of the GPUs with this verdict."""
        return tuple(fit.gpu.index for fit in self.gpus if fit.verdict is verdict)


def fit_node(targets: Targets, gpus: Iterable[Gpu]) -> NodeFit:
    """Judge every GPU of a node."""
    return NodeFit(tuple(fit(targets, gpu) for gpu in sorted(gpus, key=lambda gpu: gpu.index)))


def fit(targets: Targets, gpu: Gpu) -> Fit:
    """Judge one GPU: one target that fits is enough, one that may fit outweighs any that do not."""
    judged = [_judge(target, gpu) for target in targets.known]
    if targets.doubt:
        judged.append((Verdict.UNKNOWN, targets.doubt))
    verdict, reason = min(judged, key=lambda one: _ORDER.index(one[0]))
    return Fit(gpu, verdict, reason or _misfit(targets, gpu))


def _misfit(targets: Targets, gpu: Gpu) -> str:
    named = (_name(one.backend, one.arch, one.warp_size) for one in targets.known)
    here = _name(gpu.backend, gpu.arch, gpu.warp_size)
    return f"compiled for {', '.join(dict.fromkeys(named))}, this GPU is {here}"


def _judge(target: Target, gpu: Gpu) -> tuple[Verdict, str]:
    if target.backend != gpu.backend:
        return Verdict.UNFIT, ""
    if not target.arch:
        return Verdict.UNKNOWN, f"the image names no {gpu.backend} architecture that GKM knows"
    if not gpu.arch:
        return Verdict.UNKNOWN, "the architecture of this GPU is not known"
    if target.arch != gpu.arch or _differ(target.warp_size, gpu.warp_size):
        return Verdict.UNFIT, ""
    return _judge_driver(target, gpu)


def _judge_driver(target: Target, gpu: Gpu) -> tuple[Verdict, str]:
    needed = _DRIVER_FOR_CUDA.get(_major(target.cuda_version), 0)
    has = _major(gpu.driver_version)
    if has and has < needed:
        return Verdict.UNKNOWN, (
            f"compiled with CUDA {target.cuda_version}, which needs NVIDIA driver {needed} or "
            f"newer, or the package cuda-compat in the workload; here is {gpu.driver_version}"
        )
    return Verdict.FITS, f"compiled for {_name(target.backend, target.arch, target.warp_size)}"


def _differ(one: int, other: int) -> bool:
    return bool(one and other and one != other)


def _major(version: str) -> int:
    text = version.partition(".")[0]
    return int(text) if text.isascii() and text.isdigit() else 0


def _name(backend: str, arch: str, warp: int) -> str:
    lanes = f" (warp size {warp})" if arch and warp not in (0, warp_size(backend, arch)) else ""
    return f"{backend} {arch or 'of unknown architecture'}{lanes}"


def _numbers(fits: Iterable[Fit]) -> str:
    found = [str(one.gpu.index) for one in fits]
    return ("GPU " if len(found) == 1 else "GPUs ") + ", ".join(found)
