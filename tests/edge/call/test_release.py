"""The one Release: on every way out, and before the end of an answer."""

import asyncio

import pytest

from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import HANG, FakeCharging, lost
from tests.edge.call.line_dialect import END, FINISH, LineAnswer, LineRequest, counted, event, say, words
from tests.edge.call.scene import Scene

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
NOTHING = (0, 0, 0, 0, 0)


@BOTH
async def test_the_end_is_not_sent_before_its_release_is_durable(stream: str) -> None:
    scene = Scene()
    scene.charging.release_gate = asyncio.Event()
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END)
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(9.0)
    assert len(scene.charging.releases) == 1
    assert not client.ended
    assert b"repeated" not in client.body
    assert b"[complete]" not in client.body
    assert client.begun == (stream == "yes")
    scene.charging.release_gate.set()
    await task
    assert client.ended
    assert b"[complete] 3 0 0 2 0" in client.body


@BOTH
async def test_a_cut_answer_ends_behind_its_release_too(stream: str) -> None:
    scene = Scene(FakeCharging(balance=100))
    scene.charging.release_gate = asyncio.Event()
    scene.vendors.streams(say("word ") for _ in range(1_000))
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(9.0)
    assert len(scene.charging.releases) == 1
    assert scene.vendors.asked[0].closed_at_s == 0, "the vendor works on while accounting is slow"
    assert b"[cut]" not in client.body
    assert not client.ended
    scene.charging.release_gate.set()
    await task
    assert b"[cut]" in client.body


async def test_an_error_in_the_stream_comes_behind_its_release() -> None:
    scene = Scene()
    scene.charging.release_gate = asyncio.Event()
    scene.vendors.answers(say("hello"), VendorFailure("broken", 200))
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(9.0)
    assert client.text == "hello"
    assert b"error" not in client.body
    scene.charging.release_gate.set()
    await task
    assert b"error 502" in client.body


@BOTH
async def test_a_charge_that_is_not_confirmed_is_told(stream: str) -> None:
    scene = Scene()
    scene.charging.release_failure = lost()
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END)
    client = await scene.call(f"stream={stream}")
    assert b"[complete]" not in client.body
    assert b"service_unavailable" in client.body
    assert client.status == (200 if stream == "yes" else 503)
    assert scene.used == (3, 0, 0, 2, 0)


@BOTH
async def test_no_vendor_and_no_confirmation(stream: str) -> None:
    scene = Scene()
    scene.charging.release_failure = lost()
    scene.vendors.answers(VendorFailure("refused", 400, b"no"))
    client = await scene.call(f"stream={stream}")
    assert client.status == 503
    assert scene.used == NOTHING


@BOTH
@pytest.mark.parametrize("at_s", [0.5, 1.5, 2.5, 3.5, 4.5])
async def test_a_shutdown_at_any_moment_leaves_one_release(at_s: float, stream: str) -> None:
    scene = Scene()
    scene.charging.create_gate = asyncio.Event()
    scene.charging.release_gate = asyncio.Event()
    scene.vendors.answers(1.0, say(words(10)), 1.0, say(words(10)), FINISH, counted(input=3, output=20), END, head_after_s=1.0)
    client, task = scene.begin(f"stream={stream}")
    loop = asyncio.get_running_loop()
    loop.call_at(1.0, scene.charging.create_gate.set)
    await asyncio.sleep(at_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    scene.check()
    assert not client.ended
    assert len(scene.charging.releases) == (at_s > 1)
    relayed = stream == "yes" and at_s > 3
    if scene.charging.releases:
        assert any(scene.used) == (relayed or at_s > 4)
        assert scene.cause == ("normal" if at_s > 4 else "vendor_error")
    assert all(asked.closed_at_s is not None for asked in scene.vendors.asked if at_s > 2)


@BOTH
@pytest.mark.parametrize("said", ["", "hello"])
async def test_a_fault_of_the_dialect_leaves_one_release(said: str, stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(*([say(said)] if said else []), event("crash"), HANG)
    client = await scene.call(f"stream={stream}")
    relayed = stream == "yes" and said
    assert client.status == (200 if relayed else 500)
    assert b"a fault of the dialect" not in client.body
    assert b"[complete]" not in client.body
    assert client.ended
    assert any(scene.used) == bool(relayed)
    assert (scene.cause, scene.provenance) == ("vendor_error", "partial")
    assert scene.vendors.asked[0].was_cut


@pytest.mark.parametrize("method", ["answer", "vendor_request"])
@BOTH
async def test_a_fault_of_the_dialect_before_the_vendor_leaves_one_release(
    method: str, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(FakeCharging(balance=500))

    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("a fault of the dialect")

    scene.charging.create_gate = asyncio.Event()
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(1.0)
    monkeypatch.setattr(LineRequest, method, fail)
    scene.vendors.answers(say("hello"), FINISH, END)
    scene.charging.create_gate.set()
    await task
    scene.check()
    assert client.status == 500
    assert scene.used == NOTHING


@BOTH
async def test_an_end_that_fails_is_behind_the_release(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> bytes:
        raise RuntimeError("a fault of the dialect")

    monkeypatch.setattr(LineAnswer, "end", fail)
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END)
    client = await scene.call(f"stream={stream}")
    assert client.ended
    assert scene.used == (3, 0, 0, 2, 0)


@BOTH
async def test_a_client_that_leaves_while_the_quota_is_reserved_leaves_no_session(stream: str) -> None:
    scene = Scene()
    scene.charging.create_gate = asyncio.Event()
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(1.0)
    client.leave()
    await task
    scene.check()
    assert scene.charging.releases == []
    assert scene.vendors.asked == []


@BOTH
async def test_a_client_that_leaves_while_the_charge_is_settled(stream: str) -> None:
    scene = Scene()
    scene.charging.release_gate = asyncio.Event()
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END)
    client, task = scene.begin(f"stream={stream}")
    await asyncio.sleep(1.0)
    client.leave()
    await asyncio.sleep(1.0)
    scene.charging.release_gate.set()
    await task
    scene.check()
    assert (scene.used, scene.cause) == ((3, 0, 0, 2, 0), "normal")


async def test_a_client_that_does_not_read_is_waited_for_and_its_leaving_is_seen() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), FINISH, counted(input=3, output=100), END)
    client, task = scene.begin("stream=yes")
    client.reading = asyncio.Event()
    await asyncio.sleep(5.0)
    assert scene.charging.releases == []
    client.leave()
    await task
    scene.check()
    assert scene.cause == "client_gone"
    assert scene.attempts == [("acme", "answered", 200)]


