"""What the call path touches, as doubles that work: vendors by script, accounting with a balance, a client, keys, a catalog."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from services.edge.api.models import AccountOfferings, Held
from services.edge.call.dialect import Dialect, Request
from services.edge.catalog import CatalogHolder, Snapshot
from services.edge.charging.port import Charging, Opened
from services.edge.http.problems import Problem, revoked
from services.edge.identity.principals import End, Principal, Principals
from services.edge.vendors.vendor import BODY_BYTES_MAX, VendorAnswer, VendorClient, VendorFailure
from services.runtime.errors import ServiceError
from services.runtime.http.exchange import Channel, Exchange, Header, Stream, Wire
from services.token_classes import TOKEN_CLASSES, trimmed
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2

PRINCIPAL: Final = Principal("key-1", "member-1", "account-1")
# A header of tests: the account of the call's key, where it is another one.
ACCOUNT: Final = "x-account"
# An item of a script: the vendor says nothing more and does not end.
HANG: Final = "hang"
Item = bytes | float | int | str | VendorFailure


def now_s() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


class Script:
    """What a vendor does with one request: bytes are sent, numbers are seconds that pass, a failure is raised."""

    def __init__(
        self, items: Iterable[Item] = (), *, head_after_s: float = 0.0, content_type: str = "text/event-stream", hangs: bool = False
    ) -> None:
        """A failure as the first item stands for the head; `hangs`: there is never a head."""
        self._items = iter(items)
        self._item: Item | None = None
        # Until when it waits.
        self._until_s: float | None = None
        self.head_after_s = head_after_s
        self.content_type = content_type
        self.hangs = hangs

    def next(self) -> Item | None:
        """The item that is to be done; None at the end."""
        if self._item is None:
            self._item = next(self._items, None)
        return self._item

    def done(self) -> None:
        """The item has been done."""
        self._item = None

    async def passed(self, seconds: float) -> None:
        """Waits so long from when this was first asked."""
        loop = asyncio.get_running_loop()
        if self._until_s is None:
            self._until_s = loop.time() + seconds
        await asyncio.sleep(self._until_s - loop.time())
        self._until_s = None
        self.done()


class Asked:
    """One request that a vendor got, and what became of its answer."""

    def __init__(self, url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self.url = url
        self.headers = dict(headers)
        self.body = body
        self.at_s = now_s()
        # Seconds; None: it is still open.
        self.closed_at_s: float | None = None
        # Whether the vendor came to its own end, so that its connection can be used again.
        self.came_to_end = False
        # Bytes that the edge has read.
        self.bytes_read = 0

    @property
    def options(self) -> dict[str, str]:
        """The options of the line dialect's request."""
        head = self.body.split(b"\n", 1)[0].decode()
        return dict(word.split("=", 1) for word in head.split() if "=" in word)

    @property
    def was_cut(self) -> bool:
        """Whether the edge has cut off a vendor that was still at work."""
        return self.closed_at_s is not None and not self.came_to_end


class ScriptedAnswer(VendorAnswer):
    """A 200 that goes on as its script says."""

    def __init__(self, script: Script, asked: Asked) -> None:
        self._script = script
        self._asked = asked

    @property
    def content_type(self) -> str:
        return self._script.content_type

    async def read(self, bytes_max: int = BODY_BYTES_MAX) -> bytes:
        body = b"".join([piece async for piece in self.pieces()])
        if len(body) > bytes_max:
            raise VendorFailure("garbage", 200)
        return body

    async def pieces(self) -> AsyncIterator[bytes]:
        # A reader that is cancelled while it waits takes nothing away from the next one.
        while (item := self._script.next()) is not None:
            assert self._asked.closed_at_s is None, "a vendor's answer was read on after it was closed"
            match item:
                case bytes():
                    self._script.done()
                    self._asked.bytes_read += len(item)
                    yield item
                case VendorFailure():
                    raise item
                case str():
                    await asyncio.get_running_loop().create_future()
                case _:
                    await self._script.passed(item)
        self._asked.came_to_end = True

    def close(self) -> None:
        if self._asked.closed_at_s is None:
            self._asked.closed_at_s = now_s()


