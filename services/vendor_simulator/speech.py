"""OpenAI's speech: the request as it is read, and a WAV of a tone, a twentieth of a second for each character."""

import array
import io
import math
import wave
from collections.abc import Iterator
from typing import Final, cast

import msgspec

from services.vendor_simulator.answer import CountedAnswer, count
from services.vendor_simulator.errors import RefusedError, error_body
from services.vendor_simulator.reading import Names, read_body
from services.vendor_simulator.simulate import PLAIN, Simulate

_RATE: Final = 8_000
_SAMPLES_A_CHARACTER: Final = _RATE // 20
_TONE_HZ: Final = 440
_LOUDNESS: Final = 8_000


class SpeechRequest(msgspec.Struct, frozen=True):
    """The fields that change the answer; all others are accepted and ignored, as long as the body is JSON."""

    model: str
    input: str
    voice: str | None = None
    user: str | None = None
    simulate: Simulate = PLAIN

    @property
    def stream(self) -> bool:
        """Sound comes as it is made."""
        return True

    @property
    def last_text(self) -> str:
        """The text to speak."""
        return self.input


_strict_type: Final = msgspec.defstruct("StrictSpeechRequest", [], bases=(SpeechRequest,), frozen=True, forbid_unknown_fields=True)
_strict: Final = msgspec.json.Decoder(cast(type[SpeechRequest], _strict_type))
_NAMES: Final[Names] = dict.fromkeys(("model", "input", "voice", "user", "simulate"))


def parse_speech(body: bytes) -> SpeechRequest:
    """The request in `body`, read as Go reads it. Errors: `RefusedError` with status 400, which names the field at fault."""
    request = read_body(body, _strict, _NAMES, error_body)
    if not request.input:
        raise RefusedError(400, error_body("Invalid 'input': empty string.", "invalid_request_error", "invalid_value", "input"))
    return request


class SpeechEvents:
    """The sound in pieces: a head, some samples for each character, and nothing at the end."""

    def __init__(self, characters: int) -> None:
        self._characters = characters

    def head(self) -> bytes:
        """The head of a WAV that says its whole length."""
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(_RATE)
            sound.setnframes(self._characters * _SAMPLES_A_CHARACTER)
            sound.writeframes(b"".join(self._samples(0, self._characters)))
        return file.getvalue()[: -self._characters * _SAMPLES_A_CHARACTER * 2]

    def content(self, start: int, count: int) -> bytes:
        """The samples of the characters from `start` on, `count` of them."""
        return b"".join(self._samples(start, count))

    def _samples(self, start: int, count: int) -> Iterator[bytes]:
        for character in range(start, start + count):
            first = character * _SAMPLES_A_CHARACTER
            turns = (2 * math.pi * _TONE_HZ * (first + index) / _RATE for index in range(_SAMPLES_A_CHARACTER))
            yield array.array("h", (round(_LOUDNESS * math.sin(each)) for each in turns)).tobytes()

    def end(self) -> bytes:
        """Nothing: the sound is over."""
        return b""

    def error(self, body: bytes) -> bytes:
        """The error object, where sound should be."""
        return body


class SpeechAnswer(CountedAnswer, frozen=True):
    """The answer to one call: each character is a token of output here."""

    request: SpeechRequest

    @property
    def stream_type(self) -> bytes:
        """That of its sound."""
        return b"audio/wav"

    @property
    def output_tokens(self) -> int:
        """Each character of the text."""
        return len(self.request.input)

    @property
    def visible_tokens(self) -> int:
        """All of them are heard."""
        return self.output_tokens

    def answer(self) -> bytes:
        """The whole sound."""
        events = self.events()
        return events.head() + events.content(0, self.output_tokens)

    def events(self) -> SpeechEvents:
        """The sound as it is made."""
        return SpeechEvents(self.output_tokens)


def plan_speech(request: SpeechRequest) -> SpeechAnswer:
    """The answer to `request` if nothing fails."""
    return SpeechAnswer(count(request.simulate, len(request.input), 0), request)
