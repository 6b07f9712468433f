"""Statements of accounts and vendors over HTTP, for the operator, and receipts of orders."""

import re
from datetime import datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from services.edge.api.account_json import rfc3339
from services.edge.api.admin.accounts import account_of
from services.edge.api.admin.body import TIMEOUT_S
from services.edge.api.billing_json import order_receipt_json, statement_json, vendor_statement_json
from services.edge.catalog import CatalogHolder
from services.edge.http.problems import Problem, malformed, not_found, unavailable
from services.runtime.clients import answer
from services.runtime.clock import Clock, timestamp
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2 as pb
from tokenline.billing.v1 import billing_pb2_grpc

# A month of a large account has a million calls to add up, and the newest are exported first.
_TIMEOUT_S: Final = 60.0
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_TIME_US_MAX: Final = 253_402_300_799_000_000
_NAMES: Final = ("model", "member", "key")


class _Period(NamedTuple):
    from_time: Timestamp
    until_time: Timestamp

    def json(self) -> dict[str, Any]:
        return {"from": rfc3339(self.from_time), "until": rfc3339(self.until_time)}


def statement_routes(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    billing: "billing_pb2_grpc.BillingServiceAsyncStub",
    catalog: CatalogHolder,
    clock: Clock,
) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @get("/accounts/{account_id:str}/statement")
    async def account_statement(
        account_id: FromPath[str],
        cycle: FromQuery[str] = "",
        from_us: FromQuery[int | None] = None,
        until_us: FromQuery[int | None] = None,
        by: FromQuery[str] = "model",
    ) -> dict[str, Any]:
        names = by.split(",") if by else []
        if not set(names) <= set(_NAMES):
            raise malformed("by", f"by must be some of {', '.join(_NAMES)}, with commas between; or empty.", "invalid_value")
        # An account without charges and no account are not the same.
        account = await account_of(accounting, account_id)
        running = {each.subscription_id: each for each in account.subscriptions if each.state != "ended"}
        if len(running) == 1 and not cycle and from_us is None and until_us is None:
            (cycle,) = running
        if cycle in running:
            period = _Period(running[cycle].cycle_start_time, running[cycle].cycle_end_time)
        else:
            period = _period(
                catalog, clock, cycle, from_us, until_us, ", or the ID of a subscription of the account that has not ended"
            )
        wanted = pb.GetStatementRequest(
            account_id=account_id,
            from_time=period.from_time,
            until_time=period.until_time,
            by_model="model" in names,
            by_member="member" in names,
            by_key="key" in names,
        )
        statement = await answer(billing.GetStatement(wanted, timeout=_TIMEOUT_S))
        return {**statement_json(account_id, statement), **period.json()}

    @get("/vendors/{vendor_id:str}/statement")
    async def vendor_statement(
        vendor_id: FromPath[str],
        cycle: FromQuery[str] = "",
        from_us: FromQuery[int | None] = None,
        until_us: FromQuery[int | None] = None,
    ) -> dict[str, Any]:
        period = _period(catalog, clock, cycle, from_us, until_us, "")
        wanted = pb.GetVendorStatementRequest(vendor_id=vendor_id, from_time=period.from_time, until_time=period.until_time)
        statement = await answer(billing.GetVendorStatement(wanted, timeout=_TIMEOUT_S))
        # One that the catalog has no more may be owed for calls of before.
        snapshot = catalog.current
        if not statement.lines and snapshot is not None and vendor_id not in {each.vendor_id for each in snapshot.catalog.vendors}:
            raise not_found("vendor_not_found", f"No vendor {vendor_id!r} is in the catalog, or was owed then.", "vendor_id")
        return {**vendor_statement_json(vendor_id, statement), **period.json()}

    @get("/accounts/{account_id:str}/orders/{order_id:str}/receipt")
    async def order_receipt(account_id: FromPath[str], order_id: FromPath[str]) -> dict[str, Any]:
        wanted = pb.GetOrderReceiptRequest(account_id=account_id, order_id=order_id)
        return order_receipt_json(await answer(billing.GetOrderReceipt(wanted, timeout=TIMEOUT_S)))

    return [account_statement, vendor_statement, order_receipt]


def _period(catalog: CatalogHolder, clock: Clock, cycle: str, from_us: int | None, until_us: int | None, or_else: str) -> _Period:
    """A month of the cell's time zone, or from a time until another; without either the month that runs.

    Errors: `Problem` 400, or 503 without a catalog.
    """
    if not cycle and from_us is None and until_us is None:
        cycle = f"{datetime.fromtimestamp(clock.now_us() // 1_000_000, _time_zone(catalog)):%Y-%m}"
    if cycle:
        month = _MONTH.fullmatch(cycle)
        if month is None or not 1970 < int(month[1]) < 9999 or from_us is not None or until_us is not None:
            raise _wrong_cycle(or_else)
        year, number = int(month[1]), int(month[2])
        zone = _time_zone(catalog)
        begin = datetime(year, number, 1, tzinfo=zone)
        end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone)
        return _Period(timestamp(int(begin.timestamp()) * 1_000_000), timestamp(int(end.timestamp()) * 1_000_000))
    if from_us is None or until_us is None:
        raise _wrong_cycle(or_else)
    if not 0 <= from_us < until_us <= _TIME_US_MAX:
        message = "from_us and until_us must be microseconds since 1970, the first before the second."
        raise malformed("until_us", message, "invalid_value")
    return _Period(timestamp(from_us), timestamp(until_us))


def _wrong_cycle(or_else: str) -> Problem:
    message = f"cycle must be a month like 2026-03{or_else}; or leave it out, and give both from_us and until_us, or neither."
    return malformed("cycle", message, "invalid_value")


def _time_zone(catalog: CatalogHolder) -> ZoneInfo:
    if catalog.current is None:
        raise unavailable("the catalog is not loaded yet")
    return ZoneInfo(catalog.current.catalog.time_zone or "UTC")
