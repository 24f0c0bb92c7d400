"""One cluster for the whole suite: ours, or the one that ``--kubeconfig`` names."""

import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import stage as staging
from tests.cluster.engine import down
from tests.e2e import slow_registry
from tests.e2e.actors import Actors
from tests.stage import Stage

NAME = "gkm-e2e"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options to run the suite on a cluster that somebody else made."""
    group = parser.getgroup("gkm", "a cluster that exists already")
    group.addoption("--kubeconfig", type=Path, help="use this cluster; GKM stays installed on it")
    group.addoption("--registry", help="host:port of a plain-http registry that pods can reach")
    group.addoption("--gkm-image", help="GKM's image, present on the nodes")
    group.addoption("--workload-image", help="the image of examples/workload, likewise")
    group.addoption("--shared-folder", default=staging.SHARED_FOLDER, help="shared by all nodes")
    group.addoption("--keep", action="store_true", help="leave our own cluster running")


def _say(line: str) -> None:
    print(line, flush=True)


@pytest.fixture(scope="session")
def stage(pytestconfig: pytest.Config) -> Iterator[Stage]:
    """A cluster with GKM installed."""
    option = pytestconfig.getoption
    if option("--kubeconfig"):
        needed = ("--registry", "--gkm-image", "--workload-image")
        missing = [name for name in needed if not option(name)]
        if missing:
            pytest.exit(f"--kubeconfig needs {', '.join(missing)}, too", returncode=2)
        made = Stage(
            option("--kubeconfig"),
            option("--registry"),
            option("--gkm-image"),
            option("--workload-image"),
            option("--shared-folder"),
        )
    else:
        made = staging.our_own(NAME, 2, _say)
    made = replace(made, slow_registry=slow_registry.start(made))
    staging.install(made, _say)
    yield made
    slow_registry.stop(made)
    if made.cluster is not None and not option("--keep"):
        down(NAME, _say)


@pytest.fixture(scope="session")
def compiled(stage: Stage) -> str:
    """Kernels that real Triton compiled, pushed as tag v1; ``repository@digest``."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        cold = staging.compile_kernels(cache)
        assert (cold.hits, cold.misses > 0) == (0, True)
        return staging.pack_and_push(stage, cache, "v1")


@pytest.fixture
def actors(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Actors]:
    """Namespaces, pods and Caches of one test; gone, and seen to be gone, when it ends."""
    unique = f"{os.getpid()} {request.node.nodeid}"
    made = Actors(stage, prefix=f"t{zlib.crc32(unique.encode()):08x}")
    yield made
    made.clean()
