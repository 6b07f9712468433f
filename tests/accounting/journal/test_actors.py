"""Who gave a command stands in the journal beside the entries that it made, and nowhere else."""

from typing import Any

import msgspec
import pytest

from services.accounting.cell.server_groups import ServerGroup, ServerGroups
from services.accounting.core import features
from services.accounting.core.commands import (
    Answer,
    BucketAdded,
    CancelOrder,
    CancelSubscription,
    ChangeSubscription,
    Command,
    ConfirmPayment,
    Failed,
    GrantBucket,
    OpenAccount,
    Ordered,
    PlaceOrder,
    ReadAccount,
    ReduceBucket,
    RefundSession,
    SendTransfer,
    SetLimits,
    TopUpBucket,
    TransferView,
    WriteOffDebt,
)
from services.accounting.core.entries import AccountOpened, Actor, BucketExpired, Entry, SessionSettled
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.terms import LimitKind, Payment, Scope
from services.accounting.journal.codec import JournalError, decode_attributed_row, decode_row, encode_row
from services.accounting.writer.asking import ask
from services.runtime.identifiers import uuid7
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, START_US, UNIT, catalog_of, event_command, flat, offering, usage
from tests.accounting.owners import Collector, Desk, in_virtual_time
from tests.accounting.shop import CNY, DAILY, allowance, for_sale, limit

ADMINISTRATOR = Actor("administrator", "admin_token", "operator")
OTHER = Actor("李雷", "oidc", "billing")
OTHER_ID = "acct-another00"


class OldRow(msgspec.Struct, array_like=True, frozen=True):
    """A row as readers of before know it."""

    schema_version: int
    entries: list[Entry]


def catalog() -> ChargingCatalog:
    pack = allowance(60, valid_for_us=2 * DAY, transferable=True)
    return catalog_of(
        offering({"flat": flat(EACH)}),
        for_sale("pack", pack, price=7 * UNIT, cycle=None),
        for_sale("daily", allowance(50), price=3 * UNIT, cycle=DAILY),
        for_sale("larger", allowance(90), price=5 * UNIT, cycle=DAILY),
    )


async def attributed(desk: Desk) -> list[tuple[Entry, Actor | None]]:
    """The journal with who gave its commands."""
    return [
        each
        for part in await desk.store.partitions()
        for row in await desk.store.read_rows(part.part_id, 0, 1_000_000)
        for each in decode_attributed_row(row.body, "it")
    ]


def names(given: list[tuple[Entry, Actor | None]]) -> list[tuple[str, str]]:
    return [(type(entry).__name__, actor.subject if actor else "") for entry, actor in given]


