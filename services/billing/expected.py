"""The records that a journal entry must have made: taken from the entry a second time, apart from `cdr`, `items` and `charge`.

Reconciliation compares with it what the export wrote, so that a fault of the export's code shows.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.message import Message

from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The fields of a CDR that have the same name and the same kind of value in the entry, and in its session_settled fact.
_ENTRY_FIELDS: Final = ("part_id", "sequence_number", "index", "account_id")
_SETTLED_FIELDS: Final = (
    "charging_id",
    "record_sequence_number",
    "member_id",
    "key_id",
    "model_id",
    "offering_id",
    "tariff_id",
    "tariff_version",
    "charged_amount",
    "debt_amount",
)


def _names(kind: type[Message]) -> tuple[str, ...]:
    return tuple(kind.DESCRIPTOR.fields_by_name)


def _words(numbers: Iterable[tuple[str, int]], prefix: str) -> dict[int, str]:
    return {number: name.removeprefix(prefix) for name, number in numbers}


# Taken from the contract itself, and not from `cdr`.
_USAGE_FIELDS: Final = _names(pb.TokenUsage)
# Classes that a CDR's usage names even where they are 0: the fields of the first release.
_USAGE_FIELDS_ALWAYS: Final = {name for name in _USAGE_FIELDS if pb.TokenUsage.DESCRIPTOR.fields_by_name[name].number <= 5}
_CLASS_CHARGE_FIELDS: Final = _names(pb.ClassCharge)
_DEBIT_FIELDS: Final = _names(pb.BucketAmount)
_ATTEMPT_FIELDS: Final = _names(pb.VendorAttempt)
UNITS: Final = _words(registry_pb2.Unit.items(), "UNIT_")
_CLOSE_CAUSES: Final = _words(pb.CloseCause.items(), "CLOSE_CAUSE_")
_PROVENANCES: Final = _words(pb.UsageProvenance.items(), "USAGE_PROVENANCE_")

_KINDS_OF_GRANTS: Final = ("order:", "restart:", "cycle:")

# A record, a charge or an item as its JSON or its fields must be.
Plain = dict[str, Any]


def expected_cdr(entry: pb.JournalEntry) -> Plain:
    """The CDR's JSON as it must be, without its record number."""
    settled = entry.session_settled
    cdr: Plain = {name: getattr(entry, name) for name in _ENTRY_FIELDS}
    for name in _SETTLED_FIELDS:
        cdr[name] = getattr(settled, name)
    cdr["unit"] = UNITS.get(settled.unit.unit, "?")
    cdr["currency"] = settled.unit.currency
    usage = settled.usage
    cdr["usage"] = {name: count for name in _USAGE_FIELDS if (count := getattr(usage, name)) or name in _USAGE_FIELDS_ALWAYS}
    cdr["class_charges"] = [_plain(each, _CLASS_CHARGE_FIELDS) for each in settled.class_charges]
    cdr["debits"] = [_plain(debit, _DEBIT_FIELDS) for debit in settled.debits]
    cdr["attempts"] = [_plain(each, _ATTEMPT_FIELDS) for each in settled.attempts]
    cdr["close_cause"] = _CLOSE_CAUSES.get(settled.close_cause, "?").lower()
    cdr["provenance"] = _PROVENANCES.get(settled.provenance, "?").lower()
    cdr["start_time"] = _time(settled.create_time_us)
    cdr["end_time"] = _time(entry.time_us)
    if settled.absorbed_amount:
        cdr["absorbed_amount"] = settled.absorbed_amount
    if settled.HasField("unpaid"):
        unpaid = {name: count for name, count in _plain(settled.unpaid, _USAGE_FIELDS).items() if count}
        if unpaid:
            cdr["unpaid"] = unpaid
    if settled.run_label:
        cdr["run_label"] = settled.run_label
    return cdr


def _plain(message: Message, names: Sequence[str]) -> Plain:
    return {name: getattr(message, name) for name in names}


def _time(time_us: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=time_us):%Y-%m-%dT%H:%M:%S.%fZ}"


