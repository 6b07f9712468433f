# ruff: noqa: S608  # the statements are made of this code's own names; values are parameters
"""Where demands are durable, in the SQL that both databases understand. Parameters are numbered from $1."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from services.billing.carrier.demands import FAILED, FINAL, STEP, Demand, State, Use
from services.billing.carrier.planning import Plan
from services.billing.items import BilledItem, Kind, PaidBy, PlacedOrder
from services.billing.store import CREDIT_LINE
from tokenline.registry.v1 import registry_pb2


class Statement(NamedTuple):
    """One statement of a transaction. `must`: one that gives no row ends the transaction, with nothing written."""

    query: str
    values: tuple[Any, ...] = ()
    must: bool = False


class Range(NamedTuple):
    """How far a partition is planned: the phone bill begins after `from_seq`."""

    part_id: int
    from_seq: int
    planned_seq: int
    exported_seq: int


class StaleError(Exception):
    """A row is not as the caller saw it. Nothing was written."""


class Runner(Protocol):
    """A database of billing's."""

    async def run(self, statements: Sequence[Statement], *, writes: bool) -> list[list[tuple[Any, ...]]]:
        """Runs statements in one transaction and returns the rows of each.

        Errors: `StaleError`; `ServiceError` STORE_UNAVAILABLE, and then it is unknown whether they took effect.
        """
        ...


_DEMAND: Final = ", ".join(Demand._fields)
_ITEM: Final = ", ".join(
    f"CASE WHEN paid_by = '{PaidBy.BUCKET}' THEN '{CREDIT_LINE}' ELSE paid_by END" if field == "paid_by" else f"i.{field}"
    for field in BilledItem._fields
)
_FINAL: Final = ", ".join(f"'{state}'" for state in sorted(FINAL))

_ITEMS: Final = (
    f"SELECT {_ITEM} FROM billed_item i WHERE part_id = $1 AND sequence_number > $2 AND sequence_number <= $3"
    f" AND kind <> '{Kind.WHOLESALE}' AND unit = 'CURRENCY' AND (paid_by = '{PaidBy.PHONE_BILL}' OR (paid_by = '{PaidBy.BUCKET}'"
    f" AND EXISTS (SELECT 1 FROM billed_item l WHERE l.kind = '{Kind.CREDIT_LINE}' AND l.account_id = i.account_id"
    " AND l.bucket_id = i.bucket_id))) ORDER BY part_id, sequence_number, entry_index, item_number"
)
# $1: not before. Orders that were paid at once have an item.
_ORDERS: Final = (
    f"SELECT {', '.join(PlacedOrder._fields)} FROM placed_order o"
    f" WHERE payment_method = {registry_pb2.PAYMENT_METHOD_PHONE_BILL} AND amount > 0 AND time_us >= $1"
    " AND NOT EXISTS (SELECT 1 FROM billed_item i WHERE i.order_id = o.order_id AND i.order_id <> '')"
    " AND NOT EXISTS (SELECT 1 FROM carrier_demand d WHERE d.order_id = o.order_id AND d.source = 'order') ORDER BY time_us"
)
_INSERT: Final = (
    f"INSERT INTO carrier_demand ({_DEMAND}) VALUES ({', '.join(f'${number}' for number in range(1, len(Demand._fields) + 1))})"
    " ON CONFLICT (demand_id) DO NOTHING"
)
_CHANGING: Final = Demand._fields[9:]
_AMOUNT: Final = len(_CHANGING) + 4
_MOVE: Final = (
    f"UPDATE carrier_demand SET {', '.join(f'{field} = ${number}' for number, field in enumerate(_CHANGING, 4))},"
    f" amount = ${_AMOUNT} WHERE demand_id = $1 AND state = $2 AND tries = $3 RETURNING demand_id"
)
_ADD_USE: Final = (
    "INSERT INTO carrier_use (account_id, currency, amount, since_us, number) VALUES ($1, $2, $3, $4, 1)"
    " ON CONFLICT (account_id, currency) DO UPDATE SET amount = carrier_use.amount + excluded.amount,"
    # Use that is too little to be asked for has not begun to wait.
    f" since_us = CASE WHEN carrier_use.amount < {STEP} THEN excluded.since_us ELSE carrier_use.since_us END"
)


