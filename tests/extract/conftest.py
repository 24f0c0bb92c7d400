"""What the tests of this folder share: one registry, one launcher."""

from collections.abc import Iterator

import pytest

from tests import registry as registries
from tests.extract.extraction import Launcher


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry; ``host:port``."""
    with registries.running(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    with Launcher() as running:
        yield running
