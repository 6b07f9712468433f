"""A lane: the batched stream to one owner of partitions, kept open, on which operations travel and their answers come back."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import grpc

from services.runtime.clients import await_connection, connect
from services.runtime.config import ConfigError
from services.runtime.timeouts import Timeouts
from services.runtime.traces import Part
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc

logger = logging.getLogger(__name__)

_OPERATIONS_A_REQUEST_MAX: Final = 1_024
# Operations in this order where more wait than fit into a message: first those that end something, last those that begin anew.
_ORDER: Final = {"release": 0, "update": 1, "create": 2}
# Operations asked within this many turns of the event loop travel in one message, because a message costs as much as a dozen.
_TURNS_GATHERED: Final = 2
_RECONNECT_S_MIN: Final = 0.05
_RECONNECT_S_MAX: Final = 1.0
# Interval of log lines about errors that only an operator can cure.
_EXPLAIN_S: Final = 60.0


class Operation:
    """An operation that is not answered yet. Without a time-out no caller waits, and it is sent until it is answered."""

    __slots__ = ("answered", "future", "kept", "lane", "message", "part", "sent", "timeouts")

    def __init__(
        self, message: pb.ChargeOperation, future: asyncio.Future[pb.ChargeResult], timeouts: "Timeouts[Operation] | None" = None
    ) -> None:
        """`timeouts`: the time-outs that hold it."""
        self.message = message
        self.future = future
        self.timeouts = timeouts
        # The lane to its owner; None while there is none.
        self.lane: Lane | None = None
        # How often it was sent: accounting may know of it.
        self.sent = 0
        # Its part of a trace; None where nothing is traced.
        self.part: Part | None = None
        # Set once it stands in the outbox.
        self.kept = False
        # Set once it is answered or given up.
        self.answered = False

    @property
    def is_release(self) -> bool:
        return self.message.HasField("release")

    def wait_no_more(self) -> None:
        """Notes that nobody waits for its answer any more."""
        if self.timeouts is not None:
            self.timeouts.remove(self)
            self.timeouts = None


class Lane:
    """The stream to one owner."""

    def __init__(
        self,
        address: str,
        channel: grpc.aio.Channel,
        answered: Callable[[pb.ChargeResult], None],
        unanswered: Callable[["Lane"], list[Operation]],
        to_owner: Callable[[str], grpc.aio.Channel] = connect,
    ) -> None:
        self._own_channel: grpc.aio.Channel | None = None
        keeping: Callable[[], Coroutine[None, None, None]] = self._keep_stream
        try:
            # Where accounting is one process, the address is empty, and the channel is the one that told the owners.
            self._own_channel = to_owner(address) if address else None
        except ConfigError as error:
            keeping = partial(self._explain, error)
        self._name = f"accounting at {address}" if address else "accounting"
        self._stub: Any = accounting_pb2_grpc.AccountingServiceStub(self._own_channel or channel)
        self._answered = answered
        self._unanswered = unanswered
        self._outgoing: list[Operation] = []
        self._work = asyncio.Event()
        self._keeping = asyncio.create_task(keeping(), name="charging-stream")
        self.up = False

    @property
    def backlog(self) -> int:
        """The number of operations that wait to be written, because the owner does not read the ones before."""
        return len(self._outgoing)

    def send(self, operation: Operation) -> None:
        """Sends an operation now, or as soon as there is a stream."""
        if self.up:
            self._outgoing.append(operation)
            self._work.set()

    async def close(self) -> None:
        """Ends the stream."""
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        if self._own_channel is not None:
            await self._own_channel.close()

    async def _explain(self, error: ConfigError) -> None:
        """Logs why there will be no stream, whatever the owner does."""
        while True:
            logger.error("calls of accounts at an owner that cannot be reached get 503: %s", error)
            await asyncio.sleep(_EXPLAIN_S)

    async def _keep_stream(self) -> None:
        backoff_s = _RECONNECT_S_MIN
        while True:
            call = self._stub.Charge(wait_for_ready=True)
            reading: asyncio.Task[None] | None = None
            try:
                # An owner that does not come back breaks no stream.
                await await_connection(call, self._name, "calls of its accounts get 503")
                self.up = True
                backoff_s = _RECONNECT_S_MIN
                # Unanswered operations of the stream before are asked again first.
                self._outgoing = self._unanswered(self)
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
            for _ in range(_TURNS_GATHERED):
                await asyncio.sleep(0)
            if reading.done():
                reading.result()
                return
            while self._outgoing:
                if self.backlog > _OPERATIONS_A_REQUEST_MAX:
                    self._outgoing.sort(key=_rank)
                batch, self._outgoing = (
                    self._outgoing[:_OPERATIONS_A_REQUEST_MAX],
                    self._outgoing[_OPERATIONS_A_REQUEST_MAX:],
                )
                messages = []
                for operation in batch:
                    # Operations that were given up, or go to another owner now, are not sent.
                    if operation.lane is self and not operation.answered:
                        operation.sent += 1
                        messages.append(operation.message)
                if messages:
                    await call.write(pb.ChargeRequest(operations=messages))

    async def _read(self, call: Any) -> None:
        while (response := await call.read()) is not grpc.aio.EOF:
            for result in response.results:
                self._answered(result)


def _rank(operation: Operation) -> int:
    return _ORDER[operation.message.WhichOneof("operation") or "create"]
