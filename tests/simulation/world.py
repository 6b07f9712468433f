"""One simulated run: clients that repeat until they are answered, an owner that crashes and freezes, and the final account.

What clients were told is kept here and compared with the store at the end. The expected charge of each call is computed by
plain arithmetic on what the client reported, apart from the charging rules.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from services.accounting.core.account.state import Account
from services.accounting.core.amounts import ContextTier, PinnedTariff
from services.accounting.core.commands import (
    Answer,
    BucketAdded,
    CloseCause,
    Command,
    CreateSession,
    Failed,
    Fault,
    GrantBucket,
    Granted,
    GrantedNow,
    OpenAccount,
    Ordered,
    PlaceOrder,
    Provenance,
    ReadAccount,
    Refused,
    ReleaseSession,
    SendTransfer,
    Settled,
    TransferView,
    UpdateSession,
)
from services.accounting.core.offerings import CatalogContent, ChargingCatalog, OfferingRules, Schedule, TariffVersion
from services.accounting.core.terms import Allowance, Limit, LimitKind, Payment, Scope, Terms
from services.accounting.journal.audit import audit
from services.accounting.journal.memory import MemoryStore
from services.accounting.writer.asking import ask, view_of
from services.accounting.writer.owner import Owner, OwnerSettings
from services.token_classes import NOTHING, Vector, total_input, total_output
from tests.simulation.auditor import journal_breaches
from tests.simulation.faulty_store import Faults, FaultyStore
from tests.simulation.virtual_time import LoopClock, VirtualLoop, run_virtually

PARTITIONS = 4
TCC_S = 20
UNIT = 1_000_000
RATES = {"cheap": (UNIT, UNIT), "dear": (3 * UNIT, 7 * UNIT)}
MONEY = "CURRENCY:CNY"
MEMBERS = ("mbr-1", "mbr-2", "mbr-3")
# What one member may use of one account's tokens, for good.
CAP = 2_000 * UNIT
GIFT = 300 * UNIT
# So little that a good part of what no bucket covers is absorbed.
DEBT_LIMIT = 30 * UNIT
# How much more than was granted some calls use, as when a vendor keeps no limit.
EXCESS_MAX = 200
# A run takes about two minutes of virtual time; one that does not end has lost somebody's answer.
_VIRTUAL_S_MAX = 600
_TRY_AGAIN = (Fault.UNAVAILABLE, Fault.STORE_UNAVAILABLE, Fault.NOT_OWNER)


class SimulationError(AssertionError):
    """The run broke a promise."""


@dataclass
class Report:
    """What happened in a run."""

    counts: Counter[str] = field(default_factory=Counter)


def _lasting(answer: Granted | Settled | BucketAdded) -> object:
    """An answer without what rates leave at its moment, which a repeat is not told."""
    if type(answer) is GrantedNow:
        lasting = Granted(*(getattr(answer, name) for name in Granted.__struct_fields__))
        return lasting, answer.ends_in_us, answer.ending_subject
    return (answer, 0, "") if type(answer) is Granted else answer


def _schedule(unit: str) -> Schedule:
    """The same number of units a token in every unit, so that what a call costs does not depend on what pays it."""
    tariffs = {}
    for model, (input_rate, output_rate) in RATES.items():
        rates = (*(input_rate * UNIT,) * 3, *(output_rate * UNIT,) * 2)
        tariffs[model] = PinnedTariff("flat", 1, unit, (ContextTier(-1, rates),))
    return Schedule(unit, (TariffVersion(0, tariffs),))


def catalog() -> ChargingCatalog:
    limits = (
        Limit("cap", Scope.MEMBER, LimitKind.USAGE, CAP, unit="TOKEN"),
        Limit("parallel", Scope.KEY, LimitKind.CONCURRENT_SESSIONS, 8),
        Limit("rate", Scope.ACCOUNT, LimitKind.REQUEST_RATE, 600, 30),
    )
    debt_limits = {"TOKEN": DEBT_LIMIT, MONEY: DEBT_LIMIT}
    rules = OfferingRules("default", (_schedule("TOKEN"), _schedule(MONEY)), None, 64, limits=limits, debt_limits=debt_limits)
    allowance = Allowance("gift", "TOKEN", GIFT, "", 1, 60_000_000, 0, postpaid=False, transferable=True, notice_percents=(50, 100))
    terms = Terms("gift", 0, "", None, False, 0, (allowance,), (), rules.final_action, "UTC")
    gift = OfferingRules("gift", (_schedule("TOKEN"),), None, 64, terms=terms)
    content = CatalogContent(
        offerings={"default": rules, "gift": gift},
        model_ids=frozenset(RATES),
        default_offering_id="default",
        validity_us=TCC_S * 1_000_000 // 2,
    )
    return ChargingCatalog(content)


@dataclass
class _Call:
    """A client's call: its request, and what the client knows of its session."""

    account_id: str
    member_id: str
    model_id: str
    charging_id: str
    input_tokens: int
    input_bound: int
    output_limit: int
    # Output tokens granted so far, and made so far.
    granted: int = 0
    output: int = 0
    # The number of the last request, and the time at which it was sent.
    number: int = 1
    renewed_s: float = 0.0
    # The cost of the usage that the last Update reported.
    reported: int = 0

    @property
    def used(self) -> Vector:
        return (self.input_tokens, 0, 0, self.output, 0)


