"""``gkm push LAYOUT REF``: an OCI image layout goes to a registry, byte for byte, through oras-py.

oras' own ``push`` would write another manifest, so only its parts are used: blobs, authentication
(from the Docker configuration) and raw requests.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import requests
from oras.client import OrasClient
from oras.container import Container
from rich.console import Console
from rich.progress import Progress

from gkm.api.errors import Rejected, Retry
from gkm.arguments import Parser
from gkm.cli.layout import Layout, to_json
from gkm.cli.program import run
from gkm.core.image import Reference
from gkm.oci import media

_CHUNKED_FROM: Final = 64 * 1024 * 1024
"""oras reads a blob into memory unless told to send it in chunks, which few registries refuse."""


def main(arguments: Sequence[str]) -> int:
    """Run ``gkm push``; returns the exit code."""
    parser = Parser("gkm push", description="Push an OCI image layout to a registry.")
    parser.add_argument("layout", type=Path, metavar="LAYOUT", help="what gkm pack wrote")
    parser.add_argument("reference", metavar="REF", help="registry/repository:tag")
    parser.add_argument(
        "--plain-http", action="store_true", help="speak to the registry without TLS"
    )
    options = parser.parse_args(arguments)
    return run(lambda: push(options.layout, options.reference, plain_http=options.plain_http))


def push(root: Path, reference: str, *, plain_http: bool = False) -> str:
    """Push the image; returns the reference that always means it. Raises Rejected, Retry."""
    where = Reference.parse(reference)
    if where.digest:
        raise Rejected("BadReference", f"'{reference}': a digest cannot be pushed to, give a tag")
    layout = Layout(root)
    raw, manifest = layout.image()
    client, target = OrasClient(insecure=plain_http), Container(str(where))
    client.auth.load_configs(target)
    try:
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            for blob in progress.track((*manifest.layers, manifest.config), description=str(where)):
                path = str(layout.blob_path(blob.digest))
                chunked = blob.size >= _CHUNKED_FROM
                _check(client.upload_blob(path, target, to_json(blob), do_chunked=chunked))
        url = f"{client.prefix}://{target.manifest_url()}"
        _check(client.do_request(url, "PUT", raw, {"Content-Type": media.OCI_MANIFEST}))
    except requests.RequestException as error:
        raise Retry("RegistryUnavailable", str(error)) from error
    except ValueError as error:  # oras' word for everything that a registry refuses
        raise Rejected("PushRefused", f"registry {where.registry}: {error}") from error
    return where.pinned(f"sha256:{hashlib.sha256(raw).hexdigest()}")


def _check(answer: requests.Response) -> None:
    if answer.status_code not in (200, 201, 202):
        raise Rejected(
            "PushRefused", f"{answer.url} answers {answer.status_code}: {answer.text[:200]}"
        )
