"""The gRPC face of accounting: proto to core, core to proto."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from services.accounting.cell.directory import Directory, is_forwarded
from services.accounting.cell.server_groups import ServerGroups
from services.accounting.core import commands
from services.accounting.core.commands import Answer, BucketAdded, Command, Failed, Fault, Ordered, RecordsFound, TransferView
from services.accounting.core.entries import SessionSettled
from services.accounting.journal.codec import decode_row
from services.accounting.rpc import translation
from services.accounting.rpc.journal import journal_entry_message
from services.accounting.writer.asking import ask, view_of
from services.runtime.clock import timestamp
from services.runtime.errors import ServiceError, invalid
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2

_OPERATIONS_A_REQUEST_MAX: Final = 1_024
_JOURNAL_ROWS_A_READ: Final = 200
_JOURNAL_ENTRIES_A_MESSAGE: Final = 1_000

_ADDRESS_LENGTH_MAX: Final = 500
_DELIVERY_S_MAX: Final = 5.0
_FAULTS: Final = frozenset(int(fault) for fault in Fault)

_Context = grpc.aio.ServicerContext
# Has a partition owned by the replica at an address; returns the address of its owner then.
Move = Callable[[int, str], Awaitable[str]]


class _ChargeStream:
    """One caller's stream: gathers the answers of a commit into one response."""

    def __init__(self) -> None:
        self._response = pb.ChargeResponse()
        self._ready = asyncio.Event()
        self._ended = False

    def answer(self, tag: int, answer: Answer) -> None:
        result = self._response.results.add()
        result.operation_id = tag
        translation.fill_result(result, answer)

    def fail(self, tag: int, error: ServiceError) -> None:
        result = self._response.results.add()
        result.operation_id = tag
        translation.fill_error(result, error.reason, error.message)

    def flush(self) -> None:
        self._ready.set()

    def end(self) -> None:
        self._ended = True
        self._ready.set()

    async def responses(self) -> AsyncIterator[pb.ChargeResponse]:
        while True:
            await self._ready.wait()
            self._ready.clear()
            if self._response.results:
                response, self._response = self._response, pb.ChargeResponse()
                yield response
            if self._ended and not self._response.results:
                return


