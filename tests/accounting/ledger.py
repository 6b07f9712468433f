"""One account under test: the core run as the owner runs it, with a clock that stands still until it is moved."""

from collections.abc import Iterable
from typing import Any

import msgspec

from services.accounting.core.account.evolve import evolve
from services.accounting.core.account.state import Account, Bucket
from services.accounting.core.amounts import ContextTier, PinnedTariff
from services.accounting.core.commands import (
    Answer,
    BucketAdded,
    ChargeEvent,
    CloseCause,
    Command,
    CreateSession,
    Failed,
    GrantBucket,
    Granted,
    OpenAccount,
    Provenance,
    ReleaseSession,
    Settled,
    UpdateSession,
)
from services.accounting.core.decide import decide
from services.accounting.core.due import due_entries
from services.accounting.core.entries import Entry, VendorAttempt
from services.accounting.core.offerings import CatalogContent, ChargingCatalog, OfferingRules, Schedule, TariffVersion
from services.accounting.journal.audit import _AccountBook, _compare, _post
from services.accounting.journal.codec import decode_row, encode_row
from services.runtime.identifiers import uuid7
from services.token_classes import INDEX, TOKEN_CLASSES, Vector, trimmed

START_US = 1_700_000_000_000_000
ACCOUNT_ID = "acct-0123456789"
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
# One whole unit in micro-units, and the rate of one unit a token.
UNIT = 1_000_000
EACH = 1_000_000 * UNIT
VALIDITY_US = 30 * SECOND
TCC_US = 2 * VALIDITY_US
WINDOW = 64


def tariff(unit: str, *tiers: tuple[int, ...], version: int = 1) -> PinnedTariff:
    """A tariff of rows: above_input_tokens, then the rates in the order of classes."""
    return PinnedTariff("test", version, unit, tuple(ContextTier(above, tuple(rates)) for above, *rates in tiers))


def flat(rate: int, unit: str = "TOKEN") -> PinnedTariff:
    """The same rate for every class."""
    return tariff(unit, (-1, rate, rate, rate, rate, rate))


