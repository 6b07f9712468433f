"""Windows of quota: asked for in time, waited for, renewed, refused; and what a client sees of it."""

import asyncio

import pytest

from services.edge.vendors.vendor import VendorFailure
from services.runtime.errors import ServiceError
from tests.edge.call.doubles import FakeCharging, lost, vector
from tests.edge.call.line_dialect import END, FINISH, counted, say, words
from tests.edge.call.scene import Scene
from tokenline.errors.v1 import errors_pb2

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
KEEP_ALIVE = b": keep-alive\n\n"


def slowly(pieces: int, seconds: float = 0.1, tokens: int = 10) -> "list[bytes | float]":
    """Output at a steady speed, then the end without a count."""
    return [item for _ in range(pieces) for item in (say(words(tokens)), seconds)] + [FINISH, END]


@BOTH
async def test_more_is_asked_for_before_the_window_is_used_up(stream: str) -> None:
    scene = Scene(FakeCharging(window=200))
    scene.vendors.answers(*slowly(100))
    client = await scene.call(f"stream={stream}")
    assert b"[complete]" in client.body
    assert scene.cause == "normal"
    wanted = [update.output_tokens_wanted for update in scene.charging.updates]
    assert wanted[0] == 200 + 256
    assert wanted == sorted(wanted)
    assert len(wanted) <= 5
    # About 94 tokens a second by the estimate: the window of 200 lasts 2 s, and a quarter of it is asked for before.
    assert 1.4 < scene.charging.update_times_s[0] < 2.0
    assert all(any(vector(update.used)) == (stream == "yes") for update in scene.charging.updates)
    # Where something is used, somebody is owed.
    answering = ["answered"] if stream == "yes" else []
    assert all([each.outcome for each in update.attempts] == answering for update in scene.charging.updates)


async def test_no_output_is_held_up_while_the_answer_comes_in_time() -> None:
    scene = Scene(FakeCharging(window=400))
    scene.charging.update_gate = asyncio.Event()
    scene.vendors.answers(*slowly(42))
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(3.25)
    assert len(scene.charging.updates) == 1
    assert client.text == words(10 * 33)
    await asyncio.sleep(0.3)
    assert client.text == words(10 * 36)
    scene.charging.update_gate.set()
    await task
    assert client.text == words(420)


async def test_what_is_covered_is_sent_before_a_wait_and_the_rest_after_it() -> None:
    scene = Scene(FakeCharging(window=100))
    scene.charging.update_gate = asyncio.Event()
    # Five events that came together, of which three fit.
    scene.vendors.answers(b"".join(say(words(30)) for _ in range(5)), FINISH, END)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(7.0)
    assert client.text == words(90)
    assert len(client.pieces) == 1
    assert not client.ended
    scene.charging.update_gate.set()
    await task
    scene.check()
    assert client.text == words(150)
    assert scene.cause == "normal"


async def test_the_heartbeat_goes_on_while_quota_is_waited_for_and_only_between_events() -> None:
    scene = Scene(FakeCharging(window=100, validity_ms=600_000))
    scene.charging.update_gate = asyncio.Event()
    scene.vendors.answers(b"".join(say(words(30)) for _ in range(5)), FINISH, END)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(50.0)
    assert client.pieces[1:] == [KEEP_ALIVE] * 3
    scene.charging.update_gate.set()
    await task
    assert all(piece == KEEP_ALIVE or piece.endswith(b"\n\n") for piece in client.pieces)
    assert [at for at, message in client.messages if message.get("body") == KEEP_ALIVE] == [15.0, 30.0, 45.0]


async def test_validity_is_renewed_while_nothing_comes() -> None:
    scene = Scene(FakeCharging(validity_ms=30_000))
    scene.vendors.answers(say("hello"), 100.0, say("world"), FINISH, counted(input=3, output=4), END)
    client = await scene.call("stream=yes")
    assert scene.charging.update_times_s == [20.0, 40.0, 60.0, 80.0, 100.0][: len(scene.charging.update_times_s)]
    assert len(scene.charging.updates) in (4, 5)
    assert all(update.output_tokens_wanted == 0 for update in scene.charging.updates)
    assert vector(scene.charging.updates[0].used)[3] > 0
    assert client.pieces.count(KEEP_ALIVE) == 6
    assert client.body.startswith(b'data: said "hello"\n\n: keep-alive\n\n')


