"""A call from its grant to its Release: try routes, relay and meter, settle, end the answer. The charge matrix is kept here.

Exactly one Release follows every Create: on every way out, also when this task is cancelled. The end of an answer is held back
until that Release is durable.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from services.edge.call.admission import Admitted, is_streamed, loaded_count
from services.edge.call.dialect import Ending, Step, VendorRequest
from services.edge.call.metrics import CallMetrics
from services.edge.call.outcome import Ended, cause_of, problem_of, provenance_of, tell_trace
from services.edge.call.session import NotExtendedError, Session, Settlement
from services.edge.call.threads import in_thread
from services.edge.call.usage import Meter, Source, Used, with_error
from services.edge.call.vendor_stream import VendorStream
from services.edge.catalog import Abandoned, Route
from services.edge.http.connection import Client, ClientGoneError, RevokedError, TooLongError
from services.edge.http.problems import Problem, unavailable, vendor_failed
from services.edge.http.stream import ClientAnswer
from services.edge.routing.router import FailedAttempt, Turn
from services.edge.vendors.events import Event
from services.edge.vendors.vendor import BODY_BYTES_MAX, VendorClient, VendorFailure, VendorFault
from services.runtime.traces import Part, begin_part, current_trace
from services.token_classes import FIRST, NOTHING, total_output
from tokenline.accounting.v1 import accounting_pb2 as pb

Taken = TypeVar("Taken")

# The answer of a client that left is read on for the vendor's count only if at most this is to come.
_DRAIN_S: Final = 2.0
_DRAIN_TOKENS_MAX: Final = 256
# The header that names dropped fields has at most this many characters.
_DROPPED_CHARACTERS_MAX: Final = 1_024
# A client that goes sooner says nothing of the vendor; a vendor that hangs is seen by those that waited longer.
_PATIENCE_S: Final = 30.0
_NOT_PRINTED: Final = re.compile("[^ -~]")
_NOT_USED: Final = Used(NOTHING, (), Source.VENDOR)
# Attributes of a trace, by OpenTelemetry's names.
_VENDOR: Final = "gen_ai.provider.name"
_VENDOR_MODEL: Final = "gen_ai.request.model"


class Call:
    """One call with an open session."""

    def __init__(
        self,
        admitted: Admitted,
        session: Session,
        client: Client,
        answer: ClientAnswer,
        vendors: VendorClient,
        metrics: CallMetrics,
        abandoned: Abandoned,
    ) -> None:
        """`abandoned`: the part that a client pays if it leaves before it was sent any output."""
        self._request = admitted.request
        self._admitted = admitted
        self._session = session
        self._client = client
        self._answer = answer
        self._vendors = vendors
        self._metrics = metrics
        self._abandoned = abandoned
        # The limit, a choice, that the vendor must be told because no more can be paid for; None: the client's own will do.
        self.limit = admitted.payable_limit(session.granted, session.payable)
        # These belong to the route that answers.
        self._turn: Turn | None = None
        self._stream: VendorStream | None = None
        self._route = admitted.routes[0]
        self._meter = self._new_meter()
        # Steps without output that are held back: their counts are known, though nobody was sent them.
        self._held: list[Step] = []
        # Whether a vendor has been asked, and whether the client was sent any output.
        self._asked = False
        # Whether we ended the last attempt before its vendor could be blamed.
        self._given_up = False
        self._relayed = False
        # The time of the last attempt, and its part of the call's trace.
        self._asked_s = 0.0
        self._asking: Part | None = None

    def _new_meter(self) -> Meter:
        model = self._admitted.model
        return Meter(
            self._admitted.tokens,
            self._request.choices,
            # It may have been loaded since.
            self._admitted.exact_count or loaded_count(model.family.tokenizer),
            input_max=self._admitted.context_tokens,
            output_max=model.max_output_tokens,
            output_held=self._session.held,
            measures=model.measures,
        )

    async def run(self) -> None:
        """Calls vendors, answers the client and releases.

        Errors: `Problem` (then at most comments were sent), `ClientGoneError`, `RevokedError`. Only a fault of ours leaves it
        unreleased.
        """
        try:
            if self._request.streamed:
                out: list[bytes] = []
                ended = await self._relay(*await self._first_answer(self._begin), out)
                # Send the output that was covered before the answer ended.
                await self._send(out)
            else:
                ended = await self._first_answer(self._collect)
            await self._end(ended)
        except ClientGoneError:
            await self._settle_left(Ended.LEFT)
            raise
        except RevokedError as error:
            await self._end_early(error)
        finally:
            self._close_stream()
            if not self._session.released:
                # This is a fault of ours, or a shutdown.
                self._session.release_later(self._settlement(Ended.FAILED, self._meter.used() if self._relayed else _NOT_USED))

    # Usage

    async def _catch_up(self) -> None:
        """Counts off the event loop the text that would hold the loop up, while nothing else of this answer is looked at."""
        meter = self._meter
        while (text := meter.long_text) is not None:
            assert meter.count is not None
            meter.take_long(await in_thread(meter.count, text))

    async def _add(self, step: Step) -> None:
        """Counts a step of any length: the text of a long one before the vendor's count of it is weighed."""
        if self._meter.is_long(step):
            self._meter.add(step._replace(counted=None))
            await self._catch_up()
            step = Step(counted=step.counted)
        self._meter.add(step)

    async def _doubt_excess(self, claimed: int) -> None:
        """Notes a vendor's count of the output that is above our estimate, unless the tokenizer's count explains it."""
        await self._catch_up()
        self._meter.note_excess(claimed)

    async def _weigh(self) -> None:
        """Counts off the event loop the tokens that no vendor has counted, before the meter is asked for the usage."""
        meter = self._meter
        if meter.uncounted:
            await self._catch_up()
        if meter.is_input_estimated and (counted := await self._admitted.counted_input()) is not None:
            meter.take_input(counted)

    def _settlement(self, ended: Ended, used: Used) -> Settlement:
        for doubt in used.doubts:
            self._metrics.doubted(self._route.vendor_id, doubt)
        if not self._session.released:
            attempts = [(each.vendor_id, each.vendor_model_id, each.outcome) for each in self._session.attempts]
            if self._given_up:
                attempts[-1] = (*attempts[-1][:2], "given_up")
            self._metrics.settled(self._admitted.model.model_id, ended, used.charged, attempts)
            if self._asked and ended is not Ended.UNANSWERED:
                self._metrics.ended(self._route, ended, time.monotonic() - self._asked_s)
        if (trace := current_trace()) is not None:
            tell_trace(trace, self._admitted.model.model_id, ended, used)
        provenance = provenance_of(ended, used)
        return Settlement(used.charged, provenance, cause_of(ended), used.unpaid)

    # Calling vendors

    async def _first_answer(self, take: Callable[[VendorStream], Awaitable[Taken]]) -> Taken:
        """The result of `take` for the first route's answer that it accepts.

        Errors: `Problem` if no route answers, with the session released and nothing charged; `ClientGoneError`, `RevokedError`.
        """
        failed: list[FailedAttempt] = []
        unwanted: Problem | None = None
        plan, loop = self._admitted.plan, asyncio.get_running_loop()
        while (turn := self._turn_at_once() or await self._next_turn()) is not None:
            began_s = self._asked_s = time.monotonic()
            until_s = loop.time() + _PATIENCE_S
            self._turn, self._route = turn, turn.route
            route = turn.route
            self._asking = begin_part(f"vendor {route.vendor_id}", {_VENDOR: route.vendor_id, _VENDOR_MODEL: route.vendor_model_id})
            if failed:
                self._meter = self._new_meter()
            if not failed:
                self._metrics.added.record(began_s - self._client.read_s, "opening")
            try:
                asked = self._vendor_request(route)
                with self._client.interruptible():
                    self._stream = await self._ask(route, asked)
                    taken = await take(self._stream)
            except VendorFailure as failure:
                self._metrics.unanswered(route, failure.outcome, time.monotonic() - began_s)
                self._end_asking(failure.outcome)
                failed.append(self._failed(turn, failure))
                self._close_stream()
                self._session.attempts.append(_attempt(route, failure.outcome, failure.http_status, began_s))
                if failed[-1].is_clients_fault:
                    break
            except Problem as problem:
                # The profile refuses a field of this request; only a later route can have a profile other than the first's.
                self._close_stream()
                self._session.attempts.append(_attempt(route, "refused", 0, began_s))
                unwanted = problem
            except BaseException:
                self._given_up = loop.time() < until_s
                self._session.attempts.append(_attempt(route, "broken", 0, began_s))
                raise
            else:
                self._session.attempts.append(_attempt(route, "answered", 200, began_s))
                return taken
        ended = Ended.UNANSWERED if failed else Ended.REJECTED
        await self._session.release(self._settlement(ended, _NOT_USED))
        if unwanted is not None and not failed:
            raise unwanted
        raise problem_of(failed, [route.endpoint.api_key for route in plan.routes], plan.wait_ms)

    def _vendor_request(self, route: Route) -> VendorRequest:
        first, request = self._admitted.first
        if route is first and self.limit is None:
            return request
        streamed = is_streamed(self._request, route.endpoint)
        limit = self.limit
        if limit is None and self._request.makes_output and route.model_id != self._admitted.model.model_id:
            # By itself an equivalent model may make more than was reserved.
            limit = self._admitted.output_limit
        return self._request.vendor_request(route.endpoint, route.vendor_model_id, limit, streamed=streamed)

    async def _ask(self, route: Route, asked: VendorRequest) -> VendorStream:
        endpoint = route.endpoint
        self._asked = True
        vendor = await self._vendors.post(endpoint.base_url + asked.path, asked.headers_for(endpoint), asked.body.content)
        is_equivalent = route.model_id != self._admitted.model.model_id
        self._answer.add_header(b"x-tokenline-model", route.model_id.encode() if is_equivalent else b"")
        self._answer.add_header(b"x-dropped-fields", _listed(asked.dropped))
        streamed = is_streamed(self._request, endpoint)
        stream = VendorStream(
            vendor,
            self._request.answer(endpoint),
            self._whole_bytes_max,
            streamed=streamed,
            relays_bytes=asked.relays_bytes,
        )
        if asked.relays_bytes:
            self._answer.stream_content_type = stream.sound_type or stream.answer.content_type
        return stream

    def _failed(self, turn: Turn, failure: VendorFailure) -> FailedAttempt:
        failed = turn.failed(failure)
        self._metrics.failed(turn.route.vendor_id, failed.word, failure.certificate_fault or failure.network_fault)
        return failed

    def _turn_at_once(self) -> Turn | None:
        with self._client.interruptible():
            return self._admitted.plan.next_at_once()

    async def _next_turn(self) -> Turn | None:
        with self._client.interruptible():
            return await self._admitted.plan.next()

    def _answered(self) -> None:
        assert self._turn is not None
        self._turn.answered()
        if self._request.streamed:
            self._metrics.answered(self._route, time.monotonic() - self._asked_s)

    def _end_asking(self, error: str = "") -> None:
        if self._asking is not None:
            self._asking.end(error)

    def _close_stream(self) -> None:
        self._end_asking()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._turn is not None:
            self._turn.leave()

    async def _begin(self, stream: VendorStream) -> tuple[list[Step], list[Event]]:
        """The first steps up to one with output, and its other events: until then another route can still answer.

        Errors: `VendorFailure`.
        """
        held = self._held = []
        while events := await stream.next():
            for index, event in enumerate(events):
                step = stream.feed(event)
                held.append(step)
                if _has_output(step) or step.finished:
                    self._held = []
                    self._answered()
                    return held, events[index + 1 :]
                _check(step)
        # The stream ended without an answer.
        raise VendorFailure("garbage", 200)

    async def _collect(self, stream: VendorStream) -> Ended:
        """Reads an answer that the client gets whole. Errors: `VendorFailure`."""
        is_noted = False
        while events := await stream.next():
            for event in events:
                step = await stream.fed(event)
                _check(step)
                if not is_noted and (_has_output(step) or stream.finished):
                    is_noted = True
                    self._answered()
                try:
                    covered = await self._covers(step)
                except NotExtendedError:
                    covered = False
                if not covered:
                    stream.close()
                    return Ended.CUT
        if not self._meter.any_output and not stream.finished:
            # The stream ended without an answer.
            raise VendorFailure("garbage", 200)
        return Ended.WHOLE

    # Relaying

    async def _relay(self, held: list[Step], events: list[Event], out: list[bytes]) -> Ended:
        """Relays steps until the answer ends in one of the ways of the charge matrix; `out` then holds the bytes not sent yet."""
        stream = self._stream
        assert stream is not None
        try:
            for step in held:
                if not await self._relays(step, out):
                    return Ended.CUT
            while True:
                for event in events:
                    if not await self._relays(stream.feed(event), out):
                        return Ended.CUT
                await self._send(out)
                with self._client.interruptible():
                    events = await stream.next()
                if not events:
                    return Ended.WHOLE
        except VendorFailure as failure:
            self._session.attempts[-1].outcome = failure.outcome
            self._end_asking(failure.outcome)
            assert self._turn is not None
            self._turn.failed(failure)
            return Ended.BROKEN
        except NotExtendedError:
            return Ended.NOT_EXTENDED

    async def _relays(self, step: Step, out: list[bytes]) -> bool:
        """Adds a step to the bytes to send; False if the grant does not cover it. Errors: `VendorFailure`; those of `_covers`."""
        if step.fault is not None:
            raise VendorFailure("broken", 200, fault=step.fault)
        if not await self._covers(step, out):
            return False
        if step.out:
            tells_usage = self._stream.answer.tells_usage if self._stream is not None else None
            out.append(step.out if tells_usage is None else tells_usage(step.out, self._meter.so_far()))
        return True

    async def _send(self, out: list[bytes]) -> None:
        """Sends the bytes that wait, and empties `out`."""
        if out:
            events = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            with self._client.interruptible():
                # From here on the client may have some of it, even if it leaves before it has taken all.
                if not self._relayed and self._meter.any_output:
                    self._relayed = True
                    self._session.meter = self._meter
                await self._answer.send(events)

    async def _covers(self, step: Step, out: list[bytes] | None = None) -> bool:
        """Counts a step; whether the grant covers its output. Asks for more in time, and waits if it must, after sending `out`.

        The client must not get an uncovered step. Errors: `NotExtendedError`; `ClientGoneError`, `RevokedError`.
        """
        meter, session = self._meter, self._session
        if self._stream is not None and not self._stream.is_streamed:
            # The answer is made already: the excess over the grant is charged as the account's offering says.
            meter.came_whole()
            await self._add(step)
            return True
        if not meter.is_long(step) and meter.add_within(step, session.safe):
            return True
        await self._catch_up()
        output = await in_thread(meter.output_of, step) if meter.is_long(step) else meter.output_of(step)
        best = meter.best + output
        covered = True
        while covered and best > self._covered:
            if session.granted >= self._whole:
                # The whole limit that the vendor was told is reserved, with our count's error: it broke its limit, or counts
                # otherwise.
                covered = meter.low + meter.lowest_of(step) <= self._told * self._request.choices
                break
            if out:
                await self._send(out)
            with self._client.interruptible():
                covered = not session.is_exhausted and await session.more()
        if not covered:
            meter.leave()
        elif best > session.safe and session.granted < self._whole:
            session.ask_for_more()
        await self._add(step)
        return covered

    @property
    def _covered(self) -> int:
        """The output, by our count, that the grant covers."""
        granted, choices = self._session.granted, self._request.choices
        if self._admitted.metered:
            return granted
        # The vendor's limit itself was reserved, and our count of an answer within the limit may be higher.
        return with_error(granted // choices, choices, exact=self._meter.is_exact)

    @property
    def _told(self) -> int:
        """The limit of each choice that the vendor was told, or has by itself."""
        return self.limit or self._admitted.output_limit

    @property
    def _whole(self) -> int:
        """The most output tokens that the session can need for the limit that the vendor was told."""
        if not self._admitted.metered:
            return self._told * self._request.choices
        return with_error(self._told, self._request.choices, exact=self._meter.is_exact)

    def _whole_bytes_max(self) -> int:
        """The most bytes of a whole answer within the limit, by our count with its error; thought may come on top."""
        each = self._told
        if not self._route.endpoint.limit_counts_reasoning:
            each += self._admitted.model.max_output_tokens
        return min(self._request.whole_bytes_max(with_error(each, self._request.choices, exact=False)), BODY_BYTES_MAX)

    # Ending

    async def _end(self, ended: Ended) -> None:
        """Stops the vendor, settles, and only then sends the answer's end."""
        stream, turn = self._stream, self._turn
        assert stream is not None
        assert turn is not None
        self._end_asking()
        stream.close()
        turn.leave()
        meter = self._meter
        if meter.uncounted or meter.is_input_estimated:
            await self._weigh()
        if ended is Ended.WHOLE and (claimed := meter.excess(hides_thought=self._admitted.model.hidden_reasoning)):
            await self._doubt_excess(claimed)
        used = meter.used()
        turn.used(sum(used.charged[:FIRST]))
        if ended is Ended.WHOLE:
            ended = self._ended_whole(stream, used)
        problem = _PROBLEMS[ended]() if ended in _PROBLEMS else None
        began_s = time.monotonic()
        try:
            await self._session.release(self._settlement(ended, used))
        except Problem as unsettled:
            problem = unsettled
        self._metrics.added.record(time.monotonic() - began_s, "settling")
        if not self._request.streamed:
            if problem is not None:
                raise problem
            body = stream.answer.end(Ending.CUT if ended is Ended.CUT else Ending.COMPLETE, used.charged)
            await self._answer.whole(200, stream.answer.content_type, body)
        elif problem is not None:
            await self._answer.break_off(problem, stream.answer.interrupted(problem, self._session.charging_id))
        else:
            await self._answer.end_stream(stream.answer.end(Ending.CUT if ended is Ended.CUT else Ending.COMPLETE, used.charged))

    def _ended_whole(self, stream: VendorStream, used: Used) -> Ended:
        """The ending of an answer that its vendor ended."""
        output, choices = total_output(used.charged), self._request.choices
        if self.limit is not None and output >= self.limit * choices:
            return Ended.LIMITED
        if not stream.is_streamed and self._route.endpoint.limit_counts_reasoning:
            # A stream would have been cut here.
            exact = self._meter.is_exact or not self._meter.uncounted
            if output > with_error(self._told, choices, exact=exact):
                return Ended.EXCEEDED
        return Ended.WHOLE

    async def _settle_left(self, ended: Ended) -> None:
        """Settles after the client left: it pays for the output that it was sent."""
        if self._relayed:
            await self._catch_up()
            self._meter.leave()
            await self._drain()
            await self._weigh()
            used = self._meter.used()
        elif self._asked:
            used = await self._used_unseen()
        else:
            used = _NOT_USED
        self._session.release_later(self._settlement(ended, used))

    async def _used_unseen(self) -> Used:
        """The usage that is paid for an answer of which the client was sent nothing."""
        for step in self._held:
            await self._add(step)
        await self._weigh()
        match self._abandoned:
            case Abandoned.NOTHING:
                return self._meter.unpaid()
            case Abandoned.INPUT:
                return self._meter.input_only()
            case Abandoned.MADE:
                return self._meter.made()

    async def _drain(self) -> None:
        """Reads an answer on for the vendor's count after its client left, if little more is to come."""
        stream = self._stream
        if stream is None or not self._route.endpoint.drainable:
            return
        begun_at = self._meter.best
        if not stream.finished and self._told * self._request.choices - begun_at > _DRAIN_TOKENS_MAX:
            return
        try:
            async with asyncio.timeout(_DRAIN_S):
                while events := await stream.next():
                    for event in events:
                        await self._add(stream.feed(event))
                    if self._meter.best - begun_at > _DRAIN_TOKENS_MAX:
                        return
        except (VendorFailure, TimeoutError):
            return

    async def _end_early(self, error: RevokedError) -> None:
        """Ends a call that must not go on: charges input and relayed output, and tells the client the problem."""
        stream, problem = self._stream, error.problem
        early = Ended.TOO_LONG if isinstance(error, TooLongError) else Ended.REVOKED
        if stream is not None:
            stream.close()
        if self._asked:
            await self._weigh()
        used = self._meter.used() if self._relayed else self._meter.unpaid() if self._asked else _NOT_USED
        try:
            await self._session.release(self._settlement(early, used))
        except Problem as unsettled:
            problem = unsettled
        if stream is None or not self._request.streamed:
            raise problem
        await self._answer.break_off(problem, stream.answer.interrupted(problem, self._session.charging_id))


_PROBLEMS: Final[dict[Ended, Callable[[], Problem]]] = {
    Ended.BROKEN: lambda: vendor_failed("The model's vendor broke off in the middle of the answer."),
    Ended.NOT_EXTENDED: lambda: unavailable("the quota for the rest of this answer cannot be reserved"),
}


def _listed(names: Sequence[str]) -> bytes:
    """Names of a client's fields as a header's value: no control characters, and not too many of any."""
    listed = ", ".join(names)[:_DROPPED_CHARACTERS_MAX]
    return _NOT_PRINTED.sub("?", listed).encode("ascii")


def _has_output(step: Step) -> bool:
    return bool(step.said or step.thought or step.opaque_bytes or step.calls or step.sound_bytes)


def _check(step: Step) -> None:
    """Checks a step. Errors: `VendorFailure` where the vendor tells of its failure."""
    fault: VendorFault | None = step.fault
    if fault is not None:
        raise VendorFailure("refused", 200, fault=fault)


def _attempt(route: Route, outcome: str, http_status: int, began_s: float) -> pb.VendorAttempt:
    return pb.VendorAttempt(
        vendor_id=route.vendor_id,
        vendor_model_id=route.vendor_model_id,
        outcome=outcome,
        http_status=http_status,
        duration_ms=round((time.monotonic() - began_s) * 1_000),
    )
