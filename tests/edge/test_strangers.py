"""Who asks is known to the listener wherever a key or the operators' token was shown, and is a stranger everywhere else."""

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


def test_strangers_come_to_an_edge_at_a_pace() -> None:
    at = "unix:/nowhere"
    config = EdgeConfig(
        registry_address=at, authentication_address=at, accounting_address=at, billing_address=at, admin_token_file="token"
    )
    assert config.http_limits.strangers_per_second == 1_000
