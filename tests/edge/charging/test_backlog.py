"""Operations that wait because accounting does not keep up: in which order they travel, and what is shed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.edge.charging.client import ChargingClient
from services.edge.config import EdgeConfig
from services.runtime.errors import ServiceError
from tests.edge.charging.test_lane import ScriptedChannel, ScriptedStream
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2

CONFIG = EdgeConfig(
    registry_address="-",
    authentication_address="-",
    accounting_address="-",
    billing_address="-",
    admin_token_file="-",
    release_timeout_ms=1,
)
# Operations in a message, and those that may wait before Creates are shed, and Updates.
MESSAGE, CREATES, UPDATES = 1_024, 4_096, 8_192


@asynccontextmanager
async def client_of(stream: ScriptedStream) -> AsyncIterator[tuple[ChargingClient, list[tuple[str, str]]]]:
    """A client of the stream, and the accounts and offerings that it was told."""
    noted: list[tuple[str, str]] = []
    channel = ScriptedChannel(stream)
    client = ChargingClient(channel, CONFIG, noted=lambda *told: noted.append(told))  # type: ignore[arg-type]  # a double
    async with client:
        while not client.up:  # noqa: ASYNC110  # a client tells nobody
            await asyncio.sleep(0)
        yield client, noted


def ask(client: ChargingClient, kind: str, number: int) -> "asyncio.Task[object]":
    account_id, charging_id = "acct-1", f"{kind}-{number}"
    if kind == "create":
        return asyncio.create_task(client.create(account_id, charging_id, pb.CreateSession()))
    if kind == "update":
        return asyncio.create_task(client.update(account_id, charging_id, 2, pb.UpdateSession()))
    return asyncio.create_task(client.release(account_id, charging_id, 3, pb.ReleaseSession()))


async def reason(task: "asyncio.Task[object]") -> str:
    with pytest.raises(ServiceError) as failed:
        await task
    return failed.value.reason_name


async def waiting(client: ChargingClient, kind: str, count: int) -> list["asyncio.Task[object]"]:
    """Lets this many operations wait while another is written."""
    tasks = [ask(client, kind, number) for number in range(count)]
    await asyncio.sleep(0.01)
    return tasks


async def stop(*tasks: "asyncio.Task[object]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_where_more_wait_than_fit_into_a_message_releases_travel_first_and_creates_last() -> None:
    stream = ScriptedStream(write_s=0.5)
    async with client_of(stream) as (client, _):
        first = await waiting(client, "create", 1)
        tasks = [ask(client, kind, number) for number in range(400) for kind in ("create", "update", "release")]
        await asyncio.sleep(1.2)
        sent = [each.WhichOneof("operation") for each in stream.operations]
        assert sent[1 : 1 + MESSAGE] == ["release"] * 400 + ["update"] * 400 + ["create"] * (MESSAGE - 800)
        await stop(*first, *tasks)


async def test_what_fits_into_a_message_travels_in_the_order_of_asking() -> None:
    stream = ScriptedStream(write_s=0.5)
    async with client_of(stream) as (client, _):
        tasks = [ask(client, kind, number) for number in range(3) for kind in ("create", "update", "release")]
        await asyncio.sleep(0.7)
        assert [each.WhichOneof("operation") for each in stream.operations] == ["create", "update", "release"] * 3
        await stop(*tasks)


async def test_creates_are_shed_first_then_updates_and_releases_never() -> None:
    stream = ScriptedStream(write_s=1_000.0)
    async with client_of(stream) as (client, _):
        tasks = await waiting(client, "release", 1)
        tasks += await waiting(client, "release", CREATES - 1)
        tasks += await waiting(client, "create", 1)
        assert await reason(ask(client, "create", 2)) == "OVERLOADED"
        tasks += await waiting(client, "update", UPDATES - CREATES)
        assert await reason(ask(client, "update", 2)) == "OVERLOADED"
        released = ask(client, "release", 2)
        await asyncio.sleep(0.0005)
        assert not released.done()
        # What was shed was never asked.
        assert len(client._unanswered) == 1 + UPDATES + 1
        await stop(released, *tasks)


async def answered(stream: ScriptedStream, result: pb.ChargeResult) -> None:
    await asyncio.sleep(0.01)
    result.operation_id = stream.operations[-1].operation_id
    stream._answers.put_nowait(pb.ChargeResponse(results=[result]))


OVERLOADED = pb.ChargeResult(error=pb.OperationError(reason=errors_pb2.ERROR_REASON_OVERLOADED, message="too much"))


async def test_a_create_that_accounting_sheds_is_not_asked_again() -> None:
    stream = ScriptedStream()
    async with client_of(stream) as (client, noted):
        task = ask(client, "create", 1)
        await answered(stream, OVERLOADED)
        assert await reason(task) == "OVERLOADED"
        await asyncio.sleep(0.1)
        # Nothing was opened, so there is nothing to release.
        assert [each.WhichOneof("operation") for each in stream.operations] == ["create"]
        assert noted == []


async def test_a_create_that_is_shed_when_it_is_sent_again_may_be_open_and_is_released() -> None:
    stream = ScriptedStream()
    async with client_of(stream) as (client, _):
        task = ask(client, "create", 1)
        busy = pb.ChargeResult(error=pb.OperationError(reason=errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, message="lost"))
        await answered(stream, busy)
        await asyncio.sleep(0.1)
        await answered(stream, OVERLOADED)
        assert await reason(task) == "OVERLOADED"
        await asyncio.sleep(0.01)
        assert [each.WhichOneof("operation") for each in stream.operations] == ["create", "create", "release"]


async def test_the_offering_of_an_account_is_told_with_each_create() -> None:
    stream = ScriptedStream()
    async with client_of(stream) as (client, noted):
        granted = ask(client, "create", 1)
        await answered(stream, pb.ChargeResult(granted=pb.Granted(offering_id="first")))
        await granted
        refused = ask(client, "create", 2)
        await answered(stream, pb.ChargeResult(refused=pb.Refused(offering_id="second")))
        await refused
        assert noted == [("acct-1", "first"), ("acct-1", "second")]
