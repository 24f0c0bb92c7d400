"""Where a registry can send GKM, whom it tells a password, and whose certificate it takes.

Rows F79 to F81 and F88 of ``README.md``.
"""

import base64
import json
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from gkm.api.errors import Rejected, Retry
from gkm.oci import resume
from gkm.oci.keychain import Keychain
from gkm.oci.registry import Registry
from gkm.oci.settings import RegistrySettings
from tests.certificates import Certificate, issue
from tests.extract.badreg import (
    REPOSITORY,
    BadRegistry,
    Behaviour,
    honest,
    needs,
    says,
)
from tests.extract.fakenet import Network
from tests.extract.pulls import (
    FILES,
    IMAGE,
    LAYER,
    LAYER_PATH,
    MANIFEST,
    MANIFEST_PATH,
    NAME,
    content,
    published,
    pull,
    run,
)

PUBLIC, PUBLIC_TOO, PRIVATE, PRIVATE_TOO = "93.184.216.34", "93.184.216.35", "10.0.0.5", "10.9.9.9"
LOCAL = "127.0.0.1"
UNKNOWN = "its certificate is not trusted"
WORD = "canary-5Tz8"
BASIC = "Basic " + base64.b64encode(f"user:{WORD}".encode()).decode()


@pytest.fixture
def bad() -> Iterator[BadRegistry]:
    with BadRegistry() as running:
        yield running


@pytest.fixture
def sink() -> Iterator[BadRegistry]:
    """What must not be reached, or not be told."""
    with BadRegistry() as running:
        yield running


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


def keychain(*hosts: str) -> Keychain:
    """The login for each of these hosts."""
    auths = {host: {"username": "user", "password": WORD} for host in hosts}
    return Keychain.from_docker_configs([json.dumps({"auths": auths})])


def plain(*hosts: str) -> RegistrySettings:
    return RegistrySettings(plain_http=frozenset(hosts))


def redirect(target: str, status: int = 307) -> Behaviour:
    return says(status, Location=target)


NAMED = {"loopback.test": LOCAL, "metadata.test": "169.254.169.254", "private.test": PRIVATE}
INSIDE = [
    *("127.0.0.1", "127.1", "127.8.9.10", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0"),
    *("0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]"),
    *("[2002:7f00:1::]", "[fe80::1]", "[fd00:ec2::254]", "[fec0::1]", "100.100.100.200"),
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "192.0.0.192", "224.0.0.1", "255.255.255.255"),
    *NAMED,
]


@pytest.mark.parametrize("target", INSIDE, ids=[f"F79-{target}" for target in INSIDE])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_f79_from_a_public_registry_no_way_leads_inside(
    target: str, scheme: str, bad: BadRegistry, sink: BadRegistry, network: Network, tmp_path: Path
) -> None:
    registry = f"{network.name('registry.test', [PUBLIC], route=LOCAL)}:{bad.port}"
    for name, address in [
        ("loopback", LOCAL),
        ("metadata", "169.254.169.254"),
        ("private", PRIVATE),
    ]:
        network.name(f"{name}.test", [address])
    network.routes[LOCAL] = LOCAL
    bad.add(IMAGE)
    bad.paths[LAYER_PATH] = redirect(f"{scheme}://{target}:{sink.port}/x")
    settings = plain(registry, f"{target}:{sink.port}")
    with pytest.raises(Rejected, match="BadRedirect"):
        pull(settings, f"{registry}/{REPOSITORY}@{NAME}", tmp_path)
    assert set(network.connected) == {PUBLIC}
    assert sink.connections == 0
    assert not published(tmp_path)


