"""Answers a registry's ``WWW-Authenticate`` challenge: basic, or a bearer token.

Source: the distribution project's token specification. Which credentials belong to which image is
decided by the caller; nothing is kept here.
"""

import base64
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

from gkm.api.errors import Rejected
from gkm.oci import manifest
from gkm.oci.http import Transport, unavailable
from gkm.oci.settings import Credentials, RegistrySettings

_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')
_LARGEST_ANSWER: Final = 4 * 1024 * 1024


def answer_challenge(
    challenge: str, transport: Transport, settings: RegistrySettings, who: Credentials | None
) -> str | None:
    """Return the ``Authorization`` header that the challenge asks for; None if we have none.

    Raises Retry when the token service does not answer, Rejected(Unauthorized) when it says no.
    """
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic":
        return basic(who) if who else None
    if scheme.lower() != "bearer":
        return None
    return _bearer(dict(_PARAMETER.findall(rest)), transport, settings, who)


def basic(who: Credentials) -> str:
    """Return the value of an ``Authorization`` header with user name and password."""
    return "Basic " + base64.b64encode(f"{who.username}:{who.password}".encode()).decode()


def _bearer(
    parameters: Mapping[str, str],
    transport: Transport,
    settings: RegistrySettings,
    who: Credentials | None,
) -> str:
    realm = parameters.get("realm", "")
    parts = urlsplit(realm)
    if parts.scheme != settings.scheme(parts.netloc):
        raise Rejected("Unauthorized", f"the registry asks for a token from '{realm}': no https")
    asked = {key: parameters[key] for key in ("service", "scope") if key in parameters}
    headers = {"Authorization": basic(who)} if who else {}
    # No redirects: whoever answers here may get the password.
    with transport.get(f"{realm}?{urlencode(asked)}", headers, redirects=0) as answer:
        if answer.status in (400, 401, 403):
            raise Rejected("Unauthorized", f"the token service {parts.netloc} refuses us")
        if answer.status != 200:
            raise unavailable(realm, f"the token service answers {answer.status}")
        found = manifest.load(answer.body(_LARGEST_ANSWER), "token")
    token = found.get("token") or found.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise unavailable(realm, "the token service answers without a token")
    return f"Bearer {token}"
