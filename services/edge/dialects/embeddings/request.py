"""A request for embeddings: read, sized, and written anew for a vendor. Pure."""

from collections.abc import Iterable
from typing import Final

from services.edge.call.dialect import Body, InputSize, VendorRequest
from services.edge.dialects.chat.fields import DialectFields, unknown_text, write_fields
from services.edge.dialects.embeddings.answer import NUMBER_BYTES_MAX, EmbeddingsAnswer
from services.edge.dialects.json_text import Fields, Raw, by_fold, encode, integer, is_set, read_object, refuse_folds, text, truth
from services.edge.dialects.prompts import read_prompts
from services.edge.dialects.sizes import ANSWER_BYTES
from services.edge.http.problems import malformed
from services.edge.tokens.size import size_of
from services.edge.vendors.profile import Endpoint

# The dialect's; a vendor that takes fewer says so itself.
INPUTS_MAX: Final = 2_048
# No known model has vectors with more.
DIMENSIONS_MAX: Final = 8_192
# Names and marks around a vector.
_VECTOR_BYTES: Final = 256
_ENCODINGS: Final = ("float", "base64")
_FIELDS: Final = DialectFields(
    frozenset({"model", "input", "encoding_format", "dimensions", "stream", "user", "safety_identifier", "simulate"}), ()
)
_BY_FOLD: Final = by_fold(_FIELDS.known)
_MISSING: Final = "missing_required_parameter"


class EmbeddingsRequest:
    """See `services.edge.call.dialect.Request`. Never changed."""

    makes_output = False
    takes_limit = False
    streamed = False
    choices = 1
    output_limit = None
    output_field = None

    def __init__(self, body: bytes) -> None:
        """Reads a body. Errors: `Problem` 400 that names the field."""
        fields = read_object(body, "input")
        refuse_folds(fields, _BY_FOLD)
        model_id = text(fields, "model", right="a string, the ID of a model")
        if not model_id:
            raise malformed("model", "You must provide a model: its ID, as GET /v1/models lists it.", _MISSING)
        if not is_set(fields, "input"):
            raise malformed("input", "You must provide an input: a text, a list of texts, or tokens.", _MISSING)
        if truth(fields, "stream"):
            raise malformed("stream", "Embeddings are not streamed. Leave stream out.", "invalid_value")
        encoding = text(fields, "encoding_format")
        if encoding is not None and encoding not in _ENCODINGS:
            message = f"encoding_format must be {' or '.join(_ENCODINGS)}; it is {encoding!r}."
            raise malformed("encoding_format", message, "invalid_value")
        self.model_id: str = model_id
        self._is_base64 = encoding == "base64"
        # None: as many as the model has by itself.
        self._dimensions = integer(fields, "dimensions", 1, most=DIMENSIONS_MAX)
        self._prompts = read_prompts(fields["input"], "input", INPUTS_MAX)
        self._fields: Fields = fields

    def size(self) -> InputSize:
        """See `services.edge.call.dialect.Request`. Nothing is wrapped into a template."""
        size = self._prompts.size
        if others := unknown_text(self._fields, _FIELDS):
            size += size_of(others)
        return InputSize(size.utf8_bytes, size, 0, (), self._texts, self._prompts.inputs, "input")

    def conversation(self) -> bytes:
        """See `services.edge.call.dialect.Request`."""
        return self._prompts.conversation

    def _texts(self) -> Iterable[str]:
        return iter(self._prompts.texts)

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """See `services.edge.call.dialect.Request`. Members stand in the client's order."""
        ours = {"model": Raw(encode(vendor_model_id)), "input": self._prompts.raw, "stream": None}
        written, dropped = write_fields(self._fields, endpoint, _FIELDS, ours)
        return VendorRequest("/embeddings", Body(encode(written), "application/json"), (), tuple(dropped))

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`. Bounded by inputs and dimensions."""
        return ANSWER_BYTES + self._prompts.inputs * (_VECTOR_BYTES + (self._dimensions or DIMENSIONS_MAX) * NUMBER_BYTES_MAX)

    def answer(self, endpoint: Endpoint) -> EmbeddingsAnswer:
        """See `services.edge.call.dialect.Request`."""
        return EmbeddingsAnswer(endpoint.usage, self.model_id, self._prompts.inputs, self._dimensions, is_base64=self._is_base64)