TARIFFS = {
    "flat": flat(EACH),
    "thirds": flat(333_333),
    "free": flat(0),
    "output-only": tariff("TOKEN", (-1, 0, 0, 0, EACH, EACH)),
    "usd": flat(2 * EACH, "CURRENCY:USD"),
    "tiered": tariff("TOKEN", (-1, EACH, EACH // 10, EACH, 2 * EACH, 2 * EACH), (10, 3 * EACH, EACH, 4 * EACH, 5 * EACH, 7 * EACH)),
}


def offering(tariffs: dict[str, PinnedTariff], *, offering_id: str = "default", window: int = WINDOW, **more: Any) -> OfferingRules:
    """An offering that prices these models, each in the unit of its tariff."""
    units = dict.fromkeys(each.unit for each in tariffs.values())
    schedules = tuple(
        Schedule(unit, (TariffVersion(0, {model: each for model, each in tariffs.items() if each.unit == unit}),)) for unit in units
    )
    return OfferingRules(offering_id, schedules, more.pop("model_ids", None), window, **more)


def catalog_of(*offerings: OfferingRules, **more: Any) -> ChargingCatalog:
    """A catalog of these offerings, the first being the default."""
    models = {model for each in offerings for schedule in each.schedules for model in schedule.versions[0].rates}
    content = CatalogContent(
        offerings={each.offering_id: each for each in offerings},
        model_ids=frozenset(models | more.pop("model_ids", set())),
        default_offering_id=offerings[0].offering_id,
        validity_us=VALIDITY_US,
        **more,
    )
    return ChargingCatalog(content)


CATALOG = catalog_of(
    offering(TARIFFS),
    offering({"*": flat(EACH)}, offering_id="everything"),
    offering({"*": flat(EACH)}, offering_id="limited", model_ids=frozenset({"flat"})),
    model_ids={"unrated"},
)


def usage(
    input: int = 0,  # noqa: A002  # the name of the class
    output: int = 0,
    **classes: int,
) -> Vector:
    """Counts by class."""
    counts = [0] * len(TOKEN_CLASSES)
    for name, count in {"input": input, "output": output, **classes}.items():
        counts[INDEX[name]] = count
    return trimmed(counts)


def class_of(counts: Vector, name: str) -> int:
    """What a vector has of a class."""
    return counts[INDEX[name]] if INDEX[name] < len(counts) else 0


class Ledger:
    """An account, what was written about it, and short names for what can be asked of it."""

    def __init__(self, catalog: ChargingCatalog = CATALOG, offering_id: str = "", now_us: int = START_US) -> None:
        self.catalog = catalog
        self.now_us = now_us
        self.serving_since_us = 0
        self.account: Account | None = None
        # One journal row a command: (seq, its entries).
        self.rows: list[tuple[int, list[Entry]]] = []
        self.ask(OpenAccount(ACCOUNT_ID, offering_id))

    @property
    def state(self) -> Account:
        assert self.account is not None
        return self.account

    @property
    def last_entries(self) -> list[Entry]:
        """What the last command wrote, what was due before it included."""
        return self.rows[-1][1]

    @property
    def entries(self) -> list[Entry]:
        """The whole journal."""
        return [entry for _, entries in self.rows for entry in entries]

    def ask(self, command: Command) -> Answer:
        """Applies what is due and the command, and checks that the account adds up."""
        written: list[Entry] = []
        self.rows.append((len(self.rows) + 1, written))
        if self.account is not None:
            self._apply_due()
        entries, answer = decide(self.account, command, self.now_us, self.catalog)
        for entry in entries:
            self._write(entry)
        self._apply_due()
        check_conservation(self.state, self.serving_since_us)
        # The journal can be read again: each field has a value of its type.
        assert decode_row(encode_row(written), "the row") == written
        return answer

    def _apply_due(self) -> None:
        for entry in due_entries(self.state, self.now_us, self.serving_since_us, used=True):
            self._write(entry)

    def unchanged_by(self, command: Command) -> Answer:
        """The answer to a command that must not change anything."""
        before = state_of(self.state)
        answer = self.ask(command)
        assert self.last_entries == []
        assert state_of(self.state) == before
        return answer

    def _write(self, entry: Entry) -> None:
        seq, written = self.rows[-1]
        self.account = evolve(self.account, entry, seq, len(written))
        written.append(entry)

    def pass_time(self, time_us: int) -> None:
        self.now_us += time_us

    def charging_id(self) -> str:
        """A new session's."""
        return uuid7(self.now_us)

    # Short names

    def grant(
        self,
        amount: int,
        *,
        key: str | None = None,
        unit: str = "TOKEN",
        valid_for_us: int = DAY,
        valid_from_us: int | None = None,
        priority: int = 0,
    ) -> BucketAdded:
        """A bucket of `amount` micro-units."""
        key = key if key is not None else f"key-{len(self.rows)}"
        answer = self.ask(GrantBucket(ACCOUNT_ID, unit, amount, valid_from_us, valid_for_us, priority, key))
        assert isinstance(answer, BucketAdded), answer
        return answer

    def create_command(
        self, input_bound: int, output_limit: int, *, model: str = "flat", metered: bool = False, charging_id: str | None = None
    ) -> CreateSession:
        charging_id = charging_id or self.charging_id()
        return CreateSession(ACCOUNT_ID, charging_id, 1, model, "key-1", "mbr-1", input_bound, output_limit, metered)

    def create(
        self, input_bound: int, output_limit: int, *, model: str = "flat", metered: bool = False, charging_id: str | None = None
    ) -> tuple[str, Granted]:
        """A session that must be granted."""
        command = self.create_command(input_bound, output_limit, model=model, metered=metered, charging_id=charging_id)
        answer = self.ask(command)
        assert isinstance(answer, Granted), answer
        return command.charging_id, answer

    def update(self, charging_id: str, number: int, used: Vector, wanted: int, attempts: tuple[VendorAttempt, ...] = ()) -> Granted:
        answer = self.ask(UpdateSession(ACCOUNT_ID, charging_id, number, used, wanted, attempts))
        assert isinstance(answer, Granted), answer
        return answer

    def release(self, charging_id: str, number: int, used: Vector) -> Settled:
        answer = self.ask(release_command(charging_id, number, used))
        assert isinstance(answer, Settled), answer
        return answer

    def event(self, used: Vector, *, model: str = "flat", charging_id: str | None = None) -> Settled:
        answer = self.ask(event_command(charging_id or self.charging_id(), used, model=model))
        assert isinstance(answer, Settled), answer
        return answer

    def bucket(self, added: BucketAdded) -> Bucket:
        return self.state.buckets[added.bucket_id]

    def amounts(self, added: BucketAdded) -> tuple[int, int, int, int]:
        """(remaining, reserved, consumed, expired) of a bucket."""
        bucket = self.bucket(added)
        return bucket.remaining, bucket.reserved, bucket.consumed, bucket.expired


def release_command(charging_id: str, number: int, used: Vector, *, close_cause: CloseCause = CloseCause.NORMAL) -> ReleaseSession:
    """A Release with the vendor's own count."""
    return ReleaseSession(ACCOUNT_ID, charging_id, number, used, Provenance.VENDOR, close_cause, ())


def event_command(charging_id: str, used: Vector, *, model: str = "flat", number: int = 1) -> ChargeEvent:
    """An Event with the vendor's own count."""
    return ChargeEvent(ACCOUNT_ID, charging_id, number, model, "key-1", "mbr-1", used, Provenance.VENDOR, ())


def fault_of(answer: Answer) -> str:
    """The name of a `Failed`'s fault; asserts that there is a sentence for people."""
    assert isinstance(answer, Failed), answer
    assert answer.message
    return answer.fault.name


def check_conservation(account: Account, serving_since_us: int | None = None) -> None:
    """Every bucket and every debt adds up, nothing is negative, every hold is reserved, and buckets burn in their order.

    With `serving_since_us`, since when its owner serves: what is due next will be looked at in time.
    """
    held: dict[str, int] = {}
    for session in account.sessions.values():
        for bucket_id, amount in session.hold.items():
            held[bucket_id] = held.get(bucket_id, 0) + amount
    for bucket_id, bucket in account.buckets.items():
        parts = (bucket.remaining, bucket.reserved, bucket.consumed, bucket.expired, bucket.transferred)
        assert bucket.granted == sum(parts), bucket
        assert min(parts) >= 0, bucket
        assert bucket.reserved == held.get(bucket_id, 0), (bucket, account.sessions)
        assert not (bucket.ended and bucket.remaining), bucket
    assert account.burn_order == sorted(account.burn_order, key=lambda bucket_id: account.buckets[bucket_id].burn_key())
    for debt in account.debts.values():
        assert min(debt.incurred, debt.repaid, debt.written_off, debt.outstanding) >= 0, debt
    if serving_since_us is None:
        return
    due_times = [bucket.valid_until_us for bucket in account.buckets.values() if not bucket.ended]
    due_times += [max(session.sweep_us, serving_since_us + TCC_US) for session in account.sessions.values()]
    if due_times:
        assert account.next_due_us is not None
        assert account.next_due_us <= min(due_times), "something due would be missed"


def state_of(account: Account) -> dict[str, Any]:
    """All of an account as plain values but the hint of when to look next, which no entry carries."""
    state: dict[str, Any] = {field: msgspec.to_builtins(getattr(account, field)) for field in account.__struct_fields__}
    del state["next_due_us"]
    return state


def audited(ledger: Ledger) -> list[str]:
    """What the auditor finds."""
    book = _AccountBook()
    breaches = [breach for entry in ledger.entries for breach in _post(book, entry)]
    return breaches + list(_compare(book, ledger.state))


def replayed(rows: Iterable[tuple[int, list[Entry]]]) -> Account:
    """The account that a journal alone makes."""
    account: Account | None = None
    for seq, entries in rows:
        for index, entry in enumerate(entries):
            account = evolve(account, entry, seq, index)
    assert account is not None
    return account
