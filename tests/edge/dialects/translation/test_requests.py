"""Requests in another dialect: what becomes of each part and field, what is dropped, what is refused and how that is said."""

from typing import Any

import msgspec
import pytest

from services.edge.dialects.translation.requests.tools import name_in_group
from services.edge.http.problems import Problem
from services.edge.vendors.profile import PromptCaching, Unknown
from tests.edge.dialects.translation.ways import (
    DIALECTS,
    SCHEMA,
    TRANSLATIONS,
    WAYS,
    C,
    M,
    R,
    asked,
    body,
    counting,
    endpoint,
    read,
    translated,
)

ways = pytest.mark.parametrize(("client", "vendor"), WAYS)
PNG = "data:image/png;base64,iVBORw0K"
SIMPLE: dict[str, list[Any]] = {
    C: [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    M: [{"role": "user", "content": "Hi"}],
    R: [{"role": "user", "content": "Hi"}],
}


def turns(dialect: str, messages: list[Any], **more: Any) -> dict[str, Any]:
    """A conversation under the field of its dialect."""
    return {"input" if dialect == R else "messages": messages, **more}


def problem(client: str, vendor: str, **fields: Any) -> Problem:
    """The problem of a request that cannot be translated."""
    with pytest.raises(Problem) as raised:
        translated(client, vendor, **fields).vendor_request(endpoint(vendor), "vendor-m", None, streamed=True)
    assert raised.value.status == 400
    return raised.value


# Turns


@pytest.mark.parametrize(
    ("client", "fields"),
    [
        (C, turns(C, SIMPLE[C])),
        (M, turns(M, SIMPLE[M], system="Be brief.")),
        (M, turns(M, SIMPLE[M], system=[{"type": "text", "text": "Be brief."}])),
        (R, turns(R, SIMPLE[R], instructions="Be brief.")),
        (R, {"input": "Hi", "instructions": "Be brief."}),
        (R, turns(R, [{"role": "developer", "content": "Be brief."}, *SIMPLE[R]])),
    ],
)
def test_the_systems_words_and_the_users(client: str, fields: dict[str, Any]) -> None:
    if client != C:
        assert body(client, C, **fields)["messages"] == SIMPLE[C]
    if client != M:
        sent = body(client, M, **fields)
        assert sent["system"] == [{"type": "text", "text": "Be brief."}]
        assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
        assert sent["max_tokens"] == 8_000
    if client != R:
        sent = body(client, R, **fields)
        assert sent["input"] == [
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        ]
        assert sent["store"] is False


def test_the_system_in_the_middle_keeps_its_place_in_messages() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be loud."}, {"role": "user", "content": "Again"}]
    texts = ["Hi", "<system>\nBe loud.\n</system>", "Again"]
    sent = body(C, M, messages=messages)
    assert "system" not in sent
    assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]
    assert body(M, C, messages=messages)["messages"] == messages


def test_neighbours_are_one_message_and_empty_texts_none() -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "you"}]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "there"},
    ]
    texts = [{"type": "text", "text": text} for text in ("Hi", "you", "there")]
    assert body(C, M, messages=messages)["messages"] == [{"role": "user", "content": texts}]


def test_texts_of_one_turn_are_one_text_in_a_chat_and_parts_elsewhere() -> None:
    blocks = [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]
    messages = [{"role": "user", "content": blocks}]
    assert body(M, C, messages=messages)["messages"] == [{"role": "user", "content": "One\n\nTwo"}]
    parts = [{"type": "input_text", "text": "One"}, {"type": "input_text", "text": "Two"}]
    assert body(M, R, messages=messages)["input"] == [{"type": "message", "role": "user", "content": parts}]


IMAGES: dict[str, list[Any]] = {
    C: [{"type": "image_url", "image_url": {"url": url}} for url in (PNG, "https://example.test/a.png")],
    M: [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.test/a.png"}},
    ],
    R: [{"type": "input_image", "image_url": url, "detail": "auto"} for url in (PNG, "https://example.test/a.png")],
}


@ways
def test_images_by_address_and_inline(client: str, vendor: str) -> None:
    sent = body(client, vendor, **turns(client, [{"role": "user", "content": IMAGES[client]}]))
    [turn] = sent["input" if vendor == R else "messages"]
    wanted = IMAGES[vendor]
    if (client, vendor) == (R, C):
        wanted = [{"type": "image_url", "image_url": {**part["image_url"], "detail": "auto"}} for part in wanted]
    assert turn["content"] == wanted


