"""Requests of Anthropic's dialect: what is read, what is refused, what a vendor gets."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from services.edge.call.dialect import Body, Charged, InputSize, Request, VendorRequest
from services.edge.dialects.anthropic_messages.dialect import COUNT_TOKENS, MESSAGES
from services.edge.http.problems import Problem
from services.edge.tokens.media import UNKNOWN, Document, Image
from services.edge.vendors.profile import Endpoint, Unknown
from tests.edge.dialects.anthropic_answers import ENDPOINT
from tests.edge.dialects.anthropic_client import sdk
from tests.edge.tokens.pictures import data_url, in_base64, jpeg, png

PASSING = ENDPOINT._replace(unknown_fields=Unknown.PASSED)
STRICT = ENDPOINT._replace(unknown_fields=Unknown.REFUSED, unknown_content=Unknown.REFUSED)


def text_of(members: str = "", *, content: str = '"Hello"', head: str = '"model":"m","max_tokens":100') -> bytes:
    """A request's body, with further members and this content of its one message."""
    return f'{{{head},"messages":[{{"role":"user","content":{content}}}]{"," if members else ""}{members}}}'.encode()


def read(body: bytes, headers: dict[bytes, bytes] | None = None, *, counting: bool = False) -> Request:
    return (COUNT_TOKENS if counting else MESSAGES).read(Body(body, "application/json"), headers or {})


def sent(body: bytes, endpoint: Endpoint = ENDPOINT, limit: int | None = None, *, streamed: bool = False) -> VendorRequest:
    return read(body).vendor_request(endpoint, "vendor-m", limit, streamed=streamed)


def sent_fields(body: bytes, endpoint: Endpoint = ENDPOINT, limit: int | None = None, *, streamed: bool = False) -> Any:
    return json.loads(sent(body, endpoint, limit, streamed=streamed).body.content)


def refusal(body: bytes, endpoint: Endpoint = ENDPOINT) -> Problem:
    with pytest.raises(Problem) as caught:
        sent(body, endpoint)
    assert caught.value.status == 400
    return caught.value


def json_bytes(*values: Any) -> int:
    """The length of the JSON of values that are counted by it: they are counted as one list."""
    return len(json.dumps(values, separators=(",", ":")))


def size_of_content(content: Any) -> InputSize:
    return read(text_of(content=json.dumps(content))).size()


# What is read


def test_a_request_is_read() -> None:
    request = read(text_of('"stream":true,"system":"Be brief."'))
    assert (request.model_id, request.streamed, request.choices, request.output_limit) == ("m", True, 1, 100)
    assert (request.output_field, request.makes_output) == ("max_tokens", True)
    assert request.size().messages == 2
    assert list(request.size().texts()) == ["Hello", "Be brief."]
    assert request.size().bytes_bound == request.size().text.utf8_bytes == len("HelloBe brief.")


def test_counting_is_free_and_needs_no_limit() -> None:
    request = read(text_of('"system":[{"type":"text","text":"Be brief."}],"metadata":{}', head='"model":"m"'), counting=True)
    assert (request.makes_output, request.output_limit, request.streamed) == (False, None, False)
    assert (MESSAGES.charged, COUNT_TOKENS.charged) == (Charged.INPUT_AND_OUTPUT, Charged.NOTHING)
    asked = request.vendor_request(ENDPOINT, "vendor-m", None, streamed=False)
    assert asked.path == "/messages/count_tokens"
    assert asked.dropped == ("metadata",)
    assert list(json.loads(asked.body.content)) == ["model", "messages", "system"]


