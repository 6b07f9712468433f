"""The edge's side of charging: one batched stream to each owner of partitions, on which its accounts' operations travel.

Operations are numbered and idempotent. So an unanswered one is sent again: after the stream broke, to another owner of the
partition, or when accounting says that its answer is not certain. A Release is sent until it is answered. If that takes long, it
goes to the outbox on disk, counts as delivered, and is sent on.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc

from services.edge.charging.lane import Lane, Operation
from services.edge.charging.outbox import Outbox
from services.edge.charging.port import Opened
from services.edge.config import EdgeConfig
from services.partitions import partition_of
from services.runtime.clients import connect, messages
from services.runtime.errors import TRANSIENT, ServiceError
from services.runtime.instruments import Gauge, export
from services.runtime.logs import KEPT
from services.runtime.timeouts import Timeouts
from services.runtime.traces import begin_part, current_trace
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

_RECONNECT_S_MIN: Final = 0.05
_RECONNECT_S_MAX: Final = 1.0
_REPEAT_S: Final = 0.02
# Operations that may wait for one owner to read them, before further Creates are shed, and before Updates are.
_BACKLOG_MAX: Final = {"create": 4_096, "update": 8_192}
# Interval of repeats once nobody waits for the answer.
_REPEAT_LATER_S: Final = 1.0


class ChargingClient:
    """An asynchronous context manager; at its end it gives undelivered Releases the time that a Release may take.

    Undelivered ones then stay in the outbox, where there is one; `left` are those that were found in it.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        config: EdgeConfig,
        outbox: Outbox | None = None,
        left: Sequence[pb.ChargeOperation] = (),
        to_owner: Callable[[str], grpc.aio.Channel] = connect,
        noted: Callable[[str, str], None] = lambda account_id, offering_id: None,
    ) -> None:
        """`to_owner`: a channel to accounting at the address of an owner. `noted` hears an account's offering with each Create."""
        self._channel = channel
        self._to_owner = to_owner
        self._release_timeout_s = config.release_timeout_ms / 1_000
        self._asked = Timeouts(config.create_timeout_ms / 1_000, self._time_is_up)
        self._released = Timeouts(self._release_timeout_s, self._time_is_up)
        self._outbox = outbox
        self._to_outbox = Timeouts(config.outbox_after_ms / 1_000, self._keep_late)
        self._last_operation_id = 0
        # By operation_id, in the order of submission.
        self._unanswered: dict[int, Operation] = {}
        self._release_answered = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        # Owners by address, and the address of each partition's owner; 0 partitions: not known yet.
        self._lanes: dict[str, Lane] = {}
        self._owners: dict[int, str] = {}
        self._partitions = 0
        self._takes_all_classes = False
        self._noted = noted
        for message in left:
            self._owe(message)

    @property
    def up(self) -> bool:
        """Whether accounting can be asked: every partition that has an owner is connected to it."""
        return bool(self._owners) and all(self._lanes[address].up for address in self._owners.values())

    def export(self) -> None:
        """Shows from now on how many operations wait for an answer."""
        export(Gauge("edge.charging.unanswered", "Operations that accounting has not answered", lambda: len(self._unanswered)))

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._follow_owners(), name="charging-owners")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._following is not None
        deadline_s = asyncio.get_running_loop().time() + self._release_timeout_s
        if self._background:
            await asyncio.wait(self._background, timeout=self._release_timeout_s)
        try:
            # Wait for all of them, including those that nobody waits for.
            async with asyncio.timeout_at(deadline_s):
                while self._undelivered():
                    self._release_answered.clear()
                    await self._release_answered.wait()
        except TimeoutError:
            await self._keep_undelivered()
        self._following.cancel()
        await asyncio.wait([self._following])
        for lane in self._lanes.values():
            await lane.close()

    async def _keep_undelivered(self) -> None:
        lost = self._undelivered()
        if self._outbox is not None:
            owed = [each for each in self._unanswered.values() if each.is_release]
            kept = await asyncio.gather(*(self._keep(each) for each in owed))
            lost = kept.count(False)
        if lost:
            logger.error("%d sessions could not be released; accounting sweeps them at what was last reported", lost)

    def _undelivered(self) -> int:
        return sum(operation.is_release for operation in self._unanswered.values())

    def _owe(self, message: pb.ChargeOperation) -> None:
        """Takes a Release from the outbox: it is sent until it is answered."""
        self._last_operation_id += 1
        message.operation_id = self._last_operation_id
        operation = Operation(message, asyncio.get_running_loop().create_future())
        operation.kept = True
        self._unanswered[message.operation_id] = operation

    @property
    def takes_all_classes(self) -> bool:
        """See `services.edge.charging.port.Charging`."""
        return self._takes_all_classes

    async def create(self, account_id: str, charging_id: str, create: pb.CreateSession) -> Opened:
        """Opens a session. Errors: `ServiceError`; UNAVAILABLE when there was no answer in time, and then nothing stays held."""
        message = pb.ChargeOperation(account_id=account_id, charging_id=charging_id, invocation_sequence_number=1, create=create)
        operation = self._begin(message, self._asked)
        try:
            result = await self._answer_to(operation)
        except (ServiceError, asyncio.CancelledError) as error:
            if _may_be_open(operation, error):
                self.release_later(account_id, charging_id, 2, pb.ReleaseSession(**_NOTHING_USED))
            raise
        if result.HasField("known_call"):
            return result.known_call
        opened = result.refused if result.HasField("refused") else result.granted
        self._noted(account_id, opened.offering_id)
        return opened

    async def update(self, account_id: str, charging_id: str, number: int, update: pb.UpdateSession) -> pb.Granted:
        """Reports, renews and asks for more. Errors: `ServiceError`."""
        message = pb.ChargeOperation(
            account_id=account_id, charging_id=charging_id, invocation_sequence_number=number, update=update
        )
        return (await self._answer_to(self._begin(message, self._asked))).granted

    async def release(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> pb.Settled | None:
        """Settles a session; returns once that is durable: the charge, or None when the Release stands in the outbox.

        Errors: `ServiceError`; UNAVAILABLE when that took too long, and then it goes on being sent. A cancellation does not stop it
        either.
        """
        message = pb.ChargeOperation(
            account_id=account_id, charging_id=charging_id, invocation_sequence_number=number, release=release
        )
        operation = self._begin(message, self._released)
        if self._outbox is not None:
            self._to_outbox.add(operation)
        result = await self._answer_to(operation)
        return None if result is _IN_OUTBOX else result.settled

    def _keep_late(self, operation: Operation) -> None:
        self._spawn(self._keep_and_tell(operation))

    async def _keep_and_tell(self, operation: Operation) -> None:
        """Puts a Release into the outbox, and tells the caller that it is there."""
        if await self._keep(operation) and not operation.future.done():
            operation.future.set_result(_IN_OUTBOX)

    async def _keep(self, operation: Operation) -> bool:
        """Puts a Release into the outbox; returns whether it stands there."""
        assert self._outbox is not None
        if not operation.kept:
            try:
                await self._outbox.keep(operation.message)
            except ServiceError as error:
                message = operation.message
                logger.error("session %s can't be kept in the outbox: %s", message.charging_id, error.message, extra=KEPT)
                return False
            operation.kept = True
            operation.wait_no_more()
            if operation.answered:
                # It was answered meanwhile.
                self._outbox.delivered(operation.message)
        return True

    def release_later(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> None:
        """Settles a session whose caller does not wait."""
        self._spawn(self._release_quietly(account_id, charging_id, number, release))

    async def _release_quietly(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> None:
        try:
            await self.release(account_id, charging_id, number, release)
        except ServiceError as error:
            if error.reason == errors_pb2.ERROR_REASON_UNAVAILABLE:
                logger.warning("session %s is not released yet: %s", charging_id, error.message)
            elif error.reason != errors_pb2.ERROR_REASON_SESSION_UNKNOWN:
                logger.error("session %s could not be released: %s", charging_id, error.message, extra=KEPT)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="charging-release")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # Asking

    def _begin(self, message: pb.ChargeOperation, timeouts: Timeouts[Operation]) -> Operation:
        """Asks. Errors: `ServiceError` OVERLOADED where too much waits already; never for a Release."""
        lane = self._lane_of(message.account_id)
        most = _BACKLOG_MAX.get(message.WhichOneof("operation") or "")
        if lane is not None and most is not None and lane.backlog >= most:
            raise ServiceError(errors_pb2.ERROR_REASON_OVERLOADED, "too much waits for accounting already")
        self._last_operation_id += 1
        message.operation_id = operation_id = self._last_operation_id
        operation = Operation(message, asyncio.get_running_loop().create_future(), timeouts)
        if current_trace() is not None and (part := begin_part(f"charge {message.WhichOneof('operation')}")) is not None:
            operation.part = part
            message.traceparent = part.traceparent
        timeouts.add(operation)
        self._unanswered[operation_id] = operation
        self._send(operation)
        return operation

    async def _answer_to(self, operation: Operation) -> pb.ChargeResult:
        try:
            result = await operation.future
        except asyncio.CancelledError:
            self._give_up(operation)
            raise
        finally:
            if operation.part is not None:
                operation.part.end()
        if result.HasField("error"):
            raise ServiceError(result.error.reason, result.error.message)
        return result

    def _send(self, operation: Operation) -> None:
        # While its partition has no owner, or no stream to it, the operation waits among the unanswered ones.
        operation.lane = lane = self._lane_of(operation.message.account_id)
        if lane is not None:
            lane.send(operation)

    def _lane_of(self, account_id: str) -> Lane | None:
        if not self._partitions:
            return None
        address = self._owners.get(partition_of(account_id, self._partitions))
        return None if address is None else self._lanes[address]

    def _give_up(self, operation: Operation) -> None:
        """Asks no more, so that a Create does not come again after the Release that undoes it; only a Release goes on."""
        if not operation.is_release:
            self._unanswered.pop(operation.message.operation_id, None)
            operation.answered = True

    def _time_is_up(self, operation: Operation) -> None:
        operation.wait_no_more()
        self._give_up(operation)
        if not operation.future.done():
            operation.future.set_exception(ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "accounting did not answer in time"))

    def _answered(self, result: pb.ChargeResult) -> None:
        operation = self._unanswered.get(result.operation_id)
        if operation is None:
            return
        # The operation is asked again; its caller hears of such errors only when the time is up.
        if result.HasField("error") and result.error.reason in TRANSIENT:
            repeat_s = _REPEAT_LATER_S if operation.timeouts is None else _REPEAT_S
            asyncio.get_running_loop().call_later(repeat_s, self._send_again, result.operation_id)
            return
        del self._unanswered[result.operation_id]
        operation.answered = True
        if operation.is_release:
            self._release_answered.set()
            self._to_outbox.remove(operation)
            if operation.kept:
                self._leave_outbox(operation, result)
        operation.wait_no_more()
        if not operation.future.done():
            operation.future.set_result(result)

    def _send_again(self, operation_id: int) -> None:
        operation = self._unanswered.get(operation_id)
        if operation is not None:
            self._send(operation)

    def _leave_outbox(self, operation: Operation, result: pb.ChargeResult) -> None:
        assert self._outbox is not None
        self._outbox.delivered(operation.message)
        if result.HasField("error"):
            # A reader of the log can charge it by hand.
            logger.error(
                "session %s from the outbox was refused: %s; it was of account %s and used %s",
                operation.message.charging_id,
                result.error.message,
                operation.message.account_id,
                " ".join(str(operation.message.release.used).split()),
                extra=KEPT,
            )

    # Owners

    async def _follow_owners(self) -> None:
        """Keeps a stream to each owner; while nobody tells the owners, the last known ones hold."""
        stub: Any = accounting_pb2_grpc.AccountingServiceStub(self._channel)
        backoff_s = _RECONNECT_S_MIN
        while True:
            try:
                call = stub.WatchOwners(pb.WatchOwnersRequest(), wait_for_ready=True)
                consequence = "new owners of accounts are not heard of" if self._owners else "every call gets 503"
                async for response in messages(call, "accounting", consequence):
                    backoff_s = _RECONNECT_S_MIN
                    self._takes_all_classes = pb.FEATURE_TOKEN_CLASSES in response.features
                    self._take_owners(response.partition_count, {each.part_id: each.address for each in response.owners})
            except grpc.aio.AioRpcError as error:
                logger.warning("accounting's stream of owners broke (%s), connecting again", error.code().name)
            except Exception:
                logger.exception("accounting's stream of owners failed, connecting again")
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _RECONNECT_S_MAX)

    def _take_owners(self, partitions: int, owners: dict[int, str]) -> None:
        for address in set(owners.values()) - self._lanes.keys():
            self._lanes[address] = Lane(address, self._channel, self._answered, self._of_lane, self._to_owner)
        self._partitions, self._owners = partitions, owners
        # Operations for a former owner go to the present one; numbers make it harmless if both answer.
        for operation in list(self._unanswered.values()):
            if self._lane_of(operation.message.account_id) is not operation.lane:
                self._send(operation)
        for address in self._lanes.keys() - set(owners.values()):
            self._spawn(self._lanes.pop(address).close())

    def _of_lane(self, lane: "Lane") -> list[Operation]:
        return [operation for operation in self._unanswered.values() if operation.lane is lane]


def _may_be_open(create: Operation, error: BaseException) -> bool:
    """Whether a Create that failed may have opened a session: one without an answer, or shed when it was sent again."""
    if isinstance(error, ServiceError) and error.reason != errors_pb2.ERROR_REASON_UNAVAILABLE:
        return error.reason == errors_pb2.ERROR_REASON_OVERLOADED and create.sent > 1
    return create.sent > 0


# Given to the caller instead of an answer, once a Release stands in the outbox.
_IN_OUTBOX: Final = pb.ChargeResult()
_NOTHING_USED: Final[dict[str, Any]] = {
    "provenance": pb.USAGE_PROVENANCE_VENDOR,
    "close_cause": pb.CLOSE_CAUSE_REJECTED,
}
