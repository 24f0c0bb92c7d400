"""`python -m tests.demo up|down`: what `make demo` and `make demo-down` run."""

import argparse
import shlex
import subprocess
import sys

from tests.cluster.report import ClusterError
from tests.demo import scenario
from tests.demo.workloads import DemoError


def main() -> int:
    """Run one command; a problem is one message that says where to look."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("command", choices=("up", "down"))
    command = {"up": scenario.up, "down": scenario.down}[parser.parse_args().command]
    try:
        return command()
    except (ClusterError, DemoError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip()[-2000:]
        print(f"error: {shlex.join(error.cmd)}: {said}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted: `make demo-down` removes what was started", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
