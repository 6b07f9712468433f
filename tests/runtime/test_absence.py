"""A server that is not there breaks no stream: whoever waits for it says so, and what it means for calls."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
import pytest

from services.accounting import app as accounting
from services.cli.processes import free_ports
from services.edge.catalog import CatalogHolder
from services.edge.charging.client import ChargingClient
from services.edge.config import EdgeConfig
from services.edge.identity.principals import Principals
from services.runtime.clients import connect
from services.runtime.clock import SystemClock
from tests.waiting import until

HELP = ": look whether it runs, and whether each takes the other's certificate"


async def _owners(channel: grpc.aio.Channel) -> None:
    config = EdgeConfig(
        registry_address="-", authentication_address="-", accounting_address="-", billing_address="-", admin_token_file="-"
    )
    async with ChargingClient(channel, config):
        await asyncio.Event().wait()


async def _revocations(channel: grpc.aio.Channel) -> None:
    await Principals(channel, 5_000).follow_revocations()


async def _catalog(channel: grpc.aio.Channel) -> None:
    await CatalogHolder(channel, {}, "", SystemClock()).follow()


async def _catalog_of_accounting(channel: grpc.aio.Channel) -> None:
    await accounting._follow_catalog(channel, cast(Any, None), 0, asyncio.Event())


@pytest.mark.parametrize(
    ("follow", "told"),
    [
        (_owners, "accounting cannot be reached, every call gets 503"),
        (
            _revocations,
            "authentication cannot be reached, calls of other keys than those in use get 503, and of those after their grace",
        ),
        (_catalog, "the registry cannot be reached, every call gets 503"),
        (_catalog_of_accounting, "the registry cannot be reached, nothing is served before there is a catalog"),
    ],
)
async def test_who_waits_for_a_server_that_never_came_says_so_now_and_then(
    follow: Callable[[grpc.aio.Channel], Awaitable[None]],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("services.runtime.clients._AWAY_S", 0.05)
    monkeypatch.setattr("services.runtime.clients._EXPLAIN_S", 0.05)
    (port,) = free_ports(1)
    async with connect(f"127.0.0.1:{port}") as channel:
        following = asyncio.ensure_future(follow(channel))
        await until(lambda: len(caplog.records) >= 3)
        following.cancel()
        await asyncio.wait([following])
    assert {record.getMessage() for record in caplog.records if record.name == "services.runtime.clients"} == {told + HELP}