class ScriptedVendors(VendorClient):
    """Vendors by the host of their URL; each request takes the next of the vendor's scripts."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Script]] = {}
        # Questions that cost nothing: when, where, and with which headers; the scripts of "HOST free" answer them.
        self.free: list[tuple[float, str, dict[bytes, bytes]]] = []
        self.asked: list[Asked] = []

    def answers(self, *items: Item, vendor: str = "acme", **how: Any) -> None:
        """The vendor's next answer."""
        self.scripts.setdefault(vendor, []).append(Script(items, **how))

    def streams(self, items: Iterable[Item], vendor: str = "acme") -> None:
        """The vendor's next answer, which may be endless."""
        self.scripts.setdefault(vendor, []).append(Script(items))

    async def post(self, url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> VendorAnswer:
        host = url.split("/")[2]
        script = self.scripts[host].pop(0)
        asked = Asked(url, headers, body)
        self.asked.append(asked)
        await asyncio.sleep(script.head_after_s)
        if script.hangs:
            await asyncio.get_running_loop().create_future()
        if isinstance(first := script.next(), VendorFailure):
            asked.closed_at_s = now_s()
            raise first
        return ScriptedAnswer(script, asked)

    async def get(self, url: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.free.append((now_s(), url, dict(headers)))
        script = self.scripts[f"{url.split('/')[2]} free"].pop(0)
        await asyncio.sleep(script.head_after_s)
        if isinstance(first := script.next(), VendorFailure):
            raise first

    def check(self) -> None:
        """Whatever was opened is closed."""
        assert all(asked.closed_at_s is not None for asked in self.asked if asked.bytes_read), "a vendor's answer was left open"


def lost() -> ServiceError:
    """Accounting does not answer."""
    return ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "accounting did not answer in time")


class FakeCharging(Charging):
    """Accounting for one account with a balance in tokens, one for each of input and output. Checks what sessions send."""

    def __init__(
        self,
        *,
        balance: int = 1_000_000,
        window: int = 800,
        validity_ms: int = 60_000,
        offering_id: str = "plan",
        takes_all_classes: bool = True,
        ends_in_ms: int = 0,
    ) -> None:
        self.balance = balance
        self.window = window
        self.validity_ms = validity_ms
        self.offering_id = offering_id
        self._takes_all_classes = takes_all_classes
        # When the time of the key ends, from now on; 0: it does not.
        self.ends_at_s = now_s() + ends_in_ms / 1_000 if ends_in_ms else 0.0
        self.refuses: list[pb.Refused] = []
        # What every Create is told whose name has a call.
        self.known: pb.KnownCall | None = None
        self.rates: dict[str, Any] = {}
        # An answer is held back until its event is set; a failure is raised instead of it.
        self.create_gate: asyncio.Event | None = None
        self.update_gate: asyncio.Event | None = None
        self.release_gate: asyncio.Event | None = None
        self.create_failure: ServiceError | None = None
        self.update_failures: list[ServiceError] = []
        self.release_failure: ServiceError | None = None
        self.creates: list[pb.CreateSession] = []
        self.updates: list[pb.UpdateSession] = []
        self.update_times_s: list[float] = []
        self.grants: list[pb.Granted] = []
        self.releases: list[pb.ReleaseSession] = []
        self.released_at_s: list[float] = []
        self.durable = 0
        self._numbers: dict[str, int] = {}
        self._over: set[str] = set()
        # What came in the background after a Release: who sent it would keep an error to itself.
        self._late: list[str] = []
        self._limit = 0
        self._free = 0

    @property
    def takes_all_classes(self) -> bool:
        return self._takes_all_classes

    async def create(self, account_id: str, charging_id: str, create: pb.CreateSession) -> Opened:
        assert charging_id not in self._numbers, "a session was opened twice"
        self.creates.append(create)
        if self.create_gate is not None:
            await self.create_gate.wait()
        if self.create_failure is not None:
            raise self.create_failure
        if self.known is not None:
            return self.known
        if self.refuses:
            return self.refuses.pop(0)
        free = self.balance - create.input_tokens_bound
        if free < min(create.output_tokens_limit, 1):
            return pb.Refused(result_code=pb.RESULT_CODE_QUOTA_LIMIT_REACHED, needed_amount=1, free_amount=self.balance)
        self._numbers[charging_id] = 1
        self._limit, self._free = create.output_tokens_limit, free
        return self._grant(min(self._limit, self.window if create.output_metered else self._limit, free))

    def leave_free(self, output_tokens: int) -> None:
        """Leaves the open session so much, what it has included."""
        self._free = output_tokens

    def _grant(self, granted: int) -> pb.Granted:
        answer = pb.Granted(
            output_tokens_granted=granted,
            output_tokens_payable=min(self._limit, self._free),
            output_tokens_threshold=min(granted, self.window) // 4,
            validity_ms=self.validity_ms,
            offering_id=self.offering_id,
            ends_in_ms=round((self.ends_at_s - now_s()) * 1_000) if self.ends_at_s else 0,
            ending_subject="key:key-1" if self.ends_at_s else "",
            **self.rates,
        )
        self.grants.append(answer)
        return answer

    def _take_number(self, charging_id: str, number: int) -> None:
        assert charging_id in self._numbers, "no session was granted"
        if charging_id in self._over:
            self._late.append(charging_id)
        assert number == self._numbers[charging_id] + 1, "numbers must follow each other"
        self._numbers[charging_id] = number

    async def update(self, account_id: str, charging_id: str, number: int, update: pb.UpdateSession) -> pb.Granted:
        self._take_number(charging_id, number)
        self.updates.append(update)
        self.update_times_s.append(now_s())
        if self.update_gate is not None:
            await self.update_gate.wait()
        if self.update_failures:
            raise self.update_failures.pop(0)
        last = self.grants[-1].output_tokens_granted
        return self._grant(max(last, min(self._limit, update.output_tokens_wanted, self._free)))

    async def release(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> pb.Settled | None:
        self.release_later(account_id, charging_id, number, release)
        self.durable -= 1
        if self.release_gate is not None:
            await self.release_gate.wait()
        if self.release_failure is not None:
            raise self.release_failure
        self.durable += 1
        return pb.Settled()

    def release_later(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> None:
        self._take_number(charging_id, number)
        self._over.add(charging_id)
        self.releases.append(release)
        self.released_at_s.append(now_s())
        self.durable += 1

    def check(self) -> None:
        """Each session that was granted has exactly one Release, as its last."""
        assert len(self.releases) == len(self._numbers), "a session without a Release, or with two"
        assert not self._late, "something came after the Release"

    def forget(self) -> None:
        """Forgets what has been, so that the next call is the only one."""
        self.check()
        for seen in (self.creates, self.updates, self.update_times_s, self.grants, self.releases, self.released_at_s):
            seen.clear()
        self._numbers.clear()

    @property
    def release_message(self) -> pb.ReleaseSession:
        """The only Release."""
        assert len(self.releases) == 1
        return self.releases[0]


def vector(usage: pb.TokenUsage) -> tuple[int, ...]:
    """Usage as a vector."""
    return trimmed([getattr(usage, name) for name in TOKEN_CLASSES])


class NoWire(Wire):
    """No connection."""

    congested = False
    closes = False
    beside_known = False

    def write(self, data: bytes) -> None:
        raise AssertionError("there is no connection")

    async def drained(self) -> None:
        raise AssertionError("there is no connection")

    def resume(self) -> None:
        pass

    def answered(self, exchange: Exchange) -> None:
        raise AssertionError("there is no connection")

    def distrust(self) -> None:
        pass

    def cut(self) -> None:
        raise AssertionError("there is no connection")

    def switch(self, exchange: Exchange, stream: Stream) -> Channel:
        raise AssertionError("there is no connection")


class CallClient(Exchange):
    """A client at the other end of an application, with one request; what it was sent is kept as messages of ASGI's kind."""

    def __init__(self, body: bytes, headers: Mapping[str, str] | None = None, more_headers: Sequence[Header] = ()) -> None:
        given = {"authorization": "Bearer sk-line-0123456789abcdef", "content-type": "text/x-line", **(headers or {})}
        named = [(name.encode(), value.encode()) for name, value in given.items()]
        super().__init__(NoWire(), "POST", b"/v1/lines", [*named, *more_headers])
        self.came(body)
        self.came_to_end()
        # Of each message that was sent: when.
        self.messages: list[tuple[float, Any]] = []
        # Where set, the body comes no earlier.
        self.body_may_come: asyncio.Event | None = None
        # Where set, sending waits for it, as with a client that does not read.
        self.reading: asyncio.Event | None = None
        # Called soon after each message.
        self.on_message: Callable[[Any], None] = lambda message: None
        self.answered = asyncio.Event()

    async def read(self) -> bytes:
        if self.body_may_come is not None:
            await self.body_may_come.wait()
        return await super().read()

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        assert not self.messages, "the answer was begun twice"
        self.status, self.begun = status, True
        self._sent({"type": "http.response.start", "status": status, "headers": headers})

    @property
    def congested(self) -> bool:
        return self.reading is not None and not self.reading.is_set() and not self.gone

    async def drained(self) -> None:
        if self.reading is not None:
            await self.reading.wait()

    def write(self, data: bytes) -> None:
        self._sent({"type": "http.response.body", "body": data, "more_body": True})

    def end(self, data: bytes = b"") -> None:
        self._sent({"type": "http.response.body", "body": data, "more_body": False})
        self.ended = True

    def _sent(self, message: Any) -> None:
        assert not self.ended, "something was sent after the end"
        assert self.messages or message["type"] == "http.response.start", "the answer was not begun"
        self.messages.append((now_s(), message))
        self.answered.set()
        asyncio.get_running_loop().call_soon(self.on_message, message)

    def leave(self) -> None:
        """Closes the connection."""
        self.lose()

    def header(self, name: str) -> str | None:
        """The value of a header of the answer."""
        found = [value for key, value in self.messages[0][1]["headers"] if key == name.encode()]
        assert len(found) <= 1
        return found[0].decode() if found else None

    @property
    def pieces(self) -> list[bytes]:
        """The bodies of the messages, in order."""
        return [message["body"] for _, message in self.messages[1:] if message["body"]]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def text(self) -> str:
        """What was said in a stream of the line dialect."""
        events = self.body.decode("utf-8", "surrogatepass").split("\n\n")
        return "".join(json.loads(event.removeprefix("data: said ")) for event in events if event.startswith("data: said "))


class OnePrincipal(Principals):
    """Knows one key, and can revoke it."""

    def __init__(self) -> None:
        self.revocations: list[End] = []
        self.principal = PRINCIPAL

    async def resolve(self, exchange: Exchange) -> Principal:
        exchange.known = True
        account_id = exchange.value_of(ACCOUNT.encode()).decode()
        return self.principal._replace(account_id=account_id) if account_id else self.principal

    def watch(self, principal: Principal, end: End) -> None:
        self.revocations.append(end)

    def unwatch(self, principal: Principal, end: End) -> None:
        self.revocations.remove(end)

    def revoke(self, problem: Problem | None = None) -> None:
        """Ends all calls under way, as the key was revoked or for another problem."""
        for end in list(self.revocations):
            end(problem or revoked())


class FixedCatalog(CatalogHolder):
    """One catalog until a test sets another."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self._fixed = snapshot

    @property
    def current(self) -> Snapshot | None:
        return self._fixed

    @current.setter
    def current(self, snapshot: Snapshot | None) -> None:
        self._fixed = snapshot


class FixedOfferings(AccountOfferings):
    """Every account is on one offering."""

    def __init__(self, offering_id: str) -> None:
        self._id = offering_id

    async def held(self, account_id: str) -> tuple[Held, ...]:
        return (Held(self._id),)


class NoTranslator:
    """Knows no two dialects."""

    def targets(self, dialect: str, spoken: Collection[str]) -> tuple[str, ...]:
        return ()

    def is_long_work(self, request: Request) -> bool:
        raise AssertionError("nothing is translated")

    def translated(
        self, dialect: Dialect, request: Request, targets: Collection[str], *, model_id: str, output_max: int
    ) -> tuple[str, Request]:
        raise AssertionError("nothing is translated")