@pytest.mark.parametrize(
    ("registry", "target", "goes"),
    [
        (PUBLIC, PUBLIC_TOO, True),
        (PRIVATE, PUBLIC, True),
        (PRIVATE, PRIVATE_TOO, True),
        (PRIVATE, "192.168.7.7", True),
        (PRIVATE, "127.0.0.2", False),
        (PRIVATE, "169.254.169.254", False),
        ("127.0.0.3", "127.0.0.2", True),
        ("127.0.0.3", PRIVATE, True),
        ("127.0.0.3", "169.254.169.254", False),
        ("127.0.0.3", "0.0.0.0", False),
    ],
)
def test_f79_a_redirect_leads_no_further_inside_than_its_registry_is(
    registry: str, target: str, goes: bool, bad: BadRegistry, network: Network, tmp_path: Path
) -> None:
    network.name("registry.test", [registry], route=LOCAL)
    network.name("target.test", [target], route=LOCAL)
    places = (f"registry.test:{bad.port}", f"target.test:{bad.port}")
    bad.add(IMAGE)
    bad.paths["/elsewhere"] = honest(LAYER)
    bad.paths[LAYER_PATH] = redirect(f"http://{places[1]}/elsewhere")
    pinned = f"{places[0]}/{REPOSITORY}@{NAME}"
    if goes:
        pull(plain(*places), pinned, tmp_path)
        assert content(tmp_path) == FILES
        return
    with pytest.raises(Rejected, match="BadRedirect"):
        pull(plain(*places), pinned, tmp_path)
    assert target not in network.connected


def test_f79_the_way_back_inside_is_closed(
    bad: BadRegistry, network: Network, tmp_path: Path
) -> None:
    network.name("registry.test", [PRIVATE], route=LOCAL)
    network.name("public.test", [PUBLIC], route=LOCAL)
    registry, public = (f"{name}.test:{bad.port}" for name in ("registry", "public"))
    bad.add(IMAGE)
    bad.paths[LAYER_PATH] = redirect(f"http://{public}/there")
    bad.paths["/there"] = redirect(f"http://{registry}/and-back")
    with pytest.raises(Rejected, match="BadRedirect"):
        pull(plain(registry, public), f"{registry}/{REPOSITORY}@{NAME}", tmp_path)
    assert network.connected[-1] == PUBLIC


def test_f79_a_name_that_is_bound_anew_is_the_address_that_was_looked_at(
    bad: BadRegistry, network: Network, tmp_path: Path
) -> None:
    network.name("registry.test", [PUBLIC], route=LOCAL)
    network.name("rebound.test", [PUBLIC_TOO, "127.0.0.2"], route=LOCAL)
    registry, rebound = (f"{name}.test:{bad.port}" for name in ("registry", "rebound"))
    bad.add(IMAGE)
    bad.paths["/elsewhere"] = honest(LAYER)
    bad.paths[LAYER_PATH] = redirect(f"http://{rebound}/elsewhere")
    pull(plain(registry, rebound), f"{registry}/{REPOSITORY}@{NAME}", tmp_path)
    assert set(network.connected) == {PUBLIC, PUBLIC_TOO}


def test_f79_a_job_does_not_ask_a_metadata_service(bad: BadRegistry, tmp_path: Path) -> None:
    for number, target in enumerate(("169.254.169.254", "2852039166", "0.0.0.0", "[::]")):
        pinned, folder = bad.add(IMAGE), tmp_path / str(number)
        folder.mkdir()
        bad.paths[LAYER_PATH] = redirect(f"http://{target}/latest/meta-data")
        ended = run(plain(bad.host, target), pinned, folder)
        assert (ended.code, ended.reason) == (10, "BadRedirect"), ended.log
        assert not published(folder)


REDIRECTS = {
    "ftp": "ftp://{sink}/x",
    "file": "file:///etc/passwd",
    "nowhere": "",
    "http-that-is-not-named": "http://{sink}/x",
    "no-port": "http://{bad}9999999/x",
    "for-ever": "http://{bad}" + LAYER_PATH,
}


