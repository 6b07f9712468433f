"""The charge stream: operations come in batches, answers leave by commits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from services.accounting.core.commands import Answer, Command
from services.accounting.rpc import answers, commands
from services.accounting.writer.asking import Caller
from services.runtime.errors import ServiceError, invalid
from services.runtime.traces import RemotePart, remote_part
from tokenline.accounting.v1 import accounting_pb2 as pb

_OPERATIONS_A_REQUEST_MAX: Final = 1_024
# No further request is read while more operations than this wait for their answers, or answers for their caller: one that does
# not read would fill the memory.
_UNTAKEN_MAX: Final = 16_384

# See `Owner.submit`.
Submit = Callable[[Command, Caller, int], None]


class ChargeStream:
    """One caller's stream: gathers the answers of a commit into one response."""

    def __init__(self) -> None:
        self._response = pb.ChargeResponse()
        self._ready = asyncio.Event()
        self._taken = asyncio.Event()
        self._ended = False

    @property
    def untaken(self) -> int:
        """Number of answers that wait for the caller to read those before."""
        return len(self._response.results)

    async def taken(self) -> None:
        """Returns once the caller takes further answers."""
        self._taken.clear()
        await self._taken.wait()

    def answer(self, tag: int, answer: Answer) -> None:
        result = self._response.results.add()
        result.operation_id = tag
        answers.fill_result(result, answer)

    def fail(self, tag: int, error: ServiceError) -> None:
        """Answers an operation that is no command."""
        result = self._response.results.add()
        result.operation_id = tag
        answers.fill_error(result, error.reason, error.message)

    def flush(self) -> None:
        self._ready.set()

    def end(self) -> None:
        """Ends the stream once all answers are sent."""
        self._ended = True
        self._ready.set()

    async def responses(self) -> AsyncIterator[pb.ChargeResponse]:
        """The answers, those of one commit together, until the end."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            if self._response.results:
                response, self._response = self._response, pb.ChargeResponse()
                self._taken.set()
                yield response
            if self._ended and not self._response.results:
                return


class _Outstanding:
    """A stream's operations that wait for answers, so that it ends only after the last of them."""

    def __init__(self, stream: ChargeStream) -> None:
        self._stream = stream
        self._no_more = False
        self.count = 0
        # By tag, those that are parts of traces.
        self._traced: dict[int, RemotePart] = {}

    def add(self, operation: pb.ChargeOperation) -> None:
        """Notes an operation before it is submitted."""
        self.count += 1
        if operation.traceparent and (part := remote_part(f"charge {operation.WhichOneof('operation')}", operation.traceparent)):
            self._traced[operation.operation_id] = part

    def answer(self, tag: int, answer: Answer) -> None:
        self.count -= 1
        if self._traced and (part := self._traced.pop(tag, None)) is not None:
            part.end()
        self._stream.answer(tag, answer)

    def flush(self) -> None:
        if self._no_more and not self.count:
            self._stream.end()
        self._stream.flush()

    def end(self) -> None:
        self._no_more = True
        if not self.count:
            self._stream.end()


async def read(requests: AsyncIterator[pb.ChargeRequest], stream: ChargeStream, submit: Submit) -> None:
    """Submits all operations of a caller's stream; the stream ends after the answer to the last one.

    Errors: `ServiceError` INVALID_ARGUMENT for a request that is malformed as a whole.
    """
    outstanding = _Outstanding(stream)
    try:
        async for request in requests:
            if len(request.operations) > _OPERATIONS_A_REQUEST_MAX:
                raise invalid(f"operations must be at most {_OPERATIONS_A_REQUEST_MAX}")
            for operation in request.operations:
                try:
                    command = commands.command_of(operation)
                except ServiceError as error:
                    stream.fail(operation.operation_id, error)
                    stream.flush()
                else:
                    outstanding.add(operation)
                    submit(command, outstanding, operation.operation_id)
            while outstanding.count + stream.untaken > _UNTAKEN_MAX:
                await stream.taken()
    finally:
        # The caller sends no more, but may still wait for answers.
        outstanding.end()
