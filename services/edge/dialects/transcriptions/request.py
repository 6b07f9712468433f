"""A request for a transcription: read, sized, and written anew for a vendor. Pure."""

from collections.abc import Iterable
from typing import Final

from services.edge.call.dialect import InputSize, VendorRequest
from services.edge.dialects.conversation import mark_of
from services.edge.dialects.json_text import by_fold, encode, refuse_folds
from services.edge.dialects.sizes import ANSWER_BYTES
from services.edge.dialects.transcriptions.answer import TranscriptionAnswer
from services.edge.dialects.transcriptions.form import Form, refused, written
from services.edge.dialects.unmetered import refuse_unmetered
from services.edge.http.problems import malformed
from services.edge.tokens.size import size_of
from services.edge.tokens.sound import sound_of
from services.edge.vendors.profile import Endpoint, Unknown

# The form that a vendor is asked for, by the one that the client wants: its count stands in JSON alone.
ASKED: Final = {
    "json": "json",
    "text": "json",
    "verbose_json": "verbose_json",
    "srt": "verbose_json",
    "vtt": "verbose_json",
    "diarized_json": "diarized_json",
}
_KNOWN: Final = frozenset(
    {
        "model",
        "language",
        "prompt",
        "response_format",
        "temperature",
        "timestamp_granularities[]",
        "chunking_strategy",
        "stream",
        "user",
        "simulate",
    }
)
# Fields that cost extra, or hold sound that is not measured, unless the endpoint's profile says otherwise.
_PRICED: Final = frozenset({"include[]", "known_speaker_names[]", "known_speaker_references[]"})
_BY_FOLD: Final = by_fold(_KNOWN | _PRICED)
# Its words, their times and its parts.
_TEXT_BYTES_MAX: Final = 32 * 1024 * 1024


class TranscriptionRequest:
    """See `services.edge.call.dialect.Request`. Never changed."""

    makes_output = True
    takes_limit = False
    streamed = False
    choices = 1
    # The text of the whole file is wanted, always.
    output_limit = None
    output_field = None

    def __init__(self, form: Form) -> None:
        """Reads a form. Errors: `Problem` 400 that names the field."""
        refuse_folds([name for name, _ in form.fields], _BY_FOLD)
        model_id = form.value("model")
        if not model_id:
            raise malformed("model", "You must provide a model: its ID, as GET /v1/models lists it.", "missing_required_parameter")
        wanted = form.value("response_format") or "json"
        if wanted not in ASKED:
            message = f"response_format must be one of {', '.join(ASKED)}; it is {wanted[:64]!r}."
            raise malformed("response_format", message, "invalid_value")
        if (form.value("stream") or "false").lower() not in ("false", "0"):
            raise malformed("stream", "Transcriptions are not streamed. Leave stream out.", "invalid_value")
        self.model_id: str = model_id
        self._wanted = wanted
        self._prompt = form.value("prompt") or ""
        self._form = form
        self._sound = sound_of(form.file.content)

    def size(self) -> InputSize:
        """See `services.edge.call.dialect.Request`. Unknown fields count, because a vendor may read them."""
        others = "".join(name + value for name, value in self._form.fields if name not in _KNOWN)
        size = size_of(self._prompt + others)
        return InputSize(size.utf8_bytes, size, 0, (), self._texts, param="file", sounds=(self._sound,))

    def conversation(self) -> bytes:
        """A mark of its size: no file is sent twice in one conversation."""
        return mark_of((str(len(self._form.file.content)),))

    def _texts(self) -> Iterable[str]:
        return (self._prompt,)

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """See `services.edge.call.dialect.Request`. Fields stand in the client's order, the file at the end."""
        priced = dict(endpoint.priced_fields)
        fields: list[tuple[str, str]] = []
        dropped: list[str] = []
        for name, value in self._form.fields:
            if name == "model":
                fields.append((name, vendor_model_id))
            elif name in ("response_format", "stream"):
                continue
            elif name in priced:
                if encode(value) not in priced[name]:
                    raise refused(name, "costs extra at this model's vendor and is not sold here.")
                fields.append((name, value))
            elif name in _KNOWN or name in endpoint.extra_fields:
                fields.append((name, value))
            elif name in _PRICED:
                raise refused(name, "costs extra, or holds sound that is not measured, and is not sold here.")
            elif endpoint.unknown_fields is Unknown.REFUSED:
                raise refused(name, "is not a field that this model's vendor is known to take.")
            elif endpoint.unknown_fields is Unknown.PASSED:
                refuse_unmetered(name.removesuffix("[]"), value)
                fields.append((name, value))
            else:
                dropped.append(name)
        fields.append(("response_format", ASKED[self._wanted]))
        return VendorRequest("/audio/transcriptions", written(fields, self._form.file), (), tuple(dropped))

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`. A transcription of hours, with the time of each word."""
        return ANSWER_BYTES + _TEXT_BYTES_MAX

    def answer(self, endpoint: Endpoint) -> TranscriptionAnswer:
        """See `services.edge.call.dialect.Request`."""
        return TranscriptionAnswer(endpoint.usage, self._wanted)
