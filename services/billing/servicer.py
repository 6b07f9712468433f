"""BillingService: receipts, statements and reconciliation, proto to core to proto."""

import re
from typing import Any, Final

import grpc

from services.billing.carrier.client import Carrier
from services.billing.carrier.demands import Demand, State
from services.billing.carrier.store import CarrierStore
from services.billing.carrier.worker import ask_again, show_code
from services.billing.cdr import UNITS
from services.billing.exporter import EraMismatchError, Exporter, not_exported
from services.billing.items import BilledItem
from services.billing.journal import JournalReader
from services.billing.reconcile import Reconciler
from services.billing.statement import totals
from services.billing.store import Grouping, Period, Store, UsageLine
from services.runtime.clock import timestamp
from services.runtime.errors import ServiceError, invalid
from tokenline.accounting.v1 import accounting_pb2
from tokenline.billing.v1 import billing_pb2 as pb
from tokenline.billing.v1 import billing_pb2_grpc
from tokenline.errors.v1 import errors_pb2

# An answer has room for this many charges and 100,000 lines of usage.
_CHARGES_MAX: Final = 10_000
_DEMANDS_MAX: Final = 1_000
# As CAMARA has it, after E.164.
_PHONE_NUMBER: Final = re.compile(r"\+[1-9][0-9]{4,14}")
_UNITS: Final = {word: unit for unit, word in UNITS.items()}


