"""One call of POST /v1/chat/completions: reserve, call the vendor, relay, settle. The charge matrix is kept here.

Whatever happens to a call after its Create, exactly one Release follows: on every way out, also when this task is cancelled. The
end of an answer is held back until that Release is durable.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import msgspec
from litestar.types import Receive, Scope, Send

from services.edge.catalog import CatalogHolder, RouteTarget, SellableModel, SellableOffering, Snapshot
from services.edge.charging.client import ChargingClient
from services.edge.config import EdgeConfig
from services.edge.dialects.estimate import NO_TEXT, NOT_JSON, InputTokens, TextSize, estimate_tokens, measure_input
from services.edge.dialects.openai_chat import (
    ChatRequest,
    PlainAnswer,
    StreamEvent,
    Usage,
    ending,
    parse_answer,
    parse_chat_request,
    parse_event,
    vendor_body,
)
from services.edge.http.problems import (
    Problem,
    context_length_exceeded,
    from_service_error,
    internal_error,
    key_ended,
    limit_used_up,
    malformed,
    model_not_found,
    problem_body,
    quota_below_choices,
    quota_held,
    quota_used_up,
    rate_limited,
    too_large,
    too_slow,
    unavailable,
    vendor_failed,
    vendor_unavailable,
)
from services.edge.identity.principals import Principal, Principals
from services.edge.vendors.vendor import VendorAnswer, VendorClient, VendorFailure
from services.runtime.clock import Clock
from services.runtime.errors import ServiceError
from services.runtime.identifiers import uuid7
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2
from tokenline.registry.v1 import registry_pb2

logger = logging.getLogger(__name__)

Taken = TypeVar("Taken")

# An input whose estimate is this much above the context window can't fit; nearer ones are for the vendor to judge.
_CONTEXT_PERCENT_MAX: Final = 125
# A body beyond the bound is read on up to this many times the bound, so that the client gets to see why it is refused.
_DRAIN_FACTOR: Final = 5
# Tokens that have no visible byte, such as the end of a turn: a few a choice.
_INVISIBLE_TOKENS_A_CHOICE: Final = 8
# What is asked for at a threshold, at least.
_EXTENSION_TOKENS_MIN: Final = 256
# A grant is renewed when this part of its validity is over, and after this time again if accounting did not answer.
_RENEW_AT: Final = 2 / 3
_RENEW_AGAIN_S: Final = 1.0
_EVENT_BYTES_MAX: Final = 8 * 1024 * 1024
_KEEP_ALIVE: Final = b": keep-alive\n\n"
_DONE: Final = b"data: [DONE]\n\n"
# The client's own fault, as far as a vendor's word goes: another route would say the same.
_CLIENTS_FAULT: Final = frozenset({400, 413, 422})
_OVERLOADED: Final = frozenset({429, 503, 529})

_VENDOR: Final = pb.USAGE_PROVENANCE_VENDOR
_PARTIAL: Final = pb.USAGE_PROVENANCE_PARTIAL
_ESTIMATED: Final = pb.USAGE_PROVENANCE_ESTIMATED


class _ErrorObject(msgspec.Struct, frozen=True):
    message: str = ""
    code: str | int | None = None
    param: str | None = None


class _VendorError(msgspec.Struct):
    error: _ErrorObject = _ErrorObject()


class _ClientGoneError(Exception):
    """The client has closed its connection."""


class _NotExtendedError(Exception):
    """Accounting could not say whether the quota goes on."""


class _Client:
    """The client's connection: tells when it is gone, and breaks off what only matters while it is there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.current_task()
        self._interruptible = False
        self._watching: asyncio.Task[None] | None = None
        self.gone = False

    def watch(self) -> None:
        """Begins to listen for the end of the connection; the body must have been read."""
        self._watching = asyncio.create_task(self._watch(), name="client-watch")

    def stop_watching(self) -> None:
        """Lets go of the connection, and of the tasks, which would otherwise wait for the garbage collector with it."""
        if self._watching is not None:
            self._watching.cancel()
        self._watching = self._task = None

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._interruptible and self._task is not None:
            self._task.cancel()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """What is awaited in the block ends with `_ClientGoneError` when the client goes away, or has gone."""
        if self.gone:
            raise _ClientGoneError
        self._interruptible = True
        try:
            yield
        except asyncio.CancelledError:
            if self.gone and self._task is not None and self._task.uncancel() == 0:
                raise _ClientGoneError from None
            raise
        finally:
            self._interruptible = False


