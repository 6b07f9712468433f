"""How many calls an edge has under way on a route, and what becomes of the others."""

import asyncio
from typing import Any

import pytest

from services.edge.call.dialect import Charged
from services.edge.catalog import Route, Snapshot
from services.edge.routing.router import Router
from services.edge.vendors.profile import Endpoint
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import HANG, CallClient, now_s
from tests.edge.call.line_dialect import END, FINISH, counted, say
from tests.edge.call.scene import SECRETS, Scene, catalog
from tokenline.registry.v1 import registry_pb2

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
ANSWER = (say("hello"), FINISH, counted(input=3, output=2), END)
Calling = tuple[CallClient, "asyncio.Task[None]"]


def _begin(scene: Scene, number: int, head: str, charged: Charged = Charged.INPUT_AND_OUTPUT) -> list[Calling]:
    return [scene.begin(head, charged=charged) for _ in range(number)]


async def _end(calls: list[Calling]) -> list[int]:
    """The statuses of calls."""
    for _, task in calls:
        await task
    return [client.status for client, _ in calls]


async def _leave(calls: list[Calling]) -> None:
    for client, task in calls:
        client.leave()
        await task


def _answers(scene: Scene, number: int, vendor: str = "acme", **how: Any) -> None:
    for _ in range(number):
        scene.vendors.answers(*ANSWER, vendor=vendor, **how)


def _asked(scene: Scene) -> list[tuple[str, float]]:
    """Vendor and time of each request, in seconds from the first."""
    return [(asked.url.split("/")[2], round(asked.at_s - scene.vendors.asked[0].at_s, 3)) for asked in scene.vendors.asked]


@BOTH
async def test_calls_wait_for_a_place_in_their_order(stream: str) -> None:
    scene = Scene()
    _answers(scene, 4, head_after_s=0.4)
    calls = _begin(scene, 4, f"model=narrow stream={stream}")
    assert await _end(calls) == [200] * 4
    assert _asked(scene) == [("acme", 0.0), ("acme", 0.0), ("acme", 0.4), ("acme", 0.4)]


@BOTH
async def test_after_half_a_second_a_call_goes_to_the_next_route(stream: str) -> None:
    scene = Scene()
    _answers(scene, 2, head_after_s=9.0)
    _answers(scene, 1, "beta")
    calls = _begin(scene, 3, f"model=narrow-pair stream={stream}")
    assert await _end(calls) == [200] * 3
    assert _asked(scene) == [("acme", 0.0), ("acme", 0.0), ("beta", 0.5)]


@BOTH
async def test_where_as_many_wait_as_there_are_places_a_call_goes_on_at_once(stream: str) -> None:
    scene = Scene()
    _answers(scene, 2, head_after_s=9.0)
    _answers(scene, 2, "beta", head_after_s=9.0)
    _begin(scene, 4, f"model=narrow-pair stream={stream}")
    await asyncio.sleep(0.1)
    _begin(scene, 1, f"model=narrow-pair stream={stream}")
    await asyncio.sleep(1.0)
    assert _asked(scene) == [("acme", 0.0), ("acme", 0.0), ("beta", 0.1), ("beta", 0.5)]


@BOTH
async def test_where_all_is_full_a_call_waits_once_and_its_client_is_told_to_come_again(stream: str) -> None:
    scene = Scene()
    _answers(scene, 2, head_after_s=9.0)
    _answers(scene, 2, "beta", head_after_s=9.0)
    filled = _begin(scene, 4, f"model=narrow-pair stream={stream}")
    await asyncio.sleep(1.0)
    begun_s = now_s()
    ((client, task),) = _begin(scene, 1, f"model=narrow-pair stream={stream}")
    await task
    assert round(now_s() - begun_s, 3) == 0.5
    assert (client.status, client.header("retry-after"), client.header("retry-after-ms")) == (503, "1", "1000")
    (release,) = scene.charging.releases
    assert not any(getattr(release.used, name) for name in ("input", "output"))
    assert list(release.attempts) == []
    assert await _end(filled) == [200] * 4


@BOTH
async def test_where_the_queue_is_full_too_the_client_is_told_at_once_and_nothing_is_reserved(stream: str) -> None:
    scene = Scene()
    _answers(scene, 2, head_after_s=9.0)
    waiting = _begin(scene, 4, f"model=narrow stream={stream}")
    await asyncio.sleep(0.1)
    begun_s = now_s()
    ((client, task),) = _begin(scene, 1, f"model=narrow stream={stream}")
    await task
    assert now_s() == begun_s
    assert (client.status, client.header("retry-after")) == (503, "1")
    assert len(scene.charging.creates) == 4
    assert await _end(waiting) == [200, 200, 503, 503]


@BOTH
async def test_a_place_is_free_after_a_failure(stream: str) -> None:
    scene = Scene()
    for _ in range(5):
        scene.vendors.answers(VendorFailure("refused", 500))
    for _ in range(5):
        client, task = scene.begin(f"model=narrow stream={stream}")
        await task
        assert client.status == 502
    _answers(scene, 2, head_after_s=1.0)
    assert await _end(_begin(scene, 2, f"model=narrow stream={stream}")) == [200, 200]
    assert len(scene.vendors.asked) == 7


@BOTH
async def test_a_place_is_free_once_the_vendor_is_done_though_the_release_is_not(stream: str) -> None:
    scene = Scene()
    scene.charging.release_gate = asyncio.Event()
    _answers(scene, 4)
    calls = _begin(scene, 4, f"model=narrow stream={stream}")
    await asyncio.sleep(0.1)
    assert len(scene.vendors.asked) == 4
    scene.charging.release_gate.set()
    assert await _end(calls) == [200] * 4


