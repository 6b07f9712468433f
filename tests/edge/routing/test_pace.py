"""What a contract allows a minute: that no minute has more, whenever it begins, and all of it may be used."""

import asyncio
import random

import pytest

from services.edge.catalog import Route, Snapshot
from services.edge.routing.pace import MINUTE_S, Booked, Pace
from services.edge.routing.router import Mix, Router
from services.edge.vendors.profile import Endpoint
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import now_s
from tests.edge.call.line_dialect import END, FINISH, counted, say
from tests.edge.call.scene import SECRETS, Scene, catalog
from tokenline.registry.v1 import registry_pb2

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
ANSWER = (say("hello"), FINISH, counted(input=3, output=2), END)


def _pace(calls: int | None = None, tokens: int | None = None) -> Pace:
    pace = Pace()
    pace.calls_max, pace.tokens_max = calls, tokens
    return pace


def _booked(pace: Pace, now_s: float, tokens: int = 0, wait_max_s: float = 0.0) -> Booked:
    booked = pace.book(now_s, tokens, wait_max_s)
    assert booked is not None
    return booked


def test_a_whole_minutes_calls_may_come_at_once_and_the_next_when_they_are_a_minute_ago() -> None:
    pace = _pace(calls=3)
    for _ in range(3):
        _booked(pace, 100.0)
    assert pace.book(100.0, 0, 0.5) is None
    assert pace.wait_s(100.0, 0) == 60.5
    assert pace.book(160.4, 0, 0.0) is None
    assert _booked(pace, 160.4, wait_max_s=0.5).wait_s == pytest.approx(0.1)
    assert _booked(pace, 160.5).wait_s == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_no_minute_has_more_than_the_contract_allows(seed: int) -> None:
    chance = random.Random(seed)
    pace = _pace(calls=20, tokens=5_000)
    made: list[tuple[float, int]] = []
    now_s = 0.0
    for _ in range(2_000):
        now_s += chance.expovariate(1.0)
        tokens = chance.randrange(700)
        if (booked := pace.book(now_s, tokens, 0.5)) is not None:
            made.append((now_s + booked.wait_s, booked.tokens))
    made.sort()
    assert len(made) > 300
    for begin_s, _ in made:
        minute = [tokens for at_s, tokens in made if begin_s <= at_s < begin_s + MINUTE_S]
        assert len(minute) <= 20
        assert sum(minute) <= 5_000


def test_tokens_that_a_call_did_not_use_are_there_for_others() -> None:
    pace = _pace(tokens=100)
    booked = _booked(pace, 0.0, 90)
    assert pace.book(0.0, 20, 0.0) is None
    pace.correct(booked, 40)
    _booked(pace, 0.0, 60)
    # What it used beyond its booking counts, too.
    pace = _pace(tokens=100)
    pace.correct(_booked(pace, 0.0, 10), 95)
    assert pace.book(0.0, 10, 0.0) is None
    # A call that ends after its minute changes nothing.
    pace = _pace(tokens=100)
    booked = _booked(pace, 0.0, 100)
    _booked(pace, 70.0, 100)
    pace.correct(booked, 0)
    assert pace.book(70.0, 1, 0.0) is None


def test_a_call_that_was_not_made_leaves_nothing() -> None:
    pace = _pace(calls=1, tokens=10)
    pace.unbook(_booked(pace, 0.0, 10))
    _booked(pace, 0.0, 10)


def test_a_call_larger_than_a_minute_is_a_whole_minutes() -> None:
    pace = _pace(tokens=100)
    assert _booked(pace, 0.0, 1_000).tokens == 100
    assert pace.wait_s(0.0, 1) == 60.5


def test_where_a_share_is_none_no_call_is_made() -> None:
    assert _pace(calls=0).wait_s(0.0, 0) == MINUTE_S
    assert _pace(tokens=0).book(0.0, 5, 0.5) is None


def _limited(calls: int = 0, tokens: int = 0) -> Scene:
    message = registry_pb2.Catalog()
    message.CopyFrom(catalog().catalog)
    (model,) = (each for each in message.models if each.model_id == "pair")
    model.routes[0].requests_per_minute, model.routes[0].tokens_per_minute = calls, tokens
    return Scene(snapshot=Snapshot(message, SECRETS, ""))


def _asked(scene: Scene) -> list[str]:
    return [asked.url.split("/")[2] for asked in scene.vendors.asked]


@BOTH
async def test_calls_above_a_contract_go_to_the_next_route(stream: str) -> None:
    scene = _limited(calls=2)
    for vendor in ("acme", "acme", "beta", "acme"):
        scene.vendors.answers(*ANSWER, vendor=vendor)
    for _ in range(3):
        assert (await scene.call(f"model=pair stream={stream}")).status == 200
        scene.charging.forget()
    await asyncio.sleep(61.0)
    assert (await scene.call(f"model=pair stream={stream}")).status == 200
    assert _asked(scene) == ["acme", "acme", "beta", "acme"]


