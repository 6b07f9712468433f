"""A lane over a scripted stream, in virtual time: what travels together, and what is asked again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from services.edge.charging.client import ChargingClient
from services.edge.charging.lane import Lane, Operation
from services.edge.config import EdgeConfig
from services.runtime.config import ConfigError
from services.runtime.errors import ServiceError
from tokenline.accounting.v1 import accounting_pb2 as pb


class ScriptedStream:
    """One charging stream: writes take their time, reads are what the test puts in."""

    def __init__(self, write_s: float = 0.0) -> None:
        self._write_s = write_s
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        self.operations: list[pb.ChargeOperation] = []
        self.written: list[list[int]] = []

    async def wait_for_connection(self) -> None:
        await asyncio.sleep(0)

    async def write(self, request: pb.ChargeRequest) -> None:
        await asyncio.sleep(self._write_s)
        self.operations += request.operations
        self.written.append([operation.operation_id for operation in request.operations])

    async def read(self) -> Any:
        return await self._answers.get()

    def answer(self, *operation_ids: int) -> None:
        self._answers.put_nowait(pb.ChargeResponse(results=[pb.ChargeResult(operation_id=each) for each in operation_ids]))

    def end(self) -> None:
        self._answers.put_nowait(grpc.aio.EOF)

    def cancel(self) -> None:
        pass


class ScriptedOwners:
    """The stream of owners: there is one, and it stays."""

    async def wait_for_connection(self) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield pb.WatchOwnersResponse(partition_count=1, owners=[pb.PartitionOwner(part_id=0)])
        await asyncio.get_running_loop().create_future()


class ScriptedChannel:
    """A channel whose charging streams are those of the test, in order."""

    def __init__(self, *streams: ScriptedStream) -> None:
        self._streams = list(streams)

    def stream_stream(self, method: str, **options: Any) -> Callable[..., ScriptedStream]:
        return lambda **call: self._streams.pop(0) if len(self._streams) > 1 else self._streams[0]

    def unary_unary(self, method: str, **options: Any) -> None:
        return None

    def unary_stream(self, method: str, **options: Any) -> Callable[..., Any]:
        return lambda request, **call: ScriptedOwners()


class Caller:
    """Who sends operations on a lane, as the charging client does."""

    def __init__(self, *streams: ScriptedStream) -> None:
        self.unanswered: dict[int, Operation] = {}
        self.answered: list[int] = []
        self.lane = Lane("", ScriptedChannel(*streams), self._answer, self._of_lane)  # type: ignore[arg-type]  # a double

    def send(self, operation_id: int) -> None:
        operation = Operation(pb.ChargeOperation(operation_id=operation_id), asyncio.get_running_loop().create_future())
        operation.lane = self.lane
        self.unanswered[operation_id] = operation
        self.lane.send(operation)

    def _answer(self, result: pb.ChargeResult) -> None:
        self.answered.append(result.operation_id)
        self.unanswered.pop(result.operation_id, None)

    def _of_lane(self, lane: Lane) -> list[Operation]:
        return list(self.unanswered.values())


async def connected(*streams: ScriptedStream) -> Caller:
    caller = Caller(*streams)
    while not caller.lane.up:  # noqa: ASYNC110  # a lane tells nobody
        await asyncio.sleep(0)
    return caller


async def test_operations_asked_together_travel_together_at_most_1024_at_once() -> None:
    stream = ScriptedStream()
    caller = await connected(stream)
    for number in range(3_000):
        caller.send(number)
    await asyncio.sleep(1)
    assert [len(batch) for batch in stream.written] == [1_024, 1_024, 952]
    assert [number for batch in stream.written for number in batch] == list(range(3_000))
    await caller.lane.close()


async def test_what_is_asked_in_the_next_turns_of_the_loop_travels_along() -> None:
    stream = ScriptedStream()
    caller = await connected(stream)
    await asyncio.sleep(0.01)
    caller.send(1)
    await asyncio.sleep(0)
    caller.send(2)
    await asyncio.sleep(0)
    caller.send(3)
    await asyncio.sleep(0.01)
    caller.send(4)
    await asyncio.sleep(0.01)
    assert stream.written == [[1, 2, 3], [4]]
    await caller.lane.close()


async def test_what_is_asked_while_a_batch_is_written_goes_into_the_next_one() -> None:
    stream = ScriptedStream(write_s=0.5)
    caller = await connected(stream)
    caller.send(1)
    await asyncio.sleep(0.1)
    caller.send(2)
    caller.send(3)
    await asyncio.sleep(2)
    assert stream.written == [[1], [2, 3]]
    await caller.lane.close()


async def test_what_was_not_answered_is_asked_again_on_the_next_stream_first() -> None:
    first, second = ScriptedStream(), ScriptedStream()
    caller = await connected(first, second)
    for number in (1, 2, 3):
        caller.send(number)
    await asyncio.sleep(0.01)
    first.answer(2)
    await asyncio.sleep(0.01)
    first.end()
    await asyncio.sleep(1)
    assert caller.answered == [2]
    assert second.written == [[1, 3]]
    caller.send(4)
    await asyncio.sleep(0.01)
    assert second.written == [[1, 3], [4]]
    await caller.lane.close()


async def test_what_was_given_up_before_it_was_sent_is_not_sent() -> None:
    stream = ScriptedStream(write_s=0.5)
    caller = await connected(stream)
    caller.send(1)
    await asyncio.sleep(0.1)
    caller.send(2)
    caller.unanswered[2].answered = True
    await asyncio.sleep(2)
    assert stream.written == [[1]]
    assert not caller.unanswered[2].sent
    await caller.lane.close()


async def test_what_goes_to_another_owner_meanwhile_is_not_sent_to_this_one() -> None:
    stream = ScriptedStream(write_s=0.5)
    caller = await connected(stream)
    caller.send(1)
    await asyncio.sleep(0.1)
    caller.send(2)
    caller.unanswered[2].lane = None
    await asyncio.sleep(2)
    assert stream.written == [[1]]
    await caller.lane.close()


async def test_what_is_being_written_may_be_known_to_accounting() -> None:
    # Its sender must undo it, also where the stream breaks before the write has ended.
    stream = ScriptedStream(write_s=0.5)
    caller = await connected(stream)
    caller.send(1)
    await asyncio.sleep(0.1)
    assert stream.written == []
    assert caller.unanswered[1].sent
    await caller.lane.close()


async def test_a_create_that_was_given_up_does_not_follow_its_end() -> None:
    # Nobody would use the session that it opens, and its hold would stand until it is swept.
    stream = ScriptedStream(write_s=1.0)
    config = EdgeConfig(
        registry_address="-",
        authentication_address="-",
        accounting_address="-",
        billing_address="-",
        admin_token_file="-",
        create_timeout_ms=500,
        release_timeout_ms=100,
    )
    async with ChargingClient(ScriptedChannel(stream), config) as client:  # type: ignore[arg-type]  # a double
        while not client.up:  # noqa: ASYNC110  # a client tells nobody
            await asyncio.sleep(0)

        async def create(charging_id: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            with pytest.raises(ServiceError):
                await client.create("acct-1", charging_id, pb.CreateSession())

        await asyncio.gather(create("written", 0.0), create("waiting", 0.1))
        await asyncio.sleep(3.0)
    sent = [(each.charging_id, each.WhichOneof("operation")) for each in stream.operations]
    assert sent == [("written", "create"), ("written", "release")]


@pytest.mark.parametrize("broken_streams", [1, 4])
async def test_a_lane_connects_again_ever_more_slowly_but_never_later_than_a_second(broken_streams: int) -> None:
    streams = [ScriptedStream() for _ in range(broken_streams)]
    for stream in streams:
        stream.end()
    last = ScriptedStream()
    caller = await connected(*streams, last)
    caller.send(1)
    await asyncio.sleep(broken_streams * 1.1)
    assert last.written == [[1]]
    await caller.lane.close()


async def test_an_owner_that_the_config_does_not_reach_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    def refused(address: str) -> grpc.aio.Channel:
        raise ConfigError(f"{address} needs certificates")

    lane = Lane("tls:owner:7443", ScriptedChannel(ScriptedStream()), lambda _: None, lambda _: [], refused)  # type: ignore[arg-type]
    await asyncio.sleep(150)
    assert not lane.up
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["tls:owner:7443 needs certificates"] * 3
    await lane.close()


async def test_an_owner_that_is_away_without_a_broken_stream_is_told_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    class Away(ScriptedStream):
        async def wait_for_connection(self) -> None:
            await asyncio.sleep(70.0)

    caplog.set_level("INFO")
    lane = Lane("", ScriptedChannel(Away()), lambda _: None, lambda _: [])  # type: ignore[arg-type]  # a double
    await asyncio.sleep(71.0)
    await lane.close()
    away, still, again = [record.getMessage() for record in caplog.records if record.name.endswith("runtime.clients")]
    assert away == still
    assert away.startswith("accounting cannot be reached, calls of its accounts get 503: look whether it runs")
    assert again == "accounting is reached again"


async def test_a_stream_of_owners_that_breaks_is_asked_for_ever_more_slowly(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ScriptedChannel):
        asked = 0

        def unary_stream(self, method: str, **options: Any) -> Callable[..., Any]:
            return lambda request, **call: self

        async def wait_for_connection(self) -> None:
            pass

        async def __aiter__(self) -> AsyncIterator[Any]:
            self.asked += 1
            if self.asked == 20:
                yield pb.WatchOwnersResponse()
            raise ValueError("broken")

    channel = Broken()
    config = EdgeConfig(
        registry_address="-", authentication_address="-", accounting_address="-", billing_address="-", admin_token_file="-"
    )
    async with ChargingClient(channel, config):  # type: ignore[arg-type]  # a double
        await asyncio.sleep(10.0)
        # After 0.05, 0.15, 0.35, 0.75, 1.55 s, then once a second.
        assert channel.asked == 1 + 5 + 8
        # What was heard makes it quick again.
        await asyncio.sleep(6.0)
        assert channel.asked == 20 + 3
