"""Applies entries to sessions, their windows, and the memory of closed sessions."""

from typing import Final, TypeVar

import msgspec

from services.accounting.core.account.due import due_no_later_than
from services.accounting.core.account.runs import lineage
from services.accounting.core.account.state import (
    COUNTERS_KEPT_MIN,
    HOUR_US,
    SESSION_UNIT,
    WORK_HOURS,
    Account,
    Applies,
    ClosedSession,
    Counter,
    Debt,
    KeyedCall,
    Loss,
    Session,
    SubjectLimits,
    SweptSession,
    Work,
    line_of,
)
from services.accounting.core.amounts import worst_case
from services.accounting.core.commands import CallName, CloseCause, Granted, Settled
from services.accounting.core.entries import LimitsSet, SessionCreated, SessionSettled, SessionUpdated, WindowOpened
from services.token_classes import NOTHING

# A closed session's last answer is remembered this long; so is a swept session, whose Release may still come.
CLOSED_MEMORY_US: Final = 15 * 60 * 1_000_000
SWEPT_MEMORY_US: Final = 7 * 24 * 3_600 * 1_000_000
# The idempotency key of a call is remembered this long after its end. Where an account has more keys than this, the oldest are
# forgotten earlier, but not before their closed sessions.
KEYED_MEMORY_US: Final = 24 * 3_600 * 1_000_000
KEYED_MAX: Final = 4_096

Remembered = TypeVar("Remembered", ClosedSession, SweptSession)


def _created(account: Account, entry: SessionCreated, seq: int) -> None:
    line = entry.line or line_of("", "", entry.tariff.unit)
    name = CallName.within(entry.digest)
    session = Session(
        charging_id=entry.charging_id,
        number=entry.number,
        digest=entry.digest,
        model_id=entry.model_id,
        key_id=entry.key_id,
        member_id=entry.member_id,
        tariff=entry.tariff,
        input_bound=entry.input_bound,
        output_limit=entry.output_limit,
        answer=Granted(
            entry.output_granted,
            entry.output_payable,
            entry.output_threshold,
            entry.validity_us,
            entry.final,
            entry.offering_id,
            entry.final_action,
        ),
        hold=dict(entry.hold),
        used=NOTHING,
        created_us=entry.time_us,
        renewed_us=entry.time_us,
        lines={line: entry.tariff, **entry.more_lines} if entry.more_lines else {line: entry.tariff},
        estimates=entry.estimates or {line: worst_case(entry.tariff, entry.input_bound)},
        input_reserved=entry.input_bound if entry.input_reserved < 0 else entry.input_reserved,
        expected=entry.expected,
        counters=entry.counters,
        tokens_counted=entry.tokens_counted,
        output_window=entry.output_window,
        wholesale=entry.wholesale,
        debt_limit=entry.debt_limit,
        call_key=name.key if name else b"",
    )
    account.sessions[entry.charging_id] = session
    if name is not None:
        account.keyed[name.key] = KeyedCall(entry.charging_id, name.content)
    if entry.windows_opened:
        _open_windows(account, entry.windows_opened, entry.time_us)
    _reserve(account, session, entry.hold)
    if session.counters:
        counters = account.counters
        for counter_id, start_us in session.counters:
            counter = counters[counter_id]
            if counter.unit == SESSION_UNIT and counter.start_us == start_us:
                counter.reserved += 1
    if entry.arrivals:
        account.arrivals.update(entry.arrivals)
    due_no_later_than(account, session.sweep_us)


def _reserve(account: Account, session: Session, amounts: tuple[tuple[str, int], ...]) -> None:
    """Moves amounts from remaining to reserved, and counts them as reserved in the session's windows."""
    buckets = account.buckets
    for bucket_id, amount in amounts:
        bucket = buckets[bucket_id]
        bucket.remaining -= amount
        bucket.reserved += amount
        if session.counters:
            _count(account, session.counters, bucket.unit, 0, amount)


def _count(account: Account, counters: tuple[tuple[str, int], ...], unit: str, used: int, reserved: int) -> None:
    """Adds to the counters of a unit, as far as their window is still the one that the session counts in."""
    for counter_id, start_us in counters:
        counter = account.counters.get(counter_id)
        if counter is not None and counter.unit == unit and counter.start_us == start_us:
            counter.used += used
            counter.reserved += reserved


