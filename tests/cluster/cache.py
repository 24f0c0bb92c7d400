"""The folder outside the checkout that keeps what is expensive to make.

Each entry is a folder named by the hash of its inputs: it is made in a folder beside it and
renamed, so an entry that exists is whole, whatever was interrupted and however many processes
started at once.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def root() -> Path:
    """Where the cache is: `$GKM_CACHE`, else `~/.cache/gkm`."""
    return Path(os.environ.get("GKM_CACHE") or Path.home() / ".cache" / "gkm").absolute()


def key(*parts: bytes | str) -> str:
    """Name a set of inputs; moving a byte from one part to the next makes another name."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def key_of_files(base: Path, paths: Iterable[Path]) -> str:
    """Name the contents of files and folders below `base`."""
    files: list[Path] = []
    for path in paths:
        files += [path] if path.is_file() else path.rglob("*")
    parts: list[bytes | str] = []
    for file in sorted(set(files)):
        if file.is_file():
            parts += [str(file.relative_to(base)), oct(file.stat().st_mode), file.read_bytes()]
    return key(*parts)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let one process at a time in; the kernel frees the lock of a process that dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def entry(kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder `kind/name`, made by `make` if this is the first time."""
    folder = root() / kind / name
    if folder.is_dir():
        return folder
    with locked(folder.parent / f".{name}.lock"):
        if not folder.is_dir():
            draft = folder.parent / f".{name}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            make(draft)
            draft.rename(folder)
    return folder
