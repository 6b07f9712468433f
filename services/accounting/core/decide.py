"""The core's two questions: what does a command do, and what has fallen due? Pure and deterministic.

`due_entries` gives what has fallen due; the caller applies it, one entry after another, before it asks `decide` anything, so
that every rule sees the account as it is at `now_us`.
"""

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import msgspec

from services.accounting.core import grants
from services.accounting.core.account.due import due_of
from services.accounting.core.account.state import Account
from services.accounting.core.commands import (
    AccountView,
    ApplyDue,
    CancelOrder,
    CancelSubscription,
    ChangeSubscription,
    ChargeEvent,
    Command,
    ConfirmPayment,
    CreateSession,
    Decision,
    Done,
    EndTransfer,
    Fault,
    FindRecords,
    GrantBucket,
    OpenAccount,
    PlaceOrder,
    ReadAccount,
    ReceiveTransfer,
    RecordsFound,
    ReduceBucket,
    RefundSession,
    ReleaseSession,
    SendTransfer,
    SetLimits,
    TopUpBucket,
    UpdateSession,
    WriteOffDebt,
    fail,
)
from services.accounting.core.entries import AccountOpened, Entry
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.sales import selling
from services.accounting.core.sessions import charging

# What is due at the same time goes in this order: a renewal decides what of a bucket lives on, and a bucket's end comes before a
# sweep that frees into it.
_RENEWAL, _ORDER, _BUCKET, _SESSION = range(4)


def decide(account: Account | None, command: Command, now_us: int, catalog: ChargingCatalog) -> Decision:
    """What `command` does to `account` at `now_us`. Nothing is changed here; the entries are for `evolve`."""
    if account is None:
        if isinstance(command, OpenAccount):
            return _open(command, now_us, catalog)
        return fail(Fault.ACCOUNT_UNKNOWN, f"no account {command.account_id} in this cell; open it first")
    return _RULES[type(command)](account, command, now_us, catalog)


def due_entries(account: Account, now_us: int, serving_since_us: int, *, used: bool, extended: bool = True) -> Iterator[Entry]:
    """What is due by `now_us`, each at its due time, earliest first. Apply each before the next is taken, and take them all.

    A session is never swept earlier than one Tcc after `serving_since_us`, when its partition began to serve: its holder
    could not reach anybody before. `used`: somebody uses the account, so that free cycles are renewed too. `extended`: as of the
    catalog.
    """
    is_due = account.next_due_us is not None and account.next_due_us <= now_us
    if not is_due and not (used and account.unused_until_us is not None and account.unused_until_us <= now_us):
        return
    # At the same time and of the same kind, what came first goes first.
    ranks = count()
    queue = [
        (due_us, kind, next(ranks), item_id)
        for due_us, kind, item_id in _due_times(account, serving_since_us, used=used)
        if due_us <= now_us
    ]
    heapq.heapify(queue)
    while queue:
        due_us, kind, _, item_id = heapq.heappop(queue)
        if kind == _SESSION:
            yield from charging.sweep(account, account.sessions[item_id], due_us, extended=extended)
        elif kind == _BUCKET:
            bucket = account.buckets[item_id]
            # A renewal may have given it another cycle, or ended it.
            if not bucket.ended and bucket.valid_until_us == due_us:
                yield selling.expiry_entry(account, bucket, due_us)
        elif kind == _ORDER:
            order = account.orders[item_id]
            if order.state == "awaiting_payment":
                yield selling.order_expiry_entry(account, order, due_us)
        else:
            yield from selling.renewal_entries(account, account.subscriptions[item_id], due_us, now_us)
            # What it made can fall due in its turn, as after days of standstill.
            for due in _due_of_subscription(account, item_id, used=used):
                if due[0] <= now_us:
                    heapq.heappush(queue, (due[0], due[1], next(ranks), due[2]))
    account.next_due_us = min((each[0] for each in _due_times(account, serving_since_us, used=False)), default=None)