@pytest.mark.parametrize(
    ("body", "param", "part"),
    [
        (b"", None, "not valid JSON"),
        (b"[]", None, "must be a JSON object"),
        (b'{"model":"m\xff"}', None, "not valid UTF-8"),
        (b"[" * 100_000, None, "not valid JSON"),
        (text_of(head='"max_tokens":1'), "model", "provide a model"),
        (text_of(head='"model":7,"max_tokens":1'), "model", "must be a string"),
        (text_of(head='"model":"m"'), "max_tokens", "provide max_tokens"),
        (text_of(head='"model":"m","max_tokens":null'), "max_tokens", "provide max_tokens"),
        (text_of(head='"model":"m","max_tokens":0'), "max_tokens", "only fills the vendor's cache"),
        (text_of(head='"model":"m","max_tokens":-1'), "max_tokens", "must be 1 to"),
        (text_of(head='"model":"m","max_tokens":1.0'), "max_tokens", "whole number"),
        (text_of(head='"model":"m","max_tokens":1e2'), "max_tokens", "whole number"),
        (text_of(head='"model":"m","max_tokens":true'), "max_tokens", "whole number"),
        (text_of(head='"model":"m","max_tokens":"1"'), "max_tokens", "whole number"),
        (text_of(head='"model":"m","max_tokens":9007199254740993'), "max_tokens", "must be 1 to"),
        (text_of('"stream":1'), "stream", "true or false"),
        (text_of('"thinking":true'), "thinking", "must be an object"),
        (text_of('"thinking":{"type":"enabled","budget_tokens":1.5}'), "thinking.budget_tokens", "whole number"),
        (text_of('"tools":{}'), "tools", "must be a list"),
        (text_of('"tools":[1]'), "tools[0]", "must be an object"),
        (text_of('"system":7'), "system", "must be a string or a list"),
        (text_of('"betas":"a"'), "betas", "list of strings"),
        (b'{"model":"m","max_tokens":1}', "messages", "provide messages"),
        (b'{"model":"m","max_tokens":1,"messages":[]}', "messages", "at least one"),
        (b'{"model":"m","max_tokens":1,"messages":{}}', "messages", "must be a list"),
        (b'{"model":"m","max_tokens":1,"messages":["a"]}', "messages[0]", "must be an object"),
        (
            b'{"model":"m","max_tokens":1,"messages":[{"role":"tool","content":""}]}',
            "messages[0].role",
            "user, assistant or system",
        ),
        (b'{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}', "messages[0].content", "list of content blocks"),
        (text_of(content="null"), "messages[0].content", "list of content blocks"),
        (text_of(content="[7]"), "messages[0].content[0]", "must be an object"),
        (text_of(content="[{}]"), "messages[0].content[0].type", "must be a string"),
        (text_of(content='[{"type":"text","text":7}]'), "messages[0].content[0].text", "must be a string"),
        (text_of(content='[{"type":"text","text":["a"],"cache_control":{}}]'), "messages[0].content[0].text", "must be a string"),
        (text_of(content='"\\ud83d"'), None, "not valid JSON"),
    ],
)
def test_bad_bodies_are_refused_by_name(body: bytes, param: str | None, part: str) -> None:
    problem = refusal(body)
    assert problem.param == param
    assert part in problem.message


# Names and duplicates


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (text_of('"Model":"big"'), "Model"),
        (text_of('"max_token\\u017f":9'), "max_tokenſ"),
        (text_of('"Max_Tokens":9'), "Max_Tokens"),
        (text_of('"Stream":true'), "Stream"),
        (text_of('"Messages":[]'), "Messages"),
        (text_of('"SYSTEM":"x"'), "SYSTEM"),
        (text_of('"Tools":[]'), "Tools"),
        (text_of('"thin\\u212aing":{}'), "thin\u212aing"),
        (text_of('"Service_Tier":"priority"'), "Service_Tier"),
        (text_of('"thinking":{"type":"enabled","Budget_Tokens":9}'), "thinking.Budget_Tokens"),
        (text_of('"tools":[{"name":"a","Type":"web_search_20250305"}]'), "tools[0].Type"),
        (text_of('"system":[{"type":"text","text":"","Text":"x"}]'), "system[0].Text"),
        (text_of(content='[{"type":"text","text":"a","Text":"long"}]'), "messages[0].content[0].Text"),
        (text_of(content='[{"Type":"image","type":"text","text":"a"}]'), "messages[0].content[0].Type"),
        (text_of(content='[{"type":"custom","Source":{}}]'), "messages[0].content[0].Source"),
        (text_of(content='[{"type":"x_tool_result","Content":""}]'), "messages[0].content[0].Content"),
        (
            text_of(content='[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"a","TEXT":"b"}]}]'),
            "messages[0].content[0].content[0].TEXT",
        ),
        (
            text_of(content='[{"type":"image","source":{"type":"url","url":"u","Url":"v"}}]'),
            "messages[0].content[0].source.Url",
        ),
        (b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"","Content":"x"}]}', "messages[0].Content"),
        (b'{"model":"m","max_tokens":1,"messages":[{"role":"user","Role":"system","content":""}]}', "messages[0].Role"),
    ],
)
@pytest.mark.parametrize("endpoint", [ENDPOINT, PASSING], ids=["dropping", "passing"])
def test_names_that_another_reader_folds_are_refused(body: bytes, param: str, endpoint: Endpoint) -> None:
    problem = refusal(body, endpoint)
    assert (problem.code, problem.param) == ("ambiguous_field", param)


