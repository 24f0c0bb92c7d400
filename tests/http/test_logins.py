"""Logins and certificates: against a scripted registry, and against a real one with both."""

import base64
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from gkm.api.errors import Rejected, Retry
from gkm.core.image import Reference
from gkm.oci import media
from gkm.oci.keychain import Keychain
from gkm.oci.manifest import Descriptor
from gkm.oci.registry import Registry
from gkm.oci.settings import RegistrySettings
from tests.certificates import Certificate, issue
from tests.extract.badreg import BadRegistry, cut
from tests.images import Answer, Image, Script, cache_files, scripted
from tests.registry import ADDRESS, USERS, running

IMAGE = Image([cache_files({"a": b"1"})], size_label="1")
NAME, BLOBS = IMAGE.documents()
LAYER = next(
    Descriptor(media.OCI_LAYER_GZIP, d, len(b)) for d, b in BLOBS.items() if b[:2] == b"\x1f\x8b"
)
WRONG = {"username": "first", "password": "wrong-canary-1Lp8"}
FIRST, SECOND = ({"username": name, "password": word} for name, word in USERS.items())
Login = dict[str, str]


def keychain(*pairs: tuple[str, Login]) -> Keychain:
    """A docker config for each pair of key and login."""
    return Keychain.from_docker_configs(json.dumps({"auths": {key: who}}) for key, who in pairs)


def basic(who: Login) -> str:
    return "Basic " + base64.b64encode(f"{who['username']}:{who['password']}".encode()).decode()


def refusal(registry: Registry, image: str) -> str:
    """The words of the refusal, which no password is among."""
    with pytest.raises(Retry) as caught:
        registry.resolve(image)
    assert caught.value.reason == "Unauthorized"
    assert not any(who["password"] in str(caught.value) for who in (WRONG, FIRST, SECOND))
    return caught.value.message


@pytest.fixture
def script() -> Iterator[Script]:
    with scripted() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Script]:
    with scripted() as running:
        yield running


def demand(script: Script, challenge: str, needs: str) -> None:
    """Have the registry challenge every request that is not authorized as it ``needs``."""
    script.add(IMAGE)
    for answer in script.answers.values():
        answer.needs, answer.headers = needs, {"WWW-Authenticate": challenge}


def client(*scripts: Script, keys: Keychain) -> Registry:
    return Registry(RegistrySettings(frozenset(one.host for one in scripts)), keys)


def test_logins_are_tried_in_order_and_the_accepted_one_is_kept(script: Script) -> None:
    demand(script, 'Basic realm="r"', basic(SECOND))
    keys = keychain(*((script.host, who) for who in (WRONG, FIRST, SECOND)))
    registry = client(script, keys=keys)
    assert registry.resolve(f"{script.host}/k/c:v1").digest == NAME
    sent = [authorization for _, authorization in script.asked]
    assert sent == ["", basic(WRONG), basic(FIRST), basic(SECOND), basic(SECOND)]


def test_a_refusal_says_what_was_tried_and_what_to_do(script: Script) -> None:
    demand(script, 'Basic realm="r"', basic(SECOND))
    image = f"{script.host}/k/c:v1"
    elsewhere = keychain(("elsewhere", SECOND))
    said = refusal(client(script, keys=elsewhere), image)
    assert f"registry {script.host} does not show '{image}'" in said
    assert "there is no login for it in spec.imagePullSecrets; name a Secret" in said
    said = refusal(client(script, keys=keychain((script.host, FIRST))), image)
    assert "the login of spec.imagePullSecrets was refused; correct the Secret" in said
    two = keychain((script.host, FIRST), (script.host, {"auth": "?"}), (script.host, WRONG))
    said = refusal(client(script, keys=two), image)
    assert "the 2 logins of spec.imagePullSecrets were refused" in said
    assert f"(entry '{script.host}': auth is not base64 user:password)" in said


def token_path(service: str = "s") -> str:
    return f"/token?service={service}&scope=repository%3Ak%2Fc%3Apull"


def bearer(host: str) -> str:
    return f'Bearer realm="http://{host}/token",service="s",scope="repository:k/c:pull"'


