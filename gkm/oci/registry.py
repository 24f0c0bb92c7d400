"""The one registry client: resolves images and streams blobs, every byte checked.

Used by the operator (in threads) and by the extraction Job, so it imports the standard library and
nothing else. It only reads; pushing is ``gkm.cli.push``.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from gkm.api.errors import Rejected, Retry
from gkm.core.image import ImageFacts, Reference, framework
from gkm.oci import manifest as documents
from gkm.oci import media
from gkm.oci.auth import REFUSED, Doorman, unauthorized
from gkm.oci.http import Answer, Transport, host_of, unavailable
from gkm.oci.keychain import Keychain
from gkm.oci.manifest import LARGEST_DOCUMENT, Config, Descriptor, Manifest
from gkm.oci.resume import Tries, download, first
from gkm.oci.settings import RegistrySettings

_ACCEPT: Final = ", ".join(sorted(media.MANIFESTS | media.INDEXES))
_DOCKER_HUB_API: Final = "registry-1.docker.io"
_NO_LOGINS: Final = Keychain()
_LATER: Final = (408, 425, 429)
"""A request timeout, too early, too many requests: not now (RFC 9110, 8470, 6585)."""


@dataclass(frozen=True)
class Image:
    """One resolved image; ``digest`` is the reference's own (for an index, the index's).

    ``raw`` is its manifest as it was sent.
    """

    digest: str
    manifest: Manifest
    config: Config
    raw: bytes = b""


@dataclass(frozen=True)
class Document:
    """A manifest or an index as it was sent; ``media_type`` is its answer's Content-Type."""

    raw: bytes
    digest: str
    media_type: str