def test_a_text_document_is_a_text_and_its_title_is_dropped() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Once"}, "title": "A tale"}
    sent, dropped = asked(M, C, messages=[{"role": "user", "content": [document, {"type": "text", "text": "And?"}]}])
    assert sent["messages"] == [{"role": "user", "content": "Once\n\nAnd?"}]
    assert dropped == ("messages[0].content[0].title",)


# Tools


CALLED: dict[str, list[Any]] = {
    C: [
        {"role": "user", "content": "The weather?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}},
                {"id": "b", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rom"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "snow"},
        {"role": "tool", "tool_call_id": "b", "content": "sun"},
        {"role": "user", "content": "And?"},
    ],
    M: [
        {"role": "user", "content": [{"type": "text", "text": "The weather?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Bern"}},
                {"type": "tool_use", "id": "b", "name": "weather", "input": {"city": "Rom"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "snow"}]},
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "sun"}]},
                {"type": "text", "text": "And?"},
            ],
        },
    ],
    R: [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "The weather?"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]},
        {"type": "function_call", "call_id": "a", "name": "weather", "arguments": '{"city": "Bern"}'},
        {"type": "function_call", "call_id": "b", "name": "weather", "arguments": '{"city": "Rom"}'},
        {"type": "function_call_output", "call_id": "a", "output": "snow"},
        {"type": "function_call_output", "call_id": "b", "output": "sun"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And?"}]},
    ],
}


def without_spaces(told: Any) -> Any:
    """A body whose arguments have no blanks after their marks."""
    return msgspec.json.decode(msgspec.json.encode(told).replace(b'\\": \\"', b'\\":\\"'))


@ways
def test_calls_side_by_side_and_their_results(client: str, vendor: str) -> None:
    sent = body(client, vendor, **turns(client, CALLED[client]))
    assert without_spaces(sent["input" if vendor == R else "messages"]) == without_spaces(CALLED[vendor])


TOOLS: dict[str, Any] = {
    C: {"type": "function", "function": {"name": "weather", "description": "It tells.", "parameters": SCHEMA, "strict": True}},
    M: {"name": "weather", "description": "It tells.", "input_schema": SCHEMA, "strict": True},
    R: {"type": "function", "name": "weather", "description": "It tells.", "parameters": SCHEMA, "strict": True},
}


@ways
def test_a_tool_is_told_as_the_vendor_knows_it(client: str, vendor: str) -> None:
    assert body(client, vendor, tools=[TOOLS[client]])["tools"] == [TOOLS[vendor]]


