import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from services.edge.call.dialect import Body, InputSize
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.dialects.chat.request import ChatRequest
from services.edge.dialects.unmetered import refuse_unmetered
from services.edge.http.problems import Problem
from services.edge.tokens.media import UNKNOWN, Document, Image
from services.edge.tokens.sound import FAR_SOUND, sound_of
from services.edge.vendors.profile import Endpoint, Unknown
from tests.edge.dialects.answers import ENDPOINT, MESSAGES, request
from tests.edge.tokens.pictures import data_url, in_base64, png
from tests.edge.tokens.sounds import wav

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
PASSING = ENDPOINT._replace(unknown_fields=Unknown.PASSED)


def read(raw: bytes | str) -> ChatRequest:
    return ChatCompletions().read(Body(raw.encode() if isinstance(raw, str) else raw, "application/json"), {})


def body(inner: str) -> str:
    return '{"model":"m","messages":[{"role":"user","content":"x"}],' + inner + "}"


def messages(inner: str) -> str:
    return '{"model":"m","messages":[' + inner + "]}"


def sent(asked: ChatRequest, endpoint: Endpoint = ENDPOINT, output_limit: int | None = None, *, streamed: bool = False) -> bytes:
    return asked.vendor_request(endpoint, "theirs", output_limit, streamed=streamed).body.content


def sent_json(asked: ChatRequest, endpoint: Endpoint = ENDPOINT, output_limit: int | None = None, *, streamed: bool = False) -> Any:
    return json.loads(sent(asked, endpoint, output_limit, streamed=streamed))


def refused(raw: bytes | str, endpoint: Endpoint = ENDPOINT) -> Problem:
    with pytest.raises(Problem) as raised:
        sent(read(raw), endpoint)
    assert (raised.value.status, raised.value.type) == (400, "invalid_request_error")
    return raised.value


# What is read


def test_a_request_is_read() -> None:
    asked = request(stream=True, stream_options={"include_usage": True}, n=3, max_completion_tokens=7)
    assert (asked.model_id, asked.streamed, asked.options.include_usage, asked.choices) == ("m", True, True, 3)
    assert (asked.output_limit, asked.output_field) == (7, "max_completion_tokens")
    assert asked.makes_output


def test_of_two_limits_the_smaller_holds_and_null_is_none() -> None:
    asked = request(max_tokens=5, max_completion_tokens=9)
    assert (asked.output_limit, asked.output_field) == (5, "max_tokens")
    asked = request(max_tokens=None, n=None, stream=None, stream_options=None)
    assert (asked.choices, asked.output_limit, asked.output_field, asked.streamed) == (1, None, None, False)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"text"', None),
        (b"null", None),
        (b"{} {}", None),
        (b"[" * 100_000, None),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b'{"\xff": 1}', None),
        (b'{"model": "\xff"}', None),
        (b'{"model": "\\ud800"}', None),
        (body('"user":"\\ude42\\ud83d"'), None),
        (b'{"model": "m", "messages": [], "x": "\xed\xa0\x80"}', None),
        (b"{}", "model"),
        (b'{"model": ""}', "model"),
        (b'{"model": null}', "model"),
        (b'{"model": ["m"]}', "model"),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": null}', "messages"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b'{"model": "m", "messages": {}}', "messages"),
        (b'{"model": "m", "messages": "text"}', "messages"),
        (b'{"model": "m", "messages": ["text"]}', "messages"),
        (messages("{}"), "messages[0].role"),
        (messages('{"role":5,"content":"x"}'), "messages[0].role"),
        (messages('{"role":"user","content":5}'), "messages[0].content"),
        (messages('{"role":"user","content":{"type":"text"}}'), "messages[0].content"),
        (messages('{"role":"user","content":["x"]}'), "messages[0].content"),
        (messages('{"role":"user","content":[{"text":"x"}]}'), "messages[0].content[0].type"),
        (messages('{"role":"user","content":[{"type":"text"}]}'), "messages[0].content[0].text"),
        (messages('{"role":"user","content":[{"type":"text","text":5}]}'), "messages[0].content[0].text"),
        (messages('{"role":"assistant","tool_calls":"x"}'), "messages[0].tool_calls"),
        (messages('{"role":"assistant","tool_calls":[{"function":"x"}]}'), "messages[0].tool_calls[0].function"),
        (messages('{"role":"user","content":[{"type":"image_url"}]}'), "messages[0].content[0].image_url"),
        (messages('{"role":"user","content":[{"type":"image_url","image_url":{}}]}'), "messages[0].content[0].image_url.url"),
    ],
)
def test_a_body_that_is_none_is_refused_by_the_field(raw: bytes | str, param: str | None) -> None:
    assert refused(raw).param == param


