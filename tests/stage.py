"""What the demo and the end-to-end tests both need: GKM installed, a real cache in a registry.

Everything goes the way a user goes: `helm install`, `gkm pack`, `gkm push`, `kubectl apply`. Where
the cluster comes from is not known here.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import cache as kept
from tests.cluster import components, engine, images
from tests.cluster.cluster import Cluster
from tests.cluster.engine import AnyCluster
from tests.cluster.kubectl import kubectl
from tests.cluster.report import Log, step

Json = dict[str, Any]
ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
CHART = ROOT / "charts" / "gkm"
NAMESPACE = "gkm-system"
SHARED_FOLDER = "/kernel-caches-shared"
SIMULATED = "type=H100,driver=550.54.15,count=2"
"""The GPUs of every node of a test cluster, but where its annotation says otherwise."""


@dataclass(frozen=True)
class Stage:
    """A cluster, a registry that its pods reach, and the images that its nodes hold."""

    kubeconfig: Path
    registry: str
    gkm_image: str
    workload_image: str
    host_path: str = SHARED_FOLDER
    cluster: AnyCluster | None = None
    """Set where the cluster is our own."""
    proxies: Mapping[str, str] = field(default_factory=dict)
    """The same registry, behind proxies with a fault each: name to host:port (end-to-end tests)."""
    ca_bundle: str = ""
    """The certificate authority of a registry of our own, in PEM."""

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl as admin; raises ClusterError with what it said."""
        return kubectl(self.kubeconfig, *arguments, stdin=stdin)

    def example(self, name: str) -> str:
        """The manifests of a file below examples/, with the images that this cluster has."""
        text = (EXAMPLES / name).read_text()
        for placeholder, image in self.images().items():
            text = text.replace(placeholder, image)
        return text

    def images(self) -> dict[str, str]:
        """The image names of the examples, and what stands for them here."""
        return {
            "registry.example.com/triton-cache:v1": self.cache_reference("v1"),
            "registry.example.com/triton-workload:v1": self.workload_image,
            "registry.example.com/gkm:0.1.0": self.gkm_image,
        }

    def cache_reference(self, tag: str, proxy: str = "") -> str:
        """The example's cache in the registry, or as one of the proxies offers it."""
        return f"{self.proxies[proxy] if proxy else self.registry}/gkm/triton-cache:{tag}"


def our_own(name: str, nodes: int, log: Log) -> Stage:
    """Start a cluster of our own and give its nodes the images that we build meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(lambda: (images.gkm_image(log), workload_image(log)))
        cluster = engine.up(name, nodes, log)
        gkm, workload = built.result()
    made = Stage(cluster.kubeconfig, cluster.registry, gkm, workload, cluster=cluster)
    load_images(made)
    return made


def load_images(stage: Stage) -> None:
    """Give every node of a cluster of our own the images that it lacks."""
    for tag in (stage.gkm_image, stage.workload_image):
        _load(stage.cluster, tag, tag if tag == stage.gkm_image else str(_kept_archive(tag)))


def _load(cluster: AnyCluster | None, tag: str, source: str) -> None:
    """Give the nodes an image, unless all have it."""
    if cluster is None:
        return
    there = cluster.nodes if isinstance(cluster, Cluster) else ()
    if not there or any(tag not in node.images().split() for node in there):
        cluster.load(source)


def _kept_archive(tag: str) -> Path:
    """The archive of an image that is large and seldom changes: writing it takes 15 s."""

    name, _, key = tag.rpartition("/")[2].partition(":")

    def write(draft: Path) -> None:
        with images.archive_of(tag) as archive:
            archive.rename(draft / f"{name}.tar")

    return kept.entry("archives", key, write) / f"{name}.tar"


def set_apart(stage: Stage) -> None:
    """Give the last of three or more nodes other GPUs, and a label and taint that say so."""
    found = stage.kubectl("get", "nodes", "-o", "name").split()
    if len(found) > 2:
        last = found[-1].removeprefix("node/")
        gpus = "gkm.io/simulated-gpus=type=MI300X,driver=6.12.12,count=2"
        stage.kubectl("annotate", "--overwrite", "node", last, gpus)
        stage.kubectl("label", "--overwrite", "node", last, "example.com/gpus=amd")
        stage.kubectl("taint", "--overwrite", "node", last, "example.com/gpus=amd:NoSchedule")


def workload_image(log: Log) -> str:
    """Build the image of examples/workload: Triton and a few kernels."""
    folder = EXAMPLES / "workload"
    inputs = [folder / "compile.py", folder / "kernels.py"]
    return images.build("triton-workload", folder / "Containerfile", inputs, log=log)


def install(stage: Stage, log: Log, **more: Json) -> None:
    """Install the chart as a user does, and wait until the operator leads.

    ``more`` are values of the chart that take the place of ours.
    """
    repository, _, tag = stage.gkm_image.rpartition(":")
    values: Json = {
        "image": {"repository": repository, "tag": tag},
        "registry": {
            "plainHttp": [stage.registry, *stage.proxies.values()],
            "caBundle": stage.ca_bundle,
        },
        "agent": {"simulatedGpus": SIMULATED},
        "hostPath": {"enabled": bool(stage.host_path), "path": stage.host_path or "/unused"},
    } | more
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file, step(log, "installed the chart"):
        yaml.safe_dump(values, file)
        file.flush()
        options = ["--namespace", NAMESPACE, "--create-namespace", "--values", file.name]
        patience = ("--wait", "--timeout", "90s")
        helm(stage, "upgrade", "--install", "gkm", str(CHART), *options, *patience, log=log)


def helm(stage: Stage, *arguments: str, log: Log) -> str:
    """Run helm; its complaint, if it has one, is the exception's text."""
    environment = {**os.environ, "KUBECONFIG": str(stage.kubeconfig)}
    command = [str(components.program("helm", log)), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"helm {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Compiled:
    """What one run of examples/workload/compile.py printed last."""

    hits: int
    misses: int
    stages: int
    seconds: float

    @classmethod
    def read(cls, output: str) -> "Compiled":
        """Take the last line of the program's output."""
        return cls(**json.loads(output.strip().splitlines()[-1]))


def compile_kernels(cache: Path, *options: str) -> Compiled:
    """Compile the example's kernels on this machine into ``cache``."""
    program = EXAMPLES / "workload" / "compile.py"
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, str(program), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return Compiled.read(done.stdout)


def pack_and_push(stage: Stage, cache: Path, tag: str) -> str:
    """Pack a cache folder and push it; returns ``repository@digest``."""
    with tempfile.TemporaryDirectory() as folder:
        layout = str(Path(folder) / "layout")
        gkm("pack", str(cache), "-o", layout)
        return gkm("push", layout, stage.cache_reference(tag), "--plain-http").strip()


def gkm(*arguments: str) -> str:
    """Run GKM's command line."""
    command = [sys.executable, "-m", "gkm", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
