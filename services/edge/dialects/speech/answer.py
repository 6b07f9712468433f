"""A vendor's sound on its way to the client: bytes pass as they come. Pure."""

from typing import Final

from services.edge.call.dialect import Ending, Step
from services.edge.dialects.refusals import refusal_in
from services.edge.http.problems import Problem
from services.edge.vendors.events import Event
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


class SpeechAnswer:
    """See `services.edge.call.dialect.Answer`. Its stream has no words: it ends where the sound does, or is cut off."""

    # It has no place for counts.
    tells_usage = None

    def __init__(self, content_type: str) -> None:
        """`content_type`: that of the form that was asked for; the vendor's own stands where it names one."""
        self.content_type = content_type

    def feed(self, event: Event) -> Step:
        """See `services.edge.call.dialect.Answer`. An event is a piece of the sound."""
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
