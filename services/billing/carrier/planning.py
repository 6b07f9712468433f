"""Decides which billed items the carrier is asked for. Pure."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from services.billing.carrier.demands import Demand, of_item
from services.billing.items import BilledItem, Kind
from services.billing.store import CREDIT_LINE

# Prices are asked for one by one; all other use of a credit line is added up.
_PRICES: Final = (Kind.PRICE, Kind.CHANGE, Kind.RENEWAL, Kind.CREDIT)


class Plan(NamedTuple):
    """Demands of a range of items, and the amounts to be added to each account's use by currency."""

    demands: list[Demand]
    used: dict[tuple[str, str], int]


def plan(items: Iterable[BilledItem]) -> Plan:
    """Plans items that stand on the phone bill, `paid_by` as in statements.

    An order that was confirmed as paid by phone bill is none of it: its payment came first. What is less than a thousandth is
    added to use, so that nothing is lost.
    """
    demands, used = list[Demand](), dict[tuple[str, str], int]()
    for item in items:
        by_itself = item.kind in _PRICES and (item.paid_by == CREDIT_LINE or item.amount < 0)
        rest = item.amount if item.paid_by == CREDIT_LINE else 0
        if by_itself:
            demand = of_item(item)
            rest = item.amount - demand.amount if item.amount > 0 else item.amount + demand.amount
            if demand.amount:
                demands.append(demand)
        if rest:
            who = (item.account_id, item.currency)
            used[who] = used.get(who, 0) + rest
    return Plan(demands, used)
