"""The operator's administration of a whole cell over HTTP: audit, reconciliation, owners of partitions."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import audit_json
from services.edge.api.admin.body import TIMEOUT_S, Empty, parse
from services.edge.http.problems import malformed
from services.runtime.clients import answer
from services.runtime.instruments import Counter, export
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2, billing_pb2_grpc

# A partition is moved once its new owner serves it.
_MOVE_TIMEOUT_S: Final = 15.0
# Audit and reconciliation read the whole journal.
_WHOLE_STORE_TIMEOUT_S: Final = 600.0
_ADDRESS_LENGTH_MAX: Final = 500
# A cell has at most this many partitions.
_PART_ID_MAX: Final = 4_095
_CLEAN: Final = "nothing"
_DIRTY: Final = "differences"


class _Reconciliation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    write_missing: bool = False


class _Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=_ADDRESS_LENGTH_MAX)] | None = None


def cell_routes(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub", billing: "billing_pb2_grpc.BillingServiceAsyncStub"
) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""
    checks = Counter("edge.checks", "Audits and reconciliations by what they found", ("check", "found"))
    # Shown before the first one: Prometheus sees no increase in a series that begins with it.
    for check in ("audit", "reconcile"):
        for found in (_CLEAN, _DIRTY):
            checks.add(check, found, count=0)
    export(checks)

    @post("/audit", status_code=200)
    async def audit(request: Request[Any, Any, Any]) -> dict[str, Any]:
        parse(await request.body(), Empty)
        audited = await answer(accounting.Audit(accounting_pb2.AuditRequest(), timeout=_WHOLE_STORE_TIMEOUT_S))
        checks.add("audit", _DIRTY if audited.breaches else _CLEAN)
        return audit_json(audited)

    @post("/reconcile", status_code=200)
    async def reconcile(request: Request[Any, Any, Any]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Reconciliation)
        comparing = billing_pb2.ReconcileRequest(write_missing=wanted.write_missing)
        await _cursors(billing)
        compared = await answer(billing.Reconcile(comparing, timeout=_WHOLE_STORE_TIMEOUT_S))
        checks.add("reconcile", _DIRTY if compared.differences else _CLEAN)
        return {
            "entries": compared.entries,
            "cdrs": compared.cdrs,
            "charges": compared.charges,
            "files": compared.files,
            "differences": list(compared.differences),
        }

    @get("/partitions")
    async def list_partitions() -> dict[str, Any]:
        # Read the cursors first: they follow the journal, so that the lag is never negative.
        exported = {each.part_id: each.exported_sequence_number for each in await _cursors(billing)}
        listed = await answer(accounting.ListPartitions(accounting_pb2.ListPartitionsRequest(), timeout=TIMEOUT_S))
        return {
            "era": listed.era,
            "data": [
                {
                    "part_id": each.part_id,
                    "owner": each.owner_address or None,
                    "epoch": each.epoch,
                    "last_sequence_number": each.last_sequence_number,
                    "tail": each.tail_rows,
                    "lag": each.last_sequence_number - exported.get(each.part_id, 0),
                }
                for each in listed.partitions
            ],
        }

    @post("/partitions/{part_id:int}/move", status_code=200)
    async def move_partition(request: Request[Any, Any, Any], part_id: FromPath[int]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Move)
        if not 0 <= part_id <= _PART_ID_MAX:
            raise malformed("part_id", f"part_id must be 0 to {_PART_ID_MAX}.", "invalid_value")
        moving = accounting_pb2.MovePartitionRequest(part_id=part_id, address=wanted.address or "")
        moved = await answer(accounting.MovePartition(moving, timeout=_MOVE_TIMEOUT_S))
        return {"part_id": part_id, "owner": moved.address}

    return [audit, reconcile, list_partitions, move_partition]


async def _cursors(billing: Any) -> Sequence[billing_pb2.ExportCursor]:
    """The export's cursors. Waits for a billing that was just replaced, for as long as this question may take."""
    listing = billing.ListCursors(billing_pb2.ListCursorsRequest(), timeout=TIMEOUT_S, wait_for_ready=True)
    listed: billing_pb2.ListCursorsResponse = await answer(listing)
    return listed.cursors
