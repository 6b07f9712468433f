"""A request for the ranks of documents: read, sized, and written anew for a vendor. Pure."""

from collections.abc import Iterable
from typing import Final

import msgspec

from services.edge.call.dialect import Body, InputSize, VendorRequest
from services.edge.dialects.chat.fields import DialectFields, endpoint_fields, unknown_text, write_field
from services.edge.dialects.conversation import mark_of
from services.edge.dialects.json_text import (
    NOT_JSON,
    Fields,
    Raw,
    by_fold,
    encode,
    integer,
    is_set,
    read_object,
    refuse_folds,
    text,
    truth,
)
from services.edge.dialects.rerank.answer import RerankAnswer
from services.edge.dialects.sizes import ANSWER_BYTES
from services.edge.http.problems import malformed
from services.edge.tokens.size import TextSize, size_of
from services.edge.vendors.profile import Endpoint

# The dialect's; a vendor that takes fewer says so itself.
DOCUMENTS_MAX: Final = 1_000
# A result: an index, a score with all of its digits, and what is around them.
_RESULT_BYTES: Final = 4 * 1024
# A character as an escape of JSON, which has two beyond U+FFFF.
_CHARACTER_BYTES: Final = 12
_FIELDS: Final = DialectFields(
    frozenset({"model", "query", "documents", "top_n", "return_documents", "stream", "user", "simulate"}), ()
)
_BY_FOLD: Final = by_fold(_FIELDS.known)
_MISSING: Final = "missing_required_parameter"


class _Document(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    text: str


_documents_decoder: Final = msgspec.json.Decoder(list[str | _Document])


class RerankRequest:
    """See `services.edge.call.dialect.Request`. Never changed."""

    makes_output = False
    takes_limit = False
    streamed = False
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
        query = text(fields, "query")
        if not query:
            raise malformed("query", "You must provide a query: the text that documents are ranked for.", _MISSING)
        if truth(fields, "stream"):
            raise malformed("stream", "Ranks are not streamed. Leave stream out.", "invalid_value")
        self.model_id: str = model_id
        self._query = query
        self._documents = _read_documents(fields)
        self._returns_documents = bool(truth(fields, "return_documents"))
        # At most as many results.
        self._results = min(integer(fields, "top_n", 1) or DOCUMENTS_MAX, len(self._documents))
        self._fields: Fields = fields

    def size(self) -> InputSize:
        """See `services.edge.call.dialect.Request`. The query is read beside each document."""
        count = len(self._documents)
        size = size_of("".join(self._documents)) + TextSize._make(each * count for each in size_of(self._query))
        if others := unknown_text(self._fields, _FIELDS):
            size += size_of(others)
        return InputSize(size.utf8_bytes, size, count, (), self._texts, count, "documents")

    def conversation(self) -> bytes:
        """A mark of its query: nothing here has a conversation, and the same query may be asked again."""
        return mark_of((self._query,))

    def _texts(self) -> Iterable[str]:
        # The query once: its repetitions count by their bytes.
        return (self._query, *self._documents)

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """See `services.edge.call.dialect.Request`. Documents go as texts, and do not come back from the vendor."""
        own = endpoint_fields(endpoint.extra_fields, endpoint.priced_fields, _FIELDS)
        written: Fields = {}
        dropped: list[str] = []
        for name, raw in self._fields.items():
            if name == "model":
                written[name] = Raw(encode(vendor_model_id))
            elif name == "documents":
                written[name] = Raw(encode(self._documents))
            elif name == "top_n":
                written[name] = Raw(b"%d" % self._results)
            elif name not in ("stream", "return_documents"):
                write_field(written, name, raw, endpoint, own, dropped)
        return VendorRequest("/rerank", Body(encode(written), "application/json"), (), tuple(dropped))

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`. Bounded by the number of documents, which a vendor may send back."""
        texts = sum(len(document) for document in self._documents)
        return ANSWER_BYTES + len(self._documents) * _RESULT_BYTES + texts * _CHARACTER_BYTES

    def answer(self, endpoint: Endpoint) -> RerankAnswer:
        """See `services.edge.call.dialect.Request`."""
        documents = self._documents if self._returns_documents else ()
        return RerankAnswer(endpoint.usage, self.model_id, len(self._documents), self._results, documents)


def _read_documents(fields: Fields) -> tuple[str, ...]:
    """The texts of the documents. Errors: `Problem` 400 that names the field."""
    right = "a list of texts, or of objects with a text each"
    if not is_set(fields, "documents"):
        raise malformed("documents", f"You must provide documents: {right}.", _MISSING)
    try:
        found = _documents_decoder.decode(fields["documents"])
    except NOT_JSON:
        raise malformed("documents", f"documents must be {right}.", "invalid_type") from None
    documents = tuple(each if isinstance(each, str) else each.text for each in found)
    if not 1 <= len(documents) <= DOCUMENTS_MAX:
        raise malformed("documents", f"documents must be 1 to {DOCUMENTS_MAX}; there are {len(documents)}.", "invalid_value")
    for index, document in enumerate(documents):
        if not document:
            raise malformed(f"documents[{index}]", f"documents[{index}] is empty. Leave it out.", "invalid_value")
    return documents
