"""Release, Event and sweep: charge a session and free its hold. Pure."""

from itertools import zip_longest
from typing import Final

import msgspec

from services.accounting.core import limits, losses
from services.accounting.core.account.state import Account, Session, SweptSession
from services.accounting.core.amounts import GRANTED_MAX, SHARE_BASE, amount_of, cached_of, charges_of, rates_for, tokens_of
from services.accounting.core.balance import Charge, free_sources, held_sources, settle, settle_one
from services.accounting.core.commands import (
    ChargeEvent,
    CloseCause,
    Decision,
    Provenance,
    Refused,
    ReleaseSession,
    ResultCode,
    Settled,
    digest_of,
)
from services.accounting.core.entries import Arrivals, Entry
from services.accounting.core.offerings import ChargingCatalog, plan
from services.accounting.core.sessions.bounds import too_many_tokens, too_much_to_owe, unchargeable
from services.accounting.core.sessions.limited import rules_of
from services.accounting.core.sessions.records import Record, SessionFacts, entries_of, settled_answer, wholesale_of
from services.accounting.core.sessions.repeats import known_session, no_session, repeated, sequence_invalid
from services.token_classes import Vector, folded, rate_of, total_input

# The learned cached share moves by a quarter of the way with each session.
_LEARNING_DIVISOR: Final = 4


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
    """Settles a session: charges its usage, frees the rest. A swept session is charged what its sweep did not charge."""
    digest = digest_of(command)
    if not catalog.extended:
        command = _understood(command)
    session = account.sessions.get(command.charging_id)
    if session is None:
        if command.charging_id in account.swept:
            return _release_late(account, command, digest, now_us, catalog)
        return no_session(account, command, digest)
    if (repeat := repeated(session, command.number, digest)) is not None:
        return repeat
    if (absurd := unchargeable(account, session.lines, command)) is not None:
        return absurd
    entries, settled = _settle(account, session, command, digest, now_us, catalog, extended=catalog.extended)
    return Decision(entries, settled)


def _release_late(account: Account, command: ReleaseSession, digest: bytes, now_us: int, catalog: ChargingCatalog) -> Decision:
    swept = account.swept[command.charging_id]
    if command.number <= swept.number:
        return sequence_invalid(command.number, swept.number)
    if (absurd := unchargeable(account, swept.lines, command)) is not None:
        return absurd
    charges = _late_charges(account, swept, command.used, now_us)
    records = [Record(charge, amount, (), tuple(charge.debits), charge.debt) for charge, amount in charges]
    _absorb(account, records, swept.debt_limit if catalog.extended else -1)
    if catalog.extended:
        # It holds nothing any more, and has what is left.
        _keep_budgets(account, records, swept.key_id, {}, {})
    rules = rules_of(account, catalog, swept.key_id, swept.member_id) if swept.tokens_counted else None
    wholesale = wholesale_of(swept.wholesale, command.attempts)
    facts = SessionFacts(
        charging_id=command.charging_id,
        number=command.number,
        digest=digest,
        model_id=swept.model_id,
        key_id=swept.key_id,
        member_id=swept.member_id,
        offering_id=swept.offering_id,
        created_us=swept.created_us,
        used=command.used,
        close_cause=command.close_cause,
        provenance=command.provenance,
        first_record=swept.record_number + 1,
        attempts=command.attempts,
        arrivals=limits.counted_tokens(account, rules, now_us, tokens_of(command.used) - swept.tokens_counted) if rules else (),
        wholesale=wholesale,
        claimed=swept.claimed if wholesale == swept.claim else 0,
        unpaid=command.unpaid,
        run_label=swept.run_label,
    )
    entries = entries_of(account, records, facts, now_us, catalog)
    return Decision(entries, settled_answer(records))


