"""Attackers of an edge: a process that does what `docs/security/attacks.md` says of the doors, until it is told to stop.

`python -m services.cli.attackers` reads one JSON `Attack` a line from standard input, writes the line "attacking", goes on until
the next line comes, and then writes a JSON `Attacked`. It is as nice as a process can be, so that honest
clients on the same processor need not wait for it. It comes from addresses of its own in the loopback network.
"""

import asyncio
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from ipaddress import IPv4Address
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final, NamedTuple

import httptools
import msgspec
import uvloop

from services.api_keys import new_key
from services.cli.load import write_line

_FIRST_ADDRESS: Final = IPv4Address("127.1.0.1")
# Closed at once, else the kernel would keep each port for a minute.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
# A connection that was refused is tried again after this time.
_AGAIN_S: Final = 0.01
_SMALL_BUFFER_BYTES: Final = 4_096
# The last answers come within this time: refusals may wait for half of it.
_LAST_ANSWERS_S: Final = 60.0
_NICE: Final = 19
# A tenth of an honest client's weight: beside programs of others, nicer attackers would not attack.
_SESSION_NICE: Final = 10
_BURNED: Final = 10_000
# Connections: of those that do little, of those at full speed, of those that send without end.
_MANY: Final = 6_000
_MORE: Final = 10_000
_AT_ONCE: Final = 64
_PARALLEL: Final = 256
_FLOODS: Final = 16
_READERS: Final = 8
_STALLED: Final = 20
_SLOW: Final = 2_000
_ADDRESSES: Final = 1_000
_FEW_ADDRESSES: Final = 10
_PIECE_BYTES: Final = 64 * 1024
_HEADER_BYTES: Final = 60_000_000
_HEADERS: Final = 110_000
_REQUESTS_A_PACKET: Final = 5_000
_STALLED_BYTES: Final = 18_000_000
_ANNOUNCED_BYTES: Final = 19_000_000
_NAMES: Final = 1_800_000
# A stream this long fills all buffers on the way within seconds.
STREAM_TOKENS: Final = 16_000
_CHOICES: Final = 8
_TOKENS_PER_SECOND: Final = 2_500
_HOST: Final = b"Host: edge\r\n"


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """An attack, and its target."""

    # One of `WAYS` or `IDLE`, or `NOTHING`.
    name: str
    port: int
    admin_port: int
    # Keys of attacking customers.
    api_keys: list[str]
    # A model that says `STREAM_TOKENS`.
    model_id: str


