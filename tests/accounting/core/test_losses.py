"""What an account may owe, what is absorbed beyond it, and vendors' work that nobody paid for."""

from pathlib import Path

import msgspec
import pytest

from services.accounting.core.account.state import HOUR_US, Account
from services.accounting.core.commands import (
    Answer,
    ChargeEvent,
    CloseCause,
    Granted,
    Refused,
    ReleaseSession,
    ResultCode,
    Settled,
    TopUpBucket,
    WriteOffDebt,
)
from services.accounting.core.entries import SessionCreated, SessionSettled, VendorAttempt
from services.accounting.core.losses import UNPAID_WAIT_US, UNPAID_WORK
from services.accounting.core.offerings import ChargingCatalog, Schedule, TariffVersion
from services.accounting.rpc.account import account_message
from services.accounting.rpc.answers import fill_result
from services.accounting.rpc.catalog import charging_catalog
from services.accounting.rpc.journal import journal_entry_message
from services.token_classes import Vector
from tests.accounting.ledger import (
    ACCOUNT_ID,
    DAY,
    EACH,
    HOUR,
    MINUTE,
    SECOND,
    TARIFFS,
    TCC_US,
    UNIT,
    Ledger,
    audited,
    catalog_of,
    event_command,
    fault_of,
    flat,
    offering,
    release_command,
    replayed,
    state_of,
    tariff,
    usage,
)
from tests.accounting.one_cell import TOKEN, cell, charging_id, create, event, release
from tests.accounting.shop import CNY, SHANGHAI
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

USD = "CURRENCY:USD"


def limited(limit: int | None, **more: object) -> Ledger:
    """An account that may owe `limit` whole units of TOKEN."""
    limits = {} if limit is None else {"TOKEN": limit * UNIT}
    return Ledger(catalog_of(offering({"flat": flat(EACH), "free": flat(0)}, debt_limits=limits), **more))


def owed(ledger: Ledger, unit: str = "TOKEN") -> tuple[int, int]:
    """(outstanding, absorbed), in whole units."""
    debt, loss = ledger.state.debts.get(unit), ledger.state.losses.get(unit)
    return (debt.outstanding if debt else 0) // UNIT, (loss.absorbed if loss else 0) // UNIT


def check(ledger: Ledger) -> None:
    assert audited(ledger) == []
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)


@pytest.mark.parametrize(
    ("limit", "used", "settled"),
    [
        (30, 100, (100, 0, 0)),
        (30, 101, (101, 1, 0)),
        (30, 130, (130, 30, 0)),
        (30, 131, (130, 30, 1)),
        (30, 1_000, (130, 30, 870)),
        (0, 101, (100, 0, 1)),
        (None, 4_196, (4_196, 4_096, 0)),
        (None, 5_000, (4_196, 4_096, 804)),
    ],
)
def test_what_no_bucket_covers_is_owed_up_to_the_limit_and_absorbed_above(
    limit: int | None, used: int, settled: tuple[int, int, int]
) -> None:
    ledger = limited(limit)
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(50, 50)
    answer = ledger.release(charging_id, 2, usage(50, used - 50))
    charged, debt, absorbed = (each * UNIT for each in settled)
    assert answer == Settled("TOKEN", charged, debt, (), absorbed)
    entry = ledger.last_entries[0]
    assert isinstance(entry, SessionSettled)
    assert (entry.charged, entry.debt, entry.absorbed) == (charged, debt, absorbed)
    assert sum(entry.class_amounts) == entry.charged + entry.absorbed == used * UNIT
    assert owed(ledger) == settled[1:]
    check(ledger)


