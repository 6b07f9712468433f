"""Demands: what the carrier is asked for, a payment or a refund, each once. Pure."""

from enum import StrEnum
from typing import Any, Final, NamedTuple

from services.billing.items import BilledItem, PlacedOrder
from services.runtime.identifiers import derived_name

# The carrier counts in thousandths of a currency's unit.
STEP: Final = 1_000


class Source(StrEnum):
    """Origins of demands."""

    # An order that waits for its payment by phone bill.
    ORDER = "order"
    # A price that a credit line paid.
    ITEM = "item"
    # Use of credit lines, added up.
    USAGE = "usage"
    # A price that went back, or a part of one.
    REFUND = "refund"
    # A payment whose order came to nothing.
    RETURN = "return"


class State(StrEnum):
    """States of demands. The carrier's own words where it has one."""

    WAITING = "waiting"
    # The carrier may have heard of it.
    ASKING = "asking"
    PROCESSING = "processing"
    # The carrier waits for a code that it sent to the line.
    VALIDATING = "pending_validation"
    RESERVED = "reserved"
    # Billed in one step; its order is not carried out yet.
    PAID = "paid"
    CONFIRMING = "confirming"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    DENIED = "denied"
    CANCELLED = "cancelled"
    # Billed, and to be given back by a demand of its own.
    RETURNED = "returned"
    # The carrier has something else under its identifier: somebody must look.
    DISPUTED = "disputed"


FINAL: Final = frozenset({State.SUCCEEDED, State.DENIED, State.CANCELLED, State.RETURNED, State.DISPUTED})
# Ends that somebody should look at.
FAILED: Final = frozenset({State.DENIED, State.DISPUTED})
REFUNDS: Final = frozenset({Source.REFUND, Source.RETURN})
PAYMENTS: Final = frozenset({Source.ORDER, Source.ITEM, Source.USAGE})


class Demand(NamedTuple):
    """One payment or refund. `demand_id` is its name at the carrier, too; `amount` is micro-units, of whole thousandths."""

    demand_id: str
    source: str
    account_id: str
    time_us: int
    currency: str
    amount: int
    order_id: str = ""
    subscription_id: str = ""
    offering_id: str = ""
    state: str = State.WAITING
    # Why it is in this state, for people.
    reason: str = ""
    # The line, as the carrier was first asked.
    phone_number: str = ""
    # The carrier's names: of the payment, also of the one that a refund is of, and of the refund.
    payment_id: str = ""
    refund_id: str = ""
    authorization_id: str = ""
    # The demand whose payment a refund is of.
    of_demand: str = ""
    # When the carrier was first asked; 0: never.
    asked_us: int = 0
    # Tries in this state, and when the next one is due.
    tries: int = 0
    next_us: int = 0

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done."""
        return self.state not in FINAL

    @property
    def is_refund(self) -> bool:
        """Whether money goes back."""
        return self.source in REFUNDS

    def to(self, state: State, reason: str = "", **fields: Any) -> "Demand":
        """The demand in its next state, in which it is due at once."""
        return self._replace(state=state, reason=reason, tries=0, next_us=0, **fields)


class Use(NamedTuple):
    """Use of an account's credit lines in one currency that is not asked for yet. `number` counts the demands made of it."""

    account_id: str
    currency: str
    # In micro-units; negative: more went back.
    amount: int
    since_us: int
    number: int


def whole_steps(amount: int) -> int:
    """The part of an amount that the carrier can count."""
    return amount - amount % STEP


def of_order(order: PlacedOrder) -> Demand:
    """The payment that an order waits for. What is less than a thousandth is not asked for."""
    return Demand(
        derived_name("pay", order.order_id),
        Source.ORDER,
        order.account_id,
        order.time_us,
        order.currency,
        whole_steps(order.amount),
        order.order_id,
        order.subscription_id,
        order.offering_id,
    )


def of_item(item: BilledItem) -> Demand:
    """The payment of a price, or the refund of what went back, without what is less than a thousandth."""
    place = (item.part_id, item.sequence_number, item.entry_index, item.item_number)
    goes_back = item.amount < 0
    return Demand(
        derived_name("ref" if goes_back else "pay", item.account_id, *map(str, place)),
        Source.REFUND if goes_back else Source.ITEM,
        item.account_id,
        item.time_us,
        item.currency,
        whole_steps(abs(item.amount)),
        item.order_id,
        item.subscription_id,
        item.offering_id,
    )


def of_use(use: Use, now_us: int) -> Demand:
    """The payment of use that was added up."""
    name = derived_name("use", use.account_id, use.currency, str(use.number))
    return Demand(name, Source.USAGE, use.account_id, now_us, use.currency, whole_steps(use.amount))


def return_of(paid: Demand) -> Demand:
    """The refund of a payment whose order came to nothing."""
    return paid._replace(
        demand_id=derived_name("ref", paid.demand_id),
        source=Source.RETURN,
        state=State.WAITING,
        of_demand=paid.demand_id,
        authorization_id="",
        asked_us=0,
        tries=0,
        next_us=0,
    )


def again(denied: Demand) -> Demand:
    """The demand that takes the place of one that the carrier denied; the carrier knows no such name yet."""
    name = derived_name("ref" if denied.is_refund else "pay", denied.demand_id, "again")
    fresh = denied.to(State.WAITING, asked_us=0, authorization_id="", refund_id="")
    # A refund looks for its payment anew, as a payment for its line.
    return fresh._replace(demand_id=name, payment_id="", of_demand=denied.of_demand if denied.source == Source.RETURN else "")


class Share(NamedTuple):
    """The part of a refund that one payment gives back."""

    paid: Demand
    amount: int


def share_of(refund: Demand, known: list[Demand]) -> Share | str:
    """The payment that gives back a refund, or the first part of it; else why none does. `known`: the account's demands.

    The latest payment of the same order or subscription comes first. Errors: `LookupError` while one of them has not ended.
    """
    payments = [each for each in known if each.source in PAYMENTS and _pays_for(each, refund)]
    if any(each.is_open for each in payments):
        raise LookupError("its payment has not ended")
    paid = [each for each in payments if each.state in (State.SUCCEEDED, State.RETURNED)]
    for each in sorted(paid, key=lambda each: (-each.time_us, each.demand_id)):
        back = [other for other in known if other.is_refund and other.of_demand == each.demand_id]
        left = each.amount - sum(other.amount for other in back if other.state not in _GAVE_NOTHING and other != refund)
        if left > 0:
            return Share(each, min(left, refund.amount))
    return "no payment at the carrier has that much left to give back"


_GAVE_NOTHING: Final = (State.DENIED, State.CANCELLED)


def _pays_for(paid: Demand, refund: Demand) -> bool:
    if refund.of_demand:
        return paid.demand_id == refund.of_demand
    same_order = refund.order_id != "" and paid.order_id == refund.order_id
    same_subscription = refund.subscription_id != "" and paid.subscription_id == refund.subscription_id
    return paid.currency == refund.currency and (same_order or same_subscription)