@pytest.mark.parametrize("name", REDIRECTS, ids=[f"F79-{name}" for name in REDIRECTS])
def test_f79_a_redirect_that_leads_nowhere(
    name: str, bad: BadRegistry, sink: BadRegistry, tmp_path: Path
) -> None:
    pinned = bad.add(IMAGE)
    target = REDIRECTS[name].format(bad=bad.host, sink=sink.host)
    bad.paths[LAYER_PATH] = redirect(target)
    ended = run(bad.settings, pinned, tmp_path)
    assert (ended.code, ended.reason) == (10, "BadRedirect"), ended.log
    assert sink.connections == 0
    assert len(bad.times(LAYER_PATH)) == (6 if name in ("for-ever", "nowhere") else 1)


def token_service(bad: BadRegistry, realm: str) -> None:
    """Have the registry want tokens from there."""
    challenge = f'Bearer realm="{realm}",service="registry"'
    bad.paths[MANIFEST_PATH] = needs("Bearer t", challenge, honest(MANIFEST))


@pytest.mark.parametrize("address", [LOCAL, "169.254.169.254", PRIVATE, "::1", "0.0.0.0"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_f80_a_token_service_is_not_looked_for_inside(
    scheme: str,
    address: str,
    bad: BadRegistry,
    sink: BadRegistry,
    network: Network,
    tmp_path: Path,
) -> None:
    network.name("registry.test", [PUBLIC], route=LOCAL)
    network.name("realm.test", [address])
    network.routes |= {LOCAL: LOCAL, PRIVATE: LOCAL}
    registry, realm = f"registry.test:{bad.port}", f"realm.test:{sink.port}"
    bad.add(IMAGE)
    token_service(bad, f"{scheme}://{realm}/token")
    settings = RegistrySettings(frozenset({registry, *([realm] if scheme == "http" else [])}))
    with pytest.raises(Rejected, match="BadRedirect"):
        pull(settings, f"{registry}/{REPOSITORY}@{NAME}", tmp_path, keychain(registry))
    assert sink.connections == 0
    assert set(network.connected) == {PUBLIC}


def test_f80_a_realm_gets_no_password_of_another_registry(
    bad: BadRegistry, sink: BadRegistry, tmp_path: Path
) -> None:
    """It names the token service of a registry for which there is a login."""
    pinned = bad.add(IMAGE)
    token_service(bad, f"http://{sink.host}/token")
    sink.paths["/token?service=registry"] = says(401, WWW_Authenticate='Basic realm="r"')
    settings = plain(bad.host, sink.host)
    with pytest.raises(Retry, match="Unauthorized") as caught:
        pull(settings, pinned, tmp_path, keychain(sink.host))
    assert [one.authorization for one in sink.asked] == [""]
    assert WORD not in str(caught.value)


def test_f80_a_realm_without_tls_that_nobody_named_gets_nothing(
    bad: BadRegistry, sink: BadRegistry, tmp_path: Path
) -> None:
    pinned = bad.add(IMAGE)
    token_service(bad, f"http://{sink.host}/token")
    with pytest.raises(Retry, match="Unauthorized"):
        pull(bad.settings, pinned, tmp_path, keychain(bad.host))
    assert sink.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308], ids="F81-{}".format)
def test_f81_a_password_stays_with_its_host(
    status: int, bad: BadRegistry, sink: BadRegistry, tmp_path: Path
) -> None:
    pinned = bad.add(IMAGE)
    sink.paths["/blob"] = honest(LAYER)
    there = redirect(f"http://{sink.host}/blob", status)
    for path, then in list(bad.paths.items()):
        bad.paths[path] = needs(BASIC, 'Basic realm="r"', there if path == LAYER_PATH else then)
    logins = keychain(bad.host, sink.host)
    pull(plain(bad.host, sink.host), pinned, tmp_path, logins)
    assert content(tmp_path) == FILES
    assert bad.asked[-1].authorization == BASIC
    (asked,) = sink.asked
    assert not asked.authorization
    assert WORD not in str(asked.headers)


