"""The edge's side of charging: one batched stream to accounting, on which every call's operations travel.

Operations are numbered and idempotent, so whatever was not answered is sent again after the stream broke, or when accounting
says that it could not answer for certain. A Release is sent until it is answered, or until the process ends.
"""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self

import grpc

from services.edge.config import EdgeConfig
from services.runtime.errors import ServiceError
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

_OPERATIONS_A_REQUEST_MAX: Final = 1_024
_RECONNECT_S_MIN: Final = 0.05
_RECONNECT_S_MAX: Final = 1.0
_REPEAT_S: Final = 0.05
# The same when nobody waits for the answer any more.
_REPEAT_LATER_S: Final = 1.0
# Who waits for an answer of one of these hears it only when the time is up: until then it is asked again.
_ASK_AGAIN: Final = frozenset(
    {errors_pb2.ERROR_REASON_NOT_OWNER, errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, errors_pb2.ERROR_REASON_UNAVAILABLE}
)


class _Operation:
    """An operation that is not answered yet. Without a timer nobody waits any more, and it is sent until it is answered."""

    __slots__ = ("future", "message", "sent", "timer")

    def __init__(self, message: pb.ChargeOperation, future: asyncio.Future[pb.ChargeResult]) -> None:
        self.message = message
        self.future = future
        self.timer: asyncio.TimerHandle | None = None
        # Accounting may know of it.
        self.sent = False

    @property
    def is_release(self) -> bool:
        return self.message.HasField("release")


