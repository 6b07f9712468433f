"""Billed items: every amount that the journal charges, gives back or owes a vendor, made from its entries in this one place.

An item is one amount in one unit, from one source of payment. So the items of an account add up by unit, whichever way they are
grouped, and two units are never added. CDR files, receipts of orders, statements and vendors' statements are all made of items.
Pure: it keeps nothing from one row of the journal to the next except the orders that wait for a payment.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from services.billing.cdr import UNITS, CdrError
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

_REFUND: Final = "refund:"
_SURPLUS: Final = "surplus:"
_RESTART: Final = "restart:"
_ORDER_ID: Final = "ord-"
# Sources of allowances: bought, begun anew, and of a further cycle.
_SALES: Final = ("order:", _RESTART, "cycle:")


class Kind(StrEnum):
    """Kinds of items. A charge is positive; what is given back, given up or repaid is negative."""

    # A call or event; its record is a CDR.
    USAGE = "usage"
    # A vendor's claim for a call, and what the operator keeps of it, which is negative; no charges of the account's.
    WHOLESALE = "wholesale"
    FEE = "fee"
    # The price of an order, of a change of a subscription at once, and of a further cycle.
    PRICE = "price"
    CHANGE = "change"
    RENEWAL = "renewal"
    # A call's charge, given back as a bucket, and the worth of what was left of a purchase, given back the way it was paid.
    REFUND = "refund"
    CREDIT = "credit"
    # A debt that a bucket paid: twice in the entry, once from the bucket and once off the debt.
    DEBT_REPAID = "debt_repaid"
    WRITE_OFF = "write_off"
    # A bucket whose debits go on the phone bill was granted; its amount is 0.
    CREDIT_LINE = "credit_line"


class PaidBy(StrEnum):
    """Sources of payment."""

    BUCKET = "bucket"
    # Owed until it is repaid or written off.
    DEBT = "debt"
    # Confirmed by the operator's phone billing, or from elsewhere outside.
    PHONE_BILL = "phone_bill"
    OUTSIDE = "outside"
    # Paid by nobody: the operator's loss, or its vendors' claims.
    OPERATOR = "operator"
    # Nothing was to be paid.
    NOTHING = "nothing"
    # Fees that the operator keeps of a vendor's claim.
    PLATFORM_FEE = "platform_fee"
    COMPUTE_FEE = "compute_fee"
    CHANNEL_FEE = "channel_fee"


# Kinds of items that settle with vendors.
OF_VENDORS: Final = (Kind.WHOLESALE, Kind.FEE)
_SHARE_BASE: Final = 1_000_000


class BilledItem(NamedTuple):
    """One amount from one source. `amount` is micro-units of `unit`; `currency` is empty unless that is CURRENCY.

    (`part_id`, `sequence_number`, `entry_index`) is the journal's entry, `item_number` counts from 1 in it. `record_number` is that
    of its record in the CDR files; 0: it is of a call, whose CDR has it, or older than records of charges. Texts are empty where
    they do not apply.
    """

    part_id: int
    sequence_number: int
    entry_index: int
    item_number: int
    record_number: int
    kind: str
    account_id: str
    time_us: int
    unit: str
    currency: str
    amount: int
    paid_by: str
    bucket_id: str = ""
    # 1 in the first item of a settled call that a vendor was called for, else 0.
    calls: int = 0
    charging_id: str = ""
    order_id: str = ""
    subscription_id: str = ""
    offering_id: str = ""
    model_id: str = ""
    member_id: str = ""
    key_id: str = ""
    vendor_id: str = ""
    vendor_model_id: str = ""
    # The payer's own reference, or the operator's reason.
    remark: str = ""


class PlacedOrder(NamedTuple):
    """An order as it was placed; what is paid outside is confirmed in a later row, which does not repeat it."""

    order_id: str
    account_id: str
    time_us: int
    offering_id: str
    subscription_id: str
    # A number of the registry's contract.
    payment_method: int
    unit: str
    currency: str
    # In micro-units.
    amount: int
    # Asks for the price of a further cycle; else somebody ordered.
    renews: bool


class _Sale:
    """The part of a row that sells something to one account, as far as it was read."""

    def __init__(self) -> None:
        self.subscription_id = ""
        # A subscription that was there began anew.
        self.restarted = False
        # The last order that was placed, and the index of its entry.
        self.placed = ("", 0)
        # The offering whose price went back last.
        self.returned_offering_id = ""


class ItemMaker:
    """Makes items of one partition's entries, given in order and in whole rows."""

    def __init__(self) -> None:
        self._sequence_number = 0
        self._sales: dict[str, _Sale] = {}
        self._orders: dict[str, PlacedOrder] = {}
        self._earlier_orders: dict[str, PlacedOrder] = {}

    @property
    def orders(self) -> list[PlacedOrder]:
        """Orders that were placed in the entries so far."""
        return list(self._orders.values())

    def unknown_orders(self, entries: Iterable[pb.JournalEntry]) -> set[str]:
        """Orders that the entries say were paid outside, and that were placed before all entries so far."""
        placed = {entry.order_placed.order_id for entry in entries if entry.HasField("order_placed")}
        return {
            entry.order_completed.order_id
            for entry in entries
            if entry.HasField("order_completed") and entry.order_completed.payment_reference
        } - placed.union(self._orders)

    def learn(self, orders: Mapping[str, PlacedOrder]) -> None:
        """Takes orders that were placed before all entries so far."""
        self._earlier_orders.update(orders)

    def items_of(self, entry: pb.JournalEntry, record_number: int) -> list[BilledItem]:
        """The entry's items, none for most kinds of entries.

        Charges that are no calls have records from `record_number` on, unless it is 0. Errors: `CdrError` for a unit without a
        word, or an order that no entry placed.
        """
        if entry.sequence_number != self._sequence_number:
            self._sequence_number = entry.sequence_number
            self._sales.clear()
        fact = entry.WhichOneof("fact")
        if fact == "session_settled":
            return _of_call(entry)
        if fact in ("session_created", "session_updated"):
            return []
        return [
            item._replace(item_number=number, record_number=record_number and record_number + number - 1)
            for number, item in enumerate(self._of_charge(entry), 1)
        ]

    def _of_charge(self, entry: pb.JournalEntry) -> Iterator[BilledItem]:
        sale = self._sales.setdefault(entry.account_id, _Sale())
        match entry.WhichOneof("fact"):
            case "order_placed":
                self._orders[entry.order_placed.order_id] = _placed(entry)
                sale.subscription_id, sale.restarted = entry.order_placed.subscription_id, False
                sale.placed = (entry.order_placed.order_id, entry.index)
            case "subscription_started":
                sale.subscription_id, sale.restarted = entry.subscription_started.subscription_id, False
            case "cycle_started":
                sale.subscription_id = entry.cycle_started.subscription_id
            case "subscription_suspended":
                order_id, index = sale.placed
                # An order that its subscription's suspension follows asks for the price of the next cycle.
                if order_id and entry.index == index + 1:
                    self._orders[order_id] = self._orders[order_id]._replace(renews=True)
            case "bucket_granted":
                granted = entry.bucket_granted
                if granted.source.startswith(_SALES):
                    sale.subscription_id, sale.restarted = granted.subscription_id, granted.source.startswith(_RESTART)
                yield from _of_grant(entry, sale.returned_offering_id)
            case "price_charged":
                yield from self._of_price(entry, sale)
            case "order_completed":
                yield from self._of_payment(entry, sale)
                del self._sales[entry.account_id]
            case "debt_repaid":
                repaid = entry.debt_repaid
                item = _item(entry, Kind.DEBT_REPAID, repaid.unit, repaid.amount, PaidBy.BUCKET)
                yield item._replace(bucket_id=repaid.bucket_id)
                yield item._replace(amount=-repaid.amount, paid_by=PaidBy.DEBT, bucket_id=repaid.bucket_id)
            case "price_returned":
                sale.returned_offering_id = entry.price_returned.offering_id
                yield from _of_return(entry)
            case "debt_written_off":
                given_up = entry.debt_written_off
                item = _item(entry, Kind.WRITE_OFF, given_up.unit, -given_up.amount, PaidBy.DEBT)
                yield item._replace(remark=given_up.reason)

    def _of_price(self, entry: pb.JournalEntry, sale: _Sale) -> Iterator[BilledItem]:
        charged = entry.price_charged
        kind = Kind.RENEWAL if not charged.order_id else Kind.CHANGE if sale.restarted else Kind.PRICE
        item = _item(entry, kind, charged.unit, 0, PaidBy.BUCKET)
        item = item._replace(order_id=charged.order_id, offering_id=charged.offering_id, subscription_id=sale.subscription_id)
        for debit in charged.debits:
            yield item._replace(amount=debit.amount, bucket_id=debit.bucket_id)

    def _of_payment(self, entry: pb.JournalEntry, sale: _Sale) -> Iterator[BilledItem]:
        """A price that was paid outside; one that was paid here stands in an entry of its own."""
        completed = entry.order_completed
        if not completed.payment_reference:
            return
        order = self._orders.get(completed.order_id) or self._earlier_orders.get(completed.order_id)
        if order is None:
            raise CdrError(
                f"entry ({entry.sequence_number}, {entry.index}) pays order {completed.order_id}, and no earlier entry places it; "
                "billing's database is older than the journal: restore both to the same time"
            )
        if not order.amount:
            return
        yield BilledItem(
            entry.part_id,
            entry.sequence_number,
            entry.index,
            1,
            0,
            Kind.RENEWAL if order.renews else Kind.CHANGE if sale.restarted else Kind.PRICE,
            entry.account_id,
            entry.time_us,
            order.unit,
            order.currency,
            order.amount,
            PaidBy.PHONE_BILL if order.payment_method == registry_pb2.PAYMENT_METHOD_PHONE_BILL else PaidBy.OUTSIDE,
            order_id=order.order_id,
            subscription_id=order.subscription_id,
            offering_id=order.offering_id,
            remark=completed.payment_reference,
        )


