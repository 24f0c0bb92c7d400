"""``gkm check SOURCE``: whether frameworks will find a cache's kernels on these GPUs."""

import json
from collections.abc import Sequence
from typing import Any, Final

from gkm.api.errors import Rejected
from gkm.arguments import Parser, filled
from gkm.cli.clusternode import node_gpus
from gkm.cli.program import Said, parser, run
from gkm.cli.source import find
from gkm.cli.table import plain, table
from gkm.core.fit import NodeFit, Verdict, fit_node
from gkm.core.gpu import CUDA, HIP, Gpu, arch_name, backend_name, numbered, warp_size
from gkm.core.gputargets import from_labels
from gkm.core.image import framework
from gkm.gpus import Inventory, detect
from gkm.gpus.catalog import BY_NAME

_CODES: Final = {Verdict.FITS: 0, Verdict.UNFIT: 1, Verdict.UNKNOWN: 3}
_HEADER: Final = ("GPU", "TYPE", "VERDICT", "REASON")
_EXPECTED: Final = "expected cuda:90, hip:gfx942, hip:gfx1100:32 or a model such as H100"


def arguments() -> Parser:
    """Make the parser."""
    made = parser(
        "check",
        "Say whether a cache fits GPUs: those of this machine, unless others are named.",
        "Exits with 0 if it fits at least one GPU, 1 if it fits none, 3 if that is not known "
        "(the image, or the machine, does not say enough).",
    )
    made.add_argument(
        "source",
        type=filled,
        metavar="SOURCE",
        help="REF in a registry, an OCI layout, an archive, a directory",
    )
    which = made.add_mutually_exclusive_group()
    which.add_argument(
        "--gpu",
        action="append",
        metavar="GPU",
        help="BACKEND:ARCH[:WARP] (cuda:90, hip:gfx942) or a model (H100); may be given again",
    )
    which.add_argument(
        "--node",
        type=filled,
        metavar="NAME",
        help="the GPUs of a cluster's node; asks by kubectl",
    )
    made.add_argument("-o", "--output", choices=("table", "json"), default="table")
    made.add_argument("--plain-http", action="store_true", help="speak to the registry without TLS")
    return made


def main(given: Sequence[str]) -> int:
    """Run ``gkm check``; returns the exit code."""
    options = arguments().parse_args(given)

    def work() -> Said:
        named = numbered(gpu(one) for one in options.gpu or ())
        source = find(options.source, plain_http=options.plain_http, quiet=options.quiet)
        labels = source.config.labels
        if framework(labels) is None:
            raise Rejected("NotACacheImage", f"{source.name} lacks the labels of a kernel cache")
        if options.gpu:
            inventory = Inventory(named, ("--gpu",))
        else:
            inventory = node_gpus(options.node) if options.node else detect()
        fits = fit_node(from_labels(labels), inventory.gpus)
        return Said(_shown(fits, inventory, options.output), _CODES[verdict(fits, inventory)])

    return run(work)


def gpu(text: str) -> Gpu:
    """Read a GPU as ``--gpu`` names it; raises Rejected(BadGPU)."""
    model = BY_NAME.get(text.lower())
    if model:
        return Gpu(
            0, model.backend, model.arch, warp_size(model.backend, model.arch), model.product
        )
    backend, _, rest = text.partition(":")
    backend = backend_name(backend)
    raw, lanes = rest, ""
    head, colon, tail = rest.rpartition(":")
    if colon and tail in ("32", "64"):
        raw, lanes = head, tail
    arch = arch_name(backend, raw)
    if backend not in (CUDA, HIP) or not arch:
        raise Rejected("BadGPU", f"--gpu {text[:80]}: {_EXPECTED}")
    return Gpu(0, backend, arch, int(lanes) if lanes else warp_size(backend, arch), text)


def verdict(fits: NodeFit, inventory: Inventory) -> Verdict:
    """Return the verdict for all GPUs together; where one may have been missed, it is not No."""
    found = fits.verdict
    return Verdict.UNKNOWN if found is Verdict.UNFIT and not inventory.certain else found


def _shown(fits: NodeFit, inventory: Inventory, output: str) -> str:
    overall = verdict(fits, inventory)
    if output == "json":
        return json.dumps(_document(fits, inventory, overall), indent=2)
    rows = [(str(f.gpu.index), f.gpu.product, str(f.verdict), f.reason) for f in fits.gpus]
    lines = [table([_HEADER, *rows])] if rows else []
    notes = inventory.notes if not rows or not inventory.certain else ()
    lines += [f"  {plain(note)}" for note in notes]
    return "\n".join([*lines, plain(f"{overall}: the cache {fits.message}")])


def _document(fits: NodeFit, inventory: Inventory, overall: Verdict) -> dict[str, Any]:
    judged = [
        {
            "index": one.gpu.index,
            "type": one.gpu.product,
            "backend": one.gpu.backend,
            "arch": one.gpu.arch,
            "warpSize": one.gpu.warp_size,
            "verdict": one.verdict,
            "reason": one.reason,
        }
        for one in fits.gpus
    ]
    return {"verdict": overall, "gpus": judged, "how": inventory.how, "notes": inventory.notes}
