"""Limits of one exchange with a server, in time and in bytes, however it drips.

A timeout of a socket begins anew with every byte. Here each wait for bytes is also measured against
the whole: a document has a deadline, a layer, which may be of any size, must come at a least rate.
"""

import io
import socket
import ssl
import time
from typing import Final

SILENCE_SECONDS: Final = 30.0
"""Longest wait for the next bytes."""
DOCUMENT_SECONDS: Final = 60.0
"""From the first connection to the end of a document, redirects included."""
RATE_SECONDS: Final = 30.0
SLOWEST: Final = 256
"""Bytes a second that a layer brings at least, over each ``RATE_SECONDS`` of waiting."""
MOST_AT_ONCE: Final = 4 * 1024 * 1024
"""Bytes that one step may take from the wire: the head of an answer, or a piece of its body.

``http.client`` reads to the end of the stream for a chunk of the size -1, and trailers for ever.
"""


class Pace:
    """What is left of one exchange; raises TimeoutError when it takes too long."""

    def __init__(self) -> None:
        self._ends: float | None = time.monotonic() + DOCUMENT_SECONDS
        self._waited, self._came = 0.0, 0

    def stream(self) -> None:
        """From here on only the rate counts: a layer takes as long as it takes."""
        self._ends = None
        self._waited, self._came = 0.0, 0

    def patience(self) -> float:
        """Seconds that the next bytes may take."""
        if self._ends is None:
            return SILENCE_SECONDS
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"not complete after {DOCUMENT_SECONDS:.0f} s")
        return min(left, SILENCE_SECONDS)

    def came(self, count: int, waited: float) -> None:
        """Note ``count`` bytes for which ``waited`` seconds were waited.

        A reader that is slow itself finds its bytes waiting: that is not held against the server.
        """
        self._waited += waited
        self._came += count
        if self._ends is not None or self._waited < RATE_SECONDS:
            return
        if self._came < SLOWEST * self._waited:
            raise TimeoutError(f"{self._came} bytes in {self._waited:.0f} s are too few")
        self._waited, self._came = 0.0, 0


class Line(io.RawIOBase):
    """A connection as ``http.client`` reads one, that keeps to a pace; owns the socket."""

    def __init__(self, connection: socket.socket, pace: Pace) -> None:
        self._socket = connection
        self.pace = pace
        self._left = MOST_AT_ONCE

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from here on, with who can prove to be ``host``."""
        self._socket.settimeout(self.pace.patience())
        self._socket = context.wrap_socket(self._socket, server_hostname=host)

    def step(self) -> None:
        """Begin another step: it may take ``MOST_AT_ONCE`` bytes."""
        self._left = MOST_AT_ONCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._socket.settimeout(self.pace.patience())
        asked = time.monotonic()
        count = self._socket.recv_into(buffer)
        self.pace.came(count, time.monotonic() - asked)
        self._left -= count
        if self._left < 0:
            raise OSError("it sends more around its answer than there can be")
        return count

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self._socket.settimeout(self.pace.patience())
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what ``http.client`` reads; closing it closes the connection."""
        return io.BufferedReader(self)

    def close(self) -> None:
        super().close()
        self._socket.close()
