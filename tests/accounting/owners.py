"""Owners under test: in virtual time, on a store whose commits can be held back, lost, or done without being told."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from services.accounting.core.account.state import Account
from services.accounting.core.commands import (
    Answer,
    BucketAdded,
    Command,
    CreateSession,
    GrantBucket,
    OpenAccount,
    ReadAccount,
    ReleaseSession,
    UpdateSession,
)
from services.accounting.core.entries import Entry
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.journal.audit import Findings, audit
from services.accounting.journal.codec import decode_row
from services.accounting.journal.memory import MemoryStore
from services.accounting.journal.store import Checkpoint, Claim, ClaimedPartition, JournalRow, PartitionWrite
from services.accounting.writer.asking import ask, view_of
from services.accounting.writer.holdings import Lost
from services.accounting.writer.owner import Owner, OwnerSettings
from services.accounting.writer.transfers import Deliver
from services.runtime.errors import ServiceError
from services.runtime.identifiers import uuid7
from tests.accounting.ledger import (
    ACCOUNT_ID,
    CATALOG,
    DAY,
    TCC_US,
    UNIT,
    check_conservation,
    event_command,
    release_command,
    usage,
)
from tests.simulation.virtual_time import LoopClock, VirtualLoop, run_virtually
from tokenline.errors.v1 import errors_pb2

TCC_S = TCC_US / 1_000_000


class HeldStore(MemoryStore):
    """A store in memory whose commits wait while `hold` is on, and fail as they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.let_go.set()
        # Set while a commit waits.
        self.waiting = asyncio.Event()
        # What befalls the next commits: "lost" or "done but not told".
        self.failures: list[str] = []
        self.reads_failing = False
        self.claims_failing = False
        self.loads_let_go = asyncio.Event()
        self.loads_let_go.set()
        self.loads = 0
        self.commits: list[Sequence[PartitionWrite]] = []

    def hold(self) -> None:
        self.let_go.clear()

    async def commit(self, writes: Sequence[PartitionWrite]) -> set[int]:
        self.waiting.set()
        # A commit takes time, even a short one.
        await asyncio.sleep(0.001)
        await self.let_go.wait()
        self.waiting.clear()
        failure = self.failures.pop(0) if self.failures else None
        if failure == "lost":
            raise unavailable()
        held = await super().commit(writes)
        self.commits.append(writes)
        if failure is not None:
            raise unavailable()
        return held

    async def claim(self, incarnation: str, era: int, claims: Sequence[Claim], *, again: bool) -> list[ClaimedPartition]:
        await asyncio.sleep(0.001)
        if self.claims_failing:
            raise unavailable()
        return await super().claim(incarnation, era, claims, again=again)

    async def read_rows(self, part_id: int, after_seq: int, limit: int) -> list[JournalRow]:
        if self.reads_failing:
            raise unavailable()
        return await super().read_rows(part_id, after_seq, limit)

    async def load_checkpoints(self, part_id: int, account_ids: Iterable[str]) -> dict[str, Checkpoint]:
        wanted = list(account_ids)
        self.loads += 1
        await asyncio.sleep(0.001)
        await self.loads_let_go.wait()
        if self.reads_failing:
            raise unavailable()
        return await super().load_checkpoints(part_id, wanted)

    async def journal(self) -> list[Entry]:
        """Every committed entry, partition after partition."""
        return [
            entry
            for part in await self.partitions()
            for row in await MemoryStore.read_rows(self, part.part_id, 0, 1_000_000)
            for entry in decode_row(row.body, "it")
        ]


def unavailable() -> ServiceError:
    return ServiceError(errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, "injected")


