"""Serves accounting's gRPC contract: messages to the core, answers back."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from services.accounting.cell.directory import Directory, is_forwarded
from services.accounting.cell.server_groups import ServerGroups
from services.accounting.core.commands import (
    AccountView,
    Answer,
    BucketAdded,
    BucketsAdded,
    Command,
    GrantEnded,
    OfferingHad,
    Ordered,
    RecordsFound,
    Returned,
    RunsFound,
    TransferView,
)
from services.accounting.core.entries import SessionSettled
from services.accounting.journal.codec import decode_row
from services.accounting.rpc import account, answers, burning, commands, fields
from services.accounting.rpc.charge_stream import ChargeStream, read
from services.accounting.rpc.journal import journal_row_messages
from services.accounting.writer.asking import ask, view_of
from services.runtime.clock import timestamp
from services.runtime.errors import ServiceError, invalid
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2

_JOURNAL_ROWS_A_READ: Final = 200
_JOURNAL_ENTRIES_A_MESSAGE: Final = 1_000
# After this many entries calls have their turn: some 20 us each, in the process that decides.
_JOURNAL_ENTRIES_A_TURN: Final = 32

# An owner that takes longer is left out.
_BURNING_S_MAX: Final = 2.0

_ADDRESS_LENGTH_MAX: Final = 500

_Context = grpc.aio.ServicerContext
# Moves a partition to the replica at an address; returns its owner's address then.
Move = Callable[[int, str], Awaitable[str]]


def _at_owner(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Decorates a request about an account, so that the owner of its partition answers it."""

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
        self._streams: set[ChargeStream] = set()
        self._move = move

    def end_streams(self) -> None:
        """Ends the streams, charge streams once their operations are answered; callers ask another replica, or later."""
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
        stream = ChargeStream()
        self._streams.add(stream)
        reading = asyncio.create_task(read(request_iterator, stream, self._groups.submit), name="charge-stream")
        try:
            async for response in stream.responses():
                yield response
            if reading.done():
                # A request that was malformed as a whole ends the stream with its error.
                reading.result()
        finally:
            self._streams.discard(stream)
            reading.cancel()

    async def at_owner(self, method: Callable[..., Awaitable[Any]], request: Any, context: Any) -> Any:
        """The answer of the owner of the account's partition."""
        part_id = self._groups.partition_of(request.account_id)
        here = functools.partial(method, self)
        return await self._directory.at_owner(part_id, method.__name__, here, request, context)

    async def _done(self, command: Command, request: fields.Administrative) -> Answer:
        """The answer to the command of a request. Errors: the `ServiceError` of a `Failed`, or INVALID_ARGUMENT."""
        answer = await ask(self._groups, command, fields.actor_of(request))
        answers.raise_if_failed(answer)
        return answer

    async def _ordered(self, command: Command, request: fields.Administrative) -> pb.Order:
        answer = await self._done(command, request)
        assert isinstance(answer, Ordered)
        return answers.ordered_message(answer)

    @_at_owner
    async def OpenAccount(self, request: pb.OpenAccountRequest, context: "_Context[Any, Any]") -> pb.OpenAccountResponse:
        answer = await self._done(commands.open_account_of(request), request)
        return pb.OpenAccountResponse(account=account.account_message(view_of(answer)))

    @_at_owner
    async def GetAccount(self, request: pb.GetAccountRequest, context: "_Context[Any, Any]") -> pb.GetAccountResponse:
        answer = await ask(self._groups, commands.read_account_of(request))
        answers.raise_if_failed(answer)
        return pb.GetAccountResponse(account=account.account_message(view_of(answer)))

    @_at_owner
    async def GetUsage(self, request: pb.GetUsageRequest, context: "_Context[Any, Any]") -> pb.GetUsageResponse:
        answer = await ask(self._groups, commands.read_usage_of(request))
        answers.raise_if_failed(answer)
        assert isinstance(answer, AccountView)
        return account.usage_response(answer)

    @_at_owner
    async def GrantBucket(self, request: pb.GrantBucketRequest, context: "_Context[Any, Any]") -> pb.GrantBucketResponse:
        answer = await self._done(commands.grant_bucket_of(request), request)
        assert isinstance(answer, BucketAdded)
        return answers.bucket_added_message(answer)

    @_at_owner
    async def GrantAllowances(
        self, request: pb.GrantAllowancesRequest, context: "_Context[Any, Any]"
    ) -> pb.GrantAllowancesResponse:
        answer = await self._done(commands.grant_allowances_of(request), request)
        assert isinstance(answer, BucketsAdded)
        return pb.GrantAllowancesResponse(buckets=[answers.bucket_added_message(each).bucket for each in answer.buckets])

    @_at_owner
    async def EndGrant(self, request: pb.EndGrantRequest, context: "_Context[Any, Any]") -> pb.EndGrantResponse:
        answer = await self._done(commands.end_grant_of(request), request)
        assert isinstance(answer, GrantEnded)
        return pb.EndGrantResponse(expired=fields.bucket_amounts(answer.expired))

    @_at_owner
    async def RefundSession(self, request: pb.RefundSessionRequest, context: "_Context[Any, Any]") -> pb.RefundSessionResponse:
        # Check the request before reading the journal for it.
        commands.refund_of(request)
        fields.actor_of(request)
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
                    answer = await self._done(commands.refund_of(request, entry), request)
                    assert isinstance(answer, BucketAdded)
                    added = answers.bucket_added_message(answer)
                    return pb.RefundSessionResponse(bucket=added.bucket, repaid_amount=added.repaid_amount)
        raise ServiceError(
            errors_pb2.ERROR_REASON_RECORD_UNKNOWN,
            f"no record {request.record_sequence_number or 1} of {request.charging_id} of account {request.account_id} stands in "
            f"journal row {request.sequence_number}; take sequence_number and record_sequence_number from its receipt",
        )

    @_at_owner
    async def ReduceBucket(self, request: pb.ReduceBucketRequest, context: "_Context[Any, Any]") -> pb.ReduceBucketResponse:
        await self._done(commands.reduce_of(request), request)
        return pb.ReduceBucketResponse()

    @_at_owner
    async def WriteOffDebt(self, request: pb.WriteOffDebtRequest, context: "_Context[Any, Any]") -> pb.WriteOffDebtResponse:
        await self._done(commands.write_off_of(request), request)
        return pb.WriteOffDebtResponse()

    @_at_owner
    async def PlaceOrder(self, request: pb.PlaceOrderRequest, context: "_Context[Any, Any]") -> pb.PlaceOrderResponse:
        return pb.PlaceOrderResponse(order=await self._ordered(commands.place_order_of(request), request))

    @_at_owner
    async def ConfirmPayment(self, request: pb.ConfirmPaymentRequest, context: "_Context[Any, Any]") -> pb.ConfirmPaymentResponse:
        return pb.ConfirmPaymentResponse(order=await self._ordered(commands.confirm_payment_of(request), request))

    @_at_owner
    async def CancelOrder(self, request: pb.CancelOrderRequest, context: "_Context[Any, Any]") -> pb.CancelOrderResponse:
        return pb.CancelOrderResponse(order=await self._ordered(commands.cancel_order_of(request), request))

    @_at_owner
    async def ChangeSubscription(
        self, request: pb.ChangeSubscriptionRequest, context: "_Context[Any, Any]"
    ) -> pb.ChangeSubscriptionResponse:
        return pb.ChangeSubscriptionResponse(order=await self._ordered(commands.change_subscription_of(request), request))

    @_at_owner
    async def HasOffering(self, request: pb.HasOfferingRequest, context: "_Context[Any, Any]") -> pb.HasOfferingResponse:
        answer = await ask(self._groups, commands.ask_offering_of(request))
        answers.raise_if_failed(answer)
        assert isinstance(answer, OfferingHad)
        return pb.HasOfferingResponse(remark=answer.remark)

    @_at_owner
    async def CancelSubscription(
        self, request: pb.CancelSubscriptionRequest, context: "_Context[Any, Any]"
    ) -> pb.CancelSubscriptionResponse:
        await self._done(commands.cancel_subscription_of(request), request)
        return pb.CancelSubscriptionResponse()

    @_at_owner
    async def RefundPurchase(self, request: pb.RefundPurchaseRequest, context: "_Context[Any, Any]") -> pb.RefundPurchaseResponse:
        answer = await self._done(commands.refund_purchase_of(request), request)
        assert isinstance(answer, Returned)
        return pb.RefundPurchaseResponse(returned=fields.returned_message(answer))

    @_at_owner
    async def SendTransfer(self, request: pb.SendTransferRequest, context: "_Context[Any, Any]") -> pb.SendTransferResponse:
        answer = await self._done(commands.send_transfer_of(request), request)
        assert isinstance(answer, TransferView)
        return pb.SendTransferResponse(transfer_id=answer.transfer_id, state=answer.state, remark=answer.reason)

    @_at_owner
    async def SetLimits(self, request: pb.SetLimitsRequest, context: "_Context[Any, Any]") -> pb.SetLimitsResponse:
        await self._done(commands.set_limits_of(request), request)
        return pb.SetLimitsResponse()

    async def _runs(self, command: Command) -> list[pb.Run]:
        answer = await ask(self._groups, command)
        answers.raise_if_failed(answer)
        assert isinstance(answer, RunsFound)
        return [answers.run_message(run) for run in answer.runs]

    @_at_owner
    async def OpenRun(self, request: pb.OpenRunRequest, context: "_Context[Any, Any]") -> pb.OpenRunResponse:
        (run,) = await self._runs(commands.open_run_of(request))
        return pb.OpenRunResponse(run=run)

    @_at_owner
    async def EndRuns(self, request: pb.EndRunsRequest, context: "_Context[Any, Any]") -> pb.EndRunsResponse:
        await self._done(commands.end_runs_of(request), request)
        return pb.EndRunsResponse()

    @_at_owner
    async def ListRuns(self, request: pb.ListRunsRequest, context: "_Context[Any, Any]") -> pb.ListRunsResponse:
        return pb.ListRunsResponse(runs=await self._runs(commands.list_runs_of(request)))

    async def ExplainRefusal(self, request: pb.ExplainRefusalRequest, context: "_Context[Any, Any]") -> pb.ExplainRefusalResponse:
        refusal = self._groups.refusal(fields.charging_id_of(request))
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
            refused=answers.refused_message(refused),
        )

    @_at_owner
    async def GetSessionRecords(
        self, request: pb.GetSessionRecordsRequest, context: "_Context[Any, Any]"
    ) -> pb.GetSessionRecordsResponse:
        answer = await ask(self._groups, commands.find_records_of(request))
        answers.raise_if_failed(answer)
        assert isinstance(answer, RecordsFound)
        part_id = self._groups.partition_of(request.account_id)
        response = pb.GetSessionRecordsResponse()
        for seq in answer.sequence_numbers:
            (row,) = await self._groups.read_rows(part_id, seq - 1, 1)
            response.entries.extend(
                message
                for message in journal_row_messages(row)
                if message.HasField("session_settled") and message.session_settled.charging_id == request.charging_id
            )
        return response

    @_at_owner
    async def ReceiveTransfer(
        self, request: pb.ReceiveTransferRequest, context: "_Context[Any, Any]"
    ) -> pb.ReceiveTransferResponse:
        failed = await self._groups.receive(commands.receive_transfer_of(request))
        if failed is not None:
            answers.raise_if_failed(failed)
        return pb.ReceiveTransferResponse()

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
        made = 0
        while True:
            limit = _JOURNAL_ROWS_A_READ if end_seq is None else min(_JOURNAL_ROWS_A_READ, end_seq - after_seq)
            rows = await self._groups.read_rows(request.part_id, after_seq, limit) if limit > 0 else []
            response = pb.ReadJournalResponse()
            for row in rows:
                after_seq = row.seq
                if len(response.entries) + row.entry_count > _JOURNAL_ENTRIES_A_MESSAGE and response.entries:
                    yield response
                    response = pb.ReadJournalResponse()
                for message in journal_row_messages(row):
                    response.entries.append(message)
                    made += 1
                    if made % _JOURNAL_ENTRIES_A_TURN == 0:
                        await asyncio.sleep(0)
            if response.entries:
                yield response
            if len(rows) < _JOURNAL_ROWS_A_READ:
                return

    async def ListBurning(self, request: pb.ListBurningRequest, context: "_Context[Any, Any]") -> pb.ListBurningResponse:
        window_us = burning.window_us_of(request)
        units, silent = self._groups.burning(window_us), []
        if not is_forwarded(context):
            # An account that changed its owner in the window has a part at both, so that each tells as many as there may be.
            asked = pb.ListBurningRequest(window_seconds=request.window_seconds, account_limit=burning.ACCOUNTS_MAX)
            others = sorted(self._directory.others())
            told = await asyncio.gather(
                *(self._directory.forward(address, "ListBurning", asked, _BURNING_S_MAX) for address in others),
                return_exceptions=True,
            )
            for address, answer in zip(others, told, strict=True):
                if isinstance(answer, ServiceError):
                    silent.append(address)
                elif isinstance(answer, BaseException):
                    raise answer
                else:
                    burning.add(units, answer)
        return burning.response(units, request.account_limit, silent)

    async def Audit(self, request: pb.AuditRequest, context: "_Context[Any, Any]") -> pb.AuditResponse:
        findings = await self._groups.audit()
        return pb.AuditResponse(
            accounts=findings.accounts,
            buckets=findings.buckets,
            entries=findings.entries,
            open_sessions=findings.open_sessions,
            transits=account.transits_message(findings.in_transit),
            breaches=findings.breaches,
            losses=account.losses_message(findings.losses),
        )
