"""Runs inside the cluster: a registry with TLS that wants a token, and gives it for a login.

It passes requests on to the registry that its argument names. The token service is the same host,
as the distribution project's token specification allows.
"""

import base64
import json
import re
import secrets
import ssl
import sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

FILES = Path("/private")
"""The Secret with ``tls.crt``, ``tls.key`` and ``login`` (user:password)."""
PORT = 5000
TOKENS: dict[str, str] = {}
"""Scope by token."""


class Front(BaseHTTPRequestHandler):
    """GET and HEAD only."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/healthz":
            self.answer(200, b"")
        elif path == "/token":
            self.give_token()
        else:
            self.pass_on()

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def give_token(self) -> None:
        login = base64.b64encode((FILES / "login").read_bytes()).decode()
        if self.headers["Authorization"] != f"Basic {login}":
            self.answer(401, b"")
            return
        token = secrets.token_hex(16)
        TOKENS[token] = parse_qs(urlsplit(self.path).query)["scope"][0]
        self.answer(200, json.dumps({"token": token}).encode())

    def pass_on(self) -> None:
        repository = re.match(r"/v2/(.+)/(?:manifests|blobs)/", self.path)
        scope = f"repository:{repository[1] if repository else ''}:pull"
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        if TOKENS.get(token) != scope:
            realm = f'realm="https://{self.headers["Host"]}/token",service="private"'
            self.answer(401, b"", {"WWW-Authenticate": f'Bearer {realm},scope="{scope}"'})
            return
        upstream = HTTPConnection(sys.argv[1], timeout=30)
        accept = self.headers["Accept"]
        upstream.request("GET", self.path, headers={"Accept": accept} if accept else {})
        found = upstream.getresponse()
        kind = found.headers["Content-Type"] or "application/octet-stream"
        self.answer(found.status, found.read(), {"Content-Type": kind})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "tls.crt", FILES / "tls.key")
    server = ThreadingHTTPServer(("", PORT), Front)
    # The handshake belongs to the thread of a connection, not to the one that accepts them.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.serve_forever()
