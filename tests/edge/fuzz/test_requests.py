"""Any request: refused with 400 that says why, or read by the edge as every vendor's reader reads what the edge writes."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.call.dialect import Body, Dialect, Request
from services.edge.dialects import json_text
from services.edge.dialects.anthropic_messages.dialect import COUNT_TOKENS
from services.edge.dialects.anthropic_messages.dialect import MESSAGES as MESSAGES_DIALECT
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.dialects.chat.request import ChatRequest
from services.edge.dialects.completions.dialect import Completions
from services.edge.dialects.completions.request import CompletionsRequest
from services.edge.dialects.embeddings.dialect import Embeddings
from services.edge.dialects.embeddings.request import EmbeddingsRequest
from services.edge.dialects.json_text import Raw
from services.edge.dialects.responses.dialect import Responses
from services.edge.http.problems import Problem
from services.edge.vendors.profile import Endpoint, Unknown
from tests.edge.fuzz.inputs import NUMBERS, SCALARS, WORDS, Pairs, Text, anything, broken, json_bytes, mostly, objects, tries

LIMITS = ("max_tokens", "max_completion_tokens")
MEMBERS = ("role", "content", "name", "tool_calls", "function_call", "reasoning_content", "cache_control", "x", "audio")
PART_MEMBERS = ("type", "text", "image_url", "source", "cache_control", "content", "input", "id", "name", "tool_use_id", "x")
KINDS = st.sampled_from(["text", "image_url", "image", "tool_use", "tool_result", "thinking", "document", "input_audio", "other"])
ODD = st.one_of(SCALARS, anything(("type", "text", "url")))
TEXT_PART = WORDS.map(lambda text: Pairs([("type", "text"), ("text", text)]))
SOURCE = mostly(
    st.just(Pairs([("type", "url"), ("url", "https://example.test/a.png")])),
    objects(("type", "url", "data", "media_type", "detail", "x"), st.one_of(st.sampled_from(["url", "base64", "text"]), WORDS), 4),
    3,
)
OTHER_PART = st.builds(
    lambda kind, more: Pairs([("type", kind), *more]),
    mostly(KINDS, SCALARS),
    objects(PART_MEMBERS, st.one_of(WORDS, WORDS, SOURCE, ODD), 3),
)
IMAGE = st.builds(
    lambda kind, source: Pairs([("type", kind), ("image_url" if kind == "image_url" else "source", source)]),
    st.sampled_from(["image_url", "image"]),
    SOURCE,
)
PART = mostly(st.one_of(TEXT_PART, TEXT_PART, IMAGE), OTHER_PART, 3)
FUNCTION = mostly(
    st.just(Pairs([("name", "f"), ("arguments", "{}")])), objects(("name", "arguments", "x"), st.one_of(WORDS, SCALARS), 3), 3
)
CALL = objects(("id", "type", "index", "x"), WORDS, 4).flatmap(
    lambda call: FUNCTION.map(lambda each: Pairs([*call, ("function", each)]))
)
MORE = st.one_of(
    st.tuples(st.sampled_from(["name", "reasoning_content", "x"]), WORDS),
    st.tuples(st.just("tool_calls"), st.lists(CALL, max_size=2)),
    st.tuples(st.sampled_from(MEMBERS), st.one_of(ODD, st.lists(PART, max_size=1))),
)
MESSAGE = st.builds(
    lambda role, content, more: Pairs([("role", role), ("content", content), *more]),
    mostly(st.sampled_from(["user", "assistant", "system"]), ODD),
    mostly(st.one_of(WORDS, st.lists(PART, min_size=1, max_size=2)), ODD),
    mostly(st.just([]), st.lists(MORE, max_size=2), 3),
)
SCHEMA = st.just(Pairs([("type", "object"), ("Type", 1), ("properties", Pairs([("Model", Pairs([("type", "string")]))]))]))
TOOL = mostly(
    st.builds(lambda name, schema: Pairs([("name", name), ("input_schema", schema)]), WORDS, SCHEMA),
    objects(("type", "name", "description", "input_schema", "function", "x"), st.one_of(st.just("custom"), ODD), 4),
    5,
)
TOP = (
    *(
        "model",
        "messages",
        "stream",
        "stream_options",
        "n",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "metadata",
        "service_tier",
    ),
    *("temperature", "stop", "betas", "web_search_options", "modalities", "cache_control", "x", *LIMITS),
)
OPTIONS = mostly(st.just(Pairs([("include_usage", True)])), objects(("include_usage", "include_obfuscation", "x"), SCALARS, 3), 2)
THINKING = objects(("type", "budget_tokens", "x"), st.one_of(st.just("enabled"), NUMBERS, SCALARS), 3)
FIELD = st.one_of(
    st.tuples(st.just("stream"), st.booleans()),
    st.tuples(st.sampled_from([*LIMITS, "n"]), st.integers(1, 9)),
    st.tuples(st.just("tools"), st.lists(TOOL, max_size=2)),
    st.tuples(st.just("system"), st.one_of(WORDS, st.lists(TEXT_PART, max_size=2))),
    st.tuples(st.sampled_from(["temperature", "metadata", "stop", "x"]), ODD),
    st.tuples(st.just("stream_options"), OPTIONS),
    st.tuples(st.just("thinking"), THINKING),
    objects(TOP, st.one_of(ODD, OPTIONS, THINKING), 1).map(lambda each: each[0] if each else ("x", None)),
)
LIMIT = mostly(st.integers(1, 9), st.one_of(NUMBERS, SCALARS))
CONVERSATION = mostly(st.lists(MESSAGE, min_size=1, max_size=2), ODD)
REQUEST = st.builds(
    lambda model, limit, messages, more: Pairs(
        [*more[:1], ("model", model), ("max_tokens", limit), ("messages", messages), *more[1:]]
    ),
    mostly(st.just("m"), SCALARS),
    LIMIT,
    CONVERSATION,
    st.lists(FIELD, max_size=3),
)
BODIES = mostly(
    REQUEST.map(json_bytes), st.one_of(broken(REQUEST.map(json_bytes)), anything(TOP).map(json_bytes), st.binary(max_size=40)), 9
)
TOKENS = st.lists(mostly(st.integers(0, 9), st.one_of(NUMBERS, SCALARS), 9), max_size=3)
PROMPT = mostly(st.one_of(WORDS, st.lists(WORDS, max_size=3), TOKENS, st.lists(TOKENS, max_size=2)), ODD)
PROMPT_FIELD = st.one_of(
    st.tuples(st.just("stream"), st.booleans()),
    st.tuples(st.sampled_from(["n", "best_of", "logprobs", "dimensions"]), mostly(st.integers(1, 3), NUMBERS)),
    st.tuples(st.sampled_from(["suffix", "user", "encoding_format", "x"]), st.one_of(WORDS, st.just("float"), ODD)),
    st.tuples(st.just("stream_options"), OPTIONS),
    st.tuples(st.just("echo"), mostly(st.booleans(), SCALARS)),
    st.tuples(st.sampled_from(["Prompt", "Input", "model", "MAX_TOKENS", "max_completion_tokens"]), ODD),
)
PROMPTED = st.builds(
    lambda model, prompt, more: Pairs([*more[:1], ("model", model), ("prompt", prompt), ("input", prompt), *more[1:]]),
    mostly(st.just("m"), SCALARS),
    PROMPT,
    st.lists(PROMPT_FIELD, max_size=3),
)
PROMPT_BODIES = mostly(PROMPTED.map(json_bytes), st.one_of(broken(PROMPTED.map(json_bytes)), st.binary(max_size=40)), 9)
HEADERS = mostly(
    st.just({}),
    st.dictionaries(
        st.sampled_from([b"anthropic-version", b"anthropic-beta", b"content-type"]),
        st.one_of(st.binary(max_size=12), st.just(b"a-beta")),
    ),
)
ENDPOINTS = st.builds(
    lambda field, fields, content, extra, priced: Endpoint(
        "vendor",
        "any",
        "http://vendor.test/v1",
        output_limit_field=field,
        unknown_fields=fields,
        unknown_content=content,
        extra_fields=frozenset(extra),
        priced_fields=tuple((name, frozenset({b"null", b"false", b'"text"'})) for name in priced),
    ),
    st.sampled_from(LIMITS),
    st.sampled_from(Unknown),
    st.sampled_from(Unknown),
    st.sets(st.sampled_from(["top_k", "x", "Stream", "enable_thinking"])),
    st.sets(st.sampled_from(["x", "tools[].type", "metadata.x", "thinking.type"])),
)
DIALECTS = [
    pytest.param(ChatCompletions(), BODIES, id="chat"),
    pytest.param(MESSAGES_DIALECT, BODIES, id="messages"),
    pytest.param(COUNT_TOKENS, BODIES, id="count_tokens"),
    pytest.param(Completions(), PROMPT_BODIES, id="completions"),
    pytest.param(Embeddings(), PROMPT_BODIES, id="embeddings"),
]


def go(members: list[tuple[str, Any]], name: str) -> Any:
    """As Go reads a member: the last one whose name is the same but for case, in Unicode's simple folding."""
    found = None
    for each, value in members:
        if each == name or _simple_fold(each) == _simple_fold(name):
            found = value
    return found


