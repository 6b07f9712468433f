"""Requests for OpenAI's responses: what is read, counted, refused, and written for a vendor."""

import json
from typing import Any

import msgspec
import pytest

from services.edge.call.dialect import Body
from services.edge.dialects.responses.dialect import Responses
from services.edge.dialects.responses.request import ResponsesRequest
from services.edge.dialects.sizes import VENDOR_TOOL_TOKENS
from services.edge.http import problems
from services.edge.http.problems import Problem
from services.edge.tokens.media import Image
from services.edge.vendors.profile import Endpoint, Unknown
from tests.edge.dialects.responses_answers import ENDPOINT, TOOL
from tests.edge.tokens.pictures import data_url, png

DIALECT = Responses()
HELLO = {"type": "message", "role": "user", "content": "Hello"}


def read(**fields: Any) -> ResponsesRequest:
    return read_json(json.dumps({"model": "m", "input": "Hello", **fields}))


def read_json(body: str) -> ResponsesRequest:
    return DIALECT.read(Body(body.encode("utf-8", "surrogatepass"), "application/json"), {})


def sent(
    request: ResponsesRequest, endpoint: Endpoint = ENDPOINT, limit: int | None = None, *, streamed: bool = False
) -> dict[str, Any]:
    asked = request.vendor_request(endpoint, "vendor-m", limit, streamed=streamed)
    assert (asked.path, asked.headers) == ("/responses", ())
    body: dict[str, Any] = msgspec.json.decode(asked.body.content)
    return body


# What is written


def test_a_plain_request_is_written_for_the_vendor() -> None:
    request = read()
    assert (request.model_id, request.streamed, request.choices, request.output_limit) == ("m", False, 1, None)
    assert sent(request) == {"model": "vendor-m", "input": "Hello", "store": False}


@pytest.mark.parametrize("store", [None, True, False])
def test_vendors_are_always_told_to_keep_nothing(store: Any) -> None:
    assert sent(read(store=store))["store"] is False
    assert sent(read(store=store), ENDPOINT._replace(extra_fields=frozenset({"store"})))["store"] is False


@pytest.mark.parametrize(
    ("asked", "allowed", "written"), [(None, None, None), (100, None, 100), (None, 50, 50), (100, 50, 50), (50, 100, 50)]
)
@pytest.mark.parametrize("field", ["max_output_tokens", "max_tokens"])
def test_the_smaller_limit_goes_into_the_field_that_the_vendor_heeds(
    asked: int | None, allowed: int | None, written: int | None, field: str
) -> None:
    request = read() if asked is None else read(max_output_tokens=asked)
    body = sent(request, ENDPOINT._replace(output_limit_field=field), allowed)
    assert {name: value for name, value in body.items() if name.startswith("max_")} == ({} if written is None else {field: written})


def test_a_whole_answer_is_asked_for_as_a_stream_where_the_edge_wants_one() -> None:
    assert sent(read(stream=False), streamed=True)["stream"] is True
    assert "stream" not in sent(read(stream=True), streamed=False)


def test_options_of_the_stream_are_passed_or_dropped() -> None:
    request = read(stream=True, stream_options={"include_obfuscation": False, "odd": 1})
    asked = request.vendor_request(ENDPOINT, "vendor-m", None, streamed=True)
    assert msgspec.json.decode(asked.body.content)["stream_options"] == {"include_obfuscation": False}
    assert asked.dropped == ("stream_options.odd",)
    assert "stream_options" not in sent(request, streamed=False)


SETTINGS: dict[str, Any] = {
    "instructions": "Be brief.",
    "tools": [TOOL, {"type": "custom", "name": "run"}, {"type": "namespace", "name": "x", "description": "y", "tools": [TOOL]}],
    "tool_choice": {"type": "function", "name": "weather"},
    "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "parallel_tool_calls": True,
    "temperature": 0.5,
    "prompt_cache_key": "k",
    "metadata": {"a": "b"},
    "safety_identifier": "s",
    "truncation": "auto",
    "service_tier": "default",
}


def test_settings_pass_unchanged() -> None:
    body = sent(read(**SETTINGS))
    assert {name: body[name] for name in SETTINGS} == SETTINGS


def test_numbers_keep_their_text() -> None:
    body = (
        read_json('{"model":"m","input":"x","temperature":1.50}').vendor_request(ENDPOINT, "v", None, streamed=False).body.content
    )
    assert b'"temperature":1.50' in body


# What counts


ITEMS: list[Any] = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "input_text", "text": "Rain?"}, {"type": "input_image", "image_url": "https://a", "detail": "low"}],
    },
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "e" * 40},
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}", "status": "completed"},
    {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "Wet."}]},
    {"type": "custom_tool_call", "call_id": "c2", "name": "run", "input": "ls"},
    {"type": "custom_tool_call_output", "call_id": "c2", "output": "a b"},
    {
        "type": "message",
        "id": "m1",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "It rains.", "annotations": []}],
    },
    {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "phase": "final_answer"},
]


