"""Which route is tried next, what is recorded of the ones before, and what a client is told."""

import asyncio
import json

import pytest

from services.edge.call.outcome import problem_of
from services.edge.routing.router import failed_attempt
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import HANG, FakeCharging
from tests.edge.call.line_dialect import END, FINISH, counted, event, say
from tests.edge.call.scene import SECRETS, Scene, catalog

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
ANSWER = (say("hello"), FINISH, counted(input=3, output=2), END)


def refused(status: int, retry_after_ms: int = 0, **error: str) -> VendorFailure:
    return _refused(status, error, retry_after_ms)


def _refused(status: int, error: dict[str, str], retry_after_ms: int = 0) -> VendorFailure:
    body = json.dumps({"error": error}).encode() if error else b""
    return VendorFailure("refused", status, body, retry_after_ms=retry_after_ms)


@BOTH
@pytest.mark.parametrize(
    ("items", "outcome"),
    [
        ([refused(400, code="Arrearage", message="Access denied, your account is in arrears.")], ("refused", 400)),
        ([refused(401, message="bad key")], ("refused", 401)),
        ([refused(402)], ("refused", 402)),
        ([refused(403)], ("refused", 403)),
        ([refused(404)], ("refused", 404)),
        ([refused(408)], ("refused", 408)),
        ([refused(429)], ("refused", 429)),
        ([refused(500)], ("refused", 500)),
        ([refused(503)], ("refused", 503)),
        ([refused(529)], ("refused", 529)),
        ([VendorFailure("unreachable")], ("unreachable", 0)),
        ([VendorFailure("timeout")], ("timeout", 0)),
        ([VendorFailure("broken")], ("broken", 0)),
        ([VendorFailure("garbage")], ("garbage", 0)),
        ([event("fault 500 internal")], ("refused", 200)),
        ([event("fault 400 Arrearage in arrears")], ("refused", 200)),
        ([event("nonsense")], ("garbage", 200)),
        ([], ("broken", 200)),
        ([b": comment\n\n", b"data: \n\n"], ("broken", 200)),
    ],
)
async def test_after_a_fault_of_the_vendor_the_next_route_answers(
    items: list[bytes], outcome: tuple[str, int], stream: str
) -> None:
    scene = Scene()
    scene.vendors.answers(*items)
    scene.vendors.answers(*ANSWER, vendor="beta")
    client = await scene.call(f"model=pair stream={stream}")
    assert client.status == 200
    assert b"hello" in client.body
    assert scene.attempts == [("acme", *outcome), ("beta", "answered", 200)]
    assert (scene.used, scene.cause) == ((3, 0, 0, 2, 0), "normal")
    assert scene.vendors.asked[0].closed_at_s is not None
    assert scene.vendors.asked[1].headers[b"authorization"] == b"Bearer " + SECRETS["BETA_KEY"].encode()


async def test_a_stream_that_began_with_nothing_but_words_about_itself_can_still_be_answered_by_another() -> None:
    scene = Scene()
    scene.vendors.answers(counted(input=9, output=0), VendorFailure("broken", 200))
    scene.vendors.answers(*ANSWER, vendor="beta")
    client = await scene.call("model=pair stream=yes")
    assert client.text == "hello"
    assert scene.used == (3, 0, 0, 2, 0)


@BOTH
@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (refused(400, code="invalid", message="temperature must be at most 2"), 400, b"temperature must be at most 2"),
        (refused(413), 400, b"refused the request as malformed"),
        (refused(422, message="no such role"), 400, b"no such role"),
        (refused(400, message="Sensitive words were found"), 400, b"content_policy_violation"),
        (refused(400, message="beyond the context length of 8192"), 400, b"context_length_exceeded"),
        (event("fault 400 bad_request wrong role"), 400, b"wrong role"),
    ],
)
async def test_after_a_fault_of_the_client_no_other_route_is_tried(
    failure: VendorFailure | bytes, status: int, words: bytes, stream: str
) -> None:
    scene = Scene()
    scene.vendors.answers(failure)
    scene.vendors.answers(*ANSWER, vendor="beta")
    client = await scene.call(f"model=pair stream={stream}")
    assert client.status == status
    assert words in client.body
    assert len(scene.vendors.asked) == 1
    assert [attempt[:2] for attempt in scene.attempts] == [("acme", "refused")]


