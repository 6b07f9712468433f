"""OpenAI's transcriptions: the form as it is read, and a text of as many tokens as `simulate` says, whatever was heard."""

import io
import math
import wave
from typing import Any, Final, Never

import msgspec
from multipart import MultipartError, MultipartParser

from services.vendor_simulator.answer import CountedAnswer, count
from services.vendor_simulator.errors import RefusedError, error_body
from services.vendor_simulator.simulate import OUTPUT_TOKENS_MAX, PLAIN, Simulate
from services.vendor_simulator.text import count_tokens, text

# A second of other formats than WAV has this many bytes.
_BYTES_PER_SECOND: Final = 4_000
_FORMATS: Final = ("json", "verbose_json")


class TranscriptionRequest(msgspec.Struct, frozen=True):
    """The fields that change the answer, and the length of the sound."""

    model: str
    seconds: float
    prompt: str = ""
    response_format: str = "json"
    user: str | None = None
    simulate: Simulate = PLAIN

    @property
    def stream(self) -> bool:
        """Transcriptions are not streamed."""
        return False

    @property
    def last_text(self) -> str:
        """The prompt."""
        return self.prompt


def parse_transcription(body: bytes) -> TranscriptionRequest:
    """The request in the form `body`. Errors: `RefusedError` with status 400, which names the field at fault."""
    # The head of a form is not given here; its body begins with the boundary.
    boundary = body[2:].partition(b"\r\n")[0].decode("latin-1")
    try:
        parts = {part.name: part for part in MultipartParser(io.BytesIO(body), boundary, strict=True)}
    except MultipartError as error:
        raise _refused(f"Could not parse the form: {error}.", None) from None
    if "file" not in parts or not parts["file"].filename:
        raise _refused("Missing required parameter: 'file'.", "file")
    fields = {name: part.value for name, part in parts.items() if name != "file"}
    if "model" not in fields:
        raise _refused("Missing required parameter: 'model'.", "model")
    if fields.get("response_format", "json") not in _FORMATS:
        raise _refused(f"Invalid 'response_format': it must be {' or '.join(_FORMATS)}.", "response_format")
    try:
        simulate = msgspec.json.decode(fields.pop("simulate", "{}"), type=Simulate)
    except msgspec.DecodeError as error:
        raise _refused(f"Invalid value for 'simulate': {error}.", "simulate") from None
    known = {name: fields[name] for name in ("model", "prompt", "response_format", "user") if name in fields}
    return TranscriptionRequest(**known, seconds=_seconds(parts["file"].raw), simulate=simulate if "simulate" in parts else PLAIN)


def _seconds(content: bytes) -> float:
    try:
        with wave.open(io.BytesIO(content)) as sound:
            return float(sound.getnframes() / sound.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        # It is no WAV, or its head tells no rate.
        return len(content) / _BYTES_PER_SECOND


def _refused(message: str, param: str | None) -> RefusedError:
    return RefusedError(400, error_body(message, "invalid_request_error", "invalid_value", param))


class TranscriptionAnswer(CountedAnswer, frozen=True):
    """The answer to one call: a text, and its count in tokens of sound where `simulate` has any, else in seconds."""

    request: TranscriptionRequest

    def answer(self) -> bytes:
        """The body of the answer."""
        request = self.request
        said = text(0, self.output_tokens).decode()
        body: dict[str, Any] = {"text": said}
        if request.response_format == "verbose_json":
            segment = {"id": 0, "start": 0.0, "end": request.seconds, "text": said}
            body |= {"task": "transcribe", "language": "english", "duration": request.seconds, "segments": [segment]}
        if self.counts.simulate.usage_report.place != "none":
            body["usage"] = self._usage()
        return msgspec.json.encode(body)

    def _usage(self) -> dict[str, Any]:
        heard = self.counts.simulate.modalities.audio_input_tokens
        if not heard:
            return {"type": "duration", "seconds": math.ceil(self.request.seconds)}
        return {
            "type": "tokens",
            "input_tokens": self.input_tokens,
            "input_token_details": {"text_tokens": self.input_tokens - heard, "audio_tokens": heard},
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }

    def events(self) -> Never:
        """Transcriptions are not streamed."""
        raise AssertionError("transcriptions are not streamed")


def plan_transcription(request: TranscriptionRequest) -> TranscriptionAnswer:
    """The answer to `request` if nothing fails."""
    simulate = request.simulate
    prompt = count_tokens([request.prompt]) if request.prompt else 0
    input_tokens = prompt + simulate.modalities.audio_input_tokens + simulate.added_input_tokens
    return TranscriptionAnswer(count(simulate, input_tokens, OUTPUT_TOKENS_MAX), request)