class ExpectedItems:
    """The items that a partition's journal must have made, row by row in order."""

    def __init__(self) -> None:
        # Orders that wait for a payment from outside, and whether they ask for a further cycle's price.
        self._waiting: dict[str, tuple[pb.OrderPlaced, bool]] = {}

    def of_row(self, row: Sequence[pb.JournalEntry]) -> list[list[Plain]]:
        """For each entry of the row its items, by the names of their fields; charges have no record number yet."""
        return [
            [
                {**_NO_ITEM, **_place(entry), "item_number": number, **item}
                for number, item in enumerate(self._items(row, position), 1)
            ]
            for position, entry in enumerate(row)
        ]

    def _items(self, row: Sequence[pb.JournalEntry], position: int) -> Iterator[Plain]:
        entry = row[position]
        fact = entry.WhichOneof("fact")
        if fact == "session_settled":
            yield from _usage_items(entry.session_settled)
        elif fact == "order_placed":
            self._waiting[entry.order_placed.order_id] = (entry.order_placed, False)
        elif fact == "subscription_suspended" and position and row[position - 1].HasField("order_placed"):
            asked = row[position - 1]
            if asked.account_id == entry.account_id:
                self._waiting[asked.order_placed.order_id] = (asked.order_placed, True)
        elif fact == "order_failed":
            self._waiting.pop(entry.order_failed.order_id, None)
        elif fact == "order_completed":
            yield from self._payment_items(row, position)
        elif fact == "price_charged":
            charged = entry.price_charged
            subscription_id, restarted = _sale_before(row, position)
            for debit in charged.debits:
                yield {
                    "kind": _kind_of_price(renews=not charged.order_id, restarted=restarted),
                    **_amount(charged.unit, debit.amount),
                    "paid_by": "bucket",
                    "bucket_id": debit.bucket_id,
                    "order_id": charged.order_id,
                    "offering_id": charged.offering_id,
                    "subscription_id": subscription_id,
                }
        elif fact in _CORRECTIONS:
            returned = [each.price_returned for each in row[:position] if each.HasField("price_returned")]
            yield from _correction_items(entry, returned)

    def _payment_items(self, row: Sequence[pb.JournalEntry], position: int) -> Iterator[Plain]:
        completed = row[position].order_completed
        placed, renews = self._waiting.pop(completed.order_id, (None, False))
        if placed is None or not placed.amount or not completed.payment_reference:
            return
        phone_bill = placed.payment_method == registry_pb2.PAYMENT_METHOD_PHONE_BILL
        yield {
            "kind": _kind_of_price(renews=renews, restarted=_sale_before(row, position)[1]),
            **_amount(placed.unit, placed.amount),
            "paid_by": "phone_bill" if phone_bill else "outside",
            "order_id": placed.order_id,
            "offering_id": placed.offering_id,
            "subscription_id": placed.subscription_id,
            "remark": completed.payment_reference,
        }


_CORRECTIONS: Final = ("bucket_granted", "debt_repaid", "debt_written_off", "price_returned")
_NO_ITEM: Final[Plain] = {
    "record_number": 0,
    "bucket_id": "",
    "calls": 0,
    "charging_id": "",
    "order_id": "",
    "subscription_id": "",
    "offering_id": "",
    "model_id": "",
    "member_id": "",
    "key_id": "",
    "vendor_id": "",
    "vendor_model_id": "",
    "remark": "",
}
_OF_CALLS: Final = ("calls", "model_id", "member_id", "key_id", "vendor_id", "vendor_model_id")
_RENAMED: Final = {"kind": "record_type", "entry_index": "index"}


def expected_charge(item: Plain) -> Plain:
    """The JSON of the record of an item that is of no call."""
    charge = {_RENAMED.get(name, name): value for name, value in item.items() if name not in _OF_CALLS}
    charge["time"] = _time(charge.pop("time_us"))
    return {name: value for name, value in charge.items() if value != "" or name == "currency"}


def _place(entry: pb.JournalEntry) -> Plain:
    return {
        "part_id": entry.part_id,
        "sequence_number": entry.sequence_number,
        "entry_index": entry.index,
        "account_id": entry.account_id,
        "time_us": entry.time_us,
    }


def _amount(unit: pb.UnitOfAmount, amount: int) -> Plain:
    return {"unit": UNITS.get(unit.unit, "?"), "currency": unit.currency, "amount": amount}


def _kind_of_price(*, renews: bool, restarted: bool) -> str:
    return "renewal" if renews else "change" if restarted else "price"


def _sale_before(row: Sequence[pb.JournalEntry], position: int) -> tuple[str, bool]:
    """The subscription that the entry's decision sells, and whether it was there before."""
    subscription_id: str | None = None
    for earlier in reversed(row[:position]):
        if earlier.account_id != row[position].account_id:
            continue
        fact = earlier.WhichOneof("fact")
        if fact == "order_completed":
            break
        if fact == "bucket_granted" and earlier.bucket_granted.source.startswith(_KINDS_OF_GRANTS):
            granted = earlier.bucket_granted
            return subscription_id or granted.subscription_id, granted.source.startswith("restart:")
        if fact in ("order_placed", "subscription_started"):
            return subscription_id or getattr(earlier, fact).subscription_id, False
        if fact == "cycle_started" and subscription_id is None:
            subscription_id = earlier.cycle_started.subscription_id
    return subscription_id or "", False


