"""Sends an OCI image layout to a registry, byte for byte, through oras-py.

oras' own ``push`` would write another manifest, so only its parts are used: where uploads go and
how they go on. Its requests are replaced: they have no time limit, try again for two minutes, and
know neither Basic logins nor what an error is about.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from oras.client import OrasClient
from oras.container import Container

from gkm.api.errors import Rejected, Retry
from gkm.cli.layout import Layout, to_json
from gkm.cli.progress import progress
from gkm.core.image import Reference
from gkm.oci import dockerlogin, media
from gkm.oci.settings import ENVIRONMENT, RegistrySettings

_CHUNK: Final = 16 * 1024 * 1024
_CHUNKED_FROM: Final = 64 * 1024 * 1024
"""oras reads a blob into memory unless told to send it in chunks, which few registries refuse."""
_SECONDS: Final = (10.0, 300.0)
"""To connect, and for each answer: a registry may read a large blob again before it says yes."""
_PARAMETER: Final = re.compile(r'([A-Za-z_]+)="([^"]*)"')


def check_pushable(reference: str) -> Reference:
    """Return where an image goes; raises Rejected(BadReference)."""
    where = Reference.parse(reference)
    if where.digest:
        raise Rejected("BadReference", f"'{reference}': a digest cannot be pushed to, give a tag")
    return where


def push(root: Path, reference: str, *, plain_http: bool = False, quiet: bool = True) -> str:
    """Push the image; returns the reference that always means it. Raises Rejected, Retry."""
    where = check_pushable(reference)
    layout = Layout(root)
    raw, manifest = layout.image()
    settings = RegistrySettings.from_json(os.environ.get(ENVIRONMENT, ""))
    plain = plain_http or where.registry in settings.plain_http
    blobs = (*manifest.layers, manifest.config)
    target = Container(str(where))
    with progress(str(where), sum(blob.size for blob in blobs), quiet=quiet) as sent:
        client = _Client(where, plain=plain, sent=sent)
        try:
            for blob in blobs:
                path = str(layout.blob_path(blob.digest))
                chunked = blob.size >= _CHUNKED_FROM
                client.upload_blob(path, target, to_json(blob), chunked, _CHUNK)
            url = f"{client.prefix}://{target.manifest_url()}"
            kind = json.loads(raw).get("mediaType") or media.OCI_MANIFEST
            client.do_request(url, "PUT", raw, {"Content-Type": kind})
        except requests.exceptions.SSLError as error:
            advice = "is its certificate trusted here (REQUESTS_CA_BUNDLE names a file of others)?"
            raise _unavailable(where, f"no TLS: {_cause(error)}; {advice}") from error
        except requests.RequestException as error:
            raise _unavailable(where, _cause(error)) from error
    return where.pinned(f"sha256:{hashlib.sha256(raw).hexdigest()}")


class _Client(OrasClient):  # type: ignore[misc]  # oras has no types
    """Logs in as Docker would, and makes our errors of whatever is no success."""

    def __init__(self, where: Reference, *, plain: bool, sent: Callable[[int], None]) -> None:
        super().__init__(insecure=plain)
        self._where = where
        self._sent = sent
        self._authorization = ""
        self._login: str | None = None

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,  # noqa: ARG002 - as above
        stream: bool = False,  # noqa: FBT002 - as above
    ) -> requests.Response:
        """Send one request; 404 is an answer of its own to a HEAD. Raises Rejected, Retry."""
        answer = self._send(method, url, data, headers, stream)
        if answer.status_code == 401:
            self._authorization = self._answer(answer.headers.get("WWW-Authenticate", ""))
            answer = self._send(method, url, data, headers, stream)
        if not answer.ok and not (method == "HEAD" and answer.status_code == 404):
            raise _failure(self._where, method, answer)
        self._sent(len(data or b"") if method in ("PUT", "PATCH") else 0)
        return answer

    def _send(
        self,
        method: str,
        url: str,
        data: bytes | None,
        headers: dict[str, str] | None,
        stream: bool,
    ) -> requests.Response:
        ours = urlsplit(url).netloc == urlsplit(self._registry_url).netloc
        known = {"Authorization": self._authorization} if self._authorization and ours else {}
        answer: requests.Response = self.session.request(
            method,
            url,
            data=data,
            headers={**(headers or {}), **known},
            stream=stream,
            timeout=_SECONDS,
        )
        return answer

    @property
    def _registry_url(self) -> str:
        return f"{self.prefix}://{Container(str(self._where)).registry}"

    def _answer(self, challenge: str) -> str:
        """Return the header that a challenge asks for (distribution's token specification)."""
        login = self._basic()
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() != "bearer":
            return login
        asked = dict(_PARAMETER.findall(rest))
        realm = asked.pop("realm", "")
        if urlsplit(realm).scheme != self.prefix:
            why = f"it wants a token from '{realm[:200]}', which is no {self.prefix}"
            raise _refused(self._where, why)
        asked = {key: asked[key] for key in ("service", "scope") if key in asked}
        headers = {"Authorization": login} if login else {}
        # No redirects: whoever answers here may get the password.
        answer = self.session.get(
            realm, params=asked, headers=headers, timeout=_SECONDS, allow_redirects=False
        )
        found = answer.json() if answer.ok else {}
        token = found.get("token") or found.get("access_token")
        return f"Bearer {token}" if token else ""

    def _basic(self) -> str:
        """Return the login that Docker has for the registry as a header; empty for none."""
        if self._login is None:
            where = self._where
            keychain = dockerlogin.keychain(where.registry)
            found = keychain.logins(where.registry, where.repository)
            text = f"{found[0].username}:{found[0].password}" if found else ""
            self._login = f"Basic {base64.b64encode(text.encode()).decode()}" if text else ""
        return self._login


def _failure(where: Reference, method: str, answer: requests.Response) -> Rejected | Retry:
    status = answer.status_code
    if status in (401, 403):
        return _refused(where, f"it answers {status} to {method}")
    said = " ".join(answer.text[:200].split())
    why = f"it answers {status} to {method} for {where.repository}: {said}"
    if status >= 500 or status in (408, 425, 429):
        return _unavailable(where, why)
    return Rejected("PushRefused", f"registry {where.registry}: {why}")


def _refused(where: Reference, why: str) -> Retry:
    advice = f"run `docker login {where.registry}` as somebody who may push to {where.repository}"
    return Retry(
        "Unauthorized", f"registry {where.registry} does not take '{where}': {why}; {advice}"
    )


def _unavailable(where: Reference, why: str) -> Retry:
    return Retry("RegistryUnavailable", f"registry {where.registry}: {why}")


def _cause(error: BaseException) -> str:
    """Return the words of the innermost error: requests and urllib3 wrap it several times."""
    inner = error.__context__ or getattr(error, "reason", None)
    args = [one for one in error.args if isinstance(one, BaseException)]
    reason = getattr(args[0], "reason", args[0]) if args else inner
    if isinstance(reason, BaseException) and reason is not error:
        return _cause(reason)
    return str(error).rpartition(": ")[2] or type(error).__name__
