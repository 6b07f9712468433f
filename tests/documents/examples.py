"""The examples of docs/charging.md: lines of what is done and, behind an arrow, what comes of it; run against the charging core.

An example has an account of its own, on the offering of its first line, and the base catalog with the offerings that the document's
yaml blocks add. Times are those of the cell's time zone.
"""

import re
import tempfile
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from services.accounting.core.commands import (
    Answer,
    ApplyDue,
    CancelOrder,
    CancelSubscription,
    ChangeSubscription,
    ChargeEvent,
    CloseCause,
    ConfirmPayment,
    CreateSession,
    EndRuns,
    EndTransfer,
    Failed,
    GrantBucket,
    Granted,
    ListRuns,
    OpenRun,
    Ordered,
    PlaceOrder,
    Provenance,
    ReduceBucket,
    RefundPurchase,
    RefundSession,
    Refused,
    ReleaseSession,
    ResultCode,
    RunsFound,
    SendTransfer,
    SetLimits,
    Settled,
    UpdateSession,
    WriteOffDebt,
)
from services.accounting.core.entries import NoticeReached, SessionSettled
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.terms import Limit, LimitKind, Payment, Scope
from services.accounting.rpc.catalog import charging_catalog
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from services.runtime.identifiers import uuid7
from services.token_classes import TOKEN_CLASSES, Vector, total_input, total_output
from tests.accounting.ledger import ACCOUNT_ID, UNIT, VALIDITY_US, Ledger, replayed, state_of, usage

ZONE: Final = ZoneInfo("Asia/Shanghai")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


def catalog_with(layer: str) -> ChargingCatalog:
    """The base catalog with a layer of YAML over it."""
    with tempfile.TemporaryDirectory(prefix="tokenline-examples-") as folder:
        (Path(folder) / "examples.yaml").write_text(layer, encoding="utf-8")
        return charging_catalog(load_catalog([base_catalog_folder(), Path(folder)]), VALIDITY_US)


def amount_text(amount: int) -> str:
    """Micro-units as whole units: 1,234.5."""
    return f"{Decimal(amount) / UNIT:,.6f}".rstrip("0").rstrip(".")


def unit_of(name: str) -> str:
    return name if name in ("TOKEN", "POINT") else f"CURRENCY:{name}"


def name_of(unit: str) -> str:
    return unit.removeprefix("CURRENCY:")


def micro_units(text: str) -> int:
    return int(Decimal(text.replace(",", "")) * UNIT)


