"""`tokenline replay`: real HTTP calls after a recorded trace, and whether the bill equals the sum of the rows.

The expected charge is added up here, from the trace's numbers and the prices that `/v1/models` publishes; nothing of
it comes from the answers, except where quota ran out and cut one short.
"""

import asyncio
import csv
import gzip
import io
import math
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import click
import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from services.cli.amounts import format_in_unit
from services.runtime.identifiers import random_name
from services.token_classes import FIRST, TOKEN_CLASSES
from services.vendor_simulator.text import TOKEN_BYTES, text

T = TypeVar("T")

_COLUMNS: Final = ["timestamp_s", "session", "model", "input_tokens", "output_tokens"]
_CACHED_COLUMN: Final = "cached_input_tokens"
# A row without a model of the catalog goes to a model with at least this context, so that no row is too long for it.
_LONG_CONTEXT_TOKENS: Final = 1_000_000
_TOKENS_PER_RATE: Final = 1_000_000
# What an answer's usage counts apart inside of input and output, and the classes that it is there.
_INPUT_DETAILS: Final = {"cached_tokens": "cached_input", "audio_tokens": "audio_input"}
_OUTPUT_DETAILS: Final = {"reasoning_tokens": "reasoning", "audio_tokens": "audio_output"}
# Quota used up, and whatever else was refused by a limit.
_REFUSALS: Final = (402, 429)
# A body goes out in pieces of at most so many tokens, so that a million-token row needs no more memory than a short one.
_PIECE_TOKENS: Final = 16_384
_PIECE: Final = text(0, _PIECE_TOKENS)
_QUESTION_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
# A whole answer may take long; silence for so long means that nothing comes any more.
_CALL_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=600)


class ReplayError(Exception):
    """The replay cannot be made; the message names what is wrong and what would be right."""


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay, and how."""

    # A CSV file, plain or gzipped.
    trace: Path
    # Ends in /v1.
    base_url: str
    # Used in turn, by session, or by row where there is no session.
    api_keys: Sequence[str]
    # For rows without a model of the catalog; empty: one with a context of a million tokens.
    model: str = ""
    # The trace's time runs so many times faster.
    speed: float = 1.0
    # Only the first so many rows; None: all.
    limit: int | None = None
    stream: bool = True
    # The most calls at once.
    concurrency: int = 256
    # Shows a progress bar on standard error, where that is a terminal.
    progress: bool = False


class Latency(msgspec.Struct, frozen=True):
    """Of whole calls that succeeded, in milliseconds; None when none did."""

    p50: float | None
    p90: float | None
    p99: float | None


class Charged(msgspec.Struct, frozen=True):
    """What was charged in one unit, in micro-units. `currency` is empty unless the unit is CURRENCY."""

    unit: str
    currency: str
    charged: int


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a replay. Amounts are integers of micro-units, of `unit` where they do not say their own."""

    amounts_in: str = "micro_units"

    # The `user` field of all its calls.
    run_id: str
    calls: int
    succeeded: int
    # Of those, ended early by the account's quota, with finish_reason "length".
    cut: int
    # By error code.
    refused: dict[str, int]
    failed: int
    # How they failed: number of calls.
    failures: dict[str, int]
    # Rows too long for their model.
    skipped: int
    # By token class, from the answers: the first five always, later ones where they are not 0.
    tokens: dict[str, int]
    latency_ms: Latency
    # What the accounts were charged, from their balances.
    charged: int
    # What they ought to have been, from the trace.
    expected: int
    # What they were charged in other units, as where an allowance ended and overage went on: no row says how much is right.
    other_charges: list[Charged]
    # The charge is what was expected, and there is no other one.
    exact: bool
    balance_before: int
    balance_after: int
    unit: str
    # ISO 4217 code; empty unless the unit is CURRENCY.
    currency: str


class Row(msgspec.Struct, frozen=True):
    """One row of a trace."""

    timestamp_s: float
    # Empty: the row stands alone.
    session: str
    # Empty: not recorded.
    model: str
    # In total, cached ones included.
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0