def test_a_folded_name_of_the_vendors_own_field_is_refused_where_unknown_ones_pass() -> None:
    endpoint = PASSING._replace(
        output_limit_field="max_completion_tokens", priced_fields=(("enable_search", frozenset({b"false"})),)
    )
    assert refusal(text_of('"Max_Completion_Tokens":9'), endpoint).code == "ambiguous_field"
    assert refusal(text_of('"Enable_Search":true'), endpoint).code == "ambiguous_field"
    assert sent_fields(text_of('"max_completion_tokens":999'), endpoint)["max_completion_tokens"] == 100


def test_names_in_schemas_and_arguments_are_data() -> None:
    tools = '"tools":[{"name":"t","input_schema":{"type":"object","properties":{"Type":{"type":"string"},"Model":{}}}}]'
    content = '[{"type":"tool_use","id":"i","name":"t","input":{"Type":"a","TYPE":"b","type":1,"Content":null}}]'
    body = text_of(tools, content=content)
    assert sent_fields(body, STRICT)["tools"] == json.loads(body)["tools"]
    assert sent_fields(body, STRICT)["messages"] == json.loads(body)["messages"]


def test_of_two_members_of_a_name_the_last_holds_and_goes_once() -> None:
    body = (
        b'{"model":"small","model":"m","max_tokens":9999,"max_tokens":7,"messages":[{"role":"user","content":"long long","content":'
        b'[{"type":"text","text":"first","text":"second"},{"type":"tool_use","id":"i","name":"n","input":{"a":1,"a":2}}]}]}'
    )
    request = read(body)
    assert (request.model_id, request.output_limit) == ("m", 7)
    assert list(request.size().texts()) == ["second"]
    content = request.vendor_request(ENDPOINT, "vendor-m", None, streamed=False).body.content
    assert content == (
        b'{"model":"vendor-m","max_tokens":7,"messages":[{"role":"user","content":[{"type":"text","text":"second"},'
        b'{"type":"tool_use","id":"i","name":"n","input":{"a":2}}]}]}'
    )


# The vendor's request


def test_the_vendors_request_is_built() -> None:
    asked = sent(text_of('"temperature":1.0,"top_p":1e-1,"stream":false'), limit=55, streamed=True)
    assert asked.path == "/messages"
    assert asked.dropped == ()
    assert asked.headers == ((b"anthropic-version", b"2023-06-01"),)
    assert asked.body == Body(
        b'{"model":"vendor-m","max_tokens":55,"messages":[{"role":"user","content":"Hello"}],"temperature":1.0,"top_p":1e-1,'
        b'"stream":true}',
        "application/json",
    )


@pytest.mark.parametrize("number", ["1.0", "-0.0", "1e400", "1E+2", "0.1000000000000000055", "123456789012345678901234567890"])
def test_numbers_keep_their_text(number: str) -> None:
    content = f'[{{"type":"tool_use","id":"i","name":"n","input":{{"x":{number}}}}}]'
    assert f'"x":{number}}}'.encode() in sent(text_of(content=content)).body.content


def test_a_stream_that_is_not_asked_of_the_vendor_is_not_named() -> None:
    assert "stream" not in sent_fields(text_of('"stream":true'))


def test_the_limit_goes_into_the_field_that_the_endpoint_heeds() -> None:
    endpoint = ENDPOINT._replace(output_limit_field="max_output_tokens")
    fields = sent_fields(text_of(), endpoint, 30)
    assert fields["max_output_tokens"] == 30
    assert "max_tokens" not in fields


@pytest.mark.parametrize(
    ("asked", "budget", "limit", "thinking"),
    [
        (4_000, 2_000, 3_000, {"type": "enabled", "budget_tokens": 2_000}),
        (4_000, 2_000, 2_000, {"type": "enabled", "budget_tokens": 1_999}),
        (4_000, 2_000, 1_025, {"type": "enabled", "budget_tokens": 1_024}),
        (4_000, 2_000, 1_024, {"type": "disabled"}),
        (4_000, 9_000, 1_500, {"type": "enabled", "budget_tokens": 9_000}),
        (4_000, 2_000, None, {"type": "enabled", "budget_tokens": 2_000}),
    ],
)
def test_the_budget_of_thinking_stays_inside_a_smaller_limit(asked: int, budget: int, limit: int | None, thinking: Any) -> None:
    body = text_of(f'"thinking":{{"type":"enabled","budget_tokens":{budget}}}', head=f'"model":"m","max_tokens":{asked}')
    assert sent_fields(body, limit=limit)["thinking"] == thinking


