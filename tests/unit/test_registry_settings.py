"""How registries are reached: what Jobs are handed, and which certificates are none."""

from pathlib import Path

import pytest

from gkm.api.errors import Rejected
from gkm.oci.settings import RegistrySettings
from tests.certificates import issue


def test_settings_survive_their_json_in_one_line(tmp_path: Path) -> None:
    authority = issue(tmp_path, "127.0.0.1").ca_pem
    bundle = f"# Autorité\n{authority}\n# the same again\n{authority}"
    proxies = ("http://p.test:3128", "http://q.test:8080", ("example.com", "10.0.0.0/8"))
    settings = RegistrySettings(frozenset({"a:1", "b"}), bundle, {"r": ("m:1", "n")}, *proxies)
    assert RegistrySettings.from_json(settings.to_json()) == settings
    assert "\n" not in settings.to_json()
    assert RegistrySettings.from_json("") == RegistrySettings()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"plainHttp": 1}',
        '{"plainHttp": "host"}',
        '{"caBundle": "none"}',
        '{"caBundle": " "}',
        '{"mirrors": ["m"]}',
        '{"mirrors": {"docker.io": "m"}}',
        '{"mirrors": {"docker.io": ["https://m"]}}',
        '{"httpProxy": "p.test:3128"}',
        '{"httpsProxy": "https://p.test:3128"}',
        '{"httpsProxy": "http://p.test"}',
        '{"noProxy": "example.com"}',
        '{"noProxy": [1]}',
    ],
)
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match=r"GKM_REGISTRY|caBundle|mirrors|proxy") as caught:
        RegistrySettings.from_json(text)
    assert caught.value.reason == "BadSettings"


def test_a_key_is_no_certificate_and_is_not_repeated(tmp_path: Path) -> None:
    key = issue(tmp_path, "127.0.0.1").key.read_text()
    with pytest.raises(Rejected, match="caBundle") as caught:
        RegistrySettings(ca_bundle=key)
    assert key.splitlines()[1] not in caught.value.message


def test_a_password_in_a_proxy_is_refused_and_not_repeated() -> None:
    with pytest.raises(Rejected, match="proxy") as caught:
        RegistrySettings(https_proxy="http://user:canary@p.test:3128")
    assert "canary" not in caught.value.message


PROXY = ("p.test", 3128)


@pytest.mark.parametrize(
    ("rule", "host", "port", "proxy"),
    [
        ("other.com", "example.com", 443, PROXY),
        ("example.com", "example.com", 443, None),
        ("example.com", "a.example.com", 443, None),
        (".Example.com", "a.example.com", 443, None),
        ("example.com", "badexample.com", 443, PROXY),
        ("example.com:5000", "example.com", 5000, None),
        ("example.com:5000", "example.com", 443, PROXY),
        ("10.0.0.0/8", "10.1.2.3", 443, None),
        ("10.0.0.0/8", "11.1.2.3", 443, PROXY),
        ("10.0.0.0/8", "10.example.com", 443, PROXY),
        ("10.1.2.3", "10.1.2.3", 443, None),
        ("10.1.2.3:5000", "10.1.2.3", 5000, None),
        ("fd00::/8", "fd00::1", 443, None),
        ("fd00::/8", "10.1.2.3", 443, PROXY),
    ],
)
def test_what_is_excepted_from_the_proxy(
    rule: str, host: str, port: int, proxy: tuple[str, int] | None
) -> None:
    settings = RegistrySettings(https_proxy="http://p.test:3128", no_proxy=("x.test", rule))
    assert settings.proxy("https", host, port) == proxy
    assert settings.proxy("http", host, port) is None