class Tier(msgspec.Struct, frozen=True):
    """Rates above a number of input tokens, in micro-units per 1,000,000 tokens."""

    above_input_tokens: int
    input: int
    cached_input: int
    output: int


class Pricing(msgspec.Struct, frozen=True):
    """What a model costs in a key's offering."""

    unit: str
    tiers: list[Tier]
    currency: str | None = None


class SaleModel(msgspec.Struct, frozen=True):
    """A model that a key may call."""

    id: str
    context_window: int
    max_output_tokens: int
    pricing: Pricing


class Call(msgspec.Struct, frozen=True):
    """A row that is to become a call."""

    row: Row
    key_index: int
    model: SaleModel


# Reading


def read_trace(path: Path, limit: int | None = None) -> list[Row]:
    """The first `limit` rows of a trace, plain or gzipped.

    Errors: `ReplayError` with file and line when it cannot be read, has another header or a cell that is no number.
    """
    rows: list[Row] = []
    try:
        with _open_text(path) as lines:
            reader = csv.reader(lines)
            header = next(reader, [])
            if header not in (_COLUMNS, [*_COLUMNS, _CACHED_COLUMN]):
                raise ReplayError(
                    f"{path}:1: the header is {','.join(header)!r}; it should be {','.join(_COLUMNS)!r}, "
                    f"with or without {',' + _CACHED_COLUMN!r} behind it"
                )
            for cells in reader:
                if limit is not None and len(rows) >= limit:
                    break
                if cells:
                    rows.append(_row(cells, header, f"{path}:{reader.line_num}"))
    except OSError as error:
        raise ReplayError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ReplayError(f"{path}: is neither CSV nor gzipped CSV: {error}") from error
    if not rows:
        raise ReplayError(f"{path}: has a header but no rows; there is nothing to replay")
    return rows


def _open_text(path: Path) -> io.TextIOWrapper:
    file = path.open("rb")
    # By content, not by name: a trace is often saved without its suffix.
    gzipped = file.peek(2)[:2] == b"\x1f\x8b"
    return io.TextIOWrapper(gzip.GzipFile(fileobj=file) if gzipped else file, encoding="utf-8-sig", newline="")


def _row(cells: list[str], header: list[str], where: str) -> Row:
    if len(cells) != len(header):
        raise ReplayError(f"{where}: has {len(cells)} cells; the header has {len(header)}")
    named = dict(zip(header, cells, strict=True))
    row = Row(
        timestamp_s=_seconds(named, where),
        session=named["session"],
        model=named["model"],
        input_tokens=_tokens(named, "input_tokens", where),
        output_tokens=_tokens(named, "output_tokens", where),
        cached_input_tokens=_tokens(named, _CACHED_COLUMN, where) if named.get(_CACHED_COLUMN) else 0,
    )
    if row.cached_input_tokens > row.input_tokens:
        raise ReplayError(
            f"{where}: {_CACHED_COLUMN}: {row.cached_input_tokens} should not be more than input_tokens, {row.input_tokens}"
        )
    return row


def _seconds(named: dict[str, str], where: str) -> float:
    cell = named["timestamp_s"] or "0"
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ReplayError(f"{where}: timestamp_s: {cell!r} should be a number of seconds, 0 or more")
    return seconds


def _tokens(named: dict[str, str], column: str, where: str) -> int:
    cell = named[column]
    if not (cell.isascii() and cell.isdecimal()):
        raise ReplayError(f"{where}: {column}: {cell!r} should be a whole number, 0 or more")
    return int(cell)


# Planning


