"""The answer to a client: begun once, ended once, kept alive in between."""

import asyncio

import pytest

from services.edge.http.problems import Problem, unavailable
from services.edge.http.stream import ClientAnswer
from tests.edge.call.doubles import CallClient

COMMENT = b": keep-alive\n\n"


class Sent(CallClient):
    """What was sent, and when."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.was_cut = False

    def cut(self) -> None:
        self.was_cut = True

    @property
    def bodies(self) -> list[tuple[float, bytes]]:
        return [(at_s, message["body"]) for at_s, message in self.messages if "body" in message]


async def test_comments_come_after_each_interval_without_anything() -> None:
    sent = Sent()
    answer = ClientAnswer(sent, [(b"x-request-id", b"1")])
    answer.expect_stream("text/event-stream", 15.0)
    await asyncio.sleep(20.0)
    await answer.send(b"data: 1\n\n")
    await asyncio.sleep(14.0)
    await answer.send(b"data: 2\n\n")
    await asyncio.sleep(40.0)
    await answer.end_stream(b"data: 3\n\n")
    await asyncio.sleep(100.0)
    expected = [
        (15.0, COMMENT),
        (20.0, b"data: 1\n\n"),
        (34.0, b"data: 2\n\n"),
        (49.0, COMMENT),
        (64.0, COMMENT),
        (74.0, b"data: 3\n\n"),
    ]
    assert sent.bodies == expected
    head = sent.messages[0][1]
    assert head["status"] == 200
    assert (b"content-type", b"text/event-stream") in head["headers"]
    assert (b"x-request-id", b"1") in head["headers"]
    assert [message.get("more_body") for _, message in sent.messages[1:]] == [True] * 5 + [False]


async def test_a_client_that_does_not_read_gets_no_heap_of_comments() -> None:
    sent = Sent()
    answer = ClientAnswer(sent, [])
    answer.expect_stream("text/event-stream", 15.0)
    await asyncio.sleep(1.0)
    sent.reading = asyncio.Event()
    await asyncio.sleep(200.0)
    assert sent.bodies == []
    sent.reading.set()
    await asyncio.sleep(15.0)
    assert [body for _, body in sent.bodies] == [COMMENT]
    answer.stop()
    await asyncio.sleep(200.0)
    assert len(sent.bodies) == 1


async def test_events_wait_for_a_client_that_does_not_read() -> None:
    sent = Sent()
    answer = ClientAnswer(sent, [])
    answer.expect_stream("text/event-stream", 1_000.0)
    for at_s, send, event in ((10.0, answer.send, b"data: 1\n\n"), (20.0, answer.end_stream, b"data: 2\n\n")):
        sent.reading = asyncio.Event()
        sending = asyncio.create_task(send(event))
        await asyncio.sleep(10.0)
        assert not sending.done()
        assert event not in [body for _, body in sent.bodies]
        sent.reading.set()
        await sending
        assert sent.bodies[-1] == (at_s, event)


async def test_nothing_follows_a_stream_that_has_ended() -> None:
    sent = Sent()
    answer = ClientAnswer(sent, [])
    answer.expect_stream("text/event-stream", 15.0)
    beats = sent.on_half_closed
    assert beats is not None
    await answer.send(b"one")
    await answer.end_stream(b"two")
    beats()
    assert [body for _, body in sent.bodies] == [b"one", b"two"]


async def test_one_answer_is_sent() -> None:
    sent = Sent()
    answer = ClientAnswer(sent, [])
    await answer.whole(200, "text/plain", b"one")
    await answer.whole(500, "text/plain", b"two")
    await answer.end_stream(b"three")
    assert [body for _, body in sent.bodies] == [b"one"]
    assert (b"content-length", b"3") in sent.messages[0][1]["headers"]


async def test_a_stream_ends_once() -> None:
    sent = Sent()
    answer = ClientAnswer(sent, [])
    answer.expect_stream("text/event-stream", 15.0)
    await answer.send(b"one")
    await answer.end_stream(b"two")
    await answer.end_stream(b"three")
    assert [body for _, body in sent.bodies] == [b"one", b"two"]


async def test_a_header_that_is_added_again_is_replaced() -> None:
    sent = Sent()
    answer = ClientAnswer(sent, [])
    answer.add_header(b"a", b"1")
    answer.add_header(b"b", b"1")
    answer.add_header(b"a", b"2")
    answer.add_header(b"c", b"3")
    answer.add_header(b"c", b"")
    await answer.whole(200, "text/plain", b"")
    assert [header for header in sent.messages[0][1]["headers"] if header[0] in (b"a", b"b", b"c")] == [(b"b", b"1"), (b"a", b"2")]


async def test_a_client_that_sends_no_more_gets_a_comment_at_once_that_tells_whether_it_reads() -> None:
    sent = Sent()
    answer = ClientAnswer(sent, [])
    answer.expect_stream("text/event-stream", 15.0)
    await asyncio.sleep(1.0)
    assert sent.on_half_closed is not None
    sent.on_half_closed()
    assert sent.bodies == [(1.0, COMMENT)]
    await answer.end_stream(b"data: 1\n\n")
    assert sent.on_half_closed is None


async def test_sound_has_no_comments_and_the_type_that_its_vendor_named() -> None:
    sent = Sent()
    answer = ClientAnswer(sent, [])
    answer.expect_stream("audio/mpeg", 15.0)
    await asyncio.sleep(100.0)
    assert (sent.messages, sent.on_half_closed) == ([], None)
    answer.stream_content_type = "audio/wav"
    await answer.send(b"sound")
    await asyncio.sleep(100.0)
    await answer.end_stream(b"")
    assert (b"content-type", b"audio/wav") in sent.messages[0][1]["headers"]
    assert [body for _, body in sent.bodies if body] == [b"sound"]


async def test_a_stream_that_can_not_go_on_has_last_words_or_is_cut_off() -> None:
    problem = unavailable("it")
    spoken = Sent()
    answer = ClientAnswer(spoken, [])
    answer.expect_stream("text/event-stream", 15.0)
    await answer.send(b"data: 1\n\n")
    await answer.break_off(problem, b"data: sorry\n\n")
    assert [body for _, body in spoken.bodies] == [b"data: 1\n\n", b"data: sorry\n\n"]
    mute = Sent()
    answer = ClientAnswer(mute, [])
    answer.expect_stream("audio/mpeg", 15.0)
    # Nothing was sent: the problem is the answer.
    with pytest.raises(Problem):
        await answer.break_off(problem, b"")
    await answer.send(b"sound")
    await answer.break_off(problem, b"")
    await answer.end_stream(b"more")
    assert [body for _, body in mute.bodies if body] == [b"sound"]
    assert mute.was_cut
