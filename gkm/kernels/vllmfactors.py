"""What vLLM wrote down about a compilation: ``cache_key_factors.json``, beside the artifacts.

vLLM writes it so that people can see what went into the cache's hash, and never reads it back
(0.33.0, compilation/backends.py: the only place that names it writes it if it is not there). Its
``env`` holds what ``envs.compile_factors`` returns: every variable that vLLM knows but for a list
of exceptions, which 0.33.0 extends by VLLM_API_KEY because earlier releases put the key there. So

* the file is packed without secrets: their values become empty, which no framework notices;
* the manifest gets an allow-list: what decides compatibility, never paths, hosts or names;
* nothing here tells the GPU: VLLM_TARGET_DEVICE says ``cuda`` wherever it was not set.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

NAME: Final = "cache_key_factors.json"

_SECRET = re.compile(
    r"(?:API|ACCESS|PRIVATE)[_-]?KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL", re.IGNORECASE
)
_LOGIN = re.compile(r"://[^/\s@]*@")
"""In the value of any variable: a URL with a user or a password."""

_COMPATIBILITY = re.compile(
    r"VLLM_(?:TARGET_DEVICE|MAIN_CUDA_VERSION|PAGED_ATTN_ARCH|ATTENTION_BACKEND|PP_LAYER_PARTITION"
    r"|FLASH_ATTN_VERSION|FLOAT32_MATMUL_PRECISION|KV_CACHE_LAYOUT|COMPILE_CACHE_SAVE_FORMAT"
    r"|(?:ROCM_|XPU_|CPU_)?USE_[A-Z0-9_]+|(?:ROCM_|XPU_)?(?:ENABLE|DISABLE)_[A-Z0-9_]+)"
    r"|ROCM_VERSION"
)
_HARMLESS = re.compile(r"[A-Za-z0-9_.,+-]{1,64}", re.ASCII)
_EMPTY: Final = b"{}"
_LARGEST_NUMBER: Final = 1 << 53
"""MCV's readers take numbers for 64-bit floats."""


@dataclass(frozen=True)
class Factors:
    """The parts of the file that a manifest repeats; empty where the file lacks them."""

    code_hash: str = ""
    config_hash: str = ""
    compiler_hash: str = ""
    env: Mapping[str, Any] | None = None
    secrets: tuple[str, ...] = ()
    """Names of the variables whose values are not shipped, sorted."""

    @property
    def target_device(self) -> str:
        """VLLM_TARGET_DEVICE, as MCV's manifest repeats it."""
        return self._text("VLLM_TARGET_DEVICE")

    @property
    def cuda_version(self) -> str:
        """The CUDA version of the vLLM that compiled."""
        return self._text("VLLM_MAIN_CUDA_VERSION")

    def _text(self, name: str) -> str:
        value = (self.env or {}).get(name)
        return value if isinstance(value, str) else ""


def parse(content: bytes) -> Factors | None:
    """Read the file; None if vLLM cannot have written it."""
    found = _read(content)
    if found is None:
        return None
    document, env, secrets = found
    told = {name: document.get(name) for name in ("code_hash", "config_hash", "compiler_hash")}
    hashes = {name: value for name, value in told.items() if isinstance(value, str)}
    allowed = {name: _shown(value) for name, value in sorted(env.items()) if _is_shown(name, value)}
    return Factors(**hashes, env=allowed, secrets=tuple(sorted(secrets)))


def without_secrets(content: bytes) -> bytes:
    """Return the file as it may be shipped: unchanged if it holds no secret.

    One that cannot be read cannot be looked through either; it becomes an empty object, which
    keeps vLLM from writing it anew.
    """
    found = _read(content)
    if found is None:
        return _EMPTY
    document, env, secrets = found
    if not secrets:
        return content
    kept = {name: "" if name in secrets else value for name, value in env.items()}
    try:
        return json.dumps({**document, "env": kept}, indent=2, sort_keys=True).encode()
    except RecursionError:
        return _EMPTY


def _read(content: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any], frozenset[str]] | None:
    """Return the whole document, its ``env`` and the names of the secrets in that."""
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            return None
        env = document.get("env")
        env = env if isinstance(env, dict) else {}
        return document, env, frozenset(_secrets(env))
    except (ValueError, RecursionError):
        return None


def _secrets(env: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of variables whose values are secrets, and not empty.

    Numbers are none: VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE is a setting.
    """
    for name, value in env.items():
        nested = json.dumps(value) if value and isinstance(value, dict | list) else ""
        text = value if isinstance(value, str) else nested
        if text and (_SECRET.search(name) or _LOGIN.search(text) or _SECRET.search(nested)):
            yield name


def _is_shown(name: str, value: object) -> bool:
    if not _COMPATIBILITY.fullmatch(name):
        return False
    if isinstance(value, str):
        return not _SECRET.search(name) and bool(_HARMLESS.fullmatch(value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and abs(value) < _LARGEST_NUMBER)


def _shown(value: object) -> object:
    """Write a number as Go's encoder does, which knows floats only: ``-1.0`` is ``-1``."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_NUMBER
    return int(value) if whole and isinstance(value, float) else value