NO_LIMITS: list[Any] = [0, -1, 1.5, 5.0, "5", True, [5], {}, 2**53, 2**63, 10**4_000]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": 1}, "stream"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": {}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"stream": True, "stream_options": {"continuous_usage_stats": 1}}, "stream_options.continuous_usage_stats"),
        *(({"n": n}, "n") for n in (0, -1, 129, 1_000, 1.5, 1.0, "1", True, [1], 10**40)),
        *(({field: limit}, field) for field in ("max_tokens", "max_completion_tokens") for limit in NO_LIMITS),
    ],
)
def test_a_field_that_is_wrong_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Problem) as raised:
        request(**fields)
    assert (raised.value.status, raised.value.type, raised.value.param) == (400, "invalid_request_error", param)
    assert param in raised.value.message


@pytest.mark.parametrize("number", ["1e3", "1E0", "10.0", "1.0e1", "-1", "9007199254740993", "1e-1"])
def test_a_number_that_readers_understand_differently_is_refused(number: str) -> None:
    assert refused(body(f'"max_tokens":{number}')).param == "max_tokens"


# Names that another reader takes for known ones


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        ('{"model":"qwen-flash","Model":"qwen3-max","messages":[{"role":"user","content":"x"}]}', "Model"),
        ('{"Model":"qwen3-max","model":"qwen-flash","messages":[{"role":"user","content":"x"}]}', "Model"),
        (body('"n":1,"N":100'), "N"),
        (body('"max_tokens":1,"Max_Tokens":100000'), "Max_Tokens"),
        (body('"max_tokens":1,"max_token\u017f":100000'), "max_token\u017f"),
        (body('"max_tokens":1,"max_to\u212aens":100000'), "max_to\u212aens"),
        (body('"max_tokens":1,"max_to\\u212aens":100000'), "max_to\u212aens"),
        (body('"max_completion_tokens":1,"max_complet\u0131on_tokens":9'), "max_complet\u0131on_tokens"),
        (body('"Stream":true'), "Stream"),
        (body('"stream":true,"Stream_Options":{}'), "Stream_Options"),
        (body('"stream":true,"stream_options":{"Include_Usage":false}'), "stream_options.Include_Usage"),
        (body('"Messages":[]'), "Messages"),
        (body('"TOOLS":[]'), "TOOLS"),
        (body('"Service_Tier":"priority"'), "Service_Tier"),
        (messages('{"role":"user","content":"x","Content":"y"}'), "messages[0].Content"),
        (messages('{"role":"user","content":"x"},{"Role":"user","role":"user","content":"x"}'), "messages[1].Role"),
        (messages('{"role":"user","content":[{"type":"text","text":"x","Text":"y"}]}'), "messages[0].content[0].Text"),
        (
            messages('{"role":"user","content":[{"type":"image_url","image_url":{"url":"u","URL":"v"}}]}'),
            "messages[0].content[0].image_url.URL",
        ),
        (
            messages('{"role":"assistant","tool_calls":[{"Function":{},"function":{"name":"f"}}]}'),
            "messages[0].tool_calls[0].Function",
        ),
        (
            messages('{"role":"assistant","tool_calls":[{"function":{"name":"f","Arguments":"{}"}}]}'),
            "messages[0].tool_calls[0].function.Arguments",
        ),
    ],
)
def test_a_name_that_another_reader_takes_for_a_known_one_is_refused(raw: str, param: str) -> None:
    for endpoint in (ENDPOINT, PASSING):
        problem = refused(raw, endpoint)
        assert (problem.param, problem.code) == (param, "ambiguous_field")


