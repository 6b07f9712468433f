"""The charge matrix, one test a row, streamed and whole."""

import asyncio

import pytest

from services.edge.tokens.estimate import estimate
from services.edge.tokens.size import size_of
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import FakeCharging
from tests.edge.call.line_dialect import END, FINISH, count, counted, event, say, words
from tests.edge.call.scene import Scene
from tokenline.accounting.v1 import accounting_pb2 as pb

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
COUNT = counted(input=9, cached_input=2, output=5, reasoning=1)


@BOTH
async def test_an_answer_is_charged_as_the_vendor_counted(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(say("hello "), say("world"), FINISH, COUNT, END)
    client = await scene.call(f"stream={stream} limit=500")
    assert client.status == 200
    assert client.ended
    assert (scene.used, scene.unpaid) == ((9, 2, 0, 5, 1), (0, 0, 0, 0, 0))
    assert (scene.cause, scene.provenance) == ("normal", "vendor")
    assert scene.attempts == [("acme", "answered", 200)]
    assert b"hello world" in client.body
    assert client.body.strip().endswith(b"[complete] 9 2 0 5 1")


@BOTH
async def test_refused_before_a_vendor_was_called_costs_nothing(stream: str) -> None:
    scene = Scene()
    for head, status in (("bad=1", 400), ("model=nothing", 404), ("limit=9000", 400)):
        client = await scene.call(f"stream={stream} {head}")
        assert client.status == status
    assert scene.vendors.asked == []
    assert scene.charging.creates == []


@BOTH
async def test_no_quota_costs_nothing(stream: str) -> None:
    scene = Scene(FakeCharging(balance=5))
    client = await scene.call(f"stream={stream} limit=5")
    assert (client.status, client.header("x-should-retry")) == (402, "false")
    assert scene.vendors.asked == []
    assert scene.charging.releases == []


async def test_a_balance_below_one_token_a_choice_is_released_as_rejected() -> None:
    scene = Scene(FakeCharging(balance=20))
    client = await scene.call("stream=yes limit=5 n=4")
    assert client.status == 402
    assert scene.vendors.asked == []
    assert (scene.cause, scene.used, scene.attempts) == ("rejected", (0, 0, 0, 0, 0), [])


@BOTH
@pytest.mark.parametrize(
    ("failure", "status", "outcome"),
    [
        (VendorFailure("unreachable"), 503, ("unreachable", 0)),
        (VendorFailure("timeout"), 503, ("timeout", 0)),
        (VendorFailure("broken"), 502, ("broken", 0)),
        (VendorFailure("garbage", 200), 502, ("garbage", 200)),
        (VendorFailure("refused", 400, b"no"), 400, ("refused", 400)),
        (VendorFailure("refused", 401), 502, ("refused", 401)),
        (VendorFailure("refused", 429), 503, ("refused", 429)),
        (VendorFailure("refused", 500), 502, ("refused", 500)),
        (VendorFailure("refused", 503), 503, ("refused", 503)),
    ],
)
async def test_a_vendor_that_fails_before_the_first_byte_costs_nothing(
    failure: VendorFailure, status: int, outcome: tuple[str, int], stream: str
) -> None:
    scene = Scene()
    scene.vendors.answers(failure)
    client = await scene.call(f"stream={stream}")
    assert client.status == status
    assert (scene.cause, scene.used, scene.unpaid) == ("vendor_error", (0, 0, 0, 0, 0), (0, 0, 0, 0, 0))
    assert scene.attempts == [("acme", *outcome)]


@BOTH
async def test_all_routes_tried_every_attempt_is_listed(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("broken"))
    scene.vendors.answers(VendorFailure("refused", 500), vendor="beta")
    client = await scene.call(f"model=pair stream={stream}")
    assert client.status == 502
    assert scene.attempts == [("acme", "broken", 0), ("beta", "refused", 500)]
    assert scene.cause == "vendor_error"


@BOTH
async def test_the_second_route_answers_and_is_charged_once(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(event("fault 500 busy"))
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END, vendor="beta")
    client = await scene.call(f"model=pair stream={stream}")
    assert client.status == 200
    assert scene.used == (3, 0, 0, 2, 0)
    assert scene.attempts == [("acme", "refused", 200), ("beta", "answered", 200)]
    assert scene.charging.creates[0].model_id == "pair"
    assert scene.vendors.asked[1].options["model"] == "beta-pair"


async def test_a_vendor_that_breaks_off_in_mid_stream_is_charged_in_part() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(10)), say(words(10)), VendorFailure("broken", 200))
    client = await scene.call("stream=yes")
    assert client.status == 200
    assert client.text == words(20)
    assert b"error 502 vendor_error" in client.body
    assert scene.used[3] == pytest.approx(22, abs=5)
    assert scene.used[0] > 0
    assert (scene.cause, scene.provenance) == ("vendor_error", "partial")
    assert scene.attempts == [("acme", "broken", 200)]


