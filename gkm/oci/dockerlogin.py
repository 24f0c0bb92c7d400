"""The logins of ``docker login``, for whoever runs GKM on a machine of theirs.

Source: Docker's documentation of ``docker login`` ("Credential stores", "Credential helpers"):
``config.json`` names a helper for one registry (``credHelpers``) or for all (``credsStore``), the
program ``docker-credential-NAME``. It gets the registry on standard input and writes JSON. A helper
goes before what stands in ``auths``. What it writes is never shown.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gkm.api.errors import Rejected, Retry
from gkm.oci.keychain import Keychain

_SECONDS: Final = 30.0
_HUB: Final = "docker.io"
_HUB_KEY: Final = "https://index.docker.io/v1/"
"""What Docker asks its helpers for instead of docker.io."""
_HELPER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_THERE: Final = "credentials not found"
"""How helpers say that they have no login; the exit status alone says nothing."""
_TOKEN: Final = "<token>"  # noqa: S105 - the user name of an identity token


def keychain(registry: str, *, helpers: bool = True) -> Keychain:
    """Return the logins that may be used at ``registry``; without ``helpers`` none is started.

    No configuration means no logins. Raises Rejected(CredentialHelper) for a helper that is missing
    or fails, Retry(CredentialHelper) for one that takes more than 30 seconds.
    """
    file = _file()
    try:
        text = file.read_text(errors="replace")
    except OSError:  # nobody logged in here, or somebody else did
        return Keychain(place=str(file))
    config = _config(text)
    name = _helper(config or {}, registry) if helpers else ""
    login = _ask(name, registry, file) if name else None
    if login is not None:
        text = json.dumps({"auths": {registry: login}})
    elif config is not None and _is_without_logins(config):
        return Keychain(place=str(file))
    found = Keychain.from_docker_configs([text])
    return replace(found, place=str(file))


def _file() -> Path:
    folder = os.environ.get("DOCKER_CONFIG") or f"{os.environ.get('HOME', '')}/.docker"
    return Path(folder) / "config.json"


def _config(text: str) -> dict[str, Any] | None:
    """Parse the file; None for what is no JSON object: Keychain says so in words."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_without_logins(config: Mapping[str, Any]) -> bool:
    """Tell a file that is only about helpers, or other things: nothing in it is a problem."""
    auths = config.get("auths", {})  # beside a helper, `docker login` leaves empty entries
    return isinstance(auths, dict) and not any(auths.values())


def _helper(config: Mapping[str, Any], registry: str) -> str:
    special = config.get("credHelpers")
    found = special.get(registry) if isinstance(special, dict) else None
    found = found or config.get("credsStore")
    return found if isinstance(found, str) else ""


def _ask(name: str, registry: str, file: Path) -> dict[str, str] | None:
    """Return the helper's login; None if it has none."""
    import subprocess  # noqa: PLC0415 - the extraction Job starts no helper

    program = f"docker-credential-{name}"
    if not _HELPER.fullmatch(name):
        raise Rejected(
            "CredentialHelper", f"{file} names a helper '{name[:80]}': no program's name"
        )
    asked = _HUB_KEY if registry == _HUB else registry
    try:
        done = subprocess.run(
            [program, "get"],
            input=asked.encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Retry("CredentialHelper", f"{program} did not answer in {_SECONDS:.0f} s") from None
    except OSError as error:
        advice = f"install it, or take it out of {file} and run `docker login {registry}`"
        raise Rejected("CredentialHelper", f"{program}: {error.strerror}; {advice}") from None
    if done.returncode:
        if _NOT_THERE in done.stdout.decode(errors="replace"):
            return None
        advice = f"try `echo {asked} | {program} get`"
        raise Rejected("CredentialHelper", f"{program} exits with {done.returncode}; {advice}")
    return _login(done.stdout, program)


def _login(raw: bytes, program: str) -> dict[str, str]:
    try:
        found = json.loads(raw)
        username, password = found["Username"], found["Secret"]
    except (ValueError, TypeError, KeyError):
        username = password = None
    if not isinstance(username, str) or not isinstance(password, str):
        raise Rejected("CredentialHelper", f"{program} does not answer with Username and Secret")
    if username == _TOKEN:
        raise Rejected(
            "CredentialHelper", f"{program} gives an identity token; log in with a password"
        )
    return {"username": username, "password": password}
