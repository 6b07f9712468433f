"""Principals of API keys, cached for as long as revocations and suspensions are heard of.

A cached key costs one hash. The cache may be trusted because authentication streams each revocation and suspension, with a
heartbeat at least every 250 ms. When the stream falls silent, cached keys go on for a stated grace, because an absent
authentication must not stop every call. After that the cache lets nothing pass.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final, NamedTuple

import grpc

from services.api_keys import parse_key
from services.edge.http.problems import (
    Problem,
    account_suspended,
    invalid_api_key,
    key_ended,
    revoked,
    suspended,
    unavailable,
)
from services.runtime.clients import answer, await_connection
from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import TRANSIENT, ServiceError
from services.runtime.http.exchange import Exchange
from services.runtime.instruments import Gauge, export
from services.runtime.logs import note
from services.runtime.traces import begin_part, trace_metadata
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

_CLOCK: Final = SystemClock()
_NEGATIVE_S: Final = 1.0
_NEGATIVE_KEYS_MAX: Final = 16_384
_KEYS_MAX: Final = 131_072
# At most this many calls wait for authentication at once. Each holds some 30 KB; more are refused until it answers.
_WAITING_MAX: Final = 1_024
_RETRY_S: Final = 0.05
# Turns of a request that asks authentication about its key: it costs edge and authentication as much as this many others in vain.
_ASKED_TURNS: Final = 8

_MUST_NOT_PASS: Final = frozenset(
    {
        errors_pb2.ERROR_REASON_KEY_UNKNOWN,
        errors_pb2.ERROR_REASON_KEY_REVOKED,
        errors_pb2.ERROR_REASON_INVALID_ARGUMENT,
        errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED,
    }
)


class Principal(NamedTuple):
    """The caller, and the account that pays."""

    key_id: str
    member_id: str
    account_id: str
    # Another key minted it, and accounting knows it by its run.
    is_minted: bool = False
    # Words for more than calls, such as "keys:mint".
    scopes: frozenset[str] = frozenset()
    # The end of its life, in microseconds since 1970; 0: it has none here.
    ends_us: int = 0


End = Callable[[Problem], None]
_Response = authentication_pb2.ResolveKeyResponse


class _Question:
    """A ResolveKey under way, for all callers with this key."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Principal | ServiceError] | None = None
        # Messages that came meanwhile: the answer may be older.
        self.heard: list[authentication_pb2.WatchRevocationsResponse] = []

    def overtaken(self, response: _Response) -> ServiceError | None:
        """Reason why a principal must not pass that was found while these messages came."""
        for message in self.heard:
            if response.key_id in message.key_ids:
                return ServiceError(errors_pb2.ERROR_REASON_KEY_REVOKED, "the key was revoked a moment ago")
            if response.account_id in message.account_ids:
                return ServiceError(errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED, "the account was suspended a moment ago")
        return None


