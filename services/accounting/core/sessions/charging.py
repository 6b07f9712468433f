"""The rules of charging sessions: Create, Update, Release, Event, and the sweep. Pure and deterministic.

Time and catalog are arguments. Nothing is changed here: each rule gives the entries that `evolve` applies, and an answer.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

import msgspec

from services.accounting.core import limits, losses
from services.accounting.core.account.sessions import CLOSED_MEMORY_US, others_absorbed
from services.accounting.core.account.state import Account, Session, SweptSession
from services.accounting.core.amounts import (
    GRANTED_MAX,
    RATE_BASE,
    SHARE_BASE,
    TOKENS_MAX,
    Estimate,
    PinnedTariff,
    cached_of,
    charges_of,
    cheapest,
    expected,
    tokens_of,
    worst_case_in,
)
from services.accounting.core.balance import (
    Charge,
    Reservation,
    Room,
    Source,
    free_sources,
    held_sources,
    holding,
    less_hold,
    reserve,
    settle,
    settle_one,
    take,
    usable,
)
from services.accounting.core.commands import (
    ChargeEvent,
    CloseCause,
    CreateSession,
    Decision,
    Fault,
    Granted,
    GrantedUntil,
    Provenance,
    Refused,
    ReleaseSession,
    ResultCode,
    Settled,
    UpdateSession,
    digest_of,
    fail,
)
from services.accounting.core.entries import (
    Arrivals,
    Entry,
    NoticeReached,
    SessionCreated,
    SessionSettled,
    SessionUpdated,
    VendorAttempt,
    Wholesale,
    WindowOpened,
)
from services.accounting.core.offerings import ChargingCatalog, Plan, plan
from services.runtime.identifiers import uuid7_time_us
from services.token_classes import FIRST, NOTHING, TOKEN_CLASSES, Vector, folded, total_input, total_output

# A charging_id this much ahead of the clock is refused; so a closed one is remembered for as long as it could be taken.
CLOCK_AHEAD_US_MAX: Final = 60 * 1_000_000
CHARGING_ID_AGE_US_MAX: Final = CLOSED_MEMORY_US - CLOCK_AHEAD_US_MAX
# More is asked for when a quarter of the window is left.
_THRESHOLD_DIVISOR: Final = 4
# A metered session that finds less than this part of a window free waits, if others hold the rest.
_SMALL_WINDOW_DIVISOR: Final = 8
# An answer of fewer output tokens than it asks for and than these is of no use: the next call is refused, crumbs or not.
_USEFUL_OUTPUT: Final = 64
# A window lasts about this long at the stream's speed, and is this many times the offering's at the most.
_WINDOW_US: Final = 8 * 1_000_000
_WINDOW_GROWTH_MAX: Final = 4
_WINDOW_SHRINKAGE_MAX: Final = 4
# Under the policy `expected`, the part of the expected input that is certain to come.
_CERTAIN_NUMERATOR: Final = 3
_CERTAIN_DENOMINATOR: Final = 4
# How fast the learned cached share follows: a quarter of the way with each session.
_LEARNING_DIVISOR: Final = 4
# Attempts that ended so have cost the vendor something.
_COSTLY_OUTCOMES: Final = frozenset({"answered", "broken", "timeout", "garbage"})


def create(account: Account, command: CreateSession, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Opens a session and holds what it may need, or says what it lacks."""
    digest = digest_of(command)
    if (known := _known(account, command, digest, now_us)) is not None:
        return _until(account, catalog, command.key_id, command.member_id, now_us, known)
    tokens = command.input_bound if command.input_expected < 0 else min(command.input_expected, command.input_bound)
    if not (0 <= command.input_bound <= TOKENS_MAX and 0 <= command.output_limit <= TOKENS_MAX):
        return fail(Fault.AMOUNT_OVERFLOW, f"input_tokens_bound and output_tokens_limit must be 0 to {TOKENS_MAX}")
    planned = plan(account, catalog, command.model_id, now_us)
    if isinstance(planned, ResultCode):
        return Decision((), Refused(planned, "", 0, 0, 0, held=False))
    if (account.debts or account.last_unpaid_us) and (refusal := losses.refusal(account, planned, now_us)) is not None:
        return _refuse(refusal, planned)
    lines, offering, worst_cases, debt_limit = planned
    rules = _rules_of(account, catalog, command.key_id, command.member_id)
    admission = limits.admit(account, rules, now_us, catalog.time_zone, tokens)
    if isinstance(admission, Refused):
        return _refuse(admission, planned)
    if offering.expected:
        share = account.cached_shares.get(command.model_id, 0)
        estimates = {line: expected(tariff, tokens, share) for line, tariff in lines.items()}
        input_tokens = tokens
    else:
        input_tokens = command.input_bound
        if offering.calibrated and 0 <= command.input_calibrated < input_tokens:
            input_tokens = command.input_calibrated
        estimates = {line: worst_case_in(cases, input_tokens) for line, cases in worst_cases.items()}
    window = offering.output_window
    wanted = min(command.output_limit, window) if command.metered else command.output_limit
    # A metered session can begin on a small window, since more may come; one that is not gets all it wants or all there is.
    enough = min(wanted, max(1, window // _SMALL_WINDOW_DIVISOR)) if command.metered else wanted
    first, estimate = next(iter(estimates.items()))
    whole = estimate.amount(input_tokens, command.output_limit)
    if whole > GRANTED_MAX:
        return fail(Fault.AMOUNT_OVERFLOW, "what this session could cost is more than an account can have")
    room = dict(admission.room) if admission.room else None
    sources = free_sources(account, lines, now_us, room, whole, [])
    if len(sources) == 1 and sources[0].line == first and sources[0].amount >= whole:
        granted, payable_output = wanted, command.output_limit
    else:
        payable = reserve(sources, estimates, input_tokens, command.output_limit)
        granted = -1 if payable.input_missing else min(wanted, payable.output)
        payable_output = payable.output
    others_hold = False
    useful = min(command.output_limit, _USEFUL_OUTPUT)
    if granted < wanted or payable_output < useful:
        reserved = sum(bucket.reserved for bucket in usable(account, lines, now_us))
        others_hold = reserved > 0
    if granted < enough or payable_output < useful:
        hopeful = _hopeful_output(account, lines, sources, tokens, command.output_limit, None) if offering.expected else -1
        if hopeful >= useful and (hopeful >= enough or not others_hold):
            granted, payable_output = min(hopeful, wanted), hopeful
        elif others_hold or granted < 0 or payable_output < useful:
            # While others hold balance, what is left is no measure: better wait than begin an answer that ends too soon.
            refused = _short(account, lines, estimates, input_tokens, useful, now_us, sources, reserved)
            return _refuse(_by_cap(account, refused, admission, lines, estimates, input_tokens, useful, now_us), planned)
    needed = reserve(sources, estimates, input_tokens, granted)
    created = SessionCreated(
        account_id=account.account_id,
        time_us=now_us,
        charging_id=command.charging_id,
        number=command.number,
        digest=digest,
        model_id=command.model_id,
        key_id=command.key_id,
        member_id=command.member_id,
        offering_id=offering.offering_id,
        tariff=next(iter(lines.values())),
        input_bound=command.input_bound,
        output_limit=command.output_limit,
        output_granted=granted,
        output_payable=max(granted, payable_output),
        output_threshold=granted // _THRESHOLD_DIVISOR,
        final=granted < wanted and not others_hold,
        validity_us=catalog.validity_us,
        hold=take(sources, needed.amounts),
        line=next(iter(lines)),
        more_lines=dict(list(lines.items())[1:]) if len(lines) > 1 else {},
        estimates=estimates,
        input_reserved=input_tokens,
        expected=offering.expected,
        counters=admission.counters,
        windows_opened=admission.windows_opened,
        arrivals=admission.arrivals,
        tokens_counted=tokens if rules.token_rates else 0,
        output_window=window,
        final_action=offering.final_action,
        wholesale=catalog.wholesale(command.model_id, now_us),
        debt_limit=debt_limit,
    )
    answer = Granted(
        granted,
        created.output_payable,
        created.output_threshold,
        catalog.validity_us,
        created.final,
        offering.offering_id,
        offering.final_action,
    )
    return _until(account, catalog, command.key_id, command.member_id, now_us, Decision((created,), answer))


def _until(account: Account, catalog: ChargingCatalog, key_id: str, member_id: str, now_us: int, decision: Decision) -> Decision:
    """The same, where a grant says when the session must end."""
    answer = decision.answer
    # Only limits that were set on a subject have an end, and few accounts have any.
    if not account.limits or type(answer) is not Granted:
        return decision
    rules = _rules_of(account, catalog, key_id, member_id)
    if not rules.valid_until_us:
        return decision
    until = GrantedUntil(
        answer.output_granted,
        answer.output_payable,
        answer.output_threshold,
        answer.validity_us,
        answer.final,
        answer.offering_id,
        answer.final_action,
        max(0, rules.valid_until_us - now_us),
        rules.ended_subject,
    )
    return Decision(decision.entries, until)


def _rules_of(account: Account, catalog: ChargingCatalog, key_id: str, member_id: str) -> limits.Rules:
    base = catalog.offerings.get(account.offering_id)
    return limits.rules_for(account, base.limits if base else (), key_id, member_id)


def _refuse(refused: Refused, planned: Plan) -> Decision:
    offering = planned.rules
    told = msgspec.structs.replace(refused, offering_id=offering.offering_id, final_action=offering.final_action)
    return Decision((), told)


def _short(
    account: Account,
    lines: dict[str, PinnedTariff],
    estimates: dict[str, Estimate],
    input_tokens: int,
    useful: int,
    now_us: int,
    sources: Sequence[Source],
    reserved: int,
) -> Refused:
    """The refusal of a session that the balance does not cover: what is needed of the last line's unit, and what there is of it.

    `useful`: how many output tokens an answer must have.
    """
    line = next(reversed(lines))
    unit = lines[line].unit
    earlier = [source for source in sources if lines[source.line].unit != unit]
    missing = reserve(earlier, estimates, input_tokens, 0).input_missing if earlier else input_tokens
    needed = estimates[line].amount(missing, useful)
    free = sum(source.amount for source in sources if lines[source.line].unit == unit)
    all_sources = _whole_sources(account, lines, now_us)
    held = reserved > 0 and _covers(reserve(all_sources, estimates, input_tokens, useful), useful)
    return Refused(ResultCode.QUOTA_LIMIT_REACHED, unit, needed, free, reserved, held)


def _covers(reservation: Reservation, output: int) -> bool:
    return not reservation.input_missing and reservation.output >= output


def _whole_sources(account: Account, lines: dict[str, PinnedTariff], now_us: int) -> list[Source]:
    """The usable buckets with what others hold of them, as if nobody held anything."""
    sources: list[Source] = []
    for bucket in usable(account, lines, now_us):
        if not sources or sources[-1].line != bucket.line:
            sources.append(Source(bucket.line))
        sources[-1].add(bucket.bucket_id, bucket.remaining + bucket.reserved)
    return sources


def _by_cap(
    account: Account,
    refused: Refused,
    admission: limits.Admission,
    lines: dict[str, PinnedTariff],
    estimates: dict[str, Estimate],
    input_tokens: int,
    useful: int,
    now_us: int,
) -> Refused:
    """The refusal as a limit's, if the balance would have covered the session but for it."""
    if admission.room is None:
        return refused
    whole = estimates[next(iter(estimates))].amount(input_tokens, useful)
    if not _covers(reserve(free_sources(account, lines, now_us, None, whole, []), estimates, input_tokens, useful), useful):
        return refused
    unit = next((tariff.unit for tariff in lines.values() if tariff.unit in admission.tightest), "")
    if not unit:
        return refused
    rule = admission.tightest[unit]
    line = next(line for line, tariff in lines.items() if tariff.unit == unit)
    needed = estimates[line].amount(input_tokens, useful)
    counter = account.counters.get(rule.name)
    fresh = any(window.counter_id == rule.name for window in admission.windows_opened)
    reserved = 0 if counter is None or fresh else counter.reserved
    return Refused(
        ResultCode.QUOTA_LIMIT_REACHED,
        unit,
        needed,
        admission.room[unit],
        reserved,
        held=admission.room[unit] + reserved >= needed,
        limit_id=rule.name,
        retry_after_us=max(0, counter.end_us - now_us) if counter and not fresh and counter.end_us else 0,
    )


def _hopeful_output(
    account: Account,
    lines: dict[str, PinnedTariff],
    sources: Sequence[Source],
    input_tokens: int,
    output_limit: int,
    session: Session | None,
) -> int:
    """Output tokens that the balance may still pay for if all open sessions cost the least they can; -1: not even the input.

    Under the policy `expected` a session must not be refused for what others only reserve: the least that they cost is all of their
    certain input from the cache. The rest of their holds counts as free here, though it is not taken from them.
    """
    floors = {line: cheapest(tariff) for line, tariff in lines.items()}
    slack: dict[str, int] = {}
    for other in account.sessions.values():
        if other is session or not (held_by := held_sources(account, other.hold)):
            continue
        line = held_by[0].line
        if line in floors:
            certain = other.input_reserved * _CERTAIN_NUMERATOR // _CERTAIN_DENOMINATOR
            tariff = other.lines[line]
            least = max(floors[line].amount(certain, 0), sum(charges_of(tariff, other.used)))
            held = sum(other.hold.values())
            slack[line] = slack.get(line, 0) + max(0, held - least)
    hopeful = list(sources)
    for line, amount in slack.items():
        source = Source(line)
        source.amount = amount
        hopeful.append(source)
    certain = input_tokens * _CERTAIN_NUMERATOR // _CERTAIN_DENOMINATOR
    payable = reserve(hopeful, floors, certain, output_limit)
    return -1 if payable.input_missing else payable.output


def update(account: Account, command: UpdateSession, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Notes usage so far, renews the validity, and holds more if the session wants more and the balance has it."""
    session = account.sessions.get(command.charging_id)
    if session is None:
        return _no_session(account, command, digest_of(command))
    used = command.used
    if not catalog.extended and len(used) > FIRST:
        used = folded(used)
    if command.number <= session.number:
        # The content itself is remembered of an Update, which is cheaper than a digest of it.
        if (
            command.number == session.number
            and not session.digest
            and command.output_wanted == session.wanted
            and (command.used == session.used or _is_folded(command.used, session.used))
        ):
            return _until(account, catalog, session.key_id, session.member_id, now_us, Decision((), session.answer))
        return _repeat(session, command.number, digest_of(command)) or _conflict(session.charging_id, command.number)
    if account.limits and (message := _rules_of(account, catalog, session.key_id, session.member_id).ended_at(now_us)):
        # What it holds stays held for its Release.
        return fail(Fault.SUBJECT_ENDED, message)
    # A sweep may have to charge it, and nobody could refuse it then.
    if (absurd := _absurd(used) or _excess(account, session.lines, used)) is not None:
        return absurd
    before = session.answer
    rules = _rules_of(account, catalog, session.key_id, session.member_id) if session.counters or session.tokens_counted else None
    wanted = min(command.output_wanted, session.output_limit)
    if wanted > before.output_granted:
        wanted = min(wanted, before.output_granted + _more_at_once(session, used, now_us))
    granted, payable, hold_added = _extend(account, session, wanted, rules, now_us)
    # Of a window that has grown, a quarter is more.
    threshold = max(before.output_threshold, (granted - before.output_granted) // _THRESHOLD_DIVISOR)
    final = granted < wanted
    arrivals: Arrivals = ()
    counted = session.tokens_counted
    if rules is not None and rules.token_rates and (more := tokens_of(used) - counted) > 0:
        arrivals = limits.counted_tokens(account, rules, now_us, more)
        counted += more
    updated = SessionUpdated(
        account.account_id,
        now_us,
        session.charging_id,
        command.number,
        b"",
        used,
        granted,
        payable,
        threshold,
        final,
        hold_added,
        arrivals,
        counted,
        command.output_wanted,
    )
    answer = Granted(granted, payable, threshold, before.validity_us, final, before.offering_id, before.final_action)
    return _until(account, catalog, session.key_id, session.member_id, now_us, Decision((updated,), answer))


def _extend(
    account: Account, session: Session, wanted: int, rules: limits.Rules | None, now_us: int
) -> tuple[int, int, tuple[tuple[str, int], ...]]:
    """How many output tokens the session comes to: granted of those `wanted`, and payable at most; and what is held for it now."""
    room = limits.room_of(account, rules, session.counters) if rules is not None else None
    before = session.answer.output_granted
    limit = session.output_limit
    if len(session.lines) == 1 and not session.expected:
        return _extend_one(account, session, wanted, room, now_us)
    sources = held_sources(account, session.hold)
    first = next(iter(session.estimates.values()))
    free_sources(account, session.lines, now_us, room, first.amount(session.input_reserved, limit), sources)
    reached = reserve(sources, session.estimates, session.input_reserved, limit).output
    payable = max(before, reached)
    if reached < wanted and session.expected:
        reached = max(reached, _hopeful_output(account, session.lines, sources, session.input_reserved, limit, session))
        payable = max(before, reached)
    granted = max(before, min(wanted, reached))
    needed = reserve(sources, session.estimates, session.input_reserved, granted)
    added = less_hold(take(sources, needed.amounts), session.hold)
    if added and not session.expected:
        # Joined with what was held before, it may pay for a token less: whole tokens a source.
        held = reserve(holding(account, session.hold, added), session.estimates, session.input_reserved, granted)
        if held.input_missing or held.output < before:
            return before, payable, ()
        granted = held.output
    return granted, payable, added


def _extend_one(
    account: Account, session: Session, wanted: int, room: Room | None, now_us: int
) -> tuple[int, int, tuple[tuple[str, int], ...]]:
    """The same where one tariff prices all that the session may burn, as it is for nearly every one: a sum is enough."""
    ((line, estimate),) = session.estimates.items()
    before = session.answer.output_granted
    limit = session.output_limit
    input_tokens = session.input_reserved
    held = sum(session.hold.values())
    missing = estimate.amount(input_tokens, limit) - held
    allowed = missing if room is None else min(missing, room.get(session.lines[line].unit, missing))
    free = 0
    parts = []
    if allowed > 0:
        buckets = account.buckets
        for bucket_id in account.burn_order:
            bucket = buckets[bucket_id]
            remaining = bucket.remaining
            if remaining > 0 and bucket.line == line and bucket.valid_from_us <= now_us < bucket.valid_until_us:
                parts.append((bucket_id, remaining))
                free += remaining
                if free >= allowed:
                    free = allowed
                    break
    payable = limit
    if free < missing:
        payable = estimate.output_payable(held + free - estimate.input_amount(input_tokens), limit)
        payable = max(before, payable)
    granted = max(before, min(wanted, payable))
    more = estimate.amount(input_tokens, granted) - held
    if more <= 0:
        return granted, payable, ()
    first_id, first_amount = parts[0]
    if more <= first_amount:
        return granted, payable, ((first_id, more),)
    added = []
    for bucket_id, remaining in parts:
        part = min(remaining, more)
        added.append((bucket_id, part))
        more -= part
        if not more:
            break
    return granted, payable, tuple(added)


def _more_at_once(session: Session, used: Vector, now_us: int) -> int:
    """How many output tokens to grant beyond the last grant, so that the next request for more comes in about 8 s.

    Reckoned from the stream's speed since the last request; three quarters of what is granted pass until more is asked for.
    """
    window = session.output_window or session.output_limit
    made = total_output(used) - total_output(session.used)
    elapsed_us = max(1, now_us - session.renewed_us)
    by_speed = made * _WINDOW_US * _THRESHOLD_DIVISOR // (elapsed_us * (_THRESHOLD_DIVISOR - 1))
    return min(max(by_speed, window // _WINDOW_SHRINKAGE_MAX, 1), window * _WINDOW_GROWTH_MAX)


def _is_folded(used: Vector, known: Vector) -> bool:
    """Whether a usage was noted folded, or is told folded, as while a member of the cell knew no later classes."""
    return (len(used) == FIRST) != (len(known) == FIRST) and folded(used) == folded(known)


def _understood(command: ReleaseSession) -> ReleaseSession:
    """A Release as members of the cell understand it that know the first token classes alone."""
    is_revoked = command.close_cause == CloseCause.REVOKED
    return msgspec.structs.replace(
        command,
        used=folded(command.used),
        unpaid=(),
        close_cause=CloseCause.QUOTA_EXHAUSTED if is_revoked else command.close_cause,
    )


def release(account: Account, command: ReleaseSession, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Settles a session: charges what was used, frees the rest. A swept session is charged what its sweep did not."""
    digest = digest_of(command)
    if not catalog.extended:
        command = _understood(command)
    session = account.sessions.get(command.charging_id)
    if session is None:
        if command.charging_id in account.swept:
            return _release_late(account, command, digest, now_us, catalog)
        return _no_session(account, command, digest)
    if (repeat := _repeat(session, command.number, digest)) is not None:
        return repeat
    if (absurd := _impossible(account, session.lines, command)) is not None:
        return absurd
    rules = _rules_of(account, catalog, session.key_id, session.member_id) if session.tokens_counted else None
    entries, settled = _settle(
        account,
        session,
        now_us=now_us,
        number=command.number,
        digest=digest,
        used=command.used,
        close_cause=command.close_cause,
        provenance=command.provenance,
        attempts=command.attempts,
        arrivals=limits.counted_tokens(account, rules, now_us, tokens_of(command.used) - session.tokens_counted) if rules else (),
        debt_limit=session.debt_limit if catalog.extended else -1,
        unpaid=command.unpaid,
        catalog=catalog,
    )
    return Decision(entries, settled)


def _release_late(account: Account, command: ReleaseSession, digest: bytes, now_us: int, catalog: ChargingCatalog) -> Decision:
    swept = account.swept[command.charging_id]
    if command.number <= swept.number:
        return _sequence_invalid(command.number, swept.number)
    if (absurd := _impossible(account, swept.lines, command)) is not None:
        return absurd
    charges = _late_charges(account, swept, command.used, now_us)
    records = [_Record(charge, amount, (), tuple(charge.debits), charge.debt) for charge, amount in charges]
    _absorb(account, records, swept.debt_limit if catalog.extended else -1)
    rules = _rules_of(account, catalog, swept.key_id, swept.member_id) if swept.tokens_counted else None
    entries = _records(
        account,
        records,
        now_us=now_us,
        charging_id=command.charging_id,
        number=command.number,
        digest=digest,
        first_record=swept.record_number + 1,
        model_id=swept.model_id,
        key_id=swept.key_id,
        member_id=swept.member_id,
        offering_id=swept.offering_id,
        used=command.used,
        released=(),
        close_cause=command.close_cause,
        provenance=command.provenance,
        attempts=command.attempts,
        created_us=swept.created_us,
        arrivals=limits.counted_tokens(account, rules, now_us, tokens_of(command.used) - swept.tokens_counted) if rules else (),
        wholesale=_owed(swept.wholesale, command.attempts),
        unpaid=command.unpaid,
        catalog=catalog,
    )
    return Decision(entries, _settled_answer(records))


def _late_charges(account: Account, swept: SweptSession, used: Vector, now_us: int) -> list[tuple[Charge, int]]:
    """What a late Release charges by line, and how much that is beyond what the sweep charged.

    What the sweep charged was the holder's own report; if the end came out lower, that report stands.
    """
    if len(swept.lines) == 1:
        line, tariff = next(iter(swept.lines.items()))
        missing = max(0, sum(charges_of(tariff, used)) - swept.charged)
        sources = free_sources(account, swept.lines, now_us, None, missing, [])
        charge = Charge(line, tariff)
        charge.tokens = list(used)
        charge.amounts = list(charges_of(tariff, used))
        charge.pay(sources, missing)
        return [(charge, missing)]
    taken = {}
    for line, usage in swept.usages.items():
        charge = taken[line] = Charge(line, swept.lines[line])
        charge.tokens = list(usage)
        charge.amounts = list(charges_of(swept.lines[line], usage))
    swept_counts = [sum(counts) for counts in zip_longest(*(charge.tokens for charge in taken.values()), fillvalue=0)]
    more = tuple(max(0, count - before) for count, before in zip_longest(used, swept_counts, fillvalue=0))
    sources = free_sources(account, swept.lines, now_us, None, GRANTED_MAX, [])
    before = {line: charge.charged for line, charge in taken.items()}
    return [
        (charge, charge.charged - before.get(charge.line, 0))
        for charge in settle(swept.lines, more, sources, taken)
        if charge.charged > before.get(charge.line, 0)
    ] or [(next(iter(taken.values())), 0)]


def event(account: Account, command: ChargeEvent, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Charges usage that had no session. It is used already, so that no limit refuses it; it counts against all of them."""
    digest = digest_of(command)
    if (known := _known(account, command, digest, now_us)) is not None:
        return known
    if not catalog.extended:
        command = msgspec.structs.replace(command, used=folded(command.used))
    if (absurd := _absurd(command.used)) is not None:
        return absurd
    planned = plan(account, catalog, command.model_id, now_us)
    if isinstance(planned, ResultCode):
        return Decision((), Refused(planned, "", 0, 0, 0, held=False))
    lines, offering, _, debt_limit = planned
    if (excess := _excess(account, lines, command.used)) is not None:
        return excess
    rules = _rules_of(account, catalog, command.key_id, command.member_id)
    counters, opened = limits.windows(account, rules, now_us, catalog.time_zone)
    sources = free_sources(account, lines, now_us, None, GRANTED_MAX, [])
    records = [
        _Record(charge, charge.charged, (), tuple(charge.debits), charge.debt)
        for charge in settle(lines, command.used, sources) or [Charge(*next(iter(lines.items())))]
    ]
    _absorb(account, records, debt_limit)
    entries = _records(
        account,
        records,
        now_us=now_us,
        charging_id=command.charging_id,
        number=command.number,
        digest=digest,
        first_record=1,
        model_id=command.model_id,
        key_id=command.key_id,
        member_id=command.member_id,
        offering_id=offering.offering_id,
        used=command.used,
        released=(),
        close_cause=CloseCause.NORMAL,
        provenance=command.provenance,
        attempts=command.attempts,
        created_us=now_us,
        arrivals=limits.counted_tokens(account, rules, now_us, tokens_of(command.used)),
        wholesale=_owed(catalog.wholesale(command.model_id, now_us), command.attempts),
        counters=counters,
        windows_opened=opened,
        catalog=catalog,
    )
    return Decision(entries, _settled_answer(records))


def sweep(account: Account, session: Session, due_us: int, *, extended: bool = True) -> list[Entry]:
    """Closes a session whose holder has gone silent: it is charged what it reported last. `extended`: as of the catalog."""
    entries, _ = _settle(
        account,
        session,
        now_us=due_us,
        number=session.number,
        digest=session.digest,
        used=session.used,
        close_cause=CloseCause.SWEPT,
        provenance=Provenance.PARTIAL,
        attempts=(),
        arrivals=(),
        debt_limit=session.debt_limit if extended else -1,
    )
    return entries


class _Record:
    """A session's charge under one tariff, as a journal record: paid from the hold, from what is free, owed, and absorbed."""

    __slots__ = ("absorbed", "charge", "charged", "debt", "free_debits", "held_debits")

    def __init__(
        self,
        charge: Charge,
        charged: int,
        held_debits: tuple[tuple[str, int], ...],
        free_debits: tuple[tuple[str, int], ...],
        debt: int,
    ) -> None:
        self.charge = charge
        self.charged = charged
        self.held_debits = held_debits
        self.free_debits = free_debits
        self.debt = debt
        self.absorbed = 0


def _absorb(account: Account, records: list[_Record], debt_limit: int) -> None:
    """Makes what the account may not owe the operator's loss. Only one record has debt: that of the last line."""
    for record in records:
        if record.debt:
            record.absorbed = losses.beyond_limit(account, record.charge.tariff.unit, record.debt, debt_limit)
            record.debt -= record.absorbed
            record.charged -= record.absorbed


def _settle(
    account: Account,
    session: Session,
    *,
    now_us: int,
    number: int,
    digest: bytes,
    used: Vector,
    close_cause: CloseCause,
    provenance: Provenance,
    attempts: tuple[VendorAttempt, ...],
    arrivals: Arrivals,
    debt_limit: int,
    unpaid: Vector = (),
    catalog: ChargingCatalog | None = None,
) -> tuple[list[Entry], Settled]:
    """Charges a session against its hold in burn order, then what is free, then as debt, as far as it may be owed.

    The rest is absorbed; the rest of the hold is freed.
    """
    lines = session.lines
    sources = held_sources(account, session.hold)
    if len(lines) > 1:
        free_sources(account, lines, now_us, None, GRANTED_MAX, sources)
        charges = settle(lines, used, sources)
    else:
        ((line, tariff),) = lines.items()
        amounts = charges_of(tariff, used)
        if (charged := sum(amounts)) > sum(session.hold.values()):
            free_sources(account, lines, now_us, None, charged, sources)
        charges = [settle_one(line, tariff, used, amounts, sources)]
    hold_left = dict(session.hold)
    records = []
    for charge in charges or [Charge(*next(iter(lines.items())))]:
        held_debits = []
        free_debits = []
        for bucket_id, amount in charge.debits:
            from_hold = min(amount, hold_left.get(bucket_id, 0))
            if from_hold:
                hold_left[bucket_id] -= from_hold
                held_debits.append((bucket_id, from_hold))
            if amount > from_hold:
                free_debits.append((bucket_id, amount - from_hold))
        records.append(_Record(charge, charge.charged, tuple(held_debits), tuple(free_debits), charge.debt))
    _absorb(account, records, debt_limit)
    learned = -1
    if session.expected and (input_tokens := total_input(used)) and provenance == Provenance.VENDOR:
        known = account.cached_shares.get(session.model_id)
        seen = cached_of(used) * SHARE_BASE // input_tokens
        learned = seen if known is None else known + (seen - known) // _LEARNING_DIVISOR
    entries = _records(
        account,
        records,
        now_us=now_us,
        charging_id=session.charging_id,
        number=number,
        digest=digest,
        first_record=1,
        model_id=session.model_id,
        key_id=session.key_id,
        member_id=session.member_id,
        offering_id=session.answer.offering_id,
        used=used,
        released=tuple((bucket_id, amount) for bucket_id, amount in hold_left.items() if amount),
        close_cause=close_cause,
        provenance=provenance,
        attempts=attempts,
        created_us=session.created_us,
        arrivals=arrivals,
        cached_share=learned,
        wholesale=_owed(session.wholesale, attempts),
        unpaid=unpaid,
        catalog=catalog,
    )
    return entries, _settled_answer(records)


def _records(
    account: Account,
    records: list[_Record],
    *,
    now_us: int,
    charging_id: str,
    number: int,
    digest: bytes,
    first_record: int,
    model_id: str,
    key_id: str,
    member_id: str,
    offering_id: str,
    used: Vector,
    released: tuple[tuple[str, int], ...],
    close_cause: CloseCause,
    provenance: Provenance,
    attempts: tuple[VendorAttempt, ...],
    created_us: int,
    arrivals: Arrivals = (),
    cached_share: int = -1,
    wholesale: Wholesale | None = None,
    counters: tuple[tuple[str, int], ...] = (),
    windows_opened: tuple[WindowOpened, ...] = (),
    unpaid: Vector = (),
    catalog: ChargingCatalog | None = None,
) -> list[Entry]:
    """The records of a settled session, one a tariff, and the notices that its charges set off.

    The vendor is owed for what was used and what nobody pays for; the latter is absorbed in the first record. `catalog` values
    the vendor's work; None: it is not counted.
    """
    made = _sum(used, unpaid) if unpaid else used
    owed = charges_of(wholesale.tariff, made) if wholesale else NOTHING
    unpaid_amounts: Vector = ()
    if unpaid:
        unpaid_amounts = losses.rated_unpaid(records[0].charge.tariff, used, unpaid)
        records[0].absorbed += sum(unpaid_amounts)
    paid_worth = unpaid_worth = 0
    if catalog is not None and catalog.extended:
        paid_worth, unpaid_worth = _worths(catalog, records[0].charge.tariff, wholesale, used, unpaid, owed)
    entries: list[Entry] = []
    last = len(records) - 1
    for index, record in enumerate(records):
        charge = record.charge
        usage = charge.usage
        entries.append(
            SessionSettled(
                account_id=account.account_id,
                time_us=now_us,
                charging_id=charging_id,
                number=number,
                digest=digest,
                record_number=first_record + index,
                model_id=model_id,
                key_id=key_id,
                member_id=member_id,
                offering_id=charge.line.split("|", 1)[0] or offering_id,
                tariff=charge.tariff,
                usage=usage,
                class_amounts=tuple(charge.amounts[: len(usage)]),
                charged=record.charged,
                held_debits=record.held_debits,
                free_debits=record.free_debits,
                released=released if index == last else (),
                debt=record.debt,
                close_cause=close_cause,
                provenance=provenance,
                attempts=attempts if index == 0 else (),
                created_us=created_us,
                more_records=index < last,
                line=charge.line,
                arrivals=arrivals if index == 0 else (),
                cached_share=cached_share if index == 0 else -1,
                wholesale=wholesale if index == 0 else None,
                wholesale_amounts=owed if index == 0 else NOTHING,
                wholesale_usage=made if wholesale and index == 0 else NOTHING,
                total_input=total_input(used) if last else -1,
                counters=counters,
                windows_opened=windows_opened if index == 0 else (),
                absorbed=record.absorbed,
                unpaid=unpaid if index == 0 else (),
                unpaid_amounts=unpaid_amounts if index == 0 else (),
                paid_worth=paid_worth if index == 0 else 0,
                unpaid_worth=unpaid_worth if index == 0 else 0,
            )
        )
    entries.extend(_notices(account, records, now_us))
    return entries


def _sum(one: Vector, other: Vector) -> Vector:
    return tuple(a + b for a, b in zip_longest(one, other, fillvalue=0))


def _worths(
    catalog: ChargingCatalog, tariff: PinnedTariff, wholesale: Wholesale | None, used: Vector, unpaid: Vector, owed: Vector
) -> tuple[int, int]:
    """What the vendor's work is worth in micro-yuan: what was used, and what nobody pays for.

    By what the vendor is owed (`owed` for both together), else by the session's own tariff in money.
    """
    unit = wholesale.tariff.unit if wholesale else tariff.unit
    if not unit.startswith("CURRENCY:"):
        return 0, 0
    whole = sum(owed) if wholesale else sum(charges_of(tariff, _sum(used, unpaid)))
    if not unpaid:
        return catalog.worth(whole, unit), 0
    paid = sum(charges_of(wholesale.tariff if wholesale else tariff, used))
    return catalog.worth(paid, unit), catalog.worth(max(0, whole - paid), unit)


def _notices(account: Account, records: list[_Record], now_us: int) -> list[Entry]:
    """A notice for each bucket whose consumption passes a threshold; of several at once, the highest."""
    debits: dict[str, int] = {}
    for record in records:
        for bucket_id, amount in (*record.held_debits, *record.free_debits):
            if account.buckets[bucket_id].notice_percents:
                debits[bucket_id] = debits.get(bucket_id, 0) + amount
    notices: list[Entry] = []
    for bucket_id, amount in debits.items():
        bucket = account.buckets[bucket_id]
        consumed = bucket.consumed + amount
        reached = [percent for percent in bucket.notice_percents if consumed * 100 >= percent * bucket.granted]
        if reached and reached[-1] > bucket.noticed_percent:
            notices.append(NoticeReached(account.account_id, now_us, bucket_id, reached[-1]))
    return notices


def _owed(wholesale: tuple[Wholesale, ...], attempts: tuple[VendorAttempt, ...]) -> Wholesale | None:
    """What the vendor is owed that made what was used: that of the last attempt which cost it something."""
    for attempt in reversed(attempts):
        if attempt.outcome in _COSTLY_OUTCOMES:
            for each in wholesale:
                if (each.vendor_id, each.vendor_model_id) == (attempt.vendor_id, attempt.vendor_model_id):
                    return each
            return None
    # A swept session names no attempt; with one vendor there is no doubt.
    return wholesale[0] if len(wholesale) == 1 and not attempts else None


def _settled_answer(records: list[_Record]) -> Settled:
    first = records[0]
    answer = Settled(first.charge.tariff.unit, first.charged, first.debt, (), first.absorbed)
    if len(records) == 1:
        return answer
    for record in records[1:]:
        charge = (record.charge.tariff.unit, record.charged, record.debt)
        absorbed = others_absorbed(answer, record.absorbed)
        answer = msgspec.structs.replace(answer, others=(*answer.others, charge), others_absorbed=absorbed)
    return answer


def _known(account: Account, command: CreateSession | ChargeEvent, digest: bytes, now_us: int) -> Decision | None:
    """The answer to a Create or an Event whose charging_id is not new; None when it is."""
    session = account.sessions.get(command.charging_id)
    if session is not None:
        # An Event under a new number would charge beside the session and leave nobody to free its hold.
        return _repeat(session, command.number, digest) or fail(
            Fault.IDEMPOTENCY_CONFLICT, f"session {command.charging_id} is open; charge it with its Release"
        )
    if command.charging_id in account.closed or command.charging_id in account.swept:
        return _no_session(account, command, digest)
    time_us = uuid7_time_us(command.charging_id)
    if time_us is None or not now_us - CHARGING_ID_AGE_US_MAX <= time_us <= now_us + CLOCK_AHEAD_US_MAX:
        return fail(
            Fault.CHARGING_ID_STALE,
            f"the time in charging_id {command.charging_id} is more than {CHARGING_ID_AGE_US_MAX // 60_000_000} minutes old or "
            "lies in the future: it can't be taken for a new call; check the caller's clock",
        )
    return None


def _repeat(session: Session, number: int, digest: bytes) -> Decision | None:
    """The answer when `number` is not above the session's last one; None when it is new."""
    if number > session.number:
        return None
    if number < session.number:
        return _sequence_invalid(number, session.number)
    if digest != session.digest:
        return _conflict(session.charging_id, number)
    return Decision((), session.answer)


def _conflict(charging_id: str, number: int) -> Decision:
    return fail(Fault.IDEMPOTENCY_CONFLICT, f"number {number} of session {charging_id} came before with other content")


def _sequence_invalid(number: int, last: int) -> Decision:
    return fail(Fault.SEQUENCE_INVALID, f"invocation_sequence_number {number} is not above {last}, the session's last")


def _no_session(account: Account, command: CreateSession | UpdateSession | ReleaseSession | ChargeEvent, digest: bytes) -> Decision:
    """The answer for a session that is not open: the stored one for a repeat, else why not."""
    closed = account.closed.get(command.charging_id)
    if closed is not None:
        if command.number == closed.number and digest == closed.digest:
            return Decision((), closed.answer)
        if command.number == closed.number:
            return _conflict(command.charging_id, command.number)
        return fail(Fault.SESSION_CLOSED, f"session {command.charging_id} was settled under number {closed.number}")
    if command.charging_id in account.swept:
        return fail(Fault.SESSION_CLOSED, f"session {command.charging_id} was swept; only a Release is taken for it")
    return fail(
        Fault.SESSION_UNKNOWN,
        f"no session {command.charging_id} is open on account {account.account_id}; charge what had no session with an Event",
    )


def _impossible(account: Account, lines: dict[str, PinnedTariff], command: ReleaseSession) -> Decision | None:
    """Why a Release cannot be charged; None when it can."""
    used = command.used
    if command.unpaid:
        if (absurd := _absurd(command.unpaid, "unpaid")) is not None:
            return absurd
        return _absurd(used) or _excess(account, lines, _sum(used, command.unpaid))
    return _absurd(used) or _excess(account, lines, used)


def _absurd(usage: Vector, field: str = "used") -> Decision | None:
    for count in usage:
        if not 0 <= count <= TOKENS_MAX:
            break
    else:
        return None
    name, count = next(each for each in zip(TOKEN_CLASSES, usage, strict=False) if not 0 <= each[1] <= TOKENS_MAX)
    return fail(Fault.AMOUNT_OVERFLOW, f"{field}.{name} is {count}; it must be 0 to {TOKENS_MAX}")


def _excess(account: Account, lines: dict[str, PinnedTariff], usage: Vector) -> Decision | None:
    """Refuses a charge that could leave the account owing more than int64 holds."""
    counts = sum(usage)
    for tariff in lines.values():
        debt = account.debts.get(tariff.unit)
        incurred = debt.incurred if debt else 0
        if account.losses and (loss := account.losses.get(tariff.unit)) is not None:
            incurred += loss.absorbed
        # Nearly every charge is far from the edge: the dearest rate for all that was counted shows it.
        if counts * tariff.rate_max // RATE_BASE + len(usage) + incurred <= GRANTED_MAX:
            continue
        charged = sum(charges_of(tariff, usage))
        if charged + incurred > GRANTED_MAX:
            return fail(Fault.AMOUNT_OVERFLOW, f"the usage comes to {charged} micro-units, more than an account can have or owe")
    return None
