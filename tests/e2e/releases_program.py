"""Compiles a kernel for every GPU that this release of Triton can compile for; it needs none.

Arguments are targets (``cuda:90``); none means all. The last line is JSON: what became of each
target, "" or the error. Whether a kernel was found is
not asked of Triton, whose way of telling differs by release: a miss writes files.
"""

import json
import sys
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "workload"))
import kernels  # type: ignore[import-not-found]

TARGETS = (
    *(GPUTarget("cuda", number, 32) for number in (75, 80, 86, 89, 90, 100, 120)),
    GPUTarget("hip", "gfx90a", 64),
    GPUTarget("hip", "gfx942", 64),
    GPUTarget("hip", "gfx1100", 32),
)


def source() -> ASTSource:
    names = ("x", "y", "out", "n", "BLOCK")
    types = ("*fp32", "*fp32", "*fp32", "i32", "constexpr")
    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 2):
        return ASTSource(kernels.add, dict(enumerate(types[:4])), {4: 128})
    return ASTSource(kernels.add, dict(zip(names, types, strict=True)), {"BLOCK": 128})


def main() -> None:
    done = {}
    for target in TARGETS:
        name = f"{target.backend}:{target.arch}"
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        try:
            triton.compile(source(), target=target)
            error = ""
        except Exception as problem:  # noqa: BLE001 - what a release cannot do is what is asked
            error = f"{type(problem).__name__}: {problem}".splitlines()[0][:100]
        done[name] = error
    print(json.dumps({"version": triton.__version__, "targets": done}))


if __name__ == "__main__":
    main()
