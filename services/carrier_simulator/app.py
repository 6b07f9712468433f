"""The carrier simulator's wiring."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from services.carrier_simulator.api import CarrierSimulator
from services.carrier_simulator.config import CarrierSimulatorConfig
from services.carrier_simulator.ledger import Ledger
from services.carrier_simulator.tokens import Tokens, read_public_key
from services.runtime.clock import SystemClock
from services.runtime.http.listener import listen_http
from services.runtime.lifecycle import Lifecycle

_DRAIN_S: Final = 1.0


@asynccontextmanager
async def run_carrier_simulator(config: CarrierSimulatorConfig, lifecycle: Lifecycle) -> AsyncIterator[str]:
    """Serves until the block is left and yields the root of its APIs, "http://host:port".

    It has no background tasks, so `lifecycle` has nothing to watch. Errors: `ConfigError` for a client's key, `OSError` when it
    cannot listen.
    """
    clock = SystemClock()
    clients = {client_id: read_public_key(Path(file)) for client_id, file in config.clients.items()}
    ledger = Ledger(clock, Path(config.state_file) if config.state_file else None)
    async with serve_carrier(CarrierSimulator(ledger, Tokens(clients, clock)), config.host, config.port) as address:
        yield address


@asynccontextmanager
async def serve_carrier(simulator: CarrierSimulator, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serves a simulator and yields the root of its APIs. Errors: `OSError`."""
    async with listen_http(simulator, host, port, drain_s=_DRAIN_S) as listener:
        yield f"http://{host}:{listener.port}"
