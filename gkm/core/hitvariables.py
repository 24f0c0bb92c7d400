"""The environment variables that decide whether a framework finds its kernels: facts only.

Those in Triton's key were found by asking Triton 3.9 itself (``get_cache_invalidating_env_vars``
with each name that its library holds); the others are in Triton's knobs.py, PyTorch's
torch/_inductor/config.py and vLLM's envs.py.
"""

from collections.abc import Callable
from typing import Final

_TRUE: Final = ("1", "on", "true", "y", "yes")
_FALSE: Final = ("0", "off", "false", "n", "no")


def normal(value: str) -> str:
    """Return a value as Triton has it in its key: switches are ``true`` or ``false``."""
    lowered = value.lower()
    if lowered in _TRUE[:3]:
        return "true"
    return "false" if lowered in _FALSE[:3] else value


def _on(value: str) -> bool:
    return value.lower() in _TRUE


def _off(value: str) -> bool:
    return value.lower() in _FALSE


def _set(value: str) -> bool:
    return bool(value)


_ALL: Final = ("triton", "inductor", "vllm")
_TORCH: Final = ("inductor", "vllm")

OFF_SWITCHES: Final[dict[str, tuple[tuple[str, ...], Callable[[str], bool], str]]] = {
    "TRITON_ALWAYS_COMPILE": (_ALL, _on, "Triton compiles always"),
    "TRITON_INTERPRET": (_ALL, _on, "Triton interprets its kernels and compiles none"),
    "TRITON_CACHE_MANAGER": (_ALL, _set, "another cache than Triton's files"),
    "TORCH_COMPILE_DISABLE": (_TORCH, _on, "PyTorch compiles nothing"),
    "TORCHDYNAMO_DISABLE": (_TORCH, _on, "PyTorch compiles nothing"),
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": (_TORCH, _on, "no cache is read"),
    "TORCHINDUCTOR_FX_GRAPH_CACHE": (
        _TORCH,
        _off,
        "graphs are not looked up",
    ),
    "VLLM_DISABLE_COMPILE_CACHE": (("vllm",), _on, "vLLM reads no cache"),
}
"""By variable: whom it concerns, which values turn the cache off, and what to tell a person."""

IN_TRITONS_KEY: Final = frozenset(
    {
        "ALLOW_LHS_TMEM_LAYOUT_CONVERSION",
        "AMDGCN_ENABLE_DUMP",
        "AMDGCN_USE_BUFFER_ATOMICS",
        "AMDGCN_USE_BUFFER_OPS",
        "DISABLE_LLVM_OPT",
        "DISABLE_MMA_V3",
        "DISABLE_MMA_V5",
        "DISABLE_PTXAS_OPT",
        "LLVM_ENABLE_TIMING",
        "LLVM_EXTRACT_DI_LOCAL_VARIABLES",
        "LLVM_IR_ENABLE_DUMP",
        "LLVM_PASS_PLUGIN_PATH",
        "MLIR_DISABLE_MULTITHREADING",
        "MLIR_DUMP_PATH",
        "MLIR_ENABLE_DIAGNOSTICS",
        "MLIR_ENABLE_DUMP",
        "MLIR_ENABLE_TIMING",
        "NVPTX_ENABLE_DUMP",
        "TRITON_CONSAN_INIT_ALLOCATIONS",
        "TRITON_DEFAULT_FP_FUSION",
        "TRITON_DISABLE_LINE_INFO",
        "TRITON_DUMP_MIR",
        "TRITON_ENABLE_ASAN",
        "TRITON_ENABLE_EXPERIMENTAL_CONSAN",
        "TRITON_ENABLE_LLVM_DEBUG",
        "TRITON_F32_DEFAULT",
        "TRITON_FORCE_DISABLE_FP_FUSION",
        "TRITON_HIP_USE_ASYNC_COPY",
        "TRITON_HIP_USE_BLOCK_PINGPONG",
        "TRITON_HIP_USE_COEXEC_SCHEDULER",
        "TRITON_HIP_USE_EXPERT_SCHEDULING",
        "TRITON_HIP_USE_IN_THREAD_TRANSPOSE",
        "TRITON_LLVM_DEBUG_ONLY",
        "TRITON_OVERRIDE_ARCH",
        "TRITON_PARTITION_SCHEDULING_DUMP_DATA_ONLY",
        "TRITON_PARTITION_SCHEDULING_DUMP_LOOP_ONLY",
        "TRITON_PARTITION_SCHEDULING_ENABLE_DUMP_DOT",
        "TRITON_PLUGIN_PATHS",
        "TRITON_PLUGIN_VERSION_CHECK",
        "USE_IR_LOC",
    }
)
"""Variables whose mere presence changes every key of Triton's; an empty value counts as none."""
