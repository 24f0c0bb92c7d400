"""`python -m tests.cluster`: what `make` and people type."""

import argparse
import shutil
import sys
from pathlib import Path

from tests.cluster import cluster, components, engine, images
from tests.cluster.report import ClusterError


def main() -> int:
    """Run one command; a problem is one message, not a traceback."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: `down` removes what was started", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True)

    up = commands.add_parser("up", help="start a cluster, or find it running")
    up.add_argument("--name", default="gkm")
    up.add_argument("--nodes", type=int, default=2)
    up.add_argument("--kubeconfig", type=Path, help="also write the kubeconfig here")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="end a cluster and remove every trace of it")
    down.add_argument("--name", default="gkm")
    down.set_defaults(run=lambda arguments: engine.down(arguments.name))

    status = commands.add_parser("status", help="describe one cluster, or all")
    status.add_argument("--name")
    status.set_defaults(run=_status)

    load = commands.add_parser("load", help="give every node an image")
    load.add_argument("image", help="a tag that was built here, or a docker or OCI archive file")
    load.add_argument("--name", default="gkm")
    load.set_defaults(run=lambda arguments: engine.find(arguments.name).load(arguments.image))

    build = commands.add_parser("build", help="build the cluster's programs, if need be")
    build.set_defaults(run=lambda _: components.build_all(print))

    image = commands.add_parser("image", help="build GKM's own image, if need be; print its tag")
    image.set_defaults(run=lambda _: print(images.gkm_image(_to_stderr)))
    return parser


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _up(arguments: argparse.Namespace) -> None:
    started = engine.up(arguments.name, arguments.nodes)
    if arguments.kubeconfig:
        shutil.copy(started.kubeconfig, arguments.kubeconfig)
    print(started.status())


def _status(arguments: argparse.Namespace) -> None:
    for name in [arguments.name] if arguments.name else cluster.names():
        print(engine.find(name).status())


if __name__ == "__main__":
    sys.exit(main())