def _due_of_subscription(account: Account, subscription_id: str, *, used: bool) -> Iterator[tuple[int, int, str]]:
    subscription = account.subscriptions[subscription_id]
    due_us = subscription.due_us if used else due_of(subscription)
    if due_us is not None:
        yield due_us, _RENEWAL, subscription_id
    for bucket_id in account.burn_order:
        bucket = account.buckets[bucket_id]
        if bucket.subscription_id == subscription_id:
            yield bucket.valid_until_us, _BUCKET, bucket_id


def _due_times(account: Account, serving_since_us: int, *, used: bool) -> Iterator[tuple[int, int, str]]:
    """What falls due on the account by itself some time, and when."""
    for subscription in account.subscriptions.values():
        due_us = subscription.due_us if used else due_of(subscription)
        if due_us is not None:
            yield due_us, _RENEWAL, subscription.subscription_id
    for order in account.orders.values():
        if order.state == "awaiting_payment":
            yield order.expires_us, _ORDER, order.order_id
    for bucket_id in account.burn_order:
        yield account.buckets[bucket_id].valid_until_us, _BUCKET, bucket_id
    for session in account.sessions.values():
        yield max(session.sweep_us, serving_since_us + 2 * session.answer.validity_us), _SESSION, session.charging_id


def _open(command: OpenAccount, now_us: int, catalog: ChargingCatalog) -> Decision:
    offering_id = command.offering_id or catalog.default_offering_id
    opened = AccountOpened(command.account_id, now_us, offering_id)
    return Decision((opened,), AccountView(Account(command.account_id, offering_id, now_us)))


def _open_again(account: Account, command: OpenAccount, now_us: int, catalog: ChargingCatalog) -> Decision:
    # Without an offering it is the same request as before, whatever the cell's default has become since.
    if command.offering_id and account.offering_id != command.offering_id:
        return fail(
            Fault.IDEMPOTENCY_CONFLICT,
            f"account {account.account_id} exists on offering {account.offering_id}; it can't be opened on {command.offering_id}",
        )
    return Decision((), _view(account))


def _view(account: Account) -> AccountView:
    # The memory of closed sessions can be a thousand times larger than all that is shown.
    shown = msgspec.structs.replace(account, closed={}, swept={})
    return AccountView(msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=Account))


def _read(account: Account, command: ReadAccount, now_us: int, catalog: ChargingCatalog) -> Decision:
    return Decision((), _view(account))


def _find_records(account: Account, command: FindRecords, now_us: int, catalog: ChargingCatalog) -> Decision:
    found = account.closed.get(command.charging_id) or account.swept.get(command.charging_id)
    if found is None:
        return fail(Fault.RECORD_UNKNOWN, f"no settled session {command.charging_id} is remembered on {account.account_id}")
    return Decision((), RecordsFound(found.sequence_numbers))


def _nothing(account: Account, command: ApplyDue, now_us: int, catalog: ChargingCatalog) -> Decision:
    return Decision((), Done())


_RULES: Final[dict[type, Callable[[Account, Any, int, ChargingCatalog], Decision]]] = {
    OpenAccount: _open_again,
    CreateSession: charging.create,
    UpdateSession: charging.update,
    ReleaseSession: charging.release,
    ChargeEvent: charging.event,
    GrantBucket: grants.grant,
    TopUpBucket: grants.top_up,
    RefundSession: grants.refund,
    ReduceBucket: grants.reduce_bucket,
    WriteOffDebt: grants.write_off,
    SendTransfer: grants.send_transfer,
    ReceiveTransfer: grants.receive_transfer,
    EndTransfer: grants.end_transfer,
    SetLimits: grants.set_limits,
    PlaceOrder: selling.place_order,
    ConfirmPayment: selling.confirm_payment,
    CancelOrder: selling.cancel_order,
    ChangeSubscription: selling.change_subscription,
    CancelSubscription: selling.cancel_subscription,
    ReadAccount: _read,
    FindRecords: _find_records,
    ApplyDue: _nothing,
}
