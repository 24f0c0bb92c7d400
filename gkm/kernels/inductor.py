"""torch.compile's cache (``$TORCHINDUCTOR_CACHE_DIR``), read without torch.

Layout, from torch 2.9's _inductor/codecache.py and runtime/cache_dir_utils.py:
``fxgraph/<2 letters>/<key>/…`` and ``aotautograd/<key>/…`` (pickled graphs), generated code and
shared objects in ``<2 letters>/c<51 letters>.*``, Triton's cache in ``triton/<device>/``.

Only Triton's group files hold paths that matter. Generated sources and pickles name the directory
too, in comments and in code that reproduces a failure; a moved cache hits all the same (measured,
see tests/unit/data/README.md). The key of a graph has the name of the GPU and the versions of CUDA
and Triton in it (``CacheBase.get_system``): an H100 PCIe does not hit what an H100 SXM compiled,
and no label says so. Even a hit makes ``locks/``, so a pod needs a writable layer.
"""

import re
from pathlib import Path
from typing import Any, Final

from gkm.core.gputargets import document
from gkm.kernels.embedded import embedded_targets
from gkm.kernels.framework import Description
from gkm.kernels.hostobjects import host_notes
from gkm.kernels.metadata import read_kernels
from gkm.kernels.triton import Triton, nameless

_GRAPH = re.compile(
    r"(fxgraph)/[a-z2-7]{2}/(f[a-z2-7]{51})/[^/]+|(aotautograd)/(a[a-z2-7]{51})/[^/]+", re.ASCII
)
_CODE = re.compile(r"([a-z2-7]{2})/c\1[a-z2-7]{49}\.[a-z.]{1,16}", re.ASCII)
_ON_CPU: Final = "the cache holds code for the CPU only"
_TRITON: Final = Triton()


class Inductor:
    """Describes and relocates torch.compile's caches."""

    name = "inductor"

    def describe(self, root: Path, files: list[str]) -> Description | None:
        """Describe the cache by its graphs and Triton's kernels; each is an entry."""
        graphs = [path for path in files if _GRAPH.fullmatch(path)]
        code = [path for path in files if _CODE.fullmatch(path)]
        if not graphs and not code:
            return None
        kernels = read_kernels(root, (path for path in files if path.startswith("triton/")))
        targets = {kernel.target for kernel in kernels if kernel.target}
        for path in graphs:
            targets |= embedded_targets(root / path)
        only_cpu = not targets and not kernels and any(path.endswith(".so") for path in code)
        doubt = _ON_CPU if only_cpu else nameless(kernels)
        entries = [*_graph_entries(graphs), *({"kind": "triton", **one.entry} for one in kernels)]
        notes = (*filter(None, [doubt]), *host_notes(root, files))
        return Description({"inductor": entries}, document(targets, doubt), len(entries), {}, notes)

    def is_relocated(self, path: str) -> bool:
        """Say whether ``path`` is a group file of Triton's."""
        return path.startswith("triton/") and _TRITON.is_relocated(path)

    def relocate(self, path: str, content: bytes, mount_path: str) -> bytes:
        """Point a group at its children."""
        return _TRITON.relocate(path, content, mount_path)

    def shipped(self, _path: str, content: bytes) -> bytes:
        """Return it as it is: it holds nothing of the machine but paths."""
        return content


FRAMEWORK: Final = Inductor()


def _graph_entries(paths: list[str]) -> list[dict[str, Any]]:
    """Return an entry for each key; a key may have several graphs, with other guards."""
    found = {path: _GRAPH.fullmatch(path) for path in paths}
    keys = {(one[1] or one[3], one[2] or one[4]) for one in found.values() if one}
    return [{"kind": kind, "hash": key} for kind, key in sorted(keys)]
