"""Reads the Secrets that a Cache names, when its image is looked up and at no other time.

By name, never as a list, and never kept: what is read lives as long as the question.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import replace

from gkm.api.names import DOCKER_CONFIG_KEYS
from gkm.kube.client import Client
from gkm.kube.errors import ApiError
from gkm.oci.keychain import Keychain


async def keychain(client: Client, secrets: Iterable[tuple[str, str]]) -> Keychain:
    """Gather the logins of Secrets, each (namespace, name); its ``problems`` name what lacks.

    Raises ApiError, but for a Secret that is not there or that may not be read: as for the
    kubelet, the registry may do without.
    """
    texts, problems = [], []
    for namespace, name in secrets:
        try:
            texts.append(await _docker_config(client, namespace, name))
        except _Lacking as why:
            problems.append(f"Secret {namespace}/{name} {why}")
    read = Keychain.from_docker_configs(texts)
    return replace(read, problems=(*problems, *read.problems))


class _Lacking(Exception):  # noqa: N818 - no failure yet: the registry may do without
    """Why a Secret holds no docker config, in words that follow its name."""


async def _docker_config(client: Client, namespace: str, name: str) -> str:
    try:
        secret = await client.get("Secret", namespace, name)
    except ApiError as error:
        if error.status != 403:
            raise
        raise _Lacking("may not be read by the operator") from error
    if secret is None:
        raise _Lacking("does not exist")
    data = secret.get("data") or {}
    encoded = next((data[key] for key in DOCKER_CONFIG_KEYS if data.get(key)), None)
    if encoded is None:
        raise _Lacking(f"holds neither {' nor '.join(DOCKER_CONFIG_KEYS)}")
    try:
        return base64.b64decode(encoded).decode()
    except (binascii.Error, ValueError):
        raise _Lacking("holds no text") from None
