"""The journal's records of a charge: one a tariff, with vendors' claims and the notices that the charge causes. Pure."""

from typing import Final

import msgspec

from services.accounting.core import losses
from services.accounting.core.account.sessions import others_absorbed
from services.accounting.core.account.state import Account, named_by
from services.accounting.core.amounts import PinnedTariff, added_up, charges_of
from services.accounting.core.balance import Charge
from services.accounting.core.commands import CloseCause, Provenance, Settled
from services.accounting.core.entries import (
    Arrivals,
    BucketAmounts,
    CallLabelled,
    Entry,
    NoticeReached,
    SessionSettled,
    VendorAttempt,
    Wholesale,
    WindowOpened,
)
from services.accounting.core.offerings import ChargingCatalog
from services.token_classes import NOTHING, Vector, total_input

# Attempts with these outcomes have cost the vendor something.
_COSTLY_OUTCOMES: Final = frozenset({"answered", "broken", "timeout", "garbage"})


class Record:
    """A session's charge under one tariff, as a journal record: paid from the hold, from free balance, owed, and absorbed."""

    __slots__ = ("absorbed", "charge", "charged", "debt", "free_debits", "held_debits", "unbudgeted")

    def __init__(
        self,
        charge: Charge,
        charged: int,
        held_debits: BucketAmounts,
        free_debits: BucketAmounts,
        debt: int,
    ) -> None:
        self.charge = charge
        self.charged = charged
        self.held_debits = held_debits
        self.free_debits = free_debits
        self.debt = debt
        self.absorbed = 0
        # The part of what is absorbed that no budget of the key's run covers.
        self.unbudgeted = 0

    def absorb_unbudgeted(self, amount: int) -> int:
        """Absorbs up to `amount` of what is owed, then of what is paid from free balance; returns the part that it took."""
        taken = min(amount, self.debt)
        self.debt -= taken
        kept = []
        for bucket_id, paid in reversed(self.free_debits):
            part = min(amount - taken, paid)
            taken += part
            if paid > part:
                kept.append((bucket_id, paid - part))
        self.free_debits = tuple(reversed(kept))
        self.charged -= taken
        self.absorbed += taken
        self.unbudgeted += taken
        return taken


class SessionFacts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Facts of a session's end that all its records share."""

    charging_id: str
    number: int
    digest: bytes
    model_id: str
    key_id: str
    member_id: str
    # For lines that name no offering.
    offering_id: str
    created_us: int
    used: Vector
    close_cause: CloseCause
    provenance: Provenance
    # For an Event, which had no session.
    counters: tuple[tuple[str, int], ...] = ()
    # The number of its first record here; a sweep's records came before a late Release's.
    first_record: int = 1
    # The freed part of its hold, in the last record.
    released: BucketAmounts = ()
    # In the first record alone.
    attempts: tuple[VendorAttempt, ...]
    arrivals: Arrivals = ()
    windows_opened: tuple[WindowOpened, ...] = ()
    cached_share: int = -1
    wholesale: Wholesale | None
    # The part of what the vendor is owed that the record of the session's sweep claims.
    claimed: int = 0
    unpaid: Vector = ()
    run_label: str = ""


