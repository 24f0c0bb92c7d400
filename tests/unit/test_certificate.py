"""The webhook's certificate: when it is made and rotated, in which order, and that idle is idle."""

import ssl
import time
from dataclasses import replace
from typing import Any

import pytest

from gkm.kube.errors import ApiError
from gkm.operator import certificate
from gkm.operator.certificate import Certificate, Step, decide, names
from gkm.operator.issuer import LIFE, Issued, issue, newest
from webhook.certificate import load

Json = dict[str, Any]
NOW = time.time()
GOOD = issue(names("gkm"), NOW)
OTHER = issue(names("gkm"), NOW)
LATER = NOW + LIFE.total_seconds() * 0.7


@pytest.mark.parametrize(
    ("held", "bundle", "now", "step"),
    [
        (None, b"", NOW, Step.ROTATE),
        (GOOD, GOOD.authority, NOW, Step.NOTHING),
        (GOOD, OTHER.authority + GOOD.authority, NOW, Step.NOTHING),
        (GOOD, b"", NOW, Step.TRUST),
        (GOOD, OTHER.authority, NOW, Step.TRUST),
        (GOOD, GOOD.authority, LATER, Step.ROTATE),
        (Issued(b"", b"", b""), b"", NOW, Step.ROTATE),
        (replace(GOOD, key=OTHER.key), GOOD.authority, NOW, Step.ROTATE),
        (replace(GOOD, authority=OTHER.authority), OTHER.authority, NOW, Step.ROTATE),
        (replace(GOOD, certificate=b"rubbish"), GOOD.authority, NOW, Step.ROTATE),
        (issue(["gkm-webhook.other.svc"], NOW), GOOD.authority, NOW, Step.ROTATE),
    ],
)
def test_what_is_there_says_what_to_do(
    held: Issued | None, bundle: bytes, now: float, step: Step
) -> None:
    assert decide(held, [bundle], "gkm", now) is step


def test_one_of_several_webhooks_without_trust_is_enough() -> None:
    assert decide(GOOD, [GOOD.authority, b""], "gkm", NOW) is Step.TRUST


@pytest.mark.parametrize("name", names("gkm"))
@pytest.mark.parametrize("bundle", [GOOD.authority, OTHER.authority + GOOD.authority])
def test_a_client_that_trusts_the_bundle_accepts_the_server(name: str, bundle: bytes) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(server, GOOD.key + GOOD.certificate)
    handshake(server, ssl.create_default_context(cadata=bundle.decode()), name)


def test_another_authority_is_not_enough() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(server, GOOD.key + GOOD.certificate)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(
            server,
            ssl.create_default_context(cadata=OTHER.authority.decode()),
            "gkm-webhook.gkm.svc",
        )


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(5):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    ours.do_handshake()


class Cluster:
    """Stands for the client: two objects, and every write to them."""

    def __init__(self, *, hooks: bool = True) -> None:
        self.secret: Json | None = None
        self.hooks: Json | None = None
        if hooks:
            config = {"service": {"name": "gkm-webhook"}}
            self.hooks = {
                "metadata": {"uid": "hooks", "resourceVersion": "1"},
                "webhooks": [{"name": "pods.gkm.io", "clientConfig": config, "timeoutSeconds": 5}],
            }
        self.writes: list[str] = []

    async def get(self, kind: str, _namespace: str, _name: str) -> Json | None:
        return self.secret if kind == "Secret" else self.hooks

    async def create(self, kind: str, _namespace: str, body: Json) -> Json:
        self.writes.append(f"create {kind}")
        self.secret = body | {"metadata": body["metadata"] | {"resourceVersion": "1"}}
        return body

    async def patch(self, kind: str, _namespace: str, _name: str, body: Json) -> Json:
        self.writes.append(f"patch {kind}")
        old = self.secret if kind == "Secret" else self.hooks
        assert old is not None
        if body["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "")
        version = str(int(old["metadata"]["resourceVersion"]) + 1)
        new = old | body
        new["metadata"] = old["metadata"] | body["metadata"] | {"resourceVersion": version}
        if kind == "Secret":
            self.secret = new
        else:
            self.hooks = new
        return new

    def step(self) -> Step:
        assert self.hooks is not None
        held = certificate._held(self.secret)
        return decide(held, certificate._bundles(self.hooks), "gkm", time.time())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "_SPREAD_SECONDS", 0.0)