def test_a_token_is_fetched_once_kept_and_renewed_by_the_same_login(script: Script) -> None:
    demand(script, bearer(script.host), "Bearer t0")
    script.answers[token_path()] = Answer(b'{"token": "t0"}', needs=basic(SECOND))
    keys = keychain(*((script.host, who) for who in (FIRST, SECOND)))
    registry, image = client(script, keys=keys), f"{script.host}/k/c:v1"
    assert registry.resolve(image).digest == NAME
    asked = [who for path, who in script.asked if path == token_path()]
    assert asked == [basic(FIRST), basic(SECOND)]
    for answer in script.answers.values():
        answer.needs = answer.needs.replace("t0", "t1")
    script.answers[token_path()] = Answer(b'{"access_token": "t1"}', needs=basic(SECOND))
    script.asked.clear()
    assert registry.resolve(image).digest == NAME
    assert [who for path, who in script.asked if path == token_path()] == [basic(SECOND)]


def test_without_a_login_a_token_is_asked_for_in_nobodys_name(script: Script) -> None:
    demand(script, bearer(script.host), "Bearer t0")
    image = f"{script.host}/k/c:v1"
    script.answers[token_path()] = Answer(b'{"token": "t0"}')
    assert script.registry().resolve(image).digest == NAME
    for refused in (Answer(b'{"token": "other"}'), Answer(status=401), Answer(status=403)):
        script.answers[token_path()] = refused
        assert "there is no login for it" in refusal(script.registry(), image)
    for broken in (Answer(status=503), Answer(b'{"token": 1}'), Answer(b'{"token": "a\\nb"}')):
        script.answers[token_path()] = broken
        with pytest.raises(Retry, match="RegistryUnavailable"):
            script.registry().resolve(image)


def test_a_registry_that_refuses_without_a_challenge_is_told_no_password(script: Script) -> None:
    path = "/v2/k/c/manifests/v1"
    script.answers[path] = Answer(status=403)
    registry = client(script, keys=keychain((script.host, FIRST)))
    assert "answers 403" in refusal(registry, f"{script.host}/k/c:v1")
    assert script.asked == [(path, "")]


@pytest.mark.parametrize("challenge", ["", "Negotiate", 'Digest realm="r"'])
def test_a_challenge_that_nobody_knows_gets_nothing(script: Script, challenge: str) -> None:
    demand(script, challenge, "x")
    registry = client(script, keys=keychain((script.host, FIRST)))
    assert "GKM knows Basic and Bearer" in refusal(registry, f"{script.host}/k/c:v1")
    assert [who for _, who in script.asked] == [""]


def test_a_token_service_without_tls_gets_nothing(script: Script, other: Script) -> None:
    demand(script, bearer(other.host), "Bearer t0")
    registry = client(script, keys=keychain((script.host, FIRST)))
    assert "no https" in refusal(registry, f"{script.host}/k/c:v1")
    assert not other.asked


def test_a_token_service_that_redirects_passes_no_password_on(
    script: Script, other: Script
) -> None:
    demand(script, bearer(script.host), "Bearer t0")
    headers = {"Location": f"http://{other.host}/token"}
    script.answers[token_path()] = Answer(status=307, headers=headers)
    registry = client(script, other, keys=keychain((script.host, FIRST)))
    with pytest.raises(Rejected, match="BadRedirect"):
        registry.resolve(f"{script.host}/k/c:v1")
    assert not other.asked


def test_a_redirect_is_followed_without_the_password(script: Script, other: Script) -> None:
    demand(script, 'Basic realm="r"', basic(FIRST))
    other.add(IMAGE)
    path = f"/v2/k/c/blobs/{LAYER.digest}"
    script.answers[path].status = 307
    headers = {**script.answers[path].headers, "Location": f"http://{other.host}{path}"}
    script.answers[path].headers = headers
    registry = client(script, other, keys=keychain((script.host, FIRST)))
    where = Reference.parse(f"{script.host}/k/c:v1")
    assert b"".join(registry.blob(where, LAYER)) == BLOBS[LAYER.digest]
    assert script.asked[-1][1] == basic(FIRST)
    assert other.asked == [(path, "")]


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_where_a_registry_redirects_to_may_not_ask_for_its_password(
    script: Script, other: Script, scheme: str
) -> None:
    path = "/v2/k/c/manifests/v1"
    script.answers[path] = Answer(status=307, headers={"Location": f"http://{other.host}{path}"})
    challenge = bearer(other.host) if scheme == "Bearer" else 'Basic realm="r"'
    other.answers[path] = Answer(status=401, headers={"WWW-Authenticate": challenge})
    registry = client(script, other, keys=keychain((script.host, FIRST)))
    assert f"{other.host} answers 401" in refusal(registry, f"{script.host}/k/c:v1")
    assert other.asked == [(path, "")]


