"""Which route a conversation is tied to."""

from collections import Counter

import pytest

from services.edge.catalog import Route, WholesalePrice
from services.edge.routing.breaker import LOST_IN_A_ROW, State
from services.edge.routing.router import Mix, Router
from services.edge.vendors.profile import Endpoint
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.line_dialect import END, FINISH, counted, say
from tests.edge.call.scene import Scene

ANSWER = (say("hello"), FINISH, counted(input=3, output=2), END)
FOUR = tuple(Route(name, "m", Endpoint(name, "openai_chat", f"http://{name}")) for name in ("a", "b", "c", "d"))
TALKS = 20_000
ROUTER = Router()


def _names(routes: tuple[Route, ...], talk: int | str, account_id: str = "account-1") -> str:
    plan = ROUTER.plan(routes, account_id, f"talk-{talk}".encode)
    return "".join(route.vendor_id for route in plan.routes)


def _shares(routes: tuple[Route, ...]) -> dict[str, float]:
    """By the first route, the percentage of conversations."""
    first = Counter(_names(routes, talk)[0] for talk in range(TALKS))
    return {name: round(100 * number / TALKS) for name, number in sorted(first.items())}


def test_every_edge_and_every_release_draws_the_same() -> None:
    # Other values would move each conversation once, with an update, away from its warm cache.
    assert [_names(FOUR, talk) for talk in range(4)] == ["cdba", "badc", "dabc", "dcba"]
    assert _names(tuple(reversed(FOUR)), 0) == _names(FOUR, 0)


def test_what_a_catalog_forgets_no_order_remembers() -> None:
    router, failure = Router(lambda: 1.0), VendorFailure("timeout")
    router.plan(FOUR, "account-1", b"talk".strip)
    router.keep(())
    for _ in range(LOST_IN_A_ROW):
        turn = router.plan(FOUR, "account-1", b"talk".strip).next_at_once()
        assert turn is not None
        turn.failed(failure)
        turn.leave()
    assert sorted(router.states().values()) == [0, 0, 0, State.OPEN_FOR_ONE.value]


def test_orders_of_no_more_than_so_many_conversations_are_kept() -> None:
    router = Router()
    for talk in range(20_000):
        router.plan(FOUR, "account-1", f"talk-{talk}".encode)
    assert 0 < len(router._orders) <= 16_384


def _priced(*prices: float) -> tuple[Route, ...]:
    """Four routes, with a price of a token of input; 0: none is known."""
    return tuple(
        route._replace(prices=(WholesalePrice(-1, price, 0.0),) if price else ()) for route, price in zip(FOUR, prices, strict=True)
    )


def test_the_cheapest_route_goes_first_and_one_without_a_price_last() -> None:
    routes = _priced(3.0, 0.0, 1.0, 2.0)
    plans = {"".join(r.vendor_id for r in ROUTER.plan(routes, "a", f"{talk}".encode, Mix(10, 5)).routes) for talk in range(50)}
    assert plans == {"cdab"}
    # A priority goes before a price.
    routes = (routes[0], routes[1], routes[2]._replace(priority=1), routes[3])
    assert "".join(r.vendor_id for r in ROUTER.plan(routes, "a", "t".encode, Mix(10, 5)).routes) == "dabc"


def test_equally_cheap_routes_share_conversations() -> None:
    routes = _priced(3.0, 1.0, 1.0, 2.0)
    first = Counter(ROUTER.plan(routes, "a", f"{talk}".encode, Mix(10, 5)).routes[0].vendor_id for talk in range(2_000))
    assert set(first) == {"b", "c"}
    assert first["b"] == pytest.approx(1_000, abs=100)


def test_conversations_are_shared_evenly() -> None:
    assert _shares(FOUR) == {"a": 25, "b": 25, "c": 25, "d": 25}


def test_conversations_are_shared_by_weight() -> None:
    weights = {"a": 1, "b": 2, "c": 2, "d": 5}
    shares = _shares(tuple(route._replace(weight=weights[route.vendor_id]) for route in FOUR))
    assert shares == pytest.approx({"a": 10, "b": 20, "c": 20, "d": 50}, abs=1)


def test_where_a_route_is_lost_its_conversations_alone_move_and_are_shared() -> None:
    left = FOUR[1:]
    moved = Counter[str]()
    for talk in range(TALKS):
        before, after = _names(FOUR, talk), _names(left, talk)
        assert after == before.replace("a", "")
        if before[0] == "a":
            moved[after[0]] += 1
    assert {name: round(100 * number / moved.total()) for name, number in sorted(moved.items())} == {"b": 33, "c": 33, "d": 33}


def test_a_lower_priority_is_first_whatever_the_weight() -> None:
    routes = (FOUR[0]._replace(priority=1, weight=1_000), FOUR[1]._replace(priority=0, weight=1))
    assert {_names(routes, talk) for talk in range(1_000)} == {"ba"}


def test_equal_marks_of_two_accounts_have_nothing_in_common() -> None:
    together = sum(_names(FOUR, talk)[0] == _names(FOUR, talk, "account-2")[0] for talk in range(TALKS))
    assert round(100 * together / TALKS) == 25


async def _talk(scene: Scene, talk: str) -> str:
    """The vendor that answers one call of a conversation."""
    for vendor in ("acme", "beta", "rude", "deep"):
        scene.vendors.scripts[vendor] = []
        scene.vendors.answers(*ANSWER, vendor=vendor)
    client = await scene.call(f"model=even talk={talk} limit=500")
    assert client.status == 200
    scene.charging.forget()
    return scene.vendors.asked[-1].url.split("/")[2]


async def test_a_conversation_stays_on_its_route_on_every_edge() -> None:
    here, there = Scene(), Scene()
    routes = {}
    for number in range(16):
        talk = f"talk-{number}"
        routes[talk] = await _talk(here, talk)
        assert [await _talk(edge, talk) for edge in (here, there, here)] == [routes[talk]] * 3
    assert set(routes.values()) == {"acme", "beta", "rude", "deep"}
