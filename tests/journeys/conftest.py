"""A cell whose vendor "other" is a server that the tests script."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.journeys.subscriber import World
from tests.journeys.world import running_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("world")) as running:
        yield running
