"""What one review costs in CPU time, for our webhook, kopf's, and a trivial one in Go.

``make bench-webhook``. CPU seconds of the server's process alone are counted, so a busy machine or
a slow client changes little.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import kopf

from gkm.api.names import CACHE
from gkm.core.jsonpatch import diff
from gkm.core.podlayer import Program
from tests.certificates import Certificate as Files
from tests.certificates import issue
from tests.reviews import review
from tests.webhooks import CLAIM_NAME, HOST, a_cache, a_picture, a_secret
from webhook.certificate import Certificate
from webhook.review import Review, Verdict
from webhook.server import Server

Json = dict[str, Any]
SERVERS = {
    "ours": "GKM's webhook",
    "least": "its server alone",
    "kopf": "kopf's server alone",
    "go": "a trivial one in Go",
}
"""Alone: only the names of the claims are changed, as in Go; the first does all that it does."""
CACHES = 5_000
_TICKS = os.sysconf("SC_CLK_TCK")


def body() -> bytes:
    """A review of about the size that an API server sends for a small pod: 4 KB."""
    asked = review()
    request = asked["request"]
    request["resource"] = {"group": "", "version": "v1", "resource": "pods"}
    request["userInfo"] = {"username": "system:serviceaccount:kube-system:daemon-set-controller"}
    fields: Json = {f"f:field-{n}": {".": {}, "f:value": {}} for n in range(60)}
    request["object"]["metadata"]["managedFields"] = [{"manager": "m", "fieldsV1": fields}]
    return json.dumps(asked).encode()


def renamed(volumes: list[Json], known: Mapping[str, str]) -> list[Json]:
    """The volumes with the claims' names looked up: the least that a webhook does."""
    return [
        volume | {"persistentVolumeClaim": claim | {"claimName": known[claim["claimName"]]}}
        for volume in volumes
        if (claim := volume["persistentVolumeClaim"])["claimName"] in known
    ]


def names() -> dict[str, str]:
    known = {"shared": "shared", "local": CLAIM_NAME}
    return known | {f"cache-{number}": f"claim-{number}" for number in range(CACHES)}


async def least(folder: Path) -> None:
    known = names()

    def decide(review: Review, *_: object) -> Verdict:
        spec = review.pod["spec"]
        new = {"spec": spec | {"volumes": renamed(spec["volumes"], known)}}
        return Verdict(diff({"spec": spec}, new))

    with mock.patch("webhook.server.decide", decide):
        await ours(folder)


async def ours(folder: Path) -> None:
    picture, certificate = a_picture(), Certificate()
    for number in range(CACHES):
        picture.observe(CACHE, "ADDED", a_cache(f"cache-{number}", "ReadOnlyMany"))
    files = Files("", folder / "tls.crt", folder / "tls.key")
    certificate.replace("Secret", [a_secret(files)], "1")
    server = Server(picture.known, Program("image", "Always"), lambda: True)
    print(await server.start(HOST, 0, certificate), flush=True)
    await asyncio.Event().wait()


async def kopfs(folder: Path) -> None:
    from kopf._cogs.structs.references import Insights, Resource
    from kopf._core.engines.admission import serve_admission_request
    from kopf._core.engines.indexing import OperatorIndexers
    from kopf._core.reactor.inventory import ResourceMemories

    registry = kopf.OperatorRegistry()
    known = names()

    @kopf.on.mutate("", "v1", "pods", id="mutate-pods", registry=registry)  # its path
    async def mutate(spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
        patch.spec["volumes"] = renamed(spec["volumes"], known)

    insights = Insights()
    insights.webhook_resources.add(Resource("", "v1", "pods", namespaced=True))
    answer = partial(
        serve_admission_request,
        settings=kopf.OperatorSettings(),
        memories=ResourceMemories(),
        memobase=kopf.Memo(),  # type: ignore[arg-type] # its protocol is for type checkers only
        registry=registry,
        insights=insights,
        indices=OperatorIndexers().indices,
    )
    server = kopf.WebhookServer(
        addr=HOST,
        host=HOST,
        cafile=folder / "ca.pem",
        certfile=folder / "tls.crt",
        pkeyfile=folder / "tls.key",
    )
    async for config in server(answer):
        print((config.get("url") or "").rpartition(":")[2].partition("/")[0], flush=True)


@contextmanager
def started(name: str, folder: Path) -> Iterator[tuple[int, int]]:
    """Run a server; gives its process's id and its port."""
    command = [sys.executable, "-m", "tests.bench.webhook", "--serve", name, str(folder)]
    if name == "go":
        command = [str(folder / "webhook"), "serve", str(folder)]
    environment = os.environ | {"GOMAXPROCS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def load(folder: Path, port: int, connections: int, seconds: float) -> int:
    """Send reviews for a while; returns how many were answered with a patch."""
    command = [
        str(folder / "webhook"),
        "load",
        str(folder),
        *map(str, (port, connections, seconds)),
    ]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def measure(connections: int, seconds: float, runs: int) -> dict[str, list[float]]:
    """Requests per CPU second of each server, run by run, side by side."""
    found: dict[str, list[float]] = {name: [] for name in SERVERS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        issue(folder, HOST)
        (folder / "review.json").write_bytes(body())
        source = Path(__file__).parent / "webhook_go"
        build = ["go", "build", "-o", str(folder / "webhook"), "."]
        subprocess.run(build, cwd=source, check=True)
        for _ in range(runs):
            for name in SERVERS:
                with started(name, folder) as (pid, port):
                    load(folder, port, connections, 0.5)
                    before = cpu_seconds(pid)
                    done = load(folder, port, connections, seconds)
                    found[name].append(done / (cpu_seconds(pid) - before))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=2, metavar=("SERVER", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if options.serve:
        serve = {"ours": ours, "least": least, "kopf": kopfs}[options.serve[0]]
        asyncio.run(serve(Path(options.serve[1])))
        return 0
    found = measure(options.connections, options.seconds, options.runs)
    middle = {name: statistics.median(rates) for name, rates in found.items()}
    print(f"{'':20} reviews/CPU s    least     most  us each  of Go")
    for name, rate in middle.items():
        spread = f"{min(found[name]):8.0f} {max(found[name]):8.0f}"
        ratio = rate / middle["go"]
        print(f"{SERVERS[name]:20} {rate:13.0f} {spread} {1e6 / rate:8.0f} {ratio:6.2f}")
    print(f"its server alone does {middle['least'] / middle['kopf']:.1f} times as many as kopf's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
