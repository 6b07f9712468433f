"""OpenAI's chat completions as far as charging must understand them. Pure.

A request is taken apart into its top-level fields and no further: what is not understood goes to the vendor as it came, byte for
byte, and a field that came twice goes once. Usage is made of disjoint classes here: OpenAI's cached tokens lie inside the prompt's,
its reasoning tokens inside the completion's.
"""

from typing import Any, Final, NamedTuple

import msgspec

from services.edge.dialects.estimate import NO_TEXT, NOT_JSON, TextSize, size_of
from services.edge.http.problems import malformed

Raw = msgspec.Raw
_NULL: Final = Raw(b"null")
_CHOICES_MAX: Final = 128
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_MISSING: Final = "missing_required_parameter"
_INT64_MAX: Final = 2**63 - 1

_Fields = dict[str, Raw]
_fields_decoder: Final = msgspec.json.Decoder(_Fields)
_encode: Final = msgspec.json.Encoder().encode


class ChatRequest(NamedTuple):
    """A chat completion that was asked for. `output_limit` is what the client asked for at most a choice; None: nothing."""

    model_id: str
    stream: bool
    include_usage: bool
    choices: int
    output_limit: int | None
    # Which of the alias fields has the limit; where none does, None.
    output_field: str | None
    fields: dict[str, Raw]


class Usage(NamedTuple):
    """A vendor's count, in disjoint classes."""

    input: int
    cached_input: int
    output: int
    reasoning: int


class StreamEvent(NamedTuple):
    """What one event of a stream means. `size` is that of all output in it."""

    size: TextSize
    usage: Usage | None
    # Only usage, and no choices: for the client only if it asked.
    usage_only: bool
    # How many choices end with this event.
    finished: int
    failed: bool


# Requests


def parse_chat_request(body: bytes) -> ChatRequest:
    """Takes a body apart. Errors: `Problem` 400 that names the field."""
    try:
        fields = _fields_decoder.decode(body)
    except msgspec.ValidationError:
        raise malformed(None, "The body must be a JSON object, with model and messages.") from None
    except NOT_JSON as error:
        raise malformed(None, f"The body is not valid JSON: {error}.") from None
    model_id = _typed(fields, "model", str, "a string, the ID of a model")
    if not model_id:
        raise malformed("model", "You must provide a model: its ID, as GET /v1/models lists it.", _MISSING)
    if "messages" not in fields or fields["messages"] == _NULL:
        raise malformed("messages", "You must provide messages: a list of objects with role and content.", _MISSING)
    stream = bool(_typed(fields, "stream", bool, "true or false"))
    options = _typed(fields, "stream_options", _Fields, "an object")
    include_usage = bool(options and _typed(options, "include_usage", bool, "true or false", "stream_options.include_usage"))
    if options is not None and not stream:
        raise malformed("stream_options", "stream_options is taken only with stream: true.")
    choices = _typed(fields, "n", int, "a whole number")
    if choices is not None and not 1 <= choices <= _CHOICES_MAX:
        raise malformed("n", f"n must be 1 to {_CHOICES_MAX}; it is {choices}.")
    output_field, output_limit = None, None
    for field in _LIMITS:
        limit = _typed(fields, field, int, "a whole number")
        if limit is not None:
            if limit < 1:
                raise malformed(field, f"{field} must be at least 1; it is {limit}.")
            # Where both are given, the smaller holds.
            if output_limit is None or limit < output_limit:
                output_field, output_limit = field, limit
    return ChatRequest(model_id, stream, include_usage, choices or 1, output_limit, output_field, fields)


def vendor_body(request: ChatRequest, vendor_model_id: str, output_limit: int | None, *, prefers_completion_field: bool) -> bytes:
    """The body for the vendor: its own model ID, usage asked for in streams, and `output_limit` where one is given.

    All other fields are the client's, byte for byte.
    """
    fields = request.fields
    changed: dict[str, Any] = {}
    if request.model_id != vendor_model_id:
        changed["model"] = vendor_model_id
    if request.stream and not request.include_usage:
        options = _typed(fields, "stream_options", _Fields, "an object") or {}
        changed["stream_options"] = {**options, "include_usage": True}
    given = [field for field in _LIMITS if fields.get(field, _NULL) != _NULL]
    if output_limit is None and len(given) > 1:
        # Of two limits the smaller was reserved for, whichever the vendor takes.
        output_limit = request.output_limit
    if output_limit is not None:
        for field in given or ["max_completion_tokens" if prefers_completion_field else "max_tokens"]:
            changed[field] = output_limit
    return _encode({**fields, **changed})


def _typed(fields: dict[str, Raw], field: str, kind: Any, expected: str, param: str | None = None) -> Any:
    """A field's value, or None where it is missing or null. Errors: `Problem` 400."""
    raw = fields.get(field)
    if raw is None or raw == _NULL:
        return None
    try:
        value = msgspec.json.decode(raw, type=kind)
    except NOT_JSON:
        raise malformed(param or field, f"{param or field} must be {expected}.", "invalid_type") from None
    if isinstance(value, int) and abs(value) > _INT64_MAX:
        raise malformed(param or field, f"{param or field} is beyond all bounds.")
    return value


