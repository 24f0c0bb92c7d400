"""The one registry client: resolves images and streams blobs, every byte checked.

Used by the operator (in threads) and by the extraction Job, so it imports the standard library and
nothing else. It only reads; pushing is ``gkm.cli.push``.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gkm.api.errors import Rejected, Retry
from gkm.core.image import ImageFacts, Reference, framework
from gkm.oci import manifest as documents
from gkm.oci import media
from gkm.oci.auth import REFUSED, Doorman, unauthorized
from gkm.oci.http import Answer, Transport, unavailable
from gkm.oci.keychain import Keychain
from gkm.oci.manifest import Config, Descriptor, Manifest
from gkm.oci.settings import RegistrySettings

LARGEST_DOCUMENT: Final = 4 * 1024 * 1024
_ACCEPT: Final = ", ".join(sorted(media.MANIFESTS | media.INDEXES))
_DOCKER_HUB_API: Final = "registry-1.docker.io"
_NO_LOGINS: Final = Keychain()


@dataclass(frozen=True)
class Image:
    """One resolved image; ``digest`` is the reference's own (for an index, the index's)."""

    digest: str
    manifest: Manifest
    config: Config


class Registry:
    """Reads images with the logins of one keychain; one instance may serve several threads."""

    def __init__(self, settings: RegistrySettings, keychain: Keychain = _NO_LOGINS) -> None:
        self._settings = settings
        self._doorman = Doorman(Transport(settings), settings, keychain)

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

    def image(self, reference: str) -> Image:
        """Return manifest and config of the image for this machine; raises as ``resolve``."""
        where = Reference.parse(reference)
        raw, digest = self.manifest(where, where.digest)
        document = documents.load(raw, "manifest")
        if documents.is_index(document):
            chosen = documents.pick_platform(document, documents.host_architecture())
            document = documents.load(self.manifest(where, chosen.digest)[0], "manifest")
            if documents.is_index(document):
                raise documents.bad_image("the index names another index; only images are read")
        manifest = documents.parse_manifest(document)
        config = documents.parse_config(self._small_blob(where, manifest.config))
        return Image(digest, manifest, config)

    def manifest(self, where: Reference, digest: str = "") -> tuple[bytes, str]:
        """Return a manifest's bytes and their digest; checked if ``digest`` is asked for."""
        url = self._url(where, f"manifests/{digest or where.tag}")
        with self._get(where, url, {"Accept": _ACCEPT}) as answer:
            raw = answer.body(LARGEST_DOCUMENT)
        found = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if digest and found != digest:
            raise Retry("DigestMismatch", f"asked for {digest}, the registry sent {found}")
        return raw, found

    def blob(self, where: Reference, wanted: Descriptor) -> Iterator[bytes]:
        """Yield a blob's bytes; only if it ends without an exception were they the right ones.

        Raises Retry(DigestMismatch) for other bytes: the digest says what they must be, so it is
        the server's fault, not the image's.
        """
        digest, left = hashlib.sha256(), wanted.size
        with self._get(where, self._url(where, f"blobs/{wanted.digest}"), {}) as answer:
            for chunk in answer.chunks():
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
                yield chunk
        if left > 0:
            raise unavailable(answer.url, f"the connection ended {left} bytes early")
        if left < 0 or f"sha256:{digest.hexdigest()}" != wanted.digest:
            raise Retry("DigestMismatch", f"the registry sent other bytes for {wanted.digest}")

    def _small_blob(self, where: Reference, wanted: Descriptor) -> bytes:
        if wanted.size > LARGEST_DOCUMENT:
            raise documents.bad_image(f"the image config has {wanted.size} bytes, at most 4 MiB")
        return b"".join(self.blob(where, wanted))

    def _url(self, where: Reference, path: str) -> str:
        host = _DOCKER_HUB_API if where.registry == "docker.io" else where.registry
        return f"{self._settings.scheme(host)}://{host}/v2/{where.repository}/{path}"

    def _get(self, where: Reference, url: str, headers: Mapping[str, str]) -> Answer:
        """Fetch with whatever login it takes. Status 200, or it raises."""
        answer = self._doorman.get(where, url, headers)
        if answer.status != 200:
            with answer:
                raise _failure(answer, where)
        return answer


def _failure(answer: Answer, where: Reference) -> Rejected | Retry:
    status = answer.status
    if status in REFUSED:
        host = urlsplit(answer.url).netloc
        return unauthorized(where, f"{host} answers {status}, whatever login it is given")
    if status == 404:
        return Retry("ImageNotFound", f"image '{where}' is not in registry {where.registry}")
    if status == 429 or status >= 500:
        after = answer.header("Retry-After")
        seconds = float(after) if after.isascii() and after.isdigit() else None
        return unavailable(answer.url, f"answers {status}", seconds)
    return Rejected("RegistryRefused", f"registry {where.registry} answers {status} for '{where}'")
