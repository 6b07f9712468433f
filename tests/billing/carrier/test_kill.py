"""A phone bill whose process is killed at any point: before and after each transaction, each request and each command."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from services.billing.carrier.client import Carrier
from services.billing.carrier.demands import State
from services.billing.carrier.orders import Orders
from services.billing.carrier.store import CarrierStore, Runner, Statement
from services.billing.items import Kind
from tests.billing.carrier.bill import PRICE, Bill, TestOrders


class KilledError(Exception):
    """The process is no more."""


class Killer:
    """Kills at one of the points that a life comes to; beyond the last one it lives."""

    def __init__(self, point: int) -> None:
        self._left = point

    def point(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise KilledError

    @property
    def is_done(self) -> bool:
        """Whether the life ended before the point came."""
        return self._left > 0


class MortalRunner:
    """A database of a process that may be killed."""

    def __init__(self, runner: Runner, killer: Killer) -> None:
        self._runner = runner
        self._killer = killer

    async def run(self, statements: Sequence[Statement], *, writes: bool) -> list[list[tuple[Any, ...]]]:
        self._killer.point()
        found = await self._runner.run(statements, writes=writes)
        self._killer.point()
        return found


class MortalCarrier(Carrier):
    """A client of a process that may be killed."""

    killer: Killer

    async def _ask(self, *asked: Any, **more: Any) -> Any:
        self.killer.point()
        told = await super()._ask(*asked, **more)
        self.killer.point()
        return told


class MortalOrders(TestOrders):
    """Accounting, asked by a process that may be killed."""

    def __init__(self, orders: TestOrders, killer: Killer) -> None:
        super().__init__()
        self.states, self.references = orders.states, orders.references
        self._killer = killer

    async def confirm(self, account_id: str, order_id: str, payment_id: str) -> str:
        self._killer.point()
        refused = await super().confirm(account_id, order_id, payment_id)
        self._killer.point()
        return refused


async def _lives(bill: Bill, point: int) -> bool:
    """Lets the process live until it is killed at the point, then until its work is done; whether the point never came."""
    killer = Killer(point)
    carrier = MortalCarrier(bill.config, bill.http, bill.clock, bill.requests)
    carrier.killer = killer
    orders: Orders = MortalOrders(bill.orders, killer)
    bill.build(CarrierStore(MortalRunner(bill.database, killer)), carrier, orders)
    with contextlib.suppress(KilledError):
        await bill.rounds(4)
    bill.build(bill.store, Carrier(bill.config, bill.http, bill.clock, bill.requests), bill.orders)
    await bill.rounds(4)
    return killer.is_done


@pytest.mark.parametrize("steps", ["one", "two"])
async def test_an_order_is_billed_once_wherever_the_process_is_killed(tmp_path: Path, keys: Path, steps: str) -> None:
    for point in range(1, 200):
        folder = tmp_path / str(point)
        folder.mkdir()
        async with Bill.opened(folder, keys, steps) as bill:
            await bill.place()
            lived = await _lives(bill, point)
            assert (await bill.only()).state == State.SUCCEEDED, point
            assert bill.orders.states == {"ord-1": "completed"}
            assert bill.billed_amount() == PRICE
            assert len(bill.simulator.ledger.payments) == 1
        if lived:
            break
    assert point > 20


async def test_a_credit_line_is_billed_and_given_back_once_wherever_the_process_is_killed(tmp_path: Path, keys: Path) -> None:
    for point in range(1, 200):
        folder = tmp_path / str(point)
        folder.mkdir()
        async with Bill.opened(folder, keys) as bill:
            await bill.sell_on_credit()
            await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1"), bill.item(Kind.USAGE, 2_500)])
            lived = await _lives(bill, point)
            bill.clock.time_us += bill.config.usage_interval_s * 1_000_000
            await bill.rounds(2)
            (left,) = await bill.store.uses_of("acct-1")
            assert bill.billed_amount() + left.amount == PRICE - 4_000_000 + 2_500, point
            assert {each.state for each in await bill.demands()} == {State.SUCCEEDED}
        if lived:
            break
    assert point > 20
