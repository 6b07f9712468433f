"""What every store of the phone bill must do: one suite over both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.billing.carrier.demands import Source, State, Use, of_order, of_use
from services.billing.carrier.planning import Plan, plan
from services.billing.carrier.store import CarrierStore, Range, StaleError, Statement
from services.billing.cdr_file import Rows
from services.billing.items import BilledItem, Kind, PaidBy, PlacedOrder
from services.billing.postgresql_store import PostgresqlStore
from services.billing.sqlite_store import SqliteStore
from services.billing.store import CREDIT_LINE, first_cursor

Database = SqliteStore | PostgresqlStore
NOW_US = 1_800_000_000 * 1_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    made: Database
    if request.param == "sqlite":
        made = await SqliteStore.open(tmp_path / "billing.db")
    else:
        made = await PostgresqlStore.open(request.getfixturevalue("postgresql").new_database())
    yield made
    await made.close()


@pytest.fixture
async def store(database: Database) -> CarrierStore:
    return CarrierStore(database)


def item(seq: int, kind: Kind, amount: int, paid_by: str = PaidBy.BUCKET, **fields: object) -> BilledItem:
    made = BilledItem(3, seq, 0, 1, 0, kind, "acct-1", NOW_US, "CURRENCY", "CNY", amount, paid_by, "line")
    return made._replace(**fields)  # type: ignore[arg-type]


def order(order_id: str, **fields: object) -> PlacedOrder:
    made = PlacedOrder(order_id, "acct-1", NOW_US, "family", "sub-1", 2, "CURRENCY", "CNY", 9_900_000, renews=True)
    return made._replace(**fields)  # type: ignore[arg-type]


async def export(database: Database, to_seq: int, items: list[BilledItem], orders: list[PlacedOrder]) -> None:
    cursor = (await database.cursors()).get(3, first_cursor(3, 1))
    await database.advance(cursor, to_seq, None, Rows(0, [], items, orders))


async def test_the_phone_bill_begins_with_what_is_exported_after_its_beginning(database: Database, store: CarrierStore) -> None:
    await export(database, 5, [item(5, Kind.CREDIT_LINE, 0)], [])
    await store.begin()
    await export(database, 7, [item(7, Kind.PRICE, 9_900_000)], [])
    await store.begin()
    assert await store.ranges() == [Range(3, 5, 5, 7)]
    (found,) = await store.items(3, 5, 7)
    assert (found.kind, found.amount, found.paid_by) == (Kind.PRICE, 9_900_000, CREDIT_LINE)


async def test_a_partition_that_begins_later_is_planned_from_its_first_row(database: Database, store: CarrierStore) -> None:
    await store.begin()
    await export(database, 2, [], [])
    assert await store.ranges() == [Range(3, 0, 0, 2)]


async def test_items_are_those_of_the_phone_bill_alone(database: Database, store: CarrierStore) -> None:
    others = [
        item(1, Kind.USAGE, 5, bucket_id="prepaid"),
        item(2, Kind.USAGE, 5, unit="TOKEN", currency=""),
        item(3, Kind.USAGE, 5, PaidBy.DEBT, bucket_id=""),
        item(4, Kind.WHOLESALE, 5, PaidBy.OPERATOR, vendor_id="acme"),
        item(5, Kind.CREDIT_LINE, 0),
        item(6, Kind.USAGE, 880),
        item(7, Kind.CREDIT, -5, PaidBy.PHONE_BILL, bucket_id=""),
        item(8, Kind.USAGE, 5, account_id="acct-2"),
    ]
    await export(database, 8, others, [])
    assert [each.sequence_number for each in await store.items(3, 0, 8)] == [5, 6, 7]
    assert await store.items(3, 8, 9) == []


async def test_a_range_is_planned_once(database: Database, store: CarrierStore) -> None:
    await export(database, 2, [item(1, Kind.CREDIT_LINE, 0), item(2, Kind.PRICE, 9_900_700)], [])
    made = plan(await store.items(3, 0, 2))
    await store.take(3, 0, 2, made, NOW_US)
    with pytest.raises(StaleError):
        await store.take(3, 0, 2, made, NOW_US)
    assert await store.of_account("acct-1") == made.demands
    assert await store.uses_of("acct-1") == [Use("acct-1", "CNY", 700, NOW_US, 1)]
    assert await store.ranges() == [Range(3, 0, 2, 2)]


async def test_use_is_billed_once_and_its_rest_stays(store: CarrierStore) -> None:
    await store.take(3, 0, 1, Plan([], {("acct-1", "CNY"): 2_500}), NOW_US)
    assert await store.uses(NOW_US - 1, 1_000) == []
    (use,) = await store.uses(NOW_US, 1_000)
    demand = of_use(use, NOW_US + 5)
    await store.bill(use, demand)
    with pytest.raises(StaleError):
        await store.bill(use, demand)
    assert (demand.amount, await store.find(demand.demand_id)) == (2_000, demand)
    assert await store.uses_of("acct-1") == [Use("acct-1", "CNY", 500, NOW_US + 5, 2)]
    assert await store.uses(NOW_US + 9, 1_000) == []


async def test_use_begins_to_wait_once_it_is_enough(store: CarrierStore) -> None:
    for seq, amount in ((0, 400), (1, 700), (2, 900)):
        await store.take(3, seq, seq + 1, Plan([], {("acct-1", "CNY"): amount}), NOW_US + seq)
    assert await store.uses_of("acct-1") == [Use("acct-1", "CNY", 2_000, NOW_US + 1, 1)]


async def test_orders_that_wait_are_those_by_phone_bill_that_nothing_paid(database: Database, store: CarrierStore) -> None:
    placed = [
        order("ord-1"),
        order("ord-2", payment_method=1),
        order("ord-3", amount=0),
        order("ord-4", time_us=NOW_US - 10),
        order("ord-5"),
        order("ord-6", time_us=NOW_US + 1, renews=False),
    ]
    await export(database, 1, [item(1, Kind.PRICE, 9_900_000, order_id="ord-5")], placed)
    assert await store.orders(NOW_US) == [placed[0], placed[5]]
    await store.add([of_order(placed[0])])
    await store.add([of_order(placed[0])])
    assert await store.orders(NOW_US) == [placed[5]]
    assert await store.of_account("acct-1") == [of_order(placed[0])]


async def test_a_demand_moves_from_where_it_is(store: CarrierStore) -> None:
    demand = of_order(order("ord-1"))
    await store.add([demand])
    asking = await store.move(demand, demand.to(State.ASKING, "why", phone_number="+8613800000001", asked_us=NOW_US, amount=5))
    assert await store.find(demand.demand_id) == asking
    assert (asking.state, asking.reason, asking.amount) == (State.ASKING, "why", 5)
    with pytest.raises(StaleError):
        await store.move(demand, demand.to(State.DENIED), demand._replace(demand_id="another"))
    assert await store.find("another") is None
    more = demand._replace(demand_id="another", source=Source.RETURN)
    await store.move(asking, asking.to(State.RETURNED), more)
    assert await store.find("another") == more


async def test_demands_that_are_due_are_open_and_their_time_has_come(store: CarrierStore) -> None:
    first = of_order(order("ord-1"))
    made = [
        first._replace(demand_id="a", next_us=NOW_US + 1),
        first._replace(demand_id="b", next_us=NOW_US),
        first._replace(demand_id="c"),
        *(first._replace(demand_id=f"d-{state}", state=state) for state in State if state != State.WAITING),
    ]
    await store.add(made)
    open_states = {"asking", "processing", "pending_validation", "reserved", "paid", "confirming", "cancelling"}
    due = [each.demand_id for each in await store.due(NOW_US, 100)]
    assert set(due) == {"b", "c", *(f"d-{state}" for state in open_states)}
    assert due[-1] == "b"
    assert len(await store.due(NOW_US, 2)) == 2
    assert await store.counts() == (3 + len(open_states), 2)
    failed = await store.in_states([State.DENIED, State.DISPUTED], 10)
    assert {each.state for each in failed} == {State.DENIED, State.DISPUTED}
    assert [each.demand_id for each in await store.all()] == sorted(each.demand_id for each in made)
    of_another = [first._replace(demand_id="e", account_id="acct-2", time_us=NOW_US + 1)]
    await store.add(of_another)
    assert await store.in_states(list(State), 10, "acct-2") == of_another
    assert (await store.in_states(list(State), 1)) == of_another


async def test_an_accounts_line_can_be_told_changed_and_taken_away(store: CarrierStore) -> None:
    waits = of_order(order("ord-1"))._replace(next_us=NOW_US)
    await store.add([waits])
    assert await store.line("acct-1") == ""
    for phone_number in ("+8613800000001", "+8613800000002", ""):
        await store.set_line("acct-1", phone_number)
        assert await store.line("acct-1") == phone_number
    found = await store.find(waits.demand_id)
    assert found is not None
    assert found.next_us == 0


async def test_nothing_of_a_transaction_is_written_where_one_statement_must_fail(database: Database, store: CarrierStore) -> None:
    statements = [
        Statement("INSERT INTO carrier_line (account_id, phone_number) VALUES ($1, $2)", ("acct-1", "+1234567")),
        Statement("UPDATE carrier_line SET phone_number = '' WHERE account_id = $1 RETURNING account_id", ("acct-2",), must=True),
    ]
    with pytest.raises(StaleError):
        await database.run(statements, writes=True)
    assert await store.line("acct-1") == ""