def test_the_catalogs_limits_and_policy_are_read() -> None:
    limits = [
        registry_pb2.DebtLimit(unit=registry_pb2.UNIT_CURRENCY, currency="CNY", amount=5),
        registry_pb2.DebtLimit(unit=registry_pb2.UNIT_TOKEN, amount=0),
    ]
    policy = registry_pb2.RESERVATION_POLICY_CALIBRATED
    offer = registry_pb2.Offering(offering_id="o", tariff_id="t", debt_limits=limits, reservation_policy=policy)
    tariffs = [registry_pb2.Tariff(tariff_id="t", unit=registry_pb2.UNIT_TOKEN)]
    rules = charging_catalog(registry_pb2.Catalog(tariffs=tariffs, offerings=[offer]), 1).offerings["o"]
    assert (rules.debt_limits, rules.calibrated, rules.expected) == ({CNY: 5, "TOKEN": 0}, True, False)


def test_the_default_limit_is_of_the_dearest_output_in_any_tier_and_is_pinned() -> None:
    ledger = Ledger(catalog_of(offering(TARIFFS)))
    ledger.grant(1_000 * UNIT)
    ledger.create(5, 5, model="tiered")
    created = ledger.last_entries[0]
    assert isinstance(created, SessionCreated)
    assert created.debt_limit == 4_096 * 7 * UNIT
    ledger.create(5, 5, model="free")
    created = ledger.last_entries[0]
    assert isinstance(created, SessionCreated)
    # What costs nothing cannot be owed.
    assert created.debt_limit == -1


def test_an_open_session_keeps_the_limit_that_it_began_with() -> None:
    ledger = limited(30)
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(50, 50)
    ledger.catalog = limited(1_000).catalog
    assert ledger.release(charging_id, 2, usage(50, 100)).absorbed == 20 * UNIT
    check(ledger)


def test_the_offering_that_prices_what_is_owed_says_how_much() -> None:
    pack = offering({"flat": flat(EACH)}, offering_id="pack", debt_limits={"TOKEN": 1 * UNIT, CNY: 1 * UNIT})
    base = offering({"flat": flat(EACH, CNY)}, debt_limits={CNY: 7 * UNIT})
    ledger = Ledger(catalog_of(base, pack))
    ledger.grant(100 * UNIT, unit=CNY)
    ledger.create(5, 5)
    created = ledger.last_entries[0]
    assert isinstance(created, SessionCreated)
    assert created.debt_limit == 7 * UNIT


def test_twenty_sessions_at_once_are_counted_together() -> None:
    ledger = limited(30)
    ledger.grant(20 * 800 * UNIT)
    sessions = [ledger.create(0, 800)[0] for _ in range(20)]
    answers = [ledger.release(charging_id, 2, usage(output=30_770)) for charging_id in sessions]
    assert owed(ledger) == (30, 20 * (30_770 - 800) - 30)
    assert sum(answer.charged + answer.absorbed for answer in answers) == 20 * 30_770 * UNIT
    check(ledger)


def test_at_the_limit_nothing_begins_until_it_is_paid_and_a_top_up_repays_no_loss() -> None:
    ledger = limited(30)
    bucket = ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(50, 50)
    ledger.release(charging_id, 2, usage(50, 129 - 50))
    # Owing 29 of 30, and having nothing: used up as before.
    refused = ledger.unchanged_by(ledger.create_command(1, 1))
    assert isinstance(refused, Refused)
    assert refused.message == ""
    assert isinstance(ledger.ask(ledger.create_command(1, 1, model="free")), Granted)
    ledger.event(usage(11))
    assert owed(ledger) == (30, 10)
    refused = ledger.unchanged_by(ledger.create_command(1, 1))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.unit, refused.needed, refused.held) == (ResultCode.QUOTA_LIMIT_REACHED, "TOKEN", 30 * UNIT, False)
    assert refused.message == ("the account owes 30 TOKEN and may owe at most 30 TOKEN; top up more than it owes, then call again")
    ledger.ask(TopUpBucket(ACCOUNT_ID, bucket.bucket_id, 35 * UNIT, "more"))
    assert owed(ledger) == (0, 10)
    assert ledger.bucket(bucket).remaining == 5 * UNIT
    assert isinstance(ledger.ask(ledger.create_command(1, 1)), Granted)
    check(ledger)


