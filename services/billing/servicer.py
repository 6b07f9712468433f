"""BillingService: receipts and reconciliation, proto to core to proto."""

from typing import Any

import grpc

from services.billing.journal import JournalReader
from services.billing.reconcile import Reconciler
from services.billing.store import Store
from services.runtime.errors import ServiceError, invalid
from tokenline.accounting.v1 import accounting_pb2
from tokenline.billing.v1 import billing_pb2 as pb
from tokenline.billing.v1 import billing_pb2_grpc
from tokenline.errors.v1 import errors_pb2


class BillingServicer(billing_pb2_grpc.BillingServiceServicer):
    """See the contract."""

    def __init__(self, journal: JournalReader, store: Store, reconciler: Reconciler) -> None:
        self._journal = journal
        self._store = store
        self._reconciler = reconciler

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


def _may_go_on(records: dict[int, pb.ReceiptRecord]) -> bool:
    """Whether accounting may have a later record: nothing is exported, or a swept session may get a late Release."""
    if not records:
        return True
    return records[max(records)].entry.session_settled.close_cause == accounting_pb2.CLOSE_CAUSE_SWEPT
