"""A vendor's sound on its way to the client: bytes pass as they come. Pure."""

from typing import Final

from services.edge.call.dialect import Ending, Step
from services.edge.dialects.refusals import refusal_in
from services.edge.http.problems import Problem
from services.edge.vendors.events import Event
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import Vector

# Content types by the form that is asked for.
TYPES: Final = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
# The slowest voice speaks four characters a second, of 192 kB each second as two channels of plain numbers; and pauses.
_CHARACTER_BYTES_MAX: Final = 256 * 1024
_PAUSES_BYTES_MAX: Final = 4 * 1024 * 1024


class SpeechAnswer:
    """See `services.edge.call.dialect.Answer`. Its stream has no words: it ends where the sound does, or is cut off."""

    # It has no place for counts.
    tells_usage = None

    def __init__(self, content_type: str, characters: int) -> None:
        """`content_type`: that of the form that was asked for; the vendor's own stands where it names one.

        `characters`: those that are paid for. No voice makes more sound of them than a bound, however it is coded.
        """
        self.content_type = content_type
        self._bytes_left = _PAUSES_BYTES_MAX + characters * _CHARACTER_BYTES_MAX

    def feed(self, event: Event) -> Step:
        """See `services.edge.call.dialect.Answer`. An event is a piece of the sound, which has an end."""
        self._bytes_left -= len(event.data)
        if self._bytes_left < 0:
            raise VendorFailure("garbage", 200)
        return Step(out=event.data, sound_bytes=len(event.data))

    def feed_whole(self, body: bytes) -> Step:
        """See `services.edge.call.dialect.Answer`. An answer that is no sound is none."""
        raise refusal_in(body)

    def end(self, ending: Ending, used: Vector) -> bytes:
        """See `services.edge.call.dialect.Answer`."""
        return b""

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Answer`. Words would be heard as sound."""
        return b""