class CarrierStore:
    """Demands, what is planned, use that is added up, and the lines of accounts.

    Every method is one transaction, durable when it returns. Errors of all methods: `ServiceError` STORE_UNAVAILABLE.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def begin(self) -> None:
        """Lets the phone bill begin with what is exported from now on; once for ever, before anything more is exported."""
        # A partition of no journal stands for the beginning itself.
        begun = "SELECT 1 FROM carrier_cursor WHERE part_id = -1"
        if not (await self._read(begun)):
            await self._write(
                Statement(
                    "INSERT INTO carrier_cursor (part_id, from_seq, planned_seq)"
                    " SELECT part_id, exported_seq, exported_seq FROM cursor"
                ),
                Statement("INSERT INTO carrier_cursor (part_id, from_seq, planned_seq) VALUES (-1, 0, 0)"),
            )

    async def ranges(self) -> list[Range]:
        """The partitions of which something is exported."""
        rows = await self._read(
            "SELECT c.part_id, coalesce(p.from_seq, 0), coalesce(p.planned_seq, 0), c.exported_seq FROM cursor c"
            " LEFT JOIN carrier_cursor p ON p.part_id = c.part_id ORDER BY c.part_id"
        )
        return [Range(*row) for row in rows]

    async def items(self, part_id: int, after_seq: int, to_seq: int) -> list[BilledItem]:
        """The items of a range that are on the phone bill, `paid_by` as in statements, in the journal's order."""
        return [BilledItem(*row) for row in await self._read(_ITEMS, part_id, after_seq, to_seq)]

    async def take(self, part_id: int, after_seq: int, to_seq: int, plan: Plan, now_us: int) -> None:
        """Writes the plan of a range. Errors: `StaleError` unless the partition is planned up to `after_seq`."""
        await self._write(
            Statement(
                "INSERT INTO carrier_cursor (part_id, from_seq, planned_seq) VALUES ($1, 0, 0) ON CONFLICT (part_id) DO NOTHING",
                (part_id,),
            ),
            Statement(
                "UPDATE carrier_cursor SET planned_seq = $3 WHERE part_id = $1 AND planned_seq = $2 RETURNING part_id",
                (part_id, after_seq, to_seq),
                must=True,
            ),
            *(Statement(_INSERT, tuple(demand)) for demand in plan.demands),
            *(Statement(_ADD_USE, (*who, amount, now_us)) for who, amount in sorted(plan.used.items())),
        )

    async def orders(self, since_us: int) -> list[PlacedOrder]:
        """Orders by phone bill since then that nothing has paid and no demand is for, oldest first."""
        return [PlacedOrder(*row)._replace(renews=bool(row[-1])) for row in await self._read(_ORDERS, since_us)]

    async def add(self, demands: Sequence[Demand]) -> None:
        """Writes new demands; those that are there stay as they are."""
        await self._write(*(Statement(_INSERT, tuple(demand)) for demand in demands))

    async def uses(self, until_us: int, amount_min: int) -> list[Use]:
        """Use of at least that amount that is added up since then or longer."""
        query = "SELECT account_id, currency, amount, since_us, number FROM carrier_use WHERE since_us <= $1 AND amount >= $2"
        return [Use(*row) for row in await self._read(query, until_us, amount_min)]

    async def uses_of(self, account_id: str) -> list[Use]:
        """Use of an account that is not asked for yet."""
        query = "SELECT account_id, currency, amount, since_us, number FROM carrier_use WHERE account_id = $1 ORDER BY currency"
        return [Use(*row) for row in await self._read(query, account_id)]

    async def bill(self, use: Use, demand: Demand) -> None:
        """Makes a demand of use; what it leaves stays. Errors: `StaleError` if a demand was made of it before."""
        query = (
            "UPDATE carrier_use SET amount = amount - $4, since_us = $5, number = number + 1"
            " WHERE account_id = $1 AND currency = $2 AND number = $3 RETURNING number"
        )
        values = (use.account_id, use.currency, use.number, demand.amount, demand.time_us)
        await self._write(Statement(query, values, must=True), Statement(_INSERT, tuple(demand)))

    async def due(self, now_us: int, demands_max: int) -> list[Demand]:
        """Open demands that are due, those that wait longest first."""
        query = (
            f"SELECT {_DEMAND} FROM carrier_demand WHERE state NOT IN ({_FINAL}) AND next_us <= $1"
            " ORDER BY next_us, time_us LIMIT $2"
        )
        return [Demand(*row) for row in await self._read(query, now_us, demands_max)]

    async def move(self, before: Demand, after: Demand, *more: Demand) -> Demand:
        """Writes a demand's next state, and new demands. Errors: `StaleError` if it is not in the state before any more."""
        values = (before.demand_id, before.state, before.tries, *after[9:], after.amount)
        await self._write(Statement(_MOVE, values, must=True), *(Statement(_INSERT, tuple(each)) for each in more))
        return after

    async def find(self, demand_id: str) -> Demand | None:
        """A demand."""
        rows = await self._read(f"SELECT {_DEMAND} FROM carrier_demand WHERE demand_id = $1", demand_id)
        return Demand(*rows[0]) if rows else None

    async def of_account(self, account_id: str) -> list[Demand]:
        """All demands of an account, oldest first."""
        query = f"SELECT {_DEMAND} FROM carrier_demand WHERE account_id = $1 ORDER BY time_us, demand_id"
        return [Demand(*row) for row in await self._read(query, account_id)]

    async def in_states(self, states: Sequence[State], demands_max: int, account_id: str = "") -> list[Demand]:
        """Demands in any of the states, of an account or of all, the latest first."""
        names = ", ".join(f"'{State(state)}'" for state in states)
        # Written so that each database takes the index of accounts where there is one.
        whose, values = ("account_id = $2 AND ", (account_id,)) if account_id else ("", ())
        query = f"SELECT {_DEMAND} FROM carrier_demand WHERE {whose}state IN ({names}) ORDER BY time_us DESC, demand_id LIMIT $1"
        return [Demand(*row) for row in await self._read(query, demands_max, *values)]

    async def all(self) -> list[Demand]:
        """All demands, as they are at one moment."""
        return [Demand(*row) for row in await self._read(f"SELECT {_DEMAND} FROM carrier_demand ORDER BY demand_id")]

    async def counts(self) -> tuple[int, int]:
        """The number of open demands, and of those that failed."""
        failed = ", ".join(f"'{state}'" for state in sorted(FAILED))
        rows = await self._read(
            f"SELECT coalesce(sum(CASE WHEN state IN ({failed}) THEN 0 ELSE 1 END), 0),"
            f" coalesce(sum(CASE WHEN state IN ({failed}) THEN 1 ELSE 0 END), 0) FROM carrier_demand"
            f" WHERE state NOT IN ({_FINAL}) OR state IN ({failed})"
        )
        return int(rows[0][0]), int(rows[0][1])

    async def line(self, account_id: str) -> str:
        """The phone number that an account's bill goes to; empty: none is known."""
        rows = await self._read("SELECT phone_number FROM carrier_line WHERE account_id = $1", account_id)
        return str(rows[0][0]) if rows else ""

    async def set_line(self, account_id: str, phone_number: str) -> None:
        """Has an account's bill go to a phone number from now on; empty: to none."""
        if not phone_number:
            await self._write(Statement("DELETE FROM carrier_line WHERE account_id = $1", (account_id,)))
            return
        query = (
            "INSERT INTO carrier_line (account_id, phone_number) VALUES ($1, $2)"
            " ON CONFLICT (account_id) DO UPDATE SET phone_number = excluded.phone_number"
        )
        # Demands that wait for a line are due at once.
        due = "UPDATE carrier_demand SET next_us = 0 WHERE account_id = $1 AND state = 'waiting'"
        await self._write(Statement(query, (account_id, phone_number)), Statement(due, (account_id,)))

    async def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return (await self._runner.run([Statement(query, values)], writes=False))[0]

    async def _write(self, *statements: Statement) -> None:
        await self._runner.run(statements, writes=True)