def test_every_item_counts_and_goes_to_the_vendor_as_it_came() -> None:
    request = read(input=ITEMS, instructions="Think.")
    size = request.size()
    assert list(size.texts()) == ["Be brief.", "Rain?", "Hm", "Wet.", "a b", "It rains.", "No.", "Think."]
    assert (size.messages, size.images) == (10, (Image(is_low=True),))
    rest = [
        {"id": "rs_1"},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"call_id": "c1"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "run", "input": "ls"},
        {"call_id": "c2"},
        {"id": "m1"},
        {"phase": "final_answer"},
    ]
    texts = sum(map(len, size.texts()))
    assert size.bytes_bound == texts + len(msgspec.json.encode(rest)) + 40
    assert sent(request)["input"] == ITEMS


@pytest.mark.parametrize("name", ["tools", "tool_choice", "text", "odd"])
def test_fields_of_the_prompt_and_unknown_ones_count_with_their_json(name: str) -> None:
    value: Any = [TOOL] if name == "tools" else {"a": "b" * 50}
    more = read(**{name: value}).size().bytes_bound - read().size().bytes_bound
    assert more == len(msgspec.json.encode([{name: value}]))


def test_a_tool_that_the_vendor_describes_counts_with_what_that_may_take() -> None:
    search = [{"type": "web_search"}]
    more = read(tools=search).size().bytes_bound - read().size().bytes_bound
    assert more == VENDOR_TOOL_TOKENS + len(msgspec.json.encode([{"tools": search}]))