def entries_of(
    account: Account, records: list[Record], facts: SessionFacts, now_us: int, catalog: ChargingCatalog | None
) -> list[Entry]:
    """The records of a settled session, one a tariff, and the notices that its charges cause.

    The vendor is owed for used and unpaid usage; the unpaid part is absorbed in the first record. `catalog` values the vendor's
    work; None: it is not counted.
    """
    used, unpaid, wholesale = facts.used, facts.unpaid, facts.wholesale
    made = added_up(used, unpaid) if unpaid else used
    owed = charges_of(wholesale.tariff, made) if wholesale else NOTHING
    unpaid_amounts: Vector = ()
    if unpaid:
        unpaid_amounts = losses.rated_unpaid(records[0].charge.tariff, used, unpaid)
        records[0].absorbed += sum(unpaid_amounts)
    paid_worth = unpaid_worth = 0
    if catalog is not None and catalog.extended:
        paid_worth, unpaid_worth = _worths(catalog, records, wholesale, used, unpaid, owed)
    entries: list[Entry] = []
    if facts.run_label:
        entries.append(CallLabelled(account.account_id, now_us, facts.charging_id, facts.run_label))
    last = len(records) - 1
    for index, record in enumerate(records):
        charge = record.charge
        usage = charge.usage
        entries.append(
            SessionSettled(
                account_id=account.account_id,
                time_us=now_us,
                charging_id=facts.charging_id,
                number=facts.number,
                digest=facts.digest,
                record_number=facts.first_record + index,
                model_id=facts.model_id,
                key_id=facts.key_id,
                member_id=facts.member_id,
                offering_id=named_by(charge.line).offering_id or facts.offering_id,
                tariff=charge.tariff,
                usage=usage,
                class_amounts=tuple(charge.amounts[: len(usage)]),
                charged=record.charged,
                held_debits=record.held_debits,
                free_debits=record.free_debits,
                released=facts.released if index == last else (),
                debt=record.debt,
                close_cause=facts.close_cause,
                provenance=facts.provenance,
                attempts=facts.attempts if index == 0 else (),
                created_us=facts.created_us,
                more_records=index < last,
                line=charge.line,
                arrivals=facts.arrivals if index == 0 else (),
                cached_share=facts.cached_share if index == 0 else -1,
                wholesale=wholesale if index == 0 else None,
                wholesale_amounts=owed if index == 0 else NOTHING,
                wholesale_usage=made if wholesale and index == 0 else NOTHING,
                wholesale_claimed=facts.claimed if index == 0 else 0,
                total_input=total_input(used) if last else -1,
                counters=facts.counters,
                windows_opened=facts.windows_opened if index == 0 else (),
                absorbed=record.absorbed,
                unpaid=unpaid if index == 0 else (),
                unpaid_amounts=unpaid_amounts if index == 0 else (),
                paid_worth=paid_worth if index == 0 else 0,
                unpaid_worth=unpaid_worth if index == 0 else 0,
            )
        )
    entries.extend(_notices(account, records, now_us))
    return entries


def _worths(
    catalog: ChargingCatalog, records: list[Record], wholesale: Wholesale | None, used: Vector, unpaid: Vector, owed: Vector
) -> tuple[int, int]:
    """Worth of the vendor's work in micro-yuan: paid, and paid by nobody, because its client left or no budget covers it."""
    paid, nobodys = _worths_of_vendor(catalog, records[0].charge.tariff, wholesale, used, unpaid, owed)
    moved = _unbudgeted_worth(records, paid)
    return paid - moved, nobodys + moved


def _worths_of_vendor(
    catalog: ChargingCatalog, tariff: PinnedTariff, wholesale: Wholesale | None, used: Vector, unpaid: Vector, owed: Vector
) -> tuple[int, int]:
    """Worth of the vendor's work in micro-yuan: used, and unpaid.

    Valued by the vendor's claim (`owed` for both together), else by the session's own tariff in money.
    """
    unit = wholesale.tariff.unit if wholesale else tariff.unit
    if not unit.startswith("CURRENCY:"):
        return 0, 0
    whole = sum(owed) if wholesale else sum(charges_of(tariff, added_up(used, unpaid)))
    if not unpaid:
        return catalog.worth(whole, unit), 0
    paid = sum(charges_of(wholesale.tariff if wholesale else tariff, used))
    return catalog.worth(paid, unit), catalog.worth(max(0, whole - paid), unit)


def _unbudgeted_worth(records: list[Record], worth: int) -> int:
    """The part of the worth of used work that no budget covers: of each record by its tokens, then by its amounts."""
    if not any(record.unbudgeted for record in records):
        return 0
    tokens = sum(sum(record.charge.tokens) for record in records)
    return sum(
        worth * sum(record.charge.tokens) * record.unbudgeted // (tokens * record.charge.charged)
        for record in records
        if record.unbudgeted
    )


def _notices(account: Account, records: list[Record], now_us: int) -> list[Entry]:
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


def wholesale_of(wholesale: tuple[Wholesale, ...], attempts: tuple[VendorAttempt, ...]) -> Wholesale | None:
    """The claim of the vendor whose work was used: that of the last attempt which cost it something."""
    for attempt in reversed(attempts):
        if attempt.outcome in _COSTLY_OUTCOMES:
            for each in wholesale:
                if (each.vendor_id, each.vendor_model_id) == (attempt.vendor_id, attempt.vendor_model_id):
                    return each
            return None
    # A session may be swept before it named an attempt; a single vendor leaves no doubt.
    return wholesale[0] if len(wholesale) == 1 and not attempts else None


def settled_answer(records: list[Record]) -> Settled:
    """The answer that says what all records charge."""
    first = records[0]
    answer = Settled(first.charge.tariff.unit, first.charged, first.debt, (), first.absorbed)
    if len(records) == 1:
        return answer
    for record in records[1:]:
        charge = (record.charge.tariff.unit, record.charged, record.debt)
        absorbed = others_absorbed(answer, record.absorbed)
        answer = msgspec.structs.replace(answer, others=(*answer.others, charge), others_absorbed=absorbed)
    return answer