def _late_charges(account: Account, swept: SweptSession, used: Vector, now_us: int) -> list[tuple[Charge, int]]:
    """Charges of a late Release by line, each with the amount beyond the sweep's charge.

    The sweep charged the holder's own report. If the end came out lower, that report stands.
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
    # The sweep rated each line at the tier of the whole session.
    swept_input = sum(map(total_input, swept.usages.values()))
    for line, usage in swept.usages.items():
        charge = taken[line] = Charge(line, swept.lines[line])
        rates = rates_for(swept.lines[line], swept_input)
        charge.tokens = list(usage)
        charge.amounts = [amount_of(count, rate_of(rates, index)) for index, count in enumerate(usage)]
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
    """Charges usage that had no session. It is used already: no limit refuses it, and all limits count it."""
    digest = digest_of(command)
    if (known := known_session(account, command, digest, now_us)) is not None:
        return known
    if not catalog.extended:
        command = msgspec.structs.replace(command, used=folded(command.used))
    if (absurd := too_many_tokens(command.used)) is not None:
        return absurd
    planned = plan(account, catalog, command.model_id, now_us)
    if isinstance(planned, ResultCode):
        return Decision((), Refused(planned, "", 0, 0, 0, held=False))
    lines, offering, _, debt_limit = planned
    if (excess := too_much_to_owe(account, lines, command.used)) is not None:
        return excess
    rules = rules_of(account, catalog, command.key_id, command.member_id)
    counters, opened = limits.windows(account, rules, now_us, catalog.time_zone)
    sources = free_sources(account, lines, now_us, None, GRANTED_MAX, [])
    records = [
        Record(charge, charge.charged, (), tuple(charge.debits), charge.debt)
        for charge in settle(lines, command.used, sources) or [Charge(*next(iter(lines.items())))]
    ]
    _absorb(account, records, debt_limit)
    facts = SessionFacts(
        charging_id=command.charging_id,
        number=command.number,
        digest=digest,
        model_id=command.model_id,
        key_id=command.key_id,
        member_id=command.member_id,
        offering_id=offering.offering_id,
        created_us=now_us,
        used=command.used,
        close_cause=CloseCause.NORMAL,
        provenance=command.provenance,
        counters=counters,
        attempts=command.attempts,
        arrivals=limits.counted_tokens(account, rules, now_us, tokens_of(command.used)),
        windows_opened=opened,
        wholesale=wholesale_of(catalog.wholesale(command.model_id, now_us), command.attempts),
    )
    entries = entries_of(account, records, facts, now_us, catalog)
    return Decision(entries, settled_answer(records))


def sweep(account: Account, session: Session, due_us: int, *, extended: bool = True) -> list[Entry]:
    """Closes a session whose holder has gone silent, and charges its last report. `extended`: see the catalog."""
    end = ReleaseSession(
        account_id=account.account_id,
        charging_id=session.charging_id,
        number=session.number,
        used=session.used,
        provenance=Provenance.PARTIAL,
        close_cause=CloseCause.SWEPT,
        attempts=session.attempts,
    )
    entries, _ = _settle(account, session, end, session.digest, due_us, None, extended=extended)
    return entries


def _absorb(account: Account, records: list[Record], debt_limit: int) -> None:
    """Turns debt beyond the limit into the operator's loss. Only the last line's record has debt."""
    for record in records:
        if record.debt:
            record.absorbed = losses.beyond_limit(account, record.charge.tariff.unit, record.debt, debt_limit)
            record.debt -= record.absorbed
            record.charged -= record.absorbed


def _keep_budgets(account: Account, records: list[Record], key_id: str, hold: dict[str, int], beyond: dict[str, int]) -> None:
    """Absorbs what is above the budgets of a minted key and of those above it: its parent has promised no more.

    A session may be charged its hold, what the budgets leave beside all holds, and an amount by unit `beyond` them.
    """
    for unit, left in limits.left_of_budgets(account, key_id).items():
        of_unit = [record for record in records if record.charge.tariff.unit == unit]
        in_unit = (amount for bucket_id, amount in hold.items() if amount and account.buckets[bucket_id].unit == unit)
        payable = sum(in_unit) + left + beyond.get(unit, 0)
        excess = sum(record.charged for record in of_unit) - payable
        for record in reversed(of_unit):
            if excess > 0:
                excess -= record.absorb_unbudgeted(excess)


def _settle(
    account: Account,
    session: Session,
    end: ReleaseSession,
    digest: bytes,
    now_us: int,
    catalog: ChargingCatalog | None,
    *,
    extended: bool,
) -> tuple[list[Entry], Settled]:
    """Charges a session against its hold in burn order, then against free balance, then as debt up to its limit.

    The rest of the charge is absorbed; the rest of the hold is freed. `catalog` None: only the charge is counted. `extended`: see
    the catalog in force.
    """
    lines, used = session.lines, end.used
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
    records = [_record(charge, hold_left) for charge in charges or [Charge(*next(iter(lines.items())))]]
    _absorb(account, records, session.debt_limit if extended else -1)
    if extended:
        # An estimate may be passed as far as the account may owe; what was reserved for the worst case may not.
        beyond = {next(reversed(lines.values())).unit: max(0, session.debt_limit)} if session.expected else {}
        _keep_budgets(account, records, session.key_id, session.hold, beyond)
    arrivals: Arrivals = ()
    if catalog is not None and session.tokens_counted:
        rules = rules_of(account, catalog, session.key_id, session.member_id)
        arrivals = limits.counted_tokens(account, rules, now_us, tokens_of(used) - session.tokens_counted)
    facts = SessionFacts(
        charging_id=session.charging_id,
        number=end.number,
        digest=digest,
        model_id=session.model_id,
        key_id=session.key_id,
        member_id=session.member_id,
        offering_id=session.answer.offering_id,
        created_us=session.created_us,
        used=used,
        close_cause=end.close_cause,
        provenance=end.provenance,
        released=tuple((bucket_id, amount) for bucket_id, amount in hold_left.items() if amount),
        attempts=end.attempts,
        arrivals=arrivals,
        cached_share=_learned_share(account, session, end),
        # A sweep has no catalog: it charges a call that was silent, by its start.
        wholesale=wholesale_of(
            catalog.wholesale_at_end(session.wholesale, session.model_id, now_us) if catalog is not None else session.wholesale,
            end.attempts,
        ),
        unpaid=end.unpaid,
        run_label=session.run_label,
    )
    return entries_of(account, records, facts, now_us, catalog), settled_answer(records)


def _record(charge: Charge, hold_left: dict[str, int]) -> Record:
    """A charge as a record, which takes its part out of what is left of the hold."""
    held_debits = []
    free_debits = []
    for bucket_id, amount in charge.debits:
        from_hold = min(amount, hold_left.get(bucket_id, 0))
        if from_hold:
            hold_left[bucket_id] -= from_hold
            held_debits.append((bucket_id, from_hold))
        if amount > from_hold:
            free_debits.append((bucket_id, amount - from_hold))
    return Record(charge, charge.charged, tuple(held_debits), tuple(free_debits), charge.debt)


def _learned_share(account: Account, session: Session, end: ReleaseSession) -> int:
    """The share of the model's input that the account lately had from a cache, in millionths; -1: nothing is learned."""
    if not session.expected or not (input_tokens := total_input(end.used)) or end.provenance != Provenance.VENDOR:
        return -1
    known = account.cached_shares.get(session.model_id)
    seen = cached_of(end.used) * SHARE_BASE // input_tokens
    return seen if known is None else known + (seen - known) // _LEARNING_DIVISOR