class _Session:
    """A charging session as the edge sees it: the grant, its renewal and extension, and the one Release."""

    def __init__(self, charging: ChargingClient, charging_id: str, principal: Principal, granted: pb.Granted) -> None:
        self._charging = charging
        self.charging_id = charging_id
        self._principal = principal
        self._number = 1
        self._step = max(granted.output_tokens_granted, _EXTENSION_TOKENS_MIN)
        self._renewing: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._released = False
        self._exhausted = False
        self._unanswered = False
        # What Updates report; whoever relays the output sets it.
        self.used_so_far: Callable[[], pb.TokenUsage] = pb.TokenUsage
        self.attempts: list[pb.VendorAttempt] = []
        self._take(granted)

    def _take(self, granted: pb.Granted) -> None:
        self.granted = granted.output_tokens_granted
        self.payable = granted.output_tokens_payable
        self.threshold = granted.output_tokens_threshold
        self.offering_id = granted.offering_id
        self._renew_in(granted.validity_ms / 1_000 * _RENEW_AT)

    def _renew_in(self, delay_s: float) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        self._renewing = asyncio.get_running_loop().call_later(delay_s, self._ask, 0)

    def ask_for_more(self) -> None:
        """Asks for the next window in the background, unless a question is under way or the last one brought nothing."""
        if not self._exhausted:
            self._ask(self.granted + self._step)

    async def more(self) -> bool:
        """Waits for the answer under way, and asks once more if that brought nothing; whether the grant has grown.

        Errors: `_NotExtendedError` when accounting did not answer.
        """
        before = self.granted
        if self._asking is not None:
            await asyncio.shield(self._asking)
        if self.granted == before and not self._released:
            self._ask(before + self._step)
            assert self._asking is not None
            await asyncio.shield(self._asking)
        if self.granted == before and self._unanswered:
            raise _NotExtendedError
        return self.granted > before

    def _ask(self, output_tokens_wanted: int) -> None:
        if self._asking is None and not self._released:
            self._asking = asyncio.create_task(self._update(output_tokens_wanted), name="session-update")

    async def _update(self, output_tokens_wanted: int) -> None:
        if self._released:
            # It was released before this task began; no number may follow the Release's.
            return
        self._number += 1
        update = pb.UpdateSession(used=self.used_so_far(), output_tokens_wanted=output_tokens_wanted)
        before = self.granted
        try:
            granted = await self._charging.update(self._principal.account_id, self.charging_id, self._number, update)
        except ServiceError as error:
            # The hold stands as it is; the Release tells what was used.
            logger.warning("session %s was not extended: %s", self.charging_id, error.message)
            self._unanswered = True
            if error.reason == errors_pb2.ERROR_REASON_UNAVAILABLE and not self._released:
                self._renew_in(_RENEW_AGAIN_S)
        else:
            self._unanswered = False
            if not self._released:
                self._take(granted)
        finally:
            self._asking = None
            self._exhausted = output_tokens_wanted > before == self.granted

    async def release(self, used: pb.TokenUsage, provenance: pb.UsageProvenance, cause: pb.CloseCause) -> None:
        """Settles; returns once that is durable. Errors: `Problem` 503 when that takes too long; then it goes on behind."""
        number, message = self._close(used, provenance, cause)
        try:
            await self._charging.release(self._principal.account_id, self.charging_id, number, message)
        except ServiceError as error:
            logger.warning("session %s is not settled yet: %s", self.charging_id, error.message)
            raise unavailable("the charge for this call is not confirmed yet") from error

    def release_later(self, used: pb.TokenUsage, provenance: pb.UsageProvenance, cause: pb.CloseCause) -> None:
        """Settles without waiting; nothing happens if it is released already."""
        if not self._released:
            number, message = self._close(used, provenance, cause)
            self._charging.release_later(self._principal.account_id, self.charging_id, number, message)

    def _close(self, used: pb.TokenUsage, provenance: pb.UsageProvenance, cause: pb.CloseCause) -> tuple[int, pb.ReleaseSession]:
        self._released = True
        self.used_so_far = pb.TokenUsage
        if self._renewing is not None:
            self._renewing.cancel()
        self._number += 1
        message = pb.ReleaseSession(used=used, provenance=provenance, close_cause=cause, attempts=self.attempts)
        return self._number, message


