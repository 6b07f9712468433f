"""Calls over HTTP, each at its time, and what their answers say."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from services.cli.replay.plan import Call
from services.cli.replay.trace import ReplayError
from services.runtime.identifiers import random_name
from services.vendor_simulator.text import TOKEN_BYTES, text

T = TypeVar("T")

# Quota used up, and whatever else was refused by a limit.
_REFUSALS: Final = (402, 429)
# A body goes out in pieces of at most this many tokens, so that a million-token row needs no more memory than a short one.
_PIECE_TOKENS: Final = 16_384
_PIECE: Final = text(0, _PIECE_TOKENS)
_QUESTION_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
# A whole answer may take long; silence for so long means that nothing comes any more.
CALL_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=600)


def body_pieces(call: Call, run_id: str, stream: bool) -> tuple[int, Iterator[bytes]]:
    """The size of a call's body in bytes, and the body in pieces."""
    output = call.row.output_tokens
    fields: dict[str, Any] = {
        "model": call.model.id,
        "user": run_id,
        "max_tokens": max(1, output),
        "simulate": {"output_tokens": output, "cached_input_tokens": call.row.cached_input_tokens},
    }
    if stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    head = msgspec.json.encode(fields)[:-1] + b',"messages":[{"role":"user","content":"'
    tail = b'"}]}'
    whole, rest = divmod(call.row.input_tokens, _PIECE_TOKENS)

    def pieces() -> Iterator[bytes]:
        if not whole:
            yield head + text(0, rest) + tail
            return
        yield head
        for _ in range(whole):
            yield _PIECE
        yield text(0, rest) + tail

    return len(head) + call.row.input_tokens * TOKEN_BYTES + len(tail), pieces()


async def run_open_loop(
    calls: Sequence[Call], speed: float, concurrency: int, make_call: Callable[[Call], Awaitable[None]]
) -> None:
    """Makes every call at its time, whether or not earlier ones have ended; returns when all have.

    At most `concurrency` run at once, and the calls of a session one after the other: what comes too early waits.
    `calls` are in the order of their times; the first one's time is now.
    """
    ready: asyncio.Queue[Call] = asyncio.Queue()
    # The sessions with a call under way, and what waits for its end.
    waiting: dict[str, deque[Call]] = {}

    async def work() -> None:
        while True:
            call = await ready.get()
            await make_call(call)
            session = call.row.session
            if session:
                if waiting[session]:
                    ready.put_nowait(waiting[session].popleft())
                else:
                    del waiting[session]
            ready.task_done()

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work()) for _ in range(min(concurrency, len(calls)))]
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        for call in calls:
            delay_s = begin_s + (call.row.timestamp_s - calls[0].row.timestamp_s) / speed - loop.time()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            if call.row.session in waiting:
                waiting[call.row.session].append(call)
                continue
            if call.row.session:
                waiting[call.row.session] = deque()
            ready.put_nowait(call)
        await ready.join()
        for worker in workers:
            worker.cancel()


class Usage(msgspec.Struct, frozen=True):
    """The tokens of an answer, as it tells them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    # Details have other members than counts, too.
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


class _Text(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    # An event of a stream has a delta, a whole answer a message.
    delta: _Text | None = None
    message: _Text | None = None
    finish_reason: str | None = None


class _Error(msgspec.Struct, frozen=True):
    message: str = ""
    type: str | None = None
    code: str | int | None = None


class Answer(msgspec.Struct, frozen=True):
    """A whole answer, or an event of a stream."""

    choices: list[_Choice] = []
    usage: Usage | None = None
    error: _Error | None = None


class CallError(Exception):
    """A call that did not end well; the message is what it is counted under."""


class Outcome:
    """A whole answer's content, gathered event by event."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.text_bytes = 0
        self.finish_reason = ""

    def add(self, raw: bytes) -> None:
        """Adds a whole answer, or an event. Errors: `CallError` for an error in it, or for anything else than an answer."""
        try:
            answer = _answer_decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise CallError("answer is not JSON of a chat completion") from None
        if answer.error is not None:
            raise CallError(f"error in the answer: {answer.error.code or answer.error.type}")
        if answer.usage is not None:
            self.usage = answer.usage
        for choice in answer.choices:
            part = choice.delta or choice.message
            if part is not None and part.content:
                self.text_bytes += len(part.content.encode())
            self.finish_reason = choice.finish_reason or self.finish_reason