def test_a_tool_without_arguments_has_an_empty_schema_in_messages() -> None:
    sent = body(C, M, tools=[{"type": "function", "function": {"name": "now"}}, TOOLS[C]])
    assert sent["tools"][0] == {"name": "now", "input_schema": {"type": "object", "properties": {}}}
    bare = {"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}
    assert body(C, M, tools=[bare])["tools"][0]["input_schema"] == {"type": "object", "properties": {}}


CHOICES: dict[str, dict[str, Any]] = {
    "auto": {C: "auto", M: {"type": "auto"}, R: "auto"},
    "none": {C: "none", M: {"type": "none"}, R: "none"},
    "required": {C: "required", M: {"type": "any"}, R: "required"},
    "named": {
        C: {"type": "function", "function": {"name": "weather"}},
        M: {"type": "tool", "name": "weather"},
        R: {"type": "function", "name": "weather"},
    },
}


@ways
@pytest.mark.parametrize("choice", CHOICES)
def test_the_choice_of_tools(client: str, vendor: str, choice: str) -> None:
    sent = body(client, vendor, tools=[TOOLS[client]], tool_choice=CHOICES[choice][client])
    assert sent["tool_choice"] == CHOICES[choice][vendor]


@ways
def test_one_call_at_a_time(client: str, vendor: str) -> None:
    one: dict[str, Any] = {"parallel_tool_calls": False}
    if client == M:
        one = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    sent = body(client, vendor, tools=[TOOLS[client]], **one)
    if vendor == M:
        assert sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    else:
        assert sent["parallel_tool_calls"] is False


@pytest.mark.parametrize("vendor", [M, R])
def test_of_tools_that_may_be_called_only_these_are_sent(vendor: str) -> None:
    other = {"type": "function", "function": {"name": "other"}}
    named = {"type": "function", "function": {"name": "weather"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    sent = body(C, vendor, tools=[other, TOOLS[C]], tool_choice=choice)
    assert sent["tools"] == [TOOLS[vendor]]
    assert sent["tool_choice"] == CHOICES["required"][vendor]


def test_a_custom_tool_is_a_function_where_there_is_none() -> None:
    tool = {"type": "custom", "name": "patch", "description": "Patches.", "format": {"type": "grammar", "definition": "start: X"}}
    given = [
        {"role": "user", "content": "Go"},
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": 'a "b"'},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "done"},
    ]
    sent = body(R, C, input=given, tools=[tool])
    [function] = [each["function"] for each in sent["tools"]]
    assert function["parameters"]["required"] == ["input"]
    assert function["description"].startswith("Patches.\n\nThe input must follow this format: ")
    assert "start: X" in function["description"]
    [call] = sent["messages"][1]["tool_calls"]
    assert msgspec.json.decode(call["function"]["arguments"]) == {"input": 'a "b"'}
    assert body(R, M, input=given, tools=[tool])["messages"][1]["content"][0]["input"] == {"input": 'a "b"'}
    # Responses have them too.
    custom = {"type": "custom", "custom": {"name": "patch"}}
    chatted = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "patch", "input": "x"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    ]
    sent = body(C, R, messages=chatted, tools=[custom])
    assert sent["tools"] == [{"type": "custom", "name": "patch"}]
    assert [item["type"] for item in sent["input"]] == ["message", "custom_tool_call", "custom_tool_call_output"]


@pytest.mark.parametrize(("arguments", "given"), [("", {}), ("  ", {}), ('{"a":', {"_raw": '{"a":'}), ("[1]", {"_raw": "[1]"})])
def test_arguments_that_are_no_object(arguments: str, given: Any) -> None:
    messages = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    ]
    assert body(C, M, messages=messages)["messages"][1]["content"] == [{"type": "tool_use", "id": "a", "name": "f", "input": given}]


def test_an_error_of_a_tool_is_told_in_words_and_its_images_after_it() -> None:
    content = [{"type": "text", "text": "no such city"}, *IMAGES[M][:1]]
    messages = [
        *CALLED[M][:1],
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": True, "content": content}]},
    ]
    sent = body(M, C, messages=messages)["messages"][2:]
    assert sent[0] == {"role": "tool", "tool_call_id": "a", "content": "Error:\n\nno such city"}
    assert sent[1] == {"role": "user", "content": [{"type": "text", "text": "Images in the result of a:"}, IMAGES[C][0]]}
    [output] = body(M, R, messages=messages)["input"][2:]
    words = [{"type": "input_text", "text": text} for text in ("Error:", "no such city")]
    assert output == {"type": "function_call_output", "call_id": "a", "output": [*words, IMAGES[R][0]]}


def test_ids_that_messages_do_not_take_are_replaced_in_call_and_result() -> None:
    messages = [
        {"role": "user", "content": "Go"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "functions.f:0", "content": "done"},
    ]
    _, called, answered = body(C, M, messages=messages)["messages"]
    assert called["content"][0]["id"] == answered["content"][0]["tool_use_id"]
    assert called["content"][0]["id"].startswith("toolu_")


@pytest.mark.parametrize("call_id", ["", "call_0"])
def test_ids_that_are_missing_or_repeated_are_made_unique(call_id: str) -> None:
    call = {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": call_id, "content": "done"}
    messages = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": [call, call]},
        result,
        result,
        {"role": "assistant", "tool_calls": [call]},
        result,
    ]
    items = body(C, R, messages=messages)["input"]
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]
    results = [item["call_id"] for item in items if item["type"] == "function_call_output"]
    assert calls == results
    assert len(set(calls)) == 3
    assert all(calls)


@ways
def test_a_result_without_its_call_and_a_call_without_its_result(client: str, vendor: str) -> None:
    place = {C: "messages[1]", M: "messages[1].content[0]", R: "input[1]"}[client]
    orphan = {
        C: [SIMPLE[M][0], {"role": "tool", "tool_call_id": "a", "content": "x"}],
        M: [SIMPLE[M][0], {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}],
        R: [SIMPLE[R][0], {"type": "function_call_output", "call_id": "a", "output": "x"}],
    }[client]
    found = problem(client, vendor, **turns(client, orphan))
    assert (found.code, found.param) == ("unpaired_result", place)
    given = CALLED[client][: {C: 3, M: 2, R: 5}[client]]
    if client == M:
        given = [*given, {"role": "user", "content": [CALLED[M][2]["content"][0]]}]
    found = problem(client, vendor, **turns(client, given))
    assert found.code == "unpaired_call"
    assert "'b', which has no result" in found.message


