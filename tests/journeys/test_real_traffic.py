"""Real traffic, where its traces stand beside the project: every call settled, the bill equal to the sum over the trace."""

import shutil
from pathlib import Path

import aiohttp
import pytest

from services.cli.replay.command import ReplayOptions, replay
from services.registry.catalog_folder import base_catalog_folder
from tests.edge.system import Cell, cell
from tests.journeys.subscriber import Subscriber
from tests.traces import TRACES, needs_traces

pytestmark = needs_traces


@pytest.mark.parametrize(
    ("trace", "limit", "speed", "stream"),
    [
        ("chat_azure2023_conv.csv", 400, 100, True),
        ("agent_azure2023_code.csv", 300, 100, False),
        ("agent_claude_code.csv.gz", 60, 100_000, True),
    ],
)
async def test_a_replayed_trace_is_billed_exactly(tmp_path: Path, trace: str, limit: int, speed: float, stream: bool) -> None:
    def sell_the_base_catalog(_: Cell) -> None:
        shutil.rmtree(tmp_path / "catalog")
        shutil.copytree(base_catalog_folder(), tmp_path / "catalog")

    async with cell(tmp_path, prepare=sell_the_base_catalog) as services, aiohttp.ClientSession() as http:
        await services.ready()
        subscribers = [await Subscriber.open(services, http, f"replay-{number}", tokens=10**9) for number in range(3)]
        report = await replay(
            ReplayOptions(
                trace=TRACES / trace,
                base_url=services.base_url,
                api_keys=[subscriber.api_key for subscriber in subscribers],
                speed=speed,
                limit=limit,
                stream=stream,
            )
        )
        assert report.calls + report.skipped == limit
        assert (report.succeeded, report.cut, report.refused, report.failed) == (report.calls, 0, {}, 0)
        assert report.exact
        assert report.charged == report.expected > 0
        assert (await services.admin("POST", "/audit")).json["breaches"] == []
        reconciled = (await services.admin("POST", "/reconcile")).json
        assert reconciled["differences"] == []
        assert reconciled["cdrs"] == report.calls
