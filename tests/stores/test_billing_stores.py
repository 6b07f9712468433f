"""What every billing store must do: one suite over all of them."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from services.billing.cdr_file import CdrFile, IndexRow, Rows, file_name
from services.billing.items import BilledItem, PlacedOrder
from services.billing.postgresql_store import PostgresqlStore
from services.billing.sqlite_store import SqliteStore
from services.billing.store import (
    Cursor,
    CursorMovedError,
    Grouping,
    MemoryStore,
    PendingRange,
    Period,
    Store,
    UsageLine,
    first_cursor,
)
from services.runtime.errors import ServiceError


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = await SqliteStore.open(tmp_path / "billing.db")
    else:
        made = await PostgresqlStore.open(request.getfixturevalue("postgresql").new_database())
    yield made
    await made.close()


def pending_of(cursor: Cursor, to_seq: int) -> PendingRange:
    from_seq = cursor.exported_seq + 1
    return PendingRange(from_seq, to_seq, cursor.next_record_number, file_name(cursor.part_id, from_seq, to_seq))


def file_of(cursor: Cursor, records: int) -> CdrFile:
    assert cursor.pending is not None
    return CdrFile(
        cursor.pending.file_name,
        cursor.part_id,
        cursor.pending.from_seq,
        cursor.pending.to_seq,
        cursor.pending.first_record_number,
        records,
        1_000,
        "ab" * 32,
    )


def row(part_id: int, seq: int, number: int, **fields: object) -> IndexRow:
    defaults = IndexRow(part_id, seq, 0, number, f"session-{number}", "acct-1", 1, b"entry %d" % number)
    return defaults._replace(**fields)  # type: ignore[arg-type]  # tests give the right types


def rows_of(calls: Sequence[IndexRow], items: Sequence[BilledItem] = (), orders: Sequence[PlacedOrder] = ()) -> Rows:
    return Rows(len(calls), list(calls), list(items), list(orders))


async def export(store: Store, cursor: Cursor, to_seq: int, rows: list[IndexRow]) -> Cursor:
    begun = await store.begin(cursor, pending_of(cursor, to_seq))
    return await store.advance(begun, to_seq, file_of(begun, len(rows)), rows_of(rows))


async def test_a_new_store_knows_nothing(store: Store) -> None:
    assert await store.cursors() == {}
    assert await store.files(0) == []
    assert await store.records("acct-1", "session-1") == []
    assert await store.index_rows(0, 1, 10) == []


async def test_a_pending_range_is_kept_until_it_is_passed(store: Store) -> None:
    start = first_cursor(3, era=1)
    begun = await store.begin(start, pending_of(start, 4))
    assert begun == Cursor(3, 1, 0, 1, PendingRange(1, 4, 1, "cdr-p0003-00000000000001-00000000000004.jsonl.gz"))
    assert await store.cursors() == {3: begun}
    file = file_of(begun, 2)
    rows = [row(3, 2, 1), row(3, 4, 2)]
    after = await store.advance(begun, 4, file, rows_of(rows))
    assert after == Cursor(3, 1, 4, 3, None)
    assert await store.cursors() == {3: after}
    assert await store.files(3) == [file]
    assert await store.index_rows(3, 1, 4) == rows


async def test_a_range_without_a_cdr_moves_the_cursor_alone(store: Store) -> None:
    after = await store.advance(first_cursor(3, era=1), 9, None, rows_of([]))
    assert await store.cursors() == {3: Cursor(3, 1, 9, 1, None)} == {3: after}
    assert await store.files(3) == []


async def test_partitions_are_apart(store: Store) -> None:
    await export(store, first_cursor(1, 1), 2, [row(1, 2, 1)])
    await export(store, first_cursor(2, 1), 5, [row(2, 1, 1), row(2, 5, 2)])
    assert [(cursor.part_id, cursor.exported_seq, cursor.next_record_number) for cursor in (await store.cursors()).values()] == [
        (1, 2, 2),
        (2, 5, 3),
    ]
    assert [each.sequence_number for each in await store.index_rows(2, 1, 9)] == [1, 5]
    assert [each.to_sequence_number for each in await store.files(1)] == [2]


async def test_files_and_index_rows_come_in_the_journals_order(store: Store) -> None:
    cursor = first_cursor(1, 1)
    for to_seq in (2, 4, 6):
        number = cursor.next_record_number
        rows = [row(1, to_seq - 1, number, entry_index=2), row(1, to_seq, number + 1)]
        cursor = await export(store, cursor, to_seq, rows)
    assert [each.from_sequence_number for each in await store.files(1)] == [1, 3, 5]
    assert [each.record_number for each in await store.index_rows(1, 1, 6)] == [1, 2, 3, 4, 5, 6]
    assert [each.record_number for each in await store.index_rows(1, 2, 3)] == [2, 3]


async def test_records_are_those_of_the_account_in_order(store: Store) -> None:
    rows = [
        row(1, 1, 1, charging_id="s", record_sequence_number=1),
        row(1, 2, 2, charging_id="s", account_id="acct-2"),
        row(1, 3, 3, charging_id="t"),
    ]
    cursor = await export(store, first_cursor(1, 1), 3, rows)
    late = row(1, 4, 4, charging_id="s", record_sequence_number=2)
    await export(store, cursor, 4, [late])
    assert await store.records("acct-1", "s") == [rows[0], late]
    assert await store.records("acct-2", "s") == [rows[1]]
    assert await store.records("acct-2", "t") == []


async def test_a_cursor_that_was_moved_cannot_be_moved_again(store: Store) -> None:
    start = first_cursor(1, 1)
    after = await export(store, start, 2, [row(1, 2, 1)])
    for stale in (start, after._replace(era=2), after._replace(exported_seq=1), after._replace(next_record_number=1)):
        with pytest.raises(CursorMovedError, match="partition 1"):
            await store.begin(stale, pending_of(stale, 9))
        with pytest.raises(CursorMovedError):
            await store.advance(stale, 9, None, rows_of([]))
    assert await store.cursors() == {1: after}


async def test_only_one_range_is_pending(store: Store) -> None:
    start = first_cursor(1, 1)
    begun = await store.begin(start, pending_of(start, 4))
    for cursor in (start, begun):
        with pytest.raises(CursorMovedError):
            await store.begin(cursor, pending_of(start, 5))
    with pytest.raises(CursorMovedError):
        await store.advance(start, 5, None, rows_of([]))
    assert await store.cursors() == {1: begun}


async def test_a_refused_write_writes_nothing(store: Store) -> None:
    start = first_cursor(1, 1)
    begun = await store.begin(start, pending_of(start, 4))
    other = begun._replace(pending=pending_of(start, 5))
    with pytest.raises(CursorMovedError):
        await store.advance(other, 5, file_of(other, 1), rows_of([row(1, 5, 1)]))
    assert await store.files(1) == []
    assert await store.index_rows(1, 1, 9) == []


# In memory nothing can fail.
@pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)
async def test_a_write_that_fails_in_the_middle_writes_nothing(store: Store) -> None:
    start = first_cursor(1, 1)
    begun = await store.begin(start, pending_of(start, 4))
    # The second row has the place of the first.
    with pytest.raises(ServiceError):
        await store.advance(begun, 4, file_of(begun, 2), rows_of([row(1, 2, 1), row(1, 2, 2)]))
    assert await store.cursors() == {1: begun}
    assert (await store.files(1), await store.index_rows(1, 1, 9)) == ([], [])


async def test_sqlite_keeps_it_over_a_restart(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "billing.db")
    cursor = await export(store, first_cursor(1, 7), 2, [row(1, 2, 1)])
    begun = await store.begin(cursor, pending_of(cursor, 5))
    await store.close()
    store = await SqliteStore.open(tmp_path / "billing.db")
    assert await store.cursors() == {1: begun}
    assert await store.records("acct-1", "session-1") == [row(1, 2, 1)]
    assert len(await store.files(1)) == 1
    await store.close()


async def test_a_cursor_enters_another_era_where_it_is(store: Store) -> None:
    first = first_cursor(0, era=1)
    cursor = await export(store, first, 3, [row(0, 1, 1)])
    entered = await store.enter_era(cursor, 2)
    assert entered == cursor._replace(era=2)
    assert await store.cursors() == {0: entered}
    with pytest.raises(CursorMovedError):
        await store.enter_era(cursor, 3)
    with pytest.raises(CursorMovedError):
        await store.begin(cursor, pending_of(cursor, 5))
    begun = await store.begin(entered, pending_of(entered, 5))
    assert await store.enter_era(begun, 3) == begun._replace(era=3)


# Billed items

START_US = 1_767_225_600_000_000
USAGE = BilledItem(
    *(1, 1, 0, 1, 0, "usage", "acct-1", START_US, "TOKEN", "", 30, "bucket"),
    bucket_id="bkt-1",
    calls=1,
    charging_id="s-1",
    offering_id="default",
    model_id="small",
    member_id="mbr-1",
    key_id="key-1",
)
IN_MONEY = USAGE._replace(sequence_number=3, time_us=START_US + 2, unit="CURRENCY", currency="CNY")
OWED = IN_MONEY._replace(kind="wholesale", item_number=2, paid_by="operator", bucket_id="", vendor_id="acme")
ITEMS = [
    USAGE,
    USAGE._replace(item_number=2, amount=4, paid_by="debt", bucket_id="", calls=0),
    USAGE._replace(sequence_number=2, time_us=START_US + 1, amount=5, key_id="key-2", member_id="mbr-2"),
    IN_MONEY._replace(amount=7, bucket_id="bkt-line", model_id="large"),
    OWED._replace(amount=2, vendor_model_id="acme-large"),
    OWED._replace(kind="fee", item_number=3, calls=0, amount=-1, paid_by="channel_fee", vendor_model_id="acme-large"),
    BilledItem(
        *(1, 4, 0, 1, 2, "credit_line", "acct-1", START_US + 3, "CURRENCY", "CNY", 0, "bucket"), bucket_id="bkt-line"
    ),
    BilledItem(
        *(1, 4, 1, 1, 3, "price", "acct-1", START_US + 3, "CURRENCY", "CNY", 9_900_000, "bucket"), bucket_id="bkt-line",
        order_id="ord-1", subscription_id="sub-1", offering_id="plan",
    ),
    # Another account's bucket of the same name is no credit line.
    USAGE._replace(sequence_number=5, account_id="acct-2", time_us=START_US + 4, bucket_id="bkt-line"),
]  # fmt: skip
ORDER = PlacedOrder("ord-1", "acct-1", START_US, "plan", "sub-1", 3, "CURRENCY", "CNY", 9_900_000, renews=True)
ALWAYS = Period(START_US, START_US + 10)


@pytest.fixture
async def billed(store: Store) -> Store:
    await store.advance(first_cursor(1, 1), 5, None, Rows(0, [], ITEMS, [ORDER]))
    return store


async def test_items_of_a_range_come_back_as_they_were(billed: Store) -> None:
    assert await billed.items(1, 1, 9) == ITEMS
    assert await billed.items(1, 2, 4) == ITEMS[2:8]
    assert await billed.items(2, 1, 9) == []


async def test_orders_are_found_by_their_names(billed: Store) -> None:
    assert await billed.orders({"ord-1", "ord-2"}) == {"ord-1": ORDER}
    assert (await billed.orders(["ord-1"]))["ord-1"].renews is True


async def test_an_order_takes_the_place_of_an_earlier_one_of_its_name(billed: Store) -> None:
    """Whoever uses the key of an order again, once that is forgotten, places another one of the same name."""
    again = ORDER._replace(time_us=START_US + 9, amount=5_000_000, renews=False)
    await billed.advance((await billed.cursors())[1], 6, None, Rows(0, [], [], [again]))
    assert await billed.orders(["ord-1"]) == {"ord-1": again}


async def test_an_order_has_its_items_for_its_account_alone(billed: Store) -> None:
    assert await billed.items_of_order("acct-1", "ord-1") == [ITEMS[7]]
    assert await billed.items_of_order("acct-2", "ord-1") == []
    assert await billed.items_of_order("acct-1", "") == []


async def test_usage_is_added_up_by_unit_and_source(billed: Store) -> None:
    assert await billed.usage("acct-1", ALWAYS, Grouping()) == [
        UsageLine("CURRENCY", "CNY", "credit_line", "", "", "", "", 1, 7),
        UsageLine("TOKEN", "", "bucket", "", "", "", "", 2, 35),
        UsageLine("TOKEN", "", "debt", "", "", "", "", 0, 4),
    ]
    assert await billed.usage("acct-2", ALWAYS, Grouping()) == [UsageLine("TOKEN", "", "bucket", "", "", "", "", 1, 30)]


async def test_usage_is_told_apart_by_names(billed: Store) -> None:
    by_model = await billed.usage("acct-1", ALWAYS, Grouping(model=True))
    assert [(line.model_id, line.member_id, line.key_id, line.amount) for line in by_model] == [
        ("large", "", "", 7),
        ("small", "", "", 35),
        ("small", "", "", 4),
    ]
    by_key = await billed.usage("acct-1", ALWAYS, Grouping(member=True, key=True))
    assert [(line.model_id, line.member_id, line.key_id, line.calls, line.amount) for line in by_key] == [
        ("", "mbr-1", "key-1", 1, 7),
        ("", "mbr-1", "key-1", 1, 30),
        ("", "mbr-2", "key-2", 1, 5),
        ("", "mbr-1", "key-1", 0, 4),
    ]


async def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(billed: Store) -> None:
    period = Period(START_US + 1, START_US + 3)
    assert [line.amount for line in await billed.usage("acct-1", period, Grouping())] == [7, 5]
    assert await billed.charges("acct-1", period, 9) == []
    assert await billed.charges("acct-1", Period(START_US + 3, START_US + 4), 9) == [
        ITEMS[6]._replace(paid_by="credit_line"),
        ITEMS[7]._replace(paid_by="credit_line"),
    ]
    assert await billed.wholesale("acme", Period(START_US + 3, START_US + 9)) == []


async def test_charges_are_no_more_than_wanted(billed: Store) -> None:
    assert [item.kind for item in await billed.charges("acct-1", ALWAYS, 1)] == ["credit_line"]


async def test_a_vendors_claims_are_of_no_account(billed: Store) -> None:
    claimed = UsageLine("CURRENCY", "CNY", "operator", "", "", "", "acme-large", 1, 2)
    assert await billed.wholesale("acme", ALWAYS) == [
        claimed._replace(paid_by="channel_fee", calls=0, amount=-1),
        claimed,
    ]
    assert await billed.wholesale("", ALWAYS) == []


async def test_items_that_were_missing_are_made_up_for(store: Store) -> None:
    cursor = await store.advance(first_cursor(1, 1), 4, None, rows_of([]))
    made = await store.backfill(cursor, 2, Rows(0, [], ITEMS[:3], [ORDER]))
    assert made == cursor._replace(backfilled_seq=2)
    assert await store.cursors() == {1: made}
    assert await store.items(1, 1, 9) == ITEMS[:3]
    with pytest.raises(CursorMovedError):
        await store.backfill(cursor, 3, rows_of([]))


async def test_charges_have_records_from_the_next_range_on(store: Store) -> None:
    cursor = (await store.advance(first_cursor(1, 1), 4, None, rows_of([])))._replace(charges_from_seq=1)
    assert await store.begin_charges(cursor) == cursor._replace(charges_from_seq=5)
    assert await store.cursors() == {1: cursor._replace(charges_from_seq=5)}
    with pytest.raises(CursorMovedError):
        await store.begin_charges(cursor)
