"""Where cursors, file rows, the index by charging_id and billed items are durable: the contract, and the version in memory."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

from services.billing.cdr_file import CdrFile, IndexRow, Rows
from services.billing.items import OF_VENDORS, BilledItem, Kind, PaidBy, PlacedOrder


class CursorMovedError(Exception):
    """The cursor is not where the caller saw it: somebody else exports from this store. Nothing was written."""


class PendingRange(NamedTuple):
    """A range whose file may exist, whole or in part; it must be written again, then passed."""

    from_seq: int
    to_seq: int
    first_record_number: int
    file_name: str


class Cursor(NamedTuple):
    """How far a partition is exported. `exported_seq` 0: nothing; the next record gets `next_record_number`.

    From `charges_from_seq` on, charges that are no calls have records; 0: a release that knew none has begun the partition. Items
    of the range before are made from the journal again, up to `backfilled_seq` so far.
    """

    part_id: int
    era: int
    exported_seq: int
    next_record_number: int
    pending: PendingRange | None
    charges_from_seq: int = 1
    backfilled_seq: int = 0


def first_cursor(part_id: int, era: int) -> Cursor:
    """The cursor of a partition before anything of it was exported."""
    return Cursor(part_id, era, 0, 1, None)


class Period(NamedTuple):
    """A time of the journal: from `from_us` included until `until_us` excluded, in microseconds since 1970."""

    from_us: int
    until_us: int


class UsageLine(NamedTuple):
    """Calls of an account or of a vendor, added up: one line for each unit and source of payment. `amount` is in micro-units."""

    unit: str
    currency: str
    paid_by: str
    model_id: str
    member_id: str
    key_id: str
    vendor_model_id: str
    calls: int
    amount: int


class Grouping(NamedTuple):
    """The names by which usage is told apart; the others are left empty in its lines."""

    model: bool = False
    member: bool = False
    key: bool = False


# Source of payment, in statements, of a bucket whose debits go on the phone bill.
CREDIT_LINE: Final = "credit_line"


class Store(Protocol):
    """Every method is one transaction; what it wrote survives the loss of the process and of power when it returns.

    Errors of all methods: `ServiceError` STORE_UNAVAILABLE; then it is unknown whether a write took effect, and the cursor
    must be read again.
    """

    async def cursors(self) -> dict[int, Cursor]:
        """Cursors by part_id, of the partitions that were begun."""
        ...

    async def begin(self, cursor: Cursor, pending: PendingRange) -> Cursor:
        """Makes the range pending. Errors: `CursorMovedError` unless the partition is at `cursor`, with nothing pending."""
        ...

    async def advance(self, cursor: Cursor, to_seq: int, file: CdrFile | None, rows: Rows) -> Cursor:
        """Writes file row and rows, moves the cursor to `to_seq` and past the records' numbers, clears pending.

        An order takes the place of an earlier one of its name. Without a record there is no file and nothing pending. Errors:
        `CursorMovedError` unless the partition is at `cursor`.
        """
        ...

    async def begin_charges(self, cursor: Cursor) -> Cursor:
        """Gives charges records from the next range on; nothing is pending. Errors: `CursorMovedError` unless it is at `cursor`."""
        ...

    async def backfill(self, cursor: Cursor, to_seq: int, rows: Rows) -> Cursor:
        """Writes items and orders of a range that was exported without. Errors: `CursorMovedError` unless it is at `cursor`."""
        ...

    async def enter_era(self, cursor: Cursor, era: int) -> Cursor:
        """Exports from a journal of another era from now on. Errors: `CursorMovedError` unless it is at `cursor`."""
        ...

    async def records(self, account_id: str, charging_id: str) -> list[IndexRow]:
        """The account's exported records of the session, in order of record_sequence_number."""
        ...

    async def index_rows(self, part_id: int, from_seq: int, to_seq: int) -> list[IndexRow]:
        """The index rows of a range of sequence numbers, both ends included, in the journal's order."""
        ...

    async def items(self, part_id: int, from_seq: int, to_seq: int) -> list[BilledItem]:
        """The items of a range of sequence numbers, both ends included, in the journal's order."""
        ...

    async def orders(self, order_ids: Collection[str]) -> dict[str, PlacedOrder]:
        """Those of the orders that were placed, by order_id."""
        ...

    async def items_of_order(self, account_id: str, order_id: str) -> list[BilledItem]:
        """Items of the account that paid for the order, in the journal's order."""
        ...

    async def usage(self, account_id: str, period: Period, grouping: Grouping) -> list[UsageLine]:
        """The account's calls; a bucket whose debits go on the phone bill pays by `CREDIT_LINE`. In order of the lines' fields."""
        ...

    async def charges(self, account_id: str, period: Period, charges_max: int) -> list[BilledItem]:
        """The account's items that are no calls, in the journal's order, at most `charges_max`; `paid_by` as in `usage`."""
        ...

    async def wholesale(self, vendor_id: str, period: Period) -> list[UsageLine]:
        """The vendor's claims, and what the operator keeps of them, by its own model, in order of the lines' fields."""
        ...

    async def files(self, part_id: int) -> list[CdrFile]:
        """The partition's file rows, in order of their ranges."""
        ...

    async def close(self) -> None:
        """Ends; nothing may be under way."""
        ...