_answer_decoder: Final = msgspec.json.Decoder(Answer)


class Caller:
    """Makes the calls of one replay, and counts those that are refused or fail."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, api_keys: Sequence[str], *, stream: bool) -> None:
        self._http = http
        self._url = f"{base_url}/chat/completions"
        self._headers = [{"Authorization": f"Bearer {key}", "Content-Type": "application/json"} for key in api_keys]
        self._stream = stream
        # The `user` field of all its calls.
        self.run_id = random_name("replay")
        # By error code.
        self.refused: Counter[str] = Counter()
        # How calls failed: number of calls.
        self.failures: Counter[str] = Counter()
        # Whole calls that succeeded.
        self.latencies_ms: list[float] = []

    async def call(self, call: Call) -> Outcome | None:
        """Makes one call; None when it was refused or failed, which is counted. Never raises for what the other side does."""
        # Not the loop's clock, which counts whole milliseconds only.
        begin_s = time.perf_counter()
        try:
            outcome = await self._send(call)
        except CallError as failure:
            self.failures[str(failure)] += 1
        except TimeoutError:
            self.failures["no answer in time"] += 1
        except (aiohttp.ClientError, OSError) as error:
            self.failures[f"transfer broken: {type(error).__name__}"] += 1
        else:
            if outcome is not None:
                self.latencies_ms.append((time.perf_counter() - begin_s) * 1_000)
            return outcome
        return None

    async def _send(self, call: Call) -> Outcome | None:
        """The whole answer; None when the call was refused, which is counted here."""
        size, pieces = body_pieces(call, self.run_id, self._stream)
        headers = self._headers[call.key_index] | {"Content-Length": str(size)}
        # With its length stated, a body in pieces goes out without chunked encoding, as a client's would.
        data = next(pieces) if call.row.input_tokens < _PIECE_TOKENS else _sent(pieces)
        async with self._http.post(self._url, data=data, headers=headers) as response:
            if response.status in _REFUSALS:
                self.refused[_error_code(await response.read(), response.status)] += 1
                return None
            if response.status != 200:
                raise CallError(f"{response.status} {_error_code(await response.read(), response.status)}")
            outcome = Outcome()
            if self._stream:
                await _read_stream(response, outcome)
            else:
                outcome.add(await response.read())
            return outcome


async def _sent(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _read_stream(response: aiohttp.ClientResponse, outcome: Outcome) -> None:
    done = False
    rest = b""
    async for part in response.content.iter_any():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            # Other lines are blank, or comments that keep the connection open.
            if line.startswith(b"data:"):
                data = line[5:].strip()
                if data == b"[DONE]":
                    # Read on to the end of the body, so that the connection can serve another call.
                    done = True
                else:
                    outcome.add(data)
    if not done:
        raise CallError("stream ended without [DONE]")


def _error_code(raw: bytes, status: int) -> str:
    try:
        error = _answer_decoder.decode(raw).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = None
    return str((error and (error.code or error.type)) or status)


async def ask(http: aiohttp.ClientSession, url: str, key: str, kind: type[T]) -> T:
    """The answer to a GET. Errors: `ReplayError` when there is none, or not one of Tokenline's."""
    masked = f"{key[:6]}...{key[-4:]}" if len(key) >= 16 else "given"
    try:
        async with http.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=_QUESTION_TIMEOUT) as response:
            raw = await response.read()
    except aiohttp.ClientConnectorError as error:
        raise ReplayError(f"--base-url: {url} cannot be reached: {error.os_error.strerror or error.os_error}") from error
    except (aiohttp.ClientError, ValueError, TimeoutError, OSError) as error:
        raise ReplayError(f"--base-url: {url} cannot be reached: {error or type(error).__name__}") from error
    if response.status == 401:
        raise ReplayError(f"--api-key: the key {masked} is not valid at {url}")
    if response.status != 200:
        raise ReplayError(f"--base-url: {url} answered {response.status} {_error_code(raw, response.status)}; it should end in /v1")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReplayError(f"--base-url: {url} does not answer as Tokenline does: {error}") from error