def test_unknown_fields_follow_the_profile() -> None:
    body = text_of('"fancy":{"Type":1},"plain":2')
    assert sent(body).dropped == ("fancy", "plain")
    assert not {"fancy", "plain"} & sent_fields(body).keys()
    assert refusal(body, STRICT).param == "fancy"
    passed = sent(body, PASSING)
    assert passed.dropped == ()
    assert json.loads(passed.body.content)["fancy"] == {"Type": 1}
    extra = sent(body, ENDPOINT._replace(extra_fields=frozenset({"plain"})))
    assert extra.dropped == ("fancy",)
    assert json.loads(extra.body.content)["plain"] == 2


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ('"max_completion_tokens":9', "max_completion_tokens"),
        ('"max_output_tokens":9', "max_output_tokens"),
        ('"maxOutputTokens":9', "maxOutputTokens"),
        ('"MAX_NEW_TO\u212aENS":9', "MAX_NEW_TO\u212aENS"),
        ('"n":2', "n"),
        ('"best_of":2', "best_of"),
        ('"models":["dear"]', "models"),
        ('"previous_response_id":"r"', "previous_response_id"),
        ('"web_search_options":{}', "web_search_options"),
        ('"extra":[{"a":{"num_predict":9}}]', "extra[0].a.num_predict"),
    ],
)
def test_what_a_vendor_may_heed_and_the_meter_never_reads_does_not_pass(members: str, param: str) -> None:
    problem = refusal(text_of(members), PASSING)
    assert (problem.code, problem.param) == ("unknown_parameter", param)
    # Elsewhere it is left out as any other.
    assert sent(text_of(members)).dropped == (param.partition("[")[0].partition(".")[0],)


def test_places_within_a_long_name_take_no_room_of_their_own() -> None:
    """Written out for each of 5,000 members they took 50 MB, and what a body can have would take any memory."""
    members = {"x" * 10_000: {str(number): [number] for number in range(5_000)}}
    request = read(text_of(json.dumps(members)[1:-1]))
    tracemalloc.start()
    try:
        request.vendor_request(PASSING, "vendor-m", None, streamed=False)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_the_limit_is_written_over_where_the_vendor_heeds_another_field() -> None:
    endpoint = PASSING._replace(output_limit_field="max_completion_tokens")
    fields = sent_fields(text_of('"max_completion_tokens":999'), endpoint)
    assert (fields["max_completion_tokens"], "max_tokens" in fields) == (100, False)


def test_a_whole_answer_has_room_for_its_output_and_for_what_tools_at_the_vendor_say() -> None:
    def most(**fields: Any) -> int:
        members = json.dumps(fields)[1:-1]
        return read(text_of(members)).whole_bytes_max(100)

    of_output = 65_536 + 100 * 256
    assert most() == of_output
    assert most(tools=[{"name": "run", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}]) == of_output
    assert most(tools=[{"type": "web_search_20250305", "name": "web_search"}]) == of_output + 8 * 1_024 * 1_024


@pytest.mark.parametrize(
    "content",
    [
        '[{"type":"video_url","video_url":{"url":"u"}}]',
        '[{"type":"hologram","parts":[{"type":"input_audio"}]}]',
        '[{"type":"text","text":"a","image_url":"u"}]',
    ],
)
def test_media_that_are_not_known_have_no_bound(content: str) -> None:
    assert refusal(text_of(content=content)).code == "unsupported_value"
    assert not read(text_of(content=content), counting=True).makes_output


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('[{"type":"text","text":"a","mood":"good"}]', "messages[0].content[0].mood"),
        ('[{"type":"hologram","depth":3}]', "messages[0].content[0]"),
        ('[{"type":"tool_result","tool_use_id":"t","content":[{"type":"smell"}]}]', "messages[0].content[0].content[0]"),
        ('[{"type":"image","source":{"type":"url","url":"u","detail":"high"}}]', "messages[0].content[0].source.detail"),
    ],
)
def test_unknown_content_is_passed_whole_or_refused(content: str, named: str) -> None:
    body = text_of(content=content)
    assert sent_fields(body)["messages"] == json.loads(body)["messages"]
    for policy in (Unknown.REFUSED, Unknown.DROPPED):
        problem = refusal(body, ENDPOINT._replace(unknown_content=policy))
        assert (problem.code, problem.param) == ("unknown_parameter", named)


