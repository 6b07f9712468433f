"""One vendor's answer on its way: bytes, events, steps. Reads to the end of the body, within bounds."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from services.edge.call.dialect import Answer, Step
from services.edge.vendors.events import EventReader
from services.edge.vendors.vendor import VendorAnswer, VendorFailure

# After its terminal event a stream may say its count; for this long, and this many bytes.
_AFTER_END_S: Final = 2.0
_AFTER_END_BYTES: Final = 64 * 1024


class VendorStream:
    """A vendor's answer as steps. Close it, also after an error."""

    def __init__(self, vendor: VendorAnswer, answer: Answer, *, streamed: bool) -> None:
        """`streamed` says what the vendor was asked for; what it sends is believed where it says that it is JSON."""
        self._vendor = vendor
        self.is_streamed = streamed and "json" not in vendor.content_type
        self._pieces: AsyncIterator[bytes] | None = None
        self._reader = EventReader()
        self._bytes_after_end = 0
        self._over = False
        # What came in one piece with steps that are handed out first.
        self._failure: VendorFailure | None = None
        self.answer = answer
        # Every choice has said how it ends; the terminal event has come.
        self.finished = False
        self.ended = False

    async def next(self) -> list[Step]:
        """The steps that have come since, at least one; none at the end of the answer.

        Errors: `VendorFailure` when it breaks off, is no answer, or tells of the vendor's failure.
        """
        if not self.is_streamed:
            return await self._whole()
        if self._failure is not None:
            raise self._failure
        while not self._over:
            try:
                if self.ended:
                    async with asyncio.timeout(_AFTER_END_S):
                        steps = await self._read()
                else:
                    steps = await self._read()
            except TimeoutError:
                self._over = True
            except VendorFailure:
                # All of the answer has come: what breaks now is of no interest to anybody.
                if not self.finished and not self.ended:
                    raise
                self._over = True
            else:
                if steps:
                    return steps
        if not self.finished and not self.ended:
            raise VendorFailure("broken", 200)
        return []

    async def _whole(self) -> list[Step]:
        if self._over:
            return []
        step = self.answer.feed_whole(await self._vendor.read())
        self._over = self.finished = self.ended = True
        return [step]

    async def _read(self) -> list[Step]:
        if self._pieces is None:
            self._pieces = self._vendor.pieces()
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._over = True
            return self._rest()
        except BaseException:
            # A generator is over with what was raised in it; an answer whose client left is read on by another.
            self._pieces = None
            raise
        if self.ended:
            self._bytes_after_end += len(piece)
            self._over = self._bytes_after_end > _AFTER_END_BYTES
        steps: list[Step] = []
        try:
            for event in self._reader.feed(piece):
                steps.append(self._note(self.answer.feed(event)))
        except VendorFailure as failure:
            if not steps:
                raise
            self._failure = failure
        return steps

    def _rest(self) -> list[Step]:
        """What stands after the last empty line: an event is taken if it is whole."""
        steps = []
        for event in self._reader.end():
            try:
                steps.append(self._note(self.answer.feed(event)))
            except VendorFailure:
                break
        return steps

    def _note(self, step: Step) -> Step:
        self.finished = self.finished or step.finished
        self.ended = self.ended or step.ended
        return step

    def close(self) -> None:
        """Ends the answer; a vendor that is still at work is cut off."""
        self._vendor.close()
