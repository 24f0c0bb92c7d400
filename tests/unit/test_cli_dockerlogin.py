"""Logins of ``docker login``: files, helpers, and what goes wrong with both."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from gkm.api.errors import Rejected, Retry
from gkm.oci import dockerlogin
from gkm.oci.keychain import Credentials

SECRET = "helper-canary-4Tz9"
HELPER = """#!/bin/sh
read host; echo "$1 $host" >> {log}
{answer}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def config(folder: Path, **content: Any) -> None:
    (folder / "config.json").write_text(json.dumps(content))


def helper(folder: Path, answer: str, name: str = "test") -> None:
    program = folder / f"docker-credential-{name}"
    program.write_text(HELPER.format(log=folder / "log", answer=answer))
    program.chmod(0o755)


def said(username: str = "me", secret: str = SECRET) -> str:
    return f"echo '{json.dumps({'ServerURL': 'x', 'Username': username, 'Secret': secret})}'"


def logins(registry: str = "quay.io", **options: bool) -> tuple[Credentials, ...]:
    return dockerlogin.keychain(registry, **options).logins(registry, "k/c")


AUTHS = {"quay.io": {"auth": base64.b64encode(b"filed:word").decode()}}


def test_without_a_file_there_are_no_logins() -> None:
    found = dockerlogin.keychain("quay.io")
    assert (found.entries, found.problems) == ((), ())


def test_a_login_in_the_file(folder: Path) -> None:
    config(folder, auths=AUTHS)
    assert logins() == (Credentials("filed", "word"),)


@pytest.mark.parametrize("named", [{"credHelpers": {"quay.io": "test"}}, {"credsStore": "test"}])
def test_a_helper_goes_before_the_file(folder: Path, named: dict[str, Any]) -> None:
    helper(folder, said())
    config(folder, auths=AUTHS, **named)
    assert logins() == (Credentials("me", SECRET),)
    assert (folder / "log").read_text() == "get quay.io\n"


def test_docker_hub_has_a_key_of_its_own(folder: Path) -> None:
    helper(folder, said())
    config(folder, credsStore="test")
    assert logins("docker.io") == (Credentials("me", SECRET),)
    assert (folder / "log").read_text() == "get https://index.docker.io/v1/\n"


def test_a_helper_of_another_registry_is_not_asked(folder: Path) -> None:
    config(folder, auths=AUTHS, credHelpers={"gcr.io": "gone"})
    assert logins() == (Credentials("filed", "word"),)


def test_a_helper_without_a_login_leaves_it_to_the_file(folder: Path) -> None:
    helper(folder, "echo credentials not found in native keychain; exit 1")
    config(folder, auths=AUTHS, credsStore="test")
    assert logins() == (Credentials("filed", "word"),)
    config(folder, auths={"quay.io": {}}, credsStore="test")
    assert dockerlogin.keychain("quay.io").problems == ()


def test_where_no_helper_may_be_started_none_is(folder: Path) -> None:
    helper(folder, said())
    config(folder, auths=AUTHS, credsStore="test")
    assert logins(helpers=False) == (Credentials("filed", "word"),)
    assert not (folder / "log").exists()


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("gone", "", "docker-credential-gone: No such file or directory; install it"),
        ("../evil", "", "no program's name"),
        ("test", f"echo {SECRET}; exit 3", "exits with 3"),
        ("test", f"echo {SECRET}", "does not answer with Username and Secret"),
        ("test", f"""echo '{{"Username": 1, "Secret": "{SECRET}"}}'""", "does not answer"),
        ("test", said("<token>"), "identity token"),
    ],
)
def test_a_helper_that_fails_is_named_and_not_quoted(
    folder: Path, name: str, answer: str, words: str
) -> None:
    helper(folder, answer)
    config(folder, credsStore=name)
    with pytest.raises(Rejected, match="CredentialHelper") as caught:
        dockerlogin.keychain("quay.io")
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_helper_that_hangs_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerlogin, "_SECONDS", 0.2)
    helper(folder, "exec sleep 60")
    config(folder, credsStore="test")
    with pytest.raises(Retry, match="did not answer"):
        dockerlogin.keychain("quay.io")


@pytest.mark.parametrize("content", [{}, {"credsStore": "test"}, {"auths": {}, "psFormat": "x"}])
def test_a_file_without_logins_is_no_problem(folder: Path, content: dict[str, Any]) -> None:
    """What is printed for each is printed at every pull of a public image."""
    helper(folder, "echo credentials not found in native keychain; exit 1")
    config(folder, **content)
    found = dockerlogin.keychain("quay.io")
    assert (found.entries, found.problems) == ((), ())


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"auths": 3}', '{"auths": {"quay.io": {"auth": "%"}}}']
)
def test_a_file_that_cannot_be_read_is_a_problem_in_words(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    found = dockerlogin.keychain("quay.io")
    assert (found.entries, len(found.problems)) == ((), 1)