@BOTH
async def test_a_call_waits_for_half_a_second_for_its_pace(stream: str) -> None:
    scene = _limited(calls=1)
    scene.vendors.answers(*ANSWER)
    begun_s = now_s()
    assert (await scene.call(f"model=pair stream={stream}")).status == 200
    scene.charging.forget()
    await asyncio.sleep(60.3 - (now_s() - begun_s) - begun_s % 0.5)
    scene.vendors.answers(*ANSWER)
    assert (await scene.call(f"model=pair stream={stream}")).status == 200
    assert _asked(scene) == ["acme", "acme"]
    assert scene.vendors.asked[1].at_s - begun_s >= 60.0


async def test_tokens_count_as_they_were_used_once_that_is_known() -> None:
    # A call may use its input and 1,000 tokens, but has used 5.
    scene = _limited(tokens=1_100)
    for _ in range(100):
        scene.vendors.answers(*ANSWER)
    for _ in range(10):
        assert (await scene.call("model=pair limit=1000")).status == 200
        scene.charging.forget()
    assert _asked(scene) == ["acme"] * 10


async def test_a_refused_call_has_used_no_tokens() -> None:
    scene = _limited(tokens=1_100)
    for _ in range(2):
        scene.vendors.answers(VendorFailure("refused", 500))
        scene.vendors.answers(*ANSWER, vendor="beta")
        assert (await scene.call("model=pair limit=1000")).status == 200
        scene.charging.forget()
    assert _asked(scene) == ["acme", "beta"] * 2


async def test_where_the_only_route_has_no_minute_left_the_client_is_told_when_before_anything_is_reserved() -> None:
    scene = _limited(calls=1)
    scene.catalog.current = _only_acme(scene)
    scene.vendors.answers(*ANSWER)
    assert (await scene.call("model=pair")).status == 200
    scene.charging.forget()
    await asyncio.sleep(20.0)
    client = await scene.call("model=pair")
    assert client.status == 503
    assert 39 <= int(client.header("retry-after") or 0) <= 41
    assert scene.charging.creates == []


def _only_acme(scene: Scene) -> Snapshot:
    message = registry_pb2.Catalog()
    assert scene.catalog.current is not None
    message.CopyFrom(scene.catalog.current.catalog)
    (model,) = (each for each in message.models if each.model_id == "pair")
    del model.routes[1:]
    return Snapshot(message, SECRETS, "")


async def test_the_least_of_several_routes_to_one_vendors_model_counts_and_a_new_catalogs_after_that() -> None:
    plain = (Route("acme", "m", Endpoint("acme", "openai_chat", "http://acme")),)
    limited = (plain[0]._replace(requests_per_minute=1),)
    router = Router(now_s)
    router.keep([*plain, *limited])
    # The model without a limit of its own is called at the same vendor under the same contract.
    assert await router.plan(plain, "account-1", bytes).next() is not None
    assert await router.plan(plain, "account-1", bytes).next() is None
    assert await router.plan(limited, "account-1", bytes).next() is None
    router.keep(plain)
    assert await router.plan(plain, "account-1", bytes).next() is not None


async def test_edges_share_what_a_contract_allows() -> None:
    routes = (Route("acme", "m", Endpoint("acme", "openai_chat", "http://acme"), requests_per_minute=10),)
    router = Router(now_s, edges_max=3)
    turns = [await router.plan(routes, "account-1", bytes, Mix()).next() for _ in range(4)]
    assert [turn is not None for turn in turns] == [True, True, True, False]


def _one_a_minute() -> tuple[Route, ...]:
    return (Route("acme", "m", Endpoint("acme", "openai_chat", "http://acme"), requests_per_minute=1, concurrency_max=1),)


async def test_a_call_that_comes_too_soon_keeps_no_place() -> None:
    routes, router = _one_a_minute(), Router(now_s)
    turn = await router.plan(routes, "account-1", bytes).next()
    assert turn is not None
    turn.leave()
    assert await router.plan(routes, "account-1", bytes).next() is None
    await asyncio.sleep(61.0)
    assert await router.plan(routes, "account-1", bytes).next() is not None


async def test_a_call_whose_client_leaves_while_it_waits_for_its_pace_leaves_place_and_pace() -> None:
    routes, router = _one_a_minute(), Router(now_s)
    begun_s = now_s()
    turn = await router.plan(routes, "account-1", bytes).next()
    assert turn is not None
    turn.leave()
    await asyncio.sleep(60.3 - begun_s % 0.5)
    waiting = asyncio.create_task(router.plan(routes, "account-1", bytes).next())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.sleep(0.5)
    assert await router.plan(routes, "account-1", bytes).next() is not None


async def test_the_tokens_of_a_call_are_corrected_once() -> None:
    routes = (Route("acme", "m", Endpoint("acme", "openai_chat", "http://acme"), tokens_per_minute=1_000),)
    router = Router(now_s)
    turn = await router.plan(routes, "account-1", bytes, Mix(600)).next()
    assert turn is not None
    for tokens in (600, 0):
        turn.used(tokens)
    assert await router.plan(routes, "account-1", bytes, Mix(600)).next() is None