def test_a_debt_written_off_makes_room_again() -> None:
    ledger = limited(30)
    ledger.event(usage(100))
    assert owed(ledger) == (30, 70)
    ledger.ask(WriteOffDebt(ACCOUNT_ID, "TOKEN", 20 * UNIT, "uncollectable", "w"))
    ledger.event(usage(100))
    assert owed(ledger) == (30, 150)
    check(ledger)


def test_with_a_limit_of_nothing_an_older_debt_is_in_the_way() -> None:
    ledger = limited(None)
    ledger.event(usage(10))
    ledger.catalog = limited(0).catalog
    ledger.grant(5 * UNIT)
    refused = ledger.ask(ledger.create_command(1, 1))
    assert isinstance(refused, Refused)
    assert "the account owes 5 TOKEN and may owe at most 0 TOKEN" in refused.message
    ledger.grant(50 * UNIT)
    assert isinstance(ledger.ask(ledger.create_command(1, 1)), Granted)


def test_a_sweep_a_late_release_and_an_event_follow_the_same_rule() -> None:
    ledger = limited(30)
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(50, 50)
    ledger.update(charging_id, 2, usage(50, 150), 50)
    ledger.pass_time(TCC_US + 1)
    ledger.event(usage(4))
    # 200 were reported: 100 paid, 30 owed, 70 absorbed; then the Event found nothing left that might be owed.
    assert owed(ledger) == (30, 74)
    late = ledger.release(charging_id, 3, usage(50, 160))
    # What the sweep rated stands, absorbed or not: 10 more are rated, and absorbed.
    assert late == Settled("TOKEN", 0, 0, (), 10 * UNIT)
    assert owed(ledger) == (30, 84)
    assert ledger.ask(release_command(charging_id, 3, usage(50, 160))) == late
    check(ledger)


def test_over_two_tariffs_only_what_is_owed_in_the_last_is_absorbed() -> None:
    rules = offering({"flat": flat(EACH)}, debt_limits={CNY: 5 * UNIT})
    money = offering({"flat": flat(2 * EACH, CNY)}).schedules
    ledger = Ledger(catalog_of(rules._replace(schedules=(*rules.schedules, *money))))
    ledger.grant(80 * UNIT)
    charging_id, _ = ledger.create(10, 70)
    answer = ledger.release(charging_id, 2, usage(10, 80))
    assert answer == Settled("TOKEN", 80 * UNIT, 0, ((CNY, 5 * UNIT, 5 * UNIT),), 0, (15 * UNIT,))
    result = pb.ChargeResult()
    fill_result(result, answer)
    assert (result.settled.absorbed_amount, result.settled.other_charges[0].absorbed_amount) == (0, 15 * UNIT)
    # The account remembers it so.
    assert ledger.ask(release_command(charging_id, 2, usage(10, 80))) == answer
    check(ledger)


def test_a_loss_is_shown_with_the_account_and_in_the_journal() -> None:
    ledger = limited(30)
    ledger.event(usage(100))
    message = journal_entry_message(0, 1, 0, ledger.last_entries[0]).session_settled
    assert (message.charged_amount, message.debt_amount, message.absorbed_amount) == (30 * UNIT, 30 * UNIT, 70 * UNIT)
    (loss,) = account_message(ledger.state).losses
    assert loss.absorbed == 70 * UNIT


@pytest.mark.parametrize("field", ["absorbed", "charged", "debt"])
def test_the_auditor_sees_a_charge_that_is_neither_paid_nor_absorbed(field: str) -> None:
    ledger = limited(30)
    ledger.event(usage(100))
    (entry,) = ledger.last_entries
    ledger.rows[-1] = (ledger.rows[-1][0], [msgspec.structs.replace(entry, **{field: getattr(entry, field) - 1})])
    assert audited(ledger) != []


def test_the_auditor_sees_a_loss_that_is_not_in_the_journal() -> None:
    ledger = limited(30)
    ledger.event(usage(100))
    ledger.state.losses["TOKEN"].absorbed += 1
    assert audited(ledger) == ["TOKEN: 70000001 absorbed in the state, 70000000 in the journal"]


