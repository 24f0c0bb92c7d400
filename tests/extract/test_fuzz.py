"""F138: half a minute of what `make fuzz-extract` does for as long as one likes."""

import subprocess
import sys

from tests.stage import ROOT

SECONDS = 30


def test_no_mutant_brings_out_a_fault() -> None:
    command = [sys.executable, "-m", "tests.extract.fuzz", "--minutes", str(SECONDS / 60)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