def test_a_name_that_folds_to_an_endpoints_own_is_refused() -> None:
    endpoint = PASSING._replace(
        extra_fields=frozenset({"enable_thinking"}), priced_fields=(("enable_search", frozenset({b"false"})),)
    )
    for name in ("Enable_Thinking", "enable_\u017fearch"):
        assert refused(body(f'"{name}":true'), endpoint).param == name


def test_names_that_are_data_are_left_alone() -> None:
    schema = {"type": "object", "properties": {"Model": {"type": "string"}, "N": {"Content": 1}}, "Stream": True}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"Content":1,"Model":2}'}}
    fields: dict[str, Any] = {
        "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        "metadata": {"Model": "x", "N": "y"},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    }
    got = sent_json(request(**fields))
    assert {name: got[name] for name in fields} == fields


# What comes twice


def test_what_came_twice_goes_once_and_the_last_holds() -> None:
    raw = (
        '{"model":"a","model":"m","max_tokens":1,"messages":[{"role":"user","content":"first"}],"max_tokens":2,'
        '"messages":[{"role":"user","content":"lost","content":[{"type":"text","text":"lost","text":"kept"}]},'
        '{"role":"assistant","tool_calls":[{"function":{"name":"a","name":"b","arguments":"lost","arguments":"{}"}}]}],'
        '"temperature":1,"temperature":0.50}'
    )
    asked = read(raw)
    assert (asked.model_id, asked.output_limit) == ("m", 2)
    wire = sent(asked)
    assert b"lost" not in wire
    assert b"first" not in wire
    assert json.loads(wire) == {
        "model": "theirs",
        "max_tokens": 2,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "kept"}]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "b", "arguments": "{}"}}]},
        ],
        "temperature": 0.5,
    }
    for name in (b'"model"', b'"max_tokens"', b'"messages"', b'"text":"', b'"name"', b'"arguments"', b'"temperature"'):
        assert wire.count(name) == 1


@pytest.mark.parametrize(
    "inner",
    [
        '{"role":"user","content":"%s","content":"x"}',
        '{"role":"user","content":"x"},{"role":"user","content":"%s","c\\u006fntent":"x"}',
        '{"role":"%s","role":"user","content":"x"}',
        '{"role":"user","name":"%s","name":"x","content":"x"}',
        '{"role":"content","content":"x"},{"role":"user","c\\u006fntent":"%s","content":"x"}',
    ],
)
def test_a_text_that_came_first_of_two_does_not_reach_a_vendor(inner: str) -> None:
    asked = read(messages(inner % ("y" * 1_000)))
    assert b"yyy" not in sent(asked)
    assert asked.size().bytes_bound < 20


# What is sent


def test_the_vendors_body_keeps_order_and_text_and_changes_what_it_must() -> None:
    raw = (
        '{"temperature":1.50,"model":"m","seed":10000000000000000000001,"tools": [{"type":"function",  "x":2.50}],'
        '"messages":[{"role":"user","content":"\\u4f60"}],"stream":true,"stop":["a"],"simulate":{"tokens":5}}'
    )
    wire = sent(read(raw), output_limit=9, streamed=True)
    assert b'"temperature":1.50,"model":"theirs","seed":10000000000000000000001' in wire
    assert b'"tools":[{"type":"function","x":2.50}]' in wire
    assert list(json.loads(wire)) == [
        "temperature",
        "model",
        "seed",
        "tools",
        "messages",
        "stream",
        "stop",
        "simulate",
        "max_tokens",
        "stream_options",
    ]
    assert json.loads(wire)["messages"] == [{"role": "user", "content": "你"}]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
