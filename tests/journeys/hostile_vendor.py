"""A raw HTTP server whose next answers the test writes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(content: str | None = None, finish_reason: str | None = None, **fields: Any) -> bytes:
    """An event of a stream with one choice; `fields` are added beside its choices."""
    delta = {} if content is None else {"content": content}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return b"data: " + msgspec.json.encode({"id": "c", "created": 1, "model": "m", "choices": choices, **fields}) + b"\n\n"


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """A usage object."""
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}


async def _until_either(*works: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class HostileVendor:
    """The connection is closed after each answer, and an answer that goes on ends when the edge hangs up."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answer: Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None] | None] = lambda writer: writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.requests.append(await reader.readexactly(length))
            answering = self.answer(writer)
            if answering is not None:
                await _until_either(answering, reader.read())
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def says(self, body: dict[str, Any]) -> None:
        """The next answers are this completion."""
        content = msgspec.json.encode(body)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content)
        self.answer = lambda writer: writer.write(head + content)

    def streams(self, *events: bytes) -> None:
        """The next answers are streams of these events, and end with them."""
        self.answer = lambda writer: writer.write(STREAM + b"".join(events))

    def streams_and_waits(self, *events: bytes) -> None:
        """The next answers are streams of these events that go on until the edge hangs up."""

        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(STREAM + b"".join(events))
            await asyncio.Event().wait()

        self.answer = answer