@pytest.mark.parametrize("limit", [0, 10**12])
def test_losses_count_against_what_an_int64_holds_beside_what_is_owed(limit: int) -> None:
    ledger = limited(limit)
    answer: Answer = Settled("TOKEN", 0, 0)
    for _ in range(1_000):
        answer = ledger.ask(event_command(ledger.charging_id(), usage(10**10)))
        if not isinstance(answer, Settled):
            break
    assert fault_of(answer) == "AMOUNT_OVERFLOW"
    lost = ledger.state.losses["TOKEN"].absorbed
    assert ledger.state.debts["TOKEN"].incurred + lost <= 2**62 if limit else lost <= 2**62


async def test_a_cell_of_one_process_announces_all_it_understands_and_tells_of_losses(tmp_path: Path) -> None:
    async with cell(tmp_path) as client:
        async for response in client.stub.WatchOwners(pb.WatchOwnersRequest(), timeout=WAIT_S):
            assert list(response.features) == [pb.FEATURE_ACTORS, pb.FEATURE_RUNS, pb.FEATURE_SALES, pb.FEATURE_TOKEN_CLASSES]
            break
        account_id, session = await client.open(100), charging_id()
        await client.charge(create(account_id, session))
        operation = release(account_id, session, 2, input=10, output=20, cache_write_1h=5, image_input=2)
        operation.release.unpaid.CopyFrom(pb.TokenUsage(output=9))
        operation.release.close_cause = pb.CLOSE_CAUSE_REVOKED
        (result,) = await client.charge(operation)
        assert (result.settled.charged_amount, result.settled.absorbed_amount) == (37 * UNIT, 9 * UNIT)
        (record,) = await client.records(account_id, session)
        settled = record.session_settled
        assert settled.usage == pb.TokenUsage(input=10, output=20, cache_write_1h=5, image_input=2)
        assert (settled.close_cause, settled.unpaid) == (pb.CLOSE_CAUSE_REVOKED, pb.TokenUsage(output=9))
        await client.charge(event(account_id, charging_id(), input=5_000))
        loss = pb.Loss(unit=TOKEN, absorbed=(5_000 - 63 - 4_096 + 9) * UNIT)
        assert list((await client.account(account_id)).losses) == [loss]
        audited = await client.audit()
        assert (list(audited.breaches), list(audited.losses)) == ([], [loss])


# Vendors' work that nobody paid for

MONEY = tariff(CNY, (-1, 2 * UNIT, UNIT, 2 * UNIT, 8 * UNIT, 8 * UNIT))
OWED = tariff(USD, (-1, UNIT, UNIT, UNIT, UNIT, UNIT))
ATTEMPTS = (VendorAttempt("vendor", "m", "answered", 200, 10),)


def priced(wholesale: bool = True, exchange: bool = True, unit: str = CNY) -> ChargingCatalog:
    """A model sold in `unit`; its vendor is owed a dollar, seven yuan, a million tokens."""
    rates = MONEY if unit == CNY else flat(EACH, unit)
    routes = {"flat": (("vendor", "m", Schedule(USD, (TariffVersion(0, {"flat": OWED}),))),)}
    return catalog_of(
        offering({"flat": rates}),
        wholesale=routes if wholesale else {},
        exchange_rates={("USD", "CNY"): (7 * UNIT, 3)} if exchange else {},
        time_zone=SHANGHAI,
    )


def leave(ledger: Ledger, used: Vector, unpaid: Vector) -> Settled:
    """A call that ended with work that nobody pays for."""
    charging_id, _ = ledger.create(1_000, 1_000)
    answer = ledger.ask(leaving(charging_id, used, unpaid))
    assert isinstance(answer, Settled), answer
    return answer


def leaving(charging_id: str, used: Vector, unpaid: Vector, number: int = 2) -> ReleaseSession:
    command = release_command(charging_id, number, used, close_cause=CloseCause.CLIENT_GONE)
    return msgspec.structs.replace(command, unpaid=unpaid, attempts=ATTEMPTS)


def rich(catalog: ChargingCatalog, unit: str = CNY) -> Ledger:
    ledger = Ledger(catalog)
    ledger.grant(10**9 * UNIT, unit=unit, valid_for_us=30 * DAY)
    return ledger