async def test_a_vendor_that_tells_an_error_in_mid_stream_is_charged_in_part() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(10)), event("fault 500 internal secret-words"))
    client = await scene.call("stream=yes")
    assert b"error 502 vendor_error" in client.body
    assert b"secret-words" not in client.body
    assert (scene.cause, scene.provenance) == ("vendor_error", "partial")
    assert scene.used[3] > 0


async def test_a_vendor_that_breaks_off_a_whole_answer_costs_nothing() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(10)), VendorFailure("broken", 200))
    client = await scene.call("stream=no")
    assert client.status == 502
    assert (scene.cause, scene.used) == ("vendor_error", (0, 0, 0, 0, 0))


async def test_a_client_that_goes_away_pays_what_it_was_sent() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(1_000)), 1.0, say(words(1_000)), 60.0, say(words(1_000)))
    await scene.left("stream=yes", lambda client: len(client.pieces) == 1)
    assert scene.cause == "client_gone"
    assert scene.provenance == "partial"
    assert scene.vendors.asked[0].was_cut
    assert scene.used == (estimate(size_of("hi")), 0, 0, estimate(size_of(words(1_000))), 0)
    assert scene.unpaid == (0, 0, 0, 0, 0)


@BOTH
async def test_a_client_that_goes_away_before_any_output_pays_nothing(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(30.0, say("hello"))
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(5.0)
    client.leave()
    await task
    scene.check()
    assert (scene.cause, scene.used) == ("client_gone", (0, 0, 0, 0, 0))
    assert scene.unpaid[0] > 0
    assert scene.attempts == [("acme", "broken", 0)]


@BOTH
async def test_a_quota_that_ends_in_the_middle_ends_the_answer_as_its_length(stream: str) -> None:
    scene = Scene(FakeCharging(balance=200))
    scene.vendors.streams(say("word ") for _ in range(10_000))
    client = await scene.call(f"stream={stream}")
    assert client.status == 200
    assert b"[cut]" in client.body
    assert scene.cause == "quota_exhausted"
    assert scene.provenance == "partial"
    assert 100 < scene.used[3] <= scene.charging.grants[-1].output_tokens_granted
    assert scene.vendors.asked[0].was_cut


@BOTH
async def test_a_vendor_without_usage_is_counted_here(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), FINISH, END)
    await scene.call(f"stream={stream}")
    assert scene.used[3] == pytest.approx(100, rel=0.3)
    assert scene.used[0] > 0
    assert (scene.cause, scene.provenance) == ("normal", "estimated")


@BOTH
async def test_usage_above_the_reservation_is_charged_as_the_vendor_counted(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(say("hello", count(input=5_000, output=1_000)), FINISH, END)
    client = await scene.call(f"stream={stream} limit=1000", "a")
    assert client.status == 200
    assert scene.used == (5_000, 0, 0, 1_000, 0)
    assert scene.charging.creates[0].input_tokens_bound < 20


async def test_a_key_revoked_in_mid_stream_is_charged_what_was_relayed() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(10)), 30.0, say(words(10)))
    client, task = scene.begin("stream=yes")
    client.on_message = lambda message: scene.principals.revoke() if client.text else None
    await task
    scene.check()
    assert client.text == words(10)
    assert b"error 401 invalid_api_key" in client.body
    assert scene.cause == "revoked"
    assert scene.used[0] > 0
    assert scene.used[3] == pytest.approx(11, abs=3)
    assert scene.vendors.asked[0].was_cut


@BOTH
async def test_usage_that_can_not_be_true_is_never_nothing(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), FINISH, counted(input=0, output=0), END)
    await scene.call(f"stream={stream}")
    assert scene.used[0] > 0
    assert scene.used[3] == pytest.approx(100, rel=0.3)
    assert scene.provenance == "estimated"


async def test_a_window_that_is_refused_is_told_as_what_it_is() -> None:
    scene = Scene()
    scene.charging.refuses = [
        pb.Refused(result_code=pb.RESULT_CODE_QUOTA_LIMIT_REACHED, held=True, retry_after_ms=2_000),
        pb.Refused(result_code=pb.RESULT_CODE_QUOTA_LIMIT_REACHED, limit_id="5h@key", retry_after_ms=60_000),
        pb.Refused(result_code=pb.RESULT_CODE_RATE_LIMITED, limit_id="rpm@key", retry_after_ms=1_500),
    ]
    held = await scene.call("stream=yes")
    assert (held.status, held.header("x-should-retry"), held.header("retry-after-ms")) == (429, "true", "2000")
    window = await scene.call("stream=yes")
    assert (window.status, window.header("x-should-retry"), window.header("retry-after")) == (429, "false", "60")
    rate = await scene.call("stream=yes")
    assert (rate.status, rate.header("x-should-retry"), rate.header("retry-after-ms")) == (429, "true", "1500")
