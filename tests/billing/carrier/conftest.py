"""A phone bill over a real store and a simulated carrier, by a clock that tests move."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.billing.carrier.bill import Bill, write_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `private.pem` and `public.pem`."""
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(params=["one", "two"])
async def bill(request: pytest.FixtureRequest, tmp_path: Path, keys: Path) -> AsyncIterator[Bill]:
    async with Bill.opened(tmp_path, keys, request.param) as made:
        yield made


@pytest.fixture
async def two_steps(tmp_path: Path, keys: Path) -> AsyncIterator[Bill]:
    async with Bill.opened(tmp_path, keys, "two") as made:
        yield made