@pytest.mark.parametrize(
    ("fields", "limit", "expected"),
    [
        ({}, None, None),
        ({}, 9, 9),
        ({"max_tokens": 5}, None, 5),
        ({"max_completion_tokens": 5}, 9, 5),
        ({"max_completion_tokens": 50}, 9, 9),
        ({"max_tokens": 50, "max_completion_tokens": 5}, None, 5),
        ({"max_tokens": None, "max_completion_tokens": 50}, 9, 9),
        ({"max_tokens": 5, "max_completion_tokens": 50_000}, 3, 3),
    ],
)
def test_the_smaller_limit_goes_into_the_one_field_that_the_vendor_heeds(
    field: str, fields: dict[str, Any], limit: int | None, expected: int | None
) -> None:
    got = sent_json(request(**fields), PASSING._replace(output_limit_field=field), limit)
    limits = {name: got[name] for name in got if name.startswith("max_")}
    assert limits == ({} if expected is None else {field: expected})


def test_a_limit_under_the_endpoints_own_name_does_not_pass_beside_the_reserved_one() -> None:
    got = sent_json(request(max_output_tokens=99_999), PASSING._replace(output_limit_field="max_output_tokens"), 9)
    assert got["max_output_tokens"] == 9


@pytest.mark.parametrize(
    ("fields", "streamed", "takes_options", "expected"),
    [
        ({}, False, True, (None, None)),
        ({"stream": False}, False, True, (False, None)),
        ({}, True, True, (True, {"include_usage": True})),
        ({"stream": False}, True, True, (True, {"include_usage": True})),
        ({"stream": True}, True, False, (True, None)),
        ({"stream": True}, False, True, (False, None)),
        ({"stream": True, "stream_options": {"include_usage": False}}, True, True, (True, {"include_usage": True})),
        (
            {"stream": True, "stream_options": {"include_obfuscation": False, "continuous_usage_stats": True}},
            True,
            True,
            (True, {"include_usage": True, "include_obfuscation": False}),
        ),
    ],
)
def test_streams_and_their_options_are_written_by_us(
    fields: dict[str, Any], streamed: bool, takes_options: bool, expected: tuple[Any, Any]
) -> None:
    endpoint = ENDPOINT._replace(takes_stream_options=takes_options)
    got = sent_json(request(**fields), endpoint, streamed=streamed)
    assert (got.get("stream"), got.get("stream_options")) == expected


def test_unknown_options_of_a_stream_are_dropped_by_name() -> None:
    asked = request(stream=True, stream_options={"odd": 1})
    built = asked.vendor_request(PASSING, "theirs", None, streamed=True)
    assert built.dropped == ("stream_options.odd",)
    assert b"odd" not in built.body.content


def test_unknown_fields_follow_the_endpoint() -> None:
    asked = read(body('"odd": [1,  2.50], "enable_thinking":true'))
    extra = frozenset({"enable_thinking"})
    built = asked.vendor_request(ENDPOINT, "theirs", None, streamed=False)
    assert built.dropped == ("odd", "enable_thinking")
    assert json.loads(built.body.content).keys() == {"model", "messages"}
    built = asked.vendor_request(PASSING._replace(extra_fields=extra), "theirs", None, streamed=False)
    assert built.dropped == ()
    assert b'"odd":[1,  2.50],"enable_thinking":true' in built.body.content
    with pytest.raises(Problem) as raised:
        asked.vendor_request(ENDPOINT._replace(unknown_fields=Unknown.REFUSED), "theirs", None, streamed=False)
    assert (raised.value.status, raised.value.param) == (400, "odd")
    assert asked.size().bytes_bound > request().size().bytes_bound + len("oddenable_thinking")


@pytest.mark.parametrize(
    ("member", "param"),
    [
        ('"max_output_tokens":9', "max_output_tokens"),
        ('"maxOutputTokens":9', "maxOutputTokens"),
        ('"best_of":3', "best_of"),
        ('"num_return_sequences":3', "num_return_sequences"),
        ('"fallbacks":["dear"]', "fallbacks"),
        ('"conversation":"c"', "conversation"),
        ('"speed":"fast"', "speed"),
        ('"extra_body":{"n":9}', "extra_body.n"),
        ('"options":[{"num_predict":9}]', "options[0].num_predict"),
    ],
)
def test_what_a_vendor_may_heed_and_the_meter_never_reads_does_not_pass(member: str, param: str) -> None:
    asked = read(body(member))
    with pytest.raises(Problem) as raised:
        asked.vendor_request(PASSING, "theirs", None, streamed=False)
    assert (raised.value.status, raised.value.param) == (400, param)
    assert asked.vendor_request(ENDPOINT, "theirs", None, streamed=False).dropped


