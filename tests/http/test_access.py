"""What a pod is given to reach the API server changes while the program runs."""

import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gkm.kube.access import Access
from gkm.kube.client import Client
from tests.certificates import issue

HOST = "127.0.0.1"


async def handler(request: web.Request) -> web.Response:
    token = request.headers["Authorization"].removeprefix("Bearer ")
    return web.json_response({"metadata": {"resourceVersion": "1", "name": token}})


async def test_a_new_authority_is_trusted_and_a_new_token_used(tmp_path: Path) -> None:  # F31 F32
    old, new, pod = (tmp_path / name for name in ("old", "new", "pod"))
    for folder in (old, new, pod):
        folder.mkdir()
    issued = issue(new, HOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    (pod / "ca.crt").write_text(issue(old, HOST).ca_pem)
    (pod / "token").write_text("first\n")
    runner = await serving(context)
    where = f"https://{HOST}:{runner.addresses[0][1]}"
    access = Access(where, (pod / "ca.crt").read_text(), pod)
    async with Client(access) as client:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.get("Pod", "a", "b")
        (pod / "ca.crt").write_text(issued.ca_pem)
        (pod / "token").write_text("second\n")
        access._read -= 61
        found = await client.get("Pod", "a", "b")
    await runner.cleanup()
    assert found is not None
    assert found["metadata"]["name"] == "second"


async def serving(context: ssl.SSLContext) -> web.AppRunner:
    app = web.Application()
    app.router.add_get("/{any:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
    return runner
