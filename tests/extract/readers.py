"""What readers of archives see in one: ours, Python's, and the programs that are there."""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from gkm.oci.archive import Archive, Tally
from tests.extract.row import Hashes
from tests.images import digest

Reader = Callable[[bytes], Hashes]


def ours(tar: bytes) -> Hashes:
    archive = Archive(iter([tar]), Tally())
    return _with_parents(
        (one.name, None if one.directory else digest(b"".join(archive.data())))
        for one in archive.members()
    )


def pythons(tar: bytes) -> Hashes:
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        return _with_parents((one.name, _content(archive, one)) for one in archive)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    if member.isdir():
        return None
    file = archive.extractfile(member) if member.isfile() else None
    return digest(file.read()) if file else f"no file: {member.type!r}"


def _with_parents(found: Iterable[tuple[str, str | None]]) -> Hashes:
    tree: dict[str, str | None] = {}
    for name, content in found:
        tree.update({name[:at]: None for at, sign in enumerate(name) if sign == "/"})
        assert tree.get(name) is None, f"{name} stands twice"
        tree[name] = content
    return tree


def programs() -> dict[str, Reader]:
    """GNU tar, and bsdtar where it is installed; each as it reads from a pipe."""
    there = [name for name in ("tar", "bsdtar") if shutil.which(name)]
    return {name: _program(name) for name in there}


def _program(name: str) -> Reader:
    def read(tar: bytes) -> Hashes:
        with tempfile.TemporaryDirectory() as folder:
            command = [name, "-x", "-f", "-", "-m", "--no-same-owner", "--no-same-permissions"]
            subprocess.run([*command, "-C", folder], input=tar, capture_output=True, check=False)
            return walked(Path(folder))

    return read


def walked(root: Path) -> Hashes:
    """What lies below a folder."""
    found: dict[str, str | None] = {}
    for folder, directories, files in os.walk(root):
        here = Path(folder)
        for name in directories:
            (here / name).chmod(0o700)  # an archive may forbid it
            found[str((here / name).relative_to(root))] = None
        for name in files:
            path = here / name
            path.chmod(0o600)
            found[str(path.relative_to(root))] = digest(path.read_bytes())
    return found
