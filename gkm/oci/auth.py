"""Answers a registry's ``WWW-Authenticate`` challenge: basic, or a bearer token.

Source: the distribution project's token specification. A password goes to the registry's own host
or to the token service that this host names, and nowhere else; nor is that service looked for
further inside the network than the registry is.
"""

import base64
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

from gkm.api.errors import Rejected, Retry
from gkm.core.image import Reference
from gkm.oci import manifest
from gkm.oci.addresses import Reach
from gkm.oci.http import Answer, Transport, unavailable
from gkm.oci.keychain import Credentials, Keychain
from gkm.oci.settings import RegistrySettings

REFUSED: Final = (401, 403)
_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')
_LARGEST_TOKEN: Final = 64 * 1024
_MOST_PROBLEMS: Final = 3


def unauthorized(where: Reference, why: str) -> Retry:
    """Make the error for an image that is not shown to us; a login may be corrected any time."""
    return Retry("Unauthorized", f"registry {where.registry} does not show '{where}': {why}")


class Doorman:
    """Fetches with the logins of one keychain, and remembers which one opened which repository."""

    def __init__(
        self, transport: Transport, settings: RegistrySettings, keychain: Keychain
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._keychain = keychain
        self._opened: dict[tuple[str, str], tuple[Credentials | None, str]] = {}

    def get(self, where: Reference, url: str, headers: Mapping[str, str]) -> Answer:
        """Fetch ``url``; if the registry asks who we are, with each login until it accepts one.

        Raises Retry(Unauthorized) if it accepts none, Retry(RegistryUnavailable) if it or its
        token service does not answer, Rejected(BadRedirect). Other answers are the caller's.
        """
        place = (where.registry, where.repository)
        last, known = self._opened.get(place, (None, ""))
        answer = self._fetch(url, headers, known)
        if answer.status != 401 or not _is_own(answer, url):
            return answer
        with answer:
            challenge, reach = answer.header("WWW-Authenticate"), answer.reach
        logins = self._keychain.logins(*place)
        for who in sorted(logins or (None,), key=lambda one: one != last):
            fresh = self._authorization(where, challenge, who, reach)
            if not fresh:
                continue
            answer = self._fetch(url, headers, fresh)
            if answer.status not in REFUSED or not _is_own(answer, url):
                self._opened[place] = (who, fresh)
                return answer
            answer.close()
        raise unauthorized(where, _nobody_let_in(where, len(logins), self._keychain))

    def _fetch(self, url: str, headers: Mapping[str, str], authorization: str) -> Answer:
        ours = {"Authorization": authorization} if authorization else {}
        return self._transport.get(url, {**headers, **ours})

    def _authorization(
        self, where: Reference, challenge: str, who: Credentials | None, within: Reach
    ) -> str:
        """Return the header that the challenge asks for; empty if this login gets none."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return _basic(who) if who else ""
        if scheme.lower() == "bearer":
            return self._bearer(where, dict(_PARAMETER.findall(rest)), who, within)
        raise unauthorized(
            where, f"it wants a login by '{scheme[:40]}', GKM knows Basic and Bearer"
        )

    def _bearer(
        self,
        where: Reference,
        parameters: Mapping[str, str],
        who: Credentials | None,
        within: Reach,
    ) -> str:
        realm = parameters.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != self._settings.scheme(parts.netloc):
            raise unauthorized(where, f"it wants a token from '{realm[:200]}', which is no https")
        asked = {key: parameters[key] for key in ("service", "scope") if key in parameters}
        headers = {"Authorization": _basic(who)} if who else {}
        query = "&".join(filter(None, (parts.query, urlencode(asked))))
        url = parts._replace(query=query).geturl()
        # No redirects: whoever answers here may get the password.
        with self._transport.get(url, headers, redirects=0, within=within) as answer:
            if answer.status in (400, *REFUSED):
                return ""
            if answer.status != 200:
                why = f"the token service answers {answer.status}"
                raise unavailable(realm, why, answer.retry_after())
            token = _token(answer)
        if not token:
            raise unavailable(realm, "the token service answers without a token")
        return f"Bearer {token}"


def _token(answer: Answer) -> str:
    """Return the token; empty if there is none that could stand in a header."""
    try:
        found = manifest.load(answer.read(_LARGEST_TOKEN), "token")
    except Rejected:  # what a token service sends says nothing about the image
        return ""
    token = found.get("token") or found.get("access_token")
    return token if isinstance(token, str) and token.isascii() and token.isprintable() else ""


def _basic(who: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{who.username}:{who.password}".encode()).decode()


def _is_own(answer: Answer, url: str) -> bool:
    """Whether the registry itself answers; where it redirects to, nobody is told a password."""
    return urlsplit(answer.url).netloc == urlsplit(url).netloc


def _nobody_let_in(where: Reference, logins: int, keychain: Keychain) -> str:
    """Say what was tried and what to do."""
    place = keychain.place or "spec.imagePullSecrets"
    tried = f"the {logins} logins of {place} were refused"
    advice = "correct the Secret, or spec.image if it does not exist"
    if logins == 1:
        tried = f"the login of {place} was refused"
    if not logins:
        tried = f"there is no login for it in {place}"
        advice = (
            f"name a Secret there with a login for {where.registry} and create it wherever the"
            " image is read, or correct spec.image if it does not exist"
        )
    if keychain.place:
        advice = f"run `docker login {where.registry}`, or correct the name if it does not exist"
    unread = f" ({'; '.join(keychain.problems[:_MOST_PROBLEMS])})" if keychain.problems else ""
    return f"{tried}{unread}; {advice}"
