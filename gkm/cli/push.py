"""``gkm push LAYOUT REF``: an OCI image layout goes to a registry."""

from collections.abc import Sequence

from gkm.arguments import Parser, filled, filled_path
from gkm.cli.program import parser, run


def arguments() -> Parser:
    """Make the parser."""
    made = parser(
        "push",
        "Push an OCI image layout to a registry, byte for byte.",
        "Logs in as `docker login` did, with its credential helpers. Prints the pinned reference.",
    )
    made.add_argument("layout", type=filled_path, metavar="LAYOUT", help="what gkm pack wrote")
    made.add_argument("reference", type=filled, metavar="REF", help="registry/repository:tag")
    made.add_argument("--plain-http", action="store_true", help="speak to it without TLS")
    return made


def main(given: Sequence[str]) -> int:
    """Run ``gkm push``; returns the exit code."""
    options = arguments().parse_args(given)

    def work() -> str:
        from gkm.cli.upload import push  # noqa: PLC0415 - slow to import

        plain, quiet = options.plain_http, options.quiet
        return push(options.layout, options.reference, plain_http=plain, quiet=quiet)

    return run(work)
