"""Puts the members of an image's archives where they belong on a volume.

The cache's root becomes the volume's root: MCV's prefix (``io.triton.cache/``) is stripped, its
manifest goes to ``.gkm/``, everything else in the image is checked and left out.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from gkm.api.errors import Rejected
from gkm.core.image import content_prefix, label, manifest_path
from gkm.extract.tree import Tree
from gkm.extract.volume import MANIFEST, RESERVED
from gkm.kernels import required
from gkm.kernels.framework import LARGEST_RELOCATED
from gkm.oci.archive import Archive, Member, Tally
from gkm.oci.names import folded

_LARGEST_MANIFEST: Final = 64 * 1024 * 1024
"""MCV's manifest is no part of the cache that ``spec.storageSize`` and the size label count."""


class Unpacker:
    """Unpacks one image: ``layer`` for each layer in order, then ``check``.

    ``bytes`` and ``files`` count the cache's regular files as the archive holds them.
    """

    def __init__(
        self, labels: Mapping[str, str], tree: Tree, mount_path: str, at_most: int | None
    ) -> None:
        self._framework = required(labels)
        name = self._framework.name
        self._prefix, self._manifest = content_prefix(name), manifest_path(name)
        self._promised = labels.get(label(name, "cache-size-bytes"))
        self._tree = tree
        self._mount_path = mount_path
        self._at_most = at_most
        self._tally = Tally()
        self.bytes = 0
        self.files = 0

    def layer(self, tar: Iterator[bytes]) -> None:
        """Unpack one layer's tar, reading it to its end; raises Rejected, OSError."""
        archive = Archive(tar, self._tally)
        for member in archive.members():
            if member.name == self._manifest and not member.directory:
                if member.size > _LARGEST_MANIFEST:
                    raise Rejected("BadCache", f"'{member.name}' has {member.size} bytes")
                self._tree.file(MANIFEST, archive.data())
            elif member.name.startswith(self._prefix):
                self._place(member, archive)

    def check(self) -> None:
        """Compare what was unpacked with what the image promised; raises Rejected."""
        if not self.files:
            raise Rejected("NotACacheImage", f"the image holds no file below '{self._prefix}'")
        if self._promised not in (None, str(self.bytes)):
            raise Rejected(
                "SizeMismatch",
                f"the image's label promises {self._promised:.40} bytes, it holds {self.bytes}",
            )

    def _too_large(self) -> Rejected:
        size = f"{self._promised:.40}" if self._promised else f"more than {self._at_most}"
        return Rejected(
            "TooLarge",
            f"the cache has {size} bytes, spec.storageSize allows {self._at_most}: raise it",
        )

    def _place(self, member: Member, archive: Archive) -> None:
        path = member.name.removeprefix(self._prefix)
        if folded(path.partition("/")[0]) in RESERVED:
            raise Rejected("BadArchive", f"'{member.name:.200}': this name on a volume is GKM's")
        if member.directory:
            self._tree.directory(path)
            return
        self.files += 1
        self.bytes += member.size
        if self._at_most is not None and self.bytes > self._at_most:
            raise self._too_large()
        if not self._framework.is_relocated(path):
            self._tree.file(path, archive.data())
            return
        if member.size > LARGEST_RELOCATED:
            raise Rejected(
                "BadCache", f"'{path:.200}' has {member.size} bytes, far too many for paths"
            )
        content = self._framework.shipped(path, b"".join(archive.data()))
        self._tree.file(path, (self._framework.relocate(path, content, self._mount_path),))