def test_unknown_content_is_counted() -> None:
    assert size_of_content([{"type": "text", "text": "a", "mood": "x" * 500}]).bytes_bound >= 501
    assert size_of_content([{"type": "hologram", "depth": "x" * 500}]).bytes_bound >= 500
    assert read(text_of(f'"fancy":"{"x" * 500}"')).size().bytes_bound >= 500


# What costs extra


@pytest.mark.parametrize(
    ("member", "param"),
    [
        ('"service_tier":"auto"', "service_tier"),
        ('"speed":"fast"', "speed"),
        ('"inference_geo":"us"', "inference_geo"),
        ('"container":"c"', "container"),
        ('"mcp_servers":[{"type":"url","url":"https://mcp"}]', "mcp_servers"),
        ('"fallbacks":[{"model":"m2"}]', "fallbacks"),
        ('"thread":{"type":"continue","previous_message_id":"msg_1"}', "thread"),
        ('"billing_policy":{"type":"billing_policy","bill_to":"user_profile"}', "billing_policy"),
        ('"tools":[{"type":"web_search_20250305","name":"web_search"}]', "tools[0].type"),
        ('"tools":[{"name":"a"},{"type":"code_execution_20250825","name":"x"}]', "tools[1].type"),
        ('"tools":[{"type":"mcp_toolset","mcp_server_name":"x"}]', "tools[0].type"),
        ('"tools":[{"type":"Custom","name":"x"}]', "tools[0].type"),
    ],
)
def test_what_costs_extra_is_refused(member: str, param: str) -> None:
    problem = refusal(text_of(member), PASSING)
    assert (problem.code, problem.param) == ("unsupported_value", param)
    assert "not sold here" in problem.message


@pytest.mark.parametrize(
    "member",
    [
        '"service_tier":"standard_only"',
        '"service_tier":"standard\\u005fonly"',
        '"service_tier":null',
        '"speed":"standard"',
        '"mcp_servers":[]',
        '"tools":[{"name":"a","input_schema":{}},{"type":"custom","name":"b"},{"type":null,"name":"c"}]',
        '"tools":[{"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728","name":"e"}]',
    ],
)
def test_what_costs_nothing_extra_is_passed(member: str) -> None:
    body = text_of(member)
    name = next(iter(json.loads(b"{" + member.encode() + b"}")))
    assert sent_fields(body, STRICT)[name] == json.loads(body)[name]


def test_a_profile_says_what_costs_nothing_extra() -> None:
    endpoint = ENDPOINT._replace(
        priced_fields=(
            ("service_tier", frozenset({b'"auto"'})),
            ("tools[].type", frozenset({b'"web_search_20250305"'})),
            ("enable_search", frozenset({b"false"})),
        ),
        extra_fields=frozenset({"container"}),
    )
    search = '"tools":[{"type":"web_search_20250305","name":"web_search"}]'
    fields = sent_fields(text_of(f'"service_tier":"auto","container":"c","enable_search":false,{search}'), endpoint)
    assert (fields["service_tier"], fields["container"], fields["enable_search"]) == ("auto", "c", False)
    assert fields["tools"][0]["type"] == "web_search_20250305"
    assert refusal(text_of('"enable_search":true'), endpoint).param == "enable_search"
    assert refusal(text_of('"tools":[{"type":"web_fetch_20250910"}]'), endpoint).param == "tools[0].type"
    # The profile's word takes the place of the dialect's.
    assert refusal(text_of('"service_tier":"standard_only"'), endpoint).param == "service_tier"
    assert refusal(text_of('"tools":[{"type":"bash_20250124"}]'), endpoint).param == "tools[0].type"


def test_a_profile_may_price_a_member_of_a_field() -> None:
    endpoint = ENDPOINT._replace(priced_fields=(("thinking.display", frozenset({b'"omitted"'})),))
    assert sent_fields(text_of('"thinking":{"type":"adaptive","display":"omitted"}'), endpoint)["thinking"]["display"] == "omitted"
    assert refusal(text_of('"thinking":{"type":"adaptive","display":"full"}'), endpoint).param == "thinking.display"
    endpoint = ENDPOINT._replace(priced_fields=(("output_config.plan", frozenset()),), unknown_fields=Unknown.PASSED)
    assert refusal(text_of('"output_config":{"Plan":1}'), endpoint).param == "output_config.Plan"
    assert refusal(text_of('"output_config":[]'), endpoint).param == "output_config"
    assert sent_fields(text_of('"output_config":{"effort":"low"}'), endpoint)["output_config"] == {"effort": "low"}


