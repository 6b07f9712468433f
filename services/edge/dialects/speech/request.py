"""A request for speech: read, sized, and written anew for a vendor. Pure."""

from collections.abc import Iterable
from typing import Final

from services.edge.call.dialect import Body, InputSize, VendorRequest
from services.edge.dialects.chat.fields import DialectFields, endpoint_fields, unknown_text, write_field
from services.edge.dialects.conversation import mark_of
from services.edge.dialects.json_text import Fields, Raw, by_fold, encode, read_object, refuse_folds, text
from services.edge.dialects.sizes import ANSWER_BYTES
from services.edge.dialects.speech.answer import TYPES, SpeechAnswer
from services.edge.http.problems import malformed
from services.edge.tokens.size import size_of
from services.edge.vendors.profile import Endpoint

# Sound comes as bytes alone: as events its usage would stand in another form.
_PRICED: Final = (("stream_format", frozenset({b'"audio"'})),)
_FIELDS: Final = DialectFields(
    frozenset({"model", "input", "voice", "instructions", "response_format", "speed", "user", "simulate", "stream_format"}), _PRICED
)
_BY_FOLD: Final = by_fold(_FIELDS.known)
_MISSING: Final = "missing_required_parameter"


class SpeechRequest:
    """See `services.edge.call.dialect.Request`. Never changed."""

    makes_output = False
    takes_limit = False
    # The sound is relayed as it comes.
    streamed = True
    choices = 1
    output_limit = None
    output_field = None

    def __init__(self, body: bytes) -> None:
        """Reads a body. Errors: `Problem` 400 that names the field."""
        fields = read_object(body)
        refuse_folds(fields, _BY_FOLD)
        model_id = text(fields, "model", right="a string, the ID of a model")
        if not model_id:
            raise malformed("model", "You must provide a model: its ID, as GET /v1/models lists it.", _MISSING)
        spoken = text(fields, "input")
        if not spoken:
            raise malformed("input", "You must provide an input: the text to speak.", _MISSING)
        wanted = text(fields, "response_format") or "mp3"
        if wanted not in TYPES:
            message = f"response_format must be one of {', '.join(TYPES)}; it is {wanted[:64]!r}."
            raise malformed("response_format", message, "invalid_value")
        self.model_id: str = model_id
        self._spoken = spoken
        self._wanted = wanted
        # Words about the voice are read too.
        self._told = text(fields, "instructions") or ""
        self._fields: Fields = fields
        self._unknown = unknown_text(fields, _FIELDS)
        self._read = self._spoken + self._told + self._unknown

    def size(self) -> InputSize:
        """See `services.edge.call.dialect.Request`. Instructions and unknown fields count, because a vendor may read them."""
        size = size_of(self._read)
        return InputSize(
            *(size.utf8_bytes, size, 0, (), self._texts),
            param="input",
            characters=len(self._read),
            unknown_characters=len(self._unknown),
        )

    def conversation(self) -> bytes:
        """A mark of its text: nothing here has a conversation, and the same text may be asked again."""
        return mark_of((self._spoken,))

    def _texts(self) -> Iterable[str]:
        return (self._spoken, self._told)

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """See `services.edge.call.dialect.Request`. Members stand in the client's order."""
        own = endpoint_fields(endpoint.extra_fields, endpoint.priced_fields, _FIELDS)
        written: Fields = {}
        dropped: list[str] = []
        for name, raw in self._fields.items():
            if name == "model":
                written[name] = Raw(encode(vendor_model_id))
            else:
                write_field(written, name, raw, endpoint, own, dropped)
        return VendorRequest("/audio/speech", Body(encode(written), "application/json"), (), tuple(dropped), relays_bytes=True)

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`. Only an error comes as one."""
        return ANSWER_BYTES

    def answer(self, endpoint: Endpoint) -> SpeechAnswer:
        """See `services.edge.call.dialect.Request`."""
        return SpeechAnswer(TYPES[self._wanted], len(self._read))
