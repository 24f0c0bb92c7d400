"""How a command reads from registries: with Docker's logins, by the same client as Jobs."""

import os
from dataclasses import replace

from gkm.cli.program import note
from gkm.core.image import Reference
from gkm.oci import dockerlogin
from gkm.oci.registry import Registry
from gkm.oci.settings import ENVIRONMENT, RegistrySettings


def registry(where: Reference, *, plain_http: bool, quiet: bool, tries: int = 1) -> Registry:
    """Return a client for the registry of an image.

    ``$GKM_REGISTRY`` holds settings as the operator gives them to Jobs. Raises Rejected, Retry.
    """
    settings = RegistrySettings.from_json(os.environ.get(ENVIRONMENT, ""))
    if plain_http:
        settings = replace(settings, plain_http=settings.plain_http | {where.registry})
    keychain = dockerlogin.keychain(where.registry)
    for problem in keychain.problems:
        note(f"{keychain.place}: {problem}", quiet=quiet)
    return Registry(settings, keychain, tries)