def is_throttled(ledger: Ledger) -> bool:
    answer = ledger.ask(ledger.create_command(1, 1))
    if isinstance(answer, Granted):
        return False
    assert isinstance(answer, Refused)
    assert (answer.code, answer.limit_id, answer.held) == (ResultCode.RATE_LIMITED, UNPAID_WORK, False)
    assert answer.message
    assert answer.retry_after_us == ledger.state.last_unpaid_us + UNPAID_WAIT_US - ledger.now_us
    return True


def test_what_nobody_pays_is_absorbed_at_the_sessions_rates_and_owed_to_the_vendor() -> None:
    ledger = rich(priced())
    # Of 1,500 that the vendor counted 1,200 had been relayed.
    answer = leave(ledger, usage(100, 1_200), usage(0, 300))
    assert answer == Settled(CNY, 200 + 9_600, 0, (), 2_400)
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionSettled)
    assert (entry.usage, entry.unpaid, entry.unpaid_amounts) == (usage(100, 1_200), usage(0, 300), (0, 0, 0, 2_400, 0))
    assert (entry.wholesale_usage, sum(entry.wholesale_amounts)) == (usage(100, 1_500), 1_600)
    # In micro-yuan.
    assert (entry.paid_worth, entry.unpaid_worth) == (7 * 1_300, 7 * 300)
    message = journal_entry_message(0, 1, 0, entry).session_settled
    assert (message.absorbed_amount, message.unpaid, message.wholesale.amount) == (2_400, pb.TokenUsage(output=300), 1_600)
    check(ledger)


def test_an_answer_that_nobody_waited_for_costs_nothing_and_is_owed_to_the_vendor() -> None:
    ledger = rich(priced())
    assert leave(ledger, usage(), usage(100, 30_000)) == Settled(CNY, 0, 0, (), 200 + 240_000)
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionSettled)
    assert sum(entry.wholesale_amounts) == 30_100
    check(ledger)


def test_unpaid_work_is_rated_at_the_tier_of_all_input() -> None:
    tiered = tariff(CNY, (-1, *(UNIT,) * 5), (1_000, *(3 * UNIT,) * 5))
    ledger = rich(catalog_of(offering({"flat": tiered})))
    assert leave(ledger, usage(), usage(1_001, 10)).absorbed == 3 * 1_011
    assert leave(ledger, usage(600), usage(300)).absorbed == 300
    assert leave(ledger, usage(600), usage(500)).absorbed == 3 * 500
    check(ledger)


def test_a_late_release_absorbs_what_nobody_pays() -> None:
    ledger = rich(priced())
    charging_id, _ = ledger.create(1_000, 1_000)
    ledger.update(charging_id, 2, usage(100, 10), 1_000)
    ledger.pass_time(TCC_US + SECOND)
    answer = ledger.ask(leaving(charging_id, usage(100, 20), usage(0, 5), 3))
    assert answer == Settled(CNY, 80, 0, (), 40)
    check(ledger)


def test_a_release_with_other_unpaid_work_is_no_repeat() -> None:
    ledger = rich(priced())
    charging_id, _ = ledger.create(1_000, 1_000)
    settled = ledger.ask(leaving(charging_id, usage(1), usage(2)))
    assert ledger.unchanged_by(leaving(charging_id, usage(1), usage(2))) == settled
    assert fault_of(ledger.unchanged_by(leaving(charging_id, usage(1), usage(3)))) == "IDEMPOTENCY_CONFLICT"


def test_absurd_unpaid_work_is_refused_by_name() -> None:
    ledger = rich(priced())
    charging_id, _ = ledger.create(1_000, 1_000)
    answer = ledger.unchanged_by(leaving(charging_id, usage(1), usage(0, 10**11)))
    assert fault_of(answer) == "AMOUNT_OVERFLOW"
    assert "unpaid.output is" in str(answer)