def _at_owner(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Has a request about an account answered by the owner of its partition."""

    @functools.wraps(method)
    async def routed(self: "AccountingServicer", request: Any, context: Any) -> Any:
        return await self.at_owner(method, request, context)

    return routed


class AccountingServicer(accounting_pb2_grpc.AccountingServiceServicer):
    """See tokenline/accounting/v1/accounting.proto."""

    def __init__(
        self, groups: ServerGroups, directory: Directory, move: Callable[[int, str], Awaitable[str]] | None = None
    ) -> None:
        """`move`: see `Coordinator.move`; None: there is one replica."""
        self._groups = groups
        self._directory = directory
        self._streams: set[_ChargeStream] = set()
        self._move = move

    def end_streams(self) -> None:
        """Ends the streams, those of charging once what was asked on them is answered; callers ask elsewhere, or later."""
        self._directory.end()
        for stream in self._streams:
            stream.end()

    async def Charge(
        self, request_iterator: AsyncIterator[pb.ChargeRequest], context: "_Context[Any, Any]"
    ) -> AsyncIterator[pb.ChargeResponse]:
        if not self._groups.serving:
            raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "accounting is starting, recovering or stopping")
        # Tells the caller that its stream is taken, before there is anything to answer.
        await context.send_initial_metadata(())
        stream = _ChargeStream()
        self._streams.add(stream)
        reading = asyncio.create_task(self._read(request_iterator, stream), name="charge-stream")
        try:
            async for response in stream.responses():
                yield response
            if reading.done():
                # A request that was malformed as a whole ends the stream with its error.
                reading.result()
        finally:
            self._streams.discard(stream)
            reading.cancel()

    async def _read(self, requests: AsyncIterator[pb.ChargeRequest], stream: _ChargeStream) -> None:
        submit = self._groups.submit
        outstanding = _Outstanding(stream)
        try:
            async for request in requests:
                if len(request.operations) > _OPERATIONS_A_REQUEST_MAX:
                    raise invalid(f"operations must be at most {_OPERATIONS_A_REQUEST_MAX}")
                for operation in request.operations:
                    try:
                        command = translation.command_of(operation)
                    except ServiceError as error:
                        stream.fail(operation.operation_id, error)
                        stream.flush()
                    else:
                        outstanding.count += 1
                        submit(command, outstanding, operation.operation_id)
        finally:
            # The caller sends no more, but may still wait for answers.
            outstanding.end()

    async def at_owner(self, method: Callable[..., Awaitable[Any]], request: Any, context: Any) -> Any:
        """What the owner of the account's partition answers."""
        part_id = self._groups.partition_of(request.account_id)
        here = functools.partial(method, self)
        return await self._directory.at_owner(part_id, method.__name__, here, request, context)

    async def _done(self, command: Command) -> Answer:
        """The answer to a command; errors: the `ServiceError` that a `Failed` stands for."""
        answer = await ask(self._groups, command)
        translation.raise_if_failed(answer)
        return answer

    async def _ordered(self, command: Command) -> pb.Order:
        answer = await self._done(command)
        assert isinstance(answer, Ordered)
        return translation.ordered_message(answer)

    @_at_owner
    async def OpenAccount(self, request: pb.OpenAccountRequest, context: "_Context[Any, Any]") -> pb.OpenAccountResponse:
        answer = await self._done(translation.open_account_of(request))
        return pb.OpenAccountResponse(account=translation.account_message(view_of(answer)))

    @_at_owner
    async def GetAccount(self, request: pb.GetAccountRequest, context: "_Context[Any, Any]") -> pb.GetAccountResponse:
        answer = await ask(self._groups, translation.read_account_of(request))
        translation.raise_if_failed(answer)
        return pb.GetAccountResponse(account=translation.account_message(view_of(answer)))

    @_at_owner
    async def GrantBucket(self, request: pb.GrantBucketRequest, context: "_Context[Any, Any]") -> pb.GrantBucketResponse:
        answer = await ask(self._groups, translation.grant_bucket_of(request))
        translation.raise_if_failed(answer)
        assert isinstance(answer, BucketAdded)
        return translation.bucket_added_message(answer)

    @_at_owner
    async def RefundSession(self, request: pb.RefundSessionRequest, context: "_Context[Any, Any]") -> pb.RefundSessionResponse:
        # Checked before the journal is read for it.
        translation.refund_of(request, "", 0)
        part_id = self._groups.partition_of(request.account_id)
        rows = await self._groups.read_rows(part_id, request.sequence_number - 1, 1)
        for row in rows if rows and rows[0].seq == request.sequence_number else ():
            for entry in decode_row(row.body, f"journal row {part_id}/{row.seq}"):
                if (
                    isinstance(entry, SessionSettled)
                    and entry.account_id == request.account_id
                    and entry.charging_id == request.charging_id
                    and entry.record_number == (request.record_sequence_number or 1)
                ):
                    answer = await self._done(translation.refund_of(request, entry.tariff.unit, entry.charged))
                    assert isinstance(answer, BucketAdded)
                    added = translation.bucket_added_message(answer)
                    return pb.RefundSessionResponse(bucket=added.bucket, repaid_amount=added.repaid_amount)
        raise ServiceError(
            errors_pb2.ERROR_REASON_RECORD_UNKNOWN,
            f"no record {request.record_sequence_number or 1} of {request.charging_id} of account {request.account_id} stands in "
            f"journal row {request.sequence_number}; take sequence_number and record_sequence_number from its receipt",
        )

    @_at_owner
    async def ReduceBucket(self, request: pb.ReduceBucketRequest, context: "_Context[Any, Any]") -> pb.ReduceBucketResponse:
        await self._done(translation.reduce_of(request))
        return pb.ReduceBucketResponse()

    @_at_owner
    async def WriteOffDebt(self, request: pb.WriteOffDebtRequest, context: "_Context[Any, Any]") -> pb.WriteOffDebtResponse:
        await self._done(translation.write_off_of(request))
        return pb.WriteOffDebtResponse()

    @_at_owner
    async def PlaceOrder(self, request: pb.PlaceOrderRequest, context: "_Context[Any, Any]") -> pb.PlaceOrderResponse:
        return pb.PlaceOrderResponse(order=await self._ordered(translation.place_order_of(request)))

    @_at_owner
    async def ConfirmPayment(self, request: pb.ConfirmPaymentRequest, context: "_Context[Any, Any]") -> pb.ConfirmPaymentResponse:
        return pb.ConfirmPaymentResponse(order=await self._ordered(translation.confirm_payment_of(request)))

    @_at_owner
    async def CancelOrder(self, request: pb.CancelOrderRequest, context: "_Context[Any, Any]") -> pb.CancelOrderResponse:
        return pb.CancelOrderResponse(order=await self._ordered(translation.cancel_order_of(request)))

    @_at_owner
    async def ChangeSubscription(
        self, request: pb.ChangeSubscriptionRequest, context: "_Context[Any, Any]"
    ) -> pb.ChangeSubscriptionResponse:
        return pb.ChangeSubscriptionResponse(order=await self._ordered(translation.change_subscription_of(request)))

    @_at_owner
    async def CancelSubscription(
        self, request: pb.CancelSubscriptionRequest, context: "_Context[Any, Any]"
    ) -> pb.CancelSubscriptionResponse:
        await self._done(translation.cancel_subscription_of(request))
        return pb.CancelSubscriptionResponse()

    @_at_owner
    async def SendTransfer(self, request: pb.SendTransferRequest, context: "_Context[Any, Any]") -> pb.SendTransferResponse:
        answer = await self._done(translation.send_transfer_of(request))
        assert isinstance(answer, TransferView)
        return pb.SendTransferResponse(transfer_id=answer.transfer_id, state=answer.state, remark=answer.reason)

    @_at_owner
    async def SetLimits(self, request: pb.SetLimitsRequest, context: "_Context[Any, Any]") -> pb.SetLimitsResponse:
        await self._done(translation.set_limits_of(request))
        return pb.SetLimitsResponse()

    async def ExplainRefusal(self, request: pb.ExplainRefusalRequest, context: "_Context[Any, Any]") -> pb.ExplainRefusalResponse:
        refusal = self._groups.refusal(translation.charging_id_of(request))
        if refusal is None:
            for address in () if is_forwarded(context) else self._directory.others():
                with contextlib.suppress(ServiceError):
                    explained: pb.ExplainRefusalResponse = await self._directory.forward(address, "ExplainRefusal", request, 1.0)
                    return explained
            raise ServiceError(
                errors_pb2.ERROR_REASON_RECORD_UNKNOWN,
                f"no refusal of call {request.charging_id!r} is remembered; the last ones are kept until accounting restarts",
            )
        command, refused, time_us = refusal
        return pb.ExplainRefusalResponse(
            account_id=command.account_id,
            model_id=command.model_id,
            key_id=command.key_id,
            refuse_time=timestamp(time_us),
            refused=translation.refused_message(refused),
        )

    @_at_owner
    async def GetSessionRecords(
        self, request: pb.GetSessionRecordsRequest, context: "_Context[Any, Any]"
    ) -> pb.GetSessionRecordsResponse:
        answer = await ask(self._groups, translation.find_records_of(request))
        translation.raise_if_failed(answer)
        assert isinstance(answer, RecordsFound)
        part_id = self._groups.partition_of(request.account_id)
        response = pb.GetSessionRecordsResponse()
        for seq in answer.sequence_numbers:
            (row,) = await self._groups.read_rows(part_id, seq - 1, 1)
            for index, entry in enumerate(decode_row(row.body, f"journal row {part_id}/{seq}")):
                if isinstance(entry, SessionSettled) and entry.charging_id == request.charging_id:
                    response.entries.append(journal_entry_message(part_id, seq, index, entry))
        return response

    @_at_owner
    async def ReceiveTransfer(
        self, request: pb.ReceiveTransferRequest, context: "_Context[Any, Any]"
    ) -> pb.ReceiveTransferResponse:
        failed = await self._groups.receive(translation.receive_transfer_of(request))
        if failed is not None:
            translation.raise_if_failed(failed)
        return pb.ReceiveTransferResponse()

    async def deliver(self, command: commands.ReceiveTransfer) -> Failed | None:
        """Takes a transfer to the receiver's owner; returns why it was not taken."""
        address = self._directory.addresses.get(self._groups.partition_of(command.account_id), self._directory.own_address)
        if address == self._directory.own_address:
            return await self._groups.receive(command)
        try:
            request = translation.receive_transfer_message(command)
            await self._directory.forward(address, "ReceiveTransfer", request, _DELIVERY_S_MAX)
        except ServiceError as error:
            return Failed(Fault(error.reason) if error.reason in _FAULTS else Fault.UNAVAILABLE, error.message)
        return None

    async def WatchOwners(
        self, request: pb.WatchOwnersRequest, context: "_Context[Any, Any]"
    ) -> AsyncIterator[pb.WatchOwnersResponse]:
        async for addresses in self._directory.changes():
            owners = [pb.PartitionOwner(part_id=part_id, address=address) for part_id, address in sorted(addresses.items())]
            understood = sorted(self._directory.features)
            yield pb.WatchOwnersResponse(partition_count=self._groups.partition_count, owners=owners, features=understood)

    async def ListPartitions(self, request: pb.ListPartitionsRequest, context: "_Context[Any, Any]") -> pb.ListPartitionsResponse:
        if not self._groups.serving:
            raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "accounting is starting, recovering or stopping")
        addresses = self._directory.addresses
        return pb.ListPartitionsResponse(
            partitions=[
                pb.Partition(
                    part_id=each.part_id,
                    epoch=each.epoch,
                    last_sequence_number=each.next_seq - 1,
                    tail_rows=each.next_seq - each.low_water,
                    owner_address=addresses.get(each.part_id, ""),
                )
                for each in await self._groups.partitions()
            ],
            era=self._groups.identity.era,
        )

    def _check_part_id(self, part_id: int) -> None:
        if not 0 <= part_id < self._groups.partition_count:
            raise invalid(f"part_id must be 0 to {self._groups.partition_count - 1}")

    async def MovePartition(self, request: pb.MovePartitionRequest, context: "_Context[Any, Any]") -> pb.MovePartitionResponse:
        self._check_part_id(request.part_id)
        if len(request.address) > _ADDRESS_LENGTH_MAX:
            raise invalid(f"address must have at most {_ADDRESS_LENGTH_MAX} characters")
        if self._move is None:
            raise ServiceError(
                errors_pb2.ERROR_REASON_NOT_POSSIBLE,
                "this cell has one accounting process and no etcd; there is nowhere to move to",
            )
        return pb.MovePartitionResponse(address=await self._move(request.part_id, request.address))

    async def ReadJournal(
        self, request: pb.ReadJournalRequest, context: "_Context[Any, Any]"
    ) -> AsyncIterator[pb.ReadJournalResponse]:
        self._check_part_id(request.part_id)
        if request.after_sequence_number < 0 or request.to_sequence_number < 0:
            raise invalid("after_sequence_number and to_sequence_number must not be negative")
        after_seq = request.after_sequence_number
        end_seq = request.to_sequence_number or None
        while True:
            limit = _JOURNAL_ROWS_A_READ if end_seq is None else min(_JOURNAL_ROWS_A_READ, end_seq - after_seq)
            rows = await self._groups.read_rows(request.part_id, after_seq, limit) if limit > 0 else []
            response = pb.ReadJournalResponse()
            for row in rows:
                after_seq = row.seq
                if len(response.entries) + row.entry_count > _JOURNAL_ENTRIES_A_MESSAGE and response.entries:
                    yield response
                    response = pb.ReadJournalResponse()
                for index, entry in enumerate(decode_row(row.body, f"journal row {row.part_id}/{row.seq}")):
                    response.entries.append(journal_entry_message(row.part_id, row.seq, index, entry))
            if response.entries:
                yield response
            if len(rows) < _JOURNAL_ROWS_A_READ:
                return

    async def Audit(self, request: pb.AuditRequest, context: "_Context[Any, Any]") -> pb.AuditResponse:
        findings = await self._groups.audit()
        return pb.AuditResponse(
            accounts=findings.accounts,
            buckets=findings.buckets,
            entries=findings.entries,
            open_sessions=findings.open_sessions,
            in_transit=findings.in_transit,
            breaches=findings.breaches,
            losses=translation.losses_message(findings.losses),
        )


class _Outstanding:
    """A stream's operations that wait for answers, so that it ends only after the last of them."""

    def __init__(self, stream: _ChargeStream) -> None:
        self._stream = stream
        self._no_more = False
        self.count = 0

    def answer(self, tag: int, answer: Answer) -> None:
        self.count -= 1
        self._stream.answer(tag, answer)

    def flush(self) -> None:
        if self._no_more and not self.count:
            self._stream.end()
        self._stream.flush()

    def end(self) -> None:
        self._no_more = True
        if not self.count:
            self._stream.end()
