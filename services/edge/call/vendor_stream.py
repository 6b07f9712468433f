"""One vendor's answer on its way: bytes, events, steps. It is read to the end of its body, within bounds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from services.edge.call.dialect import Answer, Step
from services.edge.vendors.events import Event, EventReader
from services.edge.vendors.vendor import VendorAnswer, VendorFailure

# After its terminal event a stream may say its count; for this long, and this many bytes.
_AFTER_END_S: Final = 2.0
_AFTER_END_BYTES: Final = 64 * 1024
# So many events on end that say nothing are no answer: pings come every few seconds, and the longest answer has an end.
_SILENT_EVENTS_MAX: Final = 10_000
_NOTHING: Final = Step()


class VendorStream:
    """A vendor's answer as events, each of which is fed to the dialect when its turn comes. Close it, also after an error."""

    def __init__(self, vendor: VendorAnswer, answer: Answer, whole_bytes_max: Callable[[], int], *, streamed: bool) -> None:
        """`streamed` says what the vendor was asked for; where it names another of the two, that is believed.

        `whole_bytes_max` is asked of an answer that is not streamed: a longer one is garbage.
        """
        self._vendor = vendor
        named = vendor.content_type
        self.is_streamed = "event-stream" in named or (streamed and "json" not in named)
        # Asked here: a call that its own stream knew would wait for the garbage collector, with its body.
        self._whole_bytes_max = 0 if self.is_streamed else whole_bytes_max()
        self._pieces: AsyncIterator[bytes] | None = None
        self._reader = EventReader()
        self._bytes_after_end = 0
        self._silent_events = 0
        # The body has ended, or what is still to come is nobody's business.
        self._over = False
        self.answer = answer
        # Every choice has said how it ends; the terminal event has come.
        self.finished = False
        self.ended = False

    async def next(self) -> list[Event]:
        """The events that have come since, at least one; none at the end. A whole answer is one event.

        Errors: `VendorFailure` when the answer breaks off.
        """
        if not self.is_streamed:
            return await self._whole()
        while not self._over:
            try:
                if self.ended:
                    async with asyncio.timeout(_AFTER_END_S):
                        events = await self._read()
                else:
                    events = await self._read()
            except TimeoutError:
                self._over = True
            except VendorFailure:
                # All of the answer has come: what breaks now is of no interest to anybody.
                if not self.finished and not self.ended:
                    raise
                self._over = True
            else:
                if events:
                    return events
        if not self.finished and not self.ended:
            raise VendorFailure("broken", 200)
        return []

    def feed(self, event: Event) -> Step:
        """What an event means. Errors: `VendorFailure` when it is none of the dialect, or says nothing for too long."""
        if not self.is_streamed:
            self.finished = self.ended = True
            return self.answer.feed_whole(event.data)
        try:
            step = self.answer.feed(event)
        except VendorFailure:
            if self._over:
                # What stood at the end without an empty line was half an event.
                return _NOTHING
            raise
        says = step.said or step.thought or step.opaque_bytes or step.calls
        self._silent_events = 0 if says else self._silent_events + 1
        if self._silent_events > _SILENT_EVENTS_MAX:
            raise VendorFailure("garbage", 200)
        self.finished = self.finished or step.finished
        self.ended = self.ended or step.ended
        return step

    async def _whole(self) -> list[Event]:
        if self._over:
            return []
        self._over = True
        return [Event("", await self._vendor.read(self._whole_bytes_max))]

    async def _read(self) -> list[Event]:
        if self._pieces is None:
            self._pieces = self._vendor.pieces()
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._over = True
            return self._reader.end()
        except BaseException:
            # A generator is over with what was raised in it; an answer whose client left is read on by another.
            self._pieces = None
            raise
        if self.ended:
            self._bytes_after_end += len(piece)
            if self._bytes_after_end > _AFTER_END_BYTES:
                self._over = True
                return []
        return self._reader.feed(piece)

    def close(self) -> None:
        """Ends the answer; a vendor that is still at work is cut off."""
        self._vendor.close()