def _of_call(entry: pb.JournalEntry) -> list[BilledItem]:
    """A call's amounts by source, and the vendor's claim. A free call has one item of nothing, since calls are counted."""
    settled = entry.session_settled
    is_first = settled.record_sequence_number == 1 and settled.close_cause != pb.CLOSE_CAUSE_REJECTED
    parts = [(PaidBy.BUCKET, debit.bucket_id, debit.amount) for debit in settled.debits if debit.amount]
    if settled.debt_amount:
        parts.append((PaidBy.DEBT, "", settled.debt_amount))
    if settled.absorbed_amount:
        parts.append((PaidBy.OPERATOR, "", settled.absorbed_amount))
    if is_first and not parts:
        parts.append((PaidBy.NOTHING, "", 0))
    unit = settled.unit
    word = _word(entry, unit)
    # In one step each, because this runs for every call.
    items = [
        BilledItem(
            entry.part_id,
            entry.sequence_number,
            entry.index,
            number,
            0,
            Kind.USAGE,
            entry.account_id,
            entry.time_us,
            word,
            unit.currency,
            amount,
            paid_by,
            bucket_id,
            int(is_first and number == 1),
            settled.charging_id,
            "",
            "",
            settled.offering_id,
            settled.model_id,
            settled.member_id,
            settled.key_id,
        )
        for number, (paid_by, bucket_id, amount) in enumerate(parts, 1)
    ]
    if settled.HasField("wholesale"):
        owed = settled.wholesale
        claim = _item(entry, Kind.WHOLESALE, owed.unit, owed.amount, PaidBy.OPERATOR)._replace(
            item_number=len(items) + 1,
            calls=int(is_first),
            charging_id=settled.charging_id,
            offering_id=settled.offering_id,
            model_id=settled.model_id,
            member_id=settled.member_id,
            key_id=settled.key_id,
            vendor_id=owed.vendor_id,
            vendor_model_id=owed.vendor_model_id,
        )
        items += [claim, *_fees(claim, owed)]
    return items


