from collections.abc import AsyncIterator

import aiohttp
import pytest

from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.app import run_vendor_simulator
from services.vendor_simulator.config import VendorSimulatorConfig


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as url:
        yield url


@pytest.fixture
async def http(base_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer key-1"}) as session:
        yield session