class Office:
    """Gives commands, each under its own name."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def give(self, command: Command, subject: str = "") -> Answer:
        actor = Actor(subject or type(command).__name__, "admin_token", "operator")
        answer = await ask(self.desk.owner, command, actor)
        assert not isinstance(answer, Failed), answer
        return answer

    async def order(self, offering_id: str, payment: Payment, key: str) -> Ordered:
        answer = await self.give(PlaceOrder(ACCOUNT_ID, offering_id, payment, key))
        assert isinstance(answer, Ordered)
        return answer

    async def subscribe(self) -> None:
        """A subscription is bought, changed and ended."""
        daily = await self.order("daily", Payment.PREPAID, "daily")
        await self.give(ChangeSubscription(ACCOUNT_ID, daily.subscription_id, "larger", Payment.PREPAID, True, "larger"))
        await self.give(CancelSubscription(ACCOUNT_ID, daily.subscription_id, True))


@in_virtual_time
async def test_all_that_a_command_made_has_its_actor_and_nothing_else_has(desk: Desk) -> None:
    await desk.start(catalog=catalog(), partitions=1)
    office = Office(desk)
    for account_id in (ACCOUNT_ID, OTHER_ID):
        await office.give(OpenAccount(account_id, ""))
    await office.give(GrantBucket(ACCOUNT_ID, CNY, 100 * UNIT, None, 30 * DAY, 0, "money"))
    pack = await office.order("pack", Payment.PREPAID, "pack")
    paid = await office.order("pack", Payment.EXTERNAL, "paid outside")
    await office.give(ConfirmPayment(ACCOUNT_ID, paid.order_id, "bank-7"))
    given_up = await office.order("pack", Payment.EXTERNAL, "given up")
    await office.give(CancelOrder(ACCOUNT_ID, given_up.order_id, "no more"))
    await office.subscribe()
    sent = await office.give(SendTransfer(ACCOUNT_ID, OTHER_ID, pack.bucket_ids[0], UNIT, "gift"))
    assert isinstance(sent, TransferView)
    while any(each.state == "in_transit" for each in (await desk.account()).transfers.values()):
        pass
    rate = limit("rate", Scope.ACCOUNT, LimitKind.REQUEST_RATE, 600)
    await office.give(SetLimits(ACCOUNT_ID, "account", (rate,), 0))
    charging_id = uuid7(desk.clock.now_us())
    await desk.ask(event_command(charging_id, usage(150)))
    # Paid by the packs, and owed under the account's own offering.
    (_, (seq, record)) = [
        (row.seq, entry)
        for row in await desk.store.read_rows(0, 0, 1_000_000)
        for entry in decode_row(row.body, "it")
        if isinstance(entry, SessionSettled)
    ]
    await office.give(WriteOffDebt(ACCOUNT_ID, "TOKEN", UNIT, "kindness", "write-off"))
    await office.give(RefundSession(ACCOUNT_ID, charging_id, seq, 2, "TOKEN", record.charged, UNIT, DAY, "goodwill", "refund"))
    await office.give(ReduceBucket(ACCOUNT_ID, next(iter((await desk.account()).buckets)), UNIT, "too much", "reduce"))
    await desk.ask(TopUpBucket(ACCOUNT_ID, next(iter((await desk.account()).buckets)), UNIT, "top-up"))
    assert names(await attributed(desk)) == [
        ("AccountOpened", "OpenAccount"),
        ("AccountOpened", "OpenAccount"),
        ("BucketGranted", "GrantBucket"),
        *((each, "PlaceOrder") for each in ("OrderPlaced", "BucketGranted", "PriceCharged", "OrderCompleted")),
        ("OrderPlaced", "PlaceOrder"),
        *((each, "ConfirmPayment") for each in ("BucketGranted", "OrderCompleted")),
        ("OrderPlaced", "PlaceOrder"),
        ("OrderFailed", "CancelOrder"),
        *(
            (each, "PlaceOrder")
            for each in ("OrderPlaced", "SubscriptionStarted", "CycleStarted", "BucketGranted", "PriceCharged", "OrderCompleted")
        ),
        ("OrderPlaced", "ChangeSubscription"),
        *(
            (each, "ChangeSubscription")
            for each in (
                "BucketExpired",
                "SubscriptionStarted",
                "CycleStarted",
                "BucketGranted",
                "PriceCharged",
                "OrderCompleted",
            )
        ),
        *((each, "CancelSubscription") for each in ("BucketExpired", "SubscriptionEnded")),
        ("TransferSent", "SendTransfer"),
        # What it leads to later is nobody's.
        ("BucketGranted", ""),
        ("TransferConfirmed", ""),
        ("LimitsSet", "SetLimits"),
        *[("SessionSettled", "")] * 2,
        ("DebtWrittenOff", "WriteOffDebt"),
        *((each, "RefundSession") for each in ("BucketGranted", "DebtRepaid")),
        ("BucketReduced", "ReduceBucket"),
        ("BucketToppedUp", ""),
    ]
    assert {(actor.proof, actor.role) for _, actor in await attributed(desk) if actor} == {("admin_token", "operator")}


@in_virtual_time
async def test_commands_of_one_commit_keep_their_own_actors(desk: Desk) -> None:
    await desk.start(catalog=catalog(), partitions=1)
    await desk.open(5)
    await desk.open(5, OTHER_ID)
    desk.store.hold()
    collector = Collector()
    desk.owner.submit(ReadAccount(ACCOUNT_ID), collector, 0)
    await desk.store.waiting.wait()
    # Its bucket has ended meanwhile: that is no command's.
    desk.clock.offset_us += 2 * DAY
    given: list[tuple[Command, Actor | None]] = [
        (GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 0, "one"), ADMINISTRATOR),
        (event_command(uuid7(desk.clock.now_us()), usage(1)), None),
        (GrantBucket(OTHER_ID, "TOKEN", UNIT, None, DAY, 0, "two"), OTHER),
        (GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 0, "three"), None),
    ]
    for tag, (command, actor) in enumerate(given, 1):
        desk.owner.submit(command, collector, tag, actor)
    desk.store.let_go.set()
    await collector.wait(5)
    (last,) = (await desk.store.read_rows(0, 0, 1_000_000))[-1:]
    assert names(list(decode_attributed_row(last.body, "it"))) == [
        ("BucketExpired", ""),
        ("BucketGranted", "administrator"),
        ("SessionSettled", ""),
        ("BucketExpired", ""),
        ("BucketGranted", "李雷"),
        ("BucketGranted", ""),
    ]
    # The next row begins anew.
    await desk.grant(1, key="four")
    assert names(await attributed(desk))[-1:] == [("BucketGranted", "")]


@in_virtual_time
async def test_a_repeat_by_somebody_else_is_the_same_command(desk: Desk) -> None:
    await desk.start(catalog=catalog(), partitions=1)
    await desk.open()
    granting = GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 0, "once")
    first = await ask(desk.owner, granting, ADMINISTRATOR)
    assert isinstance(first, BucketAdded)
    before = await attributed(desk)
    assert [await ask(desk.owner, granting, actor) for actor in (OTHER, None, ADMINISTRATOR)] == [first] * 3
    assert await attributed(desk) == before
    assert before[-1][1] == ADMINISTRATOR


@in_virtual_time
async def test_actors_are_written_while_every_member_understands_them(desk: Desk) -> None:
    await desk.start(catalog=catalog(), partitions=1)
    await desk.open()

    async def written(key: str) -> Actor | None:
        await ask(desk.owner, GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 0, key), ADMINISTRATOR)
        return (await attributed(desk))[-1][1]

    assert await written("at first") == ADMINISTRATOR
    desk.owner.set_features(frozenset({features.EXTENDED_USAGE}))
    assert await written("with a member of the release before") is None
    assert desk.owner.extended
    desk.owner.set_features(frozenset({features.ACTORS}))
    assert await written("without the classes") == ADMINISTRATOR
    assert not desk.owner.extended
    desk.owner.set_features(frozenset())
    assert await written("with a member of the first release") is None
    desk.owner.set_features(features.OWN)
    assert await written("all of them new") == ADMINISTRATOR


@in_virtual_time
async def test_an_actor_reaches_the_owner_of_its_server_group(desk: Desk) -> None:
    owner = await desk.start(catalog=catalog(), partitions=2)
    groups = ServerGroups([ServerGroup(owner, desk.store)] * 2)
    await ask(groups, OpenAccount(ACCOUNT_ID, ""), ADMINISTRATOR)
    assert names(await attributed(desk)) == [("AccountOpened", "administrator")]


@in_virtual_time
async def test_a_take_over_reads_rows_with_actors(desk: Desk) -> None:
    await desk.start(catalog=catalog(), partitions=1)
    await ask(desk.owner, OpenAccount(ACCOUNT_ID, ""), ADMINISTRATOR)
    await ask(desk.owner, GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 0, "once"), OTHER)
    await desk.kill()
    await desk.start(catalog=catalog(), partitions=1)
    assert [each.granted for each in (await desk.account()).buckets.values()] == [UNIT]
    assert (await desk.audit()).entries == 2
    assert names(await attributed(desk)) == [("AccountOpened", "administrator"), ("BucketGranted", "李雷")]


ENTRIES: list[Entry] = [AccountOpened(ACCOUNT_ID, START_US, "default"), BucketExpired(ACCOUNT_ID, START_US, "bkt-1", 5)]


def test_a_row_without_actors_is_as_it_always_was() -> None:
    assert encode_row(ENTRIES) == encode_row(ENTRIES, {}) == msgspec.msgpack.encode([1, ENTRIES])
    assert decode_attributed_row(msgspec.msgpack.encode([1, ENTRIES]), "it") == [(each, None) for each in ENTRIES]


def test_a_reader_of_before_drops_actors_and_reads_the_rest() -> None:
    body = encode_row(ENTRIES, {1: OTHER})
    assert msgspec.msgpack.decode(body) == [1, msgspec.to_builtins(ENTRIES), {1: ["李雷", "oidc", "billing"]}]
    assert msgspec.msgpack.decode(body, type=OldRow).entries == decode_row(body, "it") == ENTRIES
    assert decode_attributed_row(body, "it") == [(ENTRIES[0], None), (ENTRIES[1], OTHER)]


@pytest.mark.parametrize("actors", [5, {"one": ["a", "b", "c"]}, {0: ["a", "b"]}, {0: ["a", "b", 5]}])
def test_a_row_with_damaged_actors_is_damaged(actors: Any) -> None:
    with pytest.raises(JournalError, match="row 7 is damaged"):
        decode_row(msgspec.msgpack.encode([1, ENTRIES, actors]), "row 7")