class Attacked(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of an attack: connections, bytes sent, answers."""

    # That were opened, and that the edge ended.
    connections: int = 0
    ended: int = 0
    sent_mib: float = 0.0
    # Answers by their status.
    answers: dict[str, int] = {}


# Pieces sent on a connection, one by one; None: the next piece waits for an answer.
Pieces = Iterator[bytes | None]


class Way(NamedTuple):
    """How an attack goes."""

    says: str
    # Opened again whenever the edge ends one.
    connections: int
    pieces: Callable[[Attack], Pieces]
    addresses: int = 1
    # Between two pieces; 0: as fast as they are taken.
    pause_s: float = 0.0
    # Reads nothing after the answer's head.
    stops_reading: bool = False
    to_operators: bool = False
    # Those that are answered with 200 are calls.
    is_charged: bool = False


def _in_pieces(data: bytes) -> Pieces:
    view = memoryview(data)
    return (bytes(view[begin : begin + _PIECE_BYTES]) for begin in range(0, len(data), _PIECE_BYTES))


def _post(api_key: str, *lines: bytes) -> bytes:
    key = b"Authorization: Bearer %b\r\n" % api_key.encode()
    return b"".join((b"POST /v1/chat/completions HTTP/1.1\r\n", _HOST, key, *lines, b"\r\n"))


def _nothing(attack: Attack) -> Pieces:
    return iter(())


def _hello(attack: Attack) -> Pieces:
    return iter((b"HEAD / HTTP/1.1\r\n" + _HOST + b"\r\n",))


@cache
def _head_of_headers() -> bytes:
    return b"GET / HTTP/1.1\r\n" + _HOST + b"".join(b"x-%07d: %086d\r\n" % (number, number) for number in range(_HEADERS))


def _headers(attack: Attack) -> Pieces:
    return _in_pieces(_head_of_headers())


def _long_header(attack: Attack) -> Pieces:
    piece = b"a" * _PIECE_BYTES
    return chain((b"GET / HTTP/1.1\r\n" + _HOST + b"x-long: ",), repeat(piece, _HEADER_BYTES // _PIECE_BYTES))


def _trailers(attack: Attack) -> Pieces:
    head = _post(attack.api_keys[0], b"Transfer-Encoding: chunked\r\n")
    return chain((head + b"2\r\n{}\r\n0\r\n",), repeat(b"x-trailer: " + b"a" * 1_000 + b"\r\n"))


def _extension(attack: Attack) -> Pieces:
    head = _post(attack.api_keys[0], b"Transfer-Encoding: chunked\r\n")
    return chain((head + b"2;",), repeat(b"a" * _PIECE_BYTES))


def _half_head(attack: Attack) -> Pieces:
    return iter((b"POST /v1/chat/completions HTTP/1.1\r\n" + _HOST,))


def _half_body(attack: Attack) -> Pieces:
    return iter((_post(attack.api_keys[0], b"Content-Length: 100\r\n") + b"{",))


def _head_by_bytes(attack: Attack) -> Pieces:
    return (bytes((byte,)) for byte in _post(attack.api_keys[0]))


def _body_by_bytes(attack: Attack) -> Pieces:
    return chain((_post(attack.api_keys[0], b"Content-Length: 100000\r\n"),), repeat(b" "))


def _packet(attack: Attack) -> Pieces:
    return iter(((b"GET /v1/models HTTP/1.1\r\n" + _HOST + b"\r\n") * _REQUESTS_A_PACKET,))


def _malformed(attack: Attack) -> Pieces:
    return iter((b"NONSENSE\r\n\r\n",))


def _with_keys(next_key: Callable[[], str], *lines: bytes, body: bytes = b"{}") -> Pieces:
    length = b"Content-Length: %d\r\n" % len(body)
    while True:
        yield _post(next_key(), *lines, length) + body
        yield None


def _malformed_keys(attack: Attack) -> Pieces:
    return _with_keys(lambda: "sk-nobody")


def _unknown_keys(attack: Attack) -> Pieces:
    return _with_keys(lambda: new_key("dev").api_key)


def _upgrades(attack: Attack) -> Pieces:
    return _with_keys(lambda: "sk-nobody", b"Connection: Upgrade\r\nUpgrade: h2c\r\n")


@cache
def _body_of_names() -> bytes:
    return b'{"model":"m",' + b",".join(b'"%x":1' % number for number in range(_NAMES)) + b"}"


def _names(attack: Attack) -> Pieces:
    body = _body_of_names()
    head = _post(attack.api_keys[0], b"Content-Length: %d\r\n" % len(body))
    for again in repeat(None):
        yield head
        yield from _in_pieces(body)
        yield again


def _stalled(attack: Attack) -> Pieces:
    head = _post(attack.api_keys[0], b"Content-Length: %d\r\n" % _ANNOUNCED_BYTES)
    return chain((head,), _in_pieces(b" " * _STALLED_BYTES))


def _stream(attack: Attack) -> Pieces:
    body = msgspec.json.encode(
        {
            "model": attack.model_id,
            "messages": [{"role": "user", "content": "hi"}],
            "n": _CHOICES,
            "max_tokens": STREAM_TOKENS,
            "stream": True,
            "simulate": {"output_tokens": STREAM_TOKENS, "tokens_per_second": _TOKENS_PER_SECOND},
        }
    )
    return iter((_post(attack.api_keys[0], b"Content-Length: %d\r\n" % len(body)) + body, None))


def _calls(attack: Attack) -> Pieces:
    fields = {"model": attack.model_id, "messages": [{"role": "user", "content": "hi"}], "simulate": {"output_tokens": 20}}
    body = msgspec.json.encode({**fields, "max_tokens": 50})
    return _with_keys(lambda: attack.api_keys[0], body=body)


def _questions(attack: Attack) -> Pieces:
    asked = b"GET /v1/models HTTP/1.1\r\n" + _HOST + b"Authorization: Bearer %b\r\n\r\n" % attack.api_keys[0].encode()
    while True:
        yield asked
        yield None


def _metrics(attack: Attack) -> Pieces:
    while True:
        yield b"GET /metrics HTTP/1.1\r\n" + _HOST + b"\r\n"
        yield None


NOTHING: Final = "nothing"
WAYS: Final[dict[str, Way]] = {
    "headers": Way("11 MB of headers, on 16 connections", _FLOODS, _headers),
    "long-header": Way("a header of 60 MB, on 16 connections", _FLOODS, _long_header),
    "trailers": Way("trailers without end, on 16 connections", _FLOODS, _trailers),
    "extension": Way("a chunk's extension without end, on 16 connections", _FLOODS, _extension),
    "idle": Way("6,000 idle connections of one address", _MANY, _nothing),
    "idle-addresses": Way("10,000 idle connections of 1,000 addresses", _MORE, _nothing, _ADDRESSES),
    "half-heads": Way("6,000 half heads of one address", _MANY, _half_head),
    "half-heads-addresses": Way("10,000 half heads of 1,000 addresses", _MORE, _half_head, _ADDRESSES),
    "half-bodies": Way("6,000 half bodies of one address", _MANY, _half_body),
    "byte-a-second-head": Way("2,000 heads, a byte a second of each", _SLOW, _head_by_bytes, pause_s=1.0),
    "byte-a-second-body": Way("2,000 bodies, a byte a second of each", _SLOW, _body_by_bytes, pause_s=1.0),
    "packets": Way("5,000 requests in a packet, on 16 connections", _FLOODS, _packet),
    "malformed": Way("no HTTP, at full speed on 64 connections", _AT_ONCE, _malformed),
    "malformed-keys": Way("keys of no form, at full speed on 64 connections", _AT_ONCE, _malformed_keys),
    "unknown-keys": Way("unknown keys of the right form, at full speed on 64 connections", _AT_ONCE, _unknown_keys),
    "names": Way("bodies of 1.8 million names, on 8 connections", _READERS, _names),
    "stalled-bodies": Way("18 MB of 20 bodies that go no further", _STALLED, _stalled),
    "stopped-readers": Way("20 streams that nobody reads", _STALLED, _stream, stops_reading=True, is_charged=True),
    "one-account": Way(
        "calls of one account, on 10,000 connections of 10 addresses", _MORE, _calls, _FEW_ADDRESSES, is_charged=True
    ),
    "runaway-agent": Way("calls of one account, at full speed on 256 connections", _PARALLEL, _calls, is_charged=True),
    "questions": Way("lists of models of one account, at full speed on 64 connections", _AT_ONCE, _questions),
    "metrics": Way("8 readers of /metrics at full speed", _READERS, _metrics, to_operators=True),
    "upgrades": Way("requests to upgrade, at full speed on 64 connections", _AT_ONCE, _upgrades),
}

IDLE_CONNECTIONS: Final = 5_000
# No attacks, but measured for their memory; each address has a half, as one may not have them all.
IDLE: Final[dict[str, Way]] = {
    "silent": Way("connections that have sent nothing", IDLE_CONNECTIONS, _nothing, 2),
    "answered": Way("connections that wait after an answer", IDLE_CONNECTIONS, _hello, 2),
}


class _Attacker(asyncio.Protocol):
    """One connection."""

    def __init__(self, attackers: "_Attackers") -> None:
        self._attackers = attackers
        self._pieces = attackers.way.pieces(attackers.attack)
        # uvloop's transports are transports in all but their type.
        self._transport: Any = None
        self._parser: Any = None
        self._paused = False
        self.waits = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if self._attackers.way.stops_reading:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
        self._attackers.opened(self)
        if self._attackers.ending:
            self.abort()
        else:
            self.go_on()

    def data_received(self, data: bytes) -> None:
        # Bytes that are not HTTP are no answer.
        with suppress(httptools.HttpParserError):
            self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self._attackers.count(str(self._parser.get_status_code()))
        if self._attackers.way.stops_reading:
            self.waits = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.waits:
            self.waits = False
            self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.waits = False
        self._attackers.open.discard(self)
        self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if not self._attackers.way.pause_s:
            self.go_on()

    def go_on(self) -> None:
        """Sends what is next, as far as it is taken; of an attack with pauses one piece."""
        while self._sends and self._transport is not None and not self._transport.is_closing():
            piece = next(self._pieces, b"")
            if piece is None:
                self.waits = True
            elif not piece:
                return
            else:
                self._attackers.sent_bytes += len(piece)
                self._transport.write(piece)
                if self._attackers.way.pause_s:
                    return

    @property
    def _sends(self) -> bool:
        return self._attackers.sends and not self._paused and not self.waits

    def abort(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.abort()


class _Attackers:
    """All connections of one attack."""

    def __init__(self, attack: Attack, way: Way) -> None:
        self.attack = attack
        self.way = way
        self.open: set[_Attacker] = set()
        self.sends = True
        self.ending = False
        self.sent_bytes = 0
        self._connections = 0
        self._answers: dict[str, int] = {}
        self._port = attack.admin_port if way.to_operators else attack.port

    def opened(self, attacker: _Attacker) -> None:
        """A connection is there."""
        self._connections += 1
        self.open.add(attacker)

    def count(self, status: str) -> None:
        """An answer has begun."""
        self._answers[status] = self._answers.get(status, 0) + 1

    async def run(self, told: asyncio.Event) -> Attacked:
        """Attacks until told to stop."""
        way = self.way
        tasks = [
            asyncio.create_task(self._connect_until_end(str(_FIRST_ADDRESS + number % way.addresses)))
            for number in range(way.connections)
        ]
        if way.pause_s:
            tasks.append(asyncio.create_task(self._go_on_slowly()))
        await told.wait()
        if way.is_charged:
            # Calls that are counted must be those that are charged.
            self.sends = False
            await self._await_answers()
        attacked = Attacked(
            connections=self._connections,
            ended=self._connections - len(self.open),
            sent_mib=round(self.sent_bytes / 2**20, 1),
            answers=dict(sorted(self._answers.items())),
        )
        self.ending = True
        for attacker in tuple(self.open):
            attacker.abort()
        await asyncio.gather(*tasks)
        return attacked

    async def _await_answers(self) -> None:
        until_s = asyncio.get_running_loop().time() + _LAST_ANSWERS_S
        # A connection tells nobody of its answer.
        while any(attacker.waits for attacker in self.open) and asyncio.get_running_loop().time() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(_AGAIN_S)

    async def _connect_until_end(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        while self.sends and not self.ending:
            try:
                _, attacker = await loop.create_connection(
                    lambda: _Attacker(self), "127.0.0.1", self._port, local_addr=(address, 0)
                )
            except OSError:
                await asyncio.sleep(_AGAIN_S)
            else:
                await attacker.closed

    async def _go_on_slowly(self) -> None:
        while not self.ending:
            await asyncio.sleep(self.way.pause_s)
            for attacker in tuple(self.open):
                attacker.go_on()


async def _burn(told: asyncio.Event) -> Attacked:
    """Takes the processor as an attack does, and does nothing with it."""
    while not told.is_set():
        sum(range(_BURNED))
        await asyncio.sleep(0)
    return Attacked()


async def run(attack: Attack, told: asyncio.Event) -> Attacked:
    """Attacks until told to stop; `NOTHING` only takes the processor's time."""
    if attack.name == NOTHING:
        return await _burn(told)
    return await _Attackers(attack, WAYS.get(attack.name) or IDLE[attack.name]).run(told)


async def _until_told(attack: Attack) -> Attacked:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    reader = loop.run_in_executor(None, sys.stdin.readline)
    reader.add_done_callback(lambda _: told.set())
    write_line("attacking")
    return await run(attack, told)


def main() -> None:
    """Makes each attack of standard input."""
    os.nice(_NICE)
    # Where the kernel shares a processor among sessions, niceness counts within one alone, and each session has one of its own.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_SESSION_NICE), encoding="ascii")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    while line := sys.stdin.readline():
        attack = msgspec.json.decode(line, type=Attack)
        write_line(msgspec.json.encode(uvloop.run(_until_told(attack))).decode())


if __name__ == "__main__":
    main()
