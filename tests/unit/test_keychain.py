"""Which logins a docker config gives for an image: the kubelet's rules, and nothing that leaks."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.oci.keychain import Credentials, Keychain

SECRET = "canary-password"
WHO = {"username": "me", "password": SECRET}


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def config(**auths: Any) -> str:
    return json.dumps({"auths": auths})


def names(keychain: Keychain, registry: str, repository: str) -> list[str]:
    return [login.username for login in keychain.logins(registry, repository)]


@pytest.mark.parametrize(
    ("key", "image", "fits"),
    [
        # The table of "Interpretation of config.json" in the Kubernetes documentation.
        ("*.kubernetes.io", "kubernetes.io/a", False),
        ("*.kubernetes.io", "abc.kubernetes.io/a", True),
        ("*.*.kubernetes.io", "abc.kubernetes.io/a", False),
        ("*.*.kubernetes.io", "abc.def.kubernetes.io/a", True),
        ("prefix.*.io", "prefix.kubernetes.io/a", True),
        ("*-good.kubernetes.io", "prefix-good.kubernetes.io/a", True),
        ("my-registry.example/images", "my-registry.example/images", True),
        ("my-registry.example/images", "my-registry.example/images/my-image", True),
        ("*.my-registry.example/images", "sub.my-registry.example/images/my-image", True),
        ("*.my-registry.example/images", "a.sub.my-registry.example/images/my-image", False),
        # Ports, schemes, API versions, boundaries of a path.
        ("r.example", "r.example:5000/a", False),
        ("r.example:5000", "r.example/a", False),
        ("r.example:5000", "r.example:5000/a", True),
        ("*", "localhost:5000/a", False),
        ("*:5000", "localhost:5000/a", True),
        ("https://r.example", "r.example/a", True),
        ("http://r.example/", "r.example/a", True),
        ("https://r.example/v1/", "r.example/a", True),
        ("https://r.example/v2/", "r.example/a", True),
        ("https://r.example/v2/team", "r.example/team/a", True),
        ("https://r.example/v2/team", "r.example/a", False),
        ("r.example/v3", "r.example/a", False),
        ("r.example/team", "r.example/teammate/a", False),
        ("r.example/team/", "r.example/team/a", True),
        ("r.example", "r.example.evil/a", False),
        ("r.example", "rxexample/a", False),
        ("[::1]:5000", "[::1]:5000/a", True),
        ("[::1]", "[::1]:5000/a", False),
        ("*a" * 60 + "b", "a" * 63 + "/a", False),
        # Docker Hub under its names.
        ("docker.io", "docker.io/library/a", True),
        ("index.docker.io", "docker.io/library/a", True),
        ("https://index.docker.io/v1/", "docker.io/library/a", True),
        ("docker.io/library", "docker.io/other/a", False),
    ],
)
def test_a_key_fits_as_the_kubelet_has_it(key: str, image: str, fits: bool) -> None:
    keychain = Keychain.from_docker_configs([config(**{key: WHO})])
    assert keychain.problems == ()
    registry, _, repository = image.partition("/")
    assert keychain.logins(registry, repository) == ((Credentials("me", SECRET),) if fits else ())


def test_longer_paths_come_first_then_patterns_then_the_order_of_configs() -> None:
    keys = ("*.b", "a.b", "a.b/team", "a.b/team/deep", "a.b/other")
    first = config(**{key: auth(f"{key}:x") for key in keys})
    second = config(**{"a.b": auth("again:x"), "https://a.b/v1/": auth("a.b:x")})
    keychain = Keychain.from_docker_configs([first, second])
    assert names(keychain, "a.b", "team/deep/k") == [
        *("a.b/team/deep", "a.b/team", "a.b", "again", "*.b")
    ]
    assert names(keychain, "a.b", "k") == ["a.b", "again", "*.b"]


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        (auth("me:pass:word"), ("me", "pass:word")),
        ({"auth": auth("me:x")["auth"].rstrip("=")}, ("me", "x")),
        (WHO | auth("other:x"), ("other", "x")),
        (WHO | {"auth": "", "email": "e"}, ("me", SECRET)),
        (WHO | {"identitytoken": "t"}, ("me", SECRET)),
    ],
)
def test_both_forms_of_both_kinds_are_read(entry: Any, login: tuple[str, str]) -> None:
    for text in (config(r=entry), json.dumps({"r": entry})):
        assert Keychain.from_docker_configs([text]).logins("r", "k") == (Credentials(*login),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the docker config is no JSON"),
        (f"{{'{SECRET}'}}", "the docker config is no JSON"),
        ("[" * 100_000, "the docker config is no JSON"),
        (f'["{SECRET}"]', "the docker config is no JSON object"),
        ("{}", "the docker config names no auths"),
        ('{"auths": []}', "the docker config names no auths"),
        (config(), "the docker config names no auths"),
        (config(x={}), "entry 'x': it has neither auth nor username and password"),
        (config(x=SECRET), "entry 'x': it has neither auth nor username and password"),
        (config(x={"auth": SECRET}), "entry 'x': auth is not base64 user:password"),
        (config(x={"auth": "\u00e9"}), "entry 'x': auth is not base64 user:password"),
        (config(x=auth(SECRET)), "entry 'x': auth is not base64 user:password"),
        (
            config(x={"username": "me", "password": SECRET + "\ud800"}),
            "entry 'x': user name or password is no valid Unicode",
        ),
        (
            config(x=auth("me:") | {"identitytoken": SECRET}),
            "entry 'x': GKM does not support identitytoken; use user name and password",
        ),
        (
            config(x={"registrytoken": SECRET}),
            "entry 'x': GKM does not support registrytoken; use user name and password",
        ),
        (
            config(**{f"me:{SECRET}@host\n": WHO}),
            "entry 'host?': the key is no host[:port][/path]",
        ),
        (config(**{"r.example:*": WHO}), "entry 'r.example:*': the key is no host[:port][/path]"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_rest_is_used(text: str, problem: str) -> None:
    keychain = Keychain.from_docker_configs([text, config(r=WHO)])
    assert keychain.problems == (problem,)
    assert names(keychain, "r", "k") == ["me"]
    assert SECRET not in repr(keychain) + str(keychain.problems)


@given(st.text(), st.text(), st.text())
def test_a_user_and_a_password_survive_whatever_they_are(user: str, word: str, path: str) -> None:
    for entry in (auth(f"{user.replace(':', '')}:{word}"), {"username": user, "password": word}):
        keychain = Keychain.from_docker_configs([config(r=entry)])
        found = keychain.logins("r", path)
        assert bool(found) == (word != "")
        assert all(word == login.password for login in found)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number, key in ((10, ".dockerconfigjson"), (9, ".dockercfg"), (2, ".dockerconfigjson")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / key).write_text(json.dumps({"r": auth(f"n{number}:x")}))
    (tmp_path / "3").mkdir()
    (tmp_path / "..data").symlink_to("2")
    assert names(Keychain.from_folder(tmp_path), "r", "k") == ["n2", "n9", "n10"]
    assert Keychain.from_folder(tmp_path / "none") == Keychain()