class ChargingClient:
    """An asynchronous context manager; at its end it gives Releases that are not delivered the time that a Release may take."""

    def __init__(self, channel: grpc.aio.Channel, config: EdgeConfig) -> None:
        self._stub = accounting_pb2_grpc.AccountingServiceStub(channel)
        self._create_timeout_s = config.create_timeout_ms / 1_000
        self._release_timeout_s = config.release_timeout_ms / 1_000
        self._last_operation_id = 0
        # By operation_id, in the order of asking.
        self._unanswered: dict[int, _Operation] = {}
        self._outgoing: list[_Operation] = []
        self._work = asyncio.Event()
        self._release_answered = asyncio.Event()
        self._stream: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self.up = False

    async def __aenter__(self) -> Self:
        self._stream = asyncio.create_task(self._keep_stream(), name="charging-stream")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._stream is not None
        deadline_s = asyncio.get_running_loop().time() + self._release_timeout_s
        if self._background:
            await asyncio.wait(self._background, timeout=self._release_timeout_s)
        try:
            # Also those for which nobody waits any more.
            async with asyncio.timeout_at(deadline_s):
                while self._undelivered():
                    self._release_answered.clear()
                    await self._release_answered.wait()
        except TimeoutError:
            logger.error("%d sessions could not be released; accounting sweeps them at what was last reported", self._undelivered())
        self._stream.cancel()
        await asyncio.wait([self._stream])

    def _undelivered(self) -> int:
        return sum(operation.is_release for operation in self._unanswered.values())

    async def create(self, account_id: str, charging_id: str, create: pb.CreateSession) -> pb.Granted | pb.Refused:
        """Opens a session. Errors: `ServiceError`; UNAVAILABLE when there was no answer in time, and then nothing stays held."""
        message = pb.ChargeOperation(account_id=account_id, charging_id=charging_id, invocation_sequence_number=1, create=create)
        operation = self._begin(message, self._create_timeout_s)
        try:
            result = await self._answer_to(operation)
        except (ServiceError, asyncio.CancelledError) as error:
            # What got no answer may have been granted for all we know; what was never sent can't have been.
            unknown = not isinstance(error, ServiceError) or error.reason == errors_pb2.ERROR_REASON_UNAVAILABLE
            if unknown and operation.sent:
                self.release_later(account_id, charging_id, 2, pb.ReleaseSession(**_NOTHING_USED))
            raise
        return result.refused if result.HasField("refused") else result.granted

    async def update(self, account_id: str, charging_id: str, number: int, update: pb.UpdateSession) -> pb.Granted:
        """Reports, renews and asks for more. Errors: `ServiceError`."""
        message = pb.ChargeOperation(
            account_id=account_id, charging_id=charging_id, invocation_sequence_number=number, update=update
        )
        return (await self._answer_to(self._begin(message, self._create_timeout_s))).granted

    async def release(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> pb.Settled:
        """Settles a session; returns once that is durable.

        Errors: `ServiceError`; UNAVAILABLE when that took too long, and then it goes on being sent. Being cancelled does not
        stop it either.
        """
        message = pb.ChargeOperation(
            account_id=account_id, charging_id=charging_id, invocation_sequence_number=number, release=release
        )
        return (await self._answer_to(self._begin(message, self._release_timeout_s))).settled

    def release_later(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> None:
        """Settles a session for which nobody waits."""
        self._spawn(self._release_quietly(account_id, charging_id, number, release))

    async def _release_quietly(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> None:
        try:
            await self.release(account_id, charging_id, number, release)
        except ServiceError as error:
            if error.reason == errors_pb2.ERROR_REASON_UNAVAILABLE:
                logger.warning("session %s is not released yet: %s", charging_id, error.message)
            elif error.reason != errors_pb2.ERROR_REASON_SESSION_UNKNOWN:
                logger.error("session %s could not be released: %s", charging_id, error.message)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="charging-release")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # Asking

    def _begin(self, message: pb.ChargeOperation, timeout_s: float) -> _Operation:
        loop = asyncio.get_running_loop()
        self._last_operation_id += 1
        message.operation_id = operation_id = self._last_operation_id
        operation = _Operation(message, loop.create_future())
        operation.timer = loop.call_later(timeout_s, self._time_is_up, operation)
        self._unanswered[operation_id] = operation
        self._send(operation)
        return operation

    async def _answer_to(self, operation: _Operation) -> pb.ChargeResult:
        try:
            result = await operation.future
        except asyncio.CancelledError:
            self._give_up(operation)
            raise
        if result.HasField("error"):
            raise ServiceError(result.error.reason, result.error.message)
        return result

    def _send(self, operation: _Operation) -> None:
        # While there is no stream, it waits among the unanswered ones.
        if self.up:
            self._outgoing.append(operation)
            self._work.set()

    def _give_up(self, operation: _Operation) -> None:
        """Asks no more, so that a Create does not come again behind the Release that undoes it; only a Release goes on."""
        if not operation.is_release:
            self._unanswered.pop(operation.message.operation_id, None)

    def _time_is_up(self, operation: _Operation) -> None:
        operation.timer = None
        self._give_up(operation)
        if not operation.future.done():
            operation.future.set_exception(ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "accounting did not answer in time"))

    def _answered(self, result: pb.ChargeResult) -> None:
        operation = self._unanswered.get(result.operation_id)
        if operation is None:
            return
        if result.HasField("error") and result.error.reason in _ASK_AGAIN:
            repeat_s = _REPEAT_LATER_S if operation.timer is None else _REPEAT_S
            asyncio.get_running_loop().call_later(repeat_s, self._send_again, result.operation_id)
            return
        del self._unanswered[result.operation_id]
        if operation.is_release:
            self._release_answered.set()
        if operation.timer is not None:
            operation.timer.cancel()
        if not operation.future.done():
            operation.future.set_result(result)

    def _send_again(self, operation_id: int) -> None:
        operation = self._unanswered.get(operation_id)
        if operation is not None:
            self._send(operation)

    # The stream

    async def _keep_stream(self) -> None:
        backoff_s = _RECONNECT_S_MIN
        while True:
            call = self._stub.Charge(wait_for_ready=True)
            reading: asyncio.Task[None] | None = None
            try:
                await call.wait_for_connection()
                self.up = True
                backoff_s = _RECONNECT_S_MIN
                # Whatever was sent on the stream before, and not answered, is asked again first.
                self._outgoing = list(self._unanswered.values())
                self._work.set()
                reading = asyncio.create_task(self._read(call), name="charging-answers")
                await self._write(call, reading)
            except grpc.aio.AioRpcError as error:
                logger.warning("the charging stream broke (%s), connecting again", error.code().name)
            except Exception:
                logger.exception("the charging stream failed, connecting again")
            finally:
                self.up = False
                if reading is not None:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
                call.cancel()
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _RECONNECT_S_MAX)

    async def _write(self, call: Any, reading: asyncio.Task[None]) -> None:
        reading.add_done_callback(lambda _: self._work.set())
        while True:
            await self._work.wait()
            self._work.clear()
            if reading.done():
                reading.result()
                return
            while self._outgoing:
                batch, self._outgoing = (
                    self._outgoing[:_OPERATIONS_A_REQUEST_MAX],
                    self._outgoing[_OPERATIONS_A_REQUEST_MAX:],
                )
                messages = []
                for operation in batch:
                    # What was given up before it was sent stays unsent.
                    if operation.message.operation_id in self._unanswered:
                        operation.sent = True
                        messages.append(operation.message)
                if messages:
                    await call.write(pb.ChargeRequest(operations=messages))

    async def _read(self, call: Any) -> None:
        while (response := await call.read()) is not grpc.aio.EOF:
            for result in response.results:
                self._answered(result)


_NOTHING_USED: Final[dict[str, Any]] = {
    "provenance": pb.USAGE_PROVENANCE_VENDOR,
    "close_cause": pb.CLOSE_CAUSE_REJECTED,
}
