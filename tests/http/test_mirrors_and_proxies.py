"""Other ways to an image than its registry: mirrors before it, proxies in between."""

import base64
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from gkm.api.errors import Rejected, Retry
from gkm.core.image import Reference
from gkm.oci import media, resume
from gkm.oci.keychain import Keychain
from gkm.oci.manifest import Descriptor
from gkm.oci.registry import Registry
from gkm.oci.settings import RegistrySettings
from tests.certificates import issue
from tests.extract.badreg import BadRegistry, cut, honest, needs, raw, says, tunnel
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
from tests.images import digest

WANTED = Descriptor(media.OCI_LAYER_GZIP, digest(LAYER), len(LAYER))


@pytest.fixture
def origin() -> Iterator[BadRegistry]:
    with BadRegistry() as running:
        running.add(IMAGE)
        yield running


@pytest.fixture
def mirror() -> Iterator[BadRegistry]:
    with BadRegistry() as running:
        running.add(IMAGE)
        yield running


def mirrored(origin: BadRegistry, *mirrors: BadRegistry) -> RegistrySettings:
    hosts = tuple(one.host for one in mirrors)
    return RegistrySettings(frozenset({origin.host, *hosts}), mirrors={origin.host: hosts})


def pinned(registry: BadRegistry) -> str:
    return f"{registry.host}/k/c@{NAME}"


def test_a_mirror_is_asked_first_and_the_registry_for_nothing(
    origin: BadRegistry, mirror: BadRegistry, tmp_path: Path
) -> None:
    settings = mirrored(origin, mirror)
    assert Registry(settings).resolve(f"{origin.host}/k/c:v1").digest == NAME
    pull(settings, pinned(origin), tmp_path)
    assert content(tmp_path) == FILES
    assert not origin.asked


def test_mirrors_are_asked_in_their_order(
    origin: BadRegistry, mirror: BadRegistry, tmp_path: Path
) -> None:
    with BadRegistry() as empty:
        pull(mirrored(origin, empty, mirror), pinned(origin), tmp_path)
        assert [len(one.asked) for one in (empty, mirror, origin)] == [3, 3, 0]


@pytest.mark.parametrize(
    "behaviour",
    [
        says(404),
        says(500),
        says(403),
        says(400),
        says(401, WWW_Authenticate='Basic realm="r"'),
        says(302, Location="ftp://x/"),
        says(200, b"other"),
        cut(MANIFEST, 9),
        raw(lambda: iter([b"no http"])),
    ],
)
def test_what_a_mirror_does_not_give_the_registry_gives(
    behaviour: object, origin: BadRegistry, mirror: BadRegistry, tmp_path: Path
) -> None:
    mirror.paths = dict.fromkeys(mirror.paths, behaviour)  # type: ignore[arg-type]
    pull(mirrored(origin, mirror), pinned(origin), tmp_path)
    assert content(tmp_path) == FILES
    assert len(mirror.asked) == len(origin.asked) == 3


def test_a_mirror_that_is_away_is_passed_over(origin: BadRegistry, tmp_path: Path) -> None:
    with BadRegistry() as away:
        pass
    pull(mirrored(origin, away), pinned(origin), tmp_path)
    assert content(tmp_path) == FILES


def test_the_registry_goes_on_where_its_mirror_broke_off(
    origin: BadRegistry, mirror: BadRegistry, tmp_path: Path
) -> None:
    mirror.paths[LAYER_PATH] = cut(LAYER, 60_000)
    pull(mirrored(origin, mirror), pinned(origin), tmp_path)
    assert content(tmp_path) == FILES
    (asked,) = origin.asked
    assert (asked.path, asked.start) == (LAYER_PATH, 60_000)


def test_other_bytes_of_a_mirror_are_never_taken(
    origin: BadRegistry, mirror: BadRegistry, tmp_path: Path
) -> None:
    mirror.paths[LAYER_PATH] = honest(bytes(len(LAYER)))
    with pytest.raises(Retry, match=f"DigestMismatch: {mirror.host} or {origin.host} sent"):
        pull(mirrored(origin, mirror), pinned(origin), tmp_path)
    assert not published(tmp_path)


