"""Decides a command: its entries and its answer. Pure and deterministic.

The caller applies what is due first (`due.due_entries`), so that every rule sees the account as it is at `now_us`.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from services.accounting.core import corrections, limits, runs, transfers
from services.accounting.core.account.runs import name_of
from services.accounting.core.account.state import Account
from services.accounting.core.commands import (
    AccountView,
    ApplyDue,
    AskOffering,
    CancelOrder,
    CancelSubscription,
    ChangeSubscription,
    ChargeEvent,
    Command,
    ConfirmPayment,
    CreateSession,
    Decision,
    Done,
    EndGrant,
    EndRuns,
    EndTransfer,
    Fault,
    FindRecords,
    GrantAllowances,
    GrantBucket,
    ListRuns,
    OpenAccount,
    OpenRun,
    PlaceOrder,
    ReadAccount,
    ReceiveTransfer,
    RecordsFound,
    ReduceBucket,
    RefundPurchase,
    RefundSession,
    ReleaseSession,
    SendTransfer,
    SetLimits,
    TopUpBucket,
    UpdateSession,
    WriteOffDebt,
    fail,
    some_of,
)
from services.accounting.core.entries import AccountOpened
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.sales import bundles, once, orders, refunds, subscriptions
from services.accounting.core.sessions import create, extend, settle
from services.accounting.core.sessions.limited import rules_of


def decide(account: Account | None, command: Command, now_us: int, catalog: ChargingCatalog) -> Decision:
    """The entries and the answer of `command` to `account` at `now_us`. Changes nothing: `evolve` applies the entries."""
    if account is None:
        if isinstance(command, OpenAccount):
            return _open(command, now_us, catalog)
        return fail(Fault.ACCOUNT_UNKNOWN, f"no account {command.account_id} in this cell; open it first")
    return _RULES[type(command)](account, command, now_us, catalog)


def _open(command: OpenAccount, now_us: int, catalog: ChargingCatalog) -> Decision:
    if command.offering_id:
        offering = catalog.offerings.get(command.offering_id)
        if offering is None:
            return fail(
                Fault.OFFERING_UNKNOWN,
                f"no offering {command.offering_id!r} in the catalog; there are {some_of(catalog.offerings)}",
            )
        if offering.withdrawn:
            return fail(
                Fault.NOT_POSSIBLE,
                f"offering {command.offering_id!r} is no longer sold; open the account without it, or on another one",
            )
        if offering.terms is not None:
            return fail(
                Fault.NOT_POSSIBLE,
                f"offering {command.offering_id!r} is a pack or a subscription: open the account without it, then order it",
            )
    offering_id = command.offering_id or catalog.default_offering_id
    opened = AccountOpened(command.account_id, now_us, offering_id)
    return Decision((opened,), AccountView(Account(command.account_id, offering_id, now_us)))


def _open_again(account: Account, command: OpenAccount, now_us: int, catalog: ChargingCatalog) -> Decision:
    # A repeat without an offering is the same request, even if the cell's default has changed since.
    if command.offering_id and account.offering_id != command.offering_id:
        return fail(
            Fault.IDEMPOTENCY_CONFLICT,
            f"account {account.account_id} exists on offering {account.offering_id}; it can't be opened on {command.offering_id}",
        )
    return Decision((), _view(account))


def _view(account: Account) -> AccountView:
    # Closed sessions are left out, because their memory can be a thousand times larger than all that is shown.
    shown = msgspec.structs.replace(account, closed={}, swept={}, keyed={})
    if account.runs:
        # The counts of up to a thousand minted keys are told by `list_runs`.
        counted = {name_of(limit, run.key_id) for run in account.runs.values() for limit in run.limits}
        shown.counters = {name: counter for name, counter in account.counters.items() if name not in counted}
        shown.runs = {}
    return AccountView(msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=Account))


def _read(account: Account, command: ReadAccount, now_us: int, catalog: ChargingCatalog) -> Decision:
    view = _view(account)
    if command.key_id:
        rules = rules_of(account, catalog, command.key_id, command.member_id)
        left = limits.limits_left(account, rules, now_us, catalog.time_zone)
        view = msgspec.structs.replace(view, limits=left, valid_until_us=rules.valid_until_us)
    return Decision((), view)


def _find_records(account: Account, command: FindRecords, now_us: int, catalog: ChargingCatalog) -> Decision:
    found = account.closed.get(command.charging_id) or account.swept.get(command.charging_id)
    if found is None:
        return fail(Fault.RECORD_UNKNOWN, f"no settled session {command.charging_id} is remembered on {account.account_id}")
    return Decision((), RecordsFound(found.sequence_numbers))


def _nothing(account: Account, command: ApplyDue, now_us: int, catalog: ChargingCatalog) -> Decision:
    return Decision((), Done())


_RULES: Final[dict[type, Callable[[Account, Any, int, ChargingCatalog], Decision]]] = {
    OpenAccount: _open_again,
    CreateSession: create.create,
    UpdateSession: extend.update,
    ReleaseSession: settle.release,
    ChargeEvent: settle.event,
    GrantBucket: corrections.grant,
    TopUpBucket: corrections.top_up,
    RefundSession: corrections.refund,
    ReduceBucket: corrections.reduce_bucket,
    WriteOffDebt: corrections.write_off,
    SendTransfer: transfers.send_transfer,
    ReceiveTransfer: transfers.receive_transfer,
    EndTransfer: transfers.end_transfer,
    SetLimits: corrections.set_limits,
    OpenRun: runs.open_run,
    EndRuns: runs.end_runs,
    ListRuns: runs.list_runs,
    GrantAllowances: bundles.grant_allowances,
    EndGrant: bundles.end_grant,
    PlaceOrder: orders.place_order,
    ConfirmPayment: orders.confirm_payment,
    CancelOrder: orders.cancel_order,
    ChangeSubscription: subscriptions.change_subscription,
    CancelSubscription: subscriptions.cancel_subscription,
    RefundPurchase: refunds.refund_purchase,
    ReadAccount: _read,
    AskOffering: once.ask_offering,
    FindRecords: _find_records,
    ApplyDue: _nothing,
}
