"""A vendor's text of a sound on its way to the client. Pure.

The vendor is asked for JSON, in which it counts, and the client gets the form that it asked for. The vendor's count is in tokens or
in seconds; the meter takes that in which the model is charged.
"""

import math
from typing import Any, Final

import msgspec

from services.edge.call.dialect import Ending, Step
from services.edge.dialects.json_text import NOT_JSON, encode
from services.edge.dialects.refusals import refusal_in
from services.edge.dialects.transcriptions.beside import told_beside
from services.edge.dialects.transcriptions.subtitles import srt, vtt
from services.edge.http.problems import Problem, problem_body
from services.edge.vendors.events import Event
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.usage import COUNT_MAX, TRANSCRIPTIONS, VendorCount, read_usage
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INDEX, NOTHING, Vector, total_input, total_output

_MS: Final = 1_000
_MILLISECONDS: Final = INDEX["audio_milliseconds"]
_TYPES: Final = {"text": "text/plain; charset=utf-8", "srt": "text/plain; charset=utf-8", "vtt": "text/vtt; charset=utf-8"}


class TranscriptionAnswer:
    """See `services.edge.call.dialect.Answer`. It never streams."""

    tells_usage = None

    def __init__(self, reading: UsageReading, wanted: str) -> None:
        """`wanted`: the form that the client asked for."""
        self.content_type = _TYPES.get(wanted, "application/json")
        self._reading = reading
        self._wanted = wanted
        self._whole: dict[str, Any] = {}
        # The answer in another form than JSON.
        self._text = ""

    def feed(self, event: Event) -> Step:
        """See `services.edge.call.dialect.Answer`. No vendor is asked to stream a transcription."""
        raise VendorFailure("garbage", 200)

    def feed_whole(self, body: bytes) -> Step:
        """See `services.edge.call.dialect.Answer`."""
        try:
            whole = msgspec.json.decode(body)
        except NOT_JSON:
            raise refusal_in(body) from None
        if not isinstance(whole, dict) or not isinstance(whole.get("text"), str):
            raise refusal_in(body)
        self._whole = whole
        self._text = self._formed()
        beside = told_beside(whole) if self._wanted != "text" else ""
        return Step(said=whole["text"] + beside, counted=self._count(), finished=True, ended=True)

    def _formed(self) -> str:
        """The answer in a form of text. Errors: `VendorFailure` garbage where the vendor did not tell the times of its text."""
        text: str = self._whole["text"]
        if self._wanted not in ("srt", "vtt"):
            return text
        segments = self._whole.get("segments")
        if not isinstance(segments, list):
            raise VendorFailure("garbage", 200)
        return srt(segments) if self._wanted == "srt" else vtt(segments)

    def _count(self) -> VendorCount:
        usage = self._whole.get("usage")
        counted = read_usage(usage, TRANSCRIPTIONS, self._reading) or VendorCount(NOTHING, has_input=False, has_output=False)
        seconds = usage.get("seconds") if isinstance(usage, dict) else None
        length = _ms(self._whole.get("duration") if seconds is None else seconds)
        if length is None:
            return counted._replace(is_odd=True)
        if not length:
            return counted
        counts = (*counted.counts, *(0,) * (_MILLISECONDS - len(counted.counts)), length)
        return counted._replace(counts=counts, has_input=True)

    def end(self, ending: Ending, used: Vector) -> bytes:
        """See `services.edge.call.dialect.Answer`. The usage that is told is the charged one."""
        if self._wanted in _TYPES:
            return self._text.encode("utf-8", "surrogatepass")
        return encode({**self._whole, "usage": _told(used)})

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Answer`."""
        return problem_body(problem)


def _ms(seconds: Any) -> int | None:
    """A length in milliseconds; 0: none is told; None: it is no length."""
    if seconds is None:
        return 0
    if type(seconds) not in (int, float) or not math.isfinite(seconds) or not 0 <= seconds * _MS <= COUNT_MAX:
        return None
    length: int = math.ceil(seconds * _MS)
    return length


def _told(used: Vector) -> dict[str, Any]:
    """The charged usage, as the dialect has it."""
    if any(used[_MILLISECONDS:]):
        return {"type": "duration", "seconds": -(-used[_MILLISECONDS] // _MS)}
    tokens, text = total_input(used), total_output(used)
    return {"type": "tokens", "input_tokens": tokens, "output_tokens": text, "total_tokens": tokens + text}