@pytest.mark.parametrize(
    ("fields", "alternatives", "most"),
    [
        ({}, None, 256),
        ({"logprobs": False, "top_logprobs": 5}, None, 256),
        ({"logprobs": True}, 0, 2 * 256),
        ({"logprobs": True, "top_logprobs": 20}, 20, 22 * 256),
    ],
)
def test_a_whole_answer_has_room_for_the_probabilities_that_were_asked_for(
    fields: dict[str, Any], alternatives: int | None, most: int
) -> None:
    asked = request(**fields)
    assert asked.alternatives == alternatives
    assert asked.whole_bytes_max(100) == 65_536 + 100 * most


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"logprobs": 5}, "logprobs"), ({"top_logprobs": -1}, "top_logprobs"), ({"top_logprobs": 21}, "top_logprobs")],
)
def test_probabilities_are_asked_for_as_the_dialect_has_it(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Problem) as refused:
        request(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ('{"type":"web_search"}', "tools[1].type"),
        ('{"type":"function","type":"web_search","function":{"name":"f"}}', "tools[1].type"),
        ('{"Type":"web_search"}', "tools[1].type"),
        ('{"type":"function","TYPE":"web_search"}', "tools[1].TYPE"),
        ('{"web_search":{"enable":true}}', "tools[1].type"),
    ],
)
def test_a_tool_that_runs_at_the_vendor_is_refused_where_its_profile_says_nothing(tool: str, param: str) -> None:
    own = '{"type":"function","function":{"name":"f","parameters":{"Type":1.50}}}'
    with pytest.raises(Problem) as raised:
        read(body(f'"tools":[{own},{tool}]')).vendor_request(ENDPOINT, "theirs", None, streamed=False)
    assert (raised.value.status, raised.value.param) == (400, param)
    sold = ENDPOINT._replace(extra_fields=frozenset({"tools"}))
    assert tool.encode() in read(body(f'"tools":[{own},{tool}]')).vendor_request(sold, "theirs", None, streamed=False).body.content
    free = read(body(f'"tools":[{own},{{"type":"custom"}}]')).vendor_request(ENDPOINT, "theirs", None, streamed=False)
    assert own.encode() in free.body.content


PRICED = ENDPOINT._replace(
    priced_fields=(
        ("enable_search", frozenset({b"false", b"null"})),
        ("service_tier", frozenset({b'"default"'})),
        ("tools[].type", frozenset({b'"function"'})),
        ("extra.search.on", frozenset({b"false"})),
    )
)


@pytest.mark.parametrize(
    ("inner", "param"),
    [
        ('"enable_search":true', "enable_search"),
        ('"enable_search":1', "enable_search"),
        ('"service_tier":"priority"', "service_tier"),
        ('"service_tier":"auto"', "service_tier"),
        ('"tools":[{"type":"function"},{"type":"web_search"}]', "tools[1].type"),
        ('"tools":[{"type":"function","Type":"web_search"}]', "tools[0].Type"),
        ('"tools":{"type":"function"}', "tools"),
        # A vendor may take these for tools of its own.
        ('"tools":[{"web_search":{"enable":true}}]', "tools[0].type"),
        ('"tools":[{"type":"function"},{"type":null,"web_search":{}}]', "tools[1].type"),
        ('"extra":{"search":{"on":true}}', "extra.search.on"),
        ('"web_search_options":{}', "web_search_options"),
        ('"modalities":["text","audio"]', "modalities"),
        ('"audio":{"voice":"v","format":"mp3"}', "audio"),
        ('"prediction":{"type":"content","content":"x"}', "prediction"),
    ],
)
def test_what_costs_extra_is_refused(inner: str, param: str) -> None:
    problem = refused(body(inner), PRICED)
    assert problem.param == param