def test_an_account_that_leaves_its_answers_is_refused_for_a_while() -> None:
    ledger = rich(priced())
    # 142,857 tokens are a yuan's worth.
    leave(ledger, usage(), usage(0, 142_857))
    assert not is_throttled(ledger)
    leave(ledger, usage(), usage(0, 1))
    assert is_throttled(ledger)
    ledger.pass_time(UNPAID_WAIT_US - 1)
    assert is_throttled(ledger)
    ledger.pass_time(1)
    assert not is_throttled(ledger)
    # Once more, and it waits again.
    leave(ledger, usage(), usage(0, 1))
    assert is_throttled(ledger)
    ledger.pass_time(DAY)
    leave(ledger, usage(), usage(0, 1))
    assert not is_throttled(ledger)
    assert UNPAID_WAIT_US == 5 * MINUTE
    check(ledger)


@pytest.mark.parametrize(("paid", "throttled"), [(2_000_000, False), (1_999_999, True)])
def test_a_tenth_of_what_was_paid_may_be_left(paid: int, throttled: bool) -> None:
    ledger = rich(priced())
    leave(ledger, usage(paid), ())
    leave(ledger, usage(), usage(0, 200_000))
    assert is_throttled(ledger) == throttled


def test_a_day_is_counted_and_the_account_remembers_no_more_than_its_hours() -> None:
    ledger = rich(priced())
    leave(ledger, usage(), usage(0, 200_000))
    for _ in range(100):
        ledger.pass_time(HOUR)
        leave(ledger, usage(1), ())
        assert len(ledger.state.work) <= 24
    assert sum(each.unpaid for each in ledger.state.work) == 0
    assert [each.hour for each in ledger.state.work] == sorted(each.hour for each in ledger.state.work)
    assert ledger.state.work[-1].hour == ledger.now_us // HOUR_US
    check(ledger)


@pytest.mark.parametrize(
    ("catalog", "unit", "worths"),
    [
        # By what the vendor is owed, in yuan; else by what is sold in money, else not at all.
        (priced(), CNY, (70, 700)),
        (priced(unit="TOKEN"), "TOKEN", (70, 700)),
        (priced(wholesale=False), CNY, (20, 800)),
        (priced(wholesale=False, unit=USD), USD, (70 * UNIT, 700 * UNIT)),
        (priced(wholesale=False, unit="TOKEN"), "TOKEN", (0, 0)),
        (priced(exchange=False), CNY, (0, 0)),
    ],
)
def test_what_a_vendors_work_is_worth(catalog: ChargingCatalog, unit: str, worths: tuple[int, int]) -> None:
    ledger = rich(catalog, unit)
    leave(ledger, usage(10), usage(0, 100))
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionSettled)
    assert (entry.paid_worth, entry.unpaid_worth) == worths


def test_an_event_counts_as_paid_work() -> None:
    ledger = rich(priced())
    command = event_command(ledger.charging_id(), usage(1_000))
    assert isinstance(ledger.ask(msgspec.structs.replace(command, attempts=ATTEMPTS)), Settled)
    assert isinstance(command, ChargeEvent)
    assert [each.paid for each in ledger.state.work] == [7_000]


def test_a_late_release_counts_as_work_of_both_kinds() -> None:
    ledger = rich(priced())
    charging_id, _ = ledger.create(1_000, 1_000)
    ledger.pass_time(TCC_US)
    ledger.ask(leaving(charging_id, usage(1_000), usage(0, 100)))
    assert [(each.paid, each.unpaid) for each in ledger.state.work] == [(7_000, 700)]


def test_what_was_paid_more_than_a_day_ago_excuses_nothing() -> None:
    ledger = rich(priced())
    ledger.pass_time(HOUR - ledger.now_us % HOUR)
    leave(ledger, usage(10_000_000), ())
    # It is forgotten with the next hour's work alone; but it does not count from the next hour on.
    ledger.pass_time(DAY - MINUTE)
    leave(ledger, usage(), usage(0, 200_000))
    assert not is_throttled(ledger)
    ledger.pass_time(MINUTE)
    assert is_throttled(ledger)