def test_ten_thousand_tools_and_a_schema_that_refers_to_itself() -> None:
    schema = {"$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"}
    tools = [{"type": "function", "function": {"name": f"f{index}", "parameters": schema}} for index in range(10_000)]
    sent = body(C, M, tools=tools)["tools"]
    assert len(sent) == 10_000
    assert sent[9_999] == {"name": "f9999", "input_schema": {"type": "object", **schema}}


# Settings


def test_limits_and_sampling() -> None:
    sent = body(C, M, max_completion_tokens=50, temperature=0.25, top_p=0.9, stop=["END", "FIN"], user="someone")
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"]) == (50, 0.25, 0.9)
    assert (sent["stop_sequences"], sent["metadata"]) == (["END", "FIN"], {"user_id": "someone"})
    sent = body(M, C, max_tokens=50, temperature=0.25, stop_sequences=["END"], metadata={"user_id": "someone"})
    assert (sent["max_tokens"], sent["temperature"], sent["stop"], sent["user"]) == (50, 0.25, ["END"], "someone")
    sent = body(R, C, max_output_tokens=50, top_p=0.5, user="someone", prompt_cache_key="k", metadata={"a": "b"})
    assert (sent["max_tokens"], sent["top_p"], sent["user"], sent["prompt_cache_key"]) == (50, 0.5, "someone", "k")
    assert sent["metadata"] == {"a": "b"}
    assert len(body(M, C, metadata={"user_id": "x" * 200})["user"]) == 32


def test_a_limit_that_only_the_quota_gives_is_the_smaller_one() -> None:
    request = translated(C, M, max_tokens=50)
    sent = request.vendor_request(endpoint(M), "vendor-m", 20, streamed=False)
    assert msgspec.json.decode(sent.body.content)["max_tokens"] == 20


def test_a_temperature_that_messages_do_not_take() -> None:
    sent, dropped = asked(C, M, temperature=1.5)
    assert (sent["temperature"], dropped) == (1, ("temperature",))
    # With thinking none is taken.
    sent, dropped = asked(C, M, temperature=0.5, top_p=0.5, reasoning_effort="high")
    assert ("temperature" in sent, "top_p" in sent, dropped) == (False, False, ("temperature", "top_p"))


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "disabled"}}, "none"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4_096}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4_097}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 16_385}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({}, None),
    ],
)
def test_the_effort_of_thinking(fields: dict[str, Any], effort: str | None) -> None:
    assert body(M, C, **fields).get("reasoning_effort") == effort
    reasoning = body(M, R, **fields).get("reasoning", {})
    assert reasoning.get("effort") == effort
    assert reasoning.get("summary") == ("auto" if fields.get("thinking", {}).get("type") in ("enabled", "adaptive") else None)


@pytest.mark.parametrize(
    ("effort", "thinking", "config"),
    [
        ("none", {"type": "disabled"}, None),
        ("minimal", {"type": "adaptive"}, {"effort": "low"}),
        ("high", {"type": "adaptive"}, {"effort": "high"}),
    ],
)
def test_an_effort_is_thinking_in_messages(effort: str, thinking: Any, config: Any) -> None:
    for sent in (body(C, M, reasoning_effort=effort), body(R, M, reasoning={"effort": effort})):
        assert (sent["thinking"], sent.get("output_config")) == (thinking, config)


