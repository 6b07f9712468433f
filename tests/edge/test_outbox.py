"""Releases that accounting does not answer: they wait on disk, and charge once."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.edge.charging.client import ChargingClient
from services.edge.charging.outbox import Outbox
from services.edge.config import EdgeConfig
from services.runtime.clients import connect
from services.runtime.errors import SchemaError, ServiceError
from services.runtime.identifiers import uuid7
from tests.edge.test_charging import Accounting, fails, grants, serving
from tests.waiting import WAIT_S, until
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/c"


def new_id() -> str:
    return uuid7(1_790_000_000_000_000)


def operation(charging_id: str, number: int = 2) -> pb.ChargeOperation:
    release = pb.ReleaseSession(used=pb.TokenUsage(output=number))
    return pb.ChargeOperation(account_id="acct-1", charging_id=charging_id, invocation_sequence_number=number, release=release)


@asynccontextmanager
async def charging(
    address: str, path: Path, releases_max: int = 1_000, *, kind: type[Outbox] = Outbox, **changes: Any
) -> AsyncIterator[ChargingClient]:
    config = EdgeConfig(
        registry_address="-",
        authentication_address="-",
        accounting_address=address,
        billing_address="-",
        admin_token_file="-",
        **dict[str, Any]({"create_timeout_ms": 500, "release_timeout_ms": 1_000, "outbox_after_ms": 50, **changes}),
    )
    outbox, left = await kind.open(path, releases_max)
    try:
        async with connect(address) as channel, ChargingClient(channel, config, outbox, left) as client:
            yield client
    finally:
        await outbox.close()


def kept(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT charging_id FROM release ORDER BY 1").fetchall()
    connection.close()
    return [row[0] for row in rows]


async def test_what_is_not_answered_in_time_counts_as_delivered_and_is_sent_on(tmp_path: Path, address: str) -> None:
    accounting = Accounting()  # type: ignore[abstract]  # the stream is all of it that the edge uses
    path, charging_id = tmp_path / "outbox", new_id()
    async with charging(address, path) as client:
        assert await client.release("acct-1", charging_id, 2, pb.ReleaseSession()) is None
        assert kept(path) == [charging_id]
        async with serving(accounting, address):
            await until(lambda: not kept(path))
    assert [each.charging_id for each in accounting.operations] == [charging_id]


async def test_what_an_owner_takes_and_does_not_answer_is_kept_too(tmp_path: Path, address: str) -> None:
    # As one that is frozen: its connection stands.
    accounting = Accounting()  # type: ignore[abstract]
    accounting.script = lambda each: None
    path, charging_id = tmp_path / "outbox", new_id()
    async with serving(accounting, address), charging(address, path, release_timeout_ms=5_000) as client:
        await until(lambda: client.up)
        assert await client.release("acct-1", charging_id, 2, pb.ReleaseSession()) is None
        assert [each.charging_id for each in accounting.operations] == [charging_id]
        assert kept(path) == [charging_id]
        accounting.script = grants
        accounting.break_next = True
        await client.create("acct-1", new_id(), pb.CreateSession(model_id="m"))
        await until(lambda: not kept(path))


async def test_what_is_answered_in_time_never_touches_the_disk(tmp_path: Path, address: str) -> None:
    accounting = Accounting()  # type: ignore[abstract]
    async with serving(accounting, address), charging(address, tmp_path / "outbox") as client:
        await until(lambda: client.up)
        settled = await client.release("acct-1", new_id(), 2, pb.ReleaseSession())
        assert settled == pb.Settled(charged_amount=2)
        assert client._outbox is not None
        assert client._outbox._count == 0
    assert kept(tmp_path / "outbox") == []


async def test_what_is_answered_while_it_is_written_does_not_stay(tmp_path: Path, address: str) -> None:
    # Else the outbox would be full one day of what was answered long ago.
    written = asyncio.Event()

    class SlowOutbox(Outbox):
        async def keep(self, operation: pb.ChargeOperation) -> None:
            await super().keep(operation)
            await written.wait()

    path = tmp_path / "outbox"
    accounting = Accounting()  # type: ignore[abstract]
    async with charging(address, path, kind=SlowOutbox, release_timeout_ms=5_000) as client:
        releasing = asyncio.create_task(client.release("acct-1", new_id(), 2, pb.ReleaseSession()))
        await until(lambda: kept(path))
        async with serving(accounting, address):
            await until(lambda: accounting.operations)
            # Answers of one stream are read in order: the Release's has been.
            await client.create("acct-1", new_id(), pb.CreateSession(model_id="m"))
            assert kept(path)
            written.set()
            await releasing
            await until(lambda: not kept(path))


async def test_what_was_left_is_delivered_by_who_opens_the_file_next(tmp_path: Path, address: str) -> None:
    path = tmp_path / "outbox"
    charging_ids = sorted(new_id() for _ in range(50))
    async with charging(address, path, release_timeout_ms=2_000) as client:
        released = await asyncio.gather(*(client.release("acct-1", each, 2, pb.ReleaseSession()) for each in charging_ids))
        assert released == [None] * 50
    assert kept(path) == charging_ids
    accounting = Accounting()  # type: ignore[abstract]
    async with serving(accounting, address), charging(address, path):
        await until(lambda: not kept(path))
    assert sorted(each.charging_id for each in accounting.operations) == charging_ids


async def test_at_the_end_of_the_process_what_nobody_waits_for_is_kept_too(tmp_path: Path, address: str) -> None:
    path, charging_id = tmp_path / "outbox", new_id()
    async with charging(address, path, release_timeout_ms=100, outbox_after_ms=60_000) as client:
        client.release_later("acct-1", charging_id, 2, pb.ReleaseSession())
    assert kept(path) == [charging_id]


async def test_a_final_refusal_leaves_the_outbox(tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture) -> None:
    path, charging_id = tmp_path / "outbox", new_id()
    accounting = Accounting()  # type: ignore[abstract]
    accounting.script = lambda each: fails(errors_pb2.ERROR_REASON_CHARGING_ID_STALE)
    async with charging(address, path) as client:
        assert await client.release("acct-1", charging_id, 2, pb.ReleaseSession()) is None
        async with serving(accounting, address):
            await until(lambda: not kept(path))
    assert f"session {charging_id} from the outbox was refused: scripted" in caplog.text


async def test_a_partition_on_its_way_to_another_owner_is_no_refusal(tmp_path: Path, address: str) -> None:
    path, charging_id = tmp_path / "outbox", new_id()
    accounting = Accounting()  # type: ignore[abstract]
    accounting.script = lambda each: fails(errors_pb2.ERROR_REASON_NOT_OWNER)
    async with serving(accounting, address), charging(address, path) as client:
        assert await client.release("acct-1", charging_id, 2, pb.ReleaseSession()) is None
        assert kept(path) == [charging_id]
        accounting.script = grants
        await until(lambda: not kept(path))


async def test_what_could_not_be_answered_for_certain_stays_in_the_outbox(tmp_path: Path, address: str) -> None:
    path, charging_id = tmp_path / "outbox", new_id()
    outbox, _ = await Outbox.open(path, 10)
    await outbox.keep(operation(charging_id))
    await outbox.close()
    accounting = Accounting()  # type: ignore[abstract]
    accounting.script = lambda each: fails(errors_pb2.ERROR_REASON_NOT_OWNER) if each.HasField("release") else grants(each)
    async with serving(accounting, address):
        async with charging(address, path, create_timeout_ms=5_000, release_timeout_ms=100) as client:
            await until(lambda: accounting.operations)
            # Answers of one stream are read in order: the Release's has been.
            await client.create("acct-1", new_id(), pb.CreateSession(model_id="m"))
        # What was being written is written when the outbox is closed.
        assert kept(path) == [charging_id]
        accounting.script = grants
        async with charging(address, path):
            await until(lambda: not kept(path))
    assert {each.charging_id for each in accounting.operations if each.HasField("release")} == {charging_id}


async def test_a_full_outbox_says_so_and_the_release_is_held_back(
    tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox"
    async with charging(address, path, releases_max=1, release_timeout_ms=200) as client:
        assert await client.release("acct-1", new_id(), 2, pb.ReleaseSession()) is None
        with pytest.raises(ServiceError) as raised:
            await client.release("acct-1", new_id(), 2, pb.ReleaseSession())
        assert raised.value.reason == errors_pb2.ERROR_REASON_UNAVAILABLE
    assert "the outbox has its 1 Releases; see why accounting does not answer" in caplog.text
    assert "1 sessions could not be released" in caplog.text


async def test_what_comes_together_fills_the_outbox_together(tmp_path: Path) -> None:
    outbox, _ = await Outbox.open(tmp_path / "outbox", 3)
    await outbox.keep(operation(new_id()))
    done = await asyncio.gather(*(outbox.keep(operation(new_id())) for _ in range(4)), return_exceptions=True)
    await outbox.close()
    assert [isinstance(each, ServiceError) for each in done] == [False, False, True, True]
    assert len(kept(tmp_path / "outbox")) == 3
    # Who opens it next finds it full.
    outbox, left = await Outbox.open(tmp_path / "outbox", 3)
    assert len(left) == 3
    with pytest.raises(ServiceError, match="the outbox has its 3 Releases"):
        await outbox.keep(operation(new_id()))
    await outbox.close()


class _StoppedClock:
    """A clock that a test sets."""

    def __init__(self, time_us: int) -> None:
        self.time_us = time_us

    def now_us(self) -> int:
        return self.time_us


async def test_the_oldest_release_has_its_age_also_after_a_restart(tmp_path: Path) -> None:
    began_us = 1_790_000_000_000_000
    clock = _StoppedClock(began_us)
    outbox, _ = await Outbox.open(tmp_path / "outbox", 10, clock)
    assert outbox.age_s == 0
    first, second = uuid7(began_us - 60_000_000), uuid7(began_us)
    for charging_id in (first, second):
        await outbox.keep(operation(charging_id))
        clock.time_us += 5_000_000
    # It is as old as its stay here, however long its call had been.
    assert outbox.age_s == 10
    outbox.delivered(operation(first))
    assert outbox.age_s == 5
    outbox.delivered(operation(second))
    assert outbox.age_s == 0
    await outbox.keep(operation(uuid7(began_us)))
    await outbox.close()
    # Nobody has written down since when it is there, so the next process counts from the call's begin.
    outbox, _ = await Outbox.open(tmp_path / "outbox", 10, clock)
    assert outbox.age_s == 10
    await outbox.close()


async def test_what_could_not_be_written_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    outbox, _ = await Outbox.open(path, 10)
    with sqlite3.connect(path) as connection:
        # As a full disk does.
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON release BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    connection.close()
    with pytest.raises(ServiceError, match="disk is full; check that the disk is writable and not full"):
        await outbox.keep(operation(new_id()))
    assert outbox.age_s == 0
    await outbox.close()
    assert kept(path) == []


@pytest.mark.parametrize("then", ["another is kept", "the process ends"])
async def test_what_was_answered_leaves_a_file_that_could_not_be_written_at_first(tmp_path: Path, then: str) -> None:
    # Else whoever opens the file next sends it again, when accounting may have forgotten the call.
    path, answered, another = tmp_path / "outbox", new_id(), new_id()
    outbox, _ = await Outbox.open(path, releases_max=2)
    await outbox.keep(operation(answered))
    with sqlite3.connect(path) as connection:
        # As a failing disk does.
        connection.execute("CREATE TRIGGER failing BEFORE DELETE ON release BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END")
    outbox.delivered(operation(answered))
    with pytest.raises(ServiceError, match="disk I/O error"):
        await outbox.keep(operation(another))
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER failing")
    connection.close()
    if then == "another is kept":
        await outbox.keep(operation(another))
        assert kept(path) == [another]
    await outbox.close()
    assert kept(path) == [another] * (then == "another is kept")


async def test_what_could_not_be_kept_at_first_is_kept_at_the_end(tmp_path: Path, address: str) -> None:
    path, charging_id = tmp_path / "outbox", new_id()
    async with charging(address, path, release_timeout_ms=200, outbox_after_ms=50) as client:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TRIGGER full BEFORE INSERT ON release BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        # It is neither answered nor on disk.
        with pytest.raises(ServiceError) as raised:
            await client.release("acct-1", charging_id, 2, pb.ReleaseSession())
        assert raised.value.reason == errors_pb2.ERROR_REASON_UNAVAILABLE
        assert kept(path) == []
        with connection:
            connection.execute("DROP TRIGGER full")
        connection.close()
    assert kept(path) == [charging_id]


async def test_an_answer_takes_no_other_release_out_of_the_outbox(tmp_path: Path, address: str) -> None:
    path = tmp_path / "outbox"
    answered, waiting = new_id(), new_id()
    accounting = Accounting()  # type: ignore[abstract]
    accounting.script = lambda each: grants(each) if each.charging_id == answered else fails(errors_pb2.ERROR_REASON_NOT_OWNER)
    async with charging(address, path, release_timeout_ms=2_000) as client:
        await asyncio.gather(*(client.release("acct-1", each, 2, pb.ReleaseSession()) for each in (answered, waiting)))
        assert kept(path) == sorted((answered, waiting))
        async with serving(accounting, address):
            await until(lambda: answered not in kept(path))
            assert kept(path) == [waiting]
    assert kept(path) == [waiting]


async def test_what_comes_while_others_are_written_is_written_next(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    outbox, _ = await Outbox.open(path, 100)
    charging_ids = sorted(new_id() for _ in range(10))
    keeping = []
    for charging_id in charging_ids:
        keeping.append(asyncio.ensure_future(outbox.keep(operation(charging_id))))
        # The write of the one before is under way.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    async with asyncio.timeout(WAIT_S):
        await asyncio.gather(*keeping)
    assert kept(path) == charging_ids
    outbox.delivered(operation(charging_ids[0]))
    await outbox.close()
    assert kept(path) == charging_ids[1:]
    # There is room again for as many as were delivered.
    outbox, left = await Outbox.open(path, 10)
    assert sorted(each.charging_id for each in left) == charging_ids[1:]
    await outbox.keep(operation(charging_ids[0]))
    with pytest.raises(ServiceError, match="the outbox has its 10 Releases"):
        await outbox.keep(operation(new_id()))
    # At once, also before it is dropped from the file.
    outbox.delivered(operation(charging_ids[0]))
    last = new_id()
    filling = asyncio.ensure_future(outbox.keep(operation(last)))
    # The bound holds also while the last place is written to.
    while not filling.done():
        await asyncio.sleep(0)
        with pytest.raises(ServiceError, match="the outbox has its 10 Releases"):
            await outbox.keep(operation(new_id()))
    await filling
    assert kept(path) == sorted([*charging_ids[1:], last])
    await outbox.close()


async def test_a_file_that_is_no_outbox_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_bytes(b"something else entirely, and long enough to be looked at" * 100)
    with pytest.raises(SchemaError, match="is not a database of ours"):
        await Outbox.open(tmp_path / "outbox", 10)


def test_kill_9_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from services.edge.charging.outbox import Outbox\n"
        "from tests.edge.test_outbox import new_id, operation\n"
        "async def main():\n"
        "    outbox, _ = await Outbox.open(pathlib.Path(sys.argv[1]), 100_000)\n"
        "    async def keep():\n"
        "        while True:\n"
        "            charging_id = new_id()\n"
        "            await outbox.keep(operation(charging_id))\n"
        "            print(charging_id, flush=True)\n"
        "    await asyncio.gather(*(keep() for _ in range(20)))\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "outbox")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(500)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.stdout.read().split()
    process.wait()
    process.stdout.close()
    assert len(acknowledged) >= 500
    # The last line may have been cut.
    assert set(acknowledged[:-1]) <= set(kept(tmp_path / "outbox"))
