"""Update: notes the usage so far, renews the validity, and holds more. Pure."""

from typing import Final

from services.accounting.core import limits
from services.accounting.core.account.state import Account, Session
from services.accounting.core.amounts import tokens_of
from services.accounting.core.balance import Room, free_sources, held_sources, holding, less_hold, reserve, take
from services.accounting.core.commands import Decision, Fault, Granted, UpdateSession, digest_of, fail
from services.accounting.core.entries import Arrivals, SessionUpdated
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.sessions.bounds import too_many_tokens, too_much_to_owe
from services.accounting.core.sessions.hope import hopeful_output, is_capped
from services.accounting.core.sessions.limited import as_it_stands, rules_of
from services.accounting.core.sessions.repeats import no_session, repeated
from services.token_classes import FIRST, Vector, folded, total_output

# The edge asks for more when a quarter of the window is left.
THRESHOLD_DIVISOR: Final = 4
# A window lasts about this long at the stream's speed, and is at most this many times the offering's.
_WINDOW_US: Final = 8 * 1_000_000
_WINDOW_GROWTH_MAX: Final = 4
_WINDOW_SHRINKAGE_MAX: Final = 4


def update(account: Account, command: UpdateSession, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Notes the usage so far, renews the validity, and holds more if the session wants more and the balance has it."""
    session = account.sessions.get(command.charging_id)
    if session is None:
        return no_session(account, command, digest_of(command))
    used = command.used
    if not catalog.extended and len(used) > FIRST:
        used = folded(used)
    if command.number <= session.number:
        # An Update's content itself is remembered, because that is cheaper than a digest of it.
        if (
            command.number == session.number
            and not session.digest
            and command.output_wanted == session.wanted
            and (command.used == session.used or _is_folded(command.used, session.used))
        ):
            return as_it_stands(account, catalog, session.key_id, session.member_id, now_us, Decision((), session.answer))
        known = repeated(session, command.number, digest_of(command))
        assert known is not None
        return known
    if message := _ended(account, session, now_us, catalog):
        # The hold stays for the session's Release.
        return fail(Fault.SUBJECT_ENDED, message)
    # Refuse it now: a sweep may have to charge this usage, and nobody could refuse it then.
    if (absurd := too_many_tokens(used) or too_much_to_owe(account, session.lines, used)) is not None:
        return absurd
    before = session.answer
    rules = rules_of(account, catalog, session.key_id, session.member_id) if session.counters or session.tokens_counted else None
    wanted = min(command.output_wanted, session.output_limit)
    if wanted > before.output_granted:
        wanted = min(wanted, before.output_granted + _more_at_once(session, used, now_us))
    granted, payable, hold_added = _extend(account, session, wanted, rules, now_us)
    # Recompute the threshold: a quarter of the larger window.
    threshold = max(before.output_threshold, (granted - before.output_granted) // THRESHOLD_DIVISOR)
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
        command.attempts if command.attempts != session.attempts else (),
    )
    answer = Granted(granted, payable, threshold, before.validity_us, final, before.offering_id, before.final_action)
    return as_it_stands(account, catalog, session.key_id, session.member_id, now_us, Decision((updated,), answer))


def _ended(account: Account, session: Session, now_us: int, catalog: ChargingCatalog) -> str:
    """Reason why the session may not go on; empty while it may."""
    # Few accounts have limits of their own, or runs.
    if not account.limits and not account.runs:
        return ""
    return rules_of(account, catalog, session.key_id, session.member_id).ended_at(now_us)


def _extend(
    account: Account, session: Session, wanted: int, rules: limits.Rules | None, now_us: int
) -> tuple[int, int, tuple[tuple[str, int], ...]]:
    """The session's output tokens: granted of those `wanted`, and payable at most; and the amounts to hold in addition."""
    room = limits.room_of(account, rules, session.counters) if rules is not None else None
    before = session.answer.output_granted
    limit = session.output_limit
    if len(session.lines) == 1 and not session.expected:
        return _extend_one(account, session, wanted, room, now_us)
    hopes = session.expected and (rules is None or rules.units is None)
    if hopes and room is not None:
        own = _held_by_unit(account, session)
        left = {unit: amount + own.get(unit, 0) for unit, amount in room.items()}
        hopes = not is_capped(left, session.lines, session.estimates, session.input_reserved, limit)
    sources = held_sources(account, session.hold)
    first = next(iter(session.estimates.values()))
    free_sources(account, session.lines, now_us, room, first.amount(session.input_reserved, limit), sources)
    reached = reserve(sources, session.estimates, session.input_reserved, limit).output
    payable = max(before, reached)
    if reached < wanted and hopes:
        reached = max(reached, hopeful_output(account, session.lines, sources, session.input_reserved, limit, session))
        payable = max(before, reached)
    granted = max(before, min(wanted, reached))
    needed = reserve(sources, session.estimates, session.input_reserved, granted)
    added = less_hold(take(sources, needed.amounts), session.hold)
    if added and not session.expected:
        # A longer hold may pay for a token less, because each source pays for whole tokens.
        held = reserve(holding(account, session.hold, added), session.estimates, session.input_reserved, granted)
        if held.input_missing or held.output < before:
            return before, payable, ()
        granted = held.output
    return granted, payable, added


def _held_by_unit(account: Account, session: Session) -> Room:
    """Amounts that a session holds, by unit."""
    held: Room = {}
    for source in held_sources(account, session.hold):
        unit = session.lines[source.line].unit
        held[unit] = held.get(unit, 0) + source.amount
    return held


def _extend_one(
    account: Account, session: Session, wanted: int, room: Room | None, now_us: int
) -> tuple[int, int, tuple[tuple[str, int], ...]]:
    """Fast path of `_extend` for a single tariff: holds are a plain sum."""
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
    """Output tokens to grant beyond the last grant, so that the next request for more comes in about 8 s.

    Computed from the stream's speed since the last request; three quarters of a grant pass until more is asked for.
    """
    window = session.output_window or session.output_limit
    made = total_output(used) - total_output(session.used)
    elapsed_us = max(1, now_us - session.renewed_us)
    by_speed = made * _WINDOW_US * THRESHOLD_DIVISOR // (elapsed_us * (THRESHOLD_DIVISOR - 1))
    return min(max(by_speed, window // _WINDOW_SHRINKAGE_MAX, 1), window * _WINDOW_GROWTH_MAX)


def _is_folded(used: Vector, known: Vector) -> bool:
    """Whether a usage was noted folded, or is told folded, as while a member of the cell did not know later classes."""
    return (len(used) == FIRST) != (len(known) == FIRST) and folded(used) == folded(known)
