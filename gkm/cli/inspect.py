"""``gkm inspect SOURCE``: what an image or a cache directory holds, and how far that is certain."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gkm.arguments import Parser, filled
from gkm.cli.layout import to_json
from gkm.cli.program import parser, run
from gkm.cli.source import Source, find, read_kernels
from gkm.cli.table import key_values, size
from gkm.core.gputargets import Target, Targets, from_labels
from gkm.core.image import declared_size, framework, label

_TITLE: Final = "org.opencontainers.image.title"
_SHOWN: Final = "io.kserve.km/"


def arguments() -> Parser:
    """Make the parser."""
    made = parser(
        "inspect",
        "Show what an image or a cache directory holds.",
        "Of an image only the labels are read, unless --kernels wants its layer.",
    )
    made.add_argument(
        "source",
        type=filled,
        metavar="SOURCE",
        help="REF in a registry, an OCI layout, an archive, a directory",
    )
    made.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    made.add_argument("--kernels", action="store_true", help="list the kernels: reads the layer")
    made.add_argument("--arch", choices=("amd64", "arm64"), help="of an index (default: this one)")
    made.add_argument("--plain-http", action="store_true", help="speak to the registry without TLS")
    return made


def main(given: Sequence[str]) -> int:
    """Run ``gkm inspect``; returns the exit code."""
    options = arguments().parse_args(given)

    def work() -> str:
        source = find(
            options.source,
            plain_http=options.plain_http,
            architecture=options.arch or "",
            quiet=options.quiet,
        )
        kernels = read_kernels(source) if options.kernels else source.kernels
        return show(source, kernels, options.output)

    return run(work)


def show(source: Source, kernels: Mapping[str, Any] | None, output: str) -> str:
    """Return what is printed; ``kernels`` is the cache's own manifest, None if it was not read."""
    told = document(source, kernels)
    if output == "json":
        return json.dumps(told, indent=2)
    if output == "yaml":
        import yaml  # noqa: PLC0415 - slow to import

        # ASCII, as the JSON: some characters of Unicode move a terminal's text.
        return str(yaml.safe_dump(told, sort_keys=False)).rstrip()
    return _table(told, from_labels(source.config.labels), kernels)


def document(source: Source, kernels: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what ``-o json`` prints; sizes in bytes, what is not known is null."""
    labels = source.config.labels
    name = framework(labels)
    targets = from_labels(labels)
    return {
        "kind": source.kind,
        "name": source.name,
        "digest": source.digest or None,
        "framework": name,
        "entries": _count(labels.get(label(name or "", "entry-count"), "")),
        "targets": [_spelled(one) for one in targets.known],
        "doubt": targets.doubt or None,
        "packedBytes": sum(one.size for one in source.layers) or None,
        "unpackedBytes": declared_size(labels),
        "layers": [to_json(one) for one in source.layers],
        "created": source.config.created or None,
        "architecture": source.config.architecture or None,
        "title": labels.get(_TITLE),
        "labels": dict(sorted(labels.items())),
        **({"kernels": kernels} if kernels is not None else {}),
    }


def _table(told: dict[str, Any], targets: Targets, kernels: Mapping[str, Any] | None) -> str:
    layers = told["layers"]
    name = told["framework"] or "none: no kernel cache"
    rows = [
        ("Name", f"{told['name']} ({told['kind']})"),
        ("Digest", told["digest"] or ""),
        ("Title", told["title"] or ""),
        ("Framework", name),
        ("Format", told["labels"].get(label(told["framework"] or "", "format"), "")),
        ("Entries", "" if told["entries"] is None else str(told["entries"])),
        *(("Target", _target(one)) for one in targets.known),
        ("Doubtful", targets.doubt if told["framework"] else ""),
        ("Packed", size(told["packedBytes"])),
        ("Unpacked", size(told["unpackedBytes"])),
        *(("Layer", f"{one['digest']} {one['mediaType']}") for one in layers),
        ("Created", told["created"] or ""),
        ("Architecture", told["architecture"] or ""),
        *((k, v) for k, v in told["labels"].items() if k.startswith(_SHOWN)),
        *(("Kernels", line) for line in _kernels(kernels)),
    ]
    return key_values([row for row in rows if row[1]])


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text, re.ASCII) else None


def _spelled(one: Target) -> dict[str, Any]:
    return {
        "backend": one.backend,
        "arch": one.arch,
        "warpSize": one.warp_size or None,
        "cudaVersion": one.cuda_version or None,
    }


def _target(one: Target) -> str:
    parts = [
        f"{one.backend} {one.arch or 'of unknown architecture'}",
        f"warp size {one.warp_size}" if one.warp_size else "warp size not known",
        f"CUDA {one.cuda_version}" if one.cuda_version else "",
    ]
    return ", ".join(filter(None, parts))


def _kernels(manifest: Mapping[str, Any] | None) -> list[str]:
    """Count the kernels of a manifest by what they were compiled for, or by their format."""
    every = [
        one for entries in (manifest or {}).values() if isinstance(entries, list) for one in entries
    ]
    counts = Counter(_kind(one) for one in every if isinstance(one, dict))
    return [f"{count} {kind}" for kind, count in sorted(counts.items())]


def _kind(entry: Mapping[str, Any]) -> str:
    known = [str(entry[key]) for key in ("cacheFormat", "backend", "arch") if entry.get(key)]
    warps = f", {entry['num_warps']} warps" if entry.get("num_warps") else ""
    return f"for {' '.join(known) or 'nothing that they name'}{warps}"
