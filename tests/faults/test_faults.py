"""The faults that everybody meets, in a cell of real processes; `make faults` has them all, and their times."""

import asyncio

from tests.faults.__main__ import FAULTS, Fault, run
from tests.faults.cell import FaultCell


def named(*names: str) -> tuple[Fault, ...]:
    return tuple(fault for fault in FAULTS if fault.name in names)


def test_restarts_and_deaths_lose_nothing_and_charge_nothing_twice() -> None:
    faults = named("rolling restart of accounting", "kill -9 of an owner", "PostgreSQL restart", "accounting and the edge killed")
    with FaultCell(etcd_members=1) as cell:
        assert asyncio.run(run(cell, faults, workers=12, accounts=8, timed=False)) == []