def _usage_items(settled: pb.SessionSettled) -> Iterator[Plain]:
    call = {
        "charging_id": settled.charging_id,
        "offering_id": settled.offering_id,
        "model_id": settled.model_id,
        "member_id": settled.member_id,
        "key_id": settled.key_id,
    }
    counted = int(settled.record_sequence_number == 1 and settled.close_cause != pb.CLOSE_CAUSE_REJECTED)
    parts = [("bucket", debit.bucket_id, debit.amount) for debit in settled.debits if debit.amount]
    parts += [("debt", "", settled.debt_amount)] if settled.debt_amount else []
    parts += [("operator", "", settled.absorbed_amount)] if settled.absorbed_amount else []
    if not parts and counted:
        parts = [("nothing", "", 0)]
    for number, (paid_by, bucket_id, amount) in enumerate(parts):
        calls = counted if number == 0 else 0
        yield {
            "kind": "usage",
            **_amount(settled.unit, amount),
            **call,
            "paid_by": paid_by,
            "bucket_id": bucket_id,
            "calls": calls,
        }
    if settled.HasField("wholesale"):
        owed = settled.wholesale
        yield {
            "kind": "wholesale",
            **_amount(owed.unit, owed.amount),
            **call,
            "paid_by": "operator",
            "calls": counted,
            "vendor_id": owed.vendor_id,
            "vendor_model_id": owed.vendor_model_id,
        }
        for name in ("platform", "compute", "channel"):
            # Floor, in whole numbers.
            kept, _ = divmod(getattr(owed.fees, name) * owed.amount, 10**6)
            if kept:
                yield {
                    "kind": "fee",
                    **_amount(owed.unit, -kept),
                    **call,
                    "paid_by": f"{name}_fee",
                    "vendor_id": owed.vendor_id,
                    "vendor_model_id": owed.vendor_model_id,
                }


def _correction_items(entry: pb.JournalEntry, returned: Sequence[pb.PriceReturned]) -> Iterator[Plain]:
    """Items of a correction; `returned`: what went back before it in its row."""
    fact = entry.WhichOneof("fact")
    if fact == "debt_repaid":
        repaid = entry.debt_repaid
        for paid_by, amount in (("bucket", repaid.amount), ("debt", -repaid.amount)):
            yield {
                "kind": "debt_repaid",
                **_amount(repaid.unit, amount),
                "paid_by": paid_by,
                "bucket_id": repaid.bucket_id,
            }
    elif fact == "debt_written_off":
        given_up = entry.debt_written_off
        yield {"kind": "write_off", **_amount(given_up.unit, -given_up.amount), "paid_by": "debt", "remark": given_up.reason}
    elif fact == "price_returned":
        yield from _returned_items(entry.price_returned)
    else:
        granted = entry.bucket_granted
        origin, _, of = granted.source.partition(":")
        item = {
            "paid_by": "bucket",
            "bucket_id": granted.bucket_id,
            "offering_id": granted.offering_id,
            "subscription_id": granted.subscription_id,
        }
        given_back = {**_amount(granted.unit, -granted.amount), "remark": granted.reason}
        if origin == "refund":
            yield {**item, "kind": "refund", **given_back, "charging_id": of.split("/", 1)[-1].rsplit("/", 1)[0]}
        elif origin == "surplus":
            offering_id = next((each.offering_id for each in reversed(returned) if each.purchase_id == of), "")
            yield {**item, "kind": "credit", **given_back, **_purchase(of), "offering_id": offering_id}
        elif granted.postpaid:
            yield {**item, "kind": "credit_line", **_amount(granted.unit, 0)}


def _returned_items(back: pb.PriceReturned) -> Iterator[Plain]:
    item = {"kind": "credit", "offering_id": back.offering_id, "remark": back.reason, **_purchase(back.purchase_id)}
    if back.order_id:
        item["order_id"] = back.order_id
    for credit in back.credits:
        yield {**item, **_amount(back.returned.unit, -credit.amount), "paid_by": "bucket", "bucket_id": credit.bucket_id}
    if outside := back.returned.outside_amount:
        phone_bill = back.payment_method == registry_pb2.PAYMENT_METHOD_PHONE_BILL
        if back.returned.payment_references:
            item["remark"] = ", ".join(back.returned.payment_references)
        yield {**item, **_amount(back.returned.unit, -outside), "paid_by": "phone_bill" if phone_bill else "outside"}


def _purchase(purchase_id: str) -> Plain:
    """A pack is named by its order."""
    return {"order_id" if purchase_id.startswith("ord-") else "subscription_id": purchase_id}