@BOTH
async def test_before_any_output_was_sent_updates_report_nothing(stream: str) -> None:
    scene = Scene(FakeCharging(validity_ms=30_000))
    scene.vendors.answers(100.0, say("hello"), FINISH, counted(input=3, output=2), END)
    await scene.call(f"stream={stream}")
    assert len(scene.charging.updates) >= 4
    assert not any(any(vector(update.used)) for update in scene.charging.updates)


async def test_comments_come_before_the_first_token_and_an_error_after_them_is_an_event() -> None:
    scene = Scene()
    scene.vendors.answers(hangs=True)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(31.0)
    assert (client.status, client.body) == (200, KEEP_ALIVE * 2)
    client.leave()
    await task
    scene.check()


async def test_a_vendor_that_fails_behind_comments_is_told_in_the_stream() -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("timeout"), head_after_s=40.0)
    client = await scene.call("stream=yes")
    assert client.body.startswith(KEEP_ALIVE * 2 + b"data: error 503 vendor_unavailable")
    assert client.ended
    assert scene.cause == "vendor_error"


async def test_a_whole_answer_has_no_comments() -> None:
    scene = Scene()
    scene.vendors.answers(100.0, say("hello"), FINISH, counted(input=3, output=2), END)
    client = await scene.call("stream=no")
    assert KEEP_ALIVE not in client.body
    assert client.header("content-type") == "text/plain"
    assert client.header("content-length") == str(len(client.body))


@BOTH
async def test_nothing_more_to_be_had_ends_the_answer_as_its_length(stream: str) -> None:
    scene = Scene(FakeCharging(balance=300, window=100))
    scene.vendors.answers(*slowly(1_000))
    client = await scene.call(f"stream={stream}")
    assert b"[cut]" in client.body
    assert (scene.cause, scene.provenance) == ("quota_exhausted", "partial")
    granted = scene.charging.grants[-1].output_tokens_granted
    assert granted * 0.8 < scene.used[3] <= granted
    assert scene.vendors.asked[0].was_cut


@pytest.mark.parametrize("balance", [120, 300, 1_000])
async def test_an_estimate_is_never_above_what_was_reserved(balance: int) -> None:
    for word in ("word ", "汉字", "🙂", "{x}=1;", "ཀཁག"):
        scene = Scene(FakeCharging(balance=balance, window=100))
        scene.vendors.streams(say(word) for _ in range(10_000))
        await scene.call("stream=yes")
        hold = scene.charging.creates[0].input_tokens_bound + scene.charging.grants[-1].output_tokens_granted
        assert sum(scene.used) <= hold
        assert scene.used[0] <= scene.charging.creates[0].input_tokens_bound


async def test_a_piece_that_no_grant_covers_is_not_charged_whatever_its_vendor_has_counted_with_it() -> None:
    scene = Scene(FakeCharging(balance=120, window=100))
    scene.vendors.answers(say(words(20)), say(words(500), "count input=3 output=520"), FINISH, END)
    client = await scene.call("stream=yes")
    assert (client.text, scene.cause) == (words(20), "quota_exhausted")
    # Of what the vendor has counted the client pays the part that it was sent.
    assert scene.used[3] == pytest.approx(20, abs=4)
    assert scene.used[3] + scene.unpaid[3] == 520


async def test_accounting_that_does_not_answer_ends_the_stream_with_an_error() -> None:
    scene = Scene(FakeCharging(window=100))
    scene.charging.update_failures = [lost()] * 50
    scene.vendors.answers(*slowly(1_000))
    client = await scene.call("stream=yes")
    assert b"error 503 service_unavailable" in client.body
    assert b"[cut]" not in client.body
    assert scene.cause == "quota_exhausted"
    assert 0 < scene.used[3] <= 100
    assert scene.vendors.asked[0].was_cut


async def test_accounting_that_does_not_answer_once_is_asked_again() -> None:
    scene = Scene(FakeCharging(window=100))
    scene.charging.update_failures = [lost()]
    scene.vendors.answers(*slowly(20))
    client = await scene.call("stream=yes")
    assert client.text == words(200)
    assert scene.cause == "normal"


