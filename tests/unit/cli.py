"""``gkm`` as people run it: a process of its own, with its output apart."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Done = subprocess.CompletedProcess[str]


def kernel(arch: int | str = 90, backend: str = "cuda", warp_size: int = 32) -> dict[str, Any]:
    target = {"backend": backend, "arch": arch, "warp_size": warp_size}
    return {"hash": "h1", "target": target, "num_warps": 4, "num_stages": 3}


def fill(root: Path, **about: Any) -> Path:
    """A cache as Triton leaves it: group files name the folder that it was compiled in."""
    key = root / "KEY"
    key.mkdir(parents=True)
    (key / "add.json").write_text(json.dumps(kernel(**about)))
    (key / "add.ptx").write_text(".version 8.4")
    group = {"child_paths": {name: f"{key}/{name}" for name in ("add.json", "add.ptx")}}
    (key / "__grp__add.json").write_text(json.dumps(group))
    return root


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would change an answer."""
    kept = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
    base = {name: os.environ[name] for name in kept if name in os.environ}
    return {**base, "DOCKER_CONFIG": "/nonexistent", **more}


INTERRUPTIBLE = ("env", "--default-signal=INT")
"""What a program is not that runs in the background of a shell, nor are those that it starts."""

WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""What makes root heed the modes of files."""


def gkm(
    *arguments: object, env: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> Done:
    """Run it; ``before`` is a program that starts it."""
    return subprocess.run(
        [*before, sys.executable, "-m", "gkm", *map(str, arguments)],
        env={**environment(), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
