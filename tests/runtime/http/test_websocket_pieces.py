"""Any bytes on a WebSocket, in any pieces: nothing raises, and the pieces change nothing."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.runtime.http.exchange import Channel, Exchange, Stream
from services.runtime.http.websocket import accept
from tests.runtime.http.frames import BINARY, CONT, PING, TEXT, closing, frame

BYTES_MAX: Final = 200
HEADERS: Final = [
    (b"upgrade", b"websocket"),
    (b"connection", b"upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]


class Written(Channel):
    """Keeps what is written."""

    congested = False
    closes = False
    beside_known = False

    def __init__(self) -> None:
        self.written = b""
        self.ends = 0

    def write(self, data: bytes) -> None:
        assert not self.ends
        self.written += data

    async def drained(self) -> None:
        return

    def resume(self) -> None:
        return

    def answered(self, exchange: Exchange) -> None:
        return

    def distrust(self) -> None:
        raise AssertionError("nobody is shed here")

    def stream_begins(self, begin: Callable[[], None]) -> None:
        begin()

    def cut(self) -> None:
        raise AssertionError("a stream ends otherwise")

    def switch(self, exchange: Exchange, stream: Stream) -> Channel:
        return self

    def stream_idles(self) -> None:
        assert not self.ends

    def stream_works(self) -> None:
        assert not self.ends

    def stream_comes(self, *, comes: bool) -> None:
        assert not self.ends

    def end_stream(self) -> None:
        self.ends += 1


class Outcome(NamedTuple):
    served: list[bytes]
    written: bytes
    ends: int
    held: int


async def outcome(pieces: list[bytes]) -> Outcome:
    """What became of bytes that came in these pieces."""
    channel, held = Written(), [0]
    exchange = Exchange(channel, "GET", b"/", HEADERS)
    exchange.came_to_end()
    socket = accept(exchange, [], BYTES_MAX)
    # The head has the time in it.
    channel.written = b""

    def hold(count: int) -> bool:
        held.append(count)
        return True

    socket.on_held = hold
    served: list[bytes] = []

    async def serve() -> None:
        while (message := await socket.receive()) is not None:
            served.append(message)
            socket.done()

    serving = asyncio.create_task(serve())
    for piece in pieces:
        socket.feed(piece)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert max(held) <= BYTES_MAX + 14 + max(map(len, pieces), default=0)
    found = Outcome(served, channel.written, channel.ends, held[-1])
    socket.break_off("The test is over.")
    await serving
    return found


_TEXTS: Final = st.text(max_size=40).map(str.encode)
_FRAMES: Final = st.one_of(
    _TEXTS.map(lambda text: frame(TEXT, text)),
    st.tuples(_TEXTS, _TEXTS).map(lambda two: frame(TEXT, two[0], fin=False) + frame(PING, b"p") + frame(CONT, two[1])),
    st.binary(max_size=125).map(lambda data: frame(PING, data)),
    st.builds(
        frame,
        st.integers(0, 15),
        st.binary(max_size=150),
        fin=st.booleans(),
        reserved=st.sampled_from([0, 0, 0, 1, 2, 4]),
        masked=st.sampled_from([True, True, True, False]),
    ),
    st.integers(900, 5_000).map(closing),
    st.binary(max_size=20),
)


@given(st.lists(_FRAMES, max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=30))
@example([frame(BINARY, fin=False), frame(6)], [40])
@example([frame(BINARY), closing(3_000)], [40])
@example([frame(BINARY), frame(TEXT, b"a")], [40])
@settings(max_examples=100, deadline=None)
def test_pieces_change_nothing_whatever_comes(frames: list[bytes], sizes: list[int]) -> None:
    sent = b"".join(frames)
    pieces: list[bytes] = []
    begin = 0
    while begin < len(sent):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(sent[begin : begin + size])
        begin += size
    single = asyncio.run(outcome([sent[at : at + 1] for at in range(len(sent))]))
    several = asyncio.run(outcome(pieces))
    assert several.ends == single.ends
    assert several.held == single.held
    assert several.written == single.written
    # Messages that wait when the socket ends are dropped.
    assert several.served == single.served[: len(several.served)]
    assert several.ends or several.served == single.served
