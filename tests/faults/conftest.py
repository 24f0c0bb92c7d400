"""The stack that the tests of watches and of the transport share, in one life of it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.faults.weather import Weather, weather


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sky() -> AsyncIterator[Weather]:
    """One operator, in good weather."""
    async with weather(6) as here:
        await here.settled(here.spot())
        yield here
        assert not here.violations()
