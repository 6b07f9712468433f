"""The charging client against a scripted accounting, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.edge.charging.client import ChargingClient
from services.edge.config import EdgeConfig
from services.partitions import partition_of
from services.runtime.clients import connect
from services.runtime.errors import ServiceError
from tests.waiting import WAIT_S, until
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2

ID = "018bcfe5-6800-7e77-ba00-d18cf531facc"
Script = Callable[[pb.ChargeOperation], pb.ChargeResult | None]


def grants(operation: pb.ChargeOperation) -> pb.ChargeResult:
    """Grants and settles whatever comes; the operation's own number tells answers apart."""
    if operation.HasField("release"):
        return pb.ChargeResult(settled=pb.Settled(charged_amount=operation.invocation_sequence_number))
    return pb.ChargeResult(granted=pb.Granted(output_tokens_granted=operation.create.output_tokens_limit))


def fails(reason: errors_pb2.ErrorReason) -> pb.ChargeResult:
    return pb.ChargeResult(error=pb.OperationError(reason=reason, message="scripted"))


class Accounting(accounting_pb2_grpc.AccountingServiceServicer):
    """Answers by its script; None: never. `break_next` ends the stream instead of answering the next request."""

    def __init__(self) -> None:
        self.script: Script = grants
        self.requests: list[pb.ChargeRequest] = []
        self.streams = 0
        self.open_streams = 0
        self.break_next = False
        self.backwards = False
        self._features: tuple[pb.Feature, ...] = ()
        # The owner's address; empty: this process.
        self._owner = ""
        self._announced = asyncio.Event()

    def announce(self, *features: pb.Feature) -> None:
        """What all members of the cell understand from now on."""
        self._features = features
        self._announced.set()

    def move(self, owner: str) -> None:
        """Who owns the partition from now on."""
        self._owner = owner
        self._announced.set()

    @property
    def operations(self) -> list[pb.ChargeOperation]:
        return [operation for request in self.requests for operation in request.operations]

    async def WatchOwners(self, request: Any, context: Any) -> AsyncIterator[pb.WatchOwnersResponse]:
        while True:
            owner = pb.PartitionOwner(part_id=0, address=self._owner)
            yield pb.WatchOwnersResponse(partition_count=1, owners=[owner], features=self._features)
            await self._announced.wait()
            self._announced.clear()

    async def Charge(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.ChargeResponse]:
        self.streams += 1
        self.open_streams += 1
        try:
            async for response in self._answers(request_iterator, context):
                yield response
        finally:
            self.open_streams -= 1

    async def _answers(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.ChargeResponse]:
        await context.send_initial_metadata(())
        async for request in request_iterator:
            self.requests.append(request)
            if self.break_next:
                self.break_next = False
                await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
            results = []
            for operation in request.operations:
                result = self.script(operation)
                if result is not None:
                    result.operation_id = operation.operation_id
                    results.append(result)
            yield pb.ChargeResponse(results=results[::-1])