class ChatCompletions:
    """The ASGI application of the route."""

    def __init__(
        self,
        principals: Principals,
        catalog: CatalogHolder,
        charging: ChargingClient,
        vendors: VendorClient,
        config: EdgeConfig,
        clock: Clock,
    ) -> None:
        self._principals = principals
        self._catalog = catalog
        self._charging = charging
        self._vendors = vendors
        self._config = config
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one call. Whatever ends it is answered here, with the charging_id as x-request-id."""
        charging_id = uuid7(self._clock.now_us())
        client = _Client(receive)
        answer = _Answer(send, charging_id)
        try:
            principal = await self._principals.resolve(scope["headers"])
            body = await self._read_body(receive)
            client.watch()
            await self._serve(charging_id, principal, body, client, answer)
        except _ClientGoneError:
            pass
        except Problem as problem:
            await answer.fail(problem)
        except ServiceError as error:
            await answer.fail(from_service_error(error))
        except Exception:
            logger.exception("call %s failed", charging_id)
            await answer.fail(internal_error())
        finally:
            client.stop_watching()
            answer.stop()

    async def _read_body(self, receive: Receive) -> bytes:
        """The body. Errors: `Problem` 413 when it is too large, 408 when it comes too slowly."""
        try:
            async with asyncio.timeout(self._config.body_timeout_ms / 1_000):
                return await self._receive_body(receive)
        except TimeoutError as error:
            raise too_slow(self._config.body_timeout_ms) from error

    async def _receive_body(self, receive: Receive) -> bytes:
        bytes_max = self._config.body_bytes_max
        message: Any = await receive()
        body: bytes = message.get("body", b"")
        pieces, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGoneError
            body = message.get("body", b"")
            size += len(body)
            if size > bytes_max:
                pieces.clear()
                if size > _DRAIN_FACTOR * bytes_max:
                    break
            else:
                pieces.append(body)
        if size > bytes_max:
            raise too_large(bytes_max)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _serve(self, charging_id: str, principal: Principal, body: bytes, client: _Client, answer: "_Answer") -> None:
        request = parse_chat_request(body)
        snapshot = self._catalog.current
        if snapshot is None:
            raise unavailable("no catalog is loaded yet")
        model = snapshot.model(request.model_id)
        if model is None:
            raise model_not_found(request.model_id)
        if request.output_limit is not None and request.output_limit > model.max_output_tokens:
            raise malformed(
                request.output_field,
                f"{request.output_field} is too large: {request.output_limit}. {model.model_id} supports at most "
                f"{model.max_output_tokens} completion tokens.",
                "invalid_value",
            )
        size = measure_input(request.fields, model.family, model.context_window_tokens)
        if size.estimate * 100 > model.context_window_tokens * _CONTEXT_PERCENT_MAX:
            raise context_length_exceeded(model.model_id, model.context_window_tokens, size.estimate)
        if not model.routes:
            raise vendor_unavailable(f"No vendor of {model.model_id} is configured here.")
        metered = request.stream and not model.hidden_reasoning
        with client.interruptible():
            session = await self._open(charging_id, principal, request, model, size, metered=metered)
            if isinstance(session, pb.Refused):
                refused, offering = session, snapshot.offering(session.offering_id)
                cheaper = _restricted_to(snapshot, refused, offering)
                if cheaper is None:
                    raise _refusal(refused, model.model_id, offering.redirect_offering_id if offering else "")
                # The quota has ended, and the offering lets calls go on with a cheaper model.
                model = cheaper
                size = measure_input(request.fields, model.family, model.context_window_tokens)
                metered = request.stream and not model.hidden_reasoning
                session = await self._open(charging_id, principal, request, model, size, metered=metered)
                if isinstance(session, pb.Refused):
                    raise _refusal(session, model.model_id, "")
        if session.granted < request.choices:
            # There must be a token for each choice, or the vendor can't be told a limit.
            session.release_later(pb.TokenUsage(), _VENDOR, pb.CLOSE_CAUSE_REJECTED)
            raise quota_below_choices(request.choices)
        call = _Call(self, session, request, model, size, client, answer, metered=metered)
        try:
            await call.run()
        except _ClientGoneError:
            charges_input = snapshot.charges_input_when_client_gone_before_output(session.offering_id)
            session.release_later(call.used_when_gone(charges_input=charges_input), _PARTIAL, pb.CLOSE_CAUSE_CLIENT_GONE)
            raise
        finally:
            # Every way out has released by now, but for a fault of ours and a shutdown.
            session.release_later(call.used_so_far(), _PARTIAL, pb.CLOSE_CAUSE_VENDOR_ERROR)

    async def _open(
        self,
        charging_id: str,
        principal: Principal,
        request: ChatRequest,
        model: SellableModel,
        size: InputTokens,
        *,
        metered: bool,
    ) -> "_Session | pb.Refused":
        """Opens the session. Errors: `Problem` when accounting does not answer."""
        create = pb.CreateSession(
            model_id=model.model_id,
            key_id=principal.key_id,
            member_id=principal.member_id,
            input_tokens_bound=size.bound,
            output_tokens_limit=(request.output_limit or model.max_output_tokens) * request.choices,
            output_metered=metered,
            input_tokens_expected=size.estimate_within,
        )
        result = await self._charging.create(principal.account_id, charging_id, create)
        return result if isinstance(result, pb.Refused) else _Session(self._charging, charging_id, principal, result)

    async def post(self, target: RouteTarget, body: bytes) -> VendorAnswer:
        """Calls one route. Errors: `VendorFailure`."""
        headers = [(b"content-type", b"application/json")]
        if target.api_key:
            headers.append((b"authorization", b"Bearer " + target.api_key.encode("latin-1")))
        return await self._vendors.post(f"{target.base_url}/chat/completions", headers, body)

    @property
    def heartbeat_interval_s(self) -> float:
        """After this time without anything, a stream's client gets a comment."""
        return self._config.heartbeat_interval_ms / 1_000