class BillingServicer(billing_pb2_grpc.BillingServiceServicer):
    """See the contract."""

    def __init__(
        self,
        journal: JournalReader,
        store: Store,
        exporter: Exporter,
        reconciler: Reconciler,
        demands: CarrierStore,
        carrier: Carrier | None,
    ) -> None:
        """`carrier` None: the phone bill is asked of nobody."""
        self._journal = journal
        self._store = store
        self._exporter = exporter
        self._reconciler = reconciler
        self._demands = demands
        self._carrier = carrier

    async def GetReceipt(
        self, request: pb.GetReceiptRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.GetReceiptResponse:
        if not request.account_id:
            raise invalid("account_id is missing: give the account that asks")
        if not request.charging_id:
            raise invalid("charging_id is missing: give the session's")
        records = {
            row.record_sequence_number: pb.ReceiptRecord(
                entry=accounting_pb2.JournalEntry.FromString(row.entry), record_number=row.record_number
            )
            for row in await self._store.records(request.account_id, request.charging_id)
        }
        if _may_go_on(records):
            for entry in await self._not_exported(request, found=bool(records)):
                records.setdefault(entry.session_settled.record_sequence_number, pb.ReceiptRecord(entry=entry))
        return pb.GetReceiptResponse(records=[record for _, record in sorted(records.items())])

    async def GetOrderReceipt(
        self, request: pb.GetOrderReceiptRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.GetOrderReceiptResponse:
        order = (await self._store.orders([request.order_id])).get(request.order_id)
        if order is None or order.account_id != request.account_id:
            raise ServiceError(
                errors_pb2.ERROR_REASON_RECORD_UNKNOWN,
                f"account {request.account_id} has no order {request.order_id}; one that was just placed has one in seconds",
            )
        charges = await self._store.items_of_order(request.account_id, request.order_id)
        return pb.GetOrderReceiptResponse(
            order_id=order.order_id,
            place_time=timestamp(order.time_us),
            offering_id=order.offering_id,
            subscription_id=order.subscription_id,
            payment_method=order.payment_method,  # type: ignore[arg-type]  # the numbers are the contract's
            unit=_unit(order.unit, order.currency) if order.unit else None,
            amount=order.amount,
            charges=map(_charge, charges),
        )

    async def GetStatement(
        self, request: pb.GetStatementRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.GetStatementResponse:
        if not request.account_id:
            raise invalid("account_id is missing: give the account of the statement")
        period = _period(request)
        await self._exporter.export_account(request.account_id)
        grouping = Grouping(model=request.by_model, member=request.by_member, key=request.by_key)
        usage = await self._store.usage(request.account_id, period, grouping)
        charges = await self._store.charges(request.account_id, period, _CHARGES_MAX + 1)
        if len(charges) > _CHARGES_MAX:
            raise ServiceError(
                errors_pb2.ERROR_REASON_NOT_POSSIBLE,
                f"the account has more than {_CHARGES_MAX:,} charges in that time; ask for a shorter one",
            )
        return pb.GetStatementResponse(
            totals=[
                pb.StatementTotal(unit=_unit(total.unit, total.currency), **dict(zip(total._fields[2:], total[2:], strict=True)))
                for total in totals(usage, charges)
            ],
            usage=map(_usage_line, usage),
            charges=map(_charge, charges),
        )

    async def GetVendorStatement(
        self, request: pb.GetVendorStatementRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.GetVendorStatementResponse:
        if not request.vendor_id:
            raise invalid("vendor_id is missing: give the vendor of the statement")
        period = _period(request)
        try:
            failures = await self._exporter.export()
        except EraMismatchError as error:
            raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, str(error)) from error
        if failures:
            raise not_exported(failures)
        return pb.GetVendorStatementResponse(lines=map(_usage_line, await self._store.wholesale(request.vendor_id, period)))

    async def Reconcile(self, request: pb.ReconcileRequest, context: "grpc.aio.ServicerContext[Any, Any]") -> pb.ReconcileResponse:
        found = await self._reconciler.reconcile(write_missing=request.write_missing)
        return pb.ReconcileResponse(
            entries=found.entries,
            cdrs=found.cdrs,
            charges=found.charges,
            files=found.files,
            differences=found.differences,
        )

    async def ListCursors(
        self, request: pb.ListCursorsRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.ListCursorsResponse:
        return pb.ListCursorsResponse(
            cursors=[
                pb.ExportCursor(part_id=each.part_id, era=each.era, exported_sequence_number=each.exported_seq)
                for each in (await self._store.cursors()).values()
            ]
        )

    async def ListDemands(
        self, request: pb.ListDemandsRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.ListDemandsResponse:
        if not 1 <= request.demands_max <= _DEMANDS_MAX:
            raise invalid(f"demands_max must be 1 to {_DEMANDS_MAX}")
        if not set(request.states) <= set(State):
            raise invalid(f"states must be some of {', '.join(State)}")
        states = [State(state) for state in request.states or State]
        found = await self._demands.in_states(states, request.demands_max, request.account_id)
        response = pb.ListDemandsResponse(demands=map(_demand, found), carrier=self._carrier is not None)
        if request.account_id:
            response.phone_number = await self._demands.line(request.account_id)
            for use in await self._demands.uses_of(request.account_id):
                response.uses.add(currency=use.currency, amount=use.amount)
        return response

    async def SetLine(self, request: pb.SetLineRequest, context: "grpc.aio.ServicerContext[Any, Any]") -> pb.SetLineResponse:
        if not request.account_id:
            raise invalid("account_id is missing: give the account whose line it is")
        if request.phone_number and not _PHONE_NUMBER.fullmatch(request.phone_number):
            raise invalid("phone_number must be like +8613800000001: a plus, the country's code and the number, 5 to 15 digits")
        await self._demands.set_line(request.account_id, request.phone_number)
        return pb.SetLineResponse()

    async def RetryDemand(
        self, request: pb.RetryDemandRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.RetryDemandResponse:
        if not request.demand_id:
            raise invalid("demand_id is missing: give the payment or refund that was denied")
        return pb.RetryDemandResponse(demand=_demand(await ask_again(self._demands, self._reachable(), request.demand_id)))

    async def ShowCode(self, request: pb.ShowCodeRequest, context: "grpc.aio.ServicerContext[Any, Any]") -> pb.ShowCodeResponse:
        if not request.demand_id or not request.code:
            raise invalid("demand_id and code must be given")
        return pb.ShowCodeResponse(
            demand=_demand(await show_code(self._demands, self._reachable(), request.demand_id, request.code))
        )

    def _reachable(self) -> Carrier:
        """Errors: `ServiceError` where there is none."""
        if self._carrier is None:
            raise ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, "billing has no carrier in its config: nothing is asked for")
        return self._carrier

    async def _not_exported(self, request: pb.GetReceiptRequest, *, found: bool) -> list[accounting_pb2.JournalEntry]:
        try:
            return await self._journal.session_records(request.account_id, request.charging_id)
        except ServiceError as error:
            # The exported records are a good receipt, also while accounting is away or has forgotten the session.
            if found:
                return []
            unknown = (errors_pb2.ERROR_REASON_RECORD_UNKNOWN, errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN)
            if error.reason in unknown:
                raise ServiceError(
                    errors_pb2.ERROR_REASON_RECORD_UNKNOWN,
                    f"account {request.account_id} has no settled record of charging_id {request.charging_id}",
                ) from error
            raise


def _demand(demand: Demand) -> pb.Demand:
    return pb.Demand(
        demand_id=demand.demand_id,
        source=demand.source,
        refunds=demand.is_refund,
        account_id=demand.account_id,
        make_time=timestamp(demand.time_us),
        currency=demand.currency,
        amount=demand.amount,
        order_id=demand.order_id,
        subscription_id=demand.subscription_id,
        offering_id=demand.offering_id,
        state=demand.state,
        reason=demand.reason,
        payment_id=demand.payment_id,
        refund_id=demand.refund_id,
        next_try_time=timestamp(demand.next_us) if demand.is_open and demand.next_us else None,
    )


def _may_go_on(records: dict[int, pb.ReceiptRecord]) -> bool:
    """Whether accounting may have a later record: nothing is exported, or a swept session may get a late Release."""
    if not records:
        return True
    return records[max(records)].entry.session_settled.close_cause == accounting_pb2.CLOSE_CAUSE_SWEPT


def _period(request: pb.GetStatementRequest | pb.GetVendorStatementRequest) -> Period:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    if not request.HasField("from_time") or not request.HasField("until_time"):
        raise invalid("from_time and until_time must be given")
    period = Period(request.from_time.ToMicroseconds(), request.until_time.ToMicroseconds())
    if period.from_us >= period.until_us:
        raise invalid("until_time must be after from_time")
    return period


def _unit(word: str, currency: str) -> accounting_pb2.UnitOfAmount:
    return accounting_pb2.UnitOfAmount(unit=_UNITS[word], currency=currency)  # type: ignore[arg-type]  # the numbers are the contract's


def _usage_line(line: UsageLine) -> pb.UsageLine:
    return pb.UsageLine(
        unit=_unit(line.unit, line.currency),
        paid_by=line.paid_by,
        model_id=line.model_id,
        member_id=line.member_id,
        key_id=line.key_id,
        vendor_model_id=line.vendor_model_id,
        calls=line.calls,
        amount=line.amount,
    )


def _charge(item: BilledItem) -> pb.BilledCharge:
    return pb.BilledCharge(
        kind=item.kind,
        charge_time=timestamp(item.time_us),
        unit=_unit(item.unit, item.currency),
        amount=item.amount,
        paid_by=item.paid_by,
        bucket_id=item.bucket_id,
        charging_id=item.charging_id,
        order_id=item.order_id,
        subscription_id=item.subscription_id,
        offering_id=item.offering_id,
        remark=item.remark,
        record_number=item.record_number,
    )