FORMATS: dict[str, dict[str, Any]] = {
    C: {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}},
    M: {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    R: {"text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}}},
}


@ways
def test_the_form_of_the_answer(client: str, vendor: str) -> None:
    sent = body(client, vendor, **FORMATS[client])
    [(name, value)] = FORMATS[vendor].items()
    assert sent[name] == value


def test_any_json_object_is_no_form_in_messages() -> None:
    assert body(C, R, response_format={"type": "json_object"})["text"] == {"format": {"type": "json_object"}}
    sent, dropped = asked(C, M, response_format={"type": "json_object"})
    assert ("output_config" in sent, dropped) == (False, ("response_format",))
    assert asked(R, M, text={"format": {"type": "json_object"}})[1] == ("text.format",)


@pytest.mark.parametrize(
    ("client", "vendor", "fields", "dropped"),
    [
        (C, M, {"seed": 1, "frequency_penalty": 1, "logit_bias": {"1": 2}}, ("seed", "frequency_penalty", "logit_bias")),
        (
            C,
            M,
            {"prompt_cache_key": "k", "metadata": {"a": "b"}, "verbosity": "low"},
            ("metadata", "prompt_cache_key", "verbosity"),
        ),
        (C, R, {"seed": 1, "store": True}, ("store", "seed")),
        (M, C, {"top_k": 3, "context_management": {"edits": []}}, ("context_management", "top_k")),
        (M, R, {"output_config": {"effort": "low", "task_budget": {"total": 1}}}, ("output_config.task_budget",)),
        (M, C, {"tools": [{"name": "f", "input_schema": {}, "cache_control": {"type": "ephemeral"}}]}, ("tools[].cache_control",)),
        (R, C, {"truncation": "auto", "client_metadata": {}}, ("truncation", "client_metadata")),
        # Names that mean something in the vendor's dialect alone.
        (C, M, {"system": "Be loud.", "top_k": 3}, ("system", "top_k")),
        (M, C, {"n": 5}, ("n",)),
        (C, R, {"previous_response_id": "r"}, ("previous_response_id",)),
    ],
)
def test_settings_that_are_left_out_are_named(client: str, vendor: str, fields: Any, dropped: tuple[str, ...]) -> None:
    sent, named = asked(client, vendor, **fields)
    assert set(named) == set(dropped)
    assert not sent.keys() & {"seed", "system", "top_k", "n", "previous_response_id", "logit_bias", "truncation"}


def test_the_vendors_profile_decides_on_settings_of_one_dialect() -> None:
    sent, dropped = asked(M, C, at=endpoint(C, extra_fields=frozenset({"top_k"})), top_k=3)
    assert (sent["top_k"], dropped) == (3, ())
    with pytest.raises(Problem, match="top_k is not a field that this model's vendor is known to take"):
        asked(M, C, at=endpoint(C, unknown_fields=Unknown.REFUSED), top_k=3)
    with pytest.raises(Problem, match="max_new_tokens would be another limit of the output"):
        asked(M, C, at=endpoint(C, unknown_fields=Unknown.PASSED), max_new_tokens=3)


def test_a_field_that_costs_extra_is_refused_under_the_clients_name() -> None:
    at = endpoint(C, priced_fields=(("reasoning_effort", frozenset({b'"low"'})),))
    with pytest.raises(Problem) as raised:
        asked(M, C, at=at, output_config={"effort": "high"}, thinking={"type": "adaptive"})
    assert raised.value.param == "output_config.effort"
    assert raised.value.message.startswith("output_config.effort costs extra")
    found = problem(C, R, max_tokens=5)
    assert (found.param, found.code) == ("max_completion_tokens", "invalid_value")
    assert problem(C, M, service_tier="priority").message.startswith("service_tier costs extra")


@pytest.mark.parametrize(
    ("client", "vendor", "fields", "param"),
    [
        (C, M, {"n": 2}, "n"),
        (C, R, {"logprobs": True}, "logprobs"),
        (C, M, {"functions": [{"name": "f"}]}, "functions"),
        (C, R, {"stop": "END"}, "stop"),
        (M, R, {"stop_sequences": ["END"]}, "stop_sequences"),
        (M, C, {"stop_sequences": list("abcde")}, "stop_sequences"),
        (M, C, {"messages": [*SIMPLE[M], {"role": "assistant", "content": "I"}]}, "messages[1]"),
        (C, M, {"messages": [*SIMPLE[M], {"role": "assistant", "content": "I"}]}, "messages[1]"),
        (C, M, {"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0]"),
        (C, M, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
         "messages[0].content[0]"),
        (M, C, {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        (M, C, {"messages": [{"role": "user", "content": [{"type": "search_result", "source": "s", "title": "t", "content": []}]}]},
         "messages[0].content[0]"),
        (M, C, {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "a", "name": "b", "input": {}}]}]},
         "messages[0].content[0]"),
        (R, C, {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "namespace", "name": "m"}]}]},
         "tools[0].tools[0].type"),
        (C, M, {"messages": [{"role": "user", "content": [
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]},
         "messages[0].content[0]"),
        (M, C, {"messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}]}]},
         "messages[0].content[0].source"),
        (R, M, {"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0]"),
        (R, C, {"input": [{"type": "web_search_call", "id": "w"}]}, "input[0]"),
        (R, C, {"input": [{"role": "user", "content": [{"type": "input_audio", "x": 1}]}]}, "input[0].content[0]"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused_under_the_clients_name(client: str, vendor: str, fields: Any, param: str) -> None:
    found = problem(client, vendor, **fields)
    assert found.param == param
    assert found.message.startswith(param)


@pytest.mark.parametrize(
    ("client", "fields", "param"),
    [
        (C, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (C, {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]}]},
         "messages[0].tool_calls[0].function.arguments"),
        (C, {"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        (C, {"tools": [{"type": "function", "function": {"name": "f", "parameters": 5}}]}, "tools[0].function.parameters"),
        (C, {"tool_choice": "sometimes"}, "tool_choice"),
        (C, {"tool_choice": {"type": "mcp"}}, "tool_choice.type"),
        (C, {"stop": {"a": 1}}, "stop"),
        (C, {"response_format": {"type": "xml"}}, "response_format.type"),
        (C, {"reasoning_effort": 5}, "reasoning_effort"),
        (C, {"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        (M, {"tools": [{"input_schema": {}}]}, "tools[0].name"),
        (M, {"tool_choice": {"type": "perhaps"}}, "tool_choice.type"),
        (M, {"stop_sequences": [1]}, "stop_sequences"),
        (M, {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}}]}]},
         "messages[0].content[0].id"),
        (M, {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": []}]}]},
         "messages[0].content[0].input"),
        (M, {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]}]},
         "messages[0].content[0].source.media_type"),
        (M, {"output_config": {"effort": 5}}, "output_config.effort"),
        (M, {"metadata": "me"}, "metadata"),
        (R, {"reasoning": "much"}, "reasoning"),
        (R, {"tools": [{"type": "function"}]}, "tools[0].name"),
        (R, {"tool_choice": {"type": "function"}}, "tool_choice.name"),
    ],
)  # fmt: skip
def test_a_part_of_the_wrong_type_is_refused_by_its_place(client: str, fields: Any, param: str) -> None:
    for vendor in {C, M, R} - {client}:
        found = problem(client, vendor, **fields)
        assert found.param == param, found.message