async def test_an_update_under_way_does_not_follow_the_release() -> None:
    scene = Scene(FakeCharging(validity_ms=3_000))
    scene.charging.update_gate = asyncio.Event()
    scene.vendors.answers(say("hello"), 2.0, FINISH, counted(input=3, output=2), END)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(10.0)
    scene.charging.update_gate.set()
    await task
    await asyncio.sleep(10.0)
    scene.check()
    assert client.ended
    assert len(scene.charging.updates) == 1


@BOTH
async def test_an_update_that_did_not_begin_does_not_follow_the_release(stream: str) -> None:
    # All comes at once, and near the end of the window more is asked for in the background.
    scene = Scene(FakeCharging(window=100))
    scene.vendors.answers(say(words(85)) + FINISH + counted(input=3, output=85) + END)
    client = await scene.call(f"stream={stream} limit=1000")
    await asyncio.sleep(1.0)
    scene.check()
    assert b"[complete]" in client.body


@pytest.mark.parametrize("takes_all", [True, False])
async def test_owners_of_the_release_before_get_classes_and_causes_that_they_know(takes_all: bool) -> None:
    scene = Scene(FakeCharging(takes_all_classes=takes_all))
    scene.vendors.answers(say("hello", "count input=3 audio_input=4 cache_write_1h=5 output=2 audio_output=1"), 9.0)
    _, task = scene.begin("stream=yes")
    await asyncio.sleep(1.0)
    scene.principals.revoke()
    await task
    scene.check()
    if takes_all:
        assert scene.used == (3, 0, 0, 2, 0, 5, 4, 0, 1)
        assert scene.cause == "revoked"
    else:
        assert scene.used == (7, 0, 5, 3, 0)
        assert scene.cause == "quota_exhausted"
        assert not scene.charging.release_message.HasField("unpaid")


async def test_a_key_revoked_while_the_body_comes_begins_no_call() -> None:
    scene = Scene()
    client, task = scene.begin("stream=yes")
    client.body_may_come = asyncio.Event()
    await asyncio.sleep(1.0)
    scene.principals.revoke()
    client.body_may_come.set()
    await task
    assert client.status == 401
    assert scene.charging.creates == []
    assert scene.vendors.asked == []
    assert scene.principals.revocations == []


async def test_a_revoked_key_is_told_behind_its_release() -> None:
    scene = Scene()
    scene.charging.release_gate = asyncio.Event()
    scene.vendors.answers(say("hello"), 60.0)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(1.0)
    scene.principals.revoke()
    await asyncio.sleep(5.0)
    assert len(scene.charging.releases) == 1
    assert scene.vendors.asked[0].closed_at_s == 1.0
    assert b"error" not in client.body
    scene.charging.release_gate.set()
    await task
    assert b"error 401" in client.body