def test_what_costs_nothing_extra_passes_and_means_one_thing() -> None:
    raw = body(
        '"enable_search":  false,"service_tier":"priority","service_tier":"default","modalities": ["text"],'
        '"web_search_options":null,'
        '"tools":[{"type":"web_search","type":"function","function":{"name":"f","parameters":{"Type":1.50}}},{"type":"function","x":1}]'
    )
    wire = sent(read(raw), PRICED)
    assert b'"enable_search":false,"service_tier":"default","modalities":["text"],"web_search_options":null' in wire
    assert b'web_search"' not in wire
    assert b'{"name":"f","parameters":{"Type":1.50}}' in wire


def test_an_endpoints_word_on_a_price_stands_over_the_dialects() -> None:
    assert refused(body('"service_tier":"priority"')).param == "service_tier"
    assert b'"service_tier":"priority"' in sent(
        read(body('"service_tier":"priority"')), ENDPOINT._replace(extra_fields=frozenset({"service_tier"}))
    )


# Content


def test_unknown_content_is_passed_to_the_letter_and_counted_or_refused() -> None:
    inner = (
        '{"role":"user","content":[{"type":"text","text":"abc","cache_control":{"type":"ephemeral",  "ttl":5.50}},'
        '{"type":"context_block","context":"what was said"}],"weight":1.0}'
    )
    asked = read(messages(inner))
    wire = sent(asked)
    assert b'"cache_control":{"type":"ephemeral",  "ttl":5.50}' in wire
    assert b'{"type":"context_block","context":"what was said"}],"weight":1.0' in wire
    assert asked.size().bytes_bound >= len('abc{"type":"ephemeral",  "ttl":5.50}what was said1.0')
    for policy in (Unknown.REFUSED, Unknown.DROPPED):
        with pytest.raises(Problem) as raised:
            asked.vendor_request(ENDPOINT._replace(unknown_content=policy), "theirs", None, streamed=False)
        assert raised.value.param == "messages[0].content[0].cache_control"
    assert sent(request(), ENDPOINT._replace(unknown_content=Unknown.REFUSED))


@pytest.mark.parametrize(
    "part",
    [
        '{"type":"video_url","video_url":{"url":"u"}}',
        '{"type":"Image","source":"u"}',
        '{"type":"text","text":"x","image_url":{"url":"u"}}',
        '{"type":"text","text":"x","input_audio":{"data":"x"}}',
        '{"type":"tool_result","content":[{"type":"video_url","video_url":{"url":"u"}}]}',
    ],
)
def test_content_without_a_bound_is_refused(part: str) -> None:
    problem = refused(messages('{"role":"user","content":"x"},{"role":"user","content":[' + part + "]}"))
    assert problem.param is not None
    assert problem.param.startswith("messages[1].content[0]")
    assert "bound" in problem.message


@pytest.mark.parametrize("member", ['"audio":{"id":"a"}', '"images":["aGVsbG8="]', '"attachments":[{"file_id":"f"}]'])
def test_a_members_media_is_refused(member: str) -> None:
    assert refused(messages('{"role":"user","content":"x",' + member + "}")).status == 400


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("leaf", ["1", '{"type":"input_audio"}'])
def test_a_member_may_be_nested_as_deep_as_json_is_read(open_: str, close: str, leaf: str) -> None:
    body = messages('{"role":"user","content":"x","foo":' + open_ * 800 + leaf + close * 800 + "}")
    if leaf == "1":
        assert read(body).size().bytes_bound > 1_600
    else:
        assert refused(body).code == "unsupported_value"


def test_an_image_is_counted_as_one_and_its_bytes_are_no_text() -> None:
    data = "data:image/png;base64," + "A" * 10_000
    parts = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": data, "detail": "high"}},
        {"type": "image_url", "image_url": "https://pictures.test/1.png"},
    ]
    asked = request(messages=[{"role": "user", "content": parts}])
    size = asked.size()
    assert (size.images, size.bytes_bound, list(size.texts())) == ((UNKNOWN,) * 2, len("what is it?"), ["what is it?"])
    assert sent_json(asked)["messages"][0]["content"] == parts


