"""A private writable layer over a complete cache: real directories, links to the files.

A framework finds what the volume holds and writes beside it what the volume lacks; the volume
itself stays read-only. Without a layer Triton raises for the first kernel that is not there. (An
overlay file system would need privileges that a pod does not have.) Where no layer is wanted, only
the completeness of the cache is looked at.
"""

import os
from pathlib import Path
from typing import Final

from gkm.api.errors import Retry
from gkm.core.outcome import Outcome
from gkm.extract.volume import RESERVED, Marker, Volume

_ANY_USER: Final = 0o777
"""The workload may run as another user than this program; the layer is its pod's own."""


def overlay(source: Path, target: Path) -> Outcome:
    """Fill ``target`` from the complete cache at ``source``; repeating it adds what is missing.

    The links hold ``source`` as it is given: the workload mounts the volume at the same path.
    What the workload put into ``target`` stays. Raises Retry(NotComplete), OSError.
    """
    digest = _marker(source).digest
    links = 0
    for folder, directories, files in os.walk(source, onerror=_raise):
        relative = Path(folder).relative_to(source)
        if relative == Path():
            directories[:] = [name for name in directories if name not in RESERVED]
        for name in directories:
            (target / relative / name).mkdir(_ANY_USER, exist_ok=True)
        for name in files:
            links += _link(Path(folder) / name, target / relative / name)
    return Outcome("Linked", f"{links} links to {source}", digest, files=links)


def check(source: Path) -> Outcome:
    """Look whether the cache at ``source`` is complete. Raises Retry(NotComplete), OSError."""
    marker = _marker(source)
    return Outcome("Complete", f"{source} holds {marker.files} files", marker.digest)


def _marker(source: Path) -> Marker:
    with Volume(source) as volume:
        marker = volume.marker()
    if marker is None:
        raise Retry("NotComplete", f"{source} holds no complete cache (.gkm/complete is missing)")
    return marker


def _raise(error: OSError) -> None:
    raise error


def _link(source: Path, target: Path) -> bool:
    try:
        target.symlink_to(source)
    except FileExistsError:
        return False
    return True
