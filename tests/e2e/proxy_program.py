"""Runs inside the cluster: passes requests on to a registry, with one fault."""

import sys
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_SMALL = 8192
_PIECE, _PAUSE = 4096, 0.15
_CRAWL = 45
"""Seconds that a layer takes."""


class Proxy(BaseHTTPRequestHandler):
    """GET and HEAD only. What is large are layers: those come slowly, or with one byte changed."""

    def do_GET(self) -> None:
        upstream = HTTPConnection(sys.argv[1], timeout=30)
        headers = {name: self.headers[name] for name in ("Accept",) if name in self.headers}
        upstream.request(self.command, self.path, headers=headers)
        answer = upstream.getresponse()
        body = bytearray(answer.read())
        large = len(body) > _SMALL
        if large and sys.argv[2] == "torn":
            body[len(body) // 2] ^= 1
        self.send_response(answer.status)
        for name in ("Content-Type", "Docker-Content-Digest"):
            if answer.headers[name]:
                self.send_header(name, answer.headers[name])
        length = answer.headers["Content-Length"] or str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        for start in range(0, len(body), _PIECE):
            self.wfile.write(body[start : start + _PIECE])
            if large and sys.argv[2] == "slow":
                time.sleep(_PAUSE)
            if large and sys.argv[2] == "crawling":
                time.sleep(_CRAWL * _PIECE / len(body))

    do_HEAD = do_GET  # noqa: N815 - the library's name


if __name__ == "__main__":
    ThreadingHTTPServer(("", 5000), Proxy).serve_forever()