def _fees(claim: BilledItem, owed: pb.WholesaleCharge) -> Iterator[BilledItem]:
    """The operator's parts of a claim, each rounded down to a micro-unit; the vendor gets the rest."""
    shares = owed.fees
    number = claim.item_number
    for paid_by, share in (
        (PaidBy.PLATFORM_FEE, shares.platform),
        (PaidBy.COMPUTE_FEE, shares.compute),
        (PaidBy.CHANNEL_FEE, shares.channel),
    ):
        amount = claim.amount * share // _SHARE_BASE
        if amount:
            number += 1
            yield claim._replace(item_number=number, kind=Kind.FEE, amount=-amount, paid_by=paid_by, calls=0)


def _of_grant(entry: pb.JournalEntry, returned_offering_id: str) -> Iterator[BilledItem]:
    """Grants that give a charge back, and credit lines. Other grants are no charges.

    `returned_offering_id`: the offering whose price went back just before, which the grant of the money does not say.
    """
    granted = entry.bucket_granted
    item = _item(entry, Kind.CREDIT_LINE, granted.unit, 0, PaidBy.BUCKET)._replace(
        bucket_id=granted.bucket_id, subscription_id=granted.subscription_id, offering_id=granted.offering_id
    )
    if granted.source.startswith(_REFUND):
        # "refund:SEQUENCE_NUMBER/CHARGING_ID/RECORD"
        charging_id = granted.source.partition("/")[2].rpartition("/")[0]
        yield item._replace(kind=Kind.REFUND, amount=-granted.amount, charging_id=charging_id, remark=granted.reason)
    elif granted.source.startswith(_SURPLUS):
        of_purchase = _named(item, granted.source.removeprefix(_SURPLUS))
        yield of_purchase._replace(
            kind=Kind.CREDIT, amount=-granted.amount, remark=granted.reason, offering_id=returned_offering_id
        )
    elif granted.postpaid:
        yield item


