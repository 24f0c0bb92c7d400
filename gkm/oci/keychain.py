"""The logins for one question to a registry, as the Secrets of ``spec.imagePullSecrets`` hold them.

Format: Docker's ``config.json`` as Kubernetes reads it ("Interpretation of config.json" in the
documentation on images, with the kubelet's order of trying), and the older ``.dockercfg``. Nothing
here leaves the process, and no ``repr`` shows a password.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Self

from gkm.api.names import DOCKER_CONFIG_KEYS

_KEY = re.compile(r"([A-Za-z0-9.*-]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?)(?:/(.*))?")
_API_VERSION = re.compile(r"^v[12](?:/|$)")
_DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_ALIAS: Final = "index.docker.io"
_LONGEST_NAME: Final = 80


@dataclass(frozen=True)
class Credentials:
    """User name and password (or token) for a registry."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class _Entry:
    """One login and the images that it is for; an empty ``path`` means the whole registry."""

    host: str
    path: str
    login: Credentials

    def fits(self, registry: str, repository: str) -> bool:
        return _host_fits(self.host, registry) and (
            not self.path or f"{repository}/".startswith(f"{self.path}/")
        )


def _host_fits(pattern: str, host: str) -> bool:
    """Compare label by label: a ``*`` stands for any characters of one, and never for a port."""
    wanted, _, wanted_port = pattern.partition(":")
    name, _, port = host.partition(":")
    patterns, labels = wanted.split("."), name.split(".")
    return (
        (port, len(labels)) == (wanted_port, len(patterns))
        # Not a regular expression of our own: fnmatch stays fast however many stars there are.
        and all(map(fnmatchcase, labels, patterns))
    )


@dataclass(frozen=True)
class Keychain:
    """All logins that one question may use; ``problems`` says what could not be read, in words.

    ``place`` is the file that they are from, empty for the Secrets of a Cache.
    """

    entries: tuple[_Entry, ...] = ()
    problems: tuple[str, ...] = ()
    place: str = ""

    @classmethod
    def from_docker_configs(cls, texts: Iterable[str]) -> Self:
        """Read the values of ``.dockerconfigjson`` or ``.dockercfg``; raises nothing.

        What cannot be read is skipped and told in ``problems``, which hold no secret.
        """
        entries: list[_Entry] = []
        problems: list[str] = []
        for text in texts:
            try:
                found = _auths(text)
            except ValueError as error:
                problems.append(str(error))
                continue
            for key, raw in found.items():
                try:
                    entries.append(_entry(key, raw))
                except ValueError as error:
                    problems.append(f"entry '{_shown(key)}': {error}")
        return cls(tuple(entries), tuple(problems))

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read what a Job has mounted: ``<number>/.dockerconfigjson`` and ``.../.dockercfg``.

        Each is optional, and so is the folder. Raises OSError for a file that cannot be read.
        """
        return cls.from_docker_configs(_mounted(folder))

    def logins(self, registry: str, repository: str) -> tuple[Credentials, ...]:
        """Return the logins to try, in the kubelet's order.

        Keys in reverse alphabetical order: of two that fit, the longer path comes first and a
        pattern after the host itself. The same key in several configs: in the configs' order.
        """
        fitting = [entry for entry in self.entries if entry.fits(registry, repository)]
        fitting.sort(key=lambda entry: f"{entry.host}/{entry.path}", reverse=True)
        return tuple(dict.fromkeys(entry.login for entry in fitting))


def _mounted(folder: Path) -> Iterator[str]:
    # The kubelet keeps folders of its own beside ours: ..data and a dated one.
    secrets = folder.iterdir() if folder.is_dir() else ()
    for secret in sorted((one for one in secrets if one.name.isdigit()), key=lambda s: int(s.name)):
        for file in (secret / name for name in DOCKER_CONFIG_KEYS):
            if file.is_file():
                yield file.read_text(errors="replace")


def _auths(text: str) -> Mapping[str, Any]:
    """Return the entries by key; raises ValueError with words that quote nothing of the text."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the docker config is no JSON") from None
    if not isinstance(config, dict):
        raise ValueError("the docker config is no JSON object")  # noqa: TRY004 - for one caller
    auths = config.get("auths", config)
    if not isinstance(auths, dict) or not auths:
        raise ValueError("the docker config names no auths")
    return auths


def _entry(key: str, raw: Any) -> _Entry:
    found = _KEY.fullmatch(re.sub(r"^https?://", "", key))
    if not found:
        raise ValueError("the key is no host[:port][/path]")
    host, path = found[1], _API_VERSION.sub("", found[2] or "").strip("/")
    return _Entry(_DOCKER_HUB if host == _DOCKER_HUB_ALIAS else host, path, _login(raw))


def _login(raw: Any) -> Credentials:
    """Read one entry's login; ``auth`` wins over the separate fields, as the kubelet has it."""
    raw = raw if isinstance(raw, dict) else {}
    auth, username, password = (raw.get(name) for name in ("auth", "username", "password"))
    found = None
    if isinstance(auth, str) and auth:
        found = _decoded(auth)
    elif isinstance(username, str) and isinstance(password, str):
        found = Credentials(username, password)
    if found and found.password:
        if any("\ud800" <= char <= "\udfff" for char in found.username + found.password):
            raise ValueError("user name or password is no valid Unicode")
        return found
    # `docker login` writes these beside an auth whose password is empty.
    for name in ("identitytoken", "registrytoken"):
        if raw.get(name):
            raise ValueError(f"GKM does not support {name}; use user name and password")
    raise ValueError("it has neither auth nor username and password")


def _decoded(auth: str) -> Credentials:
    try:
        text = base64.b64decode(auth + "=" * (-len(auth) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    username, colon, password = text.partition(":")
    if not colon:
        raise ValueError("auth is not base64 user:password")
    return Credentials(username, password)


def _shown(key: str) -> str:
    """Return a key for a message: without what might be a login (user:password@host)."""
    plain = key.rpartition("@")[2]
    return "".join(c if c.isprintable() else "?" for c in plain[:_LONGEST_NAME])