def test_f81_where_it_is_redirected_to_may_not_ask_for_the_password(
    bad: BadRegistry, sink: BadRegistry, tmp_path: Path
) -> None:
    pinned = bad.add(IMAGE)
    bad.paths[LAYER_PATH] = redirect(f"http://{sink.host}/blob")
    sink.paths["/blob"] = says(401, WWW_Authenticate='Basic realm="r"')
    with pytest.raises(Retry, match="Unauthorized"):
        pull(plain(bad.host, sink.host), pinned, tmp_path, keychain(bad.host, sink.host))
    assert [one.authorization for one in sink.asked] == [""]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    found = {}
    for name, address, days in [("good", LOCAL, 30), ("name", "127.0.0.9", 30), ("old", LOCAL, -1)]:
        found[name] = issue(tmp_path_factory.mktemp(name), address, days)
    return found


def context(certificate: Certificate, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate.certificate, certificate.key)
    if version:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found.minimum_version = found.maximum_version = version
        found.set_ciphers("ALL:@SECLEVEL=0")
    return found


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, None], ids=["F88-1.2", "F88-newest"])
def test_f88_a_private_authority_that_is_configured_is_trusted(
    version: ssl.TLSVersion | None, certificates: dict[str, Certificate], tmp_path: Path
) -> None:
    certificate = certificates["good"]
    with BadRegistry(tls=context(certificate, version)) as bad:
        ended = run(RegistrySettings(ca_bundle=certificate.ca_pem), bad.add(IMAGE), tmp_path)
    assert ended.code == 0, ended.log
    assert content(tmp_path) == FILES


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        pytest.param("good", None, UNKNOWN, id="F88-unknown-authority"),
        pytest.param("old", None, "certificate has expired", id="F88-expired"),
        pytest.param("name", None, "IP address mismatch", id="F88-wrong-name"),
        pytest.param("good", ssl.TLSVersion.TLSv1_1, "", id="F88-TLS1.1"),
    ],
)
def test_f88_no_other_is_trusted(
    name: str,
    version: ssl.TLSVersion | None,
    said: str,
    certificates: dict[str, Certificate],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(resume, "FIRST_PAUSE", 0.0)
    certificate = certificates[name]
    settings = RegistrySettings(ca_bundle="" if said == UNKNOWN else certificate.ca_pem)
    with BadRegistry(tls=context(certificate, version)) as bad:
        with pytest.raises(Retry, match="RegistryUnavailable") as caught:
            pull(settings, bad.add(IMAGE), tmp_path)
        assert bad.connections > 0
        assert not bad.asked
    assert said in caught.value.message
    assert not published(tmp_path)


def test_f79_from_tls_no_redirect_leads_to_plain_http(
    certificates: dict[str, Certificate], sink: BadRegistry, tmp_path: Path
) -> None:
    certificate = certificates["good"]
    settings = RegistrySettings(frozenset({sink.host}), certificate.ca_pem)
    with BadRegistry(tls=context(certificate)) as bad:
        pinned = bad.add(IMAGE)
        bad.paths[LAYER_PATH] = redirect(f"http://{sink.host}/x")
        with pytest.raises(Rejected, match="BadRedirect"):
            pull(settings, pinned, tmp_path)
    assert sink.connections == 0


def test_f88_a_server_of_tls_1_1_is_one(certificates: dict[str, Certificate]) -> None:
    """What refuses it above is our client."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=certificates["good"].ca_pem)
    client.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = ssl.TLSVersion.TLSv1_1
    server = context(certificates["good"], ssl.TLSVersion.TLSv1_1)
    with (
        BadRegistry(tls=server) as bad,
        socket.create_connection((LOCAL, bad.port)) as connection,
        client.wrap_socket(connection, server_hostname=LOCAL) as secure,
    ):
        assert secure.version() == "TLSv1.1"


def test_f88_plain_http_is_spoken_only_where_it_is_named(bad: BadRegistry) -> None:
    with pytest.raises(Retry, match="RegistryUnavailable"):
        Registry(RegistrySettings()).resolve(bad.add(IMAGE))
    assert not bad.asked