def test_a_job_that_got_other_bytes_of_a_mirror_begins_anew_without_mirrors(
    origin: BadRegistry, mirror: BadRegistry, tmp_path: Path
) -> None:
    mirror.paths[LAYER_PATH] = honest(bytes(len(LAYER)))
    ended = run(mirrored(origin, mirror), pinned(origin), tmp_path)
    assert ended.code == 0, ended.log
    assert content(tmp_path) == FILES
    assert len(mirror.asked) == len(origin.asked) == 3
    origin.paths[LAYER_PATH] = honest(bytes(len(LAYER)))
    (tmp_path / "worse").mkdir()
    ended = run(mirrored(origin, mirror), pinned(origin), tmp_path / "worse")
    assert (ended.code, ended.reason) == (11, "DigestMismatch")
    assert not published(tmp_path / "worse")


def test_when_all_fail_the_registry_has_the_last_word_and_the_others_are_told(
    origin: BadRegistry, mirror: BadRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "sleep", lambda _: None)
    settings = mirrored(origin, mirror)
    mirror.paths.clear()
    origin.paths[MANIFEST_PATH] = says(503, Retry_After=9)
    with pytest.raises(Retry, match="RegistryUnavailable") as caught:
        Registry(settings, tries=2).resolve(pinned(origin))
    assert f"registry {origin.host}: answers 503 (before, image" in caught.value.message
    assert f"is not in registry {mirror.host}" in caught.value.message
    assert caught.value.after == 9
    assert len(mirror.asked) == len(origin.asked) == 2
    origin.paths[MANIFEST_PATH] = says(400)
    with pytest.raises(Rejected, match=r"RegistryRefused.*answers 400.*before"):
        Registry(settings, tries=2).resolve(pinned(origin))


def test_each_host_is_told_its_own_password_only(
    origin: BadRegistry, mirror: BadRegistry, tmp_path: Path
) -> None:
    logins = {one.host: {"username": one.host, "password": "p"} for one in (origin, mirror)}
    keys = Keychain.from_docker_configs([json.dumps({"auths": logins})])
    basic = {
        one.host: "Basic " + base64.b64encode(f"{one.host}:p".encode()).decode()
        for one in (origin, mirror)
    }
    for one in (origin, mirror):
        one.paths = {
            path: needs(basic[one.host], 'Basic realm="r"', then)
            for path, then in one.paths.items()
        }
    del mirror.paths[LAYER_PATH]
    pull(mirrored(origin, mirror), pinned(origin), tmp_path, keys)
    assert content(tmp_path) == FILES
    for one in (origin, mirror):
        assert {asked.authorization for asked in one.asked} == {"", basic[one.host]}


def test_a_mirror_of_docker_hub_has_its_repositories(mirror: BadRegistry) -> None:
    settings = RegistrySettings(frozenset({mirror.host}), mirrors={"docker.io": (mirror.host,)})
    mirror.paths = {path.replace("k/c", "library/c"): mirror.paths[path] for path in mirror.paths}
    assert Registry(settings).resolve("c:v1").digest == NAME


@pytest.fixture
def proxy() -> Iterator[BadRegistry]:
    with BadRegistry() as running:
        yield running


def test_a_proxy_is_asked_for_the_whole_url(
    origin: BadRegistry, proxy: BadRegistry, tmp_path: Path
) -> None:
    url = "http://registry.test:5000"
    proxy.paths = {f"{url}{path}": then for path, then in origin.paths.items()}
    settings = RegistrySettings(
        frozenset({"registry.test:5000"}), http_proxy=f"http://{proxy.host}"
    )
    pull(settings, f"registry.test:5000/k/c@{NAME}", tmp_path)
    assert content(tmp_path) == FILES
    assert not origin.asked
    assert {one.headers["host"] for one in proxy.asked} == {"registry.test:5000"}


