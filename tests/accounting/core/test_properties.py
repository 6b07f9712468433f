"""Random histories of one account: the core against a naive model, conservation, replay and encoding."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.accounting.core.commands import (
    Answer,
    BucketAdded,
    ChargeEvent,
    CloseCause,
    CreateSession,
    Failed,
    GrantBucket,
    Granted,
    Refused,
    ReleaseSession,
    Settled,
    UpdateSession,
)
from services.accounting.core.entries import SessionSettled
from services.accounting.journal.codec import decode_checkpoint, decode_row, encode_checkpoint, encode_row
from services.runtime.identifiers import derived_name, uuid7_time_us
from services.token_classes import FIRST, TOKEN_CLASSES, Vector, trimmed
from tests.accounting.ledger import (
    ACCOUNT_ID,
    MINUTE,
    SECOND,
    START_US,
    TARIFFS,
    UNIT,
    VALIDITY_US,
    Ledger,
    catalog_of,
    event_command,
    offering,
    release_command,
    replayed,
    state_of,
)
from tests.accounting.naive import CLASSES, NaiveAccount, Outcome, Rows

WINDOW = 16
CATALOG = catalog_of(offering(TARIFFS, window=WINDOW))


def charging_id(number: int) -> str:
    """The same session of every history; six at the beginning, the others every five minutes."""
    text = f"{(START_US + max(0, number - 5) * 5 * MINUTE) // 1_000:012x}7000800000000000{number:04x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# Few sessions at a time, so that what comes meets what is there; those of later are stale or in the future now and then.
sessions = st.one_of(st.integers(0, 2), st.integers(0, 9)).map(charging_id)
models = st.sampled_from(sorted(TARIFFS))
tokens = st.integers(0, 12)
firsts = st.tuples(tokens, st.integers(0, 3), st.integers(0, 3), tokens, st.integers(0, 3))
later = st.lists(st.integers(0, 3), max_size=len(TOKEN_CLASSES) - FIRST)
usages = st.one_of(firsts, st.tuples(firsts, later).map(lambda each: trimmed((*each[0], *each[1]))))
numbers = st.integers(2, 5)
passing = st.sampled_from([0, 1, SECOND, 10 * SECOND, 29 * SECOND, 30 * SECOND, 61 * SECOND, 4 * MINUTE, 16 * MINUTE])
grants = st.builds(
    GrantBucket,
    st.just(ACCOUNT_ID),
    st.sampled_from(["TOKEN", "TOKEN", "CURRENCY:USD"]),
    st.integers(1, 60).map(lambda units: units * UNIT) | st.integers(1, 30),
    st.sampled_from([None, None, None, START_US, START_US + 30 * SECOND]),
    st.sampled_from([SECOND, 60 * SECOND, 10 * MINUTE, 100 * MINUTE]),
    st.integers(0, 2),
    st.integers(0, 7).map(str),
)
creates = st.builds(
    lambda session, model, bound, limit, metered: CreateSession(
        ACCOUNT_ID, session, 1, model, "key-1", "mbr-1", bound, limit, metered
    ),
    sessions,
    models,
    tokens,
    st.sampled_from([0, 1, 5, 20, 40]),
    st.booleans(),
)
updates = st.builds(UpdateSession, st.just(ACCOUNT_ID), sessions, numbers, usages, st.integers(0, 40))
releases = st.builds(release_command, sessions, numbers, usages)
events = st.builds(lambda session, used, model: event_command(session, used, model=model), sessions, usages, models)
histories = st.lists(
    st.one_of(passing, grants, grants, creates, creates, creates, updates, updates, releases, events), min_size=25, max_size=60
)


def naive_account() -> NaiveAccount:
    rows: dict[str, tuple[str, Rows]] = {
        model: (tariff.unit, [(tier.above_input_tokens, dict(zip(CLASSES, tier.rates, strict=True))) for tier in tariff.tiers])
        for model, tariff in TARIFFS.items()
    }
    return NaiveAccount(rows, WINDOW, VALIDITY_US)


def outcome_of(answer: Answer) -> Outcome:
    """An answer in the naive model's terms."""
    match answer:
        case BucketAdded():
            return ("added", answer.repaid)
        case Granted():
            return ("granted", answer.output_granted, answer.output_payable, answer.final)
        case Settled():
            return ("settled", answer.charged, answer.debt)
        case Refused():
            return ("refused", answer.free, answer.reserved, answer.held)
        case Failed():
            return (answer.fault.name,)
    raise AssertionError(answer)


