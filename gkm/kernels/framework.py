"""What GKM must know about a framework to carry its caches: a new framework is a new file.

Nothing here imports a framework: a cache is read as files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

LARGEST_RELOCATED: Final = 1024 * 1024
"""Bytes; no framework writes that much into a file whose content holds paths of the cache."""


@dataclass(frozen=True)
class Description:
    """What an image says about the cache in it.

    ``manifest`` is the content of the layer's own manifest.json; ``summary`` that of the summary
    label; ``entries`` counts the manifest's entries (label ``entry-count``); ``labels`` are further
    ones, by their whole names. ``notes`` are sentences for whoever packs the cache: what could not
    be read, what is not known, what is left out.
    """

    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    entries: int
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Framework(Protocol):
    """A framework's name (as in the labels) and what differs between them."""

    name: str

    def describe(self, root: Path, files: list[str]) -> Description | None:
        """Describe the cache at ``root`` with these relative paths; None if it is not one.

        Raises OSError; Rejected(NotACache) for a directory that holds one, but in the wrong place.
        """

    def is_relocated(self, path: str) -> bool:
        """Say whether the file at this relative path may need other content than it has."""

    def relocate(self, path: str, content: bytes, mount_path: str) -> bytes:
        """Return the file's content as it must be when the cache is mounted at ``mount_path``.

        Raises Rejected(BadCache) for content that the framework cannot have written.
        """

    def shipped(self, path: str, content: bytes) -> bytes:
        """Return the content of such a file as it may leave the machine where it was made."""
