"""The load generator of `tokenline bench charging`: a process of its own, so that its work is not counted as the server's.

Reads its load as one line of JSON; prints a line when measuring begins, another when it ends, then what it measured.

A session is a Create, Updates that report and reserve, and a Release; beside them come top-ups of the account's first
bucket. In a closed loop every stream sends all its sessions' next operations as soon as the answers before are there; at a fixed
rate, operations are due at their times and latency counts from there.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import accumulate
from typing import Any, Final

import grpc
import msgspec

from services.partitions import partition_of
from services.runtime.clients import connect
from services.runtime.identifiers import uuid7
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc

UPDATES_A_SESSION: Final = {"voltdb": 18, "agent": 2}
TOP_UPS_PERCENT: Final = {"voltdb": 20, "agent": 0}
_TICK_S: Final = 0.002
_OPERATIONS_A_MESSAGE_MAX: Final = 256
_TOP_UP: Final = 1_000_000_000


class ChargingLoad(msgspec.Struct, frozen=True):
    """The load to send."""

    # One of each owner.
    addresses: list[str]
    account_ids: list[str]
    bucket_id: str
    model_id: str
    mix: str
    # Accounts are drawn with a probability in proportion to 1 / rank; otherwise evenly.
    zipf: bool
    sessions: int
    streams: int
    warm_up_s: float
    seconds: float
    # Operations a second; 0: as fast as it goes.
    rate: float


class ChargingMeasured(msgspec.Struct, frozen=True):
    """Figures of the answers."""

    operations: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    # How operations failed: number of them.
    failures: dict[str, int]


class _Session:
    """One session after another, each on an account of its own."""

    __slots__ = ("account_id", "charging_id", "number", "output", "sent_s")

    def __init__(self) -> None:
        self.account_id = ""
        self.charging_id = ""
        self.number = 0
        self.output = 0
        self.sent_s = 0.0


class _Generator:
    """Makes the operations for one owner."""

    def __init__(self, load: ChargingLoad, account_ids: list[str]) -> None:
        self._account_ids = account_ids
        self._bucket_id = load.bucket_id
        self._model_id = load.model_id
        self._rng = random.Random(7)  # noqa: S311  # a load, no secret
        self._weights = list(accumulate(1 / rank for rank in range(1, len(account_ids) + 1))) if load.zipf else None
        self._updates = UPDATES_A_SESSION[load.mix]
        self._top_ups = TOP_UPS_PERCENT[load.mix] / 100
        self._input = 1_000 if load.mix == "voltdb" else 120_000
        self._keys = random.getrandbits(64)
        self._top_up_number = 0
        self.latencies_s: list[float] = []
        self.failures: dict[str, int] = {}
        self.answered = 0
        self.measuring = False

    def account(self) -> str:
        if self._weights is None:
            return self._rng.choice(self._account_ids)
        return self._rng.choices(self._account_ids, cum_weights=self._weights)[0]

    def add(self, operation: Any, session: _Session, operation_id: int) -> None:
        """Fills in the session's next operation."""
        operation.operation_id = operation_id
        if self._top_ups and self._rng.random() < self._top_ups and session.account_id:
            self._top_up_number += 1
            operation.account_id = session.account_id
            top_up = operation.top_up
            top_up.bucket_id = self._bucket_id
            top_up.amount = _TOP_UP
            top_up.idempotency_key = f"{self._keys:x}-{self._top_up_number}"
            return
        if not session.number:
            session.account_id = self.account()
            session.charging_id = uuid7(time.time_ns() // 1_000)
            session.output = 0
        session.number += 1
        operation.account_id = session.account_id
        operation.charging_id = session.charging_id
        operation.invocation_sequence_number = session.number
        if session.number == 1:
            create = operation.create
            create.model_id = self._model_id
            create.key_id = "key-bench"
            create.member_id = "mbr-bench"
            create.input_tokens_bound = self._input
            create.output_tokens_limit = 100_000
            create.output_metered = True
        elif session.number <= self._updates + 1:
            session.output += 200
            update = operation.update
            update.used.input = self._input
            update.used.output = session.output
            update.output_tokens_wanted = session.output + 400
        else:
            release = operation.release
            release.used.input = self._input
            release.used.output = session.output
            release.provenance = pb.USAGE_PROVENANCE_VENDOR
            release.close_cause = pb.CLOSE_CAUSE_NORMAL
            session.number = 0

    def take(self, results: Any, sessions: list[_Session]) -> list[int]:
        """Notes the answers; the sessions that are ready again."""
        now_s = time.perf_counter()
        ready = []
        measuring = self.measuring
        for result in results:
            index = result.operation_id
            ready.append(index)
            if measuring:
                self.latencies_s.append(now_s - sessions[index].sent_s)
            kind = result.WhichOneof("result")
            if kind in ("refused", "error"):
                what = result.error.message if kind == "error" else f"refused: {result.refused.limit_id or 'balance'}"
                self.failures[what] = self.failures.get(what, 0) + 1
                sessions[index].number = 0
        return ready


async def _stream(generator: _Generator, load: ChargingLoad, channel: grpc.aio.Channel, sessions: list[_Session]) -> None:
    """One stream in a closed loop."""
    ready = list(range(len(sessions)))
    woken = asyncio.Event()

    async def requests() -> AsyncIterator[pb.ChargeRequest]:
        nonlocal ready
        while True:
            batch, ready = ready[:_OPERATIONS_A_MESSAGE_MAX], ready[_OPERATIONS_A_MESSAGE_MAX:]
            request = pb.ChargeRequest()
            now_s = time.perf_counter()
            for index in batch:
                sessions[index].sent_s = now_s
                generator.add(request.operations.add(), sessions[index], index)
            yield request
            while not ready:
                await woken.wait()
                woken.clear()

    async for response in accounting_pb2_grpc.AccountingServiceStub(channel).Charge(requests()):
        ready += generator.take(response.results, sessions)
        woken.set()


async def _paced_stream(generator: _Generator, load: ChargingLoad, channel: grpc.aio.Channel, sessions: list[_Session]) -> None:
    """One stream at its share of a fixed rate. An operation that finds no idle session is late from its due time on."""
    idle = list(range(len(sessions)))
    rate = load.rate / load.streams

    async def requests() -> AsyncIterator[pb.ChargeRequest]:
        begin_s = time.perf_counter()
        sent = 0
        while True:
            due = int((time.perf_counter() - begin_s) * rate) - sent
            request = pb.ChargeRequest()
            for _ in range(min(due, len(idle), _OPERATIONS_A_MESSAGE_MAX)):
                index = idle.pop()
                sessions[index].sent_s = begin_s + (sent + 1) / rate
                generator.add(request.operations.add(), sessions[index], index)
                sent += 1
            if request.operations:
                yield request
            await asyncio.sleep(_TICK_S)

    async for response in accounting_pb2_grpc.AccountingServiceStub(channel).Charge(requests()):
        idle += generator.take(response.results, sessions)


async def _run(load: ChargingLoad) -> ChargingMeasured:
    generators = {address: _Generator(load, of_owner) for address, of_owner in (await _accounts_of_owners(load)).items()}
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(load.streams):
            address = load.addresses[number % len(load.addresses)]
            generator = generators[address]
            channel = await _connected(address)
            sessions = [_Session() for _ in range(load.sessions // load.streams)]
            stream = _paced_stream if load.rate else _stream
            tasks.append(group.create_task(_until_cancelled(stream(generator, load, channel, sessions), channel)))
        await asyncio.sleep(load.warm_up_s)
        print("measuring", flush=True)
        begin_s = time.perf_counter()
        for generator in generators.values():
            generator.measuring = True
        await asyncio.sleep(load.seconds)
        for generator in generators.values():
            generator.measuring = False
        seconds = time.perf_counter() - begin_s
        print("measured", flush=True)
        for task in tasks:
            task.cancel()
    latencies_s = sorted(each for generator in generators.values() for each in generator.latencies_s) or [0.0]
    failures: Counter[str] = Counter()
    for generator in generators.values():
        failures.update(generator.failures)

    def percentile_ms(part: float) -> float:
        return round(latencies_s[min(len(latencies_s) - 1, int(len(latencies_s) * part))] * 1_000, 3)

    return ChargingMeasured(
        operations=len(latencies_s),
        seconds=seconds,
        p50_ms=percentile_ms(0.5),
        p99_ms=percentile_ms(0.99),
        p999_ms=percentile_ms(0.999),
        failures=dict(failures),
    )


async def _accounts_of_owners(load: ChargingLoad) -> dict[str, list[str]]:
    """The accounts of each owner, by its address."""
    if len(load.addresses) == 1:
        return {load.addresses[0]: load.account_ids}
    async with connect(load.addresses[0]) as channel:
        stub = accounting_pb2_grpc.AccountingServiceStub(channel)
        async for response in stub.WatchOwners(pb.WatchOwnersRequest()):
            owners = {each.part_id: each.address for each in response.owners}
            if len(owners) == response.partition_count and set(owners.values()) == set(load.addresses):
                break
    accounts: dict[str, list[str]] = {address: [] for address in load.addresses}
    for account_id in load.account_ids:
        accounts[owners[partition_of(account_id, len(owners))]].append(account_id)
    return accounts


async def _until_cancelled(stream: Any, channel: grpc.aio.Channel) -> None:
    try:
        await stream
    except asyncio.CancelledError:
        pass
    finally:
        await channel.close()


async def _connected(address: str) -> grpc.aio.Channel:
    # Kept open until its stream ends; the context manager would close it here.
    return await connect(address).__aenter__()


def main() -> None:
    """Serves one load after another, until its input ends."""
    import uvloop

    for line in sys.stdin:
        load = msgspec.json.decode(line, type=ChargingLoad)
        print(msgspec.json.encode(uvloop.run(_run(load))).decode(), flush=True)


if __name__ == "__main__":
    main()