class Example:
    """One account and what is done with it."""

    def __init__(self, catalog: ChargingCatalog) -> None:
        self._catalog = catalog
        self._ledger: Ledger | None = None
        # Open and closed sessions by their names: charging_id and last number.
        self._sessions: dict[str, tuple[str, int]] = {}
        self._order_id = ""
        self._subscription_id = ""
        self._key_number = 0

    @property
    def ledger(self) -> Ledger:
        assert self._ledger is not None, "an example begins with: account on OFFERING at TIME"
        return self._ledger

    def run(self, line: str) -> str:
        """Does a line; what comes of it. Errors: `ValueError` for a line that says nothing known."""
        for pattern, method in _LINES:
            if (match := re.fullmatch(pattern, line)) is not None:
                return method(self, **match.groupdict())
        raise ValueError(f"nobody knows what to do with: {line}")

    def check(self) -> None:
        """The journal alone makes the account again."""
        assert state_of(replayed(self.ledger.rows)) == state_of(self.ledger.state)

    # Time and what there is

    def account(self, offering: str, time: str) -> str:
        self._ledger = Ledger(self._catalog, offering, _microseconds(time))
        return ""

    def at(self, time: str) -> str:
        time_us = _microseconds(time)
        assert time_us >= self.ledger.now_us, "time goes forward"
        self.ledger.now_us = time_us
        self.ledger.ask(ApplyDue(ACCOUNT_ID))
        return ""

    def wait(self, number: str, unit: str) -> str:
        self.ledger.pass_time(int(number) * _SECONDS[unit] * 1_000_000)
        self.ledger.ask(ApplyDue(ACCOUNT_ID))
        return ""

    def balance(self) -> str:
        free: dict[str, int] = {}
        for bucket in self.ledger.state.buckets.values():
            if bucket.valid_from_us <= self.ledger.now_us < bucket.valid_until_us:
                free[bucket.unit] = free.get(bucket.unit, 0) + bucket.remaining
        shown = [f"{amount_text(amount)} {name_of(unit)}" for unit, amount in free.items()]
        owed = [
            f"owes {amount_text(debt.outstanding)} {name_of(unit)}"
            for unit, debt in self.ledger.state.debts.items()
            if debt.outstanding
        ]
        return ", ".join(shown + owed) or "nothing"

    def buckets(self) -> str:
        """What each bucket has, in burn order."""
        parts = []
        for bucket_id in self.ledger.state.burn_order:
            bucket = self.ledger.state.buckets[bucket_id]
            until = datetime.fromtimestamp(bucket.valid_until_us / 1e6, ZONE)
            parts.append(f"{amount_text(bucket.remaining)} {name_of(bucket.unit)} until {until:%Y-%m-%d %H:%M}")
        return "; ".join(parts) or "none"

    def subscription(self) -> str:
        subscription = self.ledger.state.subscriptions[self._subscription_id]
        end = datetime.fromtimestamp(subscription.cycle_end_us / 1e6, ZONE)
        return f"{subscription.terms.offering_id} {subscription.state}, cycle {subscription.cycle_number} to {end:%Y-%m-%d %H:%M}"

    def notices(self) -> str:
        reached = [f"{entry.percent} %" for entry in self.ledger.entries if isinstance(entry, NoticeReached)]
        return ", ".join(reached) or "none"

    # Money and quota

    def top_up(self, amount: str, unit: str, days: str, priority: str | None, group: str | None) -> str:
        seconds = int(days) * _SECONDS["day"]
        return self._done(
            GrantBucket(
                ACCOUNT_ID,
                unit_of(unit),
                micro_units(amount),
                None,
                seconds * 1_000_000,
                int(priority or 0),
                self._key(),
                model_group=group or "",
            )
        )

    def order(self, offering: str, payment: str | None) -> str:
        return self._ordered(PlaceOrder(ACCOUNT_ID, offering, _payment(payment), self._key()))

    def confirm(self) -> str:
        return self._ordered(ConfirmPayment(ACCOUNT_ID, self._order_id, "paid at the counter"))

    def cancel_order(self) -> str:
        return self._ordered(CancelOrder(ACCOUNT_ID, self._order_id, "changed their mind"))

    def change(self, offering: str, when: str, payment: str | None) -> str:
        at_once = when == "at once"
        return self._done(ChangeSubscription(ACCOUNT_ID, self._subscription_id, offering, _payment(payment), at_once, self._key()))

    def cancel(self, when: str) -> str:
        return self._done(CancelSubscription(ACCOUNT_ID, self._subscription_id, when == "at once"))

    def give(self, amount: str, unit: str) -> str:
        bucket_id = next(each.bucket_id for each in self.ledger.state.buckets.values() if each.unit == unit_of(unit))
        return self._done(SendTransfer(ACCOUNT_ID, "acct-neighbour", bucket_id, micro_units(amount), self._key()))

    def gift_ended(self, how: str) -> str:
        (transfer_id,) = (each.transfer_id for each in self.ledger.state.transfers.values() if each.state == "in_transit")
        return self._done(EndTransfer(ACCOUNT_ID, transfer_id, "" if how == "arrives" else "no such account"))

    def in_transit(self) -> str:
        moving = [each for each in self.ledger.state.transfers.values() if each.state == "in_transit"]
        return amount_text(sum(each.amount for each in moving))

    def refund(self, amount: str, name: str, days: str) -> str:
        charging_id, _ = self._sessions[name]
        seq, settled = next(
            (seq, entry)
            for seq, entries in self.ledger.rows
            for entry in entries
            if isinstance(entry, SessionSettled) and entry.charging_id == charging_id
        )
        return self._done(
            RefundSession(
                account_id=ACCOUNT_ID,
                charging_id=charging_id,
                sequence_number=seq,
                record_number=1,
                unit=settled.tariff.unit,
                charged=settled.charged,
                amount=micro_units(amount),
                valid_for_us=int(days) * _SECONDS["day"] * 1_000_000,
                reason="the answer was cut off",
                idempotency_key=self._key(),
                debt=settled.debt,
                settled_us=settled.time_us,
            )
        )

    def refund_subscription(self) -> str:
        return self._done(RefundPurchase(ACCOUNT_ID, self._subscription_id, "moved away", self._key()))

    def take_back(self, amount: str, unit: str) -> str:
        bucket_id = next(each.bucket_id for each in self.ledger.state.buckets.values() if each.unit == unit_of(unit))
        return self._done(ReduceBucket(ACCOUNT_ID, bucket_id, micro_units(amount), "granted by mistake", self._key()))

    def write_off(self, amount: str, unit: str) -> str:
        return self._done(WriteOffDebt(ACCOUNT_ID, unit_of(unit), micro_units(amount), "uncollectable", self._key()))

    def limit(self, subject: str, amount: str, unit: str, days: str | None) -> str:
        """A budget for good, and a life of its own."""
        scope = Scope[subject.split(":", maxsplit=1)[0].upper()]
        limit = Limit("budget", scope, LimitKind.USAGE, micro_units(amount), unit=unit_of(unit))
        until_us = self.ledger.now_us + int(days) * _SECONDS["day"] * 1_000_000 if days else 0
        return self._done(SetLimits(ACCOUNT_ID, subject, (limit,), until_us))

    # Calls

    def call(self, model: str, usage: str, who: str | None) -> str:
        """A whole call whose input is known exactly and whose output is limited to what it makes."""
        used = _usage(usage)
        answer = self._create("call", model, total_input(used), total_output(used), metered=False, who=who)
        if not isinstance(answer, Granted):
            return self._said(answer)
        return self._said(self._release("call", used, CloseCause.NORMAL))

    def begin(self, name: str, model: str, bound: str, output: str, who: str | None, expected: str | None) -> str:
        return self._said(
            self._create(name, model, _number(bound), _number(output), metered=True, who=who, expected=_number(expected or "-1"))
        )

    def more(self, name: str, usage: str) -> str:
        charging_id, number = self._sessions[name]
        self._sessions[name] = (charging_id, number + 1)
        used = _usage(usage)
        wanted = self.ledger.state.sessions[charging_id].output_limit
        return self._said(self.ledger.ask(UpdateSession(ACCOUNT_ID, charging_id, number + 1, used, wanted)))

    def end(self, name: str, usage: str) -> str:
        return self._said(self._release(name, _usage(usage), CloseCause.NORMAL))

    def leave(self, name: str, usage: str, unpaid: str) -> str:
        """The client has gone; nobody pays for a part of what the vendor made."""
        charging_id, number = self._sessions[name]
        self._sessions[name] = (charging_id, number + 1)
        command = _release_of(charging_id, number + 1, _usage(usage), CloseCause.CLIENT_GONE)
        return self._said(self.ledger.ask(msgspec.structs.replace(command, unpaid=_usage(unpaid))))

    def absorbed(self) -> str:
        losses = [f"{amount_text(loss.absorbed)} {name_of(unit)}" for unit, loss in self.ledger.state.losses.items()]
        return ", ".join(losses) or "nothing"

    def repeat(self, name: str, usage: str) -> str:
        charging_id, number = self._sessions[name]
        return self._said(self.ledger.ask(_release_of(charging_id, number, _usage(usage), CloseCause.NORMAL)))

    def event(self, model: str, usage: str) -> str:
        command = ChargeEvent(
            ACCOUNT_ID, uuid7(self.ledger.now_us), 1, model, "key-1", "mbr-1", _usage(usage), Provenance.VENDOR, ()
        )
        return self._said(self.ledger.ask(command))

    def held(self, name: str) -> str:
        session = self.ledger.state.sessions[self._sessions[name][0]]
        amounts = [
            f"{amount_text(amount)} {name_of(self.ledger.state.buckets[bucket_id].unit)}"
            for bucket_id, amount in session.hold.items()
        ]
        return ", ".join(amounts) or "nothing"

    def _create(
        self, name: str, model: str, bound: int, output: int, *, metered: bool, who: str | None, expected: int = -1
    ) -> Answer:
        # Names are used again: two calls within a microsecond are two all the same.
        self.ledger.now_us += 1
        key_id, member_id = (who or "key-1 of mbr-1").split(" of ")
        charging_id = uuid7(self.ledger.now_us)
        self._sessions[name] = (charging_id, 1)
        return self.ledger.ask(
            CreateSession(
                *(ACCOUNT_ID, charging_id, 1, model, key_id, member_id, bound, output),
                metered=metered,
                input_expected=expected,
            )
        )

    def _release(self, name: str, used: Vector, cause: CloseCause) -> Answer:
        charging_id, number = self._sessions[name]
        self._sessions[name] = (charging_id, number + 1)
        return self.ledger.ask(_release_of(charging_id, number + 1, used, cause))

    def _said(self, answer: Answer) -> str:
        match answer:
            case Granted():
                return f"granted {answer.output_granted:,}" + (", the last" if answer.final else "")
            case Settled():
                charges = [(answer.unit, answer.charged, answer.debt), *answer.others]
                said = " and ".join(f"{amount_text(charged)} {name_of(unit)}" for unit, charged, _ in charges)
                owed = [f", owes {amount_text(debt)} {name_of(unit)}" for unit, _, debt in charges if debt]
                losses = (answer.absorbed, *answer.others_absorbed)
                lost = [
                    f", {amount_text(loss)} {name_of(unit)} absorbed"
                    for (unit, _, _), loss in zip(charges, losses, strict=False)
                    if loss
                ]
                return f"charged {said}{''.join(owed + lost)}"
            case Refused():
                why = answer.limit_id or answer.code.name
                if answer.code == ResultCode.QUOTA_LIMIT_REACHED and answer.message:
                    why = answer.message
                elif answer.code == ResultCode.QUOTA_LIMIT_REACHED and not answer.limit_id:
                    why = f"{amount_text(answer.needed)} {name_of(answer.unit)} needed, {amount_text(answer.free)} free"
                elif answer.retry_after_us:
                    why += f", again in {-(-answer.retry_after_us // 1_000_000):,} s"
                return f"refused: {why}" + (", the rest is held" if answer.held else "")
            case Failed():
                return f"refused: {answer.message}"
        raise ValueError(f"nobody knows how to say {answer}")

    def mint(self, key: str, parent: str, amount: str, unit: str, seconds: str | None) -> str:
        """A run of a key below another one; keys that were not minted were issued."""
        is_minted = parent in self.ledger.state.runs
        budgets = ((unit_of(unit), micro_units(amount)),)
        life_us = _number(seconds or "0") * 1_000_000
        return self._done(OpenRun(ACCOUNT_ID, key, parent, is_minted, "mbr-1", budgets, life_us, (), 0))

    def end_run(self, key: str) -> str:
        return self._done(EndRuns(ACCOUNT_ID, key, ""))

    def runs(self, key: str) -> str:
        answer = self.ledger.ask(ListRuns(ACCOUNT_ID, key))
        assert isinstance(answer, RunsFound)
        return "; ".join(
            f"{run.key_id} {amount_text(each.used)} of {amount_text(each.amount)} {name_of(each.unit)} "
            f"in {run.calls} call{'s' if run.calls != 1 else ''}"
            for run in answer.runs
            for each in run.budgets
        )

    def _done(self, command: Any) -> str:
        answer = self.ledger.ask(command)
        return f"refused: {answer.message}" if isinstance(answer, Failed) else "done"

    def _ordered(self, command: Any) -> str:
        answer = self.ledger.ask(command)
        if not isinstance(answer, Ordered):
            return self._said(answer)
        self._order_id = answer.order_id
        self._subscription_id = answer.subscription_id or self._subscription_id
        return answer.state.replace("_", " ")

    def _key(self) -> str:
        self._key_number += 1
        return f"example-{self._key_number}"


