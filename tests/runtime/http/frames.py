"""WebSocket frames as bytes, right and wrong ones, and a client that speaks in them."""

import asyncio
import struct
from typing import Final, NamedTuple

from services.runtime.http.listener import Listener
from tests.runtime.http.system import Client
from tests.waiting import WAIT_S

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_MASK: Final = b"\x12\x34\x56\x78"
HANDSHAKE: Final = (
    b"GET /socket HTTP/1.1\r\nhost: here\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
)
# RFC 6455, 1.3: the answer to that key.
ACCEPT: Final = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True, length: int = -1
) -> bytes:
    """A client's frame; `length` is told instead of the payload's."""
    length = len(payload) if length < 0 else length
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    mask = 0x80 if masked else 0
    if length < 126:
        head = struct.pack("!BB", first, mask | length)
    elif length < 65_536:
        head = struct.pack("!BBH", first, mask | 126, length)
    else:
        head = struct.pack("!BBQ", first, mask | 127, length)
    if not masked:
        return head + payload
    return head + _MASK + bytes(byte ^ _MASK[index % 4] for index, byte in enumerate(payload))


def closing(code: int, reason: bytes = b"") -> bytes:
    """A client's frame that closes."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


class Got(NamedTuple):
    """A server's frame."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of one that closes."""
        assert self.opcode == CLOSE
        return int(struct.unpack("!H", self.payload[:2])[0])


class Raw:
    """A client that writes bytes and reads frames."""

    def __init__(self, client: Client, head: bytes) -> None:
        self.client = client
        self.head = head

    @classmethod
    async def to(cls, listener: Listener, more: bytes = b"", after: bytes = b"") -> "Raw":
        """Connects and asks for WebSocket, with `more` headers; `after` is sent at once."""
        client = await Client.to(listener)
        await client.send(HANDSHAKE + more + b"\r\n" + after)
        async with asyncio.timeout(WAIT_S):
            return cls(client, await client.reader.readuntil(b"\r\n\r\n"))

    async def send(self, *frames: bytes) -> None:
        await self.client.send(b"".join(frames))

    async def get(self) -> Got:
        """The next frame, which is whole in itself and not masked."""
        reader = self.client.reader
        async with asyncio.timeout(WAIT_S):
            first, length = await reader.readexactly(2)
            assert first & 0xF0 == 0x80
            if length == 126:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await reader.readexactly(8))
            return Got(first & 0x0F, await reader.readexactly(length))

    async def rest(self) -> list[Got]:
        """All frames to the end of the connection, which comes soon."""
        frames = []
        try:
            while True:
                frames.append(await self.get())
        except (asyncio.IncompleteReadError, ConnectionError):
            self.client.writer.close()
            return frames