def plan_calls(rows: Sequence[Row], models_by_key: Sequence[dict[str, SaleModel]], model_id: str = "") -> tuple[list[Call], int]:
    """The calls in the order of their times, and how many rows are too long for their model.

    Keys are used in turn: a session keeps its key, a row without session takes the next.
    Errors: `ReplayError` when a key may not call `model_id`, or a row finds no model.
    """
    for models in models_by_key:
        if model_id and model_id not in models:
            raise ReplayError(f"--model: no model {model_id!r} for this key; it may call {', '.join(sorted(models)) or 'none'}")
    calls: list[Call] = []
    skipped = 0
    turns = 0
    key_by_session: dict[str, int] = {}
    for row in rows:
        key_index = key_by_session.get(row.session) if row.session else None
        if key_index is None:
            key_index = turns % len(models_by_key)
            turns += 1
            if row.session:
                key_by_session[row.session] = key_index
        models = models_by_key[key_index]
        model = models.get(row.model) or models.get(model_id) or _long_context_model(models)
        if row.input_tokens + row.output_tokens > model.context_window or row.output_tokens > model.max_output_tokens:
            skipped += 1
        else:
            calls.append(Call(row, key_index, model))
    calls.sort(key=lambda call: call.row.timestamp_s)
    return calls, skipped


def _long_context_model(models: dict[str, SaleModel]) -> SaleModel:
    fitting = [model for model in models.values() if model.context_window >= _LONG_CONTEXT_TOKENS]
    if not fitting:
        raise ReplayError(f"no model for sale has a context of {_LONG_CONTEXT_TOKENS} tokens or more; name one with --model")
    return min(fitting, key=lambda model: model.id)