def _release_of(charging_id: str, number: int, used: Vector, cause: CloseCause) -> ReleaseSession:
    return ReleaseSession(ACCOUNT_ID, charging_id, number, used, Provenance.VENDOR, cause, ())


def _microseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).replace(tzinfo=ZONE).timestamp() * 1_000_000)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _usage(text: str) -> Vector:
    counts = {name: _number(number) for name, number in re.findall(r"(\w+) ([\d,]+)", text)}
    return usage(**{{"cached": "cached_input"}.get(name, name): number for name, number in counts.items()})


def _payment(text: str | None) -> Payment:
    return Payment[text.upper().replace(" ", "_")] if text else Payment.FREE


_AMOUNT: Final = r"(?P<amount>[\d,.]+) (?P<unit>TOKEN|POINT|[A-Z]{3})"
_PAID: Final = r"(?: paid by (?P<payment>prepaid|phone bill|external))?"
_CLASS: Final = rf"(?:cached|{'|'.join(TOKEN_CLASSES)})"
_USAGE: Final = rf"(?P<usage>(?:{_CLASS} [\d,]+ ?)+)"
_WHO: Final = r"(?: by (?P<who>[\w-]+ of [\w-]+))?"
_WHEN: Final = r"(?P<when>at once|at the cycle's end)"
_LINES: Final[tuple[tuple[str, Callable[..., str]], ...]] = (
    (r"account on (?P<offering>[\w-]+) at (?P<time>[\d: -]+)", Example.account),
    (r"at (?P<time>[\d: -]+)", Example.at),
    (r"wait (?P<number>\d+) (?P<unit>second|minute|hour|day)s?", Example.wait),
    (r"balance", Example.balance),
    (r"buckets", Example.buckets),
    (r"subscription", Example.subscription),
    (r"notices", Example.notices),
    (
        rf"top up {_AMOUNT} for (?P<days>\d+) days(?: at priority (?P<priority>\d+))?(?: for models of (?P<group>[\w-]+))?",
        Example.top_up,
    ),
    (rf"order (?P<offering>[\w-]+){_PAID}", Example.order),
    (r"confirm the payment", Example.confirm),
    (r"cancel the order", Example.cancel_order),
    (rf"change to (?P<offering>[\w-]+) {_WHEN}{_PAID}", Example.change),
    (rf"cancel {_WHEN}", Example.cancel),
    (rf"give {_AMOUNT}", Example.give),
    (r"the gift (?P<how>arrives|comes back)", Example.gift_ended),
    (r"in transit", Example.in_transit),
    (r"refund (?P<amount>[\d,.]+) of (?P<name>\w+) for (?P<days>\d+) days", Example.refund),
    (r"refund the subscription", Example.refund_subscription),
    (rf"take back {_AMOUNT}", Example.take_back),
    (rf"write off {_AMOUNT}", Example.write_off),
    (rf"budget of {_AMOUNT} for (?P<subject>account|(?:key|member):[\w-]+)(?: for (?P<days>\d+) days)?", Example.limit),
    (
        rf"mint (?P<key>[\w-]+) of (?P<parent>[\w-]+) with {_AMOUNT}(?: for (?P<seconds>[\d,]+) seconds)?",
        Example.mint,
    ),
    (r"end the run of (?P<key>[\w-]+)", Example.end_run),
    (r"runs of (?P<key>[\w-]+)", Example.runs),
    (rf"call (?P<model>[\w.-]+) {_USAGE}{_WHO}", Example.call),
    (
        rf"begin (?P<name>\w+): (?P<model>[\w.-]+) input (?P<bound>[\d,]+)(?: expected (?P<expected>[\d,]+))?"
        rf" output (?P<output>[\d,]+){_WHO}",
        Example.begin,
    ),
    (rf"more (?P<name>\w+): {_USAGE}", Example.more),
    (rf"end (?P<name>\w+): {_USAGE}", Example.end),
    (rf"leave (?P<name>\w+): {_USAGE}unpaid (?P<unpaid>(?:{_CLASS} [\d,]+ ?)+)", Example.leave),
    (r"absorbed", Example.absorbed),
    (rf"repeat (?P<name>\w+): {_USAGE}", Example.repeat),
    (rf"event (?P<model>[\w.-]+) {_USAGE}", Example.event),
    (r"held by (?P<name>\w+)", Example.held),
)
