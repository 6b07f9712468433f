"""Proof that the phone bill says what it shall: billed items, demands and the carrier's own lists, compared.

It adds up apart from `planning`, so that a fault of that shows. Demands under way are no difference: the next comparison sees what
became of them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from services.billing.carrier.client import Carrier, Paid, RefusedError, UnclearError
from services.billing.carrier.demands import STEP, Demand, Source, State, of_item
from services.billing.carrier.store import CarrierStore
from services.billing.items import BilledItem, Kind, PaidBy
from services.billing.store import CREDIT_LINE
from services.runtime.identifiers import derived_name

_ROWS: Final = 5_000
_EARLY: Final = timedelta(minutes=10)
_PRICES: Final = (Kind.PRICE, Kind.CHANGE, Kind.RENEWAL)
_BILLED: Final = (State.SUCCEEDED, State.RETURNED)

_Demands = Mapping[str, Demand]


class Comparison:
    """The phone bill of one store and one carrier."""

    def __init__(self, store: CarrierStore, carrier: Carrier, planning: asyncio.Lock) -> None:
        """`planning` is held while items are planned."""
        self._store = store
        self._carrier = carrier
        self._planning = planning

    async def differences(self) -> list[str]:
        """All that does not agree. Errors: `ServiceError` of the store."""
        async with self._planning:
            demands = {each.demand_id: each for each in await self._store.all()}
            found = [each async for each in self._of_items(demands)]
        found += [f"{_named(each)}: {_failure(each)}" for each in demands.values() if _failure(each)]
        try:
            found += [each async for each in self._of_payments(demands)]
            found += [each async for each in self._of_refunds(demands)]
        except (UnclearError, RefusedError) as error:
            found.append(f"the carrier can't be asked what it has: {error}")
        return [f"phone bill: {each}" for each in found]

    async def _of_items(self, demands: _Demands) -> AsyncIterator[str]:
        """Each price and each part of one that went back is one demand; all of an account adds up."""
        by_order = {each.order_id: each for each in demands.values() if each.source == Source.ORDER}
        on_lines: dict[tuple[str, str], int] = {}
        for partition in await self._store.ranges():
            for after_seq in range(partition.from_seq, partition.planned_seq, _ROWS):
                to_seq = min(after_seq + _ROWS, partition.planned_seq)
                for item in await self._store.items(partition.part_id, after_seq, to_seq):
                    who = (item.account_id, item.currency)
                    on_lines[who] = on_lines.get(who, 0) + _on_line(item)
                    if difference := _of_price(item, demands, by_order):
                        yield f"{item.kind} of entry {(item.sequence_number, item.entry_index)}, {item.account_id}: {difference}"
        asked: dict[tuple[str, str], int] = {}
        for demand in demands.values():
            # One that was denied and asked for again is counted by its new name.
            if demand.source in (Source.ITEM, Source.USAGE, Source.REFUND) and demand.state != State.CANCELLED:
                who = (demand.account_id, demand.currency)
                asked[who] = asked.get(who, 0) + (-demand.amount if demand.is_refund else demand.amount)
        for account_id, currency in sorted(on_lines.keys() | asked.keys()):
            left = sum(use.amount for use in await self._store.uses_of(account_id) if use.currency == currency)
            charged, told = on_lines.get((account_id, currency), 0), asked.get((account_id, currency), 0)
            if charged != told + left:
                yield f"account {account_id}: {charged} {currency} micro-units on its bill, {told} asked for and {left} added up"

    async def _of_payments(self, demands: _Demands) -> AsyncIterator[str]:
        """Each payment that is billed is one at the carrier, and the carrier bills no other."""
        asked = [each.asked_us for each in demands.values() if each.asked_us]
        since = datetime.fromtimestamp(min(asked, default=0) // 1_000_000, UTC) - _EARLY if asked else datetime.now(UTC) - _EARLY
        wanted = {each.payment_id: each for each in demands.values() if not each.is_refund and each.state in _BILLED}
        async for paid in self._carrier.payments_since(since):
            demand = wanted.pop(paid.payment_id, None)
            if demand is not None:
                if paid.payment_status != "succeeded":
                    yield f"{_named(demand)}: billed here, {paid.payment_status} at the carrier"
                elif what := paid.differs_from(demand):
                    yield f"{_named(demand)}: the carrier bills something else: {what}"
            elif paid.payment_status == "succeeded" and not await self._is_under_way(paid):
                name = paid.asked_as[:100]
                yield f"the carrier bills {paid.payment_id}, asked for as {name}, which is no payment of this phone bill"
        for demand in wanted.values():
            yield f"{_named(demand)}: billed here, and the carrier does not have {demand.payment_id}"

    async def _is_under_way(self, paid: Paid) -> bool:
        """Whether it is of a demand that was open a moment ago, and may have it."""
        demand = await self._store.find(paid.asked_as)
        return demand is not None and (demand.is_open or demand.payment_id == paid.payment_id)

    async def _of_refunds(self, demands: _Demands) -> AsyncIterator[str]:
        """Each refund that went back is one at the carrier, and of the same payments the carrier has no other."""
        refunds: dict[str, dict[str, Demand]] = {}
        for each in demands.values():
            if each.is_refund and each.payment_id and not each.is_open:
                refunds.setdefault(each.payment_id, {})[each.demand_id] = each
        for payment_id, wanted in sorted(refunds.items()):
            for told in await self._carrier.refunds_of(payment_id):
                demand = wanted.get(told.asked_as) or await self._store.find(told.asked_as)
                if told.refund_status != "succeeded":
                    continue
                if demand is None or (not demand.is_open and demand.refund_id != told.refund_id):
                    yield f"the carrier gave back {told.refund_id} of {payment_id}, which is no refund of this phone bill"
                elif what := told.differs_from(demand):
                    yield f"{_named(demand)}: the carrier gave back something else: {what}"
                wanted.pop(told.asked_as, None)
            for demand in wanted.values():
                if demand.state == State.SUCCEEDED:
                    yield f"{_named(demand)}: given back here, and the carrier does not have {demand.refund_id}"


def _on_line(item: BilledItem) -> int:
    """The part of an item that demands and use come to: all of a credit line's, and all that went back outside."""
    return item.amount if item.paid_by == CREDIT_LINE or item.amount < 0 else 0