async def test_a_renewal_that_was_not_answered_is_tried_again_a_second_later() -> None:
    # Else the session would be swept under a stream that goes on.
    scene = Scene(FakeCharging(validity_ms=6_000))
    scene.charging.update_failures = [lost(), lost()]
    scene.vendors.answers(say("hello"), 11.0, FINISH, counted(input=3, output=2), END)
    await scene.call("stream=yes")
    assert scene.charging.update_times_s == [4.0, 5.0, 6.0, 10.0]


async def test_quota_that_has_ended_is_told_as_that_though_a_question_was_not_answered_before() -> None:
    scene = Scene(FakeCharging(window=100))
    scene.charging.update_failures = [lost()]
    scene.vendors.answers(*slowly(100))
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(0.1)
    # Other calls have taken the rest.
    scene.charging.leave_free(200)
    await task
    scene.check()
    assert scene.charging.grants[-1].output_tokens_granted == 200
    assert b"[cut]" in client.body
    assert b"data: error" not in client.body
    assert scene.cause == "quota_exhausted"


async def test_a_renewal_that_asked_for_nothing_does_not_stand_for_a_refusal() -> None:
    # The vendor thinks for longer than a grant is valid, and then says more than one window.
    scene = Scene(FakeCharging(window=100, validity_ms=6_000))
    scene.vendors.answers(say("hello"), 5.0, *slowly(30))
    client = await scene.call("stream=yes")
    assert scene.charging.updates[0].output_tokens_wanted == 0
    assert client.text == "hello" + words(300)
    assert scene.cause == "normal"


@BOTH
async def test_accounting_that_refuses_an_update_does_not_break_what_is_covered(stream: str) -> None:
    scene = Scene(FakeCharging(validity_ms=3_000))
    scene.charging.update_failures = [ServiceError(errors_pb2.ERROR_REASON_SESSION_CLOSED, "swept")]
    scene.vendors.answers(5.0, say("hello"), FINISH, counted(input=3, output=2), END)
    await scene.call(f"stream={stream}")
    assert scene.used == (3, 0, 0, 2, 0)


async def test_a_whole_answer_of_which_the_rest_is_not_covered_is_cut() -> None:
    scene = Scene(FakeCharging(window=100))
    scene.charging.update_failures = [lost()] * 50
    scene.vendors.answers(*slowly(1_000))
    client = await scene.call("stream=no")
    assert b"[cut]" in client.body
    assert 0 < scene.used[3] <= 100


@BOTH
async def test_a_revoked_key_ends_a_call_that_waits_for_quota(stream: str) -> None:
    scene = Scene(FakeCharging(window=100))
    scene.charging.update_gate = asyncio.Event()
    scene.vendors.answers(*slowly(100))
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(5.0)
    scene.principals.revoke()
    await task
    scene.check()
    assert scene.cause == "revoked"
    assert client.status == (200 if stream == "yes" else 401)
    assert (b"error 401" in client.body) == (stream == "yes")
    assert bool(scene.used[3]) == (stream == "yes")
    assert scene.vendors.asked[0].was_cut


@BOTH
async def test_a_key_revoked_before_the_vendor_answered(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(hangs=True)
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(5.0)
    scene.principals.revoke()
    await task
    scene.check()
    assert (client.status, scene.cause) == (401, "revoked")
    assert not any(scene.used)
    assert scene.attempts == [("acme", "broken", 0)]


@BOTH
async def test_a_key_revoked_while_the_quota_is_reserved(stream: str) -> None:
    scene = Scene()
    scene.charging.create_gate = asyncio.Event()
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(1.0)
    scene.principals.revoke()
    await task
    scene.check()
    assert client.status == 401
    assert scene.vendors.asked == []


async def test_a_key_revoked_behind_comments_is_told_in_the_stream() -> None:
    scene = Scene()
    scene.vendors.answers(hangs=True)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(20.0)
    scene.principals.revoke()
    await task
    scene.check()
    assert client.body.startswith(KEEP_ALIVE + b"data: error 401")