@pytest.mark.parametrize("detail", ["low", "high", None])
def test_an_image_has_the_size_and_the_detail_that_it_says(detail: str | None) -> None:
    image = {"url": data_url(png(640, 480)), **({"detail": detail} if detail else {})}
    parts = [{"type": "image_url", "image_url": image}, {"type": "image_url", "image_url": image["url"]}]
    size = request(messages=[{"role": "user", "content": parts}]).size()
    assert size.images == (Image(640, 480, is_low=detail == "low"), Image(640, 480))


@pytest.mark.parametrize("image", ['"data:application/pdf;base64,JVBERi0="', '{"url":"data:video/mp4;base64,AAAA"}', '"data:,a"'])
def test_data_of_another_type_is_no_image(image: str) -> None:
    problem = refused(messages('{"role":"user","content":[{"type":"image_url","image_url":' + image + "}]}"))
    assert (problem.param or "").startswith("messages[0].content[0].image_url")
    assert "is no image. Send a data URL of an image" in problem.message


def size_of_part(part: dict[str, Any]) -> InputSize:
    asked = request(messages=[{"role": "user", "content": [part]}])
    assert sent_json(asked)["messages"][0]["content"] == [part]
    return asked.size()


def test_sound_has_the_length_that_its_file_says_and_its_bytes_are_no_text() -> None:
    data = in_base64(wav(2))
    for written in (data, f"data:audio/wav;base64,{data}", f"data:;base64,{data}"):
        size = size_of_part({"type": "input_audio", "input_audio": {"data": written, "format": "wav"}})
        assert (size.sounds, size.bytes_bound) == ((sound_of(wav(2)),), 0)
    far = size_of_part({"type": "input_audio", "input_audio": {"data": "https://sounds.test/1.wav", "format": "wav"}})
    assert far.sounds == (FAR_SOUND,)


def test_a_document_has_its_bytes_and_its_name_is_a_text() -> None:
    size = size_of_part({"type": "file", "file": {"file_data": in_base64(b"%PDF-" + b"x" * 295), "filename": "a.pdf"}})
    assert (size.documents, list(size.texts())) == ((Document(300),), ["a.pdf"])
    assert size_of_part({"type": "file", "file": {"file_data": "https://files.test/1"}}).documents == (Document(),)


@pytest.mark.parametrize(
    ("part", "param", "message"),
    [
        ('{"type":"input_audio"}', ".input_audio", "is missing"),
        ('{"type":"input_audio","input_audio":{"format":"wav"}}', ".input_audio.data", "must have data"),
        ('{"type":"input_audio","input_audio":{"data":"*"}}', ".input_audio.data", "is not base64"),
        ('{"type":"input_audio","input_audio":{"data":"YQ==","Data":"YQ=="}}', ".input_audio.Data", "write data"),
        ('{"type":"input_audio","input_audio":{"data":"YQ==","video":"YQ=="}}', ".input_audio.video", "no known bound"),
        ('{"type":"file"}', ".file", "is missing"),
        ('{"type":"file","file":{"file_id":"f"}}', ".file.file_id", "Send its file_data."),
        ('{"type":"file","file":{"filename":"f"}}', ".file.file_data", "must have file_data"),
        ('{"type":"file","file":{"file_data":"YQ==","File_ID":"f"}}', ".file.File_ID", "write file_id"),
    ],
)
def test_sound_or_a_document_that_is_none_is_named(part: str, param: str, message: str) -> None:
    problem = refused(messages('{"role":"user","content":[' + part + "]}"))
    assert problem.param == "messages[0].content[0]" + param
    assert message in problem.message


# Sizes


def bound(fields: dict[str, Any], *, ascii_only: bool = True) -> int:
    return read(json.dumps({"model": "m", **fields}, ensure_ascii=ascii_only)).size().bytes_bound