def _open_windows(account: Account, windows: tuple[WindowOpened, ...], time_us: int) -> None:
    for window in windows:
        account.counters[window.counter_id] = Counter(window.unit, window.start_us, window.end_us)
    if len(account.counters) > account.counters_swept_at:
        for counter_id in [key for key, counter in account.counters.items() if 0 < counter.end_us <= time_us]:
            del account.counters[counter_id]
        account.counters_swept_at = max(COUNTERS_KEPT_MIN, 2 * len(account.counters))


def _updated(account: Account, entry: SessionUpdated, seq: int) -> None:
    session = account.sessions[entry.charging_id]
    session.number = entry.number
    session.digest = entry.digest
    session.wanted = entry.wanted
    session.used = entry.used
    if entry.attempts:
        session.attempts = entry.attempts
    session.renewed_us = entry.time_us
    before = session.answer
    session.answer = Granted(
        entry.output_granted,
        entry.output_payable,
        entry.output_threshold,
        before.validity_us,
        entry.final,
        before.offering_id,
        before.final_action,
    )
    if entry.hold_added:
        hold = session.hold
        for bucket_id, amount in entry.hold_added:
            hold[bucket_id] = hold.get(bucket_id, 0) + amount
        _reserve(account, session, entry.hold_added)
    if entry.arrivals:
        account.arrivals.update(entry.arrivals)
        session.tokens_counted = entry.tokens_counted


def _settled(account: Account, entry: SessionSettled, seq: int) -> None:
    session = account.sessions.get(entry.charging_id)
    earlier = account.swept.get(entry.charging_id) if session is None else None
    counters = session.counters if session else earlier.counters if earlier else entry.counters
    if entry.windows_opened:
        _open_windows(account, entry.windows_opened, entry.time_us)
    _pay(account, entry, counters)
    if account.runs and entry.record_number == 1 and entry.close_cause != CloseCause.REJECTED:
        for run in lineage(account, entry.key_id):
            run.calls += 1
    if entry.absorbed:
        account.losses.setdefault(entry.tariff.unit, Loss()).absorbed += entry.absorbed
    if entry.paid_worth or entry.unpaid_worth:
        _count_work(account, entry)
    if entry.arrivals:
        account.arrivals.update(entry.arrivals)
    if entry.cached_share >= 0:
        account.cached_shares[entry.model_id] = entry.cached_share
    line = entry.line or line_of("", "", entry.tariff.unit)
    if entry.close_cause == CloseCause.SWEPT:
        _remember_swept(account, entry, session, line, seq)
    else:
        _remember_closed(account, entry, session, seq)
    if entry.more_records:
        return
    if session is not None:
        _end(account, session)
        del account.sessions[entry.charging_id]
        if session.call_key:
            _end_keyed(account, session.call_key, entry)
    _forget(account, entry.time_us)


def _pay(account: Account, entry: SessionSettled, counters: tuple[tuple[str, int], ...]) -> None:
    """Moves a record's amounts: from its hold, back from the hold, from free balance, and into debt."""
    buckets = account.buckets
    for bucket_id, amount in entry.held_debits:
        bucket = buckets[bucket_id]
        bucket.reserved -= amount
        bucket.consumed += amount
        if counters:
            _count(account, counters, bucket.unit, amount, -amount)
    for bucket_id, amount in entry.released:
        bucket = buckets[bucket_id]
        bucket.reserved -= amount
        if bucket.ended:
            bucket.expired += amount
        else:
            bucket.remaining += amount
        if counters:
            _count(account, counters, bucket.unit, 0, -amount)
    for bucket_id, amount in entry.free_debits:
        bucket = buckets[bucket_id]
        bucket.remaining -= amount
        bucket.consumed += amount
        if counters:
            _count(account, counters, bucket.unit, amount, 0)
    if entry.debt:
        unit = entry.tariff.unit
        account.debts.setdefault(unit, Debt()).incurred += entry.debt
        if counters:
            _count(account, counters, unit, entry.debt, 0)


def _end(account: Account, session: Session) -> None:
    """Takes an ended session out of the counters of sessions open at once."""
    for counter_id, start_us in session.counters:
        counter = account.counters.get(counter_id)
        if counter is not None and counter.unit == SESSION_UNIT and counter.start_us == start_us:
            counter.reserved -= 1


def _end_keyed(account: Account, call_key: bytes, last: SessionSettled) -> None:
    """Notes the end of a named call, or forgets its name where nothing was used and nothing can be charged any more.

    The late Release of a swept session may still charge.
    """
    keyed = account.keyed.pop(call_key)
    # Where there are several records, each has usage.
    if any(last.usage) or last.close_cause == CloseCause.SWEPT:
        keyed.ended_us = last.time_us
        account.keyed[call_key] = keyed