class Principals:
    """Finds principals. Keep `follow_revocations` running beside it."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        cached_key_grace_ms: int,
        *,
        silence_ms: int = 1_000,
        resolve_timeout_ms: int = 5_000,
        monotonic_s: Callable[[], float] = time.monotonic,
        clock: Clock = _CLOCK,
    ) -> None:
        """The stream counts as dead after `silence_ms`; `cached_key_grace_ms` counts from its last message.

        A key that is not cached is asked for until there is an answer, for at most `resolve_timeout_ms`.
        """
        self._authentication = authentication_pb2_grpc.AuthenticationServiceStub(channel)
        self._grace_s = cached_key_grace_ms / 1_000
        self._silence_s = silence_ms / 1_000
        self._resolve_timeout_s = resolve_timeout_ms / 1_000
        self._monotonic_s = monotonic_s
        self._clock = clock
        self._cached: dict[bytes, Principal] = {}
        self._digest_by_key_id: dict[str, bytes] = {}
        # Keys known not to pass: until when, and the reason; in order of time.
        self._negative: dict[bytes, tuple[float, errors_pb2.ErrorReason]] = {}
        self._questions: dict[bytes, _Question] = {}
        self._waiting = 0
        # By key_id and by account_id: functions that end calls under way.
        self._watching: dict[str, set[End]] = {}
        self._revision = 0
        self._heard_s = float("-inf")
        self._began_s = monotonic_s()

    @property
    def alive(self) -> bool:
        """Whether revocations are heard of, so that keys can be cached."""
        return self._monotonic_s() - self._heard_s <= self._silence_s

    def export(self) -> None:
        """Shows from now on how long ago revocations were last heard of."""
        description = "Time since authentication's stream of revocations was last heard, or since the start"
        export(Gauge("edge.revocations.age_seconds", description, lambda: self._monotonic_s() - max(self._heard_s, self._began_s)))

    def watch(self, principal: Principal, end: End) -> None:
        """Calls `end` when the principal's key is revoked, or its account suspended, until `unwatch`."""
        for watched in (principal.key_id, principal.account_id):
            self._watching.setdefault(watched, set()).add(end)

    def unwatch(self, principal: Principal, end: End) -> None:
        """Ends `watch`."""
        for watched in (principal.key_id, principal.account_id):
            watching = self._watching[watched]
            watching.discard(end)
            if not watching:
                del self._watching[watched]

    async def resolve(self, exchange: Exchange) -> Principal:
        """The principal of the API key in `Authorization: Bearer`, or in `x-api-key` where there is none; the exchange is `known`.

        Errors: `Problem` 401 invalid_api_key when the key must not pass, 403 account_suspended when no key of its account may, 403
        key_ended when its life is over, 503 when authentication cannot say.
        """
        principal = await self._resolve(exchange)
        note(account_id=principal.account_id)
        if principal.ends_us and principal.ends_us <= self._clock.now_us():
            raise key_ended(f"the time of key:{principal.key_id} has ended")
        exchange.known = True
        return principal

    async def _resolve(self, exchange: Exchange) -> Principal:
        headers = exchange.headers
        key = bearer(headers) or _api_key(headers)
        if key is None:
            raise invalid_api_key(None)
        digest = sha256(key).digest()
        now_s = self._monotonic_s()
        principal = self._cached.get(digest)
        if principal is not None and now_s - self._heard_s <= self._grace_s:
            return principal
        text = key.decode("latin-1")
        # Not worth a question, because no key of ours has this form.
        if parse_key(text) is None:
            raise invalid_api_key(text)
        until_s, reason = self._negative.get(digest, (now_s, errors_pb2.ERROR_REASON_UNSPECIFIED))
        if now_s < until_s:
            raise _refusal(reason, text)
        if self._waiting >= _WAITING_MAX:
            raise unavailable("authentication does not answer")
        question = self._questions.get(digest)
        if question is None:
            exchange.turns = _ASKED_TURNS
            question = self._questions[digest] = _Question()
            question.task = asyncio.create_task(self._ask(digest, text, question), name="resolve-key")
        assert question.task is not None
        # Shielded, because one client that goes away must not take the answer from the others.
        self._waiting += 1
        try:
            found = await asyncio.shield(question.task)
        finally:
            self._waiting -= 1
        if isinstance(found, Principal):
            # Ask again if the key was dropped between the answer and here, when nobody watched it yet.
            return found if self._cached.get(digest) == found else await self._resolve(exchange)
        if found.reason in _MUST_NOT_PASS:
            raise _refusal(found.reason, text)
        raise unavailable("authentication does not answer")

    async def follow_revocations(self) -> None:
        """Drops revoked keys and keys of suspended accounts as they are told; runs until cancelled."""
        while True:
            request = authentication_pb2.WatchRevocationsRequest(after_revision=self._revision)
            call = self._authentication.WatchRevocations(request, wait_for_ready=True)
            heard = False
            try:
                await await_connection(
                    call, "authentication", "calls of other keys than those in use get 503, and of those after their grace"
                )
                while True:
                    async with asyncio.timeout(self._silence_s):
                        message = await call.read()
                    if not isinstance(message, authentication_pb2.WatchRevocationsResponse):
                        break  # the stream's end
                    self._take(message)
                    heard = True
            except TimeoutError:
                # Logged once while authentication is away.
                if heard:
                    logger.warning("authentication's revocation stream fell silent, connecting again")
            except grpc.aio.AioRpcError as error:
                logger.warning("authentication's revocation stream broke (%s), connecting again", error.code().name)
            finally:
                call.cancel()
            await asyncio.sleep(_RETRY_S)

    def _take(self, message: authentication_pb2.WatchRevocationsResponse) -> None:
        if message.revision < self._revision:
            # Authentication was set back to an older state, so its earlier messages are void.
            self._cached.clear()
            self._digest_by_key_id.clear()
        self._revision = message.revision
        self._heard_s = self._monotonic_s()
        if not message.key_ids and not message.account_ids:
            return
        for key_id in message.key_ids:
            self._drop(key_id)
            for end in tuple(self._watching.get(key_id, ())):
                end(revoked())
        if message.account_ids:
            accounts = frozenset(message.account_ids)
            for principal in [each for each in self._cached.values() if each.account_id in accounts]:
                self._drop(principal.key_id)
            for account_id in accounts:
                for end in tuple(self._watching.get(account_id, ())):
                    end(suspended())
        for question in self._questions.values():
            question.heard.append(message)

    def _drop(self, key_id: str) -> None:
        digest = self._digest_by_key_id.pop(key_id, None)
        if digest is not None:
            del self._cached[digest]

    async def _ask(self, digest: bytes, key: str, question: _Question) -> Principal | ServiceError:
        try:
            response = await self._response(authentication_pb2.ResolveKeyRequest(api_key=key))
            if (overtaken := question.overtaken(response)) is not None:
                return overtaken
            principal = _principal(response)
            self._remember(digest, principal)
            return principal
        except ServiceError as error:
            if error.reason in _MUST_NOT_PASS:
                self._refuse_for_a_while(digest, error.reason)
            return error
        finally:
            del self._questions[digest]

    async def _response(self, request: authentication_pb2.ResolveKeyRequest) -> _Response:
        """Asks again while authentication, or the replica that was asked, is away. Errors: `ServiceError`."""
        until_s = time.monotonic() + self._resolve_timeout_s
        while True:
            left_s = max(_RETRY_S, until_s - time.monotonic())
            asking = begin_part("resolve the key")
            told = trace_metadata(asking)
            try:
                return await answer(self._authentication.ResolveKey(request, timeout=left_s, wait_for_ready=True, metadata=told))
            except ServiceError as error:
                if error.reason not in TRANSIENT or time.monotonic() + _RETRY_S > until_s:
                    raise
            finally:
                if asking is not None:
                    asking.end()
            await asyncio.sleep(_RETRY_S)

    def _remember(self, digest: bytes, principal: Principal) -> None:
        self._cached[digest] = principal
        self._digest_by_key_id[principal.key_id] = digest
        if len(self._cached) > _KEYS_MAX:
            oldest = self._cached.pop(next(iter(self._cached)))
            del self._digest_by_key_id[oldest.key_id]

    def _refuse_for_a_while(self, digest: bytes, reason: errors_pb2.ErrorReason) -> None:
        now_s = self._monotonic_s()
        if (cached := self._cached.get(digest)) is not None:
            self._drop(cached.key_id)
        while self._negative:
            oldest = next(iter(self._negative))
            if self._negative[oldest][0] > now_s and len(self._negative) < _NEGATIVE_KEYS_MAX:
                break
            del self._negative[oldest]
        self._negative[digest] = now_s + _NEGATIVE_S, reason


def _principal(response: _Response) -> Principal:
    return Principal(
        response.key_id,
        response.member_id,
        response.account_id,
        is_minted=bool(response.parent_key_id),
        scopes=frozenset(response.scopes),
        ends_us=response.end_time.ToMicroseconds(),
    )


def _refusal(reason: errors_pb2.ErrorReason, key: str) -> Problem:
    if reason == errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED:
        return account_suspended()
    return invalid_api_key(key)


def _api_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The key in the x-api-key header, where Anthropic's clients send it."""
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip() or None
    return None


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The text after "Bearer" in the Authorization header; None if there is none."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            return key.strip() or None if scheme.lower() == b"bearer" else None
    return None