# What is to be cached


MARK = {"cache_control": {"type": "ephemeral"}}
BREAKPOINT = {"prompt_cache_breakpoint": {"mode": "explicit"}}


@pytest.mark.parametrize("vendor", [C, R])
def test_marks_survive_where_the_vendor_takes_some(vendor: str) -> None:
    at = endpoint(vendor, prompt_caching=PromptCaching.MARKS)
    system = [{"type": "text", "text": "Long."}, {"type": "text", "text": "Longer.", **MARK}]
    sent, dropped = asked(M, vendor, at=at, system=system)
    kind = "text" if vendor == C else "input_text"
    first = sent["messages" if vendor == C else "input"][0]
    assert first["content"] == [{"type": kind, "text": "Long."}, {"type": kind, "text": "Longer.", **BREAKPOINT}]
    assert dropped == ()
    # A mark on the whole request is one on its last part; a time of its own is no vendor's here.
    sent, dropped = asked(M, vendor, at=at, cache_control={"type": "ephemeral"})
    assert sent["messages" if vendor == C else "input"][-1]["content"] == [{"type": kind, "text": "Hi", **BREAKPOINT}]
    hour = [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    assert asked(M, vendor, at=at, system=hour)[1] == ("cache_control.ttl",)


@pytest.mark.parametrize("vendor", [C, R])
def test_marks_are_named_where_the_vendor_caches_by_itself_and_refused_elsewhere(vendor: str) -> None:
    system = [{"type": "text", "text": "Long.", **MARK}]
    sent, dropped = asked(M, vendor, at=endpoint(vendor, prompt_caching=PromptCaching.AUTOMATIC), system=system)
    assert dropped == ("cache_control",)
    assert "prompt_cache_breakpoint" not in str(sent)
    found = problem(M, vendor, system=system)
    assert (found.param, found.code) == ("cache_control", "unsupported_in_translation")
    assert "not known to cache prompts" in found.message


def test_breakpoints_are_marks_in_messages_four_of_them() -> None:
    parts = [{"type": "text", "text": f"Part {index}", **BREAKPOINT} for index in range(4)]
    sent = body(C, M, messages=[{"role": "user", "content": parts}])
    assert sent["messages"][0]["content"] == [{"type": "text", "text": f"Part {index}", **MARK} for index in range(4)]
    found = problem(C, M, messages=[{"role": "user", "content": [*parts, {"type": "text", "text": "x", **BREAKPOINT}]}])
    assert found.param == "prompt_cache_breakpoint"
    assert "5 parts have one, and that vendor takes at most 4" in found.message


# Sizes and counts


@ways
def test_the_vendors_dialect_sizes_what_it_is_sent(client: str, vendor: str) -> None:
    short, long = (translated(client, vendor, **turns(client, [{"role": "user", "content": "x" * size}])) for size in (10, 1_000))
    assert long.size().bytes_bound - short.size().bytes_bound == 990
    assert list(long.size().texts()) == ["x" * 1_000]


def test_a_count_of_tokens_is_sized_as_the_vendor_would_be_sent_it() -> None:
    request = counting(C, system="Be brief.", messages=[{"role": "user", "content": "x" * 1_000}])
    assert request.makes_output is False
    assert sum(map(len, request.size().texts())) == 1_009
    # What is counted may end anywhere.
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": "y" * 100}}]}
    assert counting(C, messages=[*SIMPLE[M], call]).size().bytes_bound > 100


@ways
def test_calls_of_a_conversation_have_one_mark(client: str, vendor: str) -> None:
    first = translated(client, vendor, **turns(client, CALLED[client][:1]))
    later = translated(client, vendor, **turns(client, CALLED[client]))
    other = translated(client, vendor, **turns(client, [{"role": "user", "content": "Something else"}]))
    assert first.conversation() == later.conversation() != other.conversation()


# The choice of a dialect


def test_the_first_dialect_that_can_have_the_request_is_taken() -> None:
    def spoken(client: str, **fields: Any) -> str:
        targets = TRANSLATIONS.targets(client, {C, M, R} - {client})
        return TRANSLATIONS.translated(DIALECTS[client], read(client, fields), targets, model_id="model", output_max=100)[0]

    assert [spoken(client) for client in (C, M, R)] == [R, R, M]
    assert spoken(M, stop_sequences=["END"]) == C
    assert spoken(C, stop="END") == M
    with pytest.raises(Problem, match="stop_sequences cannot be translated"):
        spoken(M, stop_sequences=list("abcde"))


def test_only_dialects_that_vendors_speak_are_taken_and_embeddings_never() -> None:
    assert TRANSLATIONS.targets(M, {C, "openai_embeddings"}) == (C,)
    assert TRANSLATIONS.targets(C, {"openai_embeddings"}) == ()
    assert TRANSLATIONS.targets("openai_embeddings", {C, M, R}) == ()


@ways
def test_long_requests_are_long_work(client: str, vendor: str) -> None:
    assert not TRANSLATIONS.is_long_work(read(client, {"tools": [TOOLS[client]] * 20}))
    assert TRANSLATIONS.is_long_work(read(client, {"tools": [TOOLS[client]] * 1_100}))
    assert TRANSLATIONS.is_long_work(read(client, turns(client, [{"role": "user", "content": "x"}] * 600)))


GROUP = {"type": "namespace", "name": "agents", "description": "Other agents.", "tools": [{**TOOLS[R], "name": "spawn"}]}


@pytest.mark.parametrize("vendor", [C, M])
def test_tools_of_a_group_have_names_of_their_own(vendor: str) -> None:
    call = {"type": "function_call", "call_id": "a", "namespace": "agents", "name": "spawn", "arguments": "{}"}
    given = [{"role": "user", "content": "Go"}, call, {"type": "function_call_output", "call_id": "a", "output": "x"}]
    sent = body(R, vendor, tools=[GROUP], input=given)
    [tool] = [each.get("function", each) for each in sent["tools"]]
    assert (tool["name"], tool["description"]) == ("agents__spawn", "Other agents.\n\nIt tells.")
    assert "agents__spawn" in str(sent["messages"][1])


def test_a_name_in_a_group_that_is_too_long_ends_with_its_digest() -> None:
    names = [name_in_group("g" * 40, "f" * 40 + end) for end in "ab"]
    assert [len(name) for name in names] == [64, 64]
    assert len(set(names)) == 2