class MemoryStore:
    """See `Store`; durable as long as the object lives. For tests."""

    def __init__(self) -> None:
        self._cursors: dict[int, Cursor] = {}
        self._files: dict[int, list[CdrFile]] = {}
        self._index: dict[int, list[IndexRow]] = {}
        self._items: list[BilledItem] = []
        self._orders: dict[str, PlacedOrder] = {}

    async def cursors(self) -> dict[int, Cursor]:
        return dict(self._cursors)

    async def begin(self, cursor: Cursor, pending: PendingRange) -> Cursor:
        self._check(cursor)
        if cursor.pending is not None:
            raise moved(cursor)
        return self._move(cursor._replace(pending=pending))

    async def advance(self, cursor: Cursor, to_seq: int, file: CdrFile | None, rows: Rows) -> Cursor:
        self._check(cursor)
        if file is not None:
            self._files.setdefault(cursor.part_id, []).append(file)
        self._index.setdefault(cursor.part_id, []).extend(rows.calls)
        self._take(rows)
        return self._move(advanced(cursor, to_seq, rows.records))

    async def begin_charges(self, cursor: Cursor) -> Cursor:
        self._check(cursor)
        return self._move(with_charges(cursor))

    async def backfill(self, cursor: Cursor, to_seq: int, rows: Rows) -> Cursor:
        self._check(cursor)
        self._take(rows)
        return self._move(cursor._replace(backfilled_seq=to_seq))

    def _take(self, rows: Rows) -> None:
        self._items = sorted([*self._items, *rows.items])
        self._orders.update({order.order_id: order for order in rows.orders})

    async def enter_era(self, cursor: Cursor, era: int) -> Cursor:
        self._check(cursor)
        return self._move(cursor._replace(era=era))

    async def records(self, account_id: str, charging_id: str) -> list[IndexRow]:
        found = [
            row for rows in self._index.values() for row in rows if (row.account_id, row.charging_id) == (account_id, charging_id)
        ]
        return sorted(found, key=lambda row: row.record_sequence_number)

    async def index_rows(self, part_id: int, from_seq: int, to_seq: int) -> list[IndexRow]:
        return [row for row in self._index.get(part_id, []) if from_seq <= row.sequence_number <= to_seq]

    async def items(self, part_id: int, from_seq: int, to_seq: int) -> list[BilledItem]:
        return [item for item in self._items if item.part_id == part_id and from_seq <= item.sequence_number <= to_seq]

    async def orders(self, order_ids: Collection[str]) -> dict[str, PlacedOrder]:
        return {order_id: self._orders[order_id] for order_id in order_ids if order_id in self._orders}

    async def items_of_order(self, account_id: str, order_id: str) -> list[BilledItem]:
        return [item for item in self._items if order_id and (item.account_id, item.order_id) == (account_id, order_id)]

    async def usage(self, account_id: str, period: Period, grouping: Grouping) -> list[UsageLine]:
        names = [
            UsageLine(
                *(item.unit, item.currency, self._paid_by(item)),
                model_id=item.model_id if grouping.model else "",
                member_id=item.member_id if grouping.member else "",
                key_id=item.key_id if grouping.key else "",
                vendor_model_id="",
                calls=item.calls,
                amount=item.amount,
            )
            for item in self._of(account_id, period)
            if item.kind == Kind.USAGE
        ]
        return _added_up(names)

    async def charges(self, account_id: str, period: Period, charges_max: int) -> list[BilledItem]:
        calls = (Kind.USAGE, *OF_VENDORS)
        found = [item for item in self._of(account_id, period) if item.kind not in calls]
        return [item._replace(paid_by=self._paid_by(item)) for item in found[:charges_max]]

    async def wholesale(self, vendor_id: str, period: Period) -> list[UsageLine]:
        owed = [
            item
            for item in self._items
            if item.kind in OF_VENDORS and item.vendor_id == vendor_id and period.from_us <= item.time_us < period.until_us
        ]
        return _added_up(
            [
                UsageLine(item.unit, item.currency, item.paid_by, "", "", "", item.vendor_model_id, item.calls, item.amount)
                for item in owed
            ]
        )

    def _of(self, account_id: str, period: Period) -> list[BilledItem]:
        return [item for item in self._items if item.account_id == account_id and period.from_us <= item.time_us < period.until_us]

    def _paid_by(self, item: BilledItem) -> str:
        lines = {each.bucket_id for each in self._items if each.kind == Kind.CREDIT_LINE and each.account_id == item.account_id}
        return CREDIT_LINE if item.paid_by == PaidBy.BUCKET and item.bucket_id in lines else item.paid_by

    async def files(self, part_id: int) -> list[CdrFile]:
        return list(self._files.get(part_id, []))

    async def close(self) -> None:
        pass

    def _check(self, cursor: Cursor) -> None:
        if self._cursors.get(cursor.part_id, first_cursor(cursor.part_id, cursor.era)) != cursor:
            raise moved(cursor)

    def _move(self, cursor: Cursor) -> Cursor:
        self._cursors[cursor.part_id] = cursor
        return cursor


def advanced(cursor: Cursor, to_seq: int, records: int) -> Cursor:
    """The cursor after a range that made `records` records."""
    return cursor._replace(exported_seq=to_seq, next_record_number=cursor.next_record_number + records, pending=None)


def with_charges(cursor: Cursor) -> Cursor:
    """The cursor of a partition whose charges have records from the next range on."""
    return cursor._replace(charges_from_seq=cursor.exported_seq + 1)


def _added_up(lines: Sequence[UsageLine]) -> list[UsageLine]:
    """One line for each set of names."""
    sums: dict[tuple[str, ...], UsageLine] = {}
    for line in lines:
        known = sums.get(line[:-2], line._replace(calls=0, amount=0))
        sums[line[:-2]] = known._replace(calls=known.calls + line.calls, amount=known.amount + line.amount)
    return sorted(sums.values())


def moved(cursor: Cursor) -> CursorMovedError:
    """The error that names the partition."""
    return CursorMovedError(
        f"the cursor of partition {cursor.part_id} is no more at sequence number {cursor.exported_seq} of era {cursor.era}: "
        "another process exports from this store; run one only"
    )
