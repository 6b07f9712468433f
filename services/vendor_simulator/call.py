"""One call as it is answered: waits, sends, failures, and the count of what was served."""

import asyncio
from typing import Final

from services.vendor_simulator.answer import Answer, Events, chunk_sizes
from services.vendor_simulator.client import Client, Headers
from services.vendor_simulator.completion import DONE
from services.vendor_simulator.errors import REFUSALS, ErrorWriter, error_body, vendor_error
from services.vendor_simulator.served import CallTally
from services.vendor_simulator.simulate import Simulate

_HANG_S: Final = 600.0
# At most this many events of an unpaced stream go out at once, because other calls need their turn.
_EVENTS_AT_ONCE: Final = 16
_BREAKING_OFF: Final = ("break_mid_stream", "hang_mid_stream", "error_mid_stream", "cut_mid_event")
_MID_STREAM_ERROR: Final = ("the server failed in mid-stream, as asked for", "server_error", "simulated_error")
_GARBAGE: Final = b"<html>this is { not JSON"
_GARBAGE_STREAM: Final = b'data: {"id": "chatcmpl-\n\ndata: this is not JSON\n\n' + DONE


class Call:
    """One call from its parsed request to the end of its answer."""

    __slots__ = ("_answer", "_client", "_gzip", "_request_id", "_simulate", "_tally", "_waiting", "_write_error")

    def __init__(
        self,
        simulate: Simulate,
        answer: Answer,
        client: Client,
        tally: CallTally,
        waiting: set[Client],
        request_id: tuple[bytes, bytes],
        write_error: ErrorWriter,
    ) -> None:
        """`waiting` holds the clients that wait, `request_id` is the header that names the call."""
        self._simulate = simulate
        self._answer = answer
        self._client = client
        self._tally = tally
        self._waiting = waiting
        self._request_id = request_id
        self._write_error = write_error
        self._gzip = bool(simulate.quirks) and "gzip" in simulate.quirks

    async def run(self, streamed: bool, secret: str) -> None:
        """Answers the call; `secret` is the key that the caller sent."""
        simulate = self._simulate
        if simulate.pieces:
            self._client.cut_into(simulate.pieces)
        if simulate.first_token_delay_ms and not await self._wait(simulate.first_token_delay_ms / 1000):
            await self._abort()
        elif simulate.failure and await self._fail(streamed):
            return
        elif simulate.vendor_error is not None:
            status, headers, body = vendor_error(simulate.vendor_error, secret)
            await self._client.start(status, [*headers, self._request_id])
            await self._client.send(body, more=False)
        elif simulate.body is not None or simulate.body_base64 is not None:
            await self._replay()
        elif streamed:
            await self._stream()
        else:
            await self._plain()

    async def _fail(self, streamed: bool) -> bool:
        """Fails before the first token if that is asked for; returns whether the call is over."""
        failure = self._simulate.failure
        if failure in REFUSALS:
            status, message, kind, code = REFUSALS[failure]
            await self._send_whole(status, self._write_error(message, kind, code))
        elif failure == "hang_before_first_byte":
            await self._hang()
        elif failure == "disconnect_before_first_byte":
            await self._client.cut()
        elif failure == "garbage":
            if streamed:
                await self._start_stream()
                await self._client.send(_GARBAGE_STREAM, more=False)
            else:
                await self._send_whole(200, _GARBAGE)
        elif failure == "error_first":
            body = self._write_error(*_MID_STREAM_ERROR)
            if streamed:
                await self._start_stream()
                end = DONE if self._write_error is error_body else b""
                await self._client.send(self._answer.events().error(body) + end, more=False)
            else:
                await self._send_whole(200, body)
        else:
            return False
        return True

    async def _replay(self) -> None:
        simulate = self._simulate
        body = simulate.body.encode() if simulate.body is not None else simulate.body_base64 or b""
        headers = [(b"content-type", simulate.content_type.encode("latin-1", "replace")), self._request_id]
        if simulate.content_encoding:
            headers.append((b"content-encoding", simulate.content_encoding.encode("latin-1", "replace")))
        self._tally.begun(self._answer.input_tokens)
        await self._client.start(200, headers)
        await self._client.send(body, more=True)
        if simulate.failure == "break_mid_stream":
            await self._client.cut()
        elif simulate.failure == "hang_mid_stream":
            await self._hang()
        else:
            await self._client.send(b"", more=False)

    async def _plain(self) -> None:
        simulate, answer, tally = self._simulate, self._answer, self._tally
        output_tokens = answer.output_tokens * answer.choices
        if not simulate.tokens_per_second:
            tally.begun(answer.input_tokens, output_tokens)
        else:
            tally.begun(answer.input_tokens)
            loop = asyncio.get_running_loop()
            begin_s = loop.time()
            if not await self._wait(answer.output_tokens / simulate.tokens_per_second):
                made = min(answer.output_tokens, int((loop.time() - begin_s) * simulate.tokens_per_second))
                tally.made(made * answer.choices)
                await self._abort()
                return
            tally.made(output_tokens)
        if simulate.failure == "error_mid_stream":
            await self._send_whole(200, self._write_error(*_MID_STREAM_ERROR))
            return
        body = answer.answer()
        if simulate.failure in _BREAKING_OFF:
            await self._break_off(body)
            return
        await self._send_whole(200, body, self._gzip)
        tally.sent(answer.visible_tokens * answer.choices)

    async def _break_off(self, body: bytes) -> None:
        """Sends the first half of `body`, then fails as asked."""
        half = body[: len(body) // 2]
        if self._simulate.failure == "cut_mid_event":
            await self._send_whole(200, half, self._gzip)
            return
        await self._client.start(200, self._headers(body, self._gzip))
        await self._client.send(half, more=True)
        await (self._client.cut() if self._simulate.failure == "break_mid_stream" else self._hang())

    async def _stream(self) -> None:
        simulate, answer, tally, client = self._simulate, self._answer, self._tally, self._client
        rate, choices, silent = simulate.tokens_per_second, answer.choices, answer.silent_tokens
        await self._start_stream()
        tally.begun(answer.input_tokens)
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        events = answer.events()
        unsent = [events.head()]
        unsent_tokens = 0
        if rate:
            await client.send(unsent.pop(), more=True)
            if silent and not await self._wait(silent / rate):
                tally.made(min(silent, int((loop.time() - begin_s) * rate)) * choices)
                await self._abort()
                return
        if silent:
            tally.made(silent * choices)

        length = answer.visible_tokens
        if simulate.failure in _BREAKING_OFF:
            length = min(length, simulate.failure_after_tokens)
        position = 0
        for size in chunk_sizes(length, rate):
            there = True
            if rate:
                # A chunk leaves when its last token is made; the times are absolute, so that delays do not add up.
                there = await self._wait(begin_s + (silent + position + size) / rate - loop.time())
            elif len(unsent) > _EVENTS_AT_ONCE:
                await self._send_tokens(unsent, unsent_tokens)
                unsent_tokens = 0
                there = await self._wait(0)
            if not there:
                await self._abort()
                return
            unsent.append(events.content(position, size))
            unsent_tokens += size * choices
            position += size
            if rate:
                await self._send_tokens(unsent, unsent_tokens)
                unsent_tokens = 0
        await self._end_stream(events, unsent, unsent_tokens, position)

    async def _send_tokens(self, unsent: list[bytes], tokens: int) -> None:
        """Sends what is in `unsent`, empties it and counts `tokens`."""
        self._tally.made(tokens)
        await self._client.send(b"".join(unsent), more=True)
        self._tally.sent(tokens)
        unsent.clear()

    async def _end_stream(self, events: Events, unsent: list[bytes], tokens: int, position: int) -> None:
        """Sends what is in `unsent` and the end, or the failure after `position` visible tokens."""
        failure = self._simulate.failure
        if failure == "error_mid_stream":
            unsent.append(events.error(self._write_error(*_MID_STREAM_ERROR)))
        elif failure == "cut_mid_event":
            left = self._answer.visible_tokens - position
            following = events.content(position, 1) if left else events.end()
            unsent.append(following[: following.index(b"\n\n") * 2 // 3] if b"\n\n" in following else following[:-1])
        elif failure not in _BREAKING_OFF:
            unsent.append(events.end())
        self._tally.made(tokens)
        await self._client.send(b"".join(unsent), more=failure in ("break_mid_stream", "hang_mid_stream"))
        self._tally.sent(tokens)
        if failure == "break_mid_stream":
            await self._client.cut()
        elif failure == "hang_mid_stream":
            await self._hang()

    async def _start_stream(self) -> None:
        headers = [(b"content-type", self._answer.stream_type), (b"cache-control", b"no-cache"), self._request_id]
        if self._gzip:
            headers.append((b"content-encoding", b"gzip"))
        await self._client.start(200, headers)

    async def _send_whole(self, status: int, body: bytes, packed: bool = False) -> None:
        await self._client.start(status, self._headers(body, packed))
        await self._client.send(body, more=False)

    def _headers(self, body: bytes, packed: bool) -> Headers:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), self._request_id]
        if packed:
            headers.append((b"content-encoding", b"gzip"))
        return headers

    async def _wait(self, duration_s: float) -> bool:
        self._waiting.add(self._client)
        return await self._client.wait(duration_s)

    async def _hang(self) -> None:
        if await self._wait(_HANG_S):
            await self._client.cut()
        else:
            await self._abort()

    async def _abort(self) -> None:
        self._tally.aborted()
        await self._client.cut()