def _of_return(entry: pb.JournalEntry) -> Iterator[BilledItem]:
    """Parts of a price that went back to credit lines and outside; prepaid money came back as a bucket, whose grant says so."""
    back = entry.price_returned
    item = _named(_item(entry, Kind.CREDIT, back.returned.unit, 0, PaidBy.BUCKET), back.purchase_id)
    item = item._replace(offering_id=back.offering_id, remark=back.reason)
    if back.order_id:
        item = item._replace(order_id=back.order_id)
    for credit in back.credits:
        yield item._replace(amount=-credit.amount, bucket_id=credit.bucket_id)
    if back.returned.outside_amount:
        paid_by = PaidBy.PHONE_BILL if back.payment_method == registry_pb2.PAYMENT_METHOD_PHONE_BILL else PaidBy.OUTSIDE
        references = ", ".join(back.returned.payment_references)
        yield item._replace(amount=-back.returned.outside_amount, paid_by=paid_by, remark=references or back.reason)


def _named(item: BilledItem, purchase_id: str) -> BilledItem:
    """The item with the purchase that it is about: a pack by its order, or a subscription."""
    if purchase_id.startswith(_ORDER_ID):
        return item._replace(order_id=purchase_id)
    return item._replace(subscription_id=purchase_id)


def _item(entry: pb.JournalEntry, kind: Kind, unit: pb.UnitOfAmount, amount: int, paid_by: PaidBy) -> BilledItem:
    return BilledItem(
        entry.part_id,
        entry.sequence_number,
        entry.index,
        1,
        0,
        kind,
        entry.account_id,
        entry.time_us,
        _word(entry, unit),
        unit.currency,
        amount,
        paid_by,
    )


def _placed(entry: pb.JournalEntry) -> PlacedOrder:
    placed = entry.order_placed
    return PlacedOrder(
        placed.order_id,
        entry.account_id,
        entry.time_us,
        placed.offering_id,
        placed.subscription_id,
        placed.payment_method,
        _word(entry, placed.unit) if placed.amount else "",
        placed.unit.currency,
        placed.amount,
        renews=False,
    )


def _word(entry: pb.JournalEntry, unit: pb.UnitOfAmount) -> str:
    try:
        return UNITS[unit.unit]
    except KeyError:
        raise CdrError(
            f"entry ({entry.sequence_number}, {entry.index}) has unit {unit.unit}, and this code has no word for it: run the "
            "release that knows it"
        ) from None