def _count_work(account: Account, entry: SessionSettled) -> None:
    hour = entry.time_us // HOUR_US
    work = account.work
    if not work or work[-1].hour < hour:
        while work and work[0].hour <= hour - WORK_HOURS:
            del work[0]
        work.append(Work(hour))
    work[-1].paid += entry.paid_worth
    if entry.unpaid_worth:
        work[-1].unpaid += entry.unpaid_worth
        account.last_unpaid_us = entry.time_us


def _remember_swept(account: Account, entry: SessionSettled, session: Session | None, line: str, seq: int) -> None:
    swept = account.swept.get(entry.charging_id)
    if swept is None:
        swept = account.swept[entry.charging_id] = SweptSession(
            number=entry.number,
            record_number=entry.record_number,
            charged=0,
            model_id=entry.model_id,
            key_id=entry.key_id,
            member_id=entry.member_id,
            offering_id=entry.offering_id,
            tariff=entry.tariff,
            created_us=entry.created_us,
            closed_us=entry.time_us,
            sequence_numbers=(seq,),
            lines=session.lines if session else {line: entry.tariff},
            counters=session.counters if session else (),
            tokens_counted=session.tokens_counted if session else 0,
            wholesale=session.wholesale if session else (),
            debt_limit=session.debt_limit if session else -1,
            run_label=session.run_label if session else "",
        )
    if entry.wholesale is not None:
        swept.claim, swept.claimed = entry.wholesale, sum(entry.wholesale_amounts)
    rated = entry.charged + entry.absorbed
    swept.record_number = entry.record_number
    swept.charged += rated
    swept.usages[line] = entry.usage
    swept.charges[line] = rated


def _remember_closed(account: Account, entry: SessionSettled, session: Session | None, seq: int) -> None:
    charges = (entry.tariff.unit, entry.charged, entry.debt)
    earlier = account.closed.get(entry.charging_id)
    swept = account.swept.get(entry.charging_id)
    if swept is not None and not entry.more_records:
        del account.swept[entry.charging_id]
    if earlier is None:
        # A sweep and the late Release that triggered it can stand in one row.
        numbers = tuple(number for number in swept.sequence_numbers if number != seq) if swept else ()
        answer = Settled(*charges, absorbed=entry.absorbed)
        account.closed[entry.charging_id] = ClosedSession(entry.number, entry.digest, answer, entry.time_us, (*numbers, seq))
    else:
        answer = earlier.answer
        earlier.answer = msgspec.structs.replace(
            answer,
            others=(*answer.others, charges),
            others_absorbed=others_absorbed(answer, entry.absorbed),
        )


def others_absorbed(answer: Settled, absorbed: int) -> tuple[int, ...]:
    """The absorbed amount of each tariff after the first, once there is a second; empty while all are 0."""
    if not absorbed and not answer.others_absorbed:
        return ()
    return (*(answer.others_absorbed or (0,) * len(answer.others)), absorbed)


def _forget(account: Account, now_us: int) -> None:
    """Drops closed and swept sessions, and names of calls, whose memory has run out; all stand in the order of closing."""
    _forget_before(account.closed, now_us - CLOSED_MEMORY_US)
    _forget_before(account.swept, now_us - SWEPT_MEMORY_US)
    keyed = account.keyed
    while keyed:
        call_key = next(iter(keyed))
        age_us = now_us - (keyed[call_key].ended_us or now_us)
        if age_us <= (KEYED_MEMORY_US if len(keyed) <= KEYED_MAX else CLOSED_MEMORY_US):
            # An open call in front keeps those after it for as long as it takes.
            return
        del keyed[call_key]


def _forget_before(memory: dict[str, Remembered], horizon_us: int) -> None:
    while memory:
        charging_id = next(iter(memory))
        if memory[charging_id].closed_us >= horizon_us:
            return
        del memory[charging_id]


def _limits_set(account: Account, entry: LimitsSet, seq: int) -> None:
    if entry.limits or entry.valid_until_us:
        account.limits[entry.subject] = SubjectLimits(entry.limits, entry.valid_until_us)
    else:
        account.limits.pop(entry.subject, None)
    account.forget_derived()


APPLY: Final[Applies] = {
    SessionCreated: _created,
    SessionUpdated: _updated,
    SessionSettled: _settled,
    LimitsSet: _limits_set,
}
