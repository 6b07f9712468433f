"""The answer to a client: begun once, ended once, kept alive in between."""

import asyncio
from typing import Any

from services.edge.http.stream import ClientAnswer

COMMENT = b": keep-alive\n\n"


class Sent:
    """What was sent, and when; a client that does not read holds it up."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.messages.append((asyncio.get_running_loop().time(), message))

    @property
    def bodies(self) -> list[tuple[float, bytes]]:
        return [(at_s, message["body"]) for at_s, message in self.messages if "body" in message]


async def test_comments_come_after_each_interval_without_anything() -> None:
    sent = Sent()
    answer = ClientAnswer(sent.send, [(b"x-request-id", b"1")])
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
    answer = ClientAnswer(sent.send, [])
    answer.expect_stream("text/event-stream", 15.0)
    await asyncio.sleep(1.0)
    sent.reads.clear()
    await asyncio.sleep(200.0)
    sent.reads.set()
    await asyncio.sleep(1.0)
    assert [body for _, body in sent.bodies] == [COMMENT]
    answer.stop()
    await asyncio.sleep(200.0)
    assert len(sent.bodies) == 1


async def test_one_answer_is_sent() -> None:
    sent = Sent()
    answer = ClientAnswer(sent.send, [])
    await answer.whole(200, "text/plain", b"one")
    await answer.whole(500, "text/plain", b"two")
    await answer.end_stream(b"three")
    assert [body for _, body in sent.bodies] == [b"one"]
    assert (b"content-length", b"3") in sent.messages[0][1]["headers"]


async def test_a_stream_ends_once() -> None:
    sent = Sent()
    answer = ClientAnswer(sent.send, [])
    answer.expect_stream("text/event-stream", 15.0)
    await answer.send(b"one")
    await answer.end_stream(b"two")
    await answer.end_stream(b"three")
    assert [body for _, body in sent.bodies] == [b"one", b"two"]


async def test_a_header_that_is_added_again_is_replaced() -> None:
    sent = Sent()
    answer = ClientAnswer(sent.send, [])
    answer.add_header(b"a", b"1")
    answer.add_header(b"b", b"1")
    answer.add_header(b"a", b"2")
    await answer.whole(200, "text/plain", b"")
    assert [header for header in sent.messages[0][1]["headers"] if header[0] in (b"a", b"b")] == [(b"b", b"1"), (b"a", b"2")]