@asynccontextmanager
async def serving(accounting: Accounting, address: str) -> AsyncIterator[None]:
    # The edge asks often whether accounting is there, and is not to be hung up on for it.
    server = grpc.aio.server(options=(("grpc.http2.max_ping_strikes", 0),))
    accounting_pb2_grpc.add_AccountingServiceServicer_to_server(accounting, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


@asynccontextmanager
async def charging(address: str, **changes: Any) -> AsyncIterator[ChargingClient]:
    config = EdgeConfig(
        registry_address="-",
        authentication_address="-",
        accounting_address=address,
        billing_address="-",
        admin_token_file="-",
        **dict[str, Any]({"create_timeout_ms": 60_000, "release_timeout_ms": 60_000, **changes}),
    )
    async with connect(address) as channel, ChargingClient(channel, config) as client:
        yield client


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/c"


@pytest.fixture
async def accounting(address: str) -> AsyncIterator[Accounting]:
    made = Accounting()  # type: ignore[abstract]  # the stream is all of it that the edge uses
    async with serving(made, address):
        yield made


def create(limit: int = 1) -> pb.CreateSession:
    return pb.CreateSession(model_id="m", output_tokens_limit=limit)


async def test_operations_asked_together_find_their_answers(accounting: Accounting, address: str) -> None:
    async with charging(address, create_timeout_ms=60_000) as client:
        await until(lambda: client.up)
        answers = await asyncio.gather(*(client.create("acct-1", ID, create(limit)) for limit in range(3_000)))
        assert [answer.output_tokens_granted for answer in answers if isinstance(answer, pb.Granted)] == list(range(3_000))
        # How they travel is tested in virtual time.
        assert max(len(request.operations) for request in accounting.requests) <= 1_024


async def test_what_is_asked_later_does_not_get_the_answer_to_what_waits(accounting: Accounting, address: str) -> None:
    accounting.script = lambda operation: None if operation.create.output_tokens_limit == 1 else grants(operation)
    async with charging(address) as client:
        assert not client.takes_all_classes
        await client.create("acct-1", ID, create(2))
        waits = asyncio.create_task(client.create("acct-1", ID, create(1)))
        await until(lambda: len(accounting.operations) == 2)
        for limit in (3, 4, 5):
            granted = await client.create("acct-1", ID, create(limit))
            assert isinstance(granted, pb.Granted)
            assert granted.output_tokens_granted == limit
        assert not waits.done()
        numbers = [operation.operation_id for operation in accounting.operations]
        assert len(set(numbers)) == len(numbers)
        accounting.script = grants
        accounting.break_next = True
        # The stream breaks, and it is asked again.
        await client.create("acct-1", ID, create(6))
        granted = await waits
        assert isinstance(granted, pb.Granted)
        assert granted.output_tokens_granted == 1


async def test_an_owner_that_needs_certificates_is_told_once_and_what_to_do(
    accounting: Accounting, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with charging(address) as client:
        await until(lambda: client.up)
        accounting.move("tls:localhost:7443")
        await until(lambda: not client.up)
        # Twice as long as the stream of owners, and a lane, wait at most before they try again.
        await asyncio.sleep(2.1)
        assert [record.getMessage() for record in caplog.records] == [
            "calls of accounts at an owner that cannot be reached get 503: tls:localhost:7443 is reached with TLS; "
            "give grpc_certificate_file, grpc_key_file and grpc_ca_file in the config"
        ]
        asked = asyncio.create_task(client.create("acct-1", ID, create(7)))
        # It may be reached without them again, and what waits for it is asked there.
        accounting.move("")
        granted = await asked
        assert isinstance(granted, pb.Granted)
        assert granted.output_tokens_granted == 7


async def test_a_broken_stream_is_resumed_and_what_was_not_answered_is_asked_again(accounting: Accounting, address: str) -> None:
    async with charging(address) as client:
        await until(lambda: client.up)
        accounting.break_next = True
        answer = await client.create("acct-1", ID, create(7))
        assert isinstance(answer, pb.Granted)
        first, second = accounting.operations
        assert first == second
        assert accounting.streams == 2


@pytest.mark.parametrize(
    "reason",
    [errors_pb2.ERROR_REASON_NOT_OWNER, errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, errors_pb2.ERROR_REASON_UNAVAILABLE],
)
async def test_what_could_not_be_answered_for_certain_is_asked_again(
    accounting: Accounting, address: str, reason: errors_pb2.ErrorReason
) -> None:
    accounting.script = lambda operation: fails(reason) if len(accounting.operations) < 3 else grants(operation)
    async with charging(address, create_timeout_ms=5_000) as client:
        assert isinstance(await client.create("acct-1", ID, create(7)), pb.Granted)
        assert len(accounting.operations) == 3
        assert len({operation.SerializeToString() for operation in accounting.operations}) == 1


async def test_any_other_error_is_raised_at_once(accounting: Accounting, address: str) -> None:
    accounting.script = lambda operation: fails(errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT)
    async with charging(address) as client:
        with pytest.raises(ServiceError, match="scripted") as raised:
            await client.update("acct-1", ID, 2, pb.UpdateSession())
        assert raised.value.reason_name == "IDEMPOTENCY_CONFLICT"
        assert len(accounting.operations) == 1


async def test_a_refusal_is_an_answer(accounting: Accounting, address: str) -> None:
    accounting.script = lambda operation: pb.ChargeResult(refused=pb.Refused(needed_amount=5))
    async with charging(address) as client:
        assert await client.create("acct-1", ID, create()) == pb.Refused(needed_amount=5)


async def test_a_create_that_got_no_answer_in_time_leaves_nothing_held(accounting: Accounting, address: str) -> None:
    accounting.script = lambda operation: None if operation.HasField("create") else grants(operation)
    async with charging(address, create_timeout_ms=100) as client:
        with pytest.raises(ServiceError) as raised:
            await client.create("acct-1", ID, create())
        assert raised.value.reason_name == "UNAVAILABLE"
        await until(lambda: len(accounting.operations) == 2)
        release = accounting.operations[1]
        assert (release.charging_id, release.invocation_sequence_number) == (ID, 2)
        assert release.release.close_cause == pb.CLOSE_CAUSE_REJECTED
        assert release.release.used == pb.TokenUsage()


async def test_a_create_whose_client_went_away_leaves_nothing_held(accounting: Accounting, address: str) -> None:
    accounting.script = lambda operation: None if operation.HasField("create") else grants(operation)
    async with charging(address) as client:
        asking = asyncio.create_task(client.create("acct-1", ID, create()))
        await until(lambda: len(accounting.operations) == 1)
        asking.cancel()
        await until(lambda: len(accounting.operations) == 2)
        assert accounting.operations[1].HasField("release")


async def test_a_create_that_was_given_up_does_not_come_again_behind_its_release(accounting: Accounting, address: str) -> None:
    # Accounting can't take the Create at first; when it can, the call is over and its Release has been.
    unavailable = fails(errors_pb2.ERROR_REASON_UNAVAILABLE)
    accounting.script = lambda operation: unavailable if operation.HasField("create") else grants(operation)
    async with charging(address, create_timeout_ms=5_000) as client:
        asking = asyncio.create_task(client.create("acct-1", ID, create()))
        await until(lambda: len(accounting.operations) == 1)
        # Its answer is here, and it is to be asked again.
        await client.update("acct-1", ID, 7, pb.UpdateSession())
        asking.cancel()
        await until(lambda: accounting.operations[-1].HasField("release"))
        # Longer than until it would be asked again.
        await asyncio.sleep(0.15)
        kinds = [operation.WhichOneof("operation") for operation in accounting.operations]
        assert (kinds[0], kinds[-1], kinds.count("update"), kinds.count("release")) == ("create", "release", 1, 1)


async def test_a_create_that_never_left_needs_no_release(address: str) -> None:
    accounting = Accounting()  # type: ignore[abstract]
    async with charging(address, create_timeout_ms=50) as client:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_refused(client)) for _ in range(10)]
        assert [task.result() for task in tasks] == ["UNAVAILABLE"] * 10
        async with serving(accounting, address):
            await until(lambda: client.up)
            await client.update("acct-1", ID, 2, pb.UpdateSession())
        assert [operation.WhichOneof("operation") for operation in accounting.operations] == ["update"]