def test_tools_that_the_vendor_describes_itself_count_more_than_their_json() -> None:
    tools = '"tools":[{"type":"bash_20250124","name":"bash"}]'
    assert read(text_of(tools)).size().bytes_bound > 2_048


# Headers


def test_versions_and_betas_are_forwarded() -> None:
    headers = {b"anthropic-version": b"2024-01-01", b"anthropic-beta": b"a-1,b-2"}
    asked = read(text_of('"betas":["b-2","c-3"]'), headers).vendor_request(STRICT, "m", None, streamed=False)
    assert asked.headers == ((b"anthropic-version", b"2024-01-01"), (b"anthropic-beta", b"a-1,b-2,c-3"))
    assert "betas" not in json.loads(asked.body.content)
    alone = read(text_of(), headers).vendor_request(STRICT, "m", None, streamed=False)
    assert alone.headers[1] == (b"anthropic-beta", b"a-1,b-2")


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        (text_of(), {b"anthropic-version": b"2023\r\nx: y"}, "anthropic-version"),
        (text_of(), {b"anthropic-beta": b"a\r\nx: y"}, "anthropic-beta"),
        (text_of('"betas":["a\\r\\nx: y"]'), {}, "anthropic-beta"),
    ],
)
def test_headers_that_are_none_are_refused(body: bytes, headers: dict[bytes, bytes], param: str) -> None:
    with pytest.raises(Problem) as caught:
        read(body, headers)
    assert (caught.value.status, caught.value.param) == (400, param)


# Sizes


def test_a_size_counts_texts_in_utf8_and_the_rest_as_json() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "naïve 你好"}]}
    size = size_of_content([{"type": "text", "text": "a\nb", "cache_control": {"type": "ephemeral"}}, result])
    assert list(size.texts()) == ["a\nb", "naïve 你好"]
    rest = {"type": "tool_result", "tool_use_id": "t"}
    assert size.bytes_bound == len("a\nbnaïve 你好".encode()) + json_bytes(rest)
    assert (size.messages, size.images) == (1, ())


def test_calls_of_tools_count_with_all_their_json() -> None:
    call = {"type": "tool_use", "id": "i", "name": "run", "input": {"cmd": "ls"}}
    assert size_of_content([call]).bytes_bound == json_bytes(call)


@pytest.mark.parametrize(
    "source", [{"type": "base64", "media_type": "image/png", "data": "x" * 9_000}, {"type": "url", "url": "https://a"}]
)
def test_images_are_counted_and_their_data_is_no_text(source: dict[str, str]) -> None:
    image = {"type": "image", "source": source}
    nested = {"type": "tool_result", "tool_use_id": "t", "content": [image, image]}
    size = size_of_content([image, nested, {"type": "text", "text": "See."}])
    assert size.images == (UNKNOWN,) * 3
    assert size.bytes_bound < 200
    assert sent_fields(text_of(content=json.dumps([image])))["messages"][0]["content"] == [image]


@pytest.mark.parametrize(
    ("source", "image"),
    [
        ({"type": "base64", "media_type": "image/png", "data": in_base64(png(640, 480))}, Image(640, 480)),
        ({"type": "base64", "media_type": "image/jpeg", "data": in_base64(jpeg(640, 480))}, Image(640, 480)),
        ({"type": "base64", "media_type": "image/jpeg", "data": in_base64(png(640, 480))}, UNKNOWN),
        ({"type": "base64", "media_type": None, "data": in_base64(png(640, 480))}, UNKNOWN),
        ({"type": "base64", "media_type": "image/png", "data": 5}, UNKNOWN),
        ({"type": "url", "url": data_url(png(640, 480))}, Image(640, 480)),
        ({"type": "url", "url": None}, UNKNOWN),
    ],
)
def test_an_image_has_the_size_that_its_data_says(source: dict[str, Any], image: Image) -> None:
    assert size_of_content([{"type": "image", "source": source}]).images == (image,)


