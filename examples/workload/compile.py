"""Compiles the kernels for several GPUs, without having one, and says what the cache spared.

Each kernel and target is a HIT (Triton found it in ``$TRITON_CACHE_DIR``) or a MISS; the last line
is JSON: hits, misses, stages (compiler passes that ran; 0 when everything hit), seconds.
"""

import argparse
import json
import os
import time

import kernels
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

# Triton warns while this is unset; the value is part of the cache keys.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

TARGETS = (GPUTarget("cuda", 80, 32), GPUTarget("cuda", 90, 32), GPUTarget("hip", "gfx942", 64))
WHICH = {"all": kernels.ALL, "extra": kernels.EXTRA}


class Count:
    """Triton's compilation listener: sums up what each compilation reports."""

    def __init__(self) -> None:
        self.hits = self.misses = self.stages = 0
        self.last_hit = False

    def __call__(self, *, times, cache_hit, **_) -> None:
        self.last_hit = cache_hit
        self.hits += cache_hit
        self.misses += not cache_hit
        self.stages += len(times.lowering_stages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kernels", choices=WHICH, default="all", help="extra: one that no image holds"
    )
    chosen = WHICH[parser.parse_args().kernels]
    count = triton.knobs.compilation.listener = Count()
    started = time.perf_counter()
    for kernel, arguments, block in chosen:
        for target in TARGETS:
            begun = time.perf_counter()
            triton.compile(
                ASTSource(kernel, {**arguments, "BLOCK": "constexpr"}, {"BLOCK": block}),
                target=target,
            )
            word = "HIT " if count.last_hit else "MISS"
            name = f"{kernel.__name__} {target.backend}:{target.arch}"
            print(f"{word} {name:<22} {time.perf_counter() - begun:.3f} s", flush=True)
    seconds = round(time.perf_counter() - started, 3)
    found = {"hits": count.hits, "misses": count.misses, "stages": count.stages}
    print(json.dumps({**found, "seconds": seconds}))


if __name__ == "__main__":
    main()
