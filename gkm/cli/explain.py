"""``gkm explain CACHE``: would the framework find its kernels, and if not, what differs.

Run where the workload runs, it compares the cache with the Python and the environment there; with
``--pod`` it compares with a pod's manifest and what the registry says of its image.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from gkm.api.errors import Rejected, Retry
from gkm.arguments import Parser, filled
from gkm.cli import gather
from gkm.cli.here import here
from gkm.cli.program import Said, note, parser, run
from gkm.cli.reading import registry
from gkm.cli.source import DIRECTORY, find
from gkm.cli.table import plain
from gkm.core.hit import Factor, PodFacts, Word, compare, verdict
from gkm.core.image import DEFAULT_MOUNT_PATH, Reference
from gkm.core.podfacts import (
    container_of,
    facts,
    pod_of,
    python_abi,
    volume_of,
    wanted_architecture,
    within,
)
from gkm.oci.manifest import is_index, load

_WORDS: Final = {
    Word.SAME: "hit: nothing that decides differs",
    Word.UNKNOWN: "a hit is possible: not everything that decides is known",
    Word.DIFFERS: "no hit",
}
_MANIFESTS: Final = (".yaml", ".yml", ".json")
_EXITS: Final = {Word.SAME: 0, Word.DIFFERS: 1, Word.UNKNOWN: 3}


def arguments() -> Parser:
    """Make the parser."""
    made = parser(
        "explain",
        "Say what keeps a framework from finding its cache. Without --pod, the cache is compared"
        " with the Python and the environment that the command itself runs in.",
        "A pod is best given as the cluster has it:"
        " kubectl get pod NAME -o json | gkm explain CACHE --pod -",
    )
    made.add_argument(
        "cache",
        type=filled,
        metavar="CACHE",
        help="a directory, an image, or the manifest of a GKMCache or ClusterGKMCache (.yaml)",
    )
    made.add_argument(
        "--mount", type=filled, metavar="PATH", help="where the workload has the cache"
    )
    made.add_argument(
        "--mount-path",
        metavar="PATH",
        default=DEFAULT_MOUNT_PATH,
        help="the Cache's spec.mountPath, for an image (default: %(default)s)",
    )
    workload = made.add_mutually_exclusive_group()
    workload.add_argument(
        "--pod", type=filled, metavar="FILE", help="a manifest, YAML or JSON; - for stdin"
    )
    workload.add_argument(
        "--image", type=filled, metavar="REF", help="the workload's image instead of a pod"
    )
    made.add_argument("--args", default="", metavar="TEXT", help="with --image: its arguments")
    made.add_argument("--container", default="", help="of the pod (default: which mounts it)")
    made.add_argument("--claim", default="", help="the cache's claim (default: the only one)")
    made.add_argument(
        "--with",
        action="append",
        default=[],
        dest="versions",
        metavar="PACKAGE=VERSION",
        help="what the workload has: triton, torch, vllm, python",
    )
    made.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="what is set there"
    )
    made.add_argument("-o", "--output", choices=("table", "json"), default="table")
    made.add_argument("--plain-http", action="store_true", help="for CACHE's registry: without TLS")
    return made


def main(given: Sequence[str]) -> int:
    """Run ``gkm explain``; returns the exit code."""
    options = arguments().parse_args(given)
    return run(lambda: _said(_explained(options), options.output))


def _said(found: Sequence[Factor], output: str) -> Said:
    text = _json(found) if output == "json" else _text(found)
    return Said(text, _EXITS[verdict(found)])


def _explained(options: Namespace) -> list[Factor]:
    name, mounted = _image(options.cache, options.mount_path)
    source = find(name, plain_http=options.plain_http, quiet=options.quiet)
    if source.kind == DIRECTORY:
        cache, mounted = gather.from_directory(Path(name)), str(Path(name).absolute())
    else:
        cache = gather.from_image(source, mounted)
    return compare(cache, _told(_workload(options, mounted), options))


def _workload(options: Namespace, mounted: str) -> PodFacts:
    if options.pod is not None:
        return _pod(options)
    if options.image is None:
        return here([mounted])
    asked = PodFacts(mounts=(mounted,), arguments=(options.args,))
    return _within(asked, options.image, "", quiet=options.quiet)


def _pod(options: Namespace) -> PodFacts:
    """Return what the manifest says, and the registry of the container's image."""
    pod = pod_of(_manifest(options.pod))
    volume = volume_of(pod, options.claim)
    container = container_of(pod, volume, options.container)
    found = facts(pod, container, volume)
    image, arch = str(container.get("image") or ""), wanted_architecture(pod)
    more = _within(found, image, arch, quiet=options.quiet)
    return replace(more, whole=False) if container.get("envFrom") else more


def _within(found: PodFacts, image: str, architecture: str, *, quiet: bool) -> PodFacts:
    """Add what the registry says of the workload's image; a note if it says nothing."""
    try:
        where = Reference.parse(image)
        client = registry(where, plain_http=False, quiet=quiet)
        config = client.image(image, architecture).config
        sent = load(client.manifest(where, where.digest).raw, "manifest")
    except (Retry, Rejected) as error:
        note(f"what its image sets is not known: {error}", quiet=quiet)
        return found
    variables = dict(one.split("=", 1) for one in config.environment if "=" in one)
    several = is_index(sent) and not architecture
    return within(found, variables, "" if several else config.architecture)


def _image(name: str, mount_path: str) -> tuple[str, str]:
    """Return an image and its mount path: what was given, or those of a Cache's manifest."""
    if Path(name).suffix not in _MANIFESTS or not Path(name).is_file():
        return name, mount_path
    cache = _manifest(name)
    spec, status = (_part(cache, part) for part in ("spec", "status"))
    if not isinstance(spec.get("image"), str):
        raise Rejected("NotACache", f"{name} is no manifest of a Cache: it has no spec.image")
    image = spec["image"]
    digest = status.get("resolvedDigest") if status.get("resolvedImage") == image else None
    pinned = Reference.parse(image).pinned(str(digest)) if digest else image
    return pinned, str(spec.get("mountPath") or mount_path)


def _part(document: Any, name: str) -> dict[str, Any]:
    part = document.get(name) if isinstance(document, dict) else None
    return part if isinstance(part, dict) else {}


def _manifest(name: str) -> Any:
    import yaml  # noqa: PLC0415 - slow to import

    text = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    try:
        return yaml.safe_load(text.decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Rejected("BadManifest", f"{name} is no YAML: {error}") from None


def _told(pod: PodFacts, options: Namespace) -> PodFacts:
    """Add what the command line says; it knows better. Raises Rejected(BadArgument)."""
    versions, environment = _pairs(options.versions), _pairs(options.env)
    python = python_abi(versions.pop("python", ""))
    return replace(
        pod,
        versions={**pod.versions, **versions},
        environment={**pod.environment, **environment},
        python=python or pod.python,
        mounts=(options.mount,) if options.mount else pod.mounts,
    )


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    if bad := [text for text in texts if "=" not in text]:
        raise Rejected("BadArgument", f"'{bad[0]}': expected NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _text(found: Sequence[Factor]) -> str:
    lines = [_WORDS[verdict(found)]]
    for factor in found:
        told = f"{factor.name}: cache {factor.cache or '-'}, pod {factor.pod or '-'}"
        why = f" ({factor.why})" if factor.why else ""
        lines.append(f"  {factor.word:<8} {plain(told + why)}")
    return "\n".join(lines)


def _json(found: Sequence[Factor]) -> str:
    return json.dumps({"verdict": verdict(found), "factors": list(map(asdict, found))}, indent=2)
