"""Accounts that burn most, as messages."""

from collections.abc import Sequence
from typing import Final

from services.accounting.rpc.fields import unit_message, unit_of
from services.accounting.writer.burning import Burnt
from services.runtime.errors import invalid
from tokenline.accounting.v1 import accounting_pb2 as pb

WINDOW_S_MIN: Final = 10
WINDOW_S_MAX: Final = 900
ACCOUNTS_MAX: Final = 100


def window_us_of(request: pb.ListBurningRequest) -> int:
    """The window of a request. Errors: `ServiceError` INVALID_ARGUMENT."""
    if not WINDOW_S_MIN <= request.window_seconds <= WINDOW_S_MAX:
        raise invalid(f"window_seconds must be {WINDOW_S_MIN} to {WINDOW_S_MAX}")
    if not 1 <= request.account_limit <= ACCOUNTS_MAX:
        raise invalid(f"account_limit must be 1 to {ACCOUNTS_MAX}")
    return request.window_seconds * 1_000_000


def add(units: dict[str, Burnt], told: pb.ListBurningResponse) -> None:
    """Adds what another owner told."""
    for each in told.units:
        unit = unit_of(each.unit)
        accounts = {account.account_id: account.charged_amount for account in each.accounts}
        burnt = Burnt(each.charged_amount, each.records, accounts, each.error_amount)
        units[unit] = units[unit].added(burnt) if unit in units else burnt


def response(units: dict[str, Burnt], limit: int, silent: Sequence[str]) -> pb.ListBurningResponse:
    """The answer, units in which most records were charged first."""
    return pb.ListBurningResponse(
        units=[
            pb.BurningUnit(
                unit=unit_message(unit),
                charged_amount=burnt.charged,
                records=burnt.records,
                accounts=[
                    pb.BurningAccount(account_id=account_id, charged_amount=charged) for account_id, charged in burnt.largest(limit)
                ],
                error_amount=burnt.error,
            )
            for unit, burnt in sorted(units.items(), key=lambda each: (-each[1].records, each[0]))
        ],
        silent_addresses=silent,
    )