class _Call:
    """A call from its grant to its Release."""

    def __init__(
        self,
        edge: ChatCompletions,
        session: _Session,
        request: ChatRequest,
        model: SellableModel,
        size: InputTokens,
        client: _Client,
        answer: "_Answer",
        *,
        metered: bool,
    ) -> None:
        self._edge = edge
        self._session = session
        self._request = request
        self._model = model
        self._input = size
        self._client = client
        self._answer = answer
        # The output limit that the vendor is told, a choice.
        payable = session.payable if metered else session.granted
        self._limit = min(request.output_limit or model.max_output_tokens, payable // request.choices)
        # The most that the client asked for, all choices together: counts above it are absurd.
        self._output_max = model.max_output_tokens * request.choices
        # The vendor's last word, and the output that came after it; both without what was not relayed.
        self._usage: Usage | None = None
        self._uncounted = NO_TEXT
        self._any_output = False
        self._first_event = b""
        # Of a stream; once its vendor is stopped, it makes no more output that nobody pays.
        self._stop_vendor: Callable[[], None] = lambda: None
        session.used_so_far = self.used_so_far

    async def run(self) -> None:
        """Calls the vendor, answers the client and releases. Errors: `Problem`, `_ClientGoneError`; released but for the last."""
        if self._request.stream:
            vendor, (events, first) = await self._open()
            self._stop_vendor = vendor.close
            try:
                await self._relay(events, first)
            finally:
                vendor.close()
        else:
            await self._answer_whole()

    # Usage

    def used_so_far(self) -> pb.TokenUsage:
        """What is known to have been used: the vendor's word as far as it goes, and our count of what was relayed since."""
        if self._usage is None and not self._answer.begun:
            return pb.TokenUsage()
        return _token_usage(self._counted())

    def used_when_gone(self, *, charges_input: bool) -> pb.TokenUsage:
        """What a client that went away has used: nothing before any output, unless its offering charges the input."""
        if self._any_output or charges_input:
            return _token_usage(self._counted())
        return pb.TokenUsage()

    def _counted(self) -> Usage:
        usage = self._usage or Usage(self._input.estimate_within, 0, 0, 0)
        # An estimate is never charged above what was reserved.
        unused = max(0, self._session.granted - usage.output - usage.reasoning)
        return usage._replace(output=usage.output + min(estimate_tokens(self._uncounted, self._model.family), unused))

    def _take(self, size: TextSize, usage: Usage | None) -> None:
        """Counts output that is relayed, up to which `usage` is the vendor's word."""
        came = self._uncounted + size
        if usage is None or (came.utf8_bytes and not usage.output + usage.reasoning):
            # Some vendors write zeros until their last event, or always: text has tokens, so they have not counted it.
            self._uncounted = came
            if usage is not None and self._usage is None and usage.input + usage.cached_input:
                self._usage = usage
        else:
            self._usage, self._uncounted = usage, NO_TEXT
        if size.utf8_bytes or (usage is not None and usage.output + usage.reasoning):
            self._any_output = True

    def _provenance(self) -> pb.UsageProvenance:
        """Of a whole answer: the vendor's if nothing came after its word."""
        return _VENDOR if self._usage is not None and not self._uncounted.utf8_bytes else _ESTIMATED

    # Calling the vendor

    async def _open(self) -> tuple[VendorAnswer, tuple["_Events", list[bytes]]]:
        """The first route's answer with its first events. Errors: as `_try_routes`."""

        async def begin(vendor: VendorAnswer) -> tuple[_Events, list[bytes]]:
            # A stream has begun with the first event of a chat completion: until then another route can still answer.
            events = _Events(vendor)
            while first := await events.next():
                for index, event in enumerate(first):
                    if (data := _data_of(event)) is not None:
                        self._parse(data)
                        return events, first[index:]
            raise VendorFailure("broken", 200)

        return await self._try_routes(begin)

    async def _answer_whole(self) -> None:
        async def read(vendor: VendorAnswer) -> tuple[bytes, PlainAnswer]:
            body = await vendor.read()
            parsed = parse_answer(body, self._model.context_window_tokens, self._output_max)
            if parsed is None:
                raise VendorFailure("garbage", 200)
            return body, parsed

        vendor, (body, parsed) = await self._try_routes(read)
        vendor.close()
        self._take(parsed.size, parsed.usage)
        await self._session.release(_token_usage(self._counted()), self._provenance(), pb.CLOSE_CAUSE_NORMAL)
        await self._answer.whole(body)

    async def _try_routes(self, take: Callable[[VendorAnswer], Awaitable[Taken]]) -> tuple[VendorAnswer, Taken]:
        """The first route whose answer `take` accepts.

        Errors: `Problem` when there is none, with the session released and nothing charged; `_ClientGoneError`.
        """
        request, session = self._request, self._session
        limit = self._limit if self._limit < (request.output_limit or self._model.max_output_tokens) else None
        failures: list[VendorFailure] = []
        for target in self._model.routes:
            body = vendor_body(request, target.vendor_model_id, limit, prefers_completion_field=self._model.hidden_reasoning)
            began_s = time.monotonic()
            vendor: VendorAnswer | None = None
            try:
                with self._client.interruptible():
                    vendor = await self._edge.post(target, body)
                    taken = await take(vendor)
            except VendorFailure as failure:
                if vendor is not None:
                    vendor.close()
                session.attempts.append(_attempt(target, failure.outcome, failure.http_status, began_s))
                failures.append(failure)
                if failure.http_status in _CLIENTS_FAULT:
                    break
            except BaseException:
                if vendor is not None:
                    vendor.close()
                session.attempts.append(_attempt(target, "broken", 0, began_s))
                raise
            else:
                session.attempts.append(_attempt(target, "answered", 200, began_s))
                return vendor, taken
        await session.release(pb.TokenUsage(), _VENDOR, pb.CLOSE_CAUSE_VENDOR_ERROR)
        raise _vendor_problem(failures)

    # Relaying a stream

    def _parse(self, data: bytes) -> StreamEvent:
        """Errors: `VendorFailure` for what is no chunk of a chat completion, or tells of the vendor's failure."""
        parsed = parse_event(data, self._model.context_window_tokens, self._output_max, self._request.choices)
        if parsed is None:
            raise VendorFailure("garbage", 200)
        if parsed.failed:
            raise VendorFailure("broken", 200)
        return parsed

    async def _relay(self, events: "_Events", come: list[bytes]) -> None:
        """Relays events as they come, and ends the stream in one of the ways of the charge matrix."""
        await self._answer.begin_stream(self._edge.heartbeat_interval_s)
        finished, done = 0, False
        try:
            while come and not done:
                out: list[bytes] = []
                for event in come:
                    data = _data_of(event)
                    if data is None:
                        out.append(event)
                        continue
                    if data == b"[DONE]":
                        done = True
                        break
                    try:
                        parsed = self._parse(data)
                    except VendorFailure:
                        await self._answer.send(b"".join(out))
                        raise
                    if not self._first_event:
                        self._first_event = data
                    if not await self._covers(parsed.size):
                        await self._answer.send(b"".join(out))
                        await self._cut()
                        return
                    self._take(parsed.size, parsed.usage)
                    finished += parsed.finished
                    if not parsed.usage_only or self._request.include_usage:
                        out.append(event)
                if out:
                    with self._client.interruptible():
                        await self._answer.send(out[0] if len(out) == 1 else b"".join(out))
                if not done:
                    with self._client.interruptible():
                        come = await events.next()
            if not done and finished < self._request.choices:
                raise VendorFailure("broken", 200)
        except VendorFailure as failure:
            self._session.attempts[-1].outcome = failure.outcome
            broken = vendor_failed("The model's vendor broke off in the middle of the answer.")
            await self._end_with(broken, pb.CLOSE_CAUSE_VENDOR_ERROR)
        except _NotExtendedError:
            self._usage = None
            cut = unavailable("the quota for the rest of this answer cannot be reserved")
            await self._end_with(cut, pb.CLOSE_CAUSE_QUOTA_EXHAUSTED)
        else:
            await self._end(self.used_so_far(), self._provenance(), pb.CLOSE_CAUSE_NORMAL)

    async def _covers(self, size: TextSize) -> bool:
        """Whether the grant covers more output of this size in the worst case; asks for more in time, and waits if it must."""
        session = self._session
        uncounted = self._uncounted.utf8_bytes + size.utf8_bytes
        # The vendor holds to the limit it was told: once all of that is granted, there is nothing to watch.
        limit = self._limit * self._request.choices
        bound = self._usage.output + self._usage.reasoning if self._usage is not None else 0
        if uncounted:
            bound += uncounted + _INVISIBLE_TOKENS_A_CHOICE * self._request.choices
        while session.granted < limit and bound > session.granted:
            with self._client.interruptible():
                if not await session.more():
                    return False
        if session.granted < limit and session.granted - bound <= session.threshold:
            session.ask_for_more()
        return True

    async def _cut(self) -> None:
        """The quota is used up: the stream ends as if the output limit had been reached."""
        self._stop_vendor()
        used = self._counted()
        usage = used if self._request.include_usage else None
        await self._answer.send(ending(self._first_event, self._request.choices, usage))
        await self._end(_token_usage(used), _PARTIAL, pb.CLOSE_CAUSE_QUOTA_EXHAUSTED)

    async def _end(self, used: pb.TokenUsage, provenance: pb.UsageProvenance, cause: pb.CloseCause) -> None:
        try:
            await self._session.release(used, provenance, cause)
        except Problem as problem:
            await self._answer.end_stream(b"data: " + problem_body(problem) + b"\n\n")
        else:
            await self._answer.end_stream(_DONE)

    async def _end_with(self, problem: Problem, cause: pb.CloseCause) -> None:
        """The stream can't go on: input and the output that arrived are charged, and the client is told."""
        self._stop_vendor()
        try:
            await self._session.release(self.used_so_far(), _PARTIAL, cause)
        except Problem as unsettled:
            problem = unsettled
        await self._answer.end_stream(b"data: " + problem_body(problem) + b"\n\n")


class _Answer:
    """The answer to the client: begun at most once, ended at most once."""

    def __init__(self, send: Send, charging_id: str) -> None:
        self._send: Any = send
        self._charging_id = charging_id
        self._heartbeat: asyncio.TimerHandle | None = None
        self._heartbeat_interval_s = 0.0
        self._beating: asyncio.Task[None] | None = None
        self._sent_s = 0.0
        self._ended = False
        self.begun = False

    async def whole(self, body: bytes) -> None:
        """A 200 with a JSON body."""
        await self._start(200, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._ended = True

    async def fail(self, problem: Problem) -> None:
        """An error answer; within a stream, an error event."""
        if self._ended:
            return
        body = problem_body(problem)
        if self.begun:
            await self.end_stream(b"data: " + body + b"\n\n")
            return
        length = (b"content-length", b"%d" % len(body))
        await self._start(problem.status, (b"content-type", b"application/json"), length, *problem.headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._ended = True

    async def begin_stream(self, heartbeat_interval_s: float) -> None:
        """The head of a stream of events; from now on comments keep it alive while nothing else is sent."""
        await self._start(
            200,
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        )
        self._heartbeat_interval_s = heartbeat_interval_s
        self._sent_s = time.monotonic()
        self._heartbeat = asyncio.get_running_loop().call_later(heartbeat_interval_s, self._beat)

    async def send(self, events: bytes) -> None:
        """Whole events."""
        self._sent_s = time.monotonic()
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end_stream(self, events: bytes) -> None:
        """The last events."""
        self.stop()
        await self._send({"type": "http.response.body", "body": events, "more_body": False})

    def stop(self) -> None:
        """No more comments: the answer has ended, or nobody is there to read them."""
        self._ended = True
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None

    async def _start(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        self.begun = True
        named = [*headers, (b"x-request-id", self._charging_id.encode("ascii"))]
        await self._send({"type": "http.response.start", "status": status, "headers": named})

    def _beat(self) -> None:
        if self._ended:
            return
        loop = asyncio.get_running_loop()
        idle_s = time.monotonic() - self._sent_s
        if idle_s < self._heartbeat_interval_s:
            self._heartbeat = loop.call_later(self._heartbeat_interval_s - idle_s, self._beat)
            return
        if self._beating is None or self._beating.done():
            self._beating = loop.create_task(self._send_comment(), name="heartbeat")
        self._heartbeat = loop.call_later(self._heartbeat_interval_s, self._beat)

    async def _send_comment(self) -> None:
        # The answer may have ended since the timer fired.
        if not self._ended:
            await self.send(_KEEP_ALIVE)


class _Events:
    """Cuts a vendor's stream into events, each with the empty line that ends it."""

    def __init__(self, vendor: VendorAnswer) -> None:
        self._pieces = vendor.pieces()
        self._rest = b""

    async def next(self) -> list[bytes]:
        """The events that have come since, at least one; none at the stream's end. Errors: `VendorFailure`."""
        async for piece in self._pieces:
            if events := self._cut(piece):
                return events
        return []

    def _cut(self, piece: bytes) -> list[bytes]:
        """The events that are complete now. Errors: `VendorFailure` garbage when one is too long."""
        if self._rest:
            piece = self._rest + piece
        if b"\r" in piece:
            # An event ends with an empty line, whatever ends its lines.
            piece = piece.replace(b"\r\n", b"\n")
        *events, self._rest = piece.split(b"\n\n")
        if len(self._rest) > _EVENT_BYTES_MAX:
            raise VendorFailure("garbage", 200)
        return [event + b"\n\n" for event in events if event]


def _data_of(event: bytes) -> bytes | None:
    """The data of an event; None for one without, such as a comment."""
    if event.startswith(b"data:") and b"\n" not in event[:-2]:
        return event[5:].strip()
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def _token_usage(usage: Usage) -> pb.TokenUsage:
    return pb.TokenUsage(input=usage.input, cached_input=usage.cached_input, output=usage.output, reasoning=usage.reasoning)


def _attempt(target: RouteTarget, outcome: str, http_status: int, began_s: float) -> pb.VendorAttempt:
    return pb.VendorAttempt(
        vendor_id=target.vendor_id,
        vendor_model_id=target.vendor_model_id,
        outcome=outcome,
        http_status=http_status,
        duration_ms=round((time.monotonic() - began_s) * 1_000),
    )


def _restricted_to(snapshot: Snapshot, refused: pb.Refused, offering: SellableOffering | None) -> SellableModel | None:
    """The model that calls go on with when the quota has ended; None when the refusal has another reason, or they don't."""
    if (
        offering is None
        or refused.result_code != pb.RESULT_CODE_QUOTA_LIMIT_REACHED
        or refused.final_unit_action != pb.FINAL_UNIT_ACTION_RESTRICT_ACCESS
        or refused.held
    ):
        return None
    return snapshot.model(offering.restricted_model_id)


def _refusal(refused: pb.Refused, model_id: str, redirect_offering_id: str) -> Problem:
    unit = refused.unit.currency or registry_pb2.Unit.Name(refused.unit.unit).removeprefix("UNIT_")
    match refused.result_code:
        case pb.RESULT_CODE_RATE_LIMITED:
            return rate_limited(refused.limit_id, refused.retry_after_ms)
        case pb.RESULT_CODE_END_USER_SERVICE_REJECTED:
            return key_ended(refused.message)
        case pb.RESULT_CODE_QUOTA_LIMIT_REACHED if refused.held:
            return quota_held(refused.needed_amount, refused.free_amount, refused.held_amount, unit, refused.retry_after_ms)
        case pb.RESULT_CODE_QUOTA_LIMIT_REACHED if refused.limit_id:
            return limit_used_up(refused.limit_id, refused.free_amount, unit, refused.retry_after_ms)
        case pb.RESULT_CODE_QUOTA_LIMIT_REACHED:
            return quota_used_up(refused.needed_amount, refused.free_amount, unit, redirect_offering_id)
        case _:
            return model_not_found(model_id)


def _vendor_problem(failures: list[VendorFailure]) -> Problem:
    """What the client is told when no route answered."""
    last = failures[-1]
    if last.http_status in _CLIENTS_FAULT:
        message, code, param = _vendors_words(last.body)
        return malformed(param, message or "The model's vendor refused the request as malformed.", code)
    if all(failure.http_status in _OVERLOADED for failure in failures):
        return vendor_unavailable("The model's vendor has too much to do at the moment. Try again.")
    if all(failure.outcome in ("unreachable", "timeout") for failure in failures):
        return vendor_unavailable("The model's vendor cannot be reached at the moment. Try again.")
    return vendor_failed("The model's vendor failed to answer.")


def _vendors_words(body: bytes) -> tuple[str, str | None, str | None]:
    """Message, code and param of a vendor's error, as far as it has them."""
    try:
        error = msgspec.json.decode(body, type=_VendorError).error
    except NOT_JSON:
        return "", None, None
    return error.message, error.code if isinstance(error.code, str) else None, error.param
