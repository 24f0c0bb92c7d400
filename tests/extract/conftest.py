"""What the tests of this folder share: a real registry, a launcher, a scripted registry, a lab."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests import registry as registries
from tests.extract.extraction import Launcher
from tests.extract.scenes import Stand, stand
from tests.images import Script, scripted


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry; ``host:port``."""
    with registries.running(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    with Launcher() as running:
        yield running


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    """A registry with the images that a test puts there."""
    with scripted() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stand")
async def lab(script: Script, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """Volumes in every state, and the program that is run on them."""
    async with stand(script, tmp_path_factory.mktemp("lab")) as made:
        yield made