async def _refused(client: ChargingClient) -> str:
    with pytest.raises(ServiceError) as raised:
        await client.create("acct-1", ID, create())
    return raised.value.reason_name


async def test_an_update_that_timed_out_is_not_asked_again(accounting: Accounting, address: str) -> None:
    accounting.script = lambda operation: None
    async with charging(address, create_timeout_ms=50) as client:
        await until(lambda: client.up)
        with pytest.raises(ServiceError):
            await client.update("acct-1", ID, 2, pb.UpdateSession())
        await until(lambda: len(accounting.operations) == 1)
        accounting.script = grants
        accounting.break_next = True
        settled = await client.release("acct-1", ID, 3, pb.ReleaseSession())
        assert settled == pb.Settled(charged_amount=3)
        assert [operation.invocation_sequence_number for operation in accounting.operations] == [2, 3, 3]


async def test_a_release_goes_on_until_it_is_delivered(address: str) -> None:
    accounting = Accounting()  # type: ignore[abstract]
    async with charging(address, release_timeout_ms=200) as client:
        async with serving(accounting, address):
            await until(lambda: client.up)
        await until(lambda: not client.up)
        with pytest.raises(ServiceError) as raised:
            await client.release("acct-1", ID, 3, pb.ReleaseSession())
        assert raised.value.reason_name == "UNAVAILABLE"
        async with serving(accounting, address):
            await until(lambda: len(accounting.operations) == 1)
            assert accounting.operations[0].invocation_sequence_number == 3


