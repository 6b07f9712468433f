"""The vendor simulator's wiring."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from services.runtime.http.asgi import Asgi
from services.runtime.http.listener import listen_http
from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.api import VendorSimulator
from services.vendor_simulator.config import VendorSimulatorConfig
from services.vendor_simulator.prefix_cache import PrefixCache

_DRAIN_S: Final = 5.0


@asynccontextmanager
async def run_vendor_simulator(config: VendorSimulatorConfig, lifecycle: Lifecycle) -> AsyncIterator[str]:
    """Serves until the block is left and yields the base URL, "http://host:port/v1".

    It has no background tasks, so `lifecycle` has nothing to watch. Errors: `OSError` when it cannot listen.
    """
    cache = PrefixCache(config.prefix_cache_tokens) if config.prefix_cache_tokens else None
    simulator = VendorSimulator(heeds_text=config.heeds_text, cache=cache)
    drain_s = config.drain_timeout_ms / 1_000 or _DRAIN_S
    notice_s = config.drain_notice_ms / 1_000
    async with listen_http(Asgi(simulator), config.host, config.port, drain_s=drain_s, notice_s=notice_s) as listener:
        try:
            yield f"http://{config.host}:{listener.port}/v1"
        finally:
            if not config.drain_timeout_ms:
                simulator.stop()
