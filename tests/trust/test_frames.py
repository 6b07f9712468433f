"""The charge stream's port under peers that write HTTP/2 as nobody should, while an edge goes on charging on another connection.

TOKENLINE_FUZZ_EXAMPLES sets how many conversations are tried, other ones each time; without it they are few and always the same.
"""

import asyncio
import gzip
import os
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.processes import CPU_TICK_S, Processes, free_ports, resident_mib, resident_mib_peak
from services.registry.catalog_folder import base_catalog_folder
from services.runtime.clients import connect
from services.runtime.lifecycle import Lifecycle
from tests.accounting.one_cell import SERVING, UNIT, Client, Stream, charging_id, create, release, update
from tests.trust.authority import files_of, made
from tests.trust.frames.cases import HELLO, conversation, malformed
from tests.trust.frames.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SERVICE,
    Peer,
    block,
    connected,
    data,
    field,
    frame,
    message,
    request,
    reset,
    settings,
    window_update,
)
from tests.waiting import WAIT_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES: Final = int(os.environ.get("TOKENLINE_FUZZ_EXAMPLES", "0"))
# For so long at most the server works on something else before it answers an edge, in seconds of its processor time.
BUSY_S_MAX: Final = 5.0
# 32 calls of a connection may each hold a message of 16 MiB that has not come whole; no attack here sends as much.
RISE_MIB_MAX: Final = 256
CALLS_MAX: Final = 32
ATTACK_S: Final = 0.3
_AT_ONCE: Final = 8
OK, INVALID_ARGUMENT, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 0, 3, 7, 8
_GRANTED: Final = 100_000_000


def told(peer: Peer, status: int) -> int:
    """How many calls of a peer ended with a status."""
    text = str(status).encode()
    return peer.blocks.count(b"\x0bgrpc-status" + bytes([len(text)]) + text)


async def _told(peer: Peer, status: int, calls: int = 1) -> None:
    await until(lambda: told(peer, status) >= calls)


async def _serves(address: str) -> None:
    """Returns once a new caller is told that the server serves, as soon as an edge wants it."""
    async with connect(address) as channel:
        asked = health_pb2.HealthCheckRequest()
        checked = await health_pb2_grpc.HealthStub(channel).Check(asked, timeout=WAIT_S, wait_for_ready=True)
        assert checked.status == SERVING


def _used_s(pid: int) -> float:
    """The processor time of a process; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * CPU_TICK_S


class Honest:
    """An edge: one call after another on one stream, which never breaks. A call has 20 tokens of input and 40 of output."""

    def __init__(self, client: Client, stream: Stream, account_id: str, pid: int) -> None:
        """`pid`: the server's."""
        self._pid = pid
        self._client = client
        self._stream = stream
        self.account_id = account_id
        self.calls = 0
        # The most processor time that the server has used before an answer.
        self.busy_s = 0.0

    async def charge(self, ending: asyncio.Event) -> None:
        """Charges, until it shall end. Errors: `AssertionError` for an answer that is not as it must be."""
        while not ending.is_set():
            session = charging_id()
            await self._ask(create(self.account_id, session), "granted")
            await self._ask(update(self.account_id, session, 2, input=20, output=3), "granted")
            await self._ask(release(self.account_id, session, 3, input=20, output=40), "settled")
            self.calls += 1

    async def _ask(self, operation: "object", wanted: str) -> None:
        before_s = _used_s(self._pid)
        (result,) = await self._stream.ask(operation)  # type: ignore[arg-type]
        self.busy_s = max(self.busy_s, _used_s(self._pid) - before_s)
        assert result.WhichOneof("result") == wanted, result


