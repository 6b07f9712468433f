"""While a member of the cell is of the first release: later classes are folded, nothing is absorbed, nothing else is written."""

import asyncio
import random
from typing import Any, cast

import msgspec
import pytest

from services.accounting.cell.coordinator import Coordinator
from services.accounting.cell.directory import Directory
from services.accounting.cell.server_groups import ServerGroup, ServerGroups
from services.accounting.cell.view import Member, View
from services.accounting.core import features
from services.accounting.core.commands import CloseCause, Granted, ReleaseSession, Settled, UpdateSession
from services.accounting.core.due import due_entries
from services.accounting.core.entries import Entry, SessionCreated, SessionSettled
from services.accounting.core.offerings import ChargingCatalog, Schedule, TariffVersion
from services.runtime.identifiers import uuid7
from tests.accounting.ledger import (
    ACCOUNT_ID,
    CATALOG,
    EACH,
    TCC_US,
    UNIT,
    Ledger,
    catalog_of,
    event_command,
    fault_of,
    flat,
    offering,
    release_command,
    tariff,
    usage,
)
from tests.accounting.owners import Desk, in_virtual_time
from tests.accounting.shop import CNY
from tests.simulation.fake_etcd import FakeEtcd, FakeEtcdClient

LATER = tariff("TOKEN", (-1, EACH, EACH // 10, 2 * EACH, 4 * EACH, 5 * EACH, 3 * EACH, -1, -1, -1, 40 * EACH))
PREFIX = "/cell/"
OWED = tariff(CNY, (-1, *(UNIT,) * 5, 2 * UNIT))


def catalog() -> ChargingCatalog:
    schedule = Schedule(CNY, (TariffVersion(0, {"flat": OWED}),))
    return catalog_of(offering({"flat": LATER}, debt_limits={"TOKEN": 10 * UNIT}), wholesale={"flat": (("vendor", "m", schedule),)})


def settled(ledger: Ledger) -> SessionSettled:
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionSettled)
    return entry


def assert_first_release(entry: Entry) -> None:
    """That the entry has nothing that the first release would drop."""
    if isinstance(entry, SessionCreated):
        tariffs = [entry.tariff, *entry.more_lines.values(), *(each.tariff for each in entry.wholesale)]
        assert entry.debt_limit == -1
    else:
        assert isinstance(entry, SessionSettled)
        tariffs = [entry.tariff, *([entry.wholesale.tariff] if entry.wholesale else [])]
        vectors = (entry.usage, entry.class_amounts, entry.wholesale_usage, entry.wholesale_amounts)
        assert [len(each) for each in vectors] == [5] * 4
        assert (entry.absorbed, entry.unpaid, entry.unpaid_amounts, entry.paid_worth, entry.unpaid_worth) == (0, (), (), 0, 0)
        assert entry.close_cause != CloseCause.REVOKED
    for each in tariffs:
        assert [len(tier.rates) for tier in each.tiers] == [5] * len(each.tiers)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(catalog().for_first_release())
    ledger.grant(200 * UNIT)
    return ledger


def test_a_session_is_written_as_the_first_release_would(ledger: Ledger) -> None:
    charging_id, _ = ledger.create(20, 20)
    assert_first_release(ledger.last_entries[0])
    used = usage(2, 1, cache_write_1h=10, image_output=3)
    command = msgspec.structs.replace(release_command(charging_id, 2, used, close_cause=CloseCause.REVOKED), unpaid=usage(0, 9))
    answer = ledger.ask(command)
    # The hour's cache write as the usual one, the images as text.
    assert answer == Settled("TOKEN", (2 + 20 + 16) * UNIT, 0)
    entry = settled(ledger)
    assert_first_release(entry)
    assert (entry.usage, entry.close_cause) == ((2, 0, 10, 4, 0), CloseCause.QUOTA_EXHAUSTED)
    assert (entry.wholesale_usage, sum(entry.wholesale_amounts)) == ((2, 0, 10, 4, 0), 16)
    # Its repeat is known, then and once all understand it.
    assert ledger.ask(command) == answer
    ledger.catalog = catalog()
    assert ledger.ask(command) == answer


def test_an_event_that_was_noted_folded_is_known_again_later(ledger: Ledger) -> None:
    event = event_command(ledger.charging_id(), usage(3, cache_write_1h=2))
    answer = ledger.ask(event)
    assert settled(ledger).usage == (3, 0, 2, 0, 0)
    ledger.catalog = catalog()
    assert ledger.unchanged_by(event) == answer
    # What folds to the same is another one.
    assert fault_of(ledger.unchanged_by(msgspec.structs.replace(event, used=usage(3, cache_write=2)))) == "IDEMPOTENCY_CONFLICT"


def test_what_no_bucket_covers_is_owed_whole_and_refuses_nothing_by_itself(ledger: Ledger) -> None:
    ledger.ask(event_command(ledger.charging_id(), usage(1_000, cache_write_1h=1)))
    entry = settled(ledger)
    assert_first_release(entry)
    assert entry.debt == 802 * UNIT
    ledger.grant(5, unit=CNY)
    assert "message=''" in repr(ledger.ask(ledger.create_command(1, 1)))


def test_a_session_of_another_time_is_settled_as_is_understood_now() -> None:
    ledger = Ledger(catalog())
    ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(20, 20)
    ledger.update(charging_id, 2, usage(3, cache_write_1h=2), 20)
    # A member of the first release has joined.
    ledger.catalog = catalog().for_first_release()
    assert isinstance(ledger.ask(UpdateSession(ACCOUNT_ID, charging_id, 2, usage(3, cache_write_1h=2), 20)), Granted)
    answer = ledger.ask(release_command(charging_id, 3, usage(1_800, cache_write_1h=2)))
    assert answer == Settled("TOKEN", 1_804 * UNIT, 804 * UNIT)
    assert (settled(ledger).absorbed, settled(ledger).usage) == (0, (1_800, 0, 2, 0, 0))


def test_an_update_that_was_noted_folded_is_known_again_later(ledger: Ledger) -> None:
    charging_id, _ = ledger.create(20, 20)
    update = UpdateSession(ACCOUNT_ID, charging_id, 2, usage(3, cache_write_1h=2), 20)
    first = ledger.ask(update)
    assert ledger.state.sessions[charging_id].used == (3, 0, 2, 0, 0)
    ledger.catalog = catalog()
    assert ledger.unchanged_by(update) == first
    other = msgspec.structs.replace(update, used=usage(3, cache_write_1h=3))
    assert fault_of(ledger.unchanged_by(other)) == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize(("extended", "debt", "absorbed"), [(True, 10, 790), (False, 800, 0)])
def test_a_sweep_absorbs_only_what_all_understand(extended: bool, debt: int, absorbed: int) -> None:
    ledger = Ledger(catalog())
    ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(20, 20)
    ledger.update(charging_id, 2, usage(1_800), 20)
    (entry,) = due_entries(ledger.state, ledger.now_us + TCC_US, 0, used=False, extended=extended)
    assert isinstance(entry, SessionSettled)
    assert (entry.debt, entry.absorbed) == (debt * UNIT, absorbed * UNIT)


def test_a_release_that_was_revoked_says_so_once_all_understand_it() -> None:
    ledger = Ledger(CATALOG)
    ledger.grant(200 * UNIT)
    charging_id, _ = ledger.create(20, 20)
    ledger.ask(release_command(charging_id, 2, usage(1), close_cause=CloseCause.REVOKED))
    assert settled(ledger).close_cause == CloseCause.REVOKED


def test_all_members_must_announce_what_one_writes() -> None:
    new = Member("a:1", False, tuple(features.OWN))
    old = msgspec.json.decode(b'{"address":"b:1","leaving":false}', type=Member)
    leaving = msgspec.structs.replace(old, leaving=True)
    newer = Member("c:1", False, (*features.OWN, "FEATURE_OF_TOMORROW"))
    assert view(new).features() == features.OWN
    assert view(new, newer).features() == features.OWN
    assert view(new, old).features() == frozenset()
    # It may get a partition back.
    assert view(new, leaving).features() == frozenset()
    assert view().features() == frozenset()


def view(*members: Member) -> View:
    return View(1, None, {str(number): each for number, each in enumerate(members)}, {}, {}, {}, {}, {})


@in_virtual_time
async def test_an_owner_writes_what_its_cell_understands(desk: Desk) -> None:
    async def overuse() -> SessionSettled:
        answer = await desk.ask(event_command(uuid7(desk.clock.now_us()), usage(200, cache_write_1h=10)))
        assert isinstance(answer, Settled), answer
        entry = (await desk.store.journal())[-1]
        assert isinstance(entry, SessionSettled)
        return entry

    await desk.start(catalog=catalog())
    await desk.open(100)
    desk.owner.set_features(frozenset())
    entry = await overuse()
    assert_first_release(entry)
    assert entry.debt == 120 * UNIT
    desk.owner.set_features(features.OWN)
    entry = await overuse()
    assert (entry.debt, entry.absorbed, len(entry.usage)) == (0, 230 * UNIT, 6)
    assert (desk.owner.metrics.absorbed, desk.owner.metrics.losses) == ({"TOKEN": 230 * UNIT}, 1)
    desk.owner.set_features(frozenset())
    # A new catalog is folded like the one before.
    desk.owner.set_catalog(catalog())
    assert_first_release(await overuse())
    assert (await desk.audit()).losses == {"TOKEN": 230 * UNIT}


@in_virtual_time
async def test_what_is_understood_follows_the_members_in_etcd(desk: Desk) -> None:
    etcd = FakeEtcd()
    serving = asyncio.create_task(etcd.run())
    owner = await desk.start(catalog=catalog())
    directory = Directory()
    directory.own_address = "new:1"
    client = FakeEtcdClient(etcd, random.Random(1), 0.0, desk.store.let_go)

    async def refuses(address: str) -> bool:
        return False

    groups = ServerGroups([ServerGroup(owner, desk.store)])
    coordinator = Coordinator(cast("Any", client), PREFIX, groups, directory, "own-1", refuses)
    # Nothing is known of the others yet.
    assert directory.features == frozenset()
    await coordinator.start()
    running = asyncio.create_task(coordinator.run())

    async def understood(wanted: frozenset[str]) -> None:
        async with asyncio.timeout(60):
            async for _ in directory.changes():
                if directory.features == wanted:
                    return

    await understood(features.OWN)
    # Members of the first release say nothing of features.
    etcd.put(f"{PREFIX}members/old-1", b'{"address":"old:1","leaving":true}', 0)
    await understood(frozenset())
    await desk.open(1)
    await desk.ask(event_command(uuid7(desk.clock.now_us()), usage(200)))
    entry = (await desk.store.journal())[-1]
    assert_first_release(entry)
    etcd.delete(f"{PREFIX}members/old-1")
    gone_s = asyncio.get_running_loop().time()
    await understood(features.OWN)
    # It may have been alive without its lease, as after etcd was away.
    assert asyncio.get_running_loop().time() - gone_s >= 7
    await desk.ask(event_command(uuid7(desk.clock.now_us()), usage(200)))
    entry = (await desk.store.journal())[-1]
    assert isinstance(entry, SessionSettled)
    assert entry.absorbed == 200 * UNIT
    # One of the release between knows later classes, and no actors.
    between = Member("between:1", False, (features.EXTENDED_USAGE,))
    etcd.put(f"{PREFIX}members/between-1", msgspec.json.encode(between), 0)
    await understood(frozenset({features.EXTENDED_USAGE}))
    assert owner.extended
    etcd.delete(f"{PREFIX}members/between-1")
    await understood(features.OWN)
    # Members are told anew after etcd was away: until then nothing changes.
    etcd.delete(*(key for key in etcd.keys if key.startswith(f"{PREFIX}members/")))
    await asyncio.sleep(1)
    assert directory.features == features.OWN
    for task in (running, serving):
        task.cancel()
    await asyncio.wait([running, serving])


def test_a_release_that_leaves_nothing_has_the_digest_that_it_always_had() -> None:
    command = release_command("018bcfe5-6800-7403-abdc-a2e40519cc0e", 2, usage(1))
    plain = {name: getattr(command, name) for name in ReleaseSession.__struct_fields__ if name != "unpaid"}
    assert msgspec.msgpack.encode(command) == msgspec.msgpack.encode(plain)
    assert flat(EACH).tiers[0].rates == (EACH,) * 5
