"""Calls whose key, member or account comes to the end of its time, or is suspended, while they are under way. Virtual time."""

import asyncio

import pytest

from services.edge.http.problems import suspended
from services.runtime.errors import ServiceError
from tests.edge.call.doubles import HANG, FakeCharging
from tests.edge.call.line_dialect import END, FINISH, counted, say, words
from tests.edge.call.scene import Scene
from tokenline.errors.v1 import errors_pb2

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
TOLD = b"The time of key:key-1 has ended; ask the operator for a longer one."


def ends_in(seconds: float, **charging: object) -> Scene:
    return Scene(FakeCharging(ends_in_ms=round(seconds * 1_000), **charging))  # type: ignore[arg-type]  # any of its fields


def open_timers() -> int:
    """Timers that are still to fire: a cancelled one is as good as gone."""
    return sum(not timer.cancelled() for timer in asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]


async def test_a_stream_ends_with_its_key_and_is_charged_input_and_what_was_relayed() -> None:
    scene = ends_in(7.0)
    scene.vendors.answers(say(words(10)), 2.0, say(words(10)), 60.0, say(words(10)))
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(6.9)
    assert not client.ended
    await asyncio.sleep(0.2)
    await task
    scene.check()
    assert client.status == 200
    assert client.text == words(10) * 2
    assert b"error 403 key_ended " + TOLD in client.body
    assert b"[complete]" not in client.body
    assert scene.charging.released_at_s == [7.0]
    assert scene.vendors.asked[0].closed_at_s == 7.0
    assert (scene.cause, scene.provenance) == ("revoked", "partial")
    assert scene.used[0] == scene.charging.creates[0].input_tokens_expected
    assert scene.used[3] == pytest.approx(21, abs=4)


async def test_a_stream_counted_by_its_vendor_until_the_end_is_charged_exactly_that() -> None:
    scene = ends_in(5.0)
    scene.vendors.answers(say("hello", "count input=40 output=7"), HANG)
    client = await scene.call("stream=yes")
    assert TOLD in client.body
    assert scene.used == (40, 0, 0, 7, 0)
    assert scene.cause == "revoked"


async def test_a_whole_answer_ends_with_its_key_with_the_status_of_an_error() -> None:
    scene = ends_in(5.0)
    scene.vendors.answers(say(words(10)), 60.0, FINISH, END)
    client, task = scene.begin("stream=no")
    await task
    scene.check()
    assert client.status == 403
    assert client.body == b"key_ended: " + TOLD
    assert client.messages[0][0] == 5.0
    assert not any(scene.used)
    assert scene.cause == "revoked"
    # The vendor was at work for nothing: that is told as what nobody pays for.
    assert scene.charging.release_message.unpaid.output > 0


@pytest.mark.parametrize(
    ("stream", "after_s", "outcome"), [("yes", 5.0, "given_up"), ("no", 5.0, "given_up"), ("no", 40.0, "broken")]
)
async def test_an_end_before_the_vendor_answered(stream: str, after_s: float, outcome: str) -> None:
    scene = ends_in(after_s)
    scene.vendors.answers(hangs=True)
    client = await scene.call(f"stream={stream}")
    assert client.status == 403
    assert not any(scene.used)
    assert scene.attempts == [("acme", "broken", 0)]
    assert scene.metrics.attempts.counts == {("acme", "acme-solo", outcome): 1}
    assert scene.cause == "revoked"


async def test_a_stream_that_takes_too_long_ends_with_an_error_and_is_charged_what_was_relayed() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(10)), 2.0, say(words(10)), 60.0, say(words(10)))
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(3.0)
    assert client.on_late is not None
    client.on_late(3_600.0)
    await task
    scene.check()
    assert client.status == 200
    assert client.text == words(10) * 2
    assert b"error 504 answer_too_long This answer was not whole after 3600 s, the longest time allowed." in client.body
    assert b"[complete]" not in client.body
    assert client.ended
    assert scene.vendors.asked[0].closed_at_s == 3.0
    assert (scene.cause, scene.provenance) == ("client_gone", "partial")
    assert scene.used[3] == pytest.approx(21, abs=4)


async def test_a_whole_answer_that_takes_too_long_is_an_error_and_costs_nothing() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(10)), 60.0, FINISH, END)
    client, task = scene.begin("stream=no")
    await asyncio.sleep(3.0)
    assert client.on_late is not None
    client.on_late(3_600.0)
    await task
    scene.check()
    assert (client.status, client.header("x-should-retry")) == (504, "false")
    assert client.body.startswith(b"answer_too_long: This answer was not whole after 3600 s")
    assert (scene.cause, any(scene.used)) == ("client_gone", False)
    assert scene.charging.release_message.unpaid.output > 0