def keeper(cluster: Cluster, *, leading: bool = True) -> Certificate:
    return Certificate(cluster, "gkm", lambda: leading)  # type: ignore[arg-type]


async def test_the_first_look_makes_a_certificate_and_the_second_writes_nothing() -> None:
    cluster = Cluster()
    assert await keeper(cluster).look()
    assert cluster.writes == ["patch MutatingWebhookConfiguration", "create Secret"]
    assert cluster.step() is Step.NOTHING
    assert cluster.hooks is not None
    hook = cluster.hooks["webhooks"][0]
    assert (hook["timeoutSeconds"], hook["clientConfig"]["service"]) == (5, {"name": "gkm-webhook"})
    await keeper(cluster).look()
    assert len(cluster.writes) == 2


async def test_a_rotation_is_trusted_before_it_is_served_and_the_old_one_stays_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster()
    await keeper(cluster).look()
    old = certificate._held(cluster.secret)
    monkeypatch.setattr("gkm.operator.certificate.time.time", lambda: LATER)
    await keeper(cluster).look()
    assert cluster.writes[2:] == ["patch MutatingWebhookConfiguration", "patch Secret"]
    new = certificate._held(cluster.secret)
    assert cluster.hooks is not None
    assert old is not None
    assert new is not None
    assert certificate._bundles(cluster.hooks) == [new.authority + old.authority]
    assert cluster.step() is Step.NOTHING


@pytest.mark.parametrize("lost", ["secret", "bundle"])
async def test_what_is_lost_is_put_back(lost: str) -> None:
    cluster = Cluster()
    await keeper(cluster).look()
    if lost == "secret":
        cluster.secret = None
    else:
        assert cluster.hooks is not None
        cluster.hooks["webhooks"][0]["clientConfig"].pop("caBundle")
    assert cluster.step() is not Step.NOTHING
    await keeper(cluster).look()
    assert cluster.step() is Step.NOTHING


async def test_a_crash_between_the_two_writes_is_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    await keeper(cluster).look()
    monkeypatch.setattr("gkm.operator.certificate.time.time", lambda: LATER)

    async def crash(*_: Any) -> None:
        raise OSError("crash")

    with monkeypatch.context() as broken:
        broken.setattr(Certificate, "_store", crash)
        with pytest.raises(OSError, match="crash"):
            await keeper(cluster).look()
    await keeper(cluster).look()
    assert cluster.step() is Step.NOTHING


@pytest.mark.parametrize("part", ["ca.crt", "tls.key"])
async def test_what_is_served_stays_trusted_while_a_spoilt_secret_is_made_anew(part: str) -> None:
    cluster = Cluster()
    await keeper(cluster).look()
    old = certificate._held(cluster.secret)
    assert old is not None
    assert cluster.secret is not None
    cluster.secret["data"][part] = "c3BvaWx0"
    await keeper(cluster).look()
    new = certificate._held(cluster.secret)
    assert cluster.hooks is not None
    assert new is not None
    assert certificate._bundles(cluster.hooks) == [new.authority + old.authority]


async def test_a_bundle_that_cannot_be_read_is_not_passed_on() -> None:
    assert newest(b"spoilt") == newest(b"") == b""
    assert newest(GOOD.authority + OTHER.authority) == GOOD.authority


async def test_nothing_is_written_by_who_does_not_lead_or_while_no_webhook_is_installed() -> None:
    cluster, bare = Cluster(), Cluster(hooks=False)
    await keeper(cluster, leading=False).look()
    assert not await keeper(bare).look()
    assert cluster.writes == bare.writes == []