@pytest.mark.parametrize("given_up", ["cancelled", "timed out"])
async def test_the_end_waits_for_a_release_that_nobody_waits_for(
    accounting: Accounting, address: str, given_up: str, caplog: pytest.LogCaptureFixture
) -> None:
    unavailable = fails(errors_pb2.ERROR_REASON_STORE_UNAVAILABLE)
    accounting.script = lambda operation: unavailable
    async with charging(address, release_timeout_ms=2_000 if given_up == "cancelled" else 1_500) as client:
        await until(lambda: client.up)
        releasing = asyncio.create_task(client.release("acct-1", ID, 2, pb.ReleaseSession()))
        await until(lambda: len(accounting.operations) == 1)
        if given_up == "cancelled":
            releasing.cancel()
        await asyncio.wait([releasing])
        accounting.script = grants
    assert accounting.operations[-1].HasField("release")
    assert "could not be released" not in caplog.text


async def test_a_release_that_is_refused_is_an_error_in_the_log(
    accounting: Accounting, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    accounting.script = lambda operation: fails(errors_pb2.ERROR_REASON_SEQUENCE_INVALID)
    async with charging(address) as client:
        client.release_later("acct-1", ID, 2, pb.ReleaseSession())
    (record,) = [record for record in caplog.records if record.name == "services.edge.charging.client"]
    assert (record.levelname, ID in record.getMessage()) == ("ERROR", True)


async def test_the_end_waits_for_releases_but_not_for_ever(address: str, caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(WAIT_S), charging(address, release_timeout_ms=300) as client:
        client.release_later("acct-1", ID, 2, pb.ReleaseSession())
        await asyncio.sleep(0)
    assert "1 sessions could not be released" in caplog.text


async def test_all_classes_are_sent_for_as_long_as_every_member_takes_them(accounting: Accounting, address: str) -> None:
    async with charging(address) as client:
        await until(lambda: client.up)
        assert not client.takes_all_classes
        accounting.announce(pb.FEATURE_TOKEN_CLASSES)
        await until(lambda: client.takes_all_classes)
        # A member of the release before has come back.
        accounting.announce()
        await until(lambda: not client.takes_all_classes)


async def test_the_stream_to_a_former_owner_ends(accounting: Accounting, address: str, tmp_path: Path) -> None:
    owner = Accounting()  # type: ignore[abstract]  # the stream is all of it that the edge uses
    owner_address = f"unix:{tmp_path}/d"
    async with serving(owner, owner_address), charging(address) as client:
        await until(lambda: accounting.open_streams == 1)
        accounting.move(owner_address)
        await until(lambda: owner.open_streams == 1)
        # A stream that stays costs both sides a connection, for as long as they run.
        await until(lambda: accounting.open_streams == 0)
        assert isinstance(await client.create("acct-1", ID, create(7)), pb.Granted)
        assert (len(accounting.operations), len(owner.operations)) == (0, 1)


class OfTwoOwners(Accounting):
    """Owns partition 0; the owner of partition 1 is elsewhere."""

    def __init__(self, other: str) -> None:
        super().__init__()
        self._other = other

    async def WatchOwners(self, request: Any, context: Any) -> AsyncIterator[pb.WatchOwnersResponse]:
        owners = [pb.PartitionOwner(part_id=0), pb.PartitionOwner(part_id=1, address=self._other)]
        yield pb.WatchOwnersResponse(partition_count=2, owners=owners)
        await self._announced.wait()


async def test_each_account_s_operations_go_to_the_owner_of_its_partition(address: str, tmp_path: Path) -> None:
    other_address = f"unix:{tmp_path}/d"
    first, second = OfTwoOwners(other_address), Accounting()  # type: ignore[abstract]  # the stream is all of it
    accounts = [f"acct-{number}" for number in range(8)]
    async with serving(first, address), charging(address) as client:
        waiting = [asyncio.create_task(client.create(each, ID, create(7))) for each in accounts]
        await until(lambda: len(first.operations) == sum(partition_of(each, 2) == 0 for each in accounts))
        # Not everybody can be asked yet.
        assert (client.up, len(second.operations)) == (False, 0)
        async with serving(second, other_address):
            await asyncio.gather(*waiting)
            assert client.up
    for part_id, owner in enumerate((first, second)):
        assert {each.account_id for each in owner.operations} == {each for each in accounts if partition_of(each, 2) == part_id}
