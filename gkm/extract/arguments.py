"""The arguments of ``gkm extract`` and ``gkm overlay``."""

from pathlib import Path
from typing import Final

from gkm.arguments import Parser

_TERMINATION_LOG: Final = Path("/dev/termination-log")


def extract_arguments() -> Parser:
    """Make the parser of ``gkm extract``."""
    parser = _parser("extract", "Unpack a cache image onto a volume, completely or not at all.")
    parser.add_argument("--empty", action="store_true", help="remove what GKM put on the volume")
    parser.add_argument(
        "--mount-path", metavar="PATH", help="where workloads will find DIR (default: where it is)"
    )
    parser.add_argument(
        "--at-most", type=int, metavar="BYTES", help="refuse a cache that is larger than this"
    )
    parser.add_argument("image", nargs="?", metavar="REF", help="repository:tag, or @sha256:...")
    parser.add_argument("volume", type=Path, metavar="DIR", help="the volume, or a new directory")
    return parser


def overlay_arguments() -> Parser:
    """Make the parser of ``gkm overlay``."""
    parser = _parser("overlay", "Make a writable layer of links over a complete cache.")
    parser.add_argument("--check", action="store_true", help="only see that SRC is complete")
    parser.add_argument("source", type=Path, metavar="SRC", help="where the volume is mounted")
    parser.add_argument(
        "target", type=Path, nargs="?", metavar="DST", help="an empty, writable directory"
    )
    return parser


def _parser(name: str, description: str) -> Parser:
    parser = Parser(prog=f"gkm {name}", description=description)
    parser.add_argument(
        "--termination-log",
        type=Path,
        default=_TERMINATION_LOG,
        help="where the outcome is written, if that exists (default: %(default)s)",
    )
    return parser
