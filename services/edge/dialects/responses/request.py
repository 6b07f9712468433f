"""A request for a response: read, sized, and written anew for a vendor. Pure."""

from typing import Any, Final

from services.edge.call.dialect import Body, InputSize, VendorRequest
from services.edge.dialects.conversation import mark_of
from services.edge.dialects.json_text import encode, read_tree, refuse_folds, whole_number
from services.edge.dialects.profiled import fields_of, refuse_priced, taken
from services.edge.dialects.responses.answer import ResponsesAnswer
from services.edge.dialects.responses.items import Items
from services.edge.dialects.responses.names import (
    FIELDS,
    FIELDS_BY_FOLD,
    KEPT,
    LIMIT,
    LIMIT_MIN,
    OPTIONS,
    OPTIONS_BY_FOLD,
    PRICED,
    PROMPT_FIELDS,
)
from services.edge.dialects.sizes import ANSWER_BYTES, TOKEN_BYTES_MAX
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import malformed
from services.edge.vendors.profile import Endpoint, Unknown

_MISSING: Final = "missing_required_parameter"
# An answer tells the request's fields again, where some vendors write each character as an escape.
_ECHO: Final = 6


class ResponsesRequest:
    """See `services.edge.call.dialect.Request`. Never changed."""

    makes_output = True
    takes_limit = True
    choices: Final = 1

    def __init__(self, body: bytes, session: bytes = b"") -> None:
        """Reads a body; `session` is named beside it. Errors: `Problem` 400 that names the field."""
        fields = read_tree(body, "a JSON object, with model and input")
        if not fields.keys() <= FIELDS:
            refuse_folds(fields, FIELDS_BY_FOLD)
        model_id = fields.get("model")
        if model_id is None or model_id == "":
            raise malformed("model", "You must provide a model: its ID, as GET /v1/models lists it.", _MISSING)
        if type(model_id) is not str:
            raise malformed("model", "model must be a string: the ID of a model.", "invalid_type")
        if fields.get("input") is None:
            raise malformed("input", "You must provide input: a string, or a list of items such as messages.", _MISSING)
        _refuse_kept(fields)
        self.model_id: str = model_id
        self.streamed: bool = _truth(fields, "stream")
        limit = fields.get(LIMIT)
        self.output_limit: int | None = None if limit is None else whole_number(limit, LIMIT, LIMIT_MIN)
        self.output_field: str | None = None if limit is None else LIMIT
        self._options, self._dropped_options = self._read_options(fields.get("stream_options"))
        self._input = Items(is_bounded=True)
        self._input.read_input(fields["input"])
        instructions = fields.get("instructions")
        if instructions is not None:
            if type(instructions) is not str:
                raise malformed("instructions", "instructions must be a string.", "invalid_type")
            self._input.texts.append(instructions)
            self._input.turns += 1
        if fields.get("tools") is not None:
            self._input.read_tools(fields["tools"])
        for name, value in fields.items():
            # An unknown field may be part of the prompt.
            if (name in PROMPT_FIELDS or name not in FIELDS) and value is not None:
                self._input.add(name, value)
        self._session = session
        # A client does not say what its vendor is to keep, or keeps.
        self._fields: Tree = {
            name: value for name, value in fields.items() if name not in (*KEPT, "background", "store", "stream", "stream_options")
        }

    def _read_options(self, options: object) -> tuple[Tree, tuple[str, ...]]:
        """The options of the stream that are passed on, and the names of those that are dropped."""
        if options is None:
            return {}, ()
        if type(options) is not dict:
            raise malformed("stream_options", "stream_options must be an object.", "invalid_type")
        refuse_folds(options, OPTIONS_BY_FOLD, "stream_options")
        if not self.streamed:
            raise malformed("stream_options", "stream_options is taken only with stream: true.", "invalid_value")
        _truth(options, "include_obfuscation", "stream_options.include_obfuscation")
        passed = {name: value for name, value in options.items() if name in OPTIONS and value is not None}
        return passed, tuple(f"stream_options.{name}" for name in options if name not in OPTIONS)

    @property
    def fields(self) -> Tree:
        """The fields as they were read, without those that no vendor is told."""
        return self._fields

    @property
    def dropped_options(self) -> tuple[str, ...]:
        """Names of unknown options of the stream."""
        return self._dropped_options

    @property
    def parts(self) -> int:
        """Its turns, texts and tools."""
        return self._input.turns + len(self._input.texts) + len(self._fields.get("tools") or ())

    def size(self) -> InputSize:
        """See `services.edge.call.dialect.Request`."""
        return self._input.size()

    def conversation(self) -> bytes:
        """See `services.edge.call.dialect.Request`."""
        if self._session:
            return self._session
        key = self._fields.get("prompt_cache_key")
        if type(key) is str:
            return encode(key)
        instructions = self._fields.get("instructions")
        return mark_of(([instructions] if instructions else []) + self._input.beginning())

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """See `services.edge.call.dialect.Request`. The vendor is always told to keep nothing."""
        if self._input.unknown and endpoint.unknown_content is not Unknown.PASSED:
            param = self._input.unknown
            raise malformed(param, f"{param} is not known to this model's vendor. Leave it out.", "unknown_parameter")
        known = fields_of(endpoint, PRICED)
        refuse_priced(self._fields, known)
        body, dropped = taken(self._fields, FIELDS, endpoint, known)
        body["model"] = vendor_model_id
        body["store"] = False
        limits = [limit for limit in (self.output_limit, output_limit) if limit is not None]
        for name in (LIMIT, endpoint.output_limit_field):
            body.pop(name, None)
        if limits:
            body[endpoint.output_limit_field] = min(limits)
        if streamed:
            body["stream"] = True
            if self._options:
                body["stream_options"] = self._options
        return VendorRequest("/responses", Body(encode(body), "application/json"), (), (*dropped, *self._dropped_options))

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`."""
        told_again = {name: value for name, value in self._fields.items() if name != "input"}
        return ANSWER_BYTES + output_tokens * TOKEN_BYTES_MAX + _ECHO * len(encode(told_again))

    def answer(self, endpoint: Endpoint) -> ResponsesAnswer:
        """See `services.edge.call.dialect.Request`."""
        return ResponsesAnswer(endpoint.usage, self._fields, streamed=self.streamed)


def _refuse_kept(fields: Tree) -> None:
    """Refuses a request that builds on what a vendor keeps, because its input is unknown here; or whose answer is to be kept."""
    for name in KEPT:
        if fields.get(name) is not None:
            message = (
                f"{name} names what was kept of earlier calls, but nothing is kept here. Send the whole conversation as input."
            )
            raise malformed(name, message, "unsupported_parameter")
    _truth(fields, "store")
    if _truth(fields, "background"):
        message = "background is not supported: no answer is kept here to be fetched later. Leave it out, and read the stream."
        raise malformed("background", message, "unsupported_parameter")


def _truth(fields: Tree, name: str, param: str = "") -> bool:
    value: Any = fields.get(name)
    if value is not None and type(value) is not bool:
        raise malformed(param or name, f"{param or name} must be true or false.", "invalid_type")
    return bool(value)