class World:
    """See the module."""

    def __init__(self, seed: int, *, faults: Faults, fenced: bool, calls: int) -> None:
        self.loop = VirtualLoop()
        self.clock = LoopClock(self.loop)
        self.rng = random.Random(seed)
        self.faults = faults
        self.fenced = fenced
        self.calls = calls
        self.report = Report()
        self.store = MemoryStore()
        self.owner: Owner | None = None
        self.connection: FaultyStore | None = None
        self.running: asyncio.Task[None] | None = None
        self.accounts = [f"acct-{seed:06x}{number:02d}" for number in range(5)]
        self.granted: Counter[str] = Counter()
        # What calls that were never late were charged in tokens, by account and member.
        self.by_member: Counter[tuple[str, str]] = Counter()
        # account_id -> the least and the most that all its calls may have been charged.
        self.least: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        # What owners said that had lost their partitions.
        self.stale: list[str] = []
        self.zombies: list[tuple[FaultyStore, asyncio.Task[None]]] = []

    async def main(self) -> Report:
        await self.begin()
        chaos = asyncio.create_task(self.chaos())
        async with asyncio.TaskGroup() as group:
            for account_id in self.accounts:
                group.create_task(self.open(account_id))
        async with asyncio.TaskGroup() as group:
            for number in range(self.calls):
                group.create_task(self.call(number))
            group.create_task(self.top_ups())
            group.create_task(self.gifts())
        chaos.cancel()
        # From here on nothing fails any more.
        self.faults = Faults()
        await self.calm()
        await asyncio.sleep(3 * TCC_S)
        await self.check()
        return self.report

    # The owner and what befalls it

    async def begin(self) -> None:
        await self.start_owner()

    async def calm(self) -> None:
        """A last owner takes over from whatever the chaos left."""
        for connection, _ in self.zombies:
            connection.thawed.set()
        await self.start_owner()

    def owner_of(self, account_id: str) -> Owner | None:
        """Whom a client asks; None while there is nobody. Errors: `SimulationError` when an owner has died by itself."""
        if self.owner is not None and self.running is not None and self.running.done() and not self.running.cancelled():
            raise SimulationError(f"the owner died: {self.running.exception()!r}")
        return self.owner

    async def start_owner(self) -> None:
        while True:
            connection = FaultyStore(self.store, self.rng, self.faults, fenced=self.fenced)
            owner = Owner(
                connection,
                self.clock,
                OwnerSettings(
                    incarnation=f"own-{self.rng.getrandbits(32):08x}",
                    partitions=PARTITIONS,
                    held_wait_ms=self.rng.choice((0, 200)),
                    checkpoint_age_ms=self.rng.choice((100, 1_000, 5_000)),
                    # So few that accounts are packed, leave memory and come back.
                    hot_accounts_max=self.rng.choice((1, 2, 100)),
                    packed_bytes_max=self.rng.choice((0, 2_000, 1_000_000)),
                ),
            )
            owner.set_catalog(catalog())
            try:
                await owner.start()
                await owner.take_all()
            except Exception:
                await asyncio.sleep(0.05)
                continue
            self.owner, self.connection = owner, connection
            self.running = asyncio.create_task(owner.run())
            return

    async def chaos(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(0.1, 8.0))
            what = self.rng.choice(("crash", "freeze", "restart", "clock"))
            self.report.counts[what] += 1
            assert self.owner and self.connection and self.running
            if what == "clock":
                self.clock.offset_us += self.rng.choice((-1_500_000, 500_000, 2_000_000))
            elif what == "crash":
                # kill -9: nothing more of it happens.
                self.running.cancel()
                self.owner = None
                await asyncio.sleep(self.rng.choice((0.0, 0.3)))
                await self.start_owner()
            elif what == "freeze":
                # SIGSTOP past its lease: a successor serves, then the old one wakes up and goes on writing.
                self.connection.thawed.clear()
                self.zombies.append((self.connection, self.running))
                old_connection, old_owner = self.connection, self.owner
                await self.start_owner()
                await asyncio.sleep(self.rng.uniform(0.0, 1.0))
                newcomer = f"acct-{self.rng.getrandbits(48):012x}"
                await self.ask(OpenAccount(newcomer, ""))
                old_connection.thawed.set()
                asyncio.create_task(self.ask_for_newcomer(old_owner, newcomer))  # noqa: RUF006  # as below
                # Some clients still talk to the one that was left behind.
                for _ in range(3):
                    asyncio.create_task(self.ask_zombie(old_owner))  # noqa: RUF006  # the loop's end takes them along
            else:
                await self.owner.stop()
                self.running.cancel()
                await self.start_owner()

    async def ask_zombie(self, owner: Owner) -> None:
        account_id = self.rng.choice(self.accounts)
        async with asyncio.timeout(30):
            await ask(owner, self._create(account_id, self._charging_id(), "cheap", 5, 5))

    async def ask_for_newcomer(self, owner: Owner, account_id: str) -> None:
        """The one that was left behind cannot know the account; it must not say that there is none."""
        async with asyncio.timeout(30):
            answer = await ask(owner, self._create(account_id, self._charging_id(), "cheap", 5, 5))
        if not (isinstance(answer, Failed) and answer.fault in _TRY_AGAIN):
            self.stale.append(f"an owner that had lost its partitions said {answer}")

    async def ask(self, command: Command) -> Answer:
        """Sends a command, and the same again, until it is answered for good; sometimes twice at once."""
        while True:
            owner = self.owner_of(command.account_id)
            if owner is None:
                await asyncio.sleep(0.05)
                continue
            asked = [asyncio.ensure_future(ask(owner, command)) for _ in range(2 if self.rng.random() < 0.1 else 1)]
            done, pending = await asyncio.wait(asked, timeout=3.0)
            for each in pending:
                each.cancel()
            answers = [each.result() for each in done]
            final = [each for each in answers if not (isinstance(each, Failed) and each.fault in _TRY_AGAIN)]
            mutated = [each for each in final if isinstance(each, Granted | Settled | BucketAdded)]
            if len(mutated) == 2 and _lasting(mutated[0]) != _lasting(mutated[1]):
                raise SimulationError(f"a repeat got another answer: {mutated}")
            if final:
                return final[0]
            self.report.counts["repeated"] += 1
            await asyncio.sleep(self.rng.uniform(0.01, 0.2))

    # The clients

    def _charging_id(self) -> str:
        text = f"{self.clock.now_us() // 1_000:012x}7{self.rng.getrandbits(12):03x}8{self.rng.getrandbits(60):015x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    @staticmethod
    def _create(
        account_id: str, charging_id: str, model_id: str, input_bound: int, output_limit: int, member_id: str = MEMBERS[0]
    ) -> CreateSession:
        return CreateSession(account_id, charging_id, 1, model_id, "key-1", member_id, input_bound, output_limit, metered=True)

    async def open(self, account_id: str) -> None:
        await self.ask(OpenAccount(account_id, ""))
        await self.top_up(account_id, "first")

    async def top_up(self, account_id: str, key: str) -> None:
        amount = self.rng.randint(100, 5_000) * UNIT
        valid_for_us = self.rng.choice((5, 60, 3_600)) * 1_000_000
        unit = self.rng.choice(("TOKEN", "TOKEN", MONEY))
        answer = await self.ask(GrantBucket(account_id, unit, amount, None, valid_for_us, self.rng.randint(0, 2), key))
        if not isinstance(answer, BucketAdded):
            raise SimulationError(f"a top-up was answered with {answer}")
        self.granted[account_id] += amount

    async def top_ups(self) -> None:
        for number in range(self.calls // 10):
            await asyncio.sleep(self.rng.uniform(0.0, 2.0))
            await self.top_up(self.rng.choice(self.accounts), f"more-{number}")

    async def gifts(self) -> None:
        """Accounts order what they may give away, and give it away."""
        for number in range(self.calls // 10):
            await asyncio.sleep(self.rng.uniform(0.0, 2.0))
            giver, getter = self.rng.sample(self.accounts, 2)
            order = await self.ask(PlaceOrder(giver, "gift", Payment.FREE, f"gift-{number}"))
            if not isinstance(order, Ordered):
                raise SimulationError(f"an order was answered with {order}")
            self.granted[giver] += GIFT
            self.report.counts["ordered"] += 1
            amount = self.rng.randint(1, GIFT)
            sent = await self.ask(SendTransfer(giver, getter, order.bucket_ids[0], amount, f"gift-{number}"))
            if isinstance(sent, TransferView):
                self.report.counts["transferred"] += 1

    async def call(self, number: int) -> None:
        await asyncio.sleep(self.rng.uniform(0.0, self.calls / 5))
        call = self._new_call()
        if await self._is_granted(call):
            await self._stream(call)
            await self._end(call)

    def _new_call(self) -> _Call:
        rng = self.rng
        account_id = rng.choice(self.accounts)
        model_id = rng.choice(list(RATES))
        charging_id = self._charging_id()
        input_tokens, output_limit = rng.randint(0, 50), rng.choice((1, 20, 300))
        bound = input_tokens + rng.randint(0, 30)
        return _Call(account_id, rng.choice(MEMBERS), model_id, charging_id, input_tokens, bound, output_limit)

    async def _is_granted(self, call: _Call) -> bool:
        call.renewed_s = self.loop.time()
        command = self._create(
            call.account_id, call.charging_id, call.model_id, call.input_bound, call.output_limit, call.member_id
        )
        answer = await self.ask(command)
        if isinstance(answer, Refused):
            self.report.counts["refused"] += 1
            return False
        if not isinstance(answer, Granted):
            raise SimulationError(f"a Create was answered with {answer}")
        self.report.counts["created"] += 1
        call.granted = answer.output_granted
        return True

    async def _stream(self, call: _Call) -> None:
        """Makes the call's output, and updates its session on the way."""
        rng = self.rng
        wanted_output = min(call.output_limit, rng.randint(0, call.output_limit))
        while call.output < wanted_output:
            await asyncio.sleep(rng.choice((0.01, 0.5, 3.0)))
            call.output = min(wanted_output, call.granted, call.output + rng.randint(1, 40))
            if call.output >= wanted_output:
                break
            call.number += 1
            used = call.used
            call.renewed_s = self.loop.time()
            answer = await self.ask(UpdateSession(call.account_id, call.charging_id, call.number, used, call.granted + 64))
            if isinstance(answer, Failed) and answer.fault == Fault.SESSION_CLOSED:
                # It was swept while the answers did not come through.
                break
            if not isinstance(answer, Granted):
                raise SimulationError(f"an Update was answered with {answer}")
            call.reported = self._cost(call.model_id, used)
            if answer.output_granted <= call.granted and call.output >= call.granted:
                break
            call.granted = max(call.granted, answer.output_granted)

    async def _end(self, call: _Call) -> None:
        """Releases the call's session: in time, late, with more than was granted, or never."""
        rng = self.rng
        exceeded = rng.random() < 0.05
        if exceeded:
            self.report.counts["exceeded"] += 1
            call.output += rng.randint(1, EXCESS_MAX)
        unpaid = (0, 0, 0, rng.randint(1, 20), 0) if rng.random() < 0.1 else ()
        cost = self._cost(call.model_id, call.used) + self._cost(call.model_id, unpaid or NOTHING)
        if rng.random() < 0.1:
            # The client's edge dies: the sweep charges what was last reported.
            self.report.counts["abandoned"] += 1
            self.least[call.account_id] += call.reported
            self.most[call.account_id] += call.reported
            return
        late = rng.random() < 0.05
        if late:
            self.report.counts["late"] += 1
            await asyncio.sleep(1.5 * TCC_S)
        number, vendor = call.number + 1, Provenance.VENDOR
        release = ReleaseSession(call.account_id, call.charging_id, number, call.used, vendor, CloseCause.NORMAL, (), unpaid)
        settled = await self.ask(release)
        if not isinstance(settled, Settled):
            raise SimulationError(f"a Release was answered with {settled}")
        self.report.counts["released"] += 1
        for unit, charged, _ in ((settled.unit, settled.charged, settled.debt), *settled.others):
            # Output after its sweep, or beyond its grant, was charged beyond its hold, from quota that others may have had.
            if unit == "TOKEN" and not late and not exceeded and self.loop.time() - call.renewed_s < TCC_S:
                self.by_member[call.account_id, call.member_id] += charged
        self.least[call.account_id] += cost
        self.most[call.account_id] += cost
        if rng.random() < 0.2:
            repeated = await self.ask(release)
            if repeated != settled:
                raise SimulationError(f"a repeated Release got {repeated}, not {settled}")

    @staticmethod
    def _cost(model_id: str, used: Vector) -> int:
        input_rate, output_rate = RATES[model_id]
        return total_input(used) * input_rate + total_output(used) * output_rate

    # The final account

    async def check(self) -> None:
        findings = await self.store.snapshot(audit)
        if findings.breaches:
            raise SimulationError("; ".join(findings.breaches[:5]))
        if self.stale:
            raise SimulationError(self.stale[0])
        breaches = await self.store.snapshot(journal_breaches)
        if breaches:
            raise SimulationError("; ".join(breaches[:5]))
        if findings.in_transit:
            raise SimulationError(f"{findings.in_transit} micro-units are still in transit")
        for (account_id, member_id), charged in self.by_member.items():
            if charged > CAP:
                raise SimulationError(f"{member_id} of {account_id} used {charged} TOKEN under a cap of {CAP}")
        if findings.open_sessions:
            raise SimulationError(f"{findings.open_sessions} holds outlived Tcc")
        for account_id in self.accounts:
            answer = await self.ask(ReadAccount(account_id))
            account: Account = view_of(answer)
            granted = sum(bucket.granted for bucket in account.buckets.values() if not bucket.source.startswith("transfer"))
            if granted != self.granted[account_id]:
                raise SimulationError(f"{account_id}: {granted} granted, {self.granted[account_id]} bought")
            incurred = sum(debt.incurred for debt in account.debts.values())
            repaid = sum(debt.repaid for debt in account.debts.values())
            absorbed = sum(loss.absorbed for loss in account.losses.values())
            rated = sum(bucket.consumed for bucket in account.buckets.values()) - repaid + incurred + absorbed
            if not self.least[account_id] <= rated <= self.most[account_id]:
                raise SimulationError(
                    f"{account_id}: {rated} rated, its calls come to {self.least[account_id]} to {self.most[account_id]}"
                )
            for unit, debt in account.debts.items():
                if debt.outstanding > DEBT_LIMIT:
                    raise SimulationError(f"{account_id} owes {debt.outstanding} {unit}, it may owe {DEBT_LIMIT}")
            self.report.counts["debt"] += incurred
            self.report.counts["absorbed"] += absorbed


def simulate(seed: int, *, fenced: bool = True, calls: int = 150) -> Report:
    """Runs one seed. Errors: `SimulationError` when a promise was broken."""
    rng = random.Random(seed)
    faults = Faults(
        commit_lost=rng.choice((0.0, 0.01, 0.05)),
        outcome_unknown=rng.choice((0.0, 0.01, 0.05)),
        read_fails=rng.choice((0.0, 0.02)),
    )
    world = World(seed, faults=faults, fenced=fenced, calls=calls)
    report: Report = run_virtually(asyncio.wait_for(world.main(), _VIRTUAL_S_MAX), world.loop)
    return report
