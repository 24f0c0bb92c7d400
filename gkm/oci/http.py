"""HTTP as a registry client needs it: limits, redirects, proxies, errors in our words.

Standard library only, synchronous: the extraction Job must start in milliseconds, and the operator
runs it in threads. It knows nothing of manifests or authentication, and sends GET and nothing else.
"""

import http.client
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import SplitResult, urljoin, urlsplit

from gkm.api.errors import Rejected, Retry
from gkm.oci.addresses import Reach, check_spelling, connect
from gkm.oci.pace import Line, Pace
from gkm.oci.settings import RegistrySettings

MOST_REDIRECTS: Final = 5
CHUNK: Final = 128 * 1024
_FAILURES: Final = (OSError, http.client.HTTPException, ValueError)
"""ValueError: a URL, an address or a header that none of these can be."""
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_LINE: Final = 65536


def unavailable(url: str, why: object, after: float | None = None) -> Retry:
    """Make the error for a registry that does not answer as it should right now."""
    return Retry("RegistryUnavailable", f"registry {host_of(url)}: {why}", after=after)


def host_of(url: str) -> str:
    """Return ``host[:port]``: what follows it may be signed, and so as good as a password."""
    return urlsplit(url).netloc.rpartition("@")[2]


class Answer:
    """One answer: ``status``, headers, and a body that is read at most once; close it.

    ``reach`` is how far inside the network its sender is.
    """

    def __init__(self, url: str, raw: http.client.HTTPResponse, line: Line, reach: Reach) -> None:
        self.url = url
        self.status = raw.status
        self.reach = reach
        self._raw = raw
        self._line = line

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come, if the server says so."""
        return self._raw.length

    def header(self, name: str) -> str:
        """Return a header's value, empty if absent."""
        return self._raw.getheader(name) or ""

    def retry_after(self) -> float | None:
        """Return the seconds that the server asks us to wait (RFC 9110, 10.2.3), if it does."""
        text = self.header("Retry-After")
        if text.isascii() and text.isdigit():
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None

    def read(self, limit: int) -> bytes:
        """Return the body of a document, at most ``limit`` bytes of it, before its deadline.

        Raises Retry when the connection breaks, goes silent or drips, here and in ``stream``.
        """
        return b"".join(self._pieces(limit))

    def stream(self, limit: int) -> Iterator[bytes]:
        """Yield the body of a layer, at most ``limit`` bytes of it, without a deadline."""
        self._line.pace.stream()
        yield from self._pieces(limit)

    def _pieces(self, limit: int) -> Iterator[bytes]:
        while limit and (piece := self._piece(min(limit, CHUNK))):
            piece = piece[:limit]  # http.client gives more of a chunk whose size is negative
            limit -= len(piece)
            yield piece
        if limit and self._raw.length:
            raise unavailable(self.url, f"the answer ended {self._raw.length} bytes early")

    def _piece(self, most: int) -> bytes:
        self._line.step()
        try:
            return self._raw.read1(most)  # what came, not what is to come: it is told and kept
        except _FAILURES as error:
            raise unavailable(self.url, f"the answer broke off: {error}") from error

    def close(self) -> None:
        """Let go of the connection, read or not."""
        self._raw.close()
        self._line.close()

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

    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        redirects: int = MOST_REDIRECTS,
        within: Reach = Reach.SPECIAL,
    ) -> Answer:
        """Fetch ``url``, following redirects; never answers with a redirect.

        Authorization goes to the first host only. ``within`` is how far inside the network the
        first host may be; none that it redirects to is further inside than it is itself. Raises
        Retry(RegistryUnavailable) for network failures, an unknown certificate authority among
        them, and Rejected(BadRedirect) for a redirect to a place where GKM does not go.
        """
        pace = Pace()
        for _ in range(redirects + 1):
            answer = self._once(url, headers, within, pace)
            if answer.status not in _REDIRECTS:
                return answer
            with answer:
                target = self._redirect_target(url, answer.header("Location"))
            if urlsplit(target).netloc != urlsplit(url).netloc:
                headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
            url, within = target, min(within, answer.reach)
        raise Rejected(
            "BadRedirect", f"more than {redirects} redirects, the last to {host_of(url)}"
        )

    def _once(self, url: str, headers: Mapping[str, str], within: Reach, pace: Pace) -> Answer:
        line = None
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
            proxy = self._settings.proxy(parts.scheme, host, port)
            line, reach = _opened(host, port, proxy, within, pace)
            if parts.scheme == "https":
                if proxy:
                    _tunnel(line, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
                line.secure(self._tls, host)
            target = _target(parts, whole=proxy is not None and parts.scheme == "http")
            common = {"Host": host_of(url), "User-Agent": "gkm", "Accept-Encoding": "identity"}
            line.send(_request("GET", target, {**common, "Connection": "close", **headers}))
            # Of a socket, only makefile is used there.
            answer = http.client.HTTPResponse(cast("Any", line), method="GET")
            answer.begin()
            return Answer(url, answer, line, reach)
        except _FAILURES as error:
            if line:
                line.close()
            raise unavailable(url, _in_words(error)) from error

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._settings.trust(context)
        return context

    def _redirect_target(self, source: str, location: str) -> str:
        """Return the absolute URL; raises Rejected unless it is HTTP, as safe as ``source``."""
        host = host_of(source)
        try:
            target = urljoin(source, location)
            new = urlsplit(target)
        except ValueError:
            raise Rejected("BadRedirect", f"{host} redirects to what is no URL") from None
        downgrade = new.scheme == "http" and source.startswith("https:")
        if downgrade or new.scheme not in ("https", self._settings.scheme(new.netloc)):
            where = f"{new.scheme}://{host_of(target)}"
            raise Rejected("BadRedirect", f"{host} redirects to {where}: GKM does not go there")
        return target


def _opened(
    host: str, port: int, proxy: tuple[str, int] | None, within: Reach, pace: Pace
) -> tuple[Line, Reach]:
    """Connect to the host, or for it to the proxy; tells how far inside the host is."""
    if proxy is None:
        connection, reach = connect(host, port, within)
    else:
        reach = check_spelling(host, within)
        connection, _ = connect(*proxy)
    return Line(connection, pace), reach


def _target(parts: SplitResult, *, whole: bool) -> str:
    """Return what a request line names: a path, or for a proxy the whole URL."""
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return f"{parts.scheme}://{parts.netloc}{path}" if whole else path


def _request(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Return the head of a request; raises ValueError for text that would not stay in its line."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    if " " in target or not all(line.isascii() and line.isprintable() for line in lines):
        raise ValueError("a URL or a header holds what must not stand there")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def _tunnel(line: Line, place: str) -> None:
    """Have the proxy at the other end connect us to ``place`` (RFC 9110, 9.3.6)."""
    line.send(_request("CONNECT", place, {"Host": place}))
    reader = line.makefile("rb")
    status = reader.readline(_LONGEST_LINE).split()[1:2]
    http.client.parse_headers(reader)
    reader.detach()  # lest its end is the connection's
    if status != [b"200"]:
        said = b"".join(status).decode(errors="replace") or "nothing"
        raise OSError(f"the proxy answers {said[:20]} for {place}")


def _in_words(error: Exception) -> object:
    """Explain what a setting of GKM can help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = "an authority of your own belongs into the chart's registry.caBundle"
        return f"its certificate is not trusted: {error.verify_message}; {advice}"
    return error
