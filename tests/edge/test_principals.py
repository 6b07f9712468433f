import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from services.api_keys import checksum
from services.edge.http.problems import Problem
from services.edge.identity.principals import _KEYS_MAX, End, Principal, Principals
from services.runtime.clients import connect
from services.runtime.errors import ServiceError
from services.runtime.http.exchange import Exchange, Header
from services.runtime.lifecycle import Lifecycle
from services.runtime.server import GrpcServer
from tests.waiting import WAIT_S, until
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc
from tokenline.errors.v1 import errors_pb2


def key_of(number: int) -> str:
    """A key of the right form."""
    random = f"tl-local-{number:032d}"
    return random + checksum(random)


KEY = key_of(1)
PRINCIPAL = Principal("key-1", "mem-1", "acct-1")


def asks(*headers: Header) -> Exchange:
    """A request with these headers."""
    return Exchange(cast(Any, None), "POST", b"/", list(headers))


Resolve = Callable[[str], Awaitable[authentication_pb2.ResolveKeyResponse]]


class Authentication(authentication_pb2_grpc.AuthenticationServiceServicer):
    """Authentication as a script: it says what the test tells it to, and counts what it is asked."""

    # Nobody calls these here.
    CreateMember = CreateKey = RevokeKey = ListKeys = MintKey = RevokeMintedKey = None  # type: ignore[assignment]
    ListMembers = ListAccounts = NameAccount = CreateInvitation = AcceptInvitation = None  # type: ignore[assignment]
    SuspendAccount = ResumeAccount = GetSuspension = EntitleAccount = EndEntitlement = FreeIdentity = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.after_revisions: asyncio.Queue[int] = asyncio.Queue()
        self.messages: asyncio.Queue[authentication_pb2.WatchRevocationsResponse | None] = asyncio.Queue()
        self.resolve: Resolve = self.known

    async def known(self, key: str) -> authentication_pb2.ResolveKeyResponse:
        number = int(key.removeprefix("tl-local-")[:32])
        return authentication_pb2.ResolveKeyResponse(key_id=f"key-{number}", member_id="mem-1", account_id="acct-1")

    async def ResolveKey(
        self, request: authentication_pb2.ResolveKeyRequest, context: object
    ) -> authentication_pb2.ResolveKeyResponse:
        self.asked.append(request.api_key)
        return await self.resolve(request.api_key)

    async def WatchRevocations(
        self, request: authentication_pb2.WatchRevocationsRequest, context: object
    ) -> AsyncIterator[authentication_pb2.WatchRevocationsResponse]:
        self.after_revisions.put_nowait(request.after_revision)
        while (message := await self.messages.get()) is not None:
            yield message

    def says(self, revision: int, *key_ids: str) -> None:
        self.messages.put_nowait(authentication_pb2.WatchRevocationsResponse(revision=revision, key_ids=key_ids))


def refuses(reason: errors_pb2.ErrorReason) -> Resolve:
    async def refuse(key: str) -> authentication_pb2.ResolveKeyResponse:
        raise ServiceError(reason, "scripted")

    return refuse