@pytest.mark.parametrize(
    ("source", "param"),
    [
        ({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, "media_type"),
        ({"type": "url", "url": "data:application/pdf;base64,JVBERi0="}, "url"),
    ],
)
def test_data_of_another_type_is_no_image(source: dict[str, Any], param: str) -> None:
    problem = refusal(text_of(content=json.dumps([{"type": "image", "source": source}])))
    assert (problem.status, problem.param) == (400, f"messages[0].content[0].source.{param}")
    assert "which is no image. Send" in problem.message


@pytest.mark.parametrize(
    "source",
    [
        {"type": "text", "media_type": "text/plain", "data": "All of it."},
        {"type": "content", "content": "All of it."},
        {"type": "content", "content": [{"type": "text", "text": "All of it."}]},
    ],
)
def test_documents_of_text_count_as_text(source: dict[str, Any]) -> None:
    size = size_of_content([{"type": "document", "source": source, "title": "T"}])
    assert list(size.texts()) == ["All of it."]
    assert size.bytes_bound == len("All of it.") + json_bytes({"title": "T"})


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "image", "source": {"type": "hologram"}},
        {"type": "image"},
        {"type": "container_upload", "file_id": "f"},
    ],
)
def test_content_without_a_bound_is_refused(block: dict[str, Any]) -> None:
    for content in ([block], [{"type": "tool_result", "tool_use_id": "t", "content": [block]}]):
        problem = refusal(text_of(content=json.dumps(content)))
        assert problem.param is not None
        assert problem.param.startswith("messages[0].content[0]")


def test_documents_in_pages_may_be_counted_by_the_vendor() -> None:
    block = {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}}
    assert read(text_of(content=json.dumps([block]), head='"model":"m"'), counting=True).makes_output is False


@pytest.mark.parametrize(
    ("source", "document"),
    [
        ({"type": "base64", "media_type": "application/pdf", "data": in_base64(b"x" * 300)}, Document(300)),
        ({"type": "url", "url": "https://a/b.pdf"}, Document()),
        ({"type": "url"}, Document()),
    ],
)
def test_a_document_in_pages_counts_as_one(source: dict[str, Any], document: Document) -> None:
    size = size_of_content([{"type": "document", "source": source, "title": "T"}])
    assert (size.documents, list(size.texts()), size.bytes_bound) == ((document,), [], json_bytes({"title": "T"}))


def test_blocks_are_not_nested_without_end() -> None:
    content = '"a"'
    for _ in range(50):
        content = f'[{{"type":"tool_result","tool_use_id":"t","content":{content}}}]'
    assert "nested too deep" in refusal(text_of(content=content)).message


def test_proofs_of_thought_count_by_their_bytes_and_pass_to_the_letter() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln" * 25},
        {"type": "redacted_thinking", "data": "ZGF0" * 25},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "rain"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s",
            "content": [{"type": "web_search_result", "encrypted_content": "eA=="}],
        },
    ]
    size = size_of_content(blocks)
    assert list(size.texts()) == ["Hm."]
    assert size.bytes_bound == len("Hm.") + 200 + json_bytes(*blocks[2:])
    assert sent_fields(text_of(content=json.dumps(blocks)), STRICT)["messages"][0]["content"] == blocks


# Real shapes


def agents_request() -> dict[str, Any]:
    """A request as coding agents send it to this dialect."""
    cached = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {"path": {"type": "string"}, "limit": {"type": "number", "minimum": 1}},
    }
    return {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "<reminder>A\nB</reminder>"}, {"type": "text", "text": "Hi", **cached}],
            },
            {"role": "system", "content": "The mode has changed.", "output_config": {"effort": "low"}},
            {"role": "system", "output_config": {"effort": "high"}, "clear_at": "never"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "", "signature": "c2lnbmF0dXJl"},
                    {
                        "type": "tool_use",
                        "id": "t1",
                        "name": "Tool3",
                        "input": {"path": "/a", "limit": 2.0},
                        "caller": {"type": "direct"},
                    },
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "line\n" * 50, "is_error": False}],
            },
        ],
        "system": [{"type": "text", "text": "x-header: v=1"}, {"type": "text", "text": "You help." * 300, **cached}],
        "tools": [
            {"name": f"Tool{index}", "description": "Does it." * 40, "input_schema": schema, "eager_input_streaming": True}
            for index in range(24)
        ],
        "tool_choice": {"type": "auto"},
        "metadata": {"user_id": '{"device":"d","session":"s"}'},
        "max_tokens": 32_000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
    }


