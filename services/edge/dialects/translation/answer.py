"""A vendor's answer on its way to a client of another dialect. Pure.

The vendor's dialect reads and counts each event. Its client's part is then told in the client's own dialect: all that the client
gets was counted.
"""

from typing import Final

import msgspec

from services.edge.call.dialect import Answer, Ending, Step
from services.edge.dialects.tally import has_output
from services.edge.dialects.translation.telling import Reader, Telling, Told
from services.edge.http.problems import Problem
from services.edge.vendors.events import Event
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import Vector

# The end of reading what no dialect has: members of another type, or none.
_ODD: Final = (AttributeError, KeyError, TypeError, RecursionError, msgspec.DecodeError)


class TranslatedAnswer:
    """See `services.edge.call.dialect.Answer`."""

    def __init__(self, vendors: Answer, reader: Reader, telling: Telling) -> None:
        """`vendors`: the answer in the vendor's dialect, as a stream."""
        self.content_type = telling.content_type
        self.tells_usage = telling.tells_usage
        self._vendors = vendors
        self._reader = reader
        self._telling = telling
        self._last_says = False

    def feed(self, event: Event) -> Step:
        """See `services.edge.call.dialect.Answer`."""
        return self._told(self._vendors.feed(event))

    def feed_whole(self, body: bytes) -> Step:
        """See `services.edge.call.dialect.Answer`."""
        return self._told(self._vendors.feed_whole(body))

    def _told(self, step: Step) -> Step:
        self._last_says = has_output(step)
        try:
            # Without events too: what was told before has been sent.
            out = self._telling.tell(self._reader.read(step.out) if step.out else ())
        except _ODD:
            raise VendorFailure("garbage", 200) from None
        return Step(out, *step[1:]) if step.out else step

    def end(self, ending: Ending, used: Vector) -> bytes:
        """See `services.edge.call.dialect.Answer`."""
        if ending is Ending.CUT:
            if self._last_says:
                self._telling.take_back()
            return self._telling.end(used, is_cut=True)
        told = b"".join(map(self._told_last, self._rest(self._vendors.end(ending, used))))
        return told + self._telling.end(used, is_cut=False)

    def _told_last(self, told: Told) -> bytes:
        """The client's events for a part of the vendor's last event; none where that has no place, such as an item's other kind."""
        try:
            return self._telling.tell((told,))
        except VendorFailure:
            return b""

    def _rest(self, out: bytes) -> list[Told]:
        """The meaning of the vendor's last event; none where it has none. The answer is charged by now, and must not fail."""
        try:
            return self._reader.read(out)
        except _ODD:
            return []

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Answer`."""
        return self._telling.interrupted(problem, charging_id, is_unsent=self._last_says)