class Server:
    """Accounting as a process, with a plain port and one with TLS."""

    def __init__(self, folder: Path, authority: Path, addresses: tuple[str, str, str], pid: int, honest: Honest) -> None:
        """`addresses`: the plain one, that with TLS, that of health."""
        self._log = folder / "accounting.log"
        self._authority = authority
        self.address, self.tls_address, self.health_address = addresses
        self.pid = pid
        self.honest = honest

    def terms(self, holder: str = "") -> ssl.SSLContext:
        """TLS as the holder of a certificate, or as a stranger without one."""
        terms = ssl.create_default_context(cafile=str(self._authority / "edge" / "ca.crt"))
        if holder:
            terms.load_cert_chain(self._authority / holder / "tls.crt", self._authority / holder / "tls.key")
        terms.set_alpn_protocols(["h2"])
        return terms

    @property
    def logged(self) -> list[str]:
        """The lines of its log."""
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()

    @asynccontextmanager
    async def undisturbed(self) -> AsyncIterator[None]:
        """Within the block the honest edge charges, new callers are taken, memory stays bounded, and the log short."""
        honest, lines, before_mib = self.honest, len(self.logged), resident_mib(self.pid)
        calls, honest.busy_s, ending = honest.calls, 0.0, asyncio.Event()
        began_s = time.monotonic()
        charging = asyncio.create_task(honest.charge(ending))
        try:
            yield
            await _serves(self.address)
            await until(lambda: honest.calls >= calls + 3 or charging.done())
        finally:
            ending.set()
            await charging
        assert honest.busy_s < BUSY_S_MAX
        assert resident_mib_peak(self.pid) - before_mib < RISE_MIB_MAX
        logged = self.logged[lines:]
        # Of each kind one line in ten seconds.
        assert len(logged) <= 6 * (1 + (time.monotonic() - began_s) // 10), logged
        assert not [line for line in logged if "Traceback" in line or len(line) > 600]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for all attacks; whatever came, the audit and the honest account are exact at the end."""
    folder = tmp_path_factory.mktemp("frames")
    authority = made(folder / "certs")
    processes = Processes(folder)
    try:
        registry = processes.serve("registry", listen_address="127.0.0.1:0", catalog_folders=[str(base_catalog_folder())])
        tls_port, health_port = free_ports(2)
        address = processes.serve(
            "accounting",
            listen_address="127.0.0.1:0",
            grpc_tls="both",
            grpc_tls_port=tls_port,
            health_port=health_port,
            database=str(folder / "accounting.db"),
            registry_address=registry,
            partitions=2,
            **files_of(authority, "accounting"),
        )
        async with connect(address) as channel:
            client = Client(channel, Lifecycle())
            await client.health(SERVING)
            account_id = await client.open(_GRANTED)
            # The stream outlives the deadline of a call in tests.
            stream = Stream(client.stub.Charge())
            honest = Honest(client, stream, account_id, processes.pids["accounting"])
            addresses = (address, f"127.0.0.1:{tls_port}", f"127.0.0.1:{health_port}")
            yield Server(folder, authority, addresses, processes.pids["accounting"], honest)
            [bucket] = (await client.account(account_id)).buckets
            charged = 60 * UNIT * honest.calls
            assert list((await client.audit()).breaches) == []
            assert (bucket.consumed, bucket.remaining) == (charged, _GRANTED * UNIT - charged)
            stream.call.cancel()
        processes.check()
    finally:
        processes.stop()


async def test_a_right_conversation_is_answered(server: Server) -> None:
    for address, terms in ((server.address, None), (server.tls_address, server.terms("edge"))):
        peer = await connected(address, terms)
        await peer.write(HELLO + request(1) + data(1, message(malformed(2)), END_STREAM))
        await _told(peer, OK)
        assert peer.frames[DATA] == 1
        await peer.close()


async def _connected_again(address: str, terms: ssl.SSLContext | None) -> Peer:
    """A peer, also while the server listens again."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                return await connected(address, terms)
            except OSError:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("tls", [False, True])
async def test_wrong_frames_disturb_nobody(server: Server, tls: bool) -> None:
    seed = secrets.randbits(32) if EXAMPLES else int(tls)
    reached = 0
    terms = server.terms("edge") if tls else None

    async def converse(number: int) -> None:
        nonlocal reached
        random = Random(f"{seed} {number}")
        peer = await _connected_again(server.tls_address if tls else server.address, terms)
        for step in conversation(random):
            if not await peer.write(step, 1.0):
                break
        await peer.settle(random.choice((0.0, 0.02, 0.1)))
        reached += DATA in peer.frames
        await peer.close()

    numbers = iter(range(EXAMPLES or 150))

    async def some() -> None:
        for number in numbers:
            await converse(number)

    print(f"seed {seed}")
    async with server.undisturbed():
        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
    # The wrong ones among them came as far as the charge stream.
    assert reached > (EXAMPLES or 150) / 20


async def _repeat(peer: Peer, frames: bytes, hello: bytes = HELLO + request(1)) -> None:
    """Writes the frames until the server closes, or time is up."""
    until_s = time.monotonic() + ATTACK_S
    await peer.write(hello)
    while time.monotonic() < until_s and await peer.write(frames, ATTACK_S):
        pass


async def _calls(peer: Peer, after: Callable[[int], bytes], method: str = "") -> None:
    """Begins calls, hundred by hundred, and writes after each what is told."""
    until_s, stream = time.monotonic() + ATTACK_S, 1
    await peer.write(HELLO)
    while time.monotonic() < until_s:
        begun = [(request(each, method) if method else request(each)) + after(each) for each in range(stream, stream + 200, 2)]
        stream += 200
        if not await peer.write(b"".join(begun), ATTACK_S):
            return


async def _headers_without_end(peer: Peer) -> None:
    await _repeat(peer, frame(CONTINUATION, 0, 1, field(b"a", b"b" * 4_000) * 4), HELLO + frame(HEADERS, 0, 1, block()))


async def _indexed_headers(peer: Peer) -> None:
    """Each byte of a block stands for a header of 4,000 bytes."""
    kept = b"\x40" + field(b"a", b"v" * 4_000)[1:]
    until_s, stream = time.monotonic() + ATTACK_S, 3
    await peer.write(HELLO + frame(HEADERS, END_HEADERS, 1, block(more=(kept,))))
    while time.monotonic() < until_s:
        if not await peer.write(frame(HEADERS, END_HEADERS, stream, block(more=(b"\xbe" * 4_000,)))):
            return
        stream += 2


async def _wrong_text(peer: Peer) -> None:
    no_text = field(b"text", bytes(range(128, 250)) * 10)
    await _calls(peer, lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, no_text))
    for stream in range(1_001, 1_061, 2):
        await peer.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, block(more=(no_text,))))