def test_a_redirect_to_a_host_without_tls_needs_leave(script: Script, other: Script) -> None:
    path, target = "/v2/k/c/manifests/v1", f"http://{other.host}/x?signature=abc"
    script.answers[path] = Answer(status=307, headers={"Location": target})
    with pytest.raises(Rejected, match="BadRedirect") as caught:
        script.registry().resolve(f"{script.host}/k/c:v1")
    assert other.host in caught.value.message
    assert "signature" not in caught.value.message
    assert not other.asked


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("certificate"), ADDRESS)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[str]:
    """host:port of a real registry with login and TLS that holds the image as team/k:v1."""
    folder = tmp_path_factory.mktemp("registry")
    with running(folder) as host:
        push(host, "team/k")
    with running(folder, login=True, tls=certificate) as host:
        yield host


def push(host: str, repository: str) -> None:
    """Put the image into a registry without login."""
    connection = HTTPConnection(host)

    def send(method: str, path: str, body: bytes = b"", kind: str = "") -> str:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        assert answer.status in (201, 202), answer.read()
        answer.read()
        return (answer.headers["Location"] or "").removeprefix(f"http://{host}")

    for digest, blob in BLOBS.items():
        if digest != NAME:
            place = send("POST", f"/v2/{repository}/blobs/uploads/")
            send("PUT", f"{place}&digest={digest}", blob, "application/octet-stream")
    send("PUT", f"/v2/{repository}/manifests/v1", BLOBS[NAME], media.OCI_MANIFEST)
    connection.close()


@pytest.fixture
def settings(certificate: Certificate) -> RegistrySettings:
    return RegistrySettings(ca_bundle=certificate.ca_pem)


@pytest.mark.parametrize(
    "logins",
    [
        [("{}", FIRST)],
        [("https://{}/v2/", SECOND)],
        [("{}", WRONG), ("{}", FIRST)],
        [("{}", WRONG), ("{}/team", FIRST), ("{}/team/k", WRONG)],
    ],
)
def test_a_real_registry_shows_and_sends_an_image_to_who_may_see_it(
    private: str, settings: RegistrySettings, logins: list[tuple[str, Login]]
) -> None:
    keys = keychain(*((key.format(private), who) for key, who in logins))
    registry = Registry(settings, keys)
    assert registry.resolve(f"{private}/team/k:v1").digest == NAME
    where = Reference.parse(f"{private}/team/k:v1")
    assert b"".join(registry.blob(where, LAYER)) == BLOBS[LAYER.digest]


def test_a_real_registry_goes_on_where_its_mirror_broke_off(
    private: str, certificate: Certificate
) -> None:
    layer = BLOBS[LAYER.digest]
    with BadRegistry() as mirror:
        mirror.paths[f"/v2/team/k/blobs/{LAYER.digest}"] = cut(layer, len(layer) // 2)
        settings = RegistrySettings(
            frozenset({mirror.host}), certificate.ca_pem, {private: (mirror.host,)}
        )
        registry = Registry(settings, keychain((private, FIRST)))
        pieces = list(registry.blob(Reference.parse(f"{private}/team/k:v1"), LAYER))
    assert pieces == [layer[: len(layer) // 2], layer[len(layer) // 2 :]]


def test_a_real_registry_shows_nothing_to_others(private: str, settings: RegistrySettings) -> None:
    image = f"{private}/team/k:v1"
    assert "there is no login" in refusal(Registry(settings), image)
    assert "was refused" in refusal(Registry(settings, keychain((private, WRONG))), image)
    path = keychain((f"{private}/other", FIRST))
    assert "there is no login" in refusal(Registry(settings, path), image)
    known = Registry(settings, keychain((private, FIRST)))
    with pytest.raises(Retry, match="ImageNotFound"):
        known.resolve(f"{private}/team/none:v1")


def test_a_private_authority_is_trusted_only_when_it_is_configured(
    private: str, tmp_path: Path
) -> None:
    keys = keychain((private, FIRST))
    for bundle in ("", issue(tmp_path, ADDRESS).ca_pem):
        with pytest.raises(Retry, match="RegistryUnavailable") as caught:
            Registry(RegistrySettings(ca_bundle=bundle), keys).resolve(f"{private}/team/k:v1")
        assert "certificate is not trusted" in caught.value.message
        assert "registry.caBundle" in caught.value.message


def test_the_systems_authorities_stay_trusted(
    private: str, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system.pem"
    system.write_text(certificate.ca_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    (tmp_path / "another").mkdir()
    settings = RegistrySettings(ca_bundle=issue(tmp_path / "another", ADDRESS).ca_pem)
    registry = Registry(settings, keychain((private, FIRST)))
    assert registry.resolve(f"{private}/team/k:v1").digest == NAME
