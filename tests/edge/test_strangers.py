"""Who asks is known to the listener wherever a key or the operators' token was shown, and is a stranger everywhere else."""

import asyncio
from typing import Any, cast

import pytest

from services.edge.api.readers import Readers
from services.edge.app import Parts, clients_application, operators_application
from services.edge.call.priority import PriorityClasses
from services.edge.call.turns import Turns
from services.edge.config import EdgeConfig
from services.edge.http.answers import Answers
from services.edge.http.bodies import Bodies
from services.edge.http.metrics import RequestMetrics
from services.edge.http.problems import revoked
from services.edge.identity.principals import Principal
from services.runtime.clock import SystemClock
from services.runtime.http.asgi import Asgi
from services.runtime.http.exchange import Exchange
from tests.edge.call.doubles import FixedCatalog, NoWire, OnePrincipal

TOKEN = "an-admin-token-for-tests"


class Wire(NoWire):
    """Takes what is answered, and keeps nothing."""

    def write(self, data: bytes) -> None:
        pass

    def answered(self, exchange: Exchange) -> None:
        pass


class NoKey(OnePrincipal):
    """Nobody is known, until all are."""

    is_known = False

    async def resolve(self, exchange: Exchange) -> Principal:
        if not self.is_known:
            raise revoked()
        return await super().resolve(exchange)


async def asked(application: Any, method: str, path: str, *headers: tuple[bytes, bytes]) -> tuple[int, bool]:
    """The status of the answer, and whether who asked is known."""
    exchange = Exchange(Wire(), method, path.encode(), list(headers))
    exchange.came(b"no JSON")
    exchange.came_to_end()
    await Asgi(application)(exchange)
    return exchange.status, exchange.known


@pytest.fixture
def parts() -> Parts:
    nobody = cast(Any, None)
    readers = Readers(OnePrincipal(), Turns(100, PriorityClasses(FixedCatalog(None))), Bodies(1_000, 1_000))
    return Parts(readers, cast(Any, FixedCatalog.__new__(FixedCatalog)), nobody, nobody, nobody, nobody, {}, nobody)


@pytest.mark.parametrize("path", ["/v1/me/receipts/no-charging-id", "/v1/me/balance", "/v1/models", "/v1/models/small"])
async def test_a_customer_is_known_whatever_he_is_answered(parts: Parts, path: str) -> None:
    status, known = await asked(clients_application(parts, SystemClock()), "GET", path)
    assert status >= 400
    assert known


async def test_an_operator_is_known_by_the_token_alone(parts: Parts) -> None:
    application = operators_application(parts, TOKEN, SystemClock())
    with_token = await asked(application, "POST", "/v1/admin/accounts", (b"authorization", b"Bearer " + TOKEN.encode()))
    without = await asked(application, "POST", "/v1/admin/accounts", (b"authorization", b"Bearer another-admin-token"))
    reader = await asked(application, "GET", "/healthz")
    assert (with_token, without, reader) == ((400, True), (401, False), (200, False))


async def test_a_stranger_takes_turns_also_with_what_he_is_served(parts: Parts) -> None:
    exchange = Exchange(Wire(), "GET", b"/healthz", [])
    await Answers(operators_application(parts, TOKEN, SystemClock()), RequestMetrics(), SystemClock())(exchange)
    assert (exchange.status, exchange.known, exchange.serves_anybody) == (200, False, True)


@pytest.mark.parametrize("path", ["/v1/prices", "/v1/nothing", "/v1/models"])
async def test_a_flood_without_a_key_waits_for_turns_where_a_customer_is_connected_from_there(parts: Parts, path: str) -> None:
    principals = NoKey()
    readers = Readers(principals, Turns(100, PriorityClasses(FixedCatalog(None))), Bodies(1_000, 1_000))
    answers = Answers(clients_application(parts._replace(readers=readers), SystemClock()), RequestMetrics(), SystemClock())

    async def ask(at: str = path, *, beside_known: bool = True) -> tuple[Exchange, "asyncio.Task[None]"]:
        exchange = Exchange(Wire(), "GET", at.encode(), [])
        exchange._wire.beside_known = beside_known  # type: ignore[misc]  # a double
        exchange.came_to_end()
        task = asyncio.create_task(answers(exchange))
        for _ in range(100):
            await asyncio.sleep(0)
        return exchange, task

    first, task = await ask()
    await task
    assert first.status >= 400
    # More than may be answered in an hour of tests.
    answers._beside_known.take_s(asyncio.get_running_loop().time(), 1_000_000)
    held, waiting = await ask()
    assert not held.begun
    stranger, task = await ask(beside_known=False)
    await task
    assert stranger.begun
    # Who leaves is forgotten at once.
    held.lose()
    await waiting
    principals.is_known = True
    customer, task = await ask("/v1/models")
    await task
    assert customer.begun


def test_strangers_come_to_an_edge_at_a_pace() -> None:
    at = "unix:/nowhere"
    config = EdgeConfig(
        registry_address=at, authentication_address=at, accounting_address=at, billing_address=at, admin_token_file="token"
    )
    assert config.http_limits.strangers_per_second == 1_000
