"""What watches the runs sees what it is there for."""

import os
from pathlib import Path

import pytest

from tests.extract.extraction import foreign, outside

VOLUME, LOG = Path("/in/volume"), Path("/termination-log")
FINE = [
    '1 openat(5</in/volume>, "a", O_WRONLY|O_CREAT|O_EXCL, 0444) = 6</in/volume/a>',
    '1 openat(5</in/volume>, "a", O_WRONLY|O_CREAT|O_EXCL, 0444 <unfinished ...>',
    '1 openat(AT_FDCWD</in>, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 6</etc/passwd>',
    '1 mkdirat(7</in/volume/d>, "e", 0755) = 0',
    '1 renameat(7</in/volume/.gkm>, "new", 7</in/volume/.gkm>, "complete") = 0',
    "1 fchmod(7</in/volume/d>, 0555) = 0",
    '1 openat(AT_FDCWD</in>, "/termination-log", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</x>',
    "1 +++ exited with 0 +++",
]
WRONG = [
    '1 openat(AT_FDCWD</in>, "/etc/passwd", O_WRONLY|O_CREAT, 0644) = 6</etc/passwd>',
    '1 openat(AT_FDCWD</in>, "new", O_RDWR|O_CREAT <unfinished ...>',
    '1 openat(5</in/volume>, "../x", O_WRONLY|O_CREAT, 0444) = 6</in/x>',
    '1 openat(5</in/volume>, "..", O_WRONLY) = -1 EISDIR',
    '1 openat(5</in/volume2>, "a", O_WRONLY) = 6</in/volume2/a>',
    '1 open("/etc/passwd", O_WRONLY) = 6</etc/passwd>',
    '1 unlink("/in/x") = 0',
    '1 renameat(7</in/volume>, "a", 8</in>, "a") = 0',
    '1 symlinkat("/etc", 7</in/outside>, "a") = 0',
    '1 chmod("/in/x", 0777) = 0',
    "1 fchmod(7</in/outside>, 0777) = 0",
]


def test_what_stays_on_the_volume_is_fine() -> None:
    assert outside(FINE, VOLUME, LOG) == []


@pytest.mark.parametrize("line", WRONG)
def test_what_leaves_the_volume_is_seen(line: str) -> None:
    assert outside([*FINE, line], VOLUME, LOG) == [line]


def test_what_may_not_lie_on_a_volume_is_seen(tmp_path: Path) -> None:
    (tmp_path / "fine").write_text("")
    (tmp_path / "fine").chmod(0o444)
    assert foreign(tmp_path) == []
    (tmp_path / "link").symlink_to("fine")
    os.mkfifo(tmp_path / "pipe", 0o444)
    (tmp_path / "run").write_text("")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "folder").mkdir(mode=0o755)
    (tmp_path / "folder").chmod(0o777)
    (tmp_path / "one").write_text("")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    seen = {Path(line.split()[0]).name for line in foreign(tmp_path)}
    assert seen == {"link", "pipe", "run", "folder", "one", "two"}
