"""A new era, after a database or etcd was restored: the same in both, above every one before, and of this cell alone."""

import asyncio
import random
from typing import Any, cast

import msgspec
import pytest

from services.accounting.cell.coordinator import WrongCellError, enter_new_era
from services.accounting.cell.view import CellRecord, Reached
from services.accounting.core.commands import OpenAccount
from services.accounting.journal.memory import MemoryStore
from services.accounting.writer.asking import ask
from tests.accounting.cell.test_coordination import PARTITIONS, PREFIX, Replica, Site, at_a_site
from tests.accounting.ledger import ACCOUNT_ID
from tests.simulation.fake_etcd import FakeEtcdClient


async def new_era(site: Site, store: MemoryStore) -> int:
    answering = asyncio.Event()
    answering.set()
    etcd = cast("Any", FakeEtcdClient(site.etcd, random.Random(1), 0.0, answering))
    return await enter_new_era(etcd, PREFIX, [store], (await store.identity()).cell_id, PARTITIONS)


def cell_of(site: Site) -> CellRecord:
    return msgspec.json.decode(site.etcd.keys[f"{PREFIX}cell"].value, type=CellRecord)


def put_cell(site: Site, cell: CellRecord) -> None:
    site.etcd.put(f"{PREFIX}cell", msgspec.json.encode(cell), 0)


@at_a_site
async def test_a_new_era_is_above_etcds_where_the_database_went_back(site: Site) -> None:
    cell_id = (await site.store.initialise(PARTITIONS)).cell_id
    put_cell(site, CellRecord(cell_id, 7, PARTITIONS, "etcd-here"))
    assert await new_era(site, site.store) == 8
    assert (await site.store.identity()).era == 8
    # It is the same etcd, and the database knows it.
    assert cell_of(site) == CellRecord(cell_id, 8, PARTITIONS, "etcd-here")
    assert await site.store.coordinated_by("another") == "etcd-here"


@at_a_site
async def test_a_new_era_is_above_the_databases_where_etcd_was_wiped(site: Site) -> None:
    cell_id = (await site.store.initialise(PARTITIONS)).cell_id
    await site.store.coordinated_by("etcd-before")
    await site.store.raise_era(4)
    era = await new_era(site, site.store)
    cell = cell_of(site)
    assert (era, cell.cell_id, cell.era) == (6, cell_id, 6)
    assert await site.store.coordinated_by("another") == cell.coordinator_id != "etcd-before"


@at_a_site
async def test_another_cells_etcd_is_left_alone(site: Site) -> None:
    await site.store.initialise(PARTITIONS)
    stranger = CellRecord("cell-other", 3, PARTITIONS, "etcd-there")
    put_cell(site, stranger)
    with pytest.raises(WrongCellError, match="is of cell cell-other"):
        await new_era(site, site.store)
    assert cell_of(site) == stranger
    assert (await site.store.identity()).era == 1


@at_a_site
async def test_how_far_the_journal_went_is_noted_with_its_era(site: Site) -> None:
    await site.store.initialise(PARTITIONS)
    await site.store.raise_era(4)
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    assert await ask(replica.owner, OpenAccount(ACCOUNT_ID, ""))
    await asyncio.sleep(6)
    assert msgspec.json.decode(site.etcd.keys[f"{PREFIX}reached/1"].value, type=Reached) == Reached(5, 2)
