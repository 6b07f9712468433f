"""A synchronous standby takes over: nothing that was acknowledged is lost with the primary's machine."""

import asyncio
import contextlib
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.cli.postgresql_server import PostgresqlServer
from services.runtime.clients import connect
from services.runtime.lifecycle import Lifecycle
from tests.accounting.one_cell import SERVING, UNIT, Client, charging_id, create, registry, release
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2

LATER = (errors_pb2.ERROR_REASON_UNAVAILABLE, errors_pb2.ERROR_REASON_STORE_UNAVAILABLE)


class Standby:
    """A context manager: a copy of a server that confirms each of its commits."""

    def __init__(self, primary: PostgresqlServer) -> None:
        self._primary = primary
        self._folder = primary.folder / "standby"

    @property
    def host(self) -> str:
        return str(self._folder)

    def __enter__(self) -> "Standby":
        self._folder.mkdir(mode=0o700)
        if self._primary.system_user is not None:
            shutil.chown(self._folder, self._primary.system_user, self._primary.system_user)
        source = f"host={self._primary.host} user=postgres application_name=standby"
        self._run("pg_basebackup", "-D", self.host, "-R", "-X", "stream", "-c", "fast", "-d", source)
        # The copy of what says that the primary's socket is in use.
        (self._folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        self._run("pg_ctl", "-w", "-l", f"{self.host}/log", "-D", self.host, "-o", f'-h "" -k {self.host}', "start")
        self._primary.psql("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        self._primary.psql("SELECT pg_reload_conf()")
        until_s = time.monotonic() + WAIT_S
        while (
            "sync" not in self._primary.psql("SELECT sync_state FROM pg_stat_replication WHERE sync_state = 'sync'").split("\n")[2]
        ):
            assert time.monotonic() < until_s, "the standby never was synchronous"
            time.sleep(0.05)
        return self

    def promote(self) -> None:
        """It is the primary from now on, with nobody who confirms its commits."""
        self._run("pg_ctl", "-w", "-D", self.host, "promote")
        psql = ("psql", "-h", self.host, "-U", "postgres", "-c")
        self._run(*psql, "ALTER SYSTEM SET synchronous_standby_names = ''")
        self._run(*psql, "SELECT pg_reload_conf()")

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(AssertionError):
            self._run("pg_ctl", "-m", "immediate", "-D", self.host, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._primary.programs / program), *arguments]
        # What is started here would keep a pipe open.
        done = subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL, user=self._primary.system_user, cwd="/", timeout=WAIT_S
        )
        log = self._folder / "log"
        assert not done.returncode, f"{program} failed: {log.read_text() if log.exists() else ''}"


@pytest.fixture
def primary() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


@asynccontextmanager
async def accounting(folder: Path, database: str) -> AsyncIterator[Client]:
    config = AccountingConfig(
        listen_address=f"unix:{folder}/accounting",
        postgresql=database,
        registry_address=f"unix:{folder}/registry.sock",
        partitions=4,
    )
    lifecycle = Lifecycle()
    async with run_accounting(config, lifecycle) as address, connect(address) as channel:
        client = Client(channel, lifecycle)
        await client.health(SERVING)
        yield client
    assert lifecycle.failure is None


async def charged(client: Client, operation: pb.ChargeOperation) -> pb.ChargeResult:
    """As an edge does it: what was not answered is repeated."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                async with asyncio.timeout(1):
                    (result,) = await client.charge(operation)
                    if result.error.reason not in LATER:
                        return result
            except (TimeoutError, AssertionError, grpc.aio.AioRpcError):
                # The stream was refused, ended, or says nothing.
                pass
            await asyncio.sleep(0.05)


async def test_a_synchronous_standby_has_all_that_was_acknowledged(tmp_path: Path, primary: PostgresqlServer) -> None:
    database = primary.new_database()
    with Standby(primary) as standby:
        name = database.partition("?")[0].rpartition("/")[2]
        both = f"postgresql://postgres@/{name}?host={primary.host},{standby.host}&target_session_attrs=read-write"
        async with registry(tmp_path), accounting(tmp_path, both) as client:
            accounts = [await client.open(1_000_000) for _ in range(8)]
            paid = dict.fromkeys(accounts, 0)
            stop = asyncio.Event()

            async def calls(account_id: str) -> None:
                while not stop.is_set():
                    session = charging_id()
                    assert (await charged(client, create(account_id, session))).HasField("granted")
                    assert (await charged(client, release(account_id, session, 2, input=3, output=4))).HasField("settled")
                    paid[account_id] += 7

            workers = [asyncio.create_task(calls(account_id)) for account_id in accounts]
            await asyncio.sleep(1.0)
            primary.kill()
            await asyncio.sleep(0.5)
            at_death = dict(paid)
            await asyncio.to_thread(standby.promote)
            async with asyncio.timeout(WAIT_S):
                while any(paid[each] <= at_death[each] + 14 for each in accounts):
                    assert not any(worker.done() for worker in workers)
                    await asyncio.sleep(0.05)
            stop.set()
            await asyncio.gather(*workers)
            assert sum(at_death.values()) > 0
            for account_id in accounts:
                assert (await client.account(account_id)).buckets[0].consumed == paid[account_id] * UNIT
            audited = await client.audit()
            assert (list(audited.breaches), audited.open_sessions) == ([], 0)