def expected(naive: NaiveAccount, now_us: int, command: Any) -> Outcome:
    """What the naive model says to a command."""
    if isinstance(command, GrantBucket):
        return naive.grant(
            now_us,
            command.idempotency_key,
            derived_name("bkt", ACCOUNT_ID, command.idempotency_key),
            (command.priority, command.unit, command.amount, command.valid_from_us, command.valid_for_us),
        )
    session = command.charging_id
    made_us = uuid7_time_us(session)
    assert made_us is not None
    content = msgspec.to_builtins(command)
    match command:
        case CreateSession():
            return naive.create(now_us, session, made_us, content)
        case UpdateSession():
            return naive.update(now_us, session, command.number, content, counts(command.used), command.output_wanted)
        case ReleaseSession():
            return naive.release(now_us, session, command.number, content, counts(command.used))
        case ChargeEvent():
            return naive.event(now_us, session, made_us, command.number, content, command.model_id, counts(command.used))
    raise AssertionError(command)


def counts(used: Vector) -> dict[str, int]:
    return dict(zip(TOKEN_CLASSES, used, strict=False))


def compare(ledger: Ledger, naive: NaiveAccount) -> None:
    """The same balances, debts, open holds and memory in both."""
    parts = ("granted", "remaining", "reserved", "consumed", "expired")
    in_core = {bucket_id: tuple(getattr(bucket, part) for part in parts) for bucket_id, bucket in ledger.state.buckets.items()}
    assert in_core == {bucket["id"]: tuple(bucket[part] for part in parts) for bucket in naive.buckets}
    debts = {unit: {"incurred": debt.incurred, "repaid": debt.repaid} for unit, debt in ledger.state.debts.items()}
    assert debts == naive.debts
    holds = {
        session_id: [(bucket_id, amount) for bucket_id, amount in session.hold.items() if amount]
        for session_id, session in ledger.state.sessions.items()
    }
    assert holds == {
        session_id: [(bucket["id"], part) for bucket, part in call["hold"]]
        for session_id, call in naive.calls.items()
        if call["state"] == "open"
    }
    for state, memory in (("closed", ledger.state.closed), ("swept", ledger.state.swept)):
        assert set(memory) == {session_id for session_id, call in naive.calls.items() if call["state"] == state}


def run(history: Iterable[Any]) -> Ledger:
    """Runs a history on both, comparing after every step."""
    ledger, naive = Ledger(CATALOG), naive_account()
    for step in history:
        if isinstance(step, int):
            ledger.pass_time(step)
            continue
        wanted = expected(naive, ledger.now_us, step)
        assert outcome_of(ledger.ask(step)) == wanted, step
        compare(ledger, naive)
    return ledger


def busy_history(seed: int, length: int) -> Iterator[Any]:
    """What an edge sends to a busy account: mostly sensible, now and then late, twice, out of order, or wrong."""
    rng = random.Random(seed)
    sent: list[Any] = []
    # session -> its last number.
    running: dict[str, int] = {}
    now_us = START_US

    def used() -> Vector:
        return (rng.randint(0, 9), rng.randint(0, 3), rng.randint(0, 2), rng.randint(0, 30), rng.randint(0, 5))

    for number in range(length):
        if rng.random() < 0.3:
            passed_us = rng.choice([1, SECOND, 5 * SECOND, 30 * SECOND, rng.choice([61 * SECOND, MINUTE, 20 * MINUTE])])
            now_us += passed_us
            yield passed_us
        what = rng.choices(("grant", "create", "update", "release", "event", "again"), (2, 5, 5, 4, 1, 2))[0]
        session = rng.choice(list(running)) if running else ""
        command: Any
        if what == "grant":
            start_us = rng.choice([None, None, None, now_us, now_us + 20 * SECOND])
            span_us = rng.choice([10 * SECOND, 70 * SECOND, 10 * MINUTE, 600 * MINUTE])
            unit = rng.choice(["TOKEN", "TOKEN", "CURRENCY:USD"])
            amount = rng.choice([rng.randint(1, 99), rng.randint(1, 90) * UNIT])
            command = GrantBucket(ACCOUNT_ID, unit, amount, start_us, span_us, rng.randint(0, 2), str(number))
        elif what == "create" or (what in ("update", "release") and not session):
            session = uuid7_of(rng, now_us)
            running[session] = 1
            model, limit = rng.choice(sorted(TARIFFS)), rng.choice([0, 1, 5, 20, 40])
            command = CreateSession(ACCOUNT_ID, session, 1, model, "key-1", "mbr-1", rng.randint(0, 12), limit, rng.random() < 0.6)
        elif what == "update":
            running[session] += rng.choice([1, 1, 1, 2, 0])
            command = UpdateSession(ACCOUNT_ID, session, running[session], used(), rng.randint(0, 40))
        elif what == "release":
            command = release_command(session, running[session] + rng.choice([1, 1, 1, 1, 0]), used())
            if rng.random() < 0.8:
                del running[session]
        elif what == "event":
            late_us = rng.choice([0, 0, 0, MINUTE, 15 * MINUTE, -2 * MINUTE])
            command = event_command(uuid7_of(rng, now_us - late_us), used(), model=rng.choice(sorted(TARIFFS)))
        else:
            command = rng.choice(sent[-30:] or [GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, MINUTE, 0, "first")])
        sent.append(command)
        yield command