class Time:
    """Monotonic time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class SetClock:
    """A clock that stands."""

    def __init__(self, time_us: int) -> None:
        self._time_us = time_us

    def now_us(self) -> int:
        return self._time_us


class Edge:
    """Principals at work, with a scripted authentication and time in hand."""

    def __init__(self, authentication: Authentication, principals: Principals, time: Time) -> None:
        self.authentication = authentication
        self.principals = principals
        self.time = time

    async def resolve(self, key: str = KEY) -> Principal:
        return await self.principals.resolve(asks((b"host", b"edge"), (b"authorization", b"Bearer " + key.encode("latin-1"))))

    async def status(self, key: str = KEY) -> int:
        with pytest.raises(Problem) as refused:
            await self.resolve(key)
        return refused.value.status

    async def heartbeat(self, revision: int = 0) -> None:
        """Waits until a message, which may be the first, has been heard."""
        self.time.now_s += 0.001
        self.authentication.says(revision)
        await until(lambda: self.principals._heard_s == self.time.now_s)

    @property
    def asked(self) -> int:
        return len(self.authentication.asked)


@asynccontextmanager
async def serving(authentication: Authentication, address: str) -> AsyncIterator[None]:
    server = GrpcServer([])
    authentication_pb2_grpc.add_AuthenticationServiceServicer_to_server(authentication, server.server)
    async with server.listen(address, drain_grace_s=0):
        yield


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    authentication, time = Authentication(), Time()
    address = f"unix:{tmp_path}/authentication.sock"
    async with serving(authentication, address), connect(address) as channel:
        # The stream is read with a real time-out that no test waits for; how old its last word is, `Time` says.
        principals = Principals(channel, 60_000, silence_ms=1_000, resolve_timeout_ms=200, monotonic_s=time)
        async with Lifecycle().background("revocations", principals.follow_revocations()):
            yield Edge(authentication, principals, time)


async def test_a_key_is_asked_for_once_and_then_known(edge: Edge) -> None:
    await edge.heartbeat()
    assert edge.principals.alive
    assert [await edge.resolve() for _ in range(3)] == [PRINCIPAL] * 3
    assert edge.authentication.asked == [KEY]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer  ")],
        [(b"authorization", b"Basic dXNlcjpwYXNz")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"  ")],
    ],
)
async def test_no_key_is_401_and_nobody_is_asked(edge: Edge, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Problem) as refused:
        await edge.principals.resolve(asks(*headers))
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
    # Else Claude Code tries again for minutes, without a word.
    assert (b"x-should-retry", b"false") in refused.value.headers
    assert edge.asked == 0


async def test_a_key_passes_in_x_api_key_too_and_a_bearer_goes_first(edge: Edge) -> None:
    assert await edge.principals.resolve(asks((b"x-api-key", KEY.encode()))) == PRINCIPAL
    assert (
        await edge.principals.resolve(asks((b"x-api-key", b"another"), (b"authorization", b"Bearer " + KEY.encode()))) == PRINCIPAL
    )


async def test_who_passes_is_known_and_who_does_not_is_a_stranger(edge: Edge) -> None:
    passing, refused = asks((b"x-api-key", KEY.encode())), asks((b"x-api-key", b"another"))
    await edge.principals.resolve(passing)
    with pytest.raises(Problem):
        await edge.principals.resolve(refused)
    assert (passing.known, refused.known) == (True, False)


async def test_a_question_to_authentication_costs_a_stranger_the_turns_of_eight_requests(edge: Edge) -> None:
    edge.authentication.resolve = refuses(errors_pb2.ERROR_REASON_KEY_UNKNOWN)
    turns = []
    # The third one knows the answer.
    for key in (b"no-key", KEY.encode(), KEY.encode()):
        exchange = asks((b"x-api-key", key))
        with pytest.raises(Problem):
            await edge.principals.resolve(exchange)
        turns.append(exchange.turns)
    assert turns == [1, 8, 1]


async def test_a_minted_key_is_known_with_its_scopes_until_its_life_is_over(edge: Edge) -> None:
    now_us = time.time_ns() // 1_000
    response = authentication_pb2.ResolveKeyResponse(
        key_id="key-7", member_id="mem-1", account_id="acct-1", parent_key_id="key-1", scopes=["keys:mint"]
    )

    async def minted(key: str) -> authentication_pb2.ResolveKeyResponse:
        return response

    edge.authentication.resolve = minted
    response.end_time.FromMicroseconds(now_us + 3_600_000_000)
    await edge.heartbeat()
    living = Principal("key-7", "mem-1", "acct-1", True, frozenset({"keys:mint"}), now_us + 3_600_000_000)
    assert await edge.resolve() == await edge.resolve() == living
    # From then on it is refused, also where it is cached.
    edge.principals._clock = SetClock(living.ends_us - 1)
    assert await edge.resolve() == living
    edge.principals._clock = SetClock(living.ends_us)
    with pytest.raises(Problem) as refused:
        await edge.resolve()
    assert (refused.value.status, refused.value.code, refused.value.message) == (
        403,
        "key_ended",
        "The time of key:key-7 has ended.",
    )
    assert edge.asked == 1


async def test_the_scheme_is_read_whatever_its_case(edge: Edge) -> None:
    assert await edge.principals.resolve(asks((b"authorization", b"bearer " + KEY.encode()))) == PRINCIPAL


async def test_a_key_counts_in_the_first_authorization_and_under_bearer_alone(edge: Edge) -> None:
    key = KEY.encode()
    for headers in ([b"Basic " + key], [key], [b"Basic x", b"Bearer " + key]):
        with pytest.raises(Problem) as refused:
            await edge.principals.resolve(asks(*((b"authorization", value) for value in headers)))
        assert refused.value.status == 401
    assert edge.asked == 0


@pytest.mark.parametrize("key", ["k" * 513, "schl\xfcssel-0123456789"])
async def test_what_cannot_be_a_key_is_401_and_nobody_is_asked(edge: Edge, key: str) -> None:
    assert await edge.status(key) == 401
    assert edge.asked == 0


@pytest.mark.parametrize("reason", [errors_pb2.ERROR_REASON_KEY_UNKNOWN, errors_pb2.ERROR_REASON_KEY_REVOKED])
async def test_a_bad_key_is_401_with_the_key_masked_and_is_not_asked_for_again_within_a_second(
    edge: Edge, reason: errors_pb2.ErrorReason
) -> None:
    edge.authentication.resolve = refuses(reason)
    with pytest.raises(Problem) as refused:
        await edge.resolve()
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
    assert KEY not in refused.value.message
    assert "tl-loca" in refused.value.message
    edge.time.now_s += 0.9
    assert await edge.status() == 401
    assert edge.asked == 1
    # Keys that were refused are forgotten after a second: this one is good by now.
    edge.time.now_s += 0.2
    edge.authentication.resolve = edge.authentication.known
    assert await edge.resolve() == PRINCIPAL


@pytest.mark.parametrize(
    "reason",
    [
        errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
        errors_pb2.ERROR_REASON_UNAVAILABLE,
        errors_pb2.ERROR_REASON_INTERNAL,
        errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN,
    ],
)
async def test_when_authentication_cannot_say_it_is_503_and_the_next_call_asks_again(
    edge: Edge, reason: errors_pb2.ErrorReason
) -> None:
    edge.authentication.resolve = refuses(reason)
    with pytest.raises(Problem) as refused:
        await edge.resolve()
    assert (refused.value.status, refused.value.type) == (503, "server_error")
    assert dict(refused.value.headers)[b"retry-after"] == b"1"
    edge.authentication.resolve = edge.authentication.known
    assert await edge.resolve() == PRINCIPAL


async def test_those_who_ask_for_one_key_at_once_share_one_question(edge: Edge) -> None:
    await edge.heartbeat()
    go = asyncio.Event()

    async def slowly(key: str) -> authentication_pb2.ResolveKeyResponse:
        await go.wait()
        return await edge.authentication.known(key)

    edge.authentication.resolve = slowly
    asking = [asyncio.create_task(edge.resolve()) for _ in range(20)]
    await until(lambda: edge.asked == 1)
    # One that goes away does not take the answer from the others.
    asking[0].cancel()
    go.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [PRINCIPAL] * 19
    assert edge.asked == 1


async def test_a_revoked_key_is_dropped_at_once_and_others_stay(edge: Edge) -> None:
    await edge.heartbeat()
    await edge.resolve(key_of(1))
    await edge.resolve(key_of(2))
    edge.authentication.resolve = refuses(errors_pb2.ERROR_REASON_KEY_REVOKED)
    edge.authentication.says(7, "key-1", "key-9")
    await until(lambda: edge.principals._revision == 7)
    assert await edge.status(key_of(1)) == 401
    assert (await edge.resolve(key_of(2))).key_id == "key-2"


def tells(told: list[str], name: str) -> End:
    return lambda problem: told.append(name)


async def test_calls_of_a_key_are_told_once_that_it_was_revoked_and_calls_of_others_are_not(edge: Edge) -> None:
    principals = edge.principals
    first, other = await edge.resolve(key_of(1)), await edge.resolve(key_of(2))
    told: list[str] = []

    def leaves(problem: Problem) -> None:
        # A call that ends within the word of its end.
        told.append("leaves")
        principals.unwatch(first, leaves)

    principals.watch(first, leaves)
    principals.watch(first, stays := tells(told, "stays"))
    principals.watch(first, gone := tells(told, "gone"))
    principals.watch(other, others := tells(told, "other"))
    principals.unwatch(first, gone)
    edge.authentication.says(1, "key-9")
    edge.authentication.says(2, "key-1", "key-8")
    edge.authentication.says(3)
    await until(lambda: principals._revision == 3)
    assert sorted(told) == ["leaves", "stays"]
    edge.authentication.says(4, "key-2")
    await until(lambda: principals._revision == 4)
    assert sorted(told) == ["leaves", "other", "stays"]
    principals.unwatch(first, stays)
    principals.unwatch(other, others)
    assert not principals._watching


async def test_a_call_is_told_of_a_key_that_is_not_cached(edge: Edge) -> None:
    told: list[str] = []
    # Its key was dropped for newer ones while the call went on.
    edge.principals.watch(PRINCIPAL, tells(told, "told"))
    edge.authentication.says(1, "key-1")
    await until(lambda: edge.principals._revision == 1)
    assert told == ["told"]


async def test_a_call_is_told_of_what_was_revoked_while_the_stream_was_broken(edge: Edge) -> None:
    told: list[str] = []
    await edge.heartbeat(41)
    edge.principals.watch(await edge.resolve(), tells(told, "told"))
    edge.authentication.messages.put_nowait(None)
    edge.authentication.says(42, "key-1")
    await until(lambda: edge.principals._revision == 42)
    assert told == ["told"]


async def test_a_revocation_that_overtakes_the_answer_wins(edge: Edge) -> None:
    await edge.heartbeat()
    go = asyncio.Event()

    async def slowly(key: str) -> authentication_pb2.ResolveKeyResponse:
        await go.wait()
        return await edge.authentication.known(key)

    edge.authentication.resolve = slowly
    asking = asyncio.create_task(edge.resolve())
    await until(lambda: edge.asked == 1)
    edge.authentication.says(3, "key-1")
    await until(lambda: edge.principals._revision == 3)
    go.set()
    with pytest.raises(Problem) as refused:
        await asking
    assert refused.value.status == 401
    assert not edge.principals._cached


async def test_a_silent_stream_lets_cached_keys_pass_for_the_grace_and_no_longer(edge: Edge) -> None:
    await edge.heartbeat()
    await edge.resolve()
    edge.authentication.resolve = refuses(errors_pb2.ERROR_REASON_UNAVAILABLE)
    edge.time.now_s += 1.1
    assert not edge.principals.alive
    edge.time.now_s += 58.8
    assert await edge.resolve() == PRINCIPAL
    # A key that is not cached needs authentication.
    assert await edge.status(key_of(2)) == 503
    edge.time.now_s += 0.2
    assert await edge.status() == 503
    # A word from the stream, and what is cached can be trusted again: it would have told of a revocation.
    await edge.heartbeat()
    assert await edge.resolve() == PRINCIPAL


async def test_after_the_grace_a_key_passes_on_authentications_own_word_only(edge: Edge) -> None:
    await edge.heartbeat()
    await edge.resolve()
    edge.time.now_s += 61
    assert [await edge.resolve() for _ in range(2)] == [PRINCIPAL] * 2
    assert edge.asked == 3


async def test_before_the_stream_was_ever_heard_nothing_is_taken_from_the_cache(edge: Edge) -> None:
    assert not edge.principals.alive
    assert [await edge.resolve() for _ in range(2)] == [PRINCIPAL] * 2
    assert edge.asked == 2


async def test_a_broken_stream_is_taken_up_behind_the_last_revision(edge: Edge) -> None:
    assert await edge.authentication.after_revisions.get() == 0
    await edge.heartbeat(41)
    await edge.resolve()
    edge.authentication.messages.put_nowait(None)
    async with asyncio.timeout(WAIT_S):
        assert await edge.authentication.after_revisions.get() == 41
    # What was revoked meanwhile comes first.
    edge.authentication.says(42, "key-1")
    edge.authentication.resolve = refuses(errors_pb2.ERROR_REASON_KEY_REVOKED)
    await until(lambda: edge.principals._revision == 42)
    assert await edge.status() == 401


async def test_an_authentication_that_was_set_back_is_not_trusted_for_what_it_said_before(edge: Edge) -> None:
    await edge.heartbeat(41)
    await edge.resolve()
    await edge.heartbeat(5)
    # What is heard of a key that was known before is as of any other.
    edge.authentication.says(6, "key-1")
    edge.authentication.says(7)
    await until(lambda: edge.principals._revision == 7)
    await edge.resolve()
    assert edge.asked == 2


async def test_a_stream_that_hangs_is_opened_anew_and_one_that_restarts_is_found_again(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/authentication.sock"
    first, second = Authentication(), Authentication()
    async with connect(address) as channel:
        principals = Principals(channel, 60_000, silence_ms=40)
        async with Lifecycle().background("revocations", principals.follow_revocations()), asyncio.timeout(WAIT_S):
            async with serving(first, address):
                first.says(3)
                assert await first.after_revisions.get() == 0
                # Nothing more comes, so the stream counts as broken.
                assert await first.after_revisions.get() == 3
            async with serving(second, address):
                assert await second.after_revisions.get() == 3
                second.says(4)
                await until(lambda: principals._revision == 4)


async def test_calls_under_way_are_ended_with_their_key_for_as_long_as_they_watch_it(edge: Edge) -> None:
    ended: list[str] = []

    def first(problem: Problem) -> None:
        ended.append("first")

    def second(problem: Problem) -> None:
        ended.append("second")

    await edge.heartbeat()
    edge.principals.watch(PRINCIPAL, first)
    edge.principals.watch(PRINCIPAL, second)
    edge.principals.unwatch(PRINCIPAL, second)
    edge.authentication.says(1, "key-2")
    edge.authentication.says(2, "key-1")
    await until(lambda: ended)
    assert ended == ["first"]
    edge.principals.unwatch(PRINCIPAL, first)
    assert edge.principals._watching == {}


async def test_a_key_in_two_headers_is_the_bearers(edge: Edge) -> None:
    await edge.heartbeat()
    await edge.principals.resolve(asks((b"x-api-key", b"tl-other-0123456789"), (b"authorization", b"Bearer " + KEY.encode())))
    assert edge.authentication.asked == [KEY]


async def test_a_key_that_was_refused_after_the_grace_is_cached_no_more(edge: Edge) -> None:
    await edge.heartbeat()
    await edge.resolve()
    edge.time.now_s += 61
    edge.authentication.resolve = refuses(errors_pb2.ERROR_REASON_KEY_UNKNOWN)
    assert await edge.status() == 401
    # Revocations are heard of again, and of this key nothing more is said.
    await edge.heartbeat()
    edge.time.now_s += 2
    assert await edge.status() == 401


async def test_keys_that_are_forgotten_can_still_be_revoked(edge: Edge) -> None:
    await edge.heartbeat()
    for number in range(_KEYS_MAX + 1):
        edge.principals._remember(b"%d" % number, Principal(f"key-{number}", "mem-1", "acct-1"))
    assert len(edge.principals._cached) == len(edge.principals._digest_by_key_id) == _KEYS_MAX
    edge.principals._take(authentication_pb2.WatchRevocationsResponse(revision=1, key_ids=["key-0", "key-1"]))
    assert "key-1" not in edge.principals._digest_by_key_id
    assert len(edge.principals._cached) == _KEYS_MAX - 1


async def test_no_more_bad_keys_are_remembered_than_16_384(edge: Edge) -> None:
    for number in range(20_000):
        edge.principals._refuse_for_a_while(b"%d" % number, errors_pb2.ERROR_REASON_KEY_UNKNOWN)
    assert next(iter(edge.principals._negative)) == b"%d" % (20_000 - 16_384)


async def test_memory_is_bounded_under_a_flood_of_bad_keys(edge: Edge) -> None:
    edge.authentication.resolve = refuses(errors_pb2.ERROR_REASON_KEY_UNKNOWN)
    for number in range(50):
        edge.time.now_s += 0.1
        assert await edge.status(key_of(number)) == 401
    # Those of the last second are left.
    assert len(edge.principals._negative) <= 11
    assert not edge.principals._questions


async def test_who_asks_while_a_replica_of_authentication_goes_waits_for_the_next_one(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/authentication.sock"
    going, next_one = Authentication(), Authentication()
    going.resolve = refuses(errors_pb2.ERROR_REASON_UNAVAILABLE)
    async with connect(address) as channel, asyncio.timeout(WAIT_S):
        principals = Principals(channel, 60_000)
        asking = asyncio.create_task(principals.resolve(asks((b"authorization", b"Bearer " + KEY.encode()))))
        async with serving(going, address):
            await until(lambda: bool(going.asked))
        assert not asking.done()
        async with serving(next_one, address):
            assert await asking == PRINCIPAL
        assert next_one.asked == [KEY]


async def test_without_authentication_it_is_503(tmp_path: Path) -> None:
    async with connect(f"unix:{tmp_path}/nobody.sock") as channel:
        principals = Principals(channel, 60_000, resolve_timeout_ms=200)
        with pytest.raises(Problem) as refused:
            await principals.resolve(asks((b"authorization", b"Bearer " + KEY.encode())))
        assert refused.value.status == 503


def heard_of(revision: int, *account_ids: str) -> authentication_pb2.WatchRevocationsResponse:
    return authentication_pb2.WatchRevocationsResponse(revision=revision, account_ids=account_ids)


async def refusal(edge: Edge, key: str = KEY) -> tuple[int, str | None]:
    with pytest.raises(Problem) as refused:
        await edge.resolve(key)
    return refused.value.status, refused.value.code


async def of_two_accounts(key: str) -> authentication_pb2.ResolveKeyResponse:
    """Keys 1 and 2 are of one account, key 3 of another."""
    number = int(key.removeprefix("tl-local-")[:32])
    return authentication_pb2.ResolveKeyResponse(key_id=f"key-{number}", member_id="mem-1", account_id=f"acct-{number // 3}")


async def test_all_keys_of_a_suspended_account_are_dropped_at_once_and_others_stay(edge: Edge) -> None:
    await edge.heartbeat()
    edge.authentication.resolve = of_two_accounts
    for number in (1, 2, 3):
        await edge.resolve(key_of(number))
    edge.authentication.resolve = refuses(errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED)
    edge.authentication.messages.put_nowait(heard_of(7, "acct-9", "acct-0"))
    await until(lambda: edge.principals._revision == 7)
    for number in (1, 2):
        assert await refusal(edge, key_of(number)) == (403, "account_suspended")
    assert (await edge.resolve(key_of(3))).key_id == "key-3"
    assert edge.asked == 5


async def test_a_key_of_a_suspended_account_is_asked_for_again_after_a_second(edge: Edge) -> None:
    await edge.heartbeat()
    edge.authentication.resolve = refuses(errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED)
    assert await refusal(edge) == (403, "account_suspended")
    edge.time.now_s += 0.9
    assert await refusal(edge) == (403, "account_suspended")
    assert edge.asked == 1
    # It was resumed meanwhile.
    edge.time.now_s += 0.2
    edge.authentication.resolve = edge.authentication.known
    assert await edge.resolve() == PRINCIPAL


async def test_calls_of_a_suspended_account_end_and_are_told_so(edge: Edge) -> None:
    await edge.heartbeat()
    principals, told = edge.principals, list[tuple[str, int, str | None]]()

    def call(name: str) -> Callable[[Problem], None]:
        return lambda problem: told.append((name, problem.status, problem.message))

    others = Principal("key-3", "mem-3", "acct-3")
    calls = [(PRINCIPAL, call("first")), (PRINCIPAL._replace(key_id="key-2"), call("second")), (others, call("other"))]
    for principal, end in calls:
        principals.watch(principal, end)
    edge.authentication.messages.put_nowait(heard_of(1, "acct-9", "acct-1"))
    await until(lambda: principals._revision == 1)
    said = "The account was suspended while this answer was under way."
    assert sorted(told) == [("first", 403, said), ("second", 403, said)]
    edge.authentication.says(2, "key-3")
    await until(lambda: principals._revision == 2)
    assert told[2:] == [("other", 401, "The API key was revoked while this answer was under way.")]
    for principal, end in calls:
        principals.unwatch(principal, end)
    assert not principals._watching


async def test_a_suspension_that_overtakes_the_answer_wins(edge: Edge) -> None:
    await edge.heartbeat()
    go = asyncio.Event()

    async def slowly(key: str) -> authentication_pb2.ResolveKeyResponse:
        await go.wait()
        return await edge.authentication.known(key)

    edge.authentication.resolve = slowly
    asking = asyncio.create_task(edge.resolve())
    await until(lambda: edge.asked == 1)
    edge.authentication.messages.put_nowait(heard_of(3, "acct-1"))
    await until(lambda: edge.principals._revision == 3)
    go.set()
    with pytest.raises(Problem) as refused:
        await asking
    assert (refused.value.status, refused.value.code) == (403, "account_suspended")
    assert not edge.principals._cached
    # Nothing is remembered of an answer that was overtaken: the account may be resumed by now.
    assert await edge.resolve() == PRINCIPAL


@pytest.mark.parametrize(
    "message", [heard_of(3, "acct-1"), authentication_pb2.WatchRevocationsResponse(revision=3, key_ids=["key-1"])]
)
async def test_what_is_heard_between_the_answer_and_the_call_ends_the_call(
    edge: Edge, message: authentication_pb2.WatchRevocationsResponse
) -> None:
    await edge.heartbeat()
    go = asyncio.Event()

    async def slowly(key: str) -> authentication_pb2.ResolveKeyResponse:
        await go.wait()
        return await edge.authentication.known(key)

    edge.authentication.resolve = slowly
    asking = asyncio.create_task(edge.resolve())
    await until(lambda: edge.asked == 1)
    (question,) = edge.principals._questions.values()
    assert question.task is not None
    question.task.add_done_callback(lambda _: edge.principals._take(message))
    edge.authentication.resolve = refuses(errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED)
    go.set()
    with pytest.raises(Problem) as refused:
        await asking
    assert refused.value.code == "account_suspended"
    assert edge.asked == 2


@pytest.mark.parametrize("reason", [errors_pb2.ERROR_REASON_KEY_REVOKED, errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED])
async def test_what_authentication_refused_while_its_stream_was_silent_may_be_heard_of_later(
    edge: Edge, reason: errors_pb2.ErrorReason
) -> None:
    await edge.heartbeat()
    await edge.resolve()
    edge.time.now_s += 61
    edge.authentication.resolve = refuses(reason)
    assert (await refusal(edge))[0] in (401, 403)
    assert not edge.principals._digest_by_key_id
    edge.authentication.says(1, "key-1")
    edge.authentication.messages.put_nowait(heard_of(2, "acct-1"))
    await until(lambda: edge.principals._revision == 2)


@pytest.mark.parametrize(
    "key", ["sk-proj-0123456789", KEY[:-1], KEY[:-1] + "!", KEY.swapcase(), "tl-local-" + "x" * 10_000, "é" * 10]
)
async def test_what_is_no_key_by_its_form_never_reaches_authentication(edge: Edge, key: str) -> None:
    assert await edge.status(key) == 401
    assert edge.authentication.asked == []


async def test_no_more_than_a_thousand_calls_wait_for_authentication(tmp_path: Path) -> None:
    async with connect(f"unix:{tmp_path}/nobody.sock") as channel:
        principals = Principals(channel, 60_000, resolve_timeout_ms=60_000)

        async def ask(number: int) -> int:
            with pytest.raises(Problem) as refused:
                await principals.resolve(asks((b"authorization", b"Bearer " + key_of(number).encode())))
            return refused.value.status

        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(ask(number % 100)) for number in range(1_024)]
            await asyncio.sleep(0)
            async with asyncio.timeout(WAIT_S):
                assert await ask(5) == await ask(2_000) == 503
            assert not any(task.done() for task in waiting)
            for task in waiting:
                task.cancel()
        assert principals._waiting == 0
        # Those who left make room.
        late = asyncio.create_task(ask(3_000))
        await asyncio.sleep(0.05)
        assert not late.done()
        late.cancel()