def test_what_was_left_more_than_a_day_ago_accuses_nobody() -> None:
    ledger = rich(priced())
    ledger.pass_time(HOUR - ledger.now_us % HOUR)
    leave(ledger, usage(), usage(0, 200_000))
    ledger.pass_time(DAY - MINUTE)
    leave(ledger, usage(), usage(0, 1))
    assert is_throttled(ledger)
    ledger.pass_time(MINUTE)
    assert not is_throttled(ledger)


def test_what_is_owed_in_the_last_unit_is_in_the_way_of_every_call() -> None:
    schedules = [each for unit in ("TOKEN", CNY) for each in offering({"flat": flat(EACH, unit)}).schedules]
    rules = offering({"flat": flat(EACH)}, debt_limits={CNY: 10 * UNIT})._replace(schedules=tuple(schedules))
    ledger = Ledger(catalog_of(rules))
    ledger.event(usage(10))
    # Tokens do not repay money.
    ledger.grant(1_000 * UNIT)
    refused = ledger.ask(ledger.create_command(1, 1))
    assert isinstance(refused, Refused)
    assert (refused.unit, refused.needed) == (CNY, 10 * UNIT)
    assert "owes 10 CNY and may owe at most 10 CNY" in refused.message


def test_work_survives_a_checkpoint() -> None:
    ledger = rich(priced())
    leave(ledger, usage(), usage(0, 200_000))
    ledger.account = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.state), type=Account)
    assert is_throttled(ledger)


# Reserving what is calibrated


def calibrated(ledger: Ledger, bound: int, estimate: int, output: int) -> Answer:
    return ledger.ask(msgspec.structs.replace(ledger.create_command(bound, output), input_calibrated=estimate))


@pytest.mark.parametrize(("policy", "held"), [("calibrated", 110), ("worst_case", 440)])
def test_the_calibrated_estimate_is_held_where_the_offering_says_so(policy: str, held: int) -> None:
    ledger = Ledger(catalog_of(offering({"flat": flat(EACH)}, calibrated=policy == "calibrated")))
    bucket = ledger.grant(1_000 * UNIT)
    assert isinstance(calibrated(ledger, 440, 110, 40), Granted)
    assert ledger.bucket(bucket).reserved == (held + 40) * UNIT


def test_what_is_calibrated_is_held_at_the_dearest_rate_of_its_tier() -> None:
    tiered = tariff("TOKEN", (-1, EACH, EACH // 10, 2 * EACH, 3 * EACH, 4 * EACH), (100, *(9 * EACH,) * 5))
    ledger = Ledger(catalog_of(offering({"flat": tiered}, calibrated=True)))
    bucket = ledger.grant(10_000 * UNIT)
    calibrated(ledger, 440, 100, 10)
    assert ledger.bucket(bucket).reserved == (200 + 40) * UNIT
    calibrated(ledger, 440, 101, 10)
    assert ledger.bucket(bucket).reserved == (240 + 999) * UNIT


@pytest.mark.parametrize("estimate", [-1, 440, 500])
def test_without_an_estimate_below_it_the_bound_is_held(estimate: int) -> None:
    ledger = Ledger(catalog_of(offering({"flat": flat(EACH)}, calibrated=True)))
    bucket = ledger.grant(1_000 * UNIT)
    calibrated(ledger, 440, estimate, 40)
    assert ledger.bucket(bucket).reserved == 480 * UNIT


def test_a_prompt_of_110_000_tokens_fits_a_pack_of_400_000() -> None:
    ledger = Ledger(catalog_of(offering({"flat": flat(EACH)}, window=2_048, calibrated=True)))
    ledger.grant(400_000 * UNIT)
    command = msgspec.structs.replace(ledger.create_command(440_000, 4_096, metered=True), input_calibrated=121_000)
    answer = ledger.ask(command)
    assert isinstance(answer, Granted)
    more = ledger.update(command.charging_id, 2, usage(output=2_000), 4_096)
    assert more.output_granted > 2_048
    assert ledger.release(command.charging_id, 3, usage(110_000, 4_000)).debt == 0
    check(ledger)