def utf8(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)


def test_a_plain_message_is_bounded_by_its_bytes() -> None:
    size = request(messages=[{"role": "user", "content": "Hello"}, {"role": "user", "content": "你好"}]).size()
    assert (size.bytes_bound, size.messages, size.images) == (5 + 6, 2, ())
    assert list(size.texts()) == ["Hello", "你好"]
    assert (size.text.utf8_bytes, size.text.chinese) == (11, 2)


@given(st.lists(TEXT, min_size=1, max_size=4), st.booleans())
def test_the_bound_is_never_below_the_bytes_of_plain_messages(texts: list[str], ascii_only: bool) -> None:
    named = [{"role": "user", "content": text, "name": "n" + text[:5]} for text in texts]
    assert bound({"messages": named}, ascii_only=ascii_only) >= utf8(*texts) + len(texts)
    plain = [{"role": "user", "content": text} for text in texts]
    assert bound({"messages": plain}, ascii_only=ascii_only) == utf8(*texts)


@given(TEXT, TEXT, TEXT, st.booleans())
def test_the_bound_is_never_below_the_bytes_of_rich_messages(text: str, arguments: str, description: str, ascii_only: bool) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    tool = {"type": "function", "function": {"name": "f", "description": description}}
    rich: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": text}, {"type": "text", "text": text}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": text},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": text}], "function_call": call["function"]},
    ]
    fields = {"messages": rich, "tools": [tool], "response_format": {"x": text}, "odd": description}
    expected = utf8(text, text, text, text, arguments, arguments, description, description, text)
    assert bound(fields, ascii_only=ascii_only) >= expected


def test_a_role_that_no_template_covers_counts_with_its_bytes() -> None:
    common, odd = ({"messages": [{"role": role, "content": ""}]} for role in ("assistant", "r" * 500))
    assert bound(odd) == bound(common) + 500


def test_unknown_fields_may_be_prompt_and_settings_are_none() -> None:
    base = bound({"messages": MESSAGES})
    assert bound({"messages": MESSAGES, "temperature": 0.5, "user": "u" * 100, "metadata": {"a": "b" * 100}}) == base
    assert bound({"messages": MESSAGES, "simulate": {"text": "t" * 100}}) == base
    assert bound({"messages": MESSAGES, "prompt_prefix": "p" * 100}) >= base + 100


def test_the_size_of_long_texts_has_their_exact_bytes() -> None:
    texts = ["天气很好" * 10_000, "Hello world " * 10_000, ""]
    size = request(messages=[{"role": "user", "content": text} for text in texts]).size()
    assert size.bytes_bound == size.text.utf8_bytes == utf8(*texts)


@given(st.dictionaries(st.text().map("x_".__add__), JSON, max_size=5), st.booleans(), st.sampled_from([None, 9]))
def test_whatever_else_a_request_has_passes_byte_for_byte(fields: dict[str, Any], indented: bool, limit: int | None) -> None:
    try:
        refuse_unmetered("", fields)
    except Problem:
        reject()
    whole = {"model": "m", **fields, "messages": MESSAGES}
    raw = json.dumps(whole, indent=2 if indented else None).encode()
    before = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    after = msgspec.json.decode(sent(read(raw), PASSING, limit), type=dict[str, msgspec.Raw])
    assert {name: bytes(after[name]) for name in fields} == {name: bytes(before[name]) for name in fields}
    assert after.keys() == before.keys() | ({"max_tokens"} if limit else set())


@pytest.mark.parametrize("costs", ["deep", "wide"])
def test_each_of_two_paths_within_a_field_that_cost_extra_is_looked_at(costs: str) -> None:
    endpoint = ENDPOINT._replace(priced_fields=(("search.deep", frozenset({b"false"})), ("search.wide", frozenset({b"false"}))))
    search = {"deep": False, "wide": False, costs: True}
    with pytest.raises(Problem) as problem:
        request(search=search).vendor_request(endpoint, "m", None, streamed=False)
    assert (problem.value.status, problem.value.param) == (400, f"search.{costs}")