def expected_charge(row: Row, pricing: Pricing, output_tokens: int) -> int:
    """What a call of `row` with `output_tokens` of output costs, in micro-units: each class by itself, rounded up."""
    tier = max(
        (tier for tier in pricing.tiers if tier.above_input_tokens < row.input_tokens), key=lambda tier: tier.above_input_tokens
    )
    charges = (
        (row.input_tokens - row.cached_input_tokens) * tier.input,
        row.cached_input_tokens * tier.cached_input,
        output_tokens * tier.output,
    )
    return sum(-(-charge // _TOKENS_PER_RATE) for charge in charges)


def output_tokens_due(row: Row, finish_reason: str, text_bytes: int) -> int:
    """The output tokens that a whole answer may be charged for: the row's, unless quota cut it short."""
    # The output limit sent is the row's own output, so "length" on less than that means that the account's quota
    # ended there; what came as text is then what may be charged.
    return min(row.output_tokens, text_bytes // TOKEN_BYTES) if finish_reason == "length" else row.output_tokens


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


# Calling


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


class _ModelList(msgspec.Struct, frozen=True):
    data: list[SaleModel]


class _Bucket(msgspec.Struct, frozen=True):
    unit: str
    remaining: int
    consumed: int
    currency: str | None = None


class _Debt(msgspec.Struct, frozen=True):
    unit: str
    incurred: int
    currency: str | None = None


class _Balance(msgspec.Struct, frozen=True):
    account_id: str
    buckets: list[_Bucket]
    debt: list[_Debt]


class _CallError(Exception):
    """A call that did not end well; the message is what it is counted under."""


class _Outcome:
    """What a whole answer said, gathered event by event."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.text_bytes = 0
        self.finish_reason = ""

    def add(self, raw: bytes) -> None:
        try:
            answer = _answer_decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _CallError("answer is not JSON of a chat completion") from None
        if answer.error is not None:
            raise _CallError(f"error in the answer: {answer.error.code or answer.error.type}")
        if answer.usage is not None:
            self.usage = answer.usage
        for choice in answer.choices:
            part = choice.delta or choice.message
            if part is not None and part.content:
                self.text_bytes += len(part.content.encode())
            self.finish_reason = choice.finish_reason or self.finish_reason


_answer_decoder: Final = msgspec.json.Decoder(Answer)


class _Replay:
    """One replay: makes the calls and adds up what comes of them."""

    def __init__(self, http: aiohttp.ClientSession, options: ReplayOptions, base_url: str) -> None:
        self._http = http
        self._options = options
        self._url = f"{base_url}/chat/completions"
        self._headers = [{"Authorization": f"Bearer {key}", "Content-Type": "application/json"} for key in options.api_keys]
        self.run_id = random_name("replay")
        self.succeeded = 0
        self.cut = 0
        self.refused: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter(dict.fromkeys(TOKEN_CLASSES[:FIRST], 0))
        self.latencies_ms: list[float] = []
        self.expected = 0

    async def call(self, call: Call) -> None:
        """Makes one call and counts it; never raises for what the other side does."""
        # Not the loop's clock, which counts whole milliseconds only.
        begin_s = time.perf_counter()
        try:
            outcome = await self._send(call)
        except _CallError as failure:
            self.failures[str(failure)] += 1
        except TimeoutError:
            self.failures["no answer in time"] += 1
        except (aiohttp.ClientError, OSError) as error:
            self.failures[f"transfer broken: {type(error).__name__}"] += 1
        else:
            if outcome is not None:
                self.latencies_ms.append((time.perf_counter() - begin_s) * 1_000)
                self._count(call, outcome)

    async def _send(self, call: Call) -> _Outcome | None:
        """The whole answer; None when the call was refused, which is counted here."""
        size, pieces = body_pieces(call, self.run_id, self._options.stream)
        headers = self._headers[call.key_index] | {"Content-Length": str(size)}
        # With its length stated, a body in pieces goes out without chunked encoding, as a client's would.
        data = next(pieces) if call.row.input_tokens < _PIECE_TOKENS else _sent(pieces)
        async with self._http.post(self._url, data=data, headers=headers) as response:
            if response.status in _REFUSALS:
                self.refused[_error_code(await response.read(), response.status)] += 1
                return None
            if response.status != 200:
                raise _CallError(f"{response.status} {_error_code(await response.read(), response.status)}")
            outcome = _Outcome()
            if self._options.stream:
                await _read_stream(response, outcome)
            else:
                outcome.add(await response.read())
            return outcome

    def _count(self, call: Call, outcome: _Outcome) -> None:
        self.tokens.update(tokens_by_class(outcome.usage))
        output_tokens = output_tokens_due(call.row, outcome.finish_reason, outcome.text_bytes)
        self.cut += output_tokens < call.row.output_tokens
        self.succeeded += 1
        self.expected += expected_charge(call.row, call.model.pricing, output_tokens)


def tokens_by_class(usage: Usage) -> dict[str, int]:
    """The tokens of an answer; what its details count apart is taken from input and output. A class without any may be missing."""
    tokens: dict[str, int] = {}
    for whole, rest, details, classes in (
        (usage.prompt_tokens, "input", usage.prompt_tokens_details, _INPUT_DETAILS),
        (usage.completion_tokens, "output", usage.completion_tokens_details, _OUTPUT_DETAILS),
    ):
        parts = {name: count for field, name in classes.items() if isinstance(count := (details or {}).get(field), int)}
        tokens |= {rest: whole - sum(parts.values()), **parts}
    return tokens


async def _sent(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _read_stream(response: aiohttp.ClientResponse, outcome: _Outcome) -> None:
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
        raise _CallError("stream ended without [DONE]")


def _error_code(raw: bytes, status: int) -> str:
    try:
        error = _answer_decoder.decode(raw).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = None
    return str((error and (error.code or error.type)) or status)


async def _ask(http: aiohttp.ClientSession, url: str, key: str, kind: type[T]) -> T:
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


class _Sums(msgspec.Struct):
    remaining: int = 0
    # Consumed and incurred as debt.
    charged: int = 0


async def _balances(http: aiohttp.ClientSession, base_url: str, keys: Sequence[str]) -> defaultdict[tuple[str, str], _Sums]:
    """Over the distinct accounts of the keys, by unit and currency."""
    answers = await asyncio.gather(*(_ask(http, f"{base_url}/me/balance", key, _Balance) for key in keys))
    sums: defaultdict[tuple[str, str], _Sums] = defaultdict(_Sums)
    for account in {balance.account_id: balance for balance in answers}.values():
        for bucket in account.buckets:
            of_unit = sums[bucket.unit, bucket.currency or ""]
            of_unit.remaining += bucket.remaining
            of_unit.charged += bucket.consumed
        for debt in account.debt:
            sums[debt.unit, debt.currency or ""].charged += debt.incurred
    return sums


def _pricing_unit(models_by_key: Sequence[dict[str, SaleModel]]) -> tuple[str, str]:
    units = {(model.pricing.unit, model.pricing.currency or "") for models in models_by_key for model in models.values()}
    if not units:
        raise ReplayError("--api-key: no model is for sale to this key")
    if len(units) > 1:
        named = ", ".join(sorted(f"{unit} {currency}".strip() for unit, currency in units))
        raise ReplayError(f"--api-key: the keys are charged in different units ({named}); replay them one by one")
    return units.pop()


def percentiles(latencies_ms: Sequence[float]) -> Latency:
    """By nearest rank, to a hundredth of a millisecond."""
    ordered = sorted(latencies_ms)

    def at(percent: int) -> float | None:
        return round(ordered[-(-percent * len(ordered) // 100) - 1], 2) if ordered else None

    return Latency(at(50), at(90), at(99))


async def replay(options: ReplayOptions) -> ReplayReport:
    """Replays a trace and holds the bill against it.

    Other calls of the same accounts must not run meanwhile, since the charge is read from their balances.
    Errors: `ReplayError` before any call is made.
    """
    if not options.api_keys:
        raise ReplayError("no API key; give one with --api-key")
    base_url = options.base_url.rstrip("/")
    if not base_url.startswith(("http://", "https://")):
        raise ReplayError(f"--base-url: {options.base_url!r} should begin with http:// or https:// and end in /v1")
    rows = read_trace(options.trace, options.limit)
    connector = aiohttp.TCPConnector(limit=options.concurrency)
    async with aiohttp.ClientSession(connector=connector, timeout=_CALL_TIMEOUT) as http:
        lists = await asyncio.gather(*(_ask(http, f"{base_url}/models", key, _ModelList) for key in options.api_keys))
        models_by_key = [{model.id: model for model in answer.data} for answer in lists]
        unit, currency = _pricing_unit(models_by_key)
        calls, skipped = plan_calls(rows, models_by_key, options.model)
        before = await _balances(http, base_url, options.api_keys)
        run = _Replay(http, options, base_url)
        with _progress_bar(options.progress) as bar:
            task = bar.add_task("calls", total=len(calls))

            async def call_and_advance(call: Call) -> None:
                await run.call(call)
                bar.advance(task)

            await run_open_loop(calls, options.speed, options.concurrency, call_and_advance)
        after = await _balances(http, base_url, options.api_keys)
    charges = [Charged(*each, after[each].charged - before[each].charged) for each in after]
    charged = sum(each.charged for each in charges if (each.unit, each.currency) == (unit, currency))
    others = [each for each in charges if each.charged and (each.unit, each.currency) != (unit, currency)]
    return ReplayReport(
        run_id=run.run_id,
        calls=len(calls),
        succeeded=run.succeeded,
        cut=run.cut,
        refused=dict(run.refused),
        failed=run.failures.total(),
        failures=dict(run.failures),
        skipped=skipped,
        tokens=dict(run.tokens),
        latency_ms=percentiles(run.latencies_ms),
        charged=charged,
        expected=run.expected,
        other_charges=others,
        exact=charged == run.expected and not others,
        balance_before=before[unit, currency].remaining,
        balance_after=after[unit, currency].remaining,
        unit=unit,
        currency=currency,
    )


def _progress_bar(wanted: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not (wanted and console.is_terminal))


# Printing


def report_table(report: ReplayReport) -> Table:
    """The report for people."""

    def amount(value: int) -> str:
        return format_in_unit(value, {"unit": report.unit, "currency": report.currency})

    def milliseconds(value: float | None) -> str:
        return "-" if value is None else f"{value:,.2f} ms"

    table = Table(show_header=False, title=f"Replay {report.run_id}", title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_row("calls", f"{report.calls:,}")
    table.add_row("succeeded", f"{report.succeeded:,}")
    if report.cut:
        table.add_row("  of these cut short by quota", f"{report.cut:,}")
    table.add_row("refused", f"{sum(report.refused.values()):,}")
    for code, count in sorted(report.refused.items()):
        table.add_row(f"  {code}", f"{count:,}")
    table.add_row("failed", f"{report.failed:,}")
    for failure, count in sorted(report.failures.items()):
        table.add_row(f"  {failure}", f"{count:,}")
    table.add_row("rows skipped, too long for their model", f"{report.skipped:,}", end_section=True)
    for token_class, count in report.tokens.items():
        table.add_row(f"{token_class} tokens", f"{count:,}")
    table.add_section()
    table.add_row("latency p50", milliseconds(report.latency_ms.p50))
    table.add_row("latency p90", milliseconds(report.latency_ms.p90))
    table.add_row("latency p99", milliseconds(report.latency_ms.p99), end_section=True)
    table.add_row("balance before", amount(report.balance_before))
    table.add_row("balance after", amount(report.balance_after))
    table.add_row("charged", amount(report.charged))
    for other in report.other_charges:
        table.add_row("  and in another unit", format_in_unit(other.charged, msgspec.structs.asdict(other)))
    table.add_row("sum of the trace's rows", amount(report.expected))
    difference = amount(report.charged - report.expected)
    differs = f"it differs by {difference}" if report.charged != report.expected else "the rest is in another unit"
    table.add_row("the bill equals the sum", "yes" if report.exact else f"NO, {differs}")
    return table


class _CommandError(click.ClickException):
    exit_code = 2


class _Demo(msgspec.Struct, frozen=True):
    base_url: str
    api_key: str


def _demo(data_folder: Path, missing: str, option: str) -> _Demo:
    """The demo account of the system that runs on the folder, since `option` was not given."""
    path = data_folder.expanduser() / "demo.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Demo)
    except FileNotFoundError:
        raise ReplayError(f"no {missing}: give one with {option}; there is no demo key in {path} either") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReplayError(f"no {missing}: give one with {option}; {path} has none: {error}") from error


@click.command("replay")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--base-url", metavar="URL", help="Where the calls go; ends in /v1. Default: the running system.")
@click.option("--api-key", "api_keys", multiple=True, metavar="K", help="A key; may be repeated. Default: the demo key.")
@click.option("--model", default="", metavar="M", help="For rows without a model of the catalog.")
@click.option("--speed", default=1.0, type=click.FloatRange(min=0, min_open=True), metavar="X", help="Times the trace's speed.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows.")
@click.option("--stream/--no-stream", default=True, help="Streamed answers, the default, or whole ones.")
@click.option("--concurrency", default=256, type=click.IntRange(min=1), metavar="N", help="The most calls at once (256).")
@click.option(
    "--data-dir",
    default=Path("~/.tokenline"),
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the running system and its demo key are.",
)
@click.option("--output", default="table", type=click.Choice(["table", "json"]))
def replay_command(
    *,
    trace: Path,
    base_url: str | None,
    api_keys: tuple[str, ...],
    model: str,
    speed: float,
    limit: int | None,
    stream: bool,
    concurrency: int,
    data_dir: Path,
    output: str,
) -> None:
    """Make real calls after TRACE and compare the bill with the sum of its rows.

    TRACE is CSV, plain or gzipped, with the columns timestamp_s, session, model, input_tokens, output_tokens and
    perhaps cached_input_tokens. Ends with 0 when the bill is exact and no call failed, with 1 when not.
    """
    try:
        options = ReplayOptions(
            trace=trace,
            base_url=base_url or _demo(data_dir, "base URL", "--base-url").base_url,
            api_keys=api_keys or (_demo(data_dir, "API key", "--api-key").api_key,),
            model=model,
            speed=speed,
            limit=limit,
            stream=stream,
            concurrency=concurrency,
            progress=True,
        )
        report = uvloop.run(replay(options))
    except ReplayError as error:
        raise _CommandError(str(error)) from error
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        Console().print(report_table(report))
    sys.exit(0 if report.exact and not report.failed else 1)
