"""HTTP as a registry client needs it: time limits, redirects, errors in our words.

Standard library only, synchronous: the extraction Job must start in milliseconds, and the operator
runs it in threads. It knows nothing of manifests or authentication.
"""

import http.client
import ssl
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

from gkm.api.errors import Rejected, Retry
from gkm.oci.settings import RegistrySettings

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
"""Longest silence within an answer; a whole layer may take as long as it takes."""
MOST_REDIRECTS: Final = 5
CHUNK: Final = 256 * 1024
_FAILURES: Final = (OSError, http.client.HTTPException)
_REDIRECTS: Final = (301, 302, 303, 307, 308)


def unavailable(url: str, why: object, after: float | None = None) -> Retry:
    """Make the error for a registry that does not answer as it should right now."""
    host = urlsplit(url).netloc
    return Retry("RegistryUnavailable", f"registry {host}: {why}", after=after)


class Answer:
    """One answer: ``status``, ``header``, and a body that is read at most once; close it."""

    def __init__(
        self, url: str, connection: http.client.HTTPConnection, raw: http.client.HTTPResponse
    ) -> None:
        self.url = url
        self.status = raw.status
        self._raw = raw
        self._connection = connection

    def header(self, name: str) -> str:
        """Return a header's value, empty if absent."""
        return self._raw.getheader(name) or ""

    def chunks(self) -> Iterator[bytes]:
        """Yield the body; raises Retry when the connection breaks or goes silent."""
        try:
            while chunk := self._raw.read(CHUNK):
                yield chunk
        except _FAILURES as error:
            raise unavailable(self.url, f"the answer broke off: {error!r}") from error

    def body(self, limit: int) -> bytes:
        """Return the whole body; raises Rejected(BadImage) beyond ``limit`` bytes."""
        found = bytearray()
        for chunk in self.chunks():
            found += chunk
            if len(found) > limit:
                raise Rejected("BadImage", f"{self.url} is larger than {limit} bytes")
        return bytes(found)

    def close(self) -> None:
        """Let go of the connection, read or not."""
        self._raw.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Transport:
    """Opens URLs by the settings; usable from several threads at once."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings

    def get(self, url: str, headers: Mapping[str, str], redirects: int = MOST_REDIRECTS) -> Answer:
        """Fetch ``url``, following redirects; never answers with a redirect.

        Authorization goes to the first host only. Raises Retry(RegistryUnavailable) for network
        failures, an unknown certificate authority among them, and Rejected(BadRedirect) for a
        redirect to a place where GKM does not go.
        """
        for _ in range(redirects + 1):
            answer = self._once(url, headers)
            if answer.status not in _REDIRECTS:
                return answer
            with answer:
                target = self._redirect_target(url, answer.header("Location"))
            if urlsplit(target).netloc != urlsplit(url).netloc:
                headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
            url = target
        host = urlsplit(url).netloc
        raise Rejected("BadRedirect", f"more than {redirects} redirects, the last to {host}")

    def _once(self, url: str, headers: Mapping[str, str]) -> Answer:
        connection = None
        try:
            parts = urlsplit(url)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection = self._connection(parts.scheme, parts.netloc)
            connection.connect()
            connection.sock.settimeout(READ_SECONDS)
            connection.request("GET", path, headers={"User-Agent": "gkm", **headers})
            return Answer(url, connection, connection.getresponse())
        except (*_FAILURES, ValueError) as error:  # ValueError: a URL that none of these can be
            if connection:
                connection.close()
            raise unavailable(url, _in_words(error)) from error

    def _connection(self, scheme: str, host: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, timeout=CONNECT_SECONDS)
        return http.client.HTTPSConnection(host, timeout=CONNECT_SECONDS, context=self._tls)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._settings.trust(context)
        return context

    def _redirect_target(self, source: str, location: str) -> str:
        """Return the absolute URL; raises Rejected unless it is HTTP, as safe as ``source``.

        What follows the host is not repeated: a signed URL is as good as a password.
        """
        old = urlsplit(source)
        try:
            target = urljoin(source, location)
            new = urlsplit(target)
        except ValueError:
            raise Rejected("BadRedirect", f"{old.netloc} redirects to what is no URL") from None
        downgrade = new.scheme == "http" and old.scheme == "https"
        if downgrade or new.scheme not in ("https", self._settings.scheme(new.netloc)):
            where = f"{new.scheme}://{new.netloc}"
            raise Rejected(
                "BadRedirect", f"{old.netloc} redirects to {where}: GKM does not go there"
            )
        return target


def _in_words(error: Exception) -> object:
    """Explain what a setting of GKM can help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = "an authority of your own belongs into the chart's registry.caBundle"
        return f"its certificate is not trusted: {error.verify_message}; {advice}"
    return error