async def test_an_end_is_told_behind_its_release() -> None:
    scene = ends_in(5.0)
    scene.charging.release_gate = asyncio.Event()
    scene.vendors.answers(say("hello"), HANG)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(9.0)
    assert len(scene.charging.releases) == 1
    assert b"error" not in client.body
    scene.charging.release_gate.set()
    await task
    assert TOLD in client.body


@BOTH
async def test_a_call_that_ends_before_its_key_leaves_no_timer(stream: str) -> None:
    scene = ends_in(3_600.0)
    scene.vendors.answers(say("hello"), 1.0, FINISH, counted(input=3, output=2), END)
    before = open_timers()
    client = await scene.call(f"stream={stream}")
    assert b"[complete] 3 0 0 2 0" in client.body
    assert scene.cause == "normal"
    assert open_timers() == before


async def test_a_key_that_ends_while_the_answer_is_settled_changes_nothing() -> None:
    scene = ends_in(5.0)
    scene.charging.release_gate = asyncio.Event()
    scene.vendors.answers(say("hello"), 4.0, FINISH, counted(input=3, output=2), END)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(9.0)
    scene.charging.release_gate.set()
    await task
    scene.check()
    assert b"[complete] 3 0 0 2 0" in client.body
    assert scene.cause == "normal"


@pytest.mark.parametrize("ended_at_s", [0.0, 22.0, 50.0])
async def test_an_end_that_is_moved_is_heard_of_with_the_next_update(ended_at_s: float) -> None:
    # The grant is renewed at 20 s, 10 s before the end as it was.
    scene = ends_in(30.0, validity_ms=30_000)
    scene.vendors.answers(say("hello"), 100.0, FINISH, counted(input=3, output=2), END)
    _, task = scene.begin("stream=yes")
    await asyncio.sleep(19.0)
    scene.charging.ends_at_s = ended_at_s
    await task
    scene.check()
    assert scene.cause == ("revoked" if ended_at_s else "normal")
    assert scene.charging.released_at_s == [ended_at_s or 100.0]


@BOTH
async def test_an_update_that_is_refused_as_the_key_has_ended_ends_the_call(stream: str) -> None:
    scene = Scene(FakeCharging(validity_ms=30_000))
    ended = ServiceError(
        errors_pb2.ERROR_REASON_SUBJECT_ENDED, "the time of member:m-1 has ended; ask the operator for a longer one"
    )
    scene.charging.update_failures = [ended]
    scene.vendors.answers(say("hello"), 100.0, FINISH, counted(input=3, output=2), END)
    client = await scene.call(f"stream={stream}")
    assert client.status == (200 if stream == "yes" else 403)
    assert b"The time of member:m-1 has ended; ask the operator for a longer one." in client.body
    assert scene.charging.released_at_s == [20.0]
    assert len(scene.charging.updates) == 1
    assert scene.cause == "revoked"
    assert bool(scene.used[3]) == (stream == "yes")
    assert scene.vendors.asked[0].closed_at_s == 20.0


@BOTH
async def test_a_call_that_waits_for_quota_when_its_key_has_ended(stream: str) -> None:
    scene = Scene(FakeCharging(window=100))
    ended = ServiceError(
        errors_pb2.ERROR_REASON_SUBJECT_ENDED, "the time of key:key-1 has ended; ask the operator for a longer one"
    )
    scene.charging.update_failures = [ended] * 2
    # The whole window at once, and more.
    scene.vendors.answers(say(words(90)), say(words(40)), FINISH, END)
    client = await scene.call(f"stream={stream} limit=1000")
    assert TOLD in client.body
    assert scene.cause == "revoked"
    assert client.status == (200 if stream == "yes" else 403)


@BOTH
async def test_a_suspension_in_mid_stream_is_told_as_one(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(say("hello", "count input=40 output=7"), HANG)
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(5.0)
    scene.principals.revoke(suspended())
    await task
    scene.check()
    assert b"The account was suspended while this answer was under way." in client.body
    assert client.status == (200 if stream == "yes" else 403)
    assert (b"error 403 account_suspended" in client.body) == (stream == "yes")
    assert scene.used == ((40, 0, 0, 7, 0) if stream == "yes" else (0, 0, 0, 0, 0))
    assert scene.cause == "revoked"
    assert scene.vendors.asked[0].closed_at_s == 5.0


async def test_a_vendor_is_stopped_before_a_revoked_call_is_settled() -> None:
    scene = Scene()
    scene.charging.release_gate = asyncio.Event()
    scene.vendors.answers(say(words(10)), HANG)
    _, task = scene.begin("stream=yes")
    await asyncio.sleep(1.0)
    scene.principals.revoke()
    await asyncio.sleep(1.0)
    assert (scene.vendors.asked[0].closed_at_s, scene.charging.durable) == (1.0, 0)
    scene.charging.release_gate.set()
    await task
    scene.check()
