"""The targets of kernels that lie inside a file whose own format is not read.

torch bundles the files of Triton's kernels as they are into its pickled graphs (torch 2.9,
_inductor/triton_bundler.py), and vLLM's artifacts are such graphs one behind the other. A pickle is
never loaded here: Triton's metadata is searched for by its ``target``, else ELF files by their
magic bytes. What is compressed, or compiled without Triton, is not found.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gkm.core.gpu import warp_size
from gkm.core.gputargets import Target
from gkm.kernels.elf import HEADER_BYTES, MAGIC, gpu_target
from gkm.kernels.metadata import read_target

_PIECE: Final = 1024 * 1024
_LONGEST: Final = 256
"""Bytes that a match may have: pieces overlap by that much."""

_TARGET = re.compile(
    rb'"target": \{"backend": "([a-z]{1,16})", "arch": ("[A-Za-z0-9_:+-]{1,64}"|[0-9]{1,4}), '
    rb'"warp_size": ([0-9]{1,4})\}'
)
_ELF = re.compile(re.escape(MAGIC))


def embedded_targets(path: Path) -> frozenset[Target]:
    """Return the targets that the kernels in this file name. Raises OSError."""
    told: set[Target] = set()
    compiled: set[Target] = set()
    for piece in _pieces(path):
        for found in _TARGET.finditer(piece):
            backend, arch, warp = (part.decode().strip('"') for part in found.groups())
            told.update(filter(None, [read_target(backend, arch, int(warp))]))
        for found in _ELF.finditer(piece):
            header = piece[found.start() : found.start() + HEADER_BYTES]
            if target := gpu_target(header):
                compiled.add(Target(*target, warp_size(*target)))
    return frozenset(told or compiled)


def _pieces(path: Path) -> Iterator[bytes]:
    """Read a file in pieces that begin with the end of the one before."""
    rest = b""
    with path.open("rb") as file:
        while more := file.read(_PIECE):
            yield rest + more
            rest = (rest + more)[-_LONGEST:]
