"""The rules: `decide` turns a command into entries and an answer. Pure and deterministic.

Time and catalog are arguments. `due_entries` gives what has fallen due; the caller applies it, one entry after another,
before it asks `decide` anything, so that every rule sees the account as it is at `now_us`.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from services.accounting.account import CLOSED_MEMORY_US, Account, Bucket, Session
from services.accounting.amounts import (
    INT64_MAX,
    TOKENS_MAX,
    PinnedTariff,
    TokenUsage,
    charges_of,
    worst_case,
)
from services.accounting.commands import (
    AccountView,
    Answer,
    ApplyDue,
    BucketAdded,
    ChargeEvent,
    CloseCause,
    Command,
    CreateSession,
    Done,
    Failed,
    Fault,
    FindRecords,
    GrantBucket,
    Granted,
    OpenAccount,
    Provenance,
    ReadAccount,
    RecordsFound,
    Refused,
    ReleaseSession,
    ResultCode,
    Settled,
    UpdateSession,
    digest_of,
)
from services.accounting.entries import (
    AccountOpened,
    BucketAmounts,
    BucketExpired,
    BucketGranted,
    DebtRepaid,
    Entry,
    SessionCreated,
    SessionSettled,
    SessionUpdated,
)
from services.runtime.identifiers import derived_name, uuid7_time_us

# A charging_id this much ahead of the clock is refused; so a closed one is remembered for as long as it could be taken.
CLOCK_AHEAD_US_MAX: Final = 60 * 1_000_000
CHARGING_ID_AGE_US_MAX: Final = CLOSED_MEMORY_US - CLOCK_AHEAD_US_MAX
# The most that all buckets of a unit together may have been granted, so that sums stay int64.
_GRANTED_MAX: Final = INT64_MAX // 2
# More is asked for when a quarter of the window is left.
_THRESHOLD_DIVISOR: Final = 4
# A metered session that finds less than this part of a window free waits, if others hold the rest.
_SMALL_WINDOW_DIVISOR: Final = 8


class OfferingRules(NamedTuple):
    """What an offering says about charging. `model_ids` None: every model that `tariffs` has, "*" standing for all."""

    tariffs: dict[str, PinnedTariff]
    model_ids: frozenset[str] | None
    output_window: int


class ChargingCatalog(NamedTuple):
    """The catalog as far as charging needs it."""

    offerings: dict[str, OfferingRules]
    model_ids: frozenset[str]
    default_offering_id: str
    validity_us: int

    def plan(self, offering_id: str, model_id: str) -> tuple[PinnedTariff, int] | ResultCode:
        """The tariff that a session of this model pins and its output window, or why it must not be sold."""
        rules = self.offerings.get(offering_id)
        if rules is None or model_id not in self.model_ids:
            return ResultCode.RATING_FAILED
        if rules.model_ids is not None and model_id not in rules.model_ids:
            return ResultCode.END_USER_SERVICE_DENIED
        tariff = rules.tariffs.get(model_id) or rules.tariffs.get("*")
        return (tariff, rules.output_window) if tariff else ResultCode.RATING_FAILED


class Decision(NamedTuple):
    """What a command does and what it answers."""

    entries: Sequence[Entry]
    answer: Answer


def _fail(fault: Fault, message: str) -> Decision:
    return Decision((), Failed(fault, message))


def decide(account: Account | None, command: Command, now_us: int, catalog: ChargingCatalog) -> Decision:
    """What `command` does to `account` at `now_us`. Nothing is changed here; the entries are for `evolve`."""
    if isinstance(command, OpenAccount):
        return _open(account, command, now_us, catalog)
    if account is None:
        return _fail(Fault.ACCOUNT_UNKNOWN, f"no account {command.account_id} in this cell; open it first")
    return _RULES[type(command)](account, command, now_us, catalog)


def due_entries(account: Account, now_us: int, serving_since_us: int) -> Iterator[Entry]:
    """What is due by `now_us`, each at its due time, earliest first. Apply each before the next is taken, and take them all.

    A session is never swept earlier than one Tcc after `serving_since_us`, when its partition began to serve: its holder
    could not reach anybody before.
    """
    if account.next_due_us is None or account.next_due_us > now_us:
        return
    due = [each for each in _due_times(account, serving_since_us) if each[0] <= now_us]
    # Sorted once, since thousands of sessions can fall due together. A bucket that ends just when a session is swept goes first.
    due.sort(key=itemgetter(0))
    for due_us, what in due:
        if isinstance(what, Bucket):
            yield BucketExpired(account.account_id, due_us, what.bucket_id, what.remaining)
        else:
            yield _sweep(account, what, due_us)
    account.next_due_us = min((due_us for due_us, _ in _due_times(account, serving_since_us)), default=None)


def _due_times(account: Account, serving_since_us: int) -> Iterator[tuple[int, Bucket | Session]]:
    """What falls due on the account some time, and when."""
    for bucket_id in account.burn_order:
        bucket = account.buckets[bucket_id]
        yield bucket.valid_until_us, bucket
    for session in account.sessions.values():
        yield max(session.sweep_us, serving_since_us + 2 * session.answer.validity_us), session


def _open(account: Account | None, command: OpenAccount, now_us: int, catalog: ChargingCatalog) -> Decision:
    offering_id = command.offering_id or catalog.default_offering_id
    if account is None:
        opened = AccountOpened(command.account_id, now_us, offering_id)
        return Decision((opened,), AccountView(Account(command.account_id, offering_id, now_us)))
    # Without an offering it is the same request as before, whatever the cell's default has become since.
    if command.offering_id and account.offering_id != offering_id:
        return _fail(
            Fault.IDEMPOTENCY_CONFLICT,
            f"account {account.account_id} exists on offering {account.offering_id}; it can't be opened on {offering_id}",
        )
    return Decision((), _view(account))


def _view(account: Account) -> AccountView:
    # The memory of closed sessions can be a thousand times larger than all that is shown.
    shown = msgspec.structs.replace(account, closed={}, swept={})
    return AccountView(msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=Account))


def _grant(account: Account, command: GrantBucket, now_us: int, catalog: ChargingCatalog) -> Decision:
    digest = digest_of(command)
    bucket_id = derived_name("bkt", account.account_id, command.idempotency_key)
    known = account.buckets.get(bucket_id)
    if known is not None:
        if known.digest != digest:
            return _fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {command.idempotency_key} was used for another grant")
        return Decision((), _bucket_added(known))
    if sum(bucket.granted for bucket in account.buckets.values() if bucket.unit == command.unit) + command.amount > _GRANTED_MAX:
        return _fail(Fault.AMOUNT_OVERFLOW, f"the grants of {command.unit} would come to more than {_GRANTED_MAX} micro-units")
    valid_from_us = now_us if command.valid_from_us is None else command.valid_from_us
    valid_until_us = valid_from_us + command.valid_for_us
    if valid_until_us <= now_us:
        return _fail(
            Fault.INVALID_ARGUMENT,
            "valid_from_time and valid_for would end in the past; give a later valid_from_time or a longer valid_for",
        )
    debt = account.debts.get(command.unit)
    # A bucket that is not valid yet pays no debt: it could not be spent either.
    repaid = min(command.amount, debt.outstanding) if debt and valid_from_us <= now_us else 0
    granted = BucketGranted(
        account_id=account.account_id,
        time_us=now_us,
        bucket_id=bucket_id,
        unit=command.unit,
        amount=command.amount,
        valid_from_us=valid_from_us,
        valid_until_us=valid_until_us,
        priority=command.priority,
        idempotency_key=command.idempotency_key,
        digest=digest,
        repaid=repaid,
    )
    entries: list[Entry] = [granted]
    if repaid:
        entries.append(DebtRepaid(account.account_id, now_us, bucket_id, command.unit, repaid))
    return Decision(entries, _bucket_added(granted))


def _bucket_added(source: Bucket | BucketGranted) -> BucketAdded:
    return BucketAdded(
        bucket_id=source.bucket_id,
        unit=source.unit,
        amount=source.granted if isinstance(source, Bucket) else source.amount,
        valid_from_us=source.valid_from_us,
        valid_until_us=source.valid_until_us,
        priority=source.priority,
        repaid=source.repaid,
    )


def _create(account: Account, command: CreateSession, now_us: int, catalog: ChargingCatalog) -> Decision:
    digest = digest_of(command)
    if (known := _known(account, command, digest, now_us)) is not None:
        return known
    if not (0 <= command.input_bound <= TOKENS_MAX and 0 <= command.output_limit <= TOKENS_MAX):
        return _fail(Fault.AMOUNT_OVERFLOW, f"input_tokens_bound and output_tokens_limit must be 0 to {TOKENS_MAX}")
    plan = catalog.plan(account.offering_id, command.model_id)
    if isinstance(plan, ResultCode):
        return Decision((), Refused(plan, "", 0, 0, 0, held=False))
    tariff, window = plan
    worst = worst_case(tariff, command.input_bound)
    wanted = min(command.output_limit, window) if command.metered else command.output_limit
    # A metered session can begin on a small window, since more may come; one that is not gets all it wants or all there is.
    enough = min(wanted, max(1, window // _SMALL_WINDOW_DIVISOR)) if command.metered else wanted
    if worst.hold(command.output_limit) > _GRANTED_MAX:
        return _fail(Fault.AMOUNT_OVERFLOW, "what this session could cost is more than an account can have")
    buckets, free, reserved = _balance(account, tariff.unit, now_us)
    needed = worst.hold(min(1, command.output_limit))
    granted = worst.payable_output(free, wanted)
    if granted < enough and (reserved > 0 or granted < min(1, wanted)):
        # While others hold balance, what is left is no measure: better wait than begin an answer that ends too soon.
        return Decision((), Refused(ResultCode.QUOTA_LIMIT_REACHED, tariff.unit, needed, free, reserved, free + reserved >= needed))
    hold = _take(buckets, worst.hold(granted))
    created = SessionCreated(
        account_id=account.account_id,
        time_us=now_us,
        charging_id=command.charging_id,
        number=command.number,
        digest=digest,
        model_id=command.model_id,
        key_id=command.key_id,
        member_id=command.member_id,
        offering_id=account.offering_id,
        tariff=tariff,
        input_bound=command.input_bound,
        output_limit=command.output_limit,
        output_granted=granted,
        output_payable=worst.payable_output(free, command.output_limit),
        output_threshold=granted // _THRESHOLD_DIVISOR,
        final=granted < wanted and reserved == 0,
        validity_us=catalog.validity_us,
        hold=hold,
    )
    answer = Granted(
        granted, created.output_payable, created.output_threshold, catalog.validity_us, created.final, account.offering_id
    )
    return Decision((created,), answer)


def _update(account: Account, command: UpdateSession, now_us: int, catalog: ChargingCatalog) -> Decision:
    digest = digest_of(command)
    session = account.sessions.get(command.charging_id)
    if session is None:
        return _no_session(account, command, digest)
    if (repeat := _repeat(session, command.number, digest)) is not None:
        return repeat
    if (absurd := _absurd(command.used)) is not None:
        return absurd
    # A sweep may have to charge it, and nobody could refuse it then.
    if (excess := _excess(account, session.tariff.unit, sum(charges_of(session.tariff, command.used)))) is not None:
        return excess
    wanted = min(max(command.output_wanted, session.answer.output_granted), session.output_limit)
    worst = worst_case(session.tariff, session.input_bound)
    held = sum(session.hold.values())
    buckets, free, _ = _balance(account, session.tariff.unit, now_us)
    granted = max(session.answer.output_granted, worst.payable_output(held + free, wanted))
    hold_added = _take(buckets, worst.hold(granted) - held)
    updated = SessionUpdated(
        account_id=account.account_id,
        time_us=now_us,
        charging_id=session.charging_id,
        number=command.number,
        digest=digest,
        used=command.used,
        output_granted=granted,
        output_payable=max(granted, worst.payable_output(held + free, session.output_limit)),
        # Of a window that has grown, a quarter is more.
        output_threshold=max(session.answer.output_threshold, (granted - session.answer.output_granted) // _THRESHOLD_DIVISOR),
        final=granted < wanted,
        hold_added=hold_added,
    )
    answer = Granted(
        granted,
        updated.output_payable,
        updated.output_threshold,
        session.answer.validity_us,
        updated.final,
        session.answer.offering_id,
    )
    return Decision((updated,), answer)


def _release(account: Account, command: ReleaseSession, now_us: int, catalog: ChargingCatalog) -> Decision:
    digest = digest_of(command)
    session = account.sessions.get(command.charging_id)
    if session is None:
        if command.charging_id in account.swept:
            return _release_late(account, command, digest, now_us)
        return _no_session(account, command, digest)
    if (repeat := _repeat(session, command.number, digest)) is not None:
        return repeat
    if (absurd := _absurd(command.used)) is not None:
        return absurd
    charges = charges_of(session.tariff, command.used)
    if (excess := _excess(account, session.tariff.unit, sum(charges))) is not None:
        return excess
    settled = _settle(
        account,
        session,
        now_us=now_us,
        number=command.number,
        digest=digest,
        used=command.used,
        charges=charges,
        close_cause=command.close_cause,
        provenance=command.provenance,
        attempts=command.attempts,
    )
    return Decision((settled,), Settled(session.tariff.unit, settled.charged, settled.debt))


def _release_late(account: Account, command: ReleaseSession, digest: bytes, now_us: int) -> Decision:
    swept = account.swept[command.charging_id]
    if command.number <= swept.number:
        return _sequence_invalid(command.number, swept.number)
    if (absurd := _absurd(command.used)) is not None:
        return absurd
    charges = charges_of(swept.tariff, command.used)
    # What the sweep charged was the holder's own report; if the end came out lower, that report stands.
    missing = max(0, sum(charges) - swept.charged)
    if (excess := _excess(account, swept.tariff.unit, missing)) is not None:
        return excess
    buckets, free, _ = _balance(account, swept.tariff.unit, now_us)
    debits = _take(buckets, min(missing, free))
    debt = missing - min(missing, free)
    settled = SessionSettled(
        account_id=account.account_id,
        time_us=now_us,
        charging_id=command.charging_id,
        number=command.number,
        digest=digest,
        record_number=swept.record_number + 1,
        model_id=swept.model_id,
        key_id=swept.key_id,
        member_id=swept.member_id,
        offering_id=swept.offering_id,
        tariff=swept.tariff,
        usage=command.used,
        class_amounts=charges,
        charged=missing,
        held_debits=(),
        free_debits=debits,
        released=(),
        debt=debt,
        close_cause=command.close_cause,
        provenance=command.provenance,
        attempts=command.attempts,
        created_us=swept.created_us,
    )
    return Decision((settled,), Settled(swept.tariff.unit, missing, debt))


def _event(account: Account, command: ChargeEvent, now_us: int, catalog: ChargingCatalog) -> Decision:
    digest = digest_of(command)
    if (known := _known(account, command, digest, now_us)) is not None:
        return known
    if (absurd := _absurd(command.used)) is not None:
        return absurd
    plan = catalog.plan(account.offering_id, command.model_id)
    if isinstance(plan, ResultCode):
        return Decision((), Refused(plan, "", 0, 0, 0, held=False))
    tariff, _ = plan
    charges = charges_of(tariff, command.used)
    charged = sum(charges)
    if (excess := _excess(account, tariff.unit, charged)) is not None:
        return excess
    buckets, free, _ = _balance(account, tariff.unit, now_us)
    settled = SessionSettled(
        account_id=account.account_id,
        time_us=now_us,
        charging_id=command.charging_id,
        number=command.number,
        digest=digest,
        record_number=1,
        model_id=command.model_id,
        key_id=command.key_id,
        member_id=command.member_id,
        offering_id=account.offering_id,
        tariff=tariff,
        usage=command.used,
        class_amounts=charges,
        charged=charged,
        held_debits=(),
        free_debits=_take(buckets, min(charged, free)),
        released=(),
        debt=charged - min(charged, free),
        close_cause=CloseCause.NORMAL,
        provenance=command.provenance,
        attempts=command.attempts,
        created_us=now_us,
    )
    return Decision((settled,), Settled(tariff.unit, settled.charged, settled.debt))


def _sweep(account: Account, session: Session, due_us: int) -> Entry:
    return _settle(
        account,
        session,
        now_us=due_us,
        number=session.number,
        digest=session.digest,
        used=session.used,
        charges=charges_of(session.tariff, session.used),
        close_cause=CloseCause.SWEPT,
        provenance=Provenance.PARTIAL,
        attempts=(),
    )


def _settle(
    account: Account,
    session: Session,
    *,
    now_us: int,
    number: int,
    digest: bytes,
    used: TokenUsage,
    charges: tuple[int, int, int, int, int],
    close_cause: CloseCause,
    provenance: Provenance,
    attempts: tuple[Any, ...],
) -> SessionSettled:
    """Charges the session against its hold in burn order, then what is free, then as debt; frees the rest of the hold."""
    charged = missing = sum(charges)
    held_debits: list[tuple[str, int]] = []
    released: list[tuple[str, int]] = []
    for bucket_id, amount in session.hold.items():
        debit = min(amount, missing)
        missing -= debit
        if debit:
            held_debits.append((bucket_id, debit))
        if debit < amount:
            released.append((bucket_id, amount - debit))
    free_debits: BucketAmounts = ()
    if missing:
        buckets, free, _ = _balance(account, session.tariff.unit, now_us)
        free_debits = _take(buckets, min(missing, free))
        missing -= min(missing, free)
    return SessionSettled(
        account_id=account.account_id,
        time_us=now_us,
        charging_id=session.charging_id,
        number=number,
        digest=digest,
        record_number=1,
        model_id=session.model_id,
        key_id=session.key_id,
        member_id=session.member_id,
        offering_id=session.answer.offering_id,
        tariff=session.tariff,
        usage=used,
        class_amounts=charges,
        charged=charged,
        held_debits=tuple(held_debits),
        free_debits=free_debits,
        released=tuple(released),
        debt=missing,
        close_cause=close_cause,
        provenance=provenance,
        attempts=attempts,
        created_us=session.created_us,
    )


def _balance(account: Account, unit: str, now_us: int) -> tuple[list[Bucket], int, int]:
    """The buckets that can pay in `unit` now, in burn order; what of them is free; and what of them is held."""
    buckets = []
    free = reserved = 0
    for bucket_id in account.burn_order:
        bucket = account.buckets[bucket_id]
        if bucket.unit == unit and bucket.valid_from_us <= now_us < bucket.valid_until_us:
            buckets.append(bucket)
            free += bucket.remaining
            reserved += bucket.reserved
    return buckets, free, reserved


def _take(buckets: Sequence[Bucket], amount: int) -> BucketAmounts:
    """`amount` from the buckets in order; together they must have it."""
    taken: list[tuple[str, int]] = []
    for bucket in buckets:
        if amount <= 0:
            break
        part = min(bucket.remaining, amount)
        if part:
            taken.append((bucket.bucket_id, part))
            amount -= part
    assert amount <= 0, "took more than was free"
    return tuple(taken)


def _known(account: Account, command: CreateSession | ChargeEvent, digest: bytes, now_us: int) -> Decision | None:
    """The answer to a Create or an Event whose charging_id is not new; None when it is."""
    session = account.sessions.get(command.charging_id)
    if session is not None:
        # An Event under a new number would charge beside the session and leave nobody to free its hold.
        return _repeat(session, command.number, digest) or _fail(
            Fault.IDEMPOTENCY_CONFLICT, f"session {command.charging_id} is open; charge it with its Release"
        )
    if command.charging_id in account.closed or command.charging_id in account.swept:
        return _no_session(account, command, digest)
    time_us = uuid7_time_us(command.charging_id)
    if time_us is None or not now_us - CHARGING_ID_AGE_US_MAX <= time_us <= now_us + CLOCK_AHEAD_US_MAX:
        return _fail(
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
    return _fail(Fault.IDEMPOTENCY_CONFLICT, f"number {number} of session {charging_id} came before with other content")


def _sequence_invalid(number: int, last: int) -> Decision:
    return _fail(Fault.SEQUENCE_INVALID, f"invocation_sequence_number {number} is not above {last}, the session's last")


def _no_session(account: Account, command: CreateSession | UpdateSession | ReleaseSession | ChargeEvent, digest: bytes) -> Decision:
    """The answer for a session that is not open: the stored one for a repeat, else why not."""
    closed = account.closed.get(command.charging_id)
    if closed is not None:
        if command.number == closed.number and digest == closed.digest:
            return Decision((), closed.answer)
        if command.number == closed.number:
            return _conflict(command.charging_id, command.number)
        return _fail(Fault.SESSION_CLOSED, f"session {command.charging_id} was settled under number {closed.number}")
    if command.charging_id in account.swept:
        return _fail(Fault.SESSION_CLOSED, f"session {command.charging_id} was swept; only a Release is taken for it")
    return _fail(
        Fault.SESSION_UNKNOWN,
        f"no session {command.charging_id} is open on account {account.account_id}; charge what had no session with an Event",
    )


def _absurd(usage: TokenUsage) -> Decision | None:
    for token_class, tokens in zip(usage.__struct_fields__, msgspec.structs.astuple(usage), strict=True):
        if not 0 <= tokens <= TOKENS_MAX:
            return _fail(Fault.AMOUNT_OVERFLOW, f"used.{token_class} is {tokens}; it must be 0 to {TOKENS_MAX}")
    return None


def _excess(account: Account, unit: str, charged: int) -> Decision | None:
    """Refuses a charge that could leave the account owing more than int64 holds."""
    debt = account.debts.get(unit)
    if charged + (debt.incurred if debt else 0) > _GRANTED_MAX:
        return _fail(Fault.AMOUNT_OVERFLOW, f"the usage comes to {charged} micro-units, more than an account can have or owe")
    return None


def _read(account: Account, command: ReadAccount, now_us: int, catalog: ChargingCatalog) -> Decision:
    return Decision((), _view(account))


def _find_records(account: Account, command: FindRecords, now_us: int, catalog: ChargingCatalog) -> Decision:
    found = account.closed.get(command.charging_id) or account.swept.get(command.charging_id)
    if found is None:
        return _fail(Fault.RECORD_UNKNOWN, f"no settled session {command.charging_id} is remembered on {account.account_id}")
    return Decision((), RecordsFound(found.sequence_numbers))


def _nothing(account: Account, command: ApplyDue, now_us: int, catalog: ChargingCatalog) -> Decision:
    return Decision((), Done())


_RULES: Final[dict[type, Callable[[Account, Any, int, ChargingCatalog], Decision]]] = {
    GrantBucket: _grant,
    CreateSession: _create,
    UpdateSession: _update,
    ReleaseSession: _release,
    ChargeEvent: _event,
    ReadAccount: _read,
    FindRecords: _find_records,
    ApplyDue: _nothing,
}