class Collector:
    """A caller that keeps what it is told, in order."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Answer]] = []
        self.flushed = 0
        self._told = asyncio.Event()

    def answer(self, tag: int, answer: Answer) -> None:
        self.answers.append((tag, answer))

    def flush(self) -> None:
        self.flushed += 1
        self._told.set()

    async def wait(self, count: int) -> list[Answer]:
        """Returns once so many answers have come."""
        while len(self.answers) < count:
            self._told.clear()
            await self._told.wait()
        return [answer for _, answer in self.answers]


class Desk:
    """A store, the owner that serves it, and short names for what to ask."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.clock = LoopClock(loop)
        self.store = HeldStore()
        self.owner: Owner
        self.running: asyncio.Task[None]
        self.starts = 0

    async def start(
        self,
        *,
        catalog: ChargingCatalog | None = CATALOG,
        lost: Lost | None = None,
        deliver: Deliver | None = None,
        **settings: int,
    ) -> Owner:
        """A new owner takes over; the old one, if there is one, knows nothing of it. `settings` are those of `OwnerSettings`."""
        self.starts += 1
        usual = OwnerSettings(
            incarnation=f"own-{self.starts}",
            partitions=2,
            held_wait_ms=0,
            checkpoint_age_ms=5_000,
            hot_accounts_max=1_000,
            packed_bytes_max=1_000_000,
        )
        self.owner = Owner(
            self.store,
            self.clock,
            usual._replace(**settings),  # type: ignore[arg-type]  # no field of another type is set so
            lost=lost,
            deliver=deliver,
        )
        if catalog is not None:
            self.owner.set_catalog(catalog)
        await self.owner.start()
        await self.owner.take_all()
        self.running = asyncio.create_task(self.owner.run())
        self.running.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self.owner

    async def kill(self) -> None:
        """The process is gone, with all that it had not committed."""
        self.running.cancel()
        await asyncio.wait([self.running])

    async def ask(self, command: Command) -> Answer:
        return await asyncio.wait_for(ask(self.owner, command), 3_600)

    async def account(self, account_id: str = ACCOUNT_ID) -> Account:
        account = view_of(await self.ask(ReadAccount(account_id)))
        check_conservation(account)
        return account

    async def open(self, units: int = 0, account_id: str = ACCOUNT_ID) -> None:
        """An account with so many units."""
        await self.ask(OpenAccount(account_id, ""))
        if units:
            await self.grant(units, account_id=account_id)

    async def grant(self, units: int, *, key: str = "first", account_id: str = ACCOUNT_ID, valid_for_us: int = DAY) -> BucketAdded:
        answer = await self.ask(GrantBucket(account_id, "TOKEN", units * UNIT, None, valid_for_us, 0, key))
        assert isinstance(answer, BucketAdded), answer
        return answer

    def create(
        self, input_bound: int, output_limit: int = 0, *, metered: bool = False, account_id: str = ACCOUNT_ID
    ) -> CreateSession:
        charging_id = uuid7(self.clock.now_us())
        return CreateSession(account_id, charging_id, 1, "flat", "key-1", "mbr-1", input_bound, output_limit, metered)

    async def audit(self) -> Findings:
        findings = await self.store.snapshot(audit)
        assert findings.breaches == []
        return findings

    async def every_kind(self) -> list[tuple[str, Command]]:
        """One command of every kind with the kind of its answer, all independent of one another; makes what they need."""
        open_session, swept_later = self.create(1, 1), self.create(2, 2)
        closed = release_command(swept_later.charging_id, 2, usage(input=2))
        for command in (open_session, swept_later, closed):
            await self.ask(command)
        return [
            ("AccountView", OpenAccount("acct-another00", "")),
            ("AccountView", ReadAccount(ACCOUNT_ID)),
            ("BucketAdded", GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 0, "another")),
            ("BucketAdded", GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 0, "another")),
            ("Failed", GrantBucket(ACCOUNT_ID, "TOKEN", 2 * UNIT, None, DAY, 0, "another")),
            ("Granted", self.create(1, 1)),
            ("Refused", self.create(10_000_000, 1)),
            ("Granted", open_session),
            ("Granted", UpdateSession(ACCOUNT_ID, open_session.charging_id, 2, usage(input=1), 1)),
            ("Failed", UpdateSession(ACCOUNT_ID, swept_later.charging_id, 3, usage(input=1), 1)),
            ("Settled", closed),
            ("Settled", event_command(uuid7(self.clock.now_us()), usage(input=1))),
            ("Failed", ReadAccount("acct-nobody0000")),
        ]


def in_virtual_time(test: Callable[[Desk], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Runs an async test on a loop whose time jumps, with a desk whose owner has not been started."""

    def run() -> None:
        loop = VirtualLoop()

        unhandled: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: unhandled.append(context))

        async def main() -> None:
            await asyncio.wait_for(test(Desk(loop)), 100_000)

        run_virtually(main(), loop)
        # A task that failed unseen tells so when it is collected.
        gc.collect()
        assert unhandled == []

    # No functools.wraps: pytest would look behind it and take `desk` for a fixture.
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def released(charging_id: str, number: int, input_tokens: int) -> ReleaseSession:
    return release_command(charging_id, number, usage(input=input_tokens))
