"""Wrong uses of every command: one line that names the thing, the right exit code, no traceback."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.images import Answer, Image, cache_files, scripted
from tests.unit.cli import WITHOUT_RIGHTS, Done, fill, gkm


class Row(NamedTuple):
    """What is typed (after ``gkm``), the exit code, what the line names; and the environment.

    An empty word is typed as a shell has it: ''.
    """

    typed: str
    code: int
    names: str
    env: str = ""


TABLE = [
    # gkm itself
    Row("nonsense", 2, "'nonsense'"),
    Row("help nonsense", 2, "'nonsense'"),
    Row("--nonsense", 2, "'--nonsense'"),
    # pack
    Row("pack", 2, "DIR"),
    Row("pack {cache}", 2, "--output"),
    Row("pack {cache} -o {new} --push {host}/k/c:v1", 2, "--push"),
    Row("pack {cache} -o {new} --format zip", 2, "zip"),
    Row("pack {cache} -o {new} --compression lzma", 2, "lzma"),
    Row("pack {cache} -o {new} --arch mips", 2, "mips"),
    Row("pack {cache} -o {new} --format docker-archive --compression zstd", 2, "--compression"),
    Row("pack {cache} -o {new} --plain-http", 2, "--plain-http"),
    Row("pack {cache} --push {host}/k/c:v1 --format docker-archive", 2, "--format"),
    Row("pack {cache} --push {host}/K:v1", 10, "K"),
    Row("pack {cache} --push {host}/k/c@{digest}", 10, "digest"),
    Row("pack {cache} -o {new} --ref UPPER/x", 10, "UPPER/x"),
    Row("pack {gone} -o {new}", 11, "{gone}"),
    Row("pack {file} -o {new}", 11, "{file}"),
    Row("pack {empty} -o {new}", 10, "{empty}"),
    Row("pack {secret} -o {new}", 11, "{secret}"),
    Row("pack {fifo} -o {new}", 10, "pipe"),
    Row("pack {socket} -o {new}", 10, "sock"),
    Row("pack {device} -o {new}", 10, "null"),
    Row("pack {dangling} -o {new}", 10, "dangles"),
    Row("pack {looping} -o {new}", 10, "loop"),
    Row("pack {cache} -o {layout}", 10, "{layout}"),
    Row("pack {cache} -o {file} --format docker-archive", 10, "{file}"),
    Row("pack {cache} -o {gone}/image", 10, "{gone}"),
    Row("pack {cache} -o {locked}/image", 11, "{locked}"),
    Row("pack {cache} -o {new}", 10, "SOURCE_DATE_EPOCH", "SOURCE_DATE_EPOCH=yesterday"),
    Row("pack {cache} -o {new}", 10, "SOURCE_DATE_EPOCH", "SOURCE_DATE_EPOCH=-1"),
    Row("pack {cache} -o {new}", 10, "99999999999", "SOURCE_DATE_EPOCH=99999999999"),
    Row("pack {badname} -o {new}", 10, "back"),
    Row("pack {cache} -o ''", 2, "--output: it is empty"),
    Row("pack '' -o {new}", 2, "DIR: it is empty"),
    Row("pack {cache} --push ''", 2, "--push: it is empty"),
    Row("pack {cache} -o {new} --ref ''", 2, "--ref: it is empty"),
    # push
    Row("push {layout}", 2, "REF"),
    Row("push {layout} ''", 2, "REF: it is empty"),
    Row("push '' {host}/k/c:v1", 2, "LAYOUT: it is empty"),
    Row("push {layout} {host}/K:v1", 10, "K"),
    Row("push {layout} {host}/k/c@{digest}", 10, "digest"),
    Row("push {gone} {host}/k/c:v1", 10, "{gone}"),
    Row("push {cache} {host}/k/c:v1", 10, "{cache}"),
    Row("push {broken} {host}/k/c:v1", 10, "{broken}"),
    Row("push {layout} {nobody}/k/c:v1 --plain-http", 11, "{nobody}"),
    Row("push {layout} {host}/k/c:v1", 11, "TLS"),
    Row("push {layout} {host}/private/c:v1 --plain-http", 11, "docker login {host}"),
    Row("push {layout} {host}/forbidden/c:v1 --plain-http", 11, "403"),
    Row("push {layout} {host}/unknown/c:v1 --plain-http", 10, "404"),
    Row("push {layout} {host}/broken/c:v1 --plain-http", 11, "503"),
    # pull
    Row("pull {host}/k/c:v1", 2, "--output"),
    Row("pull {host}/k/c:v1 -o ''", 2, "--output: it is empty"),
    Row("pull '' -o {new}", 2, "REF: it is empty"),
    Row("pull {host}/k/c:v1 -o {file} --plain-http", 10, "{file}"),
    Row("pull {host}/k/c:v1 -o {cache} --plain-http", 10, "{cache}"),
    Row("pull {host}/K:v1 -o {new}", 10, "K"),
    Row("pull {host}/k/c:gone -o {new} --plain-http", 11, "k/c:gone"),
    Row("pull {host}/private/c:v1 -o {new} --plain-http", 11, "docker login {host}"),
    Row("pull {host}/k/wrong:v1 -o {new} --plain-http", 11, "other bytes"),
    Row("pull {nobody}/k/c:v1 -o {new} --plain-http", 11, "{nobody}"),
    # inspect
    Row("inspect", 2, "SOURCE"),
    Row("inspect ''", 2, "SOURCE: it is empty"),
    Row("inspect {layout} -o xml", 2, "xml"),
    Row("inspect {gone}", 10, "{gone}"),
    Row("inspect nothing-here", 10, "nothing-here"),
    Row("inspect {empty}", 10, "{empty}"),
    Row("inspect {file}", 10, "archive"),
    Row("inspect {broken}", 10, "{broken}"),
    Row("inspect {host}/K:v1", 10, "K"),
    Row("inspect {host}/private/c:v1 --plain-http", 11, "docker login {host}"),
    Row("inspect {host}/k/c:v1", 10, "docker-credential-gone", "DOCKER_CONFIG={logins}"),
    Row("inspect {host}/k/c:v1", 11, "{host}"),
    # check
    Row("check", 2, "SOURCE"),
    Row("check '' --gpu cuda:90", 2, "SOURCE: it is empty"),
    Row("check {layout} --node ''", 2, "--node: it is empty"),
    Row("check {layout} --gpu", 2, "--gpu"),
    Row("check {layout} --gpu banana", 10, "banana"),
    Row("check {layout} --gpu cuda:gfx942", 10, "cuda:gfx942"),
    Row("check {layout} --gpu vulkan:1", 10, "vulkan:1"),
    Row("check {layout} --gpu cuda:90:16", 10, "cuda:90:16"),
    Row("check {layout} --gpu cuda:90 --node n1", 2, "--node"),
    Row("check {layout} --node n1", 10, "kubectl", "PATH=/nonexistent"),
    Row("check {layout} --node n1", 11, "kubectl", "KUBECONFIG=/nonexistent"),
    Row("check {host}/k/bare:v1 --gpu cuda:90 --plain-http", 10, "k/bare:v1"),
    # relocate
    Row("relocate {cache}", 2, "--to"),
    Row("relocate {cache} --to here", 2, "here"),
    Row("relocate {gone} --to /x", 11, "{gone}"),
    Row("relocate {empty} --to /x", 10, "{empty}"),
    Row("relocate {volume} --to /x", 10, "{volume} is a volume"),
    # gpus, completion
    Row("gpus --cache x", 2, "--cache"),
    Row("completion", 2, "shell"),
    Row("completion tcsh", 2, "tcsh"),
]  # fmt: skip


class Place:
    """What the table names, in a folder and behind a port."""

    def __init__(self, root: Path, host: str) -> None:
        self.names = {"host": host, "nobody": "127.0.0.1:1", "digest": f"sha256:{'0' * 64}"}
        for name in ("cache", "empty", "secret", "fifo", "socket", "device", "dangling", "looping"):
            self.names[name] = str(root / name)
        for name in ("layout", "broken", "file", "gone", "new", "locked", "volume", "badname"):
            self.names[name] = str(root / name)
        self.names["logins"] = str(root / "docker")
        for name in ("cache", "fifo", "socket", "device", "dangling", "looping", "volume"):
            fill(root / name)
        fill(root / "badname")
        (root / "badname" / "KEY" / "back\\slash.ptx").touch()
        for name in ("empty", "secret", "locked", "docker"):
            (root / name).mkdir()
        os.mkfifo(root / "fifo" / "KEY" / "pipe")
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(root / "socket" / "KEY" / "sock"))
        (root / "device" / "KEY" / "null").symlink_to("/dev/null")
        (root / "dangling" / "KEY" / "dangles").symlink_to("nowhere")
        (root / "looping" / "KEY" / "loop").symlink_to("loop")
        (root / "volume" / ".gkm").mkdir()
        (root / "file").write_text("mine")
        (root / "docker" / "config.json").write_text(json.dumps({"credsStore": "gone"}))
        assert gkm("pack", root / "cache", "-o", root / "layout").returncode == 0
        shutil.copytree(root / "layout", root / "broken")
        shutil.rmtree(root / "broken" / "blobs")
        (root / "secret").chmod(0)
        (root / "locked").chmod(0o500)
        self.root = root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with scripted() as script:
        image = Image([cache_files({"KEY/a": b"1"})])
        script.add(image)
        script.add(replace(image, labels={"some": "label"}), repository="k/bare")
        script.add(image, repository="k/wrong")
        for path in [path for path in script.answers if path.startswith("/v2/k/wrong/blobs/")]:
            answer = script.answers[path]
            if answer.body[:2] == b"\x1f\x8b":
                script.answers[path] = Answer(answer.body[:-1] + b"x")
        challenge = {"WWW-Authenticate": 'Basic realm="test"'}
        script.answers["/v2/private/c/manifests/v1"] = Answer(needs="x", headers=challenge)
        for name, status in (("private", 401), ("forbidden", 403), ("unknown", 404)):
            script.writes[f"/v2/{name}/c/"] = Answer(status=status, headers=challenge)
        script.writes["/v2/broken/c/"] = Answer(status=503)
        yield Place(tmp_path_factory.mktemp("wrong"), script.host)


def run(row: Row, place: Place) -> Done:
    typed = [word.strip("'") for word in row.typed.format_map(place.names).split()]
    name, _, text = row.env.format_map(place.names).partition("=")
    modes = any(word in row.typed for word in ("{secret}", "{locked}"))
    if modes and os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may read and write everywhere, and there is no setpriv")
    before = WITHOUT_RIGHTS if modes and os.geteuid() == 0 else ()
    return gkm(*typed, env={name: text} if name else None, before=before)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.typed} {row.env}".strip())
def test_one_line_says_what_is_wrong(row: Row, place: Place) -> None:
    before = sorted(place.root.iterdir())
    done = run(row, place)
    assert done.returncode == row.code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert row.names.format_map(place.names) in done.stderr
    assert done.stderr.startswith("gkm")
    assert done.stdout == ""
    assert sorted(place.root.iterdir()) == before
