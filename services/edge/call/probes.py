"""Asks vendors that have failed whether they answer again, by a path that costs nothing, so that no client's call has to."""

import asyncio
from typing import Final

from services.edge.routing.router import Probe, Router
from services.edge.vendors.vendor import VendorClient, VendorFailure

_LOOK_S: Final = 0.5
# A path that takes longer is as good as none.
_PROBE_S: Final = 10.0


class Prober:
    """Probes the routes that are left out, each when its period is over."""

    def __init__(self, router: Router, vendors: VendorClient) -> None:
        self._router = router
        self._vendors = vendors

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            async with asyncio.TaskGroup() as group:
                for probe in self._router.probes_due():
                    group.create_task(self._ask(probe))

    async def _ask(self, probe: Probe) -> None:
        endpoint = probe.endpoint
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._vendors.get(endpoint.base_url + endpoint.probe_path, endpoint.key_headers)
        except (VendorFailure, TimeoutError):
            probe.ended(is_answered=False)
        except BaseException:
            # The process stops, or this is a fault of ours: the route is not the worse for it.
            probe.ended(is_answered=True)
            raise
        else:
            probe.ended(is_answered=True)
