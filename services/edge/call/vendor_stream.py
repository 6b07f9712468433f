"""One vendor's answer on its way: bytes, events, steps. Reads to the end of the body, within bounds."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Final

from services.edge.call.dialect import Answer, Step
from services.edge.call.threads import in_thread
from services.edge.vendors.events import Event, EventReader, PieceReader
from services.edge.vendors.vendor import VendorAnswer, VendorFailure

# After its terminal event a stream may tell its count, within this time and this many bytes.
_AFTER_END_S: Final = 2.0
_AFTER_END_BYTES: Final = 64 * 1024
# At most this many events in a row may say nothing: pings come every few seconds, and the longest answer has an end.
_SILENT_EVENTS_MAX: Final = 10_000
# The order of its members, or whether one is there, tells a little. So events that say nothing are free up to a number, which each
# event with output fills up; further ones count as this many bytes.
_SILENT_FREE_MAX: Final = 256
_SILENT_FREE_A_PIECE: Final = 4
_SILENT_BYTES: Final = 16
_DIGITS: Final = b"0123456789"
# Whole answers up to this size are read in a few milliseconds; vectors of many inputs have 60 MB.
_READ_INLINE_BYTES_MAX: Final = 1_000_000
_NOTHING: Final = Step()
_SOUND: Final = re.compile(r"(audio/[a-z0-9.+-]{1,64}|application/octet-stream)(;.*)?")
# A type with its parameters, such as the rate of plain numbers, as a client can be told it; a longer one is no type but a text.
_TOLD: Final = re.compile(r"[ -~]{1,128}")


class VendorStream:
    """A vendor's answer as events, each of which is fed to the dialect in turn. Close it, also after an error."""

    def __init__(
        self,
        vendor: VendorAnswer,
        answer: Answer,
        whole_bytes_max: Callable[[], int],
        *,
        streamed: bool,
        relays_bytes: bool = False,
    ) -> None:
        """`streamed`: the kind of answer that the vendor was asked for; if the vendor names the other kind, that is believed.

        `relays_bytes`: it was asked for sound, which comes in pieces; an answer of another type is a whole one.

        `whole_bytes_max` is called for an answer that is not streamed: a longer one is garbage.
        """
        self._vendor = vendor
        named = vendor.content_type
        # The type of sound; empty for other answers, and where the vendor does not name it.
        self.sound_type = ""
        self._ends_with_body = relays_bytes
        if relays_bytes:
            sound = _SOUND.fullmatch(named)
            self.is_streamed = not named or sound is not None
            if sound is not None and named.startswith("audio/"):
                self.sound_type = named if _TOLD.fullmatch(named) else sound[1]
        else:
            self.is_streamed = "event-stream" in named or (streamed and "json" not in named)
        # Called here, so that the stream does not hold its call.
        self._whole_bytes_max = 0 if self.is_streamed else whole_bytes_max()
        self._pieces: AsyncIterator[bytes] | None = None
        self._reader = PieceReader() if relays_bytes else EventReader()
        self._bytes_after_end = 0
        self._silent_events = 0
        self._silent_free = _SILENT_FREE_MAX
        self._silent_last = (0, b"")
        # Set when the body has ended, or the rest of it does not matter.
        self._over = False
        self.answer = answer
        # Set when every choice has ended; then, when the terminal event has come.
        self.finished = False
        self.ended = False

    async def next(self) -> list[Event]:
        """The new events, at least one; none at the end. A whole answer is one event.

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
                # The whole answer has come, so that a broken connection changes nothing.
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
        """The meaning of an event. Errors: `VendorFailure` for an event outside the dialect, or after too many that say nothing."""
        if not self.is_streamed:
            self.finished = self.ended = True
            return self.answer.feed_whole(event.data)
        try:
            step = self.answer.feed(event)
        except VendorFailure:
            if self._over:
                # An event at the end without an empty line was half an event.
                return _NOTHING
            raise
        if step.said or step.thought or step.opaque_bytes or step.calls or step.sound_bytes:
            self._silent_events = 0
            self._silent_free = min(self._silent_free + _SILENT_FREE_A_PIECE, _SILENT_FREE_MAX)
        else:
            step = self._silent(step)
        self.finished = self.finished or step.finished
        self.ended = self.ended or step.ended
        return step

    def _silent(self, step: Step) -> Step:
        """Counts a step without output that the client is sent, unless it repeats the one before, except for numbers.

        Errors: `VendorFailure` after too many of any kind.
        """
        self._silent_events += 1
        if self._silent_events > _SILENT_EVENTS_MAX:
            raise VendorFailure("garbage", 200)
        if not step.out:
            return step
        # Numbers that rise, as those of events do, are paid by the answer's metadata.
        silent = step.choice, step.out.translate(None, _DIGITS)
        if silent == self._silent_last:
            return step
        self._silent_last = silent
        if self._silent_free:
            self._silent_free -= 1
            return step
        return step._replace(said=step.out[-_SILENT_BYTES:].decode("utf-8", "replace"))

    async def fed(self, event: Event) -> Step:
        """`feed`, off the event loop where an answer that came as one is so large that reading it would hold others up."""
        if not self.is_streamed and len(event.data) > _READ_INLINE_BYTES_MAX:
            return await in_thread(self.feed, event)
        return self.feed(event)

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
            self.ended = self.ended or self._ends_with_body
            return self._reader.end()
        except BaseException:
            # A generator ends with an exception raised in it; another one reads on the answer of a client that left.
            self._pieces = None
            raise
        if self.ended:
            self._bytes_after_end += len(piece)
            if self._bytes_after_end > _AFTER_END_BYTES:
                self._over = True
                return []
        return self._reader.feed(piece)

    def close(self) -> None:
        """Ends the answer; cuts off a vendor that is still at work."""
        self._vendor.close()