def test_tls_goes_through_a_proxy_and_is_the_registrys(proxy: BadRegistry, tmp_path: Path) -> None:
    certificate = issue(tmp_path, "127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate.certificate, certificate.key)
    with BadRegistry(tls=server) as origin:
        where = origin.add(IMAGE)
        proxy.paths[origin.host] = tunnel(origin.port)
        settings = RegistrySettings(
            ca_bundle=certificate.ca_pem, https_proxy=f"http://{proxy.host}"
        )
        basic = "Basic " + base64.b64encode(b"user:canary").decode()
        origin.paths = {
            path: needs(basic, 'Basic realm="r"', then) for path, then in origin.paths.items()
        }
        auths = {"auths": {origin.host: {"username": "user", "password": "canary"}}}
        keys = Keychain.from_docker_configs([json.dumps(auths)])
        pull(settings, where, tmp_path, keys)
        assert content(tmp_path) == FILES
        assert {(one.method, one.path) for one in proxy.asked} == {("CONNECT", origin.host)}
        assert len(proxy.asked) == origin.connections == 4
        assert not any(one.authorization for one in proxy.asked)
        # A proxy that leads elsewhere proves to be nobody.
        elsewhere = RegistrySettings(https_proxy=f"http://{proxy.host}")
        with pytest.raises(Retry, match="certificate is not trusted"):
            Registry(elsewhere).resolve(where)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (says(407), "the proxy answers 407"),
        (says(502), "the proxy answers 502"),
        (raw(lambda: iter([b"\r\n\r\n"])), "the proxy answers nothing"),
        (raw(lambda: iter([b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 200])), "100 headers"),
        (raw(lambda: iter([b"HTTP/1.1 200 OK\r\n\r\nno TLS"])), ""),
    ],
)
def test_a_proxy_that_opens_no_way(proxy: BadRegistry, behaviour: object, said: str) -> None:
    proxy.paths["registry.test:443"] = behaviour  # type: ignore[assignment]
    settings = RegistrySettings(https_proxy=f"http://{proxy.host}")
    with pytest.raises(Retry, match="RegistryUnavailable") as caught:
        Registry(settings).resolve("registry.test/k/c:v1")
    assert said in caught.value.message


@pytest.mark.parametrize("target", ["127.0.0.1", "2130706433", "[::1]", "10.0.0.1", "169.254.1.1"])
def test_a_proxy_is_not_asked_for_an_address_inside(target: str, proxy: BadRegistry) -> None:
    settings = RegistrySettings(
        frozenset({"registry.test", target}), http_proxy=f"http://{proxy.host}"
    )
    manifest = "http://registry.test/v2/k/c/manifests/v1"
    proxy.paths[manifest] = says(307, Location=f"http://{target}/x")
    with pytest.raises(Rejected, match="BadRedirect"):
        Registry(settings).resolve("registry.test/k/c:v1")
    assert [one.path for one in proxy.asked] == [manifest]


def test_from_behind_a_proxy_no_redirect_leads_to_what_is_reached_without_one(
    proxy: BadRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)
    network.routes["127.0.0.1"] = "127.0.0.1"
    network.name("storage.test", ["10.0.0.7"])
    settings = RegistrySettings(
        frozenset({"registry.test", "storage.test"}),
        http_proxy=f"http://{proxy.host}",
        no_proxy=("storage.test",),
    )
    proxy.paths["http://registry.test/v2/k/c/manifests/v1"] = says(
        307, Location="http://storage.test/x"
    )
    with pytest.raises(Rejected, match="BadRedirect"):
        Registry(settings).resolve("registry.test/k/c:v1")
    assert set(network.connected) == {"127.0.0.1"}


def test_what_is_excepted_is_reached_directly(origin: BadRegistry, proxy: BadRegistry) -> None:
    address = f"http://{proxy.host}"
    settings = RegistrySettings(
        frozenset({origin.host}), "", {}, address, address, no_proxy=("127.0.0.0/8",)
    )
    where = Reference.parse(f"{origin.host}/k/c:v1")
    assert b"".join(Registry(settings).blob(where, WANTED)) == LAYER
    assert not proxy.asked