def uuid7_of(rng: random.Random, time_us: int) -> str:
    text = f"{time_us // 1_000:012x}7{rng.getrandbits(12):03x}8{rng.getrandbits(60):015x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@pytest.mark.parametrize("seed", range(40))
def test_a_busy_account_does_what_the_naive_model_does(seed: int) -> None:
    ledger = run(busy_history(seed, 250))
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)


def test_busy_histories_reach_every_kind_of_entry() -> None:
    """Else the comparison above would prove little."""
    entries = [entry for seed in range(10) for entry in run(busy_history(seed, 250)).entries]
    kinds = Counter(type(entry).__name__ for entry in entries)
    assert min(kinds[kind] for kind in ("BucketGranted", "DebtRepaid", "BucketExpired", "SessionCreated", "SessionUpdated")) >= 10
    settled = [entry for entry in entries if isinstance(entry, SessionSettled)]
    assert sum(entry.record_number == 2 for entry in settled) >= 3
    assert sum(entry.close_cause == CloseCause.SWEPT for entry in settled) >= 10
    assert sum(bool(entry.debt) for entry in settled) >= 10
    assert sum(len(entry.held_debits) > 1 for entry in settled) >= 3
    assert sum(bool(entry.held_debits and entry.free_debits) for entry in settled) >= 3


@given(histories)
@settings(max_examples=150, deadline=None)
def test_the_core_does_what_the_naive_model_does(history: list[Any]) -> None:
    run(history)


@given(histories)
@settings(max_examples=60, deadline=None)
def test_the_journal_alone_makes_the_account_again_and_everything_survives_encoding(history: list[Any]) -> None:
    ledger = run(history)
    decoded = [(seq, decode_row(encode_row(entries), "it")) for seq, entries in ledger.rows]
    assert decoded == ledger.rows
    assert state_of(replayed(decoded)) == state_of(ledger.state)
    # A checkpoint anywhere, and the rest of the journal behind it, make the same account.
    middle = len(decoded) // 2
    if any(entries for _, entries in decoded[:middle]):
        account = decode_checkpoint(encode_checkpoint(replayed(decoded[:middle])), "it")
        assert state_of(account) == state_of(replayed(decoded[:middle]))
        again = Ledger(CATALOG)
        again.account, again.rows = account, [*decoded[:middle]]
        for seq, entries in decoded[middle:]:
            again.rows.append((seq, []))
            for entry in entries:
                again._write(entry)
        assert state_of(again.state) == state_of(ledger.state)
        # The order of the memories is what forgetting goes by.
        assert list(again.state.closed) == list(ledger.state.closed)


@given(histories)
@settings(max_examples=60, deadline=None)
def test_a_history_asked_twice_charges_once(history: list[Any]) -> None:
    ledger = Ledger(CATALOG)
    for step in history:
        if isinstance(step, int):
            ledger.pass_time(step)
            continue
        answer = ledger.ask(step)
        if isinstance(answer, Refused | Failed):
            assert ledger.unchanged_by(step) == answer
        else:
            assert ledger.unchanged_by(step) == answer, "a repeat got another answer"


@given(histories)
@settings(max_examples=60, deadline=None)
def test_charged_is_consumed_less_repaid_plus_incurred(history: list[Any]) -> None:
    ledger = run(history)
    charged: dict[str, int] = {}
    for entry in ledger.entries:
        if isinstance(entry, SessionSettled):
            charged[entry.tariff.unit] = charged.get(entry.tariff.unit, 0) + entry.charged
    for unit in {bucket.unit for bucket in ledger.state.buckets.values()} | set(charged):
        debt = ledger.state.debts.get(unit)
        incurred, repaid = (debt.incurred, debt.repaid) if debt else (0, 0)
        consumed = sum(bucket.consumed for bucket in ledger.state.buckets.values() if bucket.unit == unit)
        assert charged.get(unit, 0) == consumed - repaid + incurred
