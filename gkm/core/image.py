"""What an image reference and an image's labels say, and what GKM decides from them.

The format (labels, path prefixes) is that of MCV, the packer of the original project, so that its
images keep working. Pure: fetching is ``gkm.oci``, looking inside a cache is ``gkm.kernels``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gkm.api.errors import Rejected

_DIRECTORY_VARIABLE: Final = {
    "triton": "TRITON_CACHE_DIR",
    "inductor": "TORCHINDUCTOR_CACHE_DIR",
    "vllm": "VLLM_CACHE_ROOT",
}
FRAMEWORKS: Final = tuple(_DIRECTORY_VARIABLE)
"""Frameworks whose images are recognised, first match wins (MCV: Triton wins if both)."""

_ROOT_LABEL: Final = "io.kserve.km/cache-root-env"
_POINTERS: Final = frozenset(_DIRECTORY_VARIABLE.values())

DEFAULT_MOUNT_PATH: Final = "/cache"
"""Where workloads mount a cache unless ``spec.mountPath`` says otherwise."""

LARGEST_CACHE: Final = 8 << 30
"""Bytes; an image that holds more is refused, whatever room there is."""

_MIB: Final = 1024 * 1024
_SMALLEST_CLAIM: Final = 1024 * _MIB
_UNPACKED_PER_PACKED: Final = 4
"""Compressed kernels grow by about this much; used only when no label says the size."""

_HOST = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?"
)
_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_REFERENCE: Final = 1024


def is_digest(text: str) -> bool:
    """Say whether ``text`` is a sha256 digest as registries write it."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True)
class Reference:
    """Where an image is: ``registry/repository[:tag][@digest]``; absent parts are empty."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Read a reference as ``docker pull`` does; raises Rejected(BadReference).

        A first part with a dot or a port, or ``localhost``, is the registry; otherwise it is
        Docker Hub, where a name of one part is below ``library/``. Neither tag nor digest means
        the tag ``latest``.
        """
        if len(text) > _LONGEST_REFERENCE:
            raise _bad(text[:40] + "...", f"longer than {_LONGEST_REFERENCE} characters")
        rest, at, digest = text.partition("@")
        if at and not is_digest(digest):
            raise _bad(text, f"after '@' stands '{digest}', expected sha256: and 64 hex digits")
        rest, tag = _split_tag(text, rest)
        registry, repository = _split_registry(rest)
        if not _HOST.fullmatch(registry):
            raise _bad(text, f"'{registry}' is no host[:port]")
        if not _REPOSITORY.fullmatch(repository):
            raise _bad(
                text, f"'{repository}' is no repository: lower case letters, digits, . _ - /"
            )
        return cls(registry, repository, tag or ("" if digest else "latest"), digest)

    def pinned(self, digest: str) -> str:
        """Return the reference that always means the same bytes."""
        return f"{self.registry}/{self.repository}@{digest}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


def _bad(text: str, why: str) -> Rejected:
    expected = "expected [registry/]repository[:tag][@sha256:<64 hex digits>]"
    return Rejected("BadReference", f"image '{text}': {why}; {expected}")


def _split_tag(text: str, rest: str) -> tuple[str, str]:
    head, colon, tail = rest.rpartition(":")
    if not colon or "/" in tail:  # the colon of localhost:5000/repo belongs to the port
        return rest, ""
    if not _TAG.fullmatch(tail):
        raise _bad(text, f"'{tail}' is no tag")
    return head, tail


def _split_registry(rest: str) -> tuple[str, str]:
    first, slash, others = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, others
    else:
        registry, repository = "docker.io", rest
    if registry in ("docker.io", "index.docker.io"):
        registry = "docker.io"
        repository = repository if "/" in repository else f"library/{repository}"
    return registry, repository


@dataclass(frozen=True)
class ImageFacts:
    """What the operator keeps of a resolved image.

    ``digest`` is that of what the reference names (for an index, the index); ``labels`` and
    ``layer_bytes`` (compressed) are those of the image that this machine's platform gets.
    """

    digest: str
    labels: Mapping[str, str]
    layer_bytes: int


def label(framework: str, name: str) -> str:
    """Key of an MCV label: ``name`` is ``summary``, ``entry-count`` or ``cache-size-bytes``."""
    return f"cache.{framework}.image/{name}"


def content_prefix(framework: str) -> str:
    """Path in the layer below which the cache lies, with its slash."""
    return f"io.{framework}.cache/"


def manifest_path(framework: str) -> str:
    """Path in the layer of the cache's own manifest (not the OCI manifest)."""
    return f"io.{framework}.manifest/manifest.json"


def framework(labels: Mapping[str, str]) -> str | None:
    """Return the framework whose summary label the image carries; None: not a cache image."""
    return next((name for name in FRAMEWORKS if label(name, "summary") in labels), None)


def environment(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Variables that must hold the mount path for the framework to look there, sorted.

    Only names of frameworks that we know: an image must not choose what runs in a pod. The path in
    a ``cache-root-env`` label is the packer's, not where GKM mounts.
    """
    asked = {_DIRECTORY_VARIABLE.get(framework(labels) or "", "")}
    asked.add(labels.get(_ROOT_LABEL, "").partition("=")[0])
    return tuple(sorted(asked & _POINTERS))


def directory_variable(framework: str) -> str:
    """Return the variable by which a framework is told where its cache is."""
    return _DIRECTORY_VARIABLE[framework]


def declared_size(labels: Mapping[str, str]) -> int | None:
    """Bytes of the unpacked cache as its label says them; None if absent or no number."""
    for name in FRAMEWORKS:
        text = labels.get(label(name, "cache-size-bytes"), "")
        if re.fullmatch(r"[0-9]{1,15}", text, re.ASCII) and int(text) > 0:
            return int(text)
    return None


def storage_request(facts: ImageFacts) -> int:
    """Bytes to ask for when ``spec.storageSize`` is not set; bounded, whatever the image says."""
    declared = declared_size(facts.labels)
    packed = facts.layer_bytes * _UNPACKED_PER_PACKED
    wanted = packed if declared is None else _with_room(declared)
    return min(max(_SMALLEST_CLAIM, wanted), _with_room(LARGEST_CACHE))


def _with_room(size: int) -> int:
    """Add what a file system takes for itself."""
    return size * 11 // 10 + 64 * _MIB