class Registry:
    """Reads images with the logins of one keychain; one instance may serve several threads.

    ``tries`` is how often it asks a registry that is unavailable before it says so.
    """

    def __init__(
        self, settings: RegistrySettings, keychain: Keychain = _NO_LOGINS, tries: int = 1
    ) -> None:
        self._settings = settings
        self._doorman = Doorman(Transport(settings), settings, keychain)
        self._tries = tries

    def resolve(self, reference: str) -> ImageFacts:
        """Look up what ``reference`` is now.

        Raises Retry(RegistryUnavailable, ImageNotFound, Unauthorized), Rejected(BadReference,
        BadImage, NotACacheImage).
        """
        image = self.image(reference)
        if framework(image.config.labels) is None:
            raise Rejected(
                "NotACacheImage",
                f"image '{reference}' carries no kernel cache: it lacks the labels that"
                " `gkm pack` (or mcv) writes",
            )
        size = sum(layer.size for layer in image.manifest.layers)
        return ImageFacts(image.digest, image.config.labels, size)

    def image(self, reference: str, architecture: str = "") -> Image:
        """Return manifest and config of the image for this machine, or for another architecture.

        Raises as ``resolve``.
        """
        where = Reference.parse(reference)
        found = self.manifest(where, where.digest)
        own = found
        document = _parsed(found)
        if documents.is_index(document):
            wanted = architecture or documents.host_architecture()
            own = self.manifest(where, documents.pick_platform(document, wanted).digest)
            document = _parsed(own)
            if documents.is_index(document):
                raise documents.bad_image("the index names another index; only images are read")
        manifest = documents.parse_manifest(document)
        config = documents.parse_config(self._config(where, manifest.config))
        return Image(found.digest, manifest, config, own.raw)

    def manifest(self, where: Reference, digest: str = "") -> Document:
        """Return a manifest with its digest, which is checked if ``digest`` is asked for."""
        return first(
            [partial(self._manifest, host, digest) for host in self._hosts(where)],
            Tries(self._tries),
        )

    def blob(self, where: Reference, wanted: Descriptor) -> Iterator[bytes]:
        """Yield a blob's bytes; only if it ends without an exception were they the right ones.

        It goes on where it broke off, at the next mirror or after a pause. Raises
        Retry(DigestMismatch) for other bytes: the digest says what they must be, so it is the
        server's fault, not the image's.
        """
        digest, path, hosts = hashlib.sha256(), f"blobs/{wanted.digest}", self._hosts(where)
        asks = [partial(self._get, host, path) for host in hosts]
        for chunk in download(asks, wanted.size, Tries(self._tries)):
            digest.update(chunk)
            yield chunk
        if f"sha256:{digest.hexdigest()}" != wanted.digest:
            raise _other_bytes(" or ".join(host.registry for host in hosts), wanted)

    def _manifest(self, where: Reference, digest: str) -> Document:
        path = f"manifests/{digest or where.tag}"
        with self._get(where, path, {"Accept": _ACCEPT}) as answer:
            raw = answer.read(LARGEST_DOCUMENT + 1)
            media_type = answer.header("Content-Type").partition(";")[0].strip()
        if len(raw) > LARGEST_DOCUMENT:
            raise documents.bad_image(f"the manifest is larger than {LARGEST_DOCUMENT} bytes")
        found = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if digest and found != digest:
            raise Retry("DigestMismatch", f"asked for {digest}, {where.registry} sent {found}")
        return Document(raw, found, media_type)

    def _config(self, where: Reference, wanted: Descriptor) -> bytes:
        if wanted.size > LARGEST_DOCUMENT:
            raise documents.bad_image(f"the image config has {wanted.size} bytes, at most 4 MiB")
        return first(
            [partial(self._small_blob, host, wanted) for host in self._hosts(where)],
            Tries(self._tries),
        )

    def _small_blob(self, where: Reference, wanted: Descriptor) -> bytes:
        with self._get(where, f"blobs/{wanted.digest}", {}) as answer:
            raw = answer.read(wanted.size + 1)
        if len(raw) != wanted.size or f"sha256:{hashlib.sha256(raw).hexdigest()}" != wanted.digest:
            raise _other_bytes(where.registry, wanted)
        return raw

    def _hosts(self, where: Reference) -> list[Reference]:
        """Where an image may be: at the mirrors of its registry, and at last there itself."""
        mirrors = self._settings.mirrors.get(where.registry, ())
        return [*(replace(where, registry=mirror) for mirror in mirrors), where]

    def _get(self, where: Reference, path: str, headers: Mapping[str, str]) -> Answer:
        """Fetch with whatever login it takes. Status 200, for a range also 206, or it raises."""
        host = _DOCKER_HUB_API if where.registry == "docker.io" else where.registry
        url = f"{self._settings.scheme(host)}://{host}/v2/{where.repository}/{path}"
        answer = self._doorman.get(where, url, headers)
        if answer.status != 200 and not (answer.status == 206 and "Range" in headers):
            with answer:
                raise _failure(answer, where)
        return answer


def _parsed(found: Document) -> dict[str, Any]:
    """Return the document; raises Rejected(BadImage) if its answer is said to be of another type.

    What one program takes for an image, another would take for an index.
    """
    document = documents.load(found.raw, "manifest")
    if found.media_type in media.MANIFESTS | media.INDEXES:
        said = document.setdefault("mediaType", found.media_type)
        if said != found.media_type:
            raise documents.bad_image(f"a document of type '{said}' is sent as {found.media_type}")
    return document


def _other_bytes(sender: str, wanted: Descriptor) -> Retry:
    return Retry("DigestMismatch", f"{sender} sent other bytes for {wanted.digest}")


def _failure(answer: Answer, where: Reference) -> Rejected | Retry:
    status = answer.status
    if status in REFUSED:
        why = f"{host_of(answer.url)} answers {status}, whatever login it is given"
        return unauthorized(where, why)
    if status == 404:
        return Retry("ImageNotFound", f"image '{where}' is not in registry {where.registry}")
    if status in _LATER or not 400 <= status < 500:
        return unavailable(answer.url, f"answers {status}", answer.retry_after())
    return Rejected("RegistryRefused", f"registry {where.registry} answers {status} for '{where}'")