async def _half_messages(peer: Peer) -> None:
    await peer.write(HELLO)
    streams = range(1, 129, 2)
    for stream in streams:
        await peer.write(request(stream))
    for stream in streams:
        await peer.send(stream, message(bytes(1024 * 1024), length=16 * 1024 * 1024), 0.02)


ATTACKS: Final[dict[str, Callable[[Peer], Awaitable[None]]]] = {
    "calls reset at once": lambda peer: _calls(peer, reset),
    "calls that say nothing": lambda peer: _calls(peer, lambda _: b""),
    "calls of no method": lambda peer: _calls(peer, lambda stream: data(stream, message(b""), END_STREAM), "/none.of.Ours/Any"),
    "streams of no protobuf": lambda peer: _calls(peer, lambda stream: data(stream, message(b"\xff\xff\xff"), END_STREAM)),
    "requests of no protobuf": lambda peer: _calls(
        peer,
        lambda stream: data(stream, message(b"\xff\xff\xff"), END_STREAM),
        "/tokenline.accounting.v1.AccountingService/GetAccount",
    ),
    "headers that are no text": _wrong_text,
    "settings": lambda peer: _repeat(peer, settings(max_frame_size=16_384) * 1_000),
    "pings": lambda peer: _repeat(peer, frame(PING, payload=bytes(8)) * 1_000),
    "empty data": lambda peer: _repeat(peer, frame(DATA, 0, 1) * 1_000),
    "empty messages": lambda peer: _repeat(peer, frame(DATA, 0, 1, message(b"")) * 1_000),
    "empty continuations": lambda peer: _repeat(peer, frame(CONTINUATION, 0, 1) * 1_000, HELLO + frame(HEADERS, 0, 1, block())),
    "window updates": lambda peer: _repeat(peer, window_update(1, 1) * 1_000),
    "priorities": lambda peer: _repeat(peer, frame(PRIORITY, 0, 1, b"\x00\x00\x00\x00\x01") * 1_000),
    "unknown frames": lambda peer: _repeat(peer, frame(77, 0, 1, bytes(100)) * 100),
    "headers without end": _headers_without_end,
    "indexed headers": _indexed_headers,
    "half messages": _half_messages,
    "data beyond the window": lambda peer: _repeat(peer, data(1, message(bytes(200_000)))),
    "preface of HTTP/1.1": lambda peer: _repeat(peer, b"GET / HTTP/1.1\r\n\r\n", b""),
    "noise": lambda peer: _repeat(peer, Random(1).randbytes(50_000), b""),
}


