"""The journal's bytes: a fixed script writes what it has always written, and is told what it was always told.

Rules and their order, the writer's batches and the encoding all show in the digests. They change with a new rule or field alone,
never with a change of the code's shape.
"""

import asyncio
import hashlib
import random
from collections import Counter
from operator import add
from typing import Any, get_args

import msgspec

from services.accounting.core.commands import (
    Answer,
    BucketAdded,
    CancelOrder,
    CancelSubscription,
    ChangeSubscription,
    ChargeEvent,
    CloseCause,
    Command,
    ConfirmPayment,
    CreateSession,
    EndRuns,
    Failed,
    FindRecords,
    GrantBucket,
    Granted,
    ListRuns,
    OpenAccount,
    OpenRun,
    Ordered,
    PlaceOrder,
    Provenance,
    ReadAccount,
    ReduceBucket,
    RefundSession,
    Refused,
    ReleaseSession,
    SendTransfer,
    SetLimits,
    Settled,
    TopUpBucket,
    UpdateSession,
    WriteOffDebt,
)
from services.accounting.core.entries import Entry, SessionSettled, VendorAttempt
from services.accounting.core.offerings import Schedule, TariffVersion
from services.accounting.core.terms import Allowance, LimitKind, Payment, Scope
from services.accounting.journal.audit import audit
from services.accounting.journal.codec import decode_row
from services.accounting.journal.memory import MemoryStore
from services.accounting.writer.asking import ask
from services.accounting.writer.owner import Owner, OwnerSettings
from services.token_classes import NOTHING, Vector
from tests.accounting.ledger import DAY, EACH, HOUR, MINUTE, SECOND, UNIT, catalog_of, flat, offering, tariff
from tests.accounting.shop import CNY, DAILY, MONEY, POINTS, SHANGHAI, allowance, for_sale, limit
from tests.simulation.virtual_time import LoopClock, VirtualLoop, run_virtually

# Of the rows, the checkpoints and the answers of the script's seeds.
ROWS = "aa598568c3c21c0926d834b8256c30c001a3456d620a995def5de7ce553c7361"
CHECKPOINTS = "2291893af246650ad00ce97b0b99d5ad0a6cfe7a4a15a7c5b69e63c35bc5569c"
ANSWERS = "03102743bf0d524bc5996aefe9c9b105b54ea0c493a3725db8087c482161bd01"

# The same of a script in which keys mint others and calls have labels.
ROWS_WITH_RUNS = "532dc82a26194f60883bd88dcf4797ed2cf4061e28996dd7320312b6d6af1200"
ANSWERS_WITH_RUNS = "4145ace2f98e642c2a28dbec540064c9eebf32002dc6e6af5946805a551ebf85"