# Answers


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = 0


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: Raw = _NULL
    tool_calls: Raw = _NULL
    function_call: Raw = _NULL


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    # Where Moonshot puts it.
    usage: Raw = _NULL


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Raw = _NULL
    error: Raw = _NULL


class _Identity(msgspec.Struct):
    id: str = ""
    created: int = 0
    model: str = ""


_chunk_decoder: Final = msgspec.json.Decoder(_Chunk)
_usage_decoder: Final = msgspec.json.Decoder(_Usage)
_identity_decoder: Final = msgspec.json.Decoder(_Identity)


def parse_event(data: bytes, input_tokens_max: int, output_tokens_max: int, choices: int = 1) -> StreamEvent | None:
    """What the data of a stream's event means; None when it is no chunk of a chat completion.

    Usage within a choice is the whole answer's only where one of `choices` was asked for.
    """
    try:
        chunk = _chunk_decoder.decode(data)
    except NOT_JSON:
        return None
    if chunk.error != _NULL:
        return StreamEvent(NO_TEXT, None, usage_only=False, finished=0, failed=True)
    counted = chunk.usage
    size = NO_TEXT
    finished = 0
    for choice in chunk.choices:
        if choice.delta is not None:
            size += _size_of(choice.delta)
        # Some vendors write an empty text where others write null.
        if choice.finish_reason:
            finished += 1
        if choices == 1 and counted == _NULL:
            counted = choice.usage
    usage = _usage(counted, input_tokens_max, output_tokens_max) if counted != _NULL else None
    usage_only = not chunk.choices and chunk.usage != _NULL
    return StreamEvent(size, usage, usage_only=usage_only, finished=finished, failed=False)


class PlainAnswer(NamedTuple):
    """A whole answer's usage, if it was usable, and its output's size."""

    usage: Usage | None
    size: TextSize


def parse_answer(body: bytes, input_tokens_max: int, output_tokens_max: int) -> PlainAnswer | None:
    """What an answer that was not streamed says; None when it is no chat completion."""
    try:
        answer = _chunk_decoder.decode(body)
    except NOT_JSON:
        return None
    if answer.error != _NULL or not answer.choices:
        return None
    usage = _usage(answer.usage, input_tokens_max, output_tokens_max) if answer.usage != _NULL else None
    messages = (choice.message for choice in answer.choices if choice.message is not None)
    return PlainAnswer(usage, sum(map(_size_of, messages), NO_TEXT))


def ending(first_event: bytes, choices: int, usage: Usage | None) -> bytes:
    """The events that end a stream whose quota is used up: finish_reason "length", then usage where it was asked for."""
    try:
        identity = _identity_decoder.decode(first_event)
    except NOT_JSON:
        identity = _Identity()
    head = {"id": identity.id, "object": "chat.completion.chunk", "created": identity.created, "model": identity.model}
    finished = [{"index": index, "delta": {}, "finish_reason": "length"} for index in range(choices)]
    events = b"data: " + _encode({**head, "choices": finished}) + b"\n\n"
    if usage is not None:
        events += b"data: " + _encode({**head, "choices": [], "usage": _usage_object(usage)}) + b"\n\n"
    return events


def _usage_object(usage: Usage) -> dict[str, Any]:
    prompt, completion = usage.input + usage.cached_input, usage.output + usage.reasoning
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _usage(raw: Raw, input_tokens_max: int, output_tokens_max: int) -> Usage | None:
    """The usage in disjoint classes; None where it is negative, absurd or no usage at all."""
    try:
        usage = _usage_decoder.decode(raw)
    except NOT_JSON:
        return None
    cached = (usage.prompt_tokens_details.cached_tokens or 0) if usage.prompt_tokens_details else 0
    reasoning = (usage.completion_tokens_details.reasoning_tokens or 0) if usage.completion_tokens_details else 0
    if not 0 <= cached <= usage.prompt_tokens <= input_tokens_max:
        return None
    if not 0 <= reasoning <= usage.completion_tokens <= output_tokens_max:
        return None
    return Usage(usage.prompt_tokens - cached, cached, usage.completion_tokens - reasoning, reasoning)


def _size_of(delta: _Delta) -> TextSize:
    size = size_of(delta.content) if delta.content else NO_TEXT
    for text in (delta.refusal, delta.reasoning_content, delta.reasoning):
        if text:
            size += size_of(text)
    # What is no plain text, such as calls of tools, counts with its JSON: more than its tokens, never less.
    for structure in (delta.tool_calls, delta.function_call, delta.reasoning_details):
        if structure != _NULL:
            length = len(bytes(structure))
            size += TextSize(length, length, 0)
    return size