@pytest.mark.parametrize("name", list(ATTACKS))
async def test_floods_disturb_nobody(server: Server, name: str) -> None:
    async with server.undisturbed():
        peer = await connected(server.address)
        await ATTACKS[name](peer)
        await peer.close()


async def test_a_connection_has_a_bounded_number_of_calls(server: Server) -> None:
    peer = await connected(server.address)
    await peer.write(HELLO + b"".join(request(stream) for stream in range(1, 2 * CALLS_MAX + 21, 2)))
    await until(lambda: peer.frames.get(HEADERS, 0) + peer.frames.get(RST_STREAM, 0) >= CALLS_MAX + 10)
    # Each call is told that its stream is taken; the others are refused.
    assert (peer.frames[HEADERS], peer.frames[RST_STREAM]) == (CALLS_MAX, 10)
    await peer.close()


async def test_a_peer_that_reads_no_answers_is_read_no_further_until_it_does(server: Server) -> None:
    body = message(malformed(1_024, "x" * 200))
    everything = body * 200
    async with server.undisturbed():
        peer = await connected(server.address)
        await peer.write(PREFACE + settings(initial_window_size=0) + request(1))
        sent = await peer.send(1, everything, 1.0)
        # Some 16 requests are answered into memory; the rest are bytes on the way.
        assert 16 * len(body) < sent < 100 * len(body)
        assert peer.data_bytes == 0
        await peer.write(window_update(0, 2**28) + window_update(1, 2**28))
        requests = -(-sent // len(body))
        rest = everything[sent : requests * len(body)]
        assert await peer.send(1, rest, 10.0) == len(rest)
        await peer.write(frame(DATA, END_STREAM, 1))
        await _told(peer, OK)
        # Each operation was answered, with an error of some 70 bytes.
        assert peer.data_bytes > requests * 1_024 * 70
        await peer.close()


async def test_a_message_above_the_bound_ends_its_call_alone(server: Server) -> None:
    peer = await connected(server.address)
    await peer.write(HELLO + request(1) + request(3))
    await peer.write(data(1, message(b"", length=16 * 1024 * 1024 + 1)) + data(3, message(malformed(1)), END_STREAM))
    await until(lambda: (told(peer, RESOURCE_EXHAUSTED), told(peer, OK)) == (1, 1))
    await peer.close()


async def test_a_message_that_grows_without_bound_is_refused(server: Server) -> None:
    # 256 MiB in little more than one.
    grown = gzip.compress(bytes(256 * 1024 * 1024), 1)
    async with server.undisturbed():
        peer = await connected(server.address)
        await peer.write(HELLO + frame(HEADERS, END_HEADERS, 1, block(more=(field(b"grpc-encoding", b"gzip"),))))
        await peer.send(1, message(grown, compressed=1), 2.0)
        await _told(peer, RESOURCE_EXHAUSTED)
        await peer.close()


@pytest.mark.parametrize("tls", [False, True])
async def test_a_message_that_is_none_is_told_so(server: Server, tls: bool) -> None:
    for method in ("Charge", "GetAccount", "ReadJournal"):
        peer = await connected(*((server.tls_address, server.terms("edge")) if tls else (server.address,)))
        call = request(1, f"{SERVICE}/{method}")
        await peer.write(HELLO + call + data(1, message(b"\xff\xff\xff"), END_STREAM))
        await _told(peer, INVALID_ARGUMENT)
        assert b"the message is none of" in peer.blocks
        await peer.close()


async def test_strangers_get_no_further_than_their_handshake(server: Server) -> None:
    async with server.undisturbed():
        for step in (HELLO + request(1), data(1, message(malformed(1))), Random(2).randbytes(500)):
            stranger = await connected(server.tls_address, server.terms())
            await stranger.write(step)
            await stranger.settle(10)
            assert stranger.ended
            assert stranger.frames == {}
            await stranger.close()
            plain = await connected(server.tls_address)
            await plain.write(step)
            await plain.settle(1.0)
            assert plain.frames == {}
            await plain.close()


async def test_a_service_that_may_not_charge_is_refused_whatever_it_writes(server: Server) -> None:
    async with server.undisturbed():
        peer = await connected(server.tls_address, server.terms("billing"))
        await peer.write(HELLO + request(1) + data(1, message(b"\xff\xff")) + request(3) + data(3, message(b"", length=2**24)))
        await _told(peer, PERMISSION_DENIED, 2)
        assert DATA not in peer.frames
        await peer.close()