# With these together each kind of entry is written; in the last one a gift comes back.
SEEDS = (0, 1, 2, 3, 4, 9)
OF_RUNS = {"RunOpened", "RunsEnded", "CallLabelled"}
PARTITIONS = 3
ACCOUNTS = [f"acct-{number:08d}" for number in range(7)]
MODELS = ("flat", "tiered", "free", "other")
TIERED = tariff("TOKEN", (-1, EACH, EACH // 10, EACH, 2 * EACH, 2 * EACH), (10, 3 * EACH, EACH, 4 * EACH, 5 * EACH, 7 * EACH))
TARIFFS = {"flat": flat(EACH), "tiered": TIERED, "free": flat(0), "other": flat(333_333)}
IN_MONEY = dict.fromkeys(MODELS, MONEY) | {"flat": flat(EACH, CNY)}


def gift(amount: int, **more: Any) -> Allowance:
    return allowance(amount, valid_for_us=2 * DAY, transferable=True, notice_percents=(50, 80, 100), **more)


def catalog() -> Any:
    base = offering({model: TARIFFS[model] for model in MODELS}, window=16)
    schedules = (*base.schedules, Schedule(CNY, (TariffVersion(0, IN_MONEY),)))
    limits = (
        limit("rate", Scope.KEY, LimitKind.REQUEST_RATE, 30),
        limit("tokens", Scope.MEMBER, LimitKind.TOKEN_RATE, 6_000),
        limit("parallel", Scope.ACCOUNT, LimitKind.CONCURRENT_SESSIONS, 6),
        limit("window", Scope.MEMBER, LimitKind.USAGE, 900 * UNIT, unit="TOKEN", window_us=HOUR),
    )
    wholesale = tuple((f"vendor-{each}", "m", Schedule(CNY, (TariffVersion(0, {"*": MONEY, "m": MONEY}),))) for each in "ab")
    return catalog_of(
        base._replace(schedules=schedules, limits=limits, debt_limits={CNY: 40 * UNIT, "TOKEN": 40 * UNIT}),
        for_sale("pack", gift(60), cycle=None),
        for_sale("paid-pack", gift(90), price=7 * UNIT, cycle=None),
        for_sale("daily", allowance(50, rollover_cap=20 * UNIT), price=3 * UNIT, cycle=DAILY, grace_days=1),
        for_sale("free-daily", allowance(30), cycle=DAILY),
        for_sale("credit", allowance(20, CNY, postpaid=True), cycle=DAILY),
        for_sale("points", allowance(500, "POINT"), cycle=DAILY, tariffs={"flat": POINTS}),
        offering(TARIFFS, offering_id="expecting", window=16, expected=True),
        offering(TARIFFS, offering_id="calibrating", window=16, calibrated=True),
        time_zone=SHANGHAI,
        wholesale={"flat": wholesale, "tiered": wholesale[:1]},
    )


class Script:
    """What several accounts are asked, one command after another, by the seed alone."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.loop = VirtualLoop()
        self.clock = LoopClock(self.loop)
        self.store = MemoryStore()
        self.answers: Counter[str] = Counter()
        self.told = hashlib.sha256()
        self.sent: list[Command] = []
        # charging_id -> (account, its last number, its usage so far).
        self.running: dict[str, tuple[str, int, Vector]] = {}
        self.ended: list[tuple[str, str]] = []
        self.buckets: list[tuple[str, str]] = []
        self.orders: list[tuple[str, Ordered]] = []

    async def main(self, length: int) -> None:
        owner = Owner(
            self.store,
            self.clock,
            OwnerSettings(
                incarnation="own-pinned",
                partitions=PARTITIONS,
                held_wait_ms=0,
                checkpoint_age_ms=100,
                hot_accounts_max=3,
                # As many accounts are packed as when a state had two fields less: so rows have the bytes that they had then.
                packed_bytes_max=3_009,
            ),
        )
        owner.set_catalog(catalog())
        await owner.start()
        await owner.take_all()
        running = asyncio.create_task(owner.run())
        for number, account_id in enumerate(ACCOUNTS):
            await self.ask(owner, OpenAccount(account_id, ("", "expecting", "calibrating")[number % 3]))
        for number in range(length):
            if self.rng.random() < 0.25:
                # Also backwards, as clocks are set.
                self.clock.offset_us += self.rng.choice([SECOND, 5 * SECOND, 10 * SECOND, -SECOND])
            if self.rng.random() < 0.02:
                self.clock.offset_us += self.rng.choice([MINUTE, 20 * MINUTE, 7 * HOUR])
            if self.rng.random() < 0.1:
                await asyncio.sleep(self.rng.choice([0.02, 0.6]))
            # Several at once go into one commit.
            commands = [await self.command(each) for each in range(4 * number, 4 * number + self.rng.choice([1, 1, 1, 4]))]
            self.sent += commands
            await asyncio.gather(*(self.ask(owner, command) for command in commands))
        await asyncio.sleep(10)
        await owner.stop()
        running.cancel()
        await asyncio.wait([running])

    async def ask(self, owner: Owner, command: Command) -> None:
        answer = await ask(owner, command)
        kind = self.kind_of(answer)
        self.answers[kind] += 1
        # Sentences for people may change.
        told = msgspec.structs.replace(answer, message="") if isinstance(answer, Failed | Refused) else answer
        self.told.update(kind.encode() + msgspec.msgpack.encode(told))
        if isinstance(command, CreateSession) and not isinstance(answer, Granted):
            self.running.pop(command.charging_id, None)
        if isinstance(answer, BucketAdded):
            self.buckets.append((command.account_id, answer.bucket_id))
        elif isinstance(answer, Ordered):
            self.orders.append((command.account_id, answer))
            self.buckets += [(command.account_id, bucket_id) for bucket_id in answer.bucket_ids]
        elif isinstance(answer, Settled) and isinstance(command, ReleaseSession | ChargeEvent):
            self.ended.append((command.account_id, command.charging_id))

    @staticmethod
    def kind_of(answer: Answer) -> str:
        if isinstance(answer, Failed):
            return answer.fault.name
        return answer.code.name if isinstance(answer, Refused) else type(answer).__name__

    def used(self) -> Vector:
        rng = self.rng
        return (rng.randint(0, 9), rng.randint(0, 3), rng.randint(0, 2), rng.randint(0, 30), rng.randint(0, 5))

    def attempts(self) -> tuple[VendorAttempt, ...]:
        return tuple(
            VendorAttempt(f"vendor-{self.rng.choice('ab')}", "m", self.rng.choice(["answered", "broken", "refused"]), 200, 7)
            for _ in range(self.rng.randint(0, 2))
        )

    def charging_id(self, age_us: int = 0) -> str:
        rng = self.rng
        text = f"{(self.clock.now_us() - age_us) // 1_000:012x}7{rng.getrandbits(12):03x}8{rng.getrandbits(60):015x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    async def command(self, number: int) -> Command:
        rng = self.rng
        account_id = rng.choice(ACCOUNTS)
        if rng.random() < 0.72:
            return self.of_a_session(account_id, number)
        if rng.random() < 0.15 and self.sent:
            return rng.choice(self.sent[-40:])
        if rng.random() < 0.35:
            return await self.of_corrections(account_id, number)
        return self.of_sales(account_id, number)

    def of_a_session(self, account_id: str, number: int) -> Command:
        rng = self.rng
        what = rng.choices(("create", "update", "release", "event", "grant"), (6, 5, 5, 1, 2))[0]
        if what == "grant":
            unit = rng.choice(["TOKEN", "TOKEN", CNY])
            amount = rng.choice([rng.randint(1, 99), rng.randint(1, 120) * UNIT])
            begin_us = rng.choice([None, None, self.clock.now_us() + MINUTE])
            span_us = rng.choice([MINUTE, HOUR, 30 * DAY])
            return GrantBucket(account_id, unit, amount, begin_us, span_us, rng.randint(0, 2), f"grant-{number}")
        if what == "event":
            model_id = rng.choice(MODELS)
            charging_id = self.charging_id(rng.choice([0, 0, MINUTE, HOUR]))
            return ChargeEvent(
                account_id, charging_id, 1, model_id, "key-1", "mbr-1", self.used(), Provenance.VENDOR, self.attempts()
            )
        if what == "create" or not self.running:
            charging_id = self.charging_id()
            self.running[charging_id] = (account_id, 1, NOTHING)
            model_id = rng.choice((*MODELS, "unknown") if rng.random() < 0.1 else MODELS)
            key, member = rng.choice(["key-1", "key-2"]), rng.choice(["mbr-1", "mbr-2"])
            bound, output_limit = rng.randint(0, 12), rng.choice([0, 5, 20, 40])
            return CreateSession(
                account_id,
                charging_id,
                1,
                model_id,
                key,
                member,
                bound,
                output_limit,
                metered=rng.random() < 0.7,
                input_expected=rng.choice([-1, bound // 2]),
                input_calibrated=rng.choice([-1, bound // 2]),
            )
        charging_id = rng.choice(list(self.running))
        account_id, last, used = self.running[charging_id]
        last += rng.choice([1, 1, 1, 1, 2, 0])
        used = tuple(map(add, used, self.used()))
        if what == "update":
            self.running[charging_id] = (account_id, last, used)
            return UpdateSession(account_id, charging_id, last, used, used[3] + rng.randint(0, 40))
        if rng.random() < 0.7:
            del self.running[charging_id]
        unpaid = (0, 0, 0, rng.randint(1, 9), 0) if rng.random() < 0.1 else ()
        cause = rng.choice([CloseCause.NORMAL, CloseCause.NORMAL, CloseCause.CLIENT_GONE])
        provenance = rng.choice([Provenance.VENDOR, Provenance.ESTIMATED])
        return ReleaseSession(account_id, charging_id, last, used, provenance, cause, self.attempts(), unpaid)

    def of_sales(self, account_id: str, number: int) -> Command:
        rng = self.rng
        awaiting = [(owner, each.order_id) for owner, each in self.orders if each.state == "awaiting_payment"]
        subscribed = [(owner, each.subscription_id) for owner, each in self.orders if each.subscription_id]
        offering_id = rng.choice(["pack", "pack", "paid-pack", "daily", "free-daily", "credit", "points", "nothing"])
        payment = Payment.FREE if offering_id in ("pack", "free-daily", "credit", "points") else rng.choice([*Payment][1:])
        what = rng.choices(("order", "confirm", "cancel", "change", "end", "limits"), (6, 3, 1, 2, 1, 1))[0]
        if what == "confirm" and awaiting:
            return ConfirmPayment(*rng.choice(awaiting[-3:]), f"paid-{number}")
        if what == "cancel" and awaiting:
            return CancelOrder(*rng.choice(awaiting[-3:]), "no more")
        if what == "change" and subscribed:
            return ChangeSubscription(*rng.choice(subscribed), offering_id, payment, rng.random() < 0.6, f"change-{number}")
        if what == "end" and subscribed:
            return CancelSubscription(*rng.choice(subscribed), rng.random() < 0.5)
        if what == "limits":
            subject = rng.choice(["account", "member:mbr-2", "key:key-2"])
            valid_until_us = rng.choice([0, 0, self.clock.now_us() + HOUR])
            day = limit("day", Scope.KEY, LimitKind.USAGE, 300 * UNIT, unit="TOKEN", window_us=DAY)
            return SetLimits(account_id, subject, (day,) if rng.random() < 0.5 else (), valid_until_us)
        return PlaceOrder(account_id, offering_id, payment, f"order-{number}")

    async def of_corrections(self, account_id: str, number: int) -> Command:
        rng = self.rng
        what = rng.choices(("top up", "reduce", "write off", "transfer", "refund", "find", "read"), (2, 2, 2, 4, 3, 1, 1))[0]
        owner_id, bucket_id = rng.choice(self.buckets[-30:]) if self.buckets else (account_id, "none")
        amount = rng.randint(1, 20) * UNIT
        if what == "top up":
            return TopUpBucket(owner_id, bucket_id, amount, f"top-up-{number}")
        if what == "reduce":
            return ReduceBucket(owner_id, bucket_id, amount, "too much", f"reduce-{number}")
        if what == "write off":
            return WriteOffDebt(account_id, rng.choice(["TOKEN", CNY]), rng.randint(1, 5) * UNIT, "kindness", f"write-off-{number}")
        if what == "transfer":
            receiver = rng.choice([*ACCOUNTS, "acct-unknown"])
            return SendTransfer(owner_id, receiver, bucket_id, amount, f"transfer-{number}")
        records = [each for each in await self.entries() if isinstance(each[1], SessionSettled) and each[1].charged]
        if what == "refund" and records:
            seq, record = rng.choice(records)
            assert isinstance(record, SessionSettled)
            part = rng.randint(1, record.charged)
            return RefundSession(
                record.account_id,
                record.charging_id,
                seq,
                record.record_number,
                record.tariff.unit,
                record.charged,
                part,
                DAY,
                "goodwill",
                f"refund-{number}",
            )
        if what == "find" and self.ended:
            return FindRecords(*rng.choice(self.ended))
        return ReadAccount(account_id)

    async def rows(self) -> list[tuple[int, int, bytes]]:
        """(part_id, seq, body), in order."""
        found = []
        for part_id in range(PARTITIONS):
            found += [(part_id, row.seq, row.body) for row in await self.store.read_rows(part_id, 0, 100_000)]
        return found

    async def entries(self) -> list[tuple[int, Entry]]:
        return [(seq, entry) for _, seq, body in await self.rows() for entry in decode_row(body, "it")]


class RunScript(Script):
    """The script, with runs below a key and below one another, and labels on some calls."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.minted: list[tuple[str, str]] = []

    async def command(self, number: int) -> Command:
        rng = self.rng
        if rng.random() < 0.06:
            account_id = rng.choice(ACCOUNTS)
            parent = rng.choice(["key-1", *(key for owner, key in self.minted if owner == account_id)])
            self.minted.append((account_id, f"run-{number}"))
            budgets = (("TOKEN", rng.randint(1, 200) * UNIT), *([(CNY, rng.randint(1, 9) * UNIT)] if rng.random() < 0.3 else []))
            life_us = rng.choice([0, MINUTE, HOUR])
            return OpenRun(
                account_id, f"run-{number}", parent, parent != "key-1", "mbr-1", budgets, life_us, (), rng.choice([0, 0, 2])
            )
        if rng.random() < 0.02 and self.minted:
            return EndRuns(*rng.choice(self.minted), "")
        if rng.random() < 0.02 and self.minted:
            return ListRuns(rng.choice(self.minted)[0], "key-1")
        command = await super().command(number)
        keys = [key for owner, key in self.minted[-40:] if owner == command.account_id]
        if isinstance(command, CreateSession) and keys and rng.random() < 0.7:
            label = rng.choice(["", "", "nightly"])
            return msgspec.structs.replace(command, key_id=rng.choice(keys), key_is_minted=True, run_label=label)
        if isinstance(command, ChargeEvent) and keys:
            return msgspec.structs.replace(command, key_id=rng.choice(keys))
        return command


async def pinned(script: Script, length: int) -> tuple[bytes, bytes, Counter[str]]:
    """Runs a script; the digests of its rows and checkpoints, and how many entries of each kind it wrote."""
    await script.main(length)
    findings = await script.store.snapshot(audit)
    assert findings.breaches == []
    rows, checkpoints = hashlib.sha256(), hashlib.sha256()
    for part_id, seq, body in await script.rows():
        rows.update(b"%d/%d/" % (part_id, seq))
        rows.update(body)
    for part_id in range(PARTITIONS):
        for account_id, checkpoint in sorted((await script.store.load_checkpoints(part_id, ACCOUNTS)).items()):
            checkpoints.update(account_id.encode() + checkpoint.body)
    return rows.digest(), checkpoints.digest(), Counter(type(entry).__name__ for _, entry in await script.entries())


def test_a_fixed_script_writes_the_bytes_it_has_always_written() -> None:
    rows, checkpoints, told = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    kinds: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    for seed in SEEDS:
        script = Script(seed)
        of_rows, of_checkpoints, written = run_virtually(pinned(script, 700), script.loop)
        rows.update(of_rows)
        checkpoints.update(of_checkpoints)
        told.update(script.told.digest())
        kinds += written
        answers += script.answers
    # Else it would pin little.
    assert {each.__name__ for each in get_args(Entry)} - kinds.keys() == OF_RUNS | {"PriceReturned"}
    unseen = {"BucketsAdded", "Done", "Failed", "GrantEnded", "KnownCall", "OfferingHad", "Refused", "Returned", "RunsFound"}
    assert {each.__name__ for each in get_args(Answer)} - unseen - answers.keys() == set()
    assert (rows.hexdigest(), checkpoints.hexdigest(), told.hexdigest()) == (ROWS, CHECKPOINTS, ANSWERS)


def test_a_fixed_script_of_runs_writes_the_bytes_it_has_always_written() -> None:
    rows, told = hashlib.sha256(), hashlib.sha256()
    kinds: Counter[str] = Counter()
    for seed in range(3):
        script = RunScript(seed)
        of_rows, _, written = run_virtually(pinned(script, 700), script.loop)
        rows.update(of_rows)
        told.update(script.told.digest())
        kinds += written
    assert kinds.keys() >= OF_RUNS
    assert (rows.hexdigest(), told.hexdigest()) == (ROWS_WITH_RUNS, ANSWERS_WITH_RUNS)
