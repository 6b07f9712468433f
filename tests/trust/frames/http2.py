"""HTTP/2 frames as bytes, right ones and wrong ones: a library would refuse to write the wrong ones (RFC 9113, RFC 7541)."""

import asyncio
import contextlib
import ssl
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
WINDOW_MAX: Final = 2**31 - 1

SERVICE: Final = "/tokenline.accounting.v1.AccountingService"
CHARGE: Final = f"{SERVICE}/Charge"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", length: int | None = None) -> bytes:
    """A frame; `length` stands in its head instead of the payload's own."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(**values: int) -> bytes:
    """A SETTINGS frame, by names of this module in lower case."""
    pairs = b"".join(globals()[name.upper()].to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values.items())
    return frame(SETTINGS, payload=pairs)


def window_update(stream: int, bytes_more: int) -> bytes:
    return frame(WINDOW_UPDATE, stream=stream, payload=bytes_more.to_bytes(4, "big"))


def reset(stream: int, code: int = 8) -> bytes:
    """CANCEL, unless another code is given."""
    return frame(RST_STREAM, stream=stream, payload=code.to_bytes(4, "big"))


def _number(value: int, prefix_bits: int) -> bytes:
    """An integer of HPACK, with zeros before its prefix."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes([value])
    out, value = bytearray([most]), value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def field(name: bytes, value: bytes) -> bytes:
    """A header field as a literal without indexing, without Huffman."""
    return b"\x00" + _number(len(name), 7) + name + _number(len(value), 7) + value


def block(method: str = CHARGE, more: tuple[bytes, ...] = ()) -> bytes:
    """The header block of a request of gRPC; `more` fields come after its own."""
    own = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        # So that a name which is no UTF-8 can be given.
        (b":path", method.encode("latin-1")),
        (b":authority", b"accounting.tokenline"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    return b"".join([*(field(*each) for each in own), *more])


def request(stream: int, method: str = CHARGE, flags: int = END_HEADERS) -> bytes:
    """HEADERS that begin a call."""
    return frame(HEADERS, flags, stream, block(method))


def message(body: bytes, compressed: int = 0, length: int | None = None) -> bytes:
    """A message of gRPC; `length` stands before it instead of its own."""
    return bytes([compressed]) + (len(body) if length is None else length).to_bytes(4, "big") + body


def data(stream: int, body: bytes, flags: int = 0, frame_bytes_max: int = 16_384) -> bytes:
    """DATA, in as many frames as it takes; `flags` are those of the last."""
    pieces = [body[at : at + frame_bytes_max] for at in range(0, len(body), frame_bytes_max)] or [b""]
    return b"".join(frame(DATA, flags if number == len(pieces) else 0, stream, each) for number, each in enumerate(pieces, 1))


class Peer:
    """A connection to a server, on which frames of both sides are counted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        # Of the server: frames by kind, the header blocks as they came, the bytes of DATA, and the debug text of its GOAWAY.
        self.frames: dict[int, int] = {}
        self.blocks = b""
        self.data_bytes = 0
        self.goaway: bytes | None = None
        self.ended = False
        # What the server takes: at first of each stream, now of those that are known, and of all together as stream 0.
        self._window_first = 65_535
        self._windows: dict[int, int] = {0: 65_535}
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                self._take(head[3], int.from_bytes(head[5:], "big"), payload)
                if head[3] == SETTINGS and not head[4] & ACK:
                    # The server reckons by its settings once they are acknowledged.
                    self._writer.write(frame(SETTINGS, ACK))
        self.ended = True
        self._more.set()

    def _take(self, kind: int, stream: int, payload: bytes) -> None:
        self.frames[kind] = self.frames.get(kind, 0) + 1
        if kind == DATA:
            self.data_bytes += len(payload)
        elif kind == HEADERS:
            self.blocks += payload
        elif kind == GOAWAY:
            self.goaway = payload[8:]
        elif kind == WINDOW_UPDATE:
            self._windows[stream] = self._windows.get(stream, self._window_first) + int.from_bytes(payload, "big")
            self._more.set()
        elif kind == SETTINGS:
            for at in range(0, len(payload), 6):
                if int.from_bytes(payload[at : at + 2], "big") == INITIAL_WINDOW_SIZE:
                    grown = int.from_bytes(payload[at + 2 : at + 6], "big") - self._window_first
                    self._window_first += grown
                    self._windows = {each: size + grown * (each > 0) for each, size in self._windows.items()}
                    self._more.set()

    async def write(self, content: bytes, seconds: float = 5.0) -> bool:
        """Writes; False once the server has closed, or takes no more for `seconds`."""
        try:
            self._writer.write(content)
            async with asyncio.timeout(seconds):
                await self._writer.drain()
                # Others have their turn, however fast the server reads.
                await asyncio.sleep(0)
        except (OSError, TimeoutError):
            return False
        return not self.ended

    async def send(self, stream: int, body: bytes, seconds: float) -> int:
        """Sends DATA within what the server takes; the number of bytes that went until it took no more for `seconds`."""
        sent = 0
        while sent < len(body) and not self.ended:
            room = min(self._windows.setdefault(stream, self._window_first), self._windows[0], 16_384)
            if room <= 0:
                self._more.clear()
                try:
                    async with asyncio.timeout(seconds):
                        await self._more.wait()
                except TimeoutError:
                    break
                continue
            piece = body[sent : sent + room]
            self._windows[stream] -= len(piece)
            self._windows[0] -= len(piece)
            if not await self.write(frame(DATA, 0, stream, piece), seconds):
                break
            sent += len(piece)
        return sent

    async def settle(self, seconds: float) -> None:
        """Gives the server time to answer, or to close."""
        await asyncio.wait([self._reading], timeout=seconds)

    async def close(self) -> None:
        """Ends the connection without a word."""
        self._reading.cancel()
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def connected(address: str, terms: ssl.SSLContext | None = None) -> Peer:
    """A peer of the server at "host:port"; with TLS by these terms."""
    host, _, port = address.rpartition(":")
    name = None if terms is None else "accounting.tokenline"
    return Peer(*await asyncio.open_connection(host, int(port), ssl=terms, server_hostname=name))