def _of_price(item: BilledItem, demands: _Demands, by_order: _Demands) -> str:
    """Says what is wrong with the demand of a price, or of a part of one that went back; empty: nothing."""
    if item.kind in _PRICES and item.paid_by == PaidBy.PHONE_BILL:
        paid = by_order.get(item.order_id)
        if paid is None or paid.payment_id != item.remark:
            return f"confirmed as paid by phone bill by {item.remark}, which is no payment of this phone bill"
        if paid.is_open:
            return ""
        if paid.state != State.SUCCEEDED:
            return f"carried out, and its payment {paid.demand_id} is {paid.state}: {paid.reason}"
        return "" if paid.amount == item.amount // STEP * STEP else f"it is {item.amount}, its payment {paid.amount}"
    amount = abs(item.amount) // STEP * STEP
    if not amount or item.kind not in (*_PRICES, Kind.CREDIT):
        return ""
    name = of_item(item).demand_id
    asked, known = 0, demands.get(name)
    while known is not None:
        # A refund that one payment could not give back whole goes on under a further name.
        asked += known.amount
        known = demands.get(derived_name("ref", known.demand_id)) if known.source == Source.REFUND else None
    return "" if asked == amount else f"{amount} of it should be asked for as {name}, and {asked} is"


def _failure(demand: Demand) -> str:
    """Why an ended demand leaves something for people to do; empty: it does not."""
    if demand.state == State.DISPUTED:
        return f"disputed: {demand.reason}"
    if demand.state != State.DENIED or demand.source == Source.ORDER:
        return ""
    return f"{'not given back' if demand.is_refund else 'delivered on credit, and not billed'}: {demand.reason}"


def _named(demand: Demand) -> str:
    return f"{'refund' if demand.is_refund else 'payment'} {demand.demand_id} of {demand.account_id}"
