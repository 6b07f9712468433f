"""A request for a chat completion: read, sized, and written anew for a vendor. Pure."""

from collections.abc import Iterable
from typing import Final

from services.edge.call.dialect import Body, InputSize, VendorRequest
from services.edge.dialects.chat.answer import ChatAnswer
from services.edge.dialects.chat.fields import (
    KNOWN,
    KNOWN_BY_FOLD,
    LIMITS,
    PROMPT,
    endpoint_fields,
    read_stream_options,
    write_field,
)
from services.edge.dialects.chat.messages import Messages, read_messages
from services.edge.dialects.conversation import mark_of
from services.edge.dialects.json_text import (
    Fields,
    Raw,
    encode,
    integer,
    is_set,
    read_object,
    refuse_folds,
    text,
    tree,
    truth,
)
from services.edge.dialects.sizes import ANSWER_BYTES, TOKEN_BYTES_MAX
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import malformed
from services.edge.tokens.size import size_of
from services.edge.vendors.profile import Endpoint, Unknown

CHOICES_MAX: Final = 128
ALTERNATIVES_MAX: Final = 20
_MISSING: Final = "missing_required_parameter"
# The shortest tool: {"type":"function","function":{"name":"f"}}.
_TOOL_BYTES_MIN: Final = 45
_TRUE: Final = Raw(b"true")
_FALSE: Final = Raw(b"false")


class ChatRequest:
    """See `services.edge.call.dialect.Request`. Never changed."""

    makes_output = True
    takes_limit = True

    def __init__(self, body: bytes, session: bytes = b"") -> None:
        """Reads a body; `session` is named beside it. Errors: `Problem` 400 that names the field."""
        fields = read_object(body, "messages")
        refuse_folds(fields, KNOWN_BY_FOLD)
        model_id = text(fields, "model", right="a string, the ID of a model")
        if not model_id:
            raise malformed("model", "You must provide a model: its ID, as GET /v1/models lists it.", _MISSING)
        if not is_set(fields, "messages"):
            raise malformed("messages", "You must provide messages: a list of objects with role and content.", _MISSING)
        self.model_id: str = model_id
        self.streamed: bool = bool(truth(fields, "stream"))
        self.choices: int = integer(fields, "n", 1, most=CHOICES_MAX) or 1
        self.output_limit: int | None = None
        self.output_field: str | None = None
        for field in LIMITS:
            limit = integer(fields, field, 1)
            # If both are given, the smaller holds.
            if limit is not None and (self.output_limit is None or limit < self.output_limit):
                self.output_field, self.output_limit = field, limit
        alternatives = integer(fields, "top_logprobs", 0, most=ALTERNATIVES_MAX) or 0
        # Alternatives to each token of output that the client asked for; None: no probabilities of tokens at all.
        self.alternatives: int | None = alternatives if truth(fields, "logprobs") else None
        self.options = read_stream_options(fields, streamed=self.streamed)
        self._session = session
        self._fields: Fields = fields
        self._messages: Messages = read_messages(fields["messages"])

    @property
    def fields(self) -> Tree:
        """The fields as they were read, decoded to the last member."""
        decoded: Tree = tree(Raw(encode({**self._fields, "messages": self._messages.raw})))
        return decoded

    @property
    def parts(self) -> int:
        """Its turns, texts and tools, or a little more."""
        tools = self._fields.get("tools")
        return self._messages.turns + len(self._messages.texts) + (len(bytes(tools)) // _TOOL_BYTES_MIN if tools else 0)

    def size(self) -> InputSize:
        """See `services.edge.call.dialect.Request`."""
        messages = self._messages
        others = list(messages.others)
        for name, raw in self._fields.items():
            if name in PROMPT:
                others.append(bytes(raw))
            elif name not in KNOWN:
                others.append(name.encode())
                others.append(bytes(raw))
        # Sized as one text, because only a sample of a long one is looked at.
        size = size_of("".join((*messages.texts, b"".join(others).decode())))
        return InputSize(
            size.utf8_bytes,
            size,
            messages.turns,
            messages.images,
            self._texts,
            sounds=messages.sounds,
            documents=messages.documents,
        )

    def conversation(self) -> bytes:
        """See `services.edge.call.dialect.Request`."""
        if self._session:
            return self._session
        if is_set(self._fields, "prompt_cache_key"):
            return bytes(self._fields["prompt_cache_key"])
        return mark_of(self._messages.texts[: self._messages.beginning])

    def _texts(self) -> Iterable[str]:
        return iter(self._messages.texts)

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """See `services.edge.call.dialect.Request`. Members stand in the client's order, ours at the end."""
        if self._messages.unknown and endpoint.unknown_content is not Unknown.PASSED:
            param = self._messages.unknown
            raise malformed(param, f"{param} is not known to this model's vendor. Leave it out.", "unknown_parameter")
        own = endpoint_fields(endpoint.extra_fields, endpoint.priced_fields)
        limits = [limit for limit in (self.output_limit, output_limit) if limit is not None]
        limit = Raw(b"%d" % min(limits)) if limits else None
        written: Fields = {}
        dropped: list[str] = []
        for name, raw in self._fields.items():
            if name == "messages":
                written[name] = self._messages.raw
            elif name == "model":
                written[name] = Raw(encode(vendor_model_id))
            elif name == "stream":
                written[name] = _TRUE if streamed else _FALSE
            elif name in LIMITS or name == endpoint.output_limit_field:
                # Written into one field alone, because a vendor may take the other.
                if limit is not None:
                    written[endpoint.output_limit_field] = limit
            elif name != "stream_options":
                write_field(written, name, raw, endpoint, own, dropped)
        if limit is not None:
            written[endpoint.output_limit_field] = limit
        if streamed:
            written["stream"] = _TRUE
            if endpoint.takes_stream_options:
                written["stream_options"] = self.options.written
        body = Body(encode(written), "application/json")
        return VendorRequest("/chat/completions", body, (), (*dropped, *self.options.dropped))

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`."""
        told = 0 if self.alternatives is None else 1 + self.alternatives
        return ANSWER_BYTES + output_tokens * TOKEN_BYTES_MAX * (1 + told)

    def answer(self, endpoint: Endpoint) -> ChatAnswer:
        """See `services.edge.call.dialect.Request`."""
        return ChatAnswer(endpoint.usage, self.choices, self.alternatives, self.options, streamed=self.streamed)
