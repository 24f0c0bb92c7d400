"""What a shell and a person expect of a command line, whatever it does."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gkm import programs
from gkm.arguments import EXIT_CODES
from tests.unit.cli import INTERRUPTIBLE, environment, fill, gkm

NAMES = [one.name for one in (*programs.PEOPLE, *programs.CLUSTER)]
HEAVY = {"rich", "oras", "requests", "yaml", "shtab", "pydantic", "aiohttp", "kopf", "asyncio"}
README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",), ("help",)])
def test_help_lists_every_command_by_who_needs_it(arguments: tuple[str, ...]) -> None:
    done = gkm(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    people, cluster = done.stdout.split("For the programs of a cluster:")
    assert re.findall(r"^  (\w+) ", people, re.MULTILINE) == [one.name for one in programs.PEOPLE]
    assert set(re.findall(r"^  (\w+) ", cluster, re.MULTILINE)) == {
        one.name for one in programs.CLUSTER
    }
    assert max(map(len, done.stdout.splitlines())) <= 90


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name: str) -> None:
    done = gkm("help", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: gkm {name}" in done.stdout


def test_exit_codes_are_documented() -> None:
    told = gkm("help", "exit-codes").stdout
    assert all(str(code) in told for code, _ in EXIT_CODES)
    assert {code for code, _ in EXIT_CODES} == {0, 1, 2, 3, 10, 11, 130}


def test_version() -> None:
    for option in ("--version", "-V"):
        assert re.fullmatch(r"gkm \d+\.\d+\.\d+\n", gkm(option).stdout)


def test_readme_and_help_name_the_same_commands_and_options_mcv_40() -> None:
    """MCV's documents had flags that its program did not know."""
    assert set(re.findall(r"gkm (\w+)", " ".join(re.findall(r"`gkm [^`]*`", README)))) <= {
        *NAMES,
        "help",
    }
    for line in re.findall(r"^ {4}gkm (.*?)(?: *#.*)?$", README, re.MULTILINE):
        name, *rest = line.split()
        program = programs.find(name)
        assert program, line
        known = {text for one in program.arguments()._actions for text in one.option_strings}
        assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= known, line
    section = README.partition("## The command line")[2].partition("\n## ")[0]
    assert all(f"gkm {one.name}" in section for one in programs.PEOPLE)


@pytest.mark.parametrize("arguments", [["--help"], ["help", "pack"], ["pack", "--help"], ["gpus"]])
def test_a_reader_that_left_is_no_failure_of_ours(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "gkm", *arguments],
        stdout=write,
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) in ((141, ""), (0, ""))


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    """The image of a cluster's programs lacks what only people need."""
    (tmp_path / "deflate.py").write_text("raise ModuleNotFoundError(name='deflate')")
    cache = fill(tmp_path / "cache")
    done = subprocess.run(
        [sys.executable, "-m", "gkm", "pack", cache, "-o", tmp_path / "image"],
        env={**environment(), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 10
    assert done.stderr.count("\n") == 1
    assert "'pack' needs deflate, which is not installed: pip install 'gkm[cli]'" in done.stderr


def test_ctrl_c_is_no_traceback(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # an archive that nobody writes: it waits
    with (
        subprocess.Popen(
            [*INTERRUPTIBLE, sys.executable, "-m", "gkm", "inspect", str(tmp_path / "pipe")],
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        ) as process,
        (tmp_path / "pipe").open("wb"),
    ):  # opens once it is there
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")


def test_quiet_and_no_terminal_mean_plain_lines(tmp_path: Path) -> None:
    cache = fill(tmp_path / "cache")
    for options in ([], ["--quiet"], ["-q"]):
        for env in ({}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}):
            done = gkm("inspect", cache, *options, env=env)
            assert (done.returncode, done.stderr, "\x1b" in done.stdout) == (0, "", False)


BASH = """
source "$1"
COMP_WORDS=(gkm {words}) COMP_CWORD={at} COMP_LINE="gkm {words}" COMP_POINT=100
_init_completion() {{ return 1; }}
compopt() {{ :; }}
_shtab_gkm
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("pu", {"push", "pull"}),
        ("pack --comp", {"--compression"}),
        ("pack --compression z", {"zstd"}),
        ("check --g", {"--gpu"}),
        ("help exit", {"exit-codes"}),
        ("extract --mount", {"--mount-path"}),
    ],
)
def test_bash_completes(tmp_path: Path, words: str, offered: set[str]) -> None:
    file = tmp_path / "completion"
    file.write_text(gkm("completion", "bash").stdout)
    script = BASH.format(words=words, at=len(words.split()))
    done = subprocess.run(
        ["bash", "-c", script, "bash", file], capture_output=True, text=True, check=False
    )
    assert {line.strip() for line in done.stdout.splitlines()} == offered, done.stderr


def test_bash_completes_files(tmp_path: Path) -> None:
    (tmp_path / "my-cache").mkdir()
    file = tmp_path / "completion"
    file.write_text(gkm("completion", "bash").stdout)
    script = f"cd {tmp_path}; " + BASH.format(words="pack my-", at=2)
    done = subprocess.run(
        ["bash", "-c", script, "bash", file], capture_output=True, text=True, check=False
    )
    assert "my-cache" in done.stdout, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_understands_its_completion(tmp_path: Path, shell: str) -> None:
    done = gkm("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in NAMES)
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    (tmp_path / "completion").write_text(done.stdout)
    subprocess.run([shell, "-n", str(tmp_path / "completion")], check=True)


def test_little_is_imported_and_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = tmp_path / "image"
    assert gkm("pack", fill(tmp_path / "cache"), "-o", layout).returncode == 0
    for arguments in (["--help"], ["inspect", str(layout)], ["gpus"], ["pack", "--help"]):
        code = (
            f"import sys; sys.argv = ['gkm', *{arguments!r}]\n"
            "from gkm.__main__ import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "print(*sys.modules, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment(),
            check=True,
        )
        loaded = set(done.stderr.split())
        assert not HEAVY & loaded, HEAVY & loaded
        used = min(_seconds(arguments) for _ in range(3))
        with capsys.disabled():
            print(f"\ngkm {arguments[0]}: {used * 1000:.0f} ms of CPU, {len(loaded)} modules")


def _seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert gkm(*arguments).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
