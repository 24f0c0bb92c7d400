"""Manifests, indexes and configs: bytes from a registry to checked values.

Everything is read as if somebody hostile had written it: bounded by the caller, no key twice, no
document that is two things at once, sizes and digests of the right form. No network here.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gkm.api.errors import Rejected
from gkm.core.image import is_digest
from gkm.oci import media

LARGEST_DOCUMENT: Final = 4 * 1024 * 1024
"""Bytes of a manifest, an index or a config."""
MOST_LAYERS: Final = 128
_LARGEST_BLOB: Final = 1 << 40
_MOST_VALUES: Final = 100_000
"""Of one document. Parsed, each costs up to 100 bytes: 4 MiB of ``{},{},`` would be 100 MiB."""
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Descriptor:
    """Names a blob or a manifest; ``size`` in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """One image: its config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Config:
    """What of an image config matters: labels, and the digests of the uncompressed layers.

    ``architecture``, ``created`` (both as they stand there) and ``environment`` (``NAME=value``)
    are for people and for what they ask about an image; nothing else depends on them.
    """

    labels: Mapping[str, str]
    diff_ids: tuple[str, ...]
    architecture: str = ""
    created: str = ""
    environment: tuple[str, ...] = ()


def host_architecture() -> str:
    """Architecture of this machine as image configs spell it (Go's GOARCH)."""
    return architecture_name(platform.machine())


def architecture_name(machine: str) -> str:
    """Return what image configs call a machine (``uname -m``)."""
    return _ARCHITECTURES.get(machine, machine)


def bad_image(why: str) -> Rejected:
    """Make the error for a document that breaks the specification."""
    return Rejected("BadImage", why)


def load(raw: bytes, what: str) -> dict[str, Any]:
    """Parse one JSON object; raises Rejected(BadImage) also for a key that stands twice."""
    value = load_any(raw, what)
    if not isinstance(value, dict):
        raise bad_image(f"the {what} is {type(value).__name__}, expected a JSON object")
    return value


def load_any(raw: bytes, what: str) -> Any:
    """Parse JSON, which need not be an object, as strictly as ``load``."""
    # Each value but the first comes after one of these; those within texts are counted, too.
    if sum(map(raw.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise bad_image(f"the {what} holds more than {_MOST_VALUES} values")
    try:
        return json.loads(raw, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise bad_image(f"the {what} is no JSON: {error}") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def is_index(document: Mapping[str, Any]) -> bool:
    """Tell an index from a manifest; a document that could be both, or neither, is refused."""
    index, manifest = "manifests" in document, "layers" in document
    if index == manifest:
        raise bad_image("expected either 'manifests' (an index) or 'layers' (a manifest)")
    media_type = document.get("mediaType") or ""
    known = media.INDEXES if index else media.MANIFESTS
    if media_type and not (isinstance(media_type, str) and media_type in known):
        raise bad_image(f"the document is of type '{media_type}', not an image or an image index")
    return index


def parse_manifest(document: Mapping[str, Any]) -> Manifest:
    """Check a manifest; raises Rejected(BadImage)."""
    layers = [_descriptor(entry, "layer") for entry in _list(document, "layers")]
    if len(layers) > MOST_LAYERS:
        raise bad_image(f"{len(layers)} layers; at most {MOST_LAYERS} are read")
    return Manifest(_descriptor(document.get("config"), "config"), tuple(layers))


def pick_platform(index: Mapping[str, Any], architecture: str) -> Descriptor:
    """Return the linux image for ``architecture``, else the index's first real image.

    Kernels run on GPUs, so an image that names another host architecture is better than none;
    attestations (platform ``unknown``) are no images.
    """
    entries = [entry for entry in _list(index, "manifests") if _is_image(entry)]
    if not entries:
        raise bad_image("the index names no image")
    fitting = [entry for entry in entries if _platform(entry) == ("linux", architecture)]
    return _descriptor((fitting or entries)[0], "manifest")


def parse_config(raw: bytes) -> Config:
    """Read labels and diffIDs; raises Rejected(BadImage)."""
    document = load(raw, "image config")
    rootfs = document.get("rootfs")
    diff_ids = _list(rootfs, "diff_ids") if isinstance(rootfs, dict) else []
    if not all(isinstance(one, str) and is_digest(one) for one in diff_ids):
        raise bad_image("the config's diff_ids are not all sha256 digests")
    inner = document.get("config")
    inner = inner if isinstance(inner, dict) else {}
    labels = {} if inner.get("Labels") is None else inner["Labels"]
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise bad_image("the config's labels are not all text")
    architecture, created = (_text(document, name) for name in ("architecture", "created"))
    variables = inner.get("Env")
    variables = variables if isinstance(variables, list) else []
    environment = tuple(one for one in variables if isinstance(one, str))
    return Config(labels, tuple(diff_ids), architecture, created, environment)


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _list(document: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise bad_image(f"'{key}' is {type(value).__name__}, expected a list")
    return value


def _descriptor(raw: Any, what: str) -> Descriptor:
    raw = raw if isinstance(raw, dict) else {}
    media_type, digest, size = raw.get("mediaType"), raw.get("digest"), raw.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not is_digest(digest):
        raise bad_image(f"a {what} descriptor lacks a media type or a sha256 digest")
    if type(size) is not int or not 0 <= size <= _LARGEST_BLOB:
        raise bad_image(f"the {what} {digest} has the size '{size}', expected bytes")
    return Descriptor(media_type, digest, size)


def _platform(entry: Mapping[str, Any]) -> tuple[object, object]:
    found = entry.get("platform")
    found = found if isinstance(found, dict) else {}
    return found.get("os", "linux"), found.get("architecture", "")


def _is_image(entry: Any) -> bool:
    media_type = entry.get("mediaType") if isinstance(entry, dict) else None
    return (
        isinstance(media_type, str)
        and media_type in media.MANIFESTS
        and _platform(entry)[0] != "unknown"
    )