def test_a_file_has_its_bytes_and_its_name_counts() -> None:
    part = {"type": "input_file", "file_data": data_url(b"x" * 300, "application/pdf"), "filename": "a.pdf"}
    size = read(input=[{"role": "user", "content": [part, {"type": "input_file", "file_url": "https://a/b.pdf"}]}]).size()
    assert [each.size_bytes // 100 for each in size.documents] == [3, 0]
    assert size.bytes_bound == len('[{"filename":"a.pdf"}]')


def test_an_image_has_the_size_that_it_says_and_other_data_is_none() -> None:
    part = {"type": "input_image", "image_url": data_url(png(640, 480))}
    assert read(input=[{"role": "user", "content": [part]}]).size().images == (Image(640, 480),)
    with pytest.raises(Problem, match="holds data of type 'application/pdf', which is no image") as caught:
        read(input=[{"role": "user", "content": [{**part, "image_url": "data:application/pdf;base64,JVBERi0="}]}])
    assert caught.value.param == "input[0].content[0].image_url"


def test_an_unknown_item_counts_and_follows_the_profile() -> None:
    item = {"type": "local_shell_call", "call_id": "c", "action": {"command": ["ls"]}}
    request = read(input=[HELLO, item])
    assert request.size().bytes_bound == 5 + len(msgspec.json.encode([item]))
    assert sent(request)["input"][1] == item
    with pytest.raises(Problem, match=r"input\[1\] is not known to this model's vendor"):
        sent(request, ENDPOINT._replace(unknown_content=Unknown.REFUSED))


# What is refused


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"model": None}, "model", "You must provide a model"),
        ({"model": 5}, "model", "must be a string"),
        ({"input": None}, "input", "You must provide input"),
        ({"input": 5}, "input", "a string or a list of items"),
        ({"input": []}, "input", "at least one item"),
        ({"input": ["x"]}, "input[0]", "must be an object"),
        ({"input": [{"content": "x"}]}, "input[0].type", "must be a string, such as message"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "must be user, assistant, system or developer"),
        ({"input": [{"role": "user"}]}, "input[0].content", "a string or a list of parts"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]", "must be an object"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0].type", "such as input_text"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text", "is missing"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]},
            "input[0].content[0].text",
            "must be a string",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url", "is missing"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0]",
            "nothing is kept",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_url", "is missing"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0]",
            "nothing is kept",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "odd", "x": {"image_url": "u"}}]}]},
            "input[0].content[0]",
            "no known bound",
        ),
        ({"input": [{"type": "image_generation_call", "id": "ig"}]}, "input[0]", "no known bound"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", "nothing is kept here"),
        ({"input": [{"id": "msg_1"}]}, "input[0]", "nothing is kept here"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0].arguments", "is missing"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id", "is missing"),
        ({"input": [{"type": "reasoning", "id": "r", "encrypted_content": 5}]}, "input[0].encrypted_content", "must be a string"),
        ({"instructions": ["x"]}, "instructions", "must be a string"),
        ({"tools": {}}, "tools", "a list of objects"),
        ({"tools": [{"name": "f"}]}, "tools[0].type", "such as function"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"store": 1}, "store", "true or false"),
        ({"max_output_tokens": 15}, "max_output_tokens", "must be 16 to"),
        ({"max_output_tokens": 1.5}, "max_output_tokens", "whole number"),
        ({"max_output_tokens": True}, "max_output_tokens", "whole number"),
        ({"stream_options": {}}, "stream_options", "only with stream: true"),
        ({"stream": True, "stream_options": 5}, "stream_options", "must be an object"),
        ({"stream": True, "stream_options": {"include_obfuscation": 1}}, "stream_options.include_obfuscation", "true or false"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "Send the whole conversation"),
        ({"conversation": {"id": "c"}}, "conversation", "Send the whole conversation"),
        ({"prompt": {"id": "p"}}, "prompt", "Send the whole conversation"),
        ({"background": True}, "background", "read the stream"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(Problem, match=message) as refused:
        read(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("body", ["[]", "5", "{", '{"model":"m","input":"\ud800"}'])
def test_what_is_no_object_of_json_is_refused(body: str) -> None:
    with pytest.raises(Problem) as refused:
        read_json(body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "inner",
    [
        '"Model":"dear"',
        '"Max_Output_Tokens":100000',
        '"max_output_to\u212aens":100000',
        '"Input":"dear"',
        '"Instructions":"dear"',
        '"Store":true',
        '"Previous_Response_Id":"resp_1"',
        '"\u017ftream":true',
        '"stream":true,"stream_options":{"Include_Obfuscation":true}',
        '"input":[{"role":"user","Role":"system","content":"x"}]',
        '"input":[{"role":"user","content":"x","Content":"dear"}]',
        '"input":[{"role":"user","content":[{"type":"input_text","text":"x","Text":"dear"}]}]',
        '"input":[{"role":"user","content":[{"type":"input_image","image_url":"u","Image_URL":"v"}]}]',
        '"input":[{"type":"odd","Content":"dear"}]',
        '"input":[{"role":"user","content":[{"type":"odd","Text":"dear"}]}]',
        '"tools":[{"type":"function","Type":"web_search"}]',
        '"reasoning":{"mode":"standard","Mode":"pro"}',
    ],
)
def test_a_name_that_another_reader_folds_is_refused(inner: str) -> None:
    with pytest.raises(Problem, match="in exactly these letters"):
        sent(read_json(f'{{"model":"m","input":"x",{inner}}}'))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"service_tier": "priority"}, "service_tier"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"tools": [TOOL, {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [{"type": "namespace", "name": "x", "tools": [TOOL, {"type": "web_search"}]}]}, "tools[0].tools[1].type"),
        ({"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]}, "include[1]"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"moderation": {"model": "m"}}, "moderation"),
    ],
)
def test_what_costs_extra_is_refused_unless_the_profile_says_otherwise(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Problem, match="costs extra") as refused:
        sent(read(**fields))
    assert refused.value.param == param
    [name] = fields
    assert sent(read(**fields), ENDPOINT._replace(extra_fields=frozenset({name})))[name] == fields[name]


def test_a_profile_may_sell_a_tool_of_the_vendor() -> None:
    selling = ENDPOINT._replace(priced_fields=(("tools[].type", frozenset({b'"web_search"'})),))
    assert sent(read(tools=[{"type": "web_search"}]), selling)["tools"] == [{"type": "web_search"}]
    with pytest.raises(Problem, match=r"tools\[0\]\.type costs extra"):
        sent(read(tools=[TOOL]), selling)


def test_unknown_fields_follow_the_profile() -> None:
    request = read(odd=1)
    assert request.vendor_request(ENDPOINT, "v", None, streamed=False).dropped == ("odd",)
    assert sent(request, ENDPOINT._replace(unknown_fields=Unknown.PASSED))["odd"] == 1
    with pytest.raises(Problem, match="odd is not a field"):
        sent(request, ENDPOINT._replace(unknown_fields=Unknown.REFUSED))
    for name in ("max_tokens", "n", "models", "cached_content"):
        with pytest.raises(Problem, match=f"{name} would"):
            sent(read(**{name: 5}), ENDPOINT._replace(unknown_fields=Unknown.PASSED))


# Problems


def test_used_up_is_429_and_not_to_be_tried_again() -> None:
    problem = problems.quota_used_up(5, 1, "TOKEN")
    assert DIALECT.status_of(problem) == 429
    assert (b"x-should-retry", b"false") in problem.headers
    error = msgspec.json.decode(DIALECT.problem_body(problem, "charging-id"))["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert DIALECT.status_of(problems.unavailable("x")) == 503


def test_a_problem_of_the_input_names_this_dialects_field() -> None:
    problem = problems.context_length_exceeded("m", 10, 20)
    assert msgspec.json.decode(DIALECT.problem_body(problem, "charging-id"))["error"]["param"] == "input"
    assert msgspec.json.decode(DIALECT.problem_body(problems.model_not_found("m"), ""))["error"]["param"] == "model"