def test_an_agents_request_passes_to_the_letter() -> None:
    fields = agents_request()
    body = json.dumps(fields, ensure_ascii=False).encode()
    headers = {
        b"anthropic-version": b"2023-06-01",
        b"anthropic-beta": b"interleaved-thinking-2025-05-14,context-management-2025-06-27",
    }
    asked = read(body, headers).vendor_request(STRICT, "m", None, streamed=True)
    assert asked.body.content == json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    assert asked.headers == tuple(headers.items())
    assert asked.dropped == ()
    size = read(body).size()
    assert size.messages == 6
    assert size.bytes_bound < len(body)


def test_what_the_sdk_writes_is_read() -> None:
    asked: list[Any] = []
    message = b'{"id":"1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{}}'
    client = sdk(message, "application/json", asked=asked)
    fields = {name: value for name, value in agents_request().items() if name != "stream"}
    client.with_options(timeout=600).beta.messages.create(betas=["a-1", "b-2"], **fields)
    request = asked[0]
    headers = {name.lower(): value for name, value in request.headers.raw}
    sent = read(request.content, headers).vendor_request(STRICT, "m", None, streamed=False)
    assert json.loads(sent.body.content) == fields
    assert dict(sent.headers) == {name: headers[name] for name in (b"anthropic-version", b"anthropic-beta")}
    assert headers[b"anthropic-beta"] == b"a-1,b-2"


def test_what_the_sdk_asks_to_count_is_read() -> None:
    asked: list[Any] = []
    client = sdk(b'{"input_tokens":9}', "application/json", asked=asked)
    counted = client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "Hello"}], system="Be brief.")
    assert counted.input_tokens == 9
    request = read(asked[0].content, counting=True)
    assert request.vendor_request(STRICT, "vendor-m", None, streamed=False).path == "/messages/count_tokens"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=8,
)
texts = st.text(st.characters(codec="utf-8"), max_size=40)
plain_blocks = st.fixed_dictionaries({"type": st.just("text"), "text": texts}, optional={"cache_control": json_values})
blocks = (
    plain_blocks
    | st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts}, optional={"signature": texts})
    | st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": texts})
    | st.fixed_dictionaries({"type": st.just("tool_use"), "id": texts, "name": texts, "input": json_values})
    | st.fixed_dictionaries(
        {"type": st.just("tool_result"), "tool_use_id": texts, "content": texts | st.lists(plain_blocks, max_size=3)}
    )
    | st.fixed_dictionaries({"type": st.just("other"), "thing": json_values})
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]), "content": texts | st.lists(blocks, max_size=4)}
    ),
    min_size=1,
    max_size=4,
)
requests = st.fixed_dictionaries(
    {"model": st.text(st.characters(codec="utf-8"), min_size=1), "max_tokens": st.integers(1, 2**53 - 1), "messages": messages},
    optional={
        "system": texts | st.lists(plain_blocks, max_size=3),
        "temperature": st.floats(0, 1),
        "metadata": json_values,
        "output_config": json_values,
        "other": json_values,
    },
)


@given(fields=requests, limit=st.none() | st.integers(1, 10**6), ascii_only=st.booleans())
def test_what_is_accepted_is_sent_with_equal_meaning(fields: dict[str, Any], limit: int | None, *, ascii_only: bool) -> None:
    try:
        request = read(json.dumps(fields, ensure_ascii=ascii_only).encode())
        asked = request.vendor_request(PASSING, "vendor-m", limit, streamed=True)
    except Problem as problem:
        # A generated name may be one that a vendor heeds and nobody here meters. Refusals of all else are too many to reject.
        assert problem.code == "unknown_parameter"
        reject()
    read_back = json.loads(asked.body.content)
    wanted = {**fields, "model": "vendor-m", "max_tokens": min(limit or fields["max_tokens"], fields["max_tokens"]), "stream": True}
    assert read_back == wanted
    assert list(read_back) == list(wanted)
    size = request.size()
    assert size.bytes_bound >= sum(len(text.encode()) for text in size.texts())
    assert size.bytes_bound == size.text.utf8_bytes


@given(
    st.binary(max_size=200)
    | st.text().map(lambda text: text_of(content=text))
    | json_values.map(lambda value: json.dumps(value).encode())
)
def test_anything_else_is_a_problem_of_the_client(body: bytes) -> None:
    try:
        sent(body)
    except Problem as problem:
        assert problem.status == 400