@BOTH
async def test_a_client_that_leaves_gives_its_place_to_the_next(stream: str) -> None:
    scene = Scene()
    for _ in range(2):
        scene.vendors.answers(say("hel"), HANG)
    _answers(scene, 1)
    begun, (last,) = _begin(scene, 2, f"model=narrow stream={stream}"), _begin(scene, 1, f"model=narrow stream={stream}")
    await asyncio.sleep(0.2)
    await _leave(begun[:1])
    await last[1]
    assert last[0].status == 200
    await _leave(begun[1:])
    _answers(scene, 2, head_after_s=1.0)
    assert await _end(_begin(scene, 2, f"model=narrow stream={stream}")) == [200, 200]


@BOTH
async def test_a_client_that_leaves_while_it_waits_takes_no_place(stream: str) -> None:
    scene = Scene()
    _answers(scene, 2, head_after_s=0.4)
    begun = _begin(scene, 2, f"model=narrow stream={stream}")
    gone = _begin(scene, 2, f"model=narrow stream={stream}")
    await asyncio.sleep(0.1)
    await _leave(gone)
    assert await _end(begun) == [200, 200]
    _answers(scene, 2, head_after_s=0.4)
    assert await _end(_begin(scene, 2, f"model=narrow stream={stream}")) == [200, 200]
    assert len(scene.vendors.asked) == 4
    assert len(scene.charging.releases) == 6


@BOTH
async def test_a_place_that_comes_with_the_end_of_the_wait_is_not_lost(stream: str) -> None:
    scene = Scene()
    _answers(scene, 2, head_after_s=0.5)
    calls = _begin(scene, 4, f"model=narrow stream={stream}")
    _answers(scene, 2)
    statuses = await _end(calls)
    assert set(statuses) <= {200, 503}
    _answers(scene, 4, head_after_s=1.0)
    assert await _end(_begin(scene, 2, f"model=narrow stream={stream}")) == [200, 200]


@BOTH
async def test_a_call_gives_back_one_place(stream: str) -> None:
    scene = Scene()
    for _ in range(3):
        _answers(scene, 1)
        assert await _end(_begin(scene, 1, f"model=narrow stream={stream}")) == [200]
    scene.vendors.asked.clear()
    _answers(scene, 4, head_after_s=0.4)
    assert await _end(_begin(scene, 4, f"model=narrow stream={stream}")) == [200] * 4
    assert [at_s for _, at_s in _asked(scene)] == [0.0, 0.0, 0.4, 0.4]


async def test_a_route_without_a_bound_takes_any_number() -> None:
    scene = Scene()
    _answers(scene, 100, head_after_s=1.0)
    assert await _end(_begin(scene, 100, "model=solo")) == [200] * 100
    assert {at_s for _, at_s in _asked(scene)} == {0.0}


async def test_counts_of_tokens_take_places_too() -> None:
    scene = Scene()
    for _ in range(3):
        scene.vendors.answers(b"count input=9", content_type="application/json", head_after_s=0.4)
    calls = _begin(scene, 3, "kind=count model=narrow", Charged.NOTHING)
    assert await _end(calls) == [200] * 3
    assert _asked(scene) == [("acme", 0.0), ("acme", 0.0), ("acme", 0.4)]


def _bounded(places: int) -> Snapshot:
    """The catalog with so many places at "narrow"."""
    message = registry_pb2.Catalog()
    message.CopyFrom(catalog().catalog)
    (model,) = (each for each in message.models if each.model_id == "narrow")
    model.routes[0].edge_concurrency_max = places
    return Snapshot(message, SECRETS, "")


async def test_a_bound_that_was_lowered_holds_for_calls_that_come_though_others_wait() -> None:
    scene = Scene(snapshot=_bounded(4))
    for number in range(4):
        _answers(scene, 1, head_after_s=0.1 + 0.1 * number)
    calls = _begin(scene, 4, "model=narrow")
    await asyncio.sleep(0.05)
    scene.catalog.current = _bounded(1)
    _answers(scene, 1)
    # Four are under way, and one place is left: who waits gets it once all four are done.
    waits = _begin(scene, 1, "model=narrow")
    assert await _end([*calls, *waits]) == [200] * 5
    assert _asked(scene)[4:] == [("acme", 0.4)]


async def test_calls_from_before_a_bound_count_within_it() -> None:
    scene = Scene(snapshot=_bounded(0))
    _answers(scene, 2, head_after_s=5.0)
    calls = _begin(scene, 2, "model=narrow")
    await asyncio.sleep(0.1)
    scene.catalog.current = _bounded(2)
    assert await _end(_begin(scene, 1, "model=narrow")) == [503]
    assert await _end(calls) == [200, 200]


async def test_places_are_those_of_a_vendors_model_whatever_the_dialect() -> None:
    chat, messages = (
        (Route("acme", "acme-m", Endpoint("acme", dialect, "http://acme"), concurrency_max=1),)
        for dialect in ("openai_chat", "anthropic_messages")
    )
    router = Router(now_s)
    turn = await router.plan(chat, "account-1", bytes).next()
    assert turn is not None
    assert await router.plan(messages, "account-1", bytes).next() is None
    turn.leave()
    assert await router.plan(messages, "account-1", bytes).next() is not None