@BOTH
async def test_a_vendors_time_to_wait_reaches_the_client(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(refused(429, retry_after_ms=37_000))
    client = await scene.call(f"stream={stream}")
    assert (client.status, client.header("retry-after"), client.header("retry-after-ms")) == (503, "37", "37000")


async def test_of_two_times_to_wait_the_shorter_one_is_told() -> None:
    scene = Scene()
    scene.vendors.answers(refused(429, retry_after_ms=37_000))
    scene.vendors.answers(refused(429, retry_after_ms=12_000), vendor="beta")
    client = await scene.call("model=pair")
    assert client.header("retry-after") == "12"


@BOTH
@pytest.mark.parametrize("quote", ["{}", "...{}...", "key {:.10}*** is wrong"])
async def test_a_vendors_words_with_our_secret_are_not_told(quote: str, stream: str) -> None:
    for field in ("message", "code", "param"):
        scene = Scene()
        scene.vendors.answers(_refused(400, {field: quote.format(SECRETS["ACME_KEY"])}))
        client = await scene.call(f"stream={stream}")
        assert client.status == 400
        assert b"acme-sec" not in client.body
        assert SECRETS["ACME_KEY"][-8:].encode() not in client.body


@BOTH
@pytest.mark.parametrize("status", [401, 402, 403, 404, 429, 500, 503])
async def test_what_is_between_us_and_a_vendor_is_not_told(status: int, stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(refused(status, code="internal_code", message="account 4711 of tokenline owes 3 dollars"))
    client = await scene.call(f"stream={stream}")
    assert client.status in (502, 503)
    for told in (b"4711", b"internal_code", b"acme", b"http://"):
        assert told not in client.body
    assert str(status).encode() not in client.body


@BOTH
async def test_arrears_of_ours_are_not_the_clients_fault(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(refused(400, code="Arrearage", message="Your account is in arrears"))
    client = await scene.call(f"stream={stream}")
    assert client.status == 502
    assert b"arrears" not in client.body
    assert scene.metrics.failures.counts == {("acme", "account"): 1}


@BOTH
async def test_the_attempt_of_a_client_that_left_is_recorded(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(refused(500))
    scene.vendors.answers(vendor="beta", hangs=True)
    client, task = scene.begin(f"model=pair stream={stream}")
    await asyncio.sleep(2.5)
    client.leave()
    await task
    scene.check()
    assert scene.attempts == [("acme", "refused", 500), ("beta", "broken", 0)]
    assert scene.charging.release_message.attempts[1].vendor_model_id == "beta-pair"
    assert scene.cause == "client_gone"


@BOTH
async def test_a_broken_vendor_is_closed_at_once(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(event("nonsense"), HANG)
    scene.vendors.answers(*ANSWER, vendor="beta", head_after_s=5.0)
    await scene.call(f"model=pair stream={stream}")
    assert scene.vendors.asked[0].closed_at_s == 0
    assert scene.vendors.asked[0].was_cut


@BOTH
async def test_a_field_that_only_one_vendor_refuses_is_answered_by_the_other(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(*ANSWER)
    # The second one's profile refuses it, but it is not needed.
    client = await scene.call(f"model=pair stream={stream} refused_by_beta=yes")
    assert client.status == 200
    scene = Scene()
    client = await scene.call(f"model=pair stream={stream} refused_by_acme=yes")
    assert client.status == 400
    assert scene.charging.creates == []


@BOTH
async def test_a_second_vendor_that_refuses_a_field_does_not_hide_what_the_first_one_said(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(refused(429, retry_after_ms=5_000))
    client = await scene.call(f"model=pair stream={stream} refused_by_beta=yes")
    assert (client.status, client.header("retry-after")) == (503, "5")
    assert scene.attempts == [("acme", "refused", 429), ("beta", "refused", 0)]
    assert not any(scene.used)


@BOTH
async def test_each_route_is_told_the_limit_that_can_be_paid(stream: str) -> None:
    scene = Scene(FakeCharging(balance=500))
    scene.vendors.answers(refused(500))
    scene.vendors.answers(*ANSWER, vendor="beta")
    await scene.call(f"model=pair stream={stream}")
    limits = [int(asked.options["limit"]) for asked in scene.vendors.asked]
    assert limits[0] == limits[1]
    assert 100 < limits[0] < 500


async def test_what_was_dropped_is_named() -> None:
    scene = Scene()
    scene.vendors.answers(*ANSWER)
    client = await scene.call("dropped=seed,top_k")
    assert client.header("x-dropped-fields") == "seed, top_k"


async def test_a_name_that_no_header_takes_is_named_without_harm() -> None:
    scene = Scene()
    scene.vendors.answers(*ANSWER)
    client = await scene.call("dropped=a\x01b\x00,\u00fc\x7f," + "z" * 100_000)
    named = client.header("x-dropped-fields")
    assert named is not None
    assert named.startswith("a?b?, ??, zzz")
    assert len(named) == 1_024


async def test_what_was_dropped_is_named_once_whatever_route_answers() -> None:
    scene = Scene()
    scene.vendors.answers(say("x"), VendorFailure("broken", 200))
    scene.vendors.answers(*ANSWER, vendor="beta")
    client = await scene.call("model=pair dropped=seed")
    assert client.header("x-dropped-fields") == "seed"


async def test_what_a_route_that_failed_would_have_dropped_is_not_named() -> None:
    scene = Scene()
    scene.vendors.answers(say("x"), VendorFailure("broken", 200))
    scene.vendors.answers(*ANSWER, vendor="beta")
    client = await scene.call("model=pair dropped=seed dropped_by=acme")
    assert (client.status, client.header("x-dropped-fields")) == (200, None)


async def test_a_vendor_that_does_not_stream_serves_a_client_that_wants_a_stream() -> None:
    scene = Scene()
    scene.vendors.answers(b'say "hello"\ncount input=3 output=2', vendor="slow", content_type="application/json")
    client = await scene.call("model=whole stream=yes")
    assert client.text == "hello"
    assert scene.used == (3, 0, 0, 2, 0)
    assert scene.vendors.asked[0].options["stream"] == "no"
    assert not scene.charging.creates[0].output_metered


@BOTH
async def test_each_route_is_asked_as_its_own_vendor_answers(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(refused(500))
    # It says nothing of its form: what was asked for decides how it is read.
    scene.vendors.answers(b'say "hello"\ncount input=3 output=2', vendor="slow", content_type="")
    client = await scene.call(f"model=mixed stream={stream} limit=5000")
    assert b"hello" in client.body
    assert [asked.options["stream"] for asked in scene.vendors.asked] == ["yes", "no"]
    assert scene.attempts == [("acme", "refused", 500), ("slow", "answered", 200)]
    assert (scene.used, scene.cause) == ((3, 0, 0, 2, 0), "normal")


async def test_json_from_a_vendor_that_was_asked_for_a_stream_is_believed() -> None:
    scene = Scene()
    scene.vendors.answers(b'say "hello"\ncount input=3 output=2', content_type="application/json; charset=utf-8")
    client = await scene.call("stream=yes")
    assert client.text == "hello"
    assert scene.used == (3, 0, 0, 2, 0)


async def test_json_with_an_error_from_a_vendor_that_was_asked_for_a_stream() -> None:
    scene = Scene()
    scene.vendors.answers(b"fault 429 busy", content_type="application/json")
    scene.vendors.answers(*ANSWER, vendor="beta")
    client = await scene.call("model=pair stream=yes")
    assert client.text == "hello"


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        # There is only too much to do: it is worth trying again.
        (refused(429), refused(503), 503),
        (refused(529), refused(429), 503),
        (VendorFailure("unreachable"), VendorFailure("timeout"), 503),
        # One of them has failed otherwise.
        (refused(429), refused(500), 502),
        (refused(500), refused(529), 502),
        (VendorFailure("unreachable"), refused(500), 502),
        (refused(401), VendorFailure("timeout"), 502),
        (VendorFailure("unreachable"), refused(429), 502),
    ],
)
async def test_what_all_routes_have_in_common_is_told(first: VendorFailure, second: VendorFailure, status: int) -> None:
    scene = Scene()
    scene.vendors.answers(first)
    scene.vendors.answers(second, vendor="beta")
    client = await scene.call("model=pair stream=no")
    assert client.status == status
    assert (client.header("retry-after") is not None) == (status == 503)


@pytest.mark.parametrize("field", ["message", "code", "param"])
def test_no_word_of_a_fault_tells_a_part_of_a_key(field: str) -> None:
    secret = SECRETS["ACME_KEY"]
    model = catalog().model("solo")
    assert model is not None
    (route,) = model.routes["openai_chat"]
    told = {"message": "bad request", "code": "bad", "param": "messages"}
    problem = problem_of([failed_attempt(route, _refused(400, told | {field: f"at-{secret[4:20]}"}))], [secret], 0)
    assert problem.status == 400
    shown = {"message": problem.message, "code": problem.code, "param": problem.param}
    assert not any(secret[4:20] in (each or "") for each in shown.values())
    told["message"] = 'The model\'s vendor refused the request as malformed. The vendor says: "bad request"'
    assert {name: shown[name] for name in told if name != field} == {name: told[name] for name in told if name != field}