def _simple_fold(name: str) -> str:
    return name.replace("ſ", "s").replace("\u212a", "k").lower()


def first(members: list[tuple[str, Any]], name: str) -> Any:
    """As a reader reads a member that takes the first of a name."""
    return next((value for each, value in members if each == name), None)


def last(members: list[tuple[str, Any]], name: str) -> Any:
    """As JavaScript and Python read a member."""
    return next((value for each, value in reversed(members) if each == name), None)


class Members(list[tuple[str, Any]]):
    """An object's members as they are written."""


def read(content: bytes) -> Any:
    content.decode()
    return json.loads(content, object_pairs_hook=Members, parse_int=Text, parse_float=Text, parse_constant=_no_json)


def _no_json(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")


def all_read_alike(members: Any, name: str) -> Any:
    assert isinstance(members, Members)
    assert go(members, name) == first(members, name) == last(members, name), name
    return last(members, name)


def assert_plain_number(value: Any) -> None:
    assert isinstance(value, Text)
    assert value.isdecimal()
    assert str(int(value)) == value
    assert int(float(value)) == int(value) <= 2**53 - 1


def check_written(written: bytes, request: Request, endpoint: Endpoint, limit: int | None, *, streamed: bool) -> None:
    """Everything that charging read is the same to every reader of what the vendor gets."""
    found = read(written)
    assert all_read_alike(found, "model") == "vendor-model"
    if request.makes_output:
        assert (all_read_alike(found, "stream") is True) == streamed
    limits = [each for each in (request.output_limit, limit) if each is not None]
    for name in LIMITS:
        value = all_read_alike(found, name)
        if request.makes_output and limits and name == endpoint.output_limit_field:
            assert_plain_number(value)
            assert int(value) == min(limits)
        elif isinstance(request, ChatRequest):
            # Vendors of this dialect know both.
            assert value is None
    if "n" in dict(found):
        n = all_read_alike(found, "n")
        assert n is None or int(n) * request.size().inputs == request.choices or request.choices == 1
    if isinstance(request, CompletionsRequest | EmbeddingsRequest):
        check_prompts(all_read_alike(found, "prompt" if request.makes_output else "input"), request)
        return
    for message in all_read_alike(found, "messages"):
        check_message(message)


def check_prompts(prompts: Any, request: Request) -> None:
    """Each text was counted, and each token is a plain number; none is of nothing."""
    size = request.size()
    inputs = prompts if isinstance(prompts, list) and not isinstance(prompts[0], Text) else [prompts]
    assert len(inputs) == size.inputs
    texts = list(size.texts())
    for each in inputs:
        assert each
        if isinstance(each, str):
            assert each in texts
        else:
            for token in each:
                assert_plain_number(token)


def check_message(message: Any) -> None:
    assert isinstance(all_read_alike(message, "role"), str)
    content = all_read_alike(message, "content")
    assert content is None or isinstance(content, str | list)
    for part in content if type(content) is list else ():
        kind = all_read_alike(part, "type")
        assert isinstance(kind, str)
        text = all_read_alike(part, "text")
        if kind == "text":
            assert isinstance(text, str)


@pytest.mark.parametrize(("dialect", "bodies"), DIALECTS)
def test_a_request_is_refused_or_read_alike_by_all(dialect: Dialect, bodies: st.SearchStrategy[bytes]) -> None:
    served = [0]

    @tries(500)
    @given(bodies, HEADERS, ENDPOINTS, st.one_of(st.none(), st.integers(1, 5)), st.booleans())
    def check(body: bytes, headers: Mapping[bytes, bytes], endpoint: Endpoint, limit: int | None, streamed: bool) -> None:
        try:
            request = dialect.read(Body(body, "application/json"), headers)
            asked = request.vendor_request(endpoint, "vendor-model", limit, streamed=streamed and request.makes_output)
        except Problem as problem:
            assert problem.status == 400
            assert problem.message
            json.loads(dialect.problem_body(problem, "charging-id"))
            return
        size = request.size()
        assert size.bytes_bound >= sum(len(text.encode()) for text in size.texts())
        check_written(asked.body.content, request, endpoint, limit, streamed=streamed and request.makes_output)
        served[0] += 1

    check()
    # Or nothing was tried.
    assert served[0] > 50


# OpenAI's responses: items as they should be, and with strings in all places.
RESPONSES_LIMITS = ("max_output_tokens", "max_tokens")
ITEM_KINDS = st.sampled_from(
    ["message", "function_call", "function_call_output", "reasoning", "custom_tool_call", "item_reference", "web_search_call", "x"]
)
PART_KINDS = st.sampled_from(["input_text", "output_text", "refusal", "input_image", "input_file", "summary_text", "x"])
INPUT_PART = mostly(
    WORDS.map(lambda text: Pairs([("type", "input_text"), ("text", text)])),
    st.builds(
        lambda kind, more: Pairs([("type", kind), *more]),
        mostly(PART_KINDS, SCALARS),
        objects(("text", "refusal", "image_url", "file_id", "annotations", "x"), st.one_of(WORDS, ODD), 3),
    ),
    2,
)
INPUT_CONTENT = mostly(st.one_of(WORDS, st.lists(INPUT_PART, max_size=2)), ODD)
ITEM = mostly(
    st.builds(
        lambda role, content: Pairs([("role", role), ("content", content)]), st.sampled_from(["user", "assistant"]), INPUT_CONTENT
    ),
    st.builds(
        lambda kind, more: Pairs([("type", kind), *more]),
        mostly(ITEM_KINDS, SCALARS),
        objects(
            *(
                ("role", "content", "call_id", "name", "arguments", "input", "output", "summary", "encrypted_content", "id", "x"),
                st.one_of(WORDS, WORDS, INPUT_CONTENT, ODD),
                6,
            )
        ),
    ),
    2,
)
RESPONSES_TOP = (
    *("model", "input", "instructions", "stream", "store", "background", "previous_response_id", "tools", "include", "reasoning"),
    *("text", "stream_options", "top_logprobs", "service_tier", "x", *RESPONSES_LIMITS),
)
RESPONSES_FIELD = st.one_of(
    st.tuples(st.sampled_from(["stream", "store"]), st.booleans()),
    st.tuples(st.just("max_output_tokens"), st.integers(16, 99)),
    st.tuples(st.just("instructions"), WORDS),
    st.tuples(st.just("tools"), st.lists(mostly(st.just(Pairs([("type", "function"), ("name", "f")])), ODD, 5), max_size=2)),
    objects(RESPONSES_TOP, st.one_of(ODD, OPTIONS), 1).map(lambda each: each[0] if each else ("x", None)),
)
RESPONSES_REQUEST = st.builds(
    lambda model, given_input, more: Pairs([*more[:1], ("model", model), ("input", given_input), *more[1:]]),
    mostly(st.just("m"), SCALARS),
    mostly(st.one_of(WORDS, st.lists(ITEM, min_size=1, max_size=2)), ODD),
    st.lists(RESPONSES_FIELD, max_size=3),
)
RESPONSES_BODIES = mostly(
    RESPONSES_REQUEST.map(json_bytes),
    st.one_of(broken(RESPONSES_REQUEST.map(json_bytes)), anything(RESPONSES_TOP).map(json_bytes), st.binary(max_size=40)),
    9,
)


def check_item(item: Any) -> None:
    # Items of other types have no role that anybody reads.
    if all_read_alike(item, "type") in (None, "message"):
        assert all_read_alike(item, "role") is None or isinstance(all_read_alike(item, "role"), str)
    for name in ("content", "output", "summary"):
        parts = all_read_alike(item, name)
        for part in parts if type(parts) is list else ():
            if isinstance(part, Members):
                all_read_alike(part, "type")
                all_read_alike(part, "text")


def test_a_request_for_a_response_is_refused_or_read_alike_by_all() -> None:
    served = [0]

    @tries(500)
    @given(RESPONSES_BODIES, ENDPOINTS, st.sampled_from(RESPONSES_LIMITS), st.one_of(st.none(), st.integers(1, 50)), st.booleans())
    def check(body: bytes, endpoint: Endpoint, field: str, limit: int | None, streamed: bool) -> None:
        dialect, endpoint = Responses(), endpoint._replace(output_limit_field=field)
        try:
            request = dialect.read(Body(body, "application/json"), {})
            asked = request.vendor_request(endpoint, "vendor-model", limit, streamed=streamed)
        except Problem as problem:
            assert problem.status == 400
            assert problem.message
            json.loads(dialect.problem_body(problem, "charging-id"))
            return
        size = request.size()
        assert size.bytes_bound >= sum(len(text.encode()) for text in size.texts())
        found = read(asked.body.content)
        assert all_read_alike(found, "model") == "vendor-model"
        assert all_read_alike(found, "store") is False
        assert (all_read_alike(found, "stream") is True) == streamed
        for name in ("background", "previous_response_id", "conversation", "prompt"):
            assert name not in dict(found)
        limits = [each for each in (request.output_limit, limit) if each is not None]
        for name in RESPONSES_LIMITS:
            value = all_read_alike(found, name)
            assert value is None if not limits or name != field else int(value) == min(limits)
        given_input = all_read_alike(found, "input")
        for item in given_input if type(given_input) is list else ():
            check_item(item)
        served[0] += 1

    check()
    # Or nothing was tried.
    assert served[0] > 50


@tries(300)
@given(st.one_of(anything(TOP).map(json_bytes), REQUEST.map(json_bytes), st.binary(max_size=30)), st.sampled_from(TOP))
def test_json_is_read_or_refused(body: bytes, name: str) -> None:
    try:
        fields = json_text.read_object(body)
        json_text.refuse_folds(fields, json_text.by_fold(TOP))
    except Problem as problem:
        assert problem.status == 400
        return
    written = json_text.encode(fields)
    assert json_text.read_object(written).keys() == fields.keys()
    readings: list[Callable[[json_text.Fields, str], Any]] = [json_text.text, json_text.truth, partial(json_text.integer, least=0)]
    for reading in readings:
        try:
            value = reading(fields, name)
        except Problem as problem:
            assert (problem.status, problem.param) == (400, name)
        else:
            alike = all_read_alike(read(written), name)
            assert (int(alike) if type(value) is int else alike) == value
    raw = fields.get(name, Raw(b"null"))
    for shape in (json_text.members, json_text.objects, json_text.elements):
        try:
            shape(raw, name)
        except Problem as problem:
            assert (problem.status, problem.param) == (400, name)
