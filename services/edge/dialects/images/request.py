"""A request for images: read, sized, and written anew for a vendor. Pure."""

from collections.abc import Iterable
from typing import Final

from services.edge.call.dialect import Body, InputSize, VendorRequest
from services.edge.dialects.chat.fields import DialectFields, endpoint_fields, unknown_text, write_field
from services.edge.dialects.conversation import mark_of
from services.edge.dialects.images.answer import IMAGE_BYTES_MAX, ImagesAnswer
from services.edge.dialects.json_text import Fields, Raw, by_fold, encode, integer, is_set, read_object, refuse_folds, text, truth
from services.edge.dialects.sizes import ANSWER_BYTES
from services.edge.http.problems import malformed
from services.edge.tokens.size import size_of
from services.edge.vendors.profile import Endpoint

# The dialect's; a vendor that makes fewer says so itself.
IMAGES_MAX: Final = 10
# Fields that cost extra at most vendors, except for these values: images on the way are images, too.
_PRICED: Final = (("partial_images", frozenset({b"0"})), ("service_tier", frozenset({b'"auto"', b'"default"'})))
_FIELDS: Final = DialectFields(
    frozenset(
        {
            "model",
            "prompt",
            "n",
            "size",
            "quality",
            "style",
            "background",
            "moderation",
            "output_format",
            "output_compression",
            "response_format",
            "stream",
            "user",
            "safety_identifier",
            "simulate",
            *(field for field, _ in _PRICED),
        }
    ),
    _PRICED,
)
_BY_FOLD: Final = by_fold(_FIELDS.known)
_MISSING: Final = "missing_required_parameter"


class ImagesRequest:
    """See `services.edge.call.dialect.Request`. Never changed."""

    makes_output = True
    takes_limit = False
    streamed = False
    # The most output of an image is the model's own.
    output_limit = None
    output_field = None

    def __init__(self, body: bytes) -> None:
        """Reads a body. Errors: `Problem` 400 that names the field."""
        fields = read_object(body, "prompt")
        refuse_folds(fields, _BY_FOLD)
        model_id = text(fields, "model", right="a string, the ID of a model")
        if not model_id:
            raise malformed("model", "You must provide a model: its ID, as GET /v1/models lists it.", _MISSING)
        prompt = text(fields, "prompt")
        if not prompt:
            raise malformed("prompt", "You must provide a prompt: a text that says what the images shall show.", _MISSING)
        if truth(fields, "stream"):
            raise malformed("stream", "Images are not streamed. Leave stream out.", "invalid_value")
        self.model_id: str = model_id
        self.choices: int = integer(fields, "n", 1, most=IMAGES_MAX) or 1
        self._prompt = prompt
        self._fields: Fields = fields

    def size(self) -> InputSize:
        """See `services.edge.call.dialect.Request`. Unknown fields count, because a vendor may read them."""
        size = size_of(self._prompt)
        if others := unknown_text(self._fields, _FIELDS):
            size += size_of(others)
        return InputSize(size.utf8_bytes, size, 1, (), self._texts, param="prompt")

    def conversation(self) -> bytes:
        """A mark of its prompt: nothing here has a conversation, and the same prompt may be asked again."""
        return mark_of((self._prompt,))

    def _texts(self) -> Iterable[str]:
        return (self._prompt,)

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
            elif name == "n":
                # A vendor's own number may be another than one.
                written[name] = Raw(b"%d" % self.choices)
            elif name != "stream":
                write_field(written, name, raw, endpoint, own, dropped)
        if not is_set(self._fields, "n"):
            written["n"] = Raw(b"1")
        return VendorRequest("/images/generations", Body(encode(written), "application/json"), (), tuple(dropped))

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`. Bounded by the number of images."""
        return ANSWER_BYTES + self.choices * IMAGE_BYTES_MAX

    def answer(self, endpoint: Endpoint) -> ImagesAnswer:
        """See `services.edge.call.dialect.Request`."""
        return ImagesAnswer(endpoint.usage, self.choices)
