"""Answers that come as one, and how they are read."""

import threading
from collections.abc import AsyncIterator

import pytest

from services.edge.call.dialect import Step
from services.edge.call.vendor_stream import VendorStream
from services.edge.vendors.events import Event
from tests.edge.call.line_dialect import LineAnswer


class _Reading(LineAnswer):
    """Notes the threads in which it reads."""

    def __init__(self) -> None:
        super().__init__(streamed=False)
        self.threads: list[threading.Thread] = []

    def feed_whole(self, body: bytes) -> Step:
        self.threads.append(threading.current_thread())
        return Step()


class _Whole:
    """A vendor's answer that is not streamed."""

    content_type = "application/json"

    def pieces(self) -> AsyncIterator[bytes]:
        raise AssertionError("it is not streamed")

    async def read(self, bytes_max: int = 0) -> bytes:
        return b""

    def close(self) -> None: ...


@pytest.mark.parametrize(("size", "is_on_loop"), [(1_000_000, True), (1_000_001, False)])
async def test_a_large_answer_that_comes_as_one_is_read_off_the_event_loop(size: int, is_on_loop: bool) -> None:
    answer = _Reading()
    stream = VendorStream(_Whole(), answer, lambda: size, streamed=False)
    await stream.fed(Event("", bytes(size)))
    assert [thread is threading.main_thread() for thread in answer.threads] == [is_on_loop]
    assert (stream.finished, stream.ended) == (True, True)
