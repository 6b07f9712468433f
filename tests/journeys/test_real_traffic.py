"""Real traffic, where its traces stand beside the project: every call settled, the bill equal to the sum over the trace."""

from pathlib import Path

import aiohttp
import pytest

from services.cli.replay.command import ReplayOptions, replay
from services.registry.catalog_folder import base_catalog_folder
from tests.edge.system import cell
from tests.journeys.subscriber import Subscriber
from tests.traces import TRACES, needs_traces

# One text of all files: vendors, models and tariffs, each in files of their own, become one list each.
BASE_CATALOG = "\n".join(
    [path.read_text(encoding="utf-8") for path in sorted(base_catalog_folder().glob("*.yaml"))]
    + [
        text
        for part in ("vendors", "models", "tariffs")
        for text in (
            f"{part}:",
            *(
                path.read_text(encoding="utf-8").replace(f"\n{part}:\n", "\n")
                for path in sorted((base_catalog_folder() / part).iterdir())
            ),
        )
    ]
)

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
    async with cell(tmp_path, catalog=BASE_CATALOG) as services, aiohttp.ClientSession() as http:
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
