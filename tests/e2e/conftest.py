"""One cluster for the whole suite: ours, or the one that ``--kubeconfig`` names."""

import json
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import stage as staging
from tests.cluster.engine import down
from tests.e2e import private_registry, proxies, reader
from tests.e2e.actors import Actors
from tests.e2e.private_registry import PrivateRegistry
from tests.stage import ROOT, Stage

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
def bare(pytestconfig: pytest.Config) -> Iterator[Stage]:
    """A cluster, its registry and its images, without GKM."""
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
        made = staging.our_own(NAME, 3, _say)
    staging.set_apart(made)
    yield made
    if made.cluster is not None and not option("--keep"):
        down(NAME, _say)


@pytest.fixture(scope="session")
def private(bare: Stage) -> Iterator[PrivateRegistry]:
    """The same registry, behind a login and an authority of its own."""
    yield private_registry.start(bare)
    private_registry.stop(bare)


@pytest.fixture(scope="session")
def stage(bare: Stage, private: PrivateRegistry) -> Iterator[Stage]:
    """A cluster with GKM installed."""
    made = replace(proxies.start(bare), ca_bundle=private.ca_pem)
    staging.install(made, _say)
    yield made
    proxies.stop(made)


@pytest.fixture(scope="session")
def compiled(stage: Stage) -> str:
    """Kernels that real Triton compiled, pushed as tag v1; ``repository@digest``."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        cold = staging.compile_kernels(cache)
        assert (cold.hits, cold.misses > 0) == (0, True)
        return staging.pack_and_push(stage, cache, "v1")


@pytest.fixture(scope="session")
def other_image(stage: Stage) -> str:
    """A second image, of another kernel; ``repository@digest``."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        staging.compile_kernels(cache, "--kernels", "extra")
        return staging.pack_and_push(stage, cache, "v2")


@pytest.fixture(scope="session")
def expected(stage: Stage, compiled: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of what the image holds, as extracted on this machine."""
    return _extracted(stage, compiled, tmp_path_factory.mktemp("extracted"))


@pytest.fixture(scope="session")
def other_expected(stage: Stage, other_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same of the second image."""
    return _extracted(stage, other_image, tmp_path_factory.mktemp("extracted"))


def _extracted(stage: Stage, image: str, target: Path) -> str:
    settings = {"GKM_REGISTRY": json.dumps({"plainHttp": [stage.registry]})}
    command = [sys.executable, "-m", "gkm", "extract", image, str(target)]
    command += ["--mount-path", "/cache"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=True)
    return reader.tree(str(target))


@pytest.fixture(scope="session")
def leaving(stage: Stage) -> Iterator[list[Actors]]:  # noqa: ARG001 - ends before the stage does
    """What tests before left to be cleared away: the proof that nobody uses a claim takes time."""
    owed: list[Actors] = []
    yield owed
    _see_gone(owed)


@pytest.fixture
def alone(leaving: list[Actors]) -> None:
    """Nothing of other tests is under way."""
    _see_gone(leaving)


def _see_gone(owed: list[Actors]) -> None:
    while owed:
        owed.pop().see_gone()


@pytest.fixture
def actors(stage: Stage, request: pytest.FixtureRequest, leaving: list[Actors]) -> Iterator[Actors]:
    """Namespaces, pods and Caches of one test; gone, and seen to be gone, some time later."""
    unique = f"{os.getpid()} {request.node.nodeid}"
    made = Actors(stage, prefix=f"t{zlib.crc32(unique.encode()):08x}")
    yield made
    made.leave()
    leaving.append(made)


@pytest.fixture
def log(stage: Stage) -> Path:
    """The API server's audit log."""
    audit = getattr(stage.cluster, "audit_log", None)
    if audit is None:
        pytest.skip("only a cluster of our own keeps an audit log")
    return Path(audit)


_LAST = ("test_uninstall.py", "test_rbac.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks back on the others runs after them."""
    items.sort(key=lambda item: _LAST.index(item.path.name) if item.path.name in _LAST else -1)


@pytest.fixture
def whole_suite(request: pytest.FixtureRequest) -> None:
    """Skip unless every file of this folder ran, and nothing was left out."""
    ran = {item.path.name for item in request.session.items}
    every = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    if ran != every or request.config.getoption("-k"):
        pytest.skip("looks at the whole suite's requests")
