"""What clients and vendors may try on the meter, end to end, each with the right amount; docs/security/attacks.md lists them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest
import pytest_asyncio

from services.edge.call.usage import with_error
from services.edge.tokens.estimate import estimate
from services.edge.tokens.size import size_of
from tests.edge.counting import counted
from tests.journeys.hostile_vendor import DONE, STREAM, event, usage
from tests.journeys.subscriber import CATALOG, TOKEN, Stream, Subscriber, World, chat, eventually, plain, read_until
from tests.journeys.world import SECRET, running_world
from tests.registry.catalogs import changed

pytestmark = pytest.mark.asyncio(loop_scope="module")

INPUT = counted("x" * 40)
STOP = event(finish_reason="stop")


def _model(model_id: str, vendor_id: str) -> str:
    return f"""\
  - model_id: {model_id}
    display_name: {model_id}
    owned_by: acme
    context_window_tokens: 100000
    max_output_tokens: 50000
    family_id: byte-bpe
    release_date: 2026-01-02
    routes:
      - {{vendor_id: {vendor_id}, vendor_model_id: {vendor_id}-{model_id}, priority: 0}}
"""


# Profiles as vendors have them; the simulator serves for each.
VENDORS = """\
  - vendor_id: deepseek-like
    display_name: Heeds max_tokens alone
    base_url: https://api.deepseek.test/v1
    api_key_env: TOKENLINE_DEEPSEEK_LIKE_API_KEY
    base_url_env: TOKENLINE_DEEPSEEK_LIKE_BASE_URL
    endpoints:
      openai_chat:
        output_limit_field: max_tokens
        usage: {paths: {cached_input: [prompt_cache_hit_tokens]}}
  - vendor_id: kimi-like
    display_name: Counts cached tokens beside
    base_url: https://api.kimi.test/v1
    api_key_env: TOKENLINE_KIMI_LIKE_API_KEY
    base_url_env: TOKENLINE_KIMI_LIKE_BASE_URL
    endpoints:
      openai_chat:
        usage: {paths: {cached_input: [cached_tokens]}, places: ["choices[].usage"]}
  - vendor_id: xai-like
    display_name: Counts reasoning beside
    base_url: https://api.xai.test/v1
    api_key_env: TOKENLINE_XAI_LIKE_API_KEY
    base_url_env: TOKENLINE_XAI_LIKE_BASE_URL
    endpoints:
      openai_chat:
        usage: {reasoning: beside}
"""
MODELS = "".join((_model("dear", "acme"), _model("deep", "deepseek-like"), _model("kimi", "kimi-like"), _model("grok", "xai-like")))
OFFERINGS = """\
  - offering_id: made
    display_name: Charges whole answers that nobody waited for
    tariff_id: flat
    reservation_policy: worst_case
    abandoned_answer: made
"""
ARREARS = """\
    errors:
      - {code: Arrearage, meaning: account}
"""
_ADDRESS = "    base_url_env: TOKENLINE_OTHER_BASE_URL\n"
_VENDORS = changed("vendors:\n", "vendors:\n" + VENDORS, changed(_ADDRESS, _ADDRESS + ARREARS, CATALOG))
ATTACKED = changed("models:\n", "models:\n" + MODELS, _VENDORS) + OFFERINGS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("attacks"), ATTACKED) as running:
        yield running


def _thought(stream: Stream) -> str:
    choices = [choice for each in stream.events for choice in each.get("choices", [])]
    return "".join(choice["delta"].get("reasoning_content") or "" for choice in choices)


async def _used(subscriber: Subscriber, charging_id: str) -> dict[str, int]:
    used: dict[str, int] = (await subscriber.receipt(charging_id))["usage"]
    return used


async def _all_closed(subscriber: Subscriber) -> bool:
    shown = (await subscriber.services.admin("GET", f"/accounts/{subscriber.account_id}")).json
    return not shown["sessions"]


# Bodies that mean one thing to the edge and another to a vendor

USER = b'"user":"folds"'
HEAD = b'{"model":"small",' + USER
MESSAGES = b'"messages":[{"role":"user","content":"' + b"x" * 40 + b'"}]'


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(HEAD + b"," + MESSAGES + b',"max_tokens":10,"Model":"acme-dear"}', id="Model"),
        pytest.param(HEAD + b"," + MESSAGES + b',"max_tokens":10,"\\u004dodel":"acme-dear"}', id="escaped-Model"),
        pytest.param(HEAD + b"," + MESSAGES + b',"max_tokens":10,"N":100}', id="N"),
        pytest.param(HEAD + b"," + MESSAGES + b',"max_tokens":10,"Max_Tokens":1000}', id="Max_Tokens"),
        pytest.param(HEAD + b"," + MESSAGES + ',"max_tokens":10,"max_token\u017f":1000}'.encode(), id="max_tokenſ"),
        pytest.param(HEAD + b"," + MESSAGES + b',"max_tokens":10,"Stream":true}', id="Stream"),
        pytest.param(
            HEAD + b"," + MESSAGES + b',"stream":true,"stream_options":{"include_usage":true,"Include_Usage":false}}',
            id="Include_Usage",
        ),
        pytest.param(HEAD + b"," + MESSAGES + b',"Messages":[{"role":"user","content":"' + b"y" * 4_000 + b'"}]}', id="Messages"),
        pytest.param(HEAD + b',"messages":[{"role":"user","content":"x","Content":"' + b"y" * 4_000 + b'"}]}', id="Content"),
        pytest.param(HEAD + b"," + MESSAGES + b',"temperature":1,"Temperature":2}', id="Temperature"),
    ],
)
async def test_a_name_that_a_vendor_may_fold_is_refused_and_nothing_is_served(world: World, body: bytes) -> None:
    subscriber = await world.subscriber("folds")
    reply = await world.services.call("POST", "/v1/chat/completions", subscriber.api_key, body=body)
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert reply.error["param"]
    assert await subscriber.served("folds") == {}
    async with world.http.get(f"{world.services.simulator_base_url}/simulator/served") as response:
        served = msgspec.json.decode(await response.read())
    assert "acme-dear" not in served["by_model"]
    assert await subscriber.consumed() == 0


async def test_a_member_that_stands_twice_reaches_a_vendor_once(world: World) -> None:
    subscriber = await world.subscriber("twice")
    body = (
        b'{"model":"dear","model":"hostile","max_tokens":900,"max_tokens":50,'
        b'"messages":[{"role":"user","content":"' + b"y" * 4_000 + b'","content":"' + b"x" * 40 + b'"}]}'
    )
    world.hostile.streams(event("abcd"), STOP, DONE)
    reply = await world.services.call("POST", "/v1/chat/completions", subscriber.api_key, body=body)
    assert reply.status == 200
    asked = world.hostile.requests[-1]
    assert [asked.count(name) for name in (b'"model"', b'"max_tokens"', b'"messages"', b'"content"')] == [1, 1, 1, 1]
    assert (msgspec.json.decode(asked)["max_tokens"], b"yyyy" in asked) == (50, False)
    assert (await _used(subscriber, reply.headers["x-request-id"]))["input"] == INPUT


# Limits that a vendor does not keep

BEYOND = [
    pytest.param({"output_tokens": 400_000, "ignores_limit": True}, id="ignored"),
    pytest.param(
        {
            "output_tokens": 400_000,
            "reasoning_tokens": 399_999,
            "reasoning": "reasoning_content",
            "limit_excludes_reasoning": True,
        },
        id="thought-excluded",
    ),
]


@pytest.mark.parametrize("simulate", BEYOND)
async def test_a_limit_of_1_that_the_vendor_does_not_keep_lets_no_word_pass_uncounted(
    world: World, simulate: dict[str, Any]
) -> None:
    subscriber = await world.subscriber(f"beyond-{len(simulate)}")
    stream = await subscriber.stream(chat(max_tokens=1, user=f"beyond-{len(simulate)}", simulate={**simulate, "usage": "none"}))
    assert (stream.status, stream.done, stream.finish_reasons) == (200, True, ["length"])
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == ("quota_exhausted", "partial")
    used = receipt["usage"]
    assert (used["output"], used["reasoning"]) == (counted(stream.text), counted(_thought(stream)))
    # What is reserved for a token of output, our count's error included.
    assert used["output"] + used["reasoning"] <= with_error(1, 1, exact=False)
    assert await subscriber.consumed() == INPUT + used["output"] + used["reasoning"]


async def test_thought_that_nobody_sees_is_charged_as_the_vendor_counted(world: World) -> None:
    subscriber = await world.subscriber("hidden")
    made = {"output_tokens": 5_001, "reasoning_tokens": 5_000, "limit_excludes_reasoning": True}
    stream = await subscriber.stream(chat(max_tokens=1, simulate=made))
    assert stream.done
    used = await _used(subscriber, stream.charging_id)
    assert (used["input"], used["output"], used["reasoning"]) == (10, 1, 5_000)
    assert await subscriber.consumed() == 10 + 5_001


@pytest.mark.parametrize(
    "fields", [{"content": "hello world " * 50_000}, {"tool_calls": [{"function": {"arguments": "x" * 600_000}}]}]
)
async def test_an_event_above_the_balance_is_neither_charged_nor_delivered(world: World, fields: dict[str, Any]) -> None:
    subscriber = await world.subscriber(f"above{next(iter(fields))}", 2_000)
    data = {"id": "c", "choices": [{"index": 0, "delta": fields, "finish_reason": "stop"}]}
    world.hostile.streams_and_waits(event("hello"), b"data: " + msgspec.json.encode(data) + b"\n\n")
    reply = await subscriber.call({**chat(), "model": "hostile"})
    assert reply.json["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "length",
        }
    ]
    used = await _used(subscriber, reply.headers["x-request-id"])
    assert used["output"] == estimate(size_of("hello"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_is_written_where_the_vendor_heeds_it(world: World, field: str, stream: bool) -> None:
    subscriber = await world.subscriber(f"heeds-{field}-{stream}", tokens=200)
    body = {**chat(model="deep", stream=stream, simulate={"output_tokens": 4_000, "heeds": "max_tokens"}), field: 50}
    reply = await subscriber.call(body)
    assert reply.status == 200
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (receipt["usage"]["output"], receipt["provenance"]) == (50, "vendor")
    assert (await subscriber.consumed(), await subscriber.debt()) == (60, 0)


# Debt


async def test_20_streams_at_once_that_say_more_than_their_limits_owe_nothing(world: World) -> None:
    subscriber = await world.subscriber("twenty", tokens=20_000)
    world.hostile.streams_and_waits(*(event("some more words ") for _ in range(3_000)))
    streams = await asyncio.gather(*(subscriber.stream(chat(model="hostile", max_tokens=500)) for _ in range(20)))
    assert {(stream.status, stream.done, *stream.finish_reasons) for stream in streams} == {(200, True, "length")}
    charged = 0
    for stream in streams:
        used = await _used(subscriber, stream.charging_id)
        # What no vendor counted is charged by our count, and never above what was reserved.
        assert used["output"] == min(counted(stream.text), with_error(500, 1, exact=False))
        assert used["output"] >= 500
        charged += INPUT + used["output"]
    assert await subscriber.consumed() == charged <= 20_000
    assert await subscriber.debt() == 0


DEBT_LIMIT = 4_096


async def test_20_streams_at_once_that_think_more_than_their_limits_owe_one_limit_together(world: World) -> None:
    subscriber = await world.subscriber("thinking", tokens=20_000)
    made = {"output_tokens": 30_500, "reasoning_tokens": 30_000, "limit_excludes_reasoning": True}
    streams = await asyncio.gather(*(subscriber.stream(chat(max_tokens=500, simulate=made)) for _ in range(20)))
    assert {stream.status for stream in streams} == {200}
    receipts = [await subscriber.receipt(stream.charging_id) for stream in streams]
    charges = [charge for receipt in receipts for charge in receipt["charges"]]
    rated = sum(10 + sum(receipt["usage"][name] for name in ("output", "reasoning")) for receipt in receipts)
    assert sum(charge["amount"] + charge["absorbed_amount"] for charge in charges) == rated * TOKEN > 600_000 * TOKEN
    assert (await subscriber.consumed(), await subscriber.debt()) == (20_000, DEBT_LIMIT)
    # Nothing begins until the debt is paid.
    assert (await subscriber.call(chat(max_tokens=5))).status == 402


@pytest.mark.parametrize("stream", [False, True])
async def test_input_that_a_vendor_adds_becomes_a_debt_up_to_the_limit(world: World, stream: bool) -> None:
    subscriber = await world.subscriber(f"added-{stream}", tokens=100)
    made = {"output_tokens": 5, "added_input_tokens": 500_000}
    reply = await subscriber.call(chat(max_tokens=5, stream=stream, simulate=made))
    assert reply.status == 200
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (receipt["usage"]["input"], receipt["usage"]["output"]) == (500_010, 5)
    [charge] = receipt["charges"]
    assert charge["amount"] == (100 + DEBT_LIMIT) * TOKEN
    assert (charge["debt_amount"], charge["absorbed_amount"]) == (DEBT_LIMIT * TOKEN, (500_015 - 100 - DEBT_LIMIT) * TOKEN)
    assert await subscriber.debt() == DEBT_LIMIT
    # A top-up repays the debt, never the loss.
    bucket = await subscriber.top_up(5_000, "second")
    assert (bucket["repaid_amount"], bucket["remaining"]) == (DEBT_LIMIT * TOKEN, (5_000 - DEBT_LIMIT) * TOKEN)


async def test_searches_that_cost_extra_are_refused(world: World) -> None:
    subscriber = await world.subscriber("search")
    for field, value in (("web_search_options", {}), ("service_tier", "priority")):
        reply = await subscriber.call({**chat(max_tokens=5), field: value})
        assert (reply.status, reply.error["param"], reply.error["code"]) == (400, field, "unsupported_value")
    assert await subscriber.consumed() == 0


# Leaving

EMOJI = "😀🎉" * 40


@pytest.mark.parametrize("piece", ["y" * 60, EMOJI])
async def test_a_client_that_leaves_before_the_count_pays_its_share_of_it(world: World, piece: str) -> None:
    subscriber = await world.subscriber(f"leaves-{len(piece)}")
    go_on = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + event(piece))
        await writer.drain()
        await go_on.wait()
        writer.write(event(piece[: len(piece) // 2]) + STOP + event(choices=[], usage=usage(12, 700)) + DONE)
        await writer.drain()

    world.hostile.answer = answer
    async with subscriber.begin(chat(model="hostile", stream=True, max_tokens=200)) as response:
        charging_id = response.headers["x-request-id"]
        await read_until(response, lambda received: b'"content":' in received)
        response.close()
    # By the time that this is answered the edge has seen that nobody is there.
    shown = (await world.services.admin("GET", f"/accounts/{subscriber.account_id}")).json
    assert len(shown["sessions"]) == 1
    go_on.set()
    await eventually(lambda: _all_closed(subscriber))
    receipt = await subscriber.receipt(charging_id)
    relayed, came = counted(piece), counted(piece + piece[: len(piece) // 2])
    share = -(-700 * relayed // came)
    assert (receipt["close_cause"], receipt["provenance"]) == ("client_gone", "vendor")
    assert (receipt["usage"]["input"], receipt["usage"]["output"]) == (12, share)
    assert await subscriber.consumed() == 12 + share


@pytest.mark.parametrize("stream", [False, True])
async def test_text_in_a_field_that_nobody_knows_is_charged(world: World, stream: bool) -> None:
    subscriber = await world.subscriber(f"unknown-field-{stream}")
    made = {"output_tokens": 100, "usage": "none", "quirks": ["unknown_delta_field"]}
    reply = await subscriber.call(chat(max_tokens=200, stream=stream, simulate=made))
    assert reply.status == 200
    used = await _used(subscriber, reply.headers["x-request-id"])
    assert (used["input"], used["output"]) == (INPUT, counted(plain(100)))


@pytest.mark.parametrize(("offering_id", "charged"), [("default", 0), ("made", INPUT + counted("y" * 400))])
async def test_a_whole_answer_that_is_left_costs_what_its_offering_says(world: World, offering_id: str, charged: int) -> None:
    subscriber = await world.subscriber(f"abandoned-{offering_id}", offering_id=offering_id)
    made = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + event("y" * 400))
        await writer.drain()
        made.set()
        await asyncio.Event().wait()

    world.hostile.answer = answer
    calling = asyncio.create_task(subscriber.call(chat(model="hostile", max_tokens=1_000)))
    await made.wait()
    # By the time that this is answered the edge has read what was made.
    await world.services.admin("GET", f"/accounts/{subscriber.account_id}")
    calling.cancel()
    await eventually(lambda: _all_closed(subscriber))
    assert await subscriber.consumed() == charged


# Counts in other places


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "shape"), [("kimi", "top_level_cached"), ("deep", "hit_and_miss"), ("small", "final")])
async def test_cached_input_is_charged_as_cached(world: World, model: str, shape: str, stream: bool) -> None:
    subscriber = await world.subscriber(f"cached-{shape}-{stream}")
    made = {"output_tokens": 20, "cached_input_tokens": 6, "usage": shape}
    reply = await subscriber.call(chat(model=model, max_tokens=50, stream=stream, simulate=made))
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert receipt["usage"] == {"input": 4, "cached_input": 6, "cache_write": 0, "output": 20, "reasoning": 0}
    assert receipt["provenance"] == "vendor"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "shape"), [("grok", "reasoning_beside"), ("small", "reasoning_beside"), ("small", "thoughts_in_total")]
)
async def test_reasoning_beside_the_output_is_charged(world: World, model: str, shape: str, stream: bool) -> None:
    subscriber = await world.subscriber(f"beside-{model}-{shape}-{stream}")
    made = {"output_tokens": 50, "reasoning_tokens": 30, "usage": shape}
    reply = await subscriber.call(chat(model=model, max_tokens=50, stream=stream, simulate=made))
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert receipt["usage"] == {"input": 10, "cached_input": 0, "cache_write": 0, "output": 20, "reasoning": 30}
    assert receipt["provenance"] == "vendor"


@pytest.mark.parametrize("stream", [False, True])
async def test_writes_to_the_cache_are_charged_as_such(world: World, stream: bool) -> None:
    subscriber = await world.subscriber(f"cache-write-{stream}")
    made = {"output_tokens": 20, "cached_input_tokens": 2, "cache_write_tokens": 5}
    reply = await subscriber.call(chat(max_tokens=50, stream=stream, simulate=made))
    used = await _used(subscriber, reply.headers["x-request-id"])
    assert (used["input"], used["cached_input"], used["cache_write"], used["output"]) == (3, 2, 5, 20)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_input_of_0_tokens_is_not_believed(world: World, stream: bool) -> None:
    subscriber = await world.subscriber(f"prompt-zero-{stream}")
    reply = await subscriber.call(chat(max_tokens=50, stream=stream, simulate={"output_tokens": 20, "usage": "prompt_zero"}))
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (receipt["usage"]["input"], receipt["usage"]["output"], receipt["provenance"]) == (INPUT, 20, "estimated")


# Odd forms

STREAMED_QUIRKS = [
    *("choices_null", "content_list", "empty_data", "bom", "gzip", "cr", "crlf", "mixed_line_ends", "no_done", "no_blank_at_end"),
    *("extra_done", "multi_line_data", "no_space", "role_repeated", "filter_first", "obfuscation"),
]


@pytest.mark.parametrize("quirk", STREAMED_QUIRKS)
async def test_an_odd_form_of_a_stream_changes_neither_text_nor_charge(world: World, quirk: str) -> None:
    subscriber = await world.subscriber(f"odd-{quirk}")
    stream = await subscriber.stream(chat(max_tokens=50, simulate={"output_tokens": 20, "quirks": [quirk]}))
    assert (stream.status, stream.text, stream.finish_reasons, stream.done) == (200, plain(20), ["stop"], True)
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"], receipt["charged_amount"]) == ("normal", "vendor", 30 * TOKEN)


# A small whole answer is asked for as one, a larger one as a stream that is assembled.
@pytest.mark.parametrize("max_tokens", [50, 1_000])
@pytest.mark.parametrize("quirk", ["content_list", "bom", "gzip", "blank_lines_first"])
async def test_an_odd_form_of_a_whole_answer_changes_neither_text_nor_charge(world: World, quirk: str, max_tokens: int) -> None:
    subscriber = await world.subscriber(f"odd-whole-{quirk}-{max_tokens}")
    reply = await subscriber.call(chat(max_tokens=max_tokens, simulate={"output_tokens": 20, "quirks": [quirk]}))
    assert (reply.status, reply.json["choices"][0]["message"]["content"]) == (200, plain(20))
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (receipt["close_cause"], receipt["provenance"], receipt["charged_amount"]) == ("normal", "vendor", 30 * TOKEN)


async def test_a_connection_that_breaks_after_the_finish_and_the_count_breaks_nothing(world: World) -> None:
    subscriber = await world.subscriber("broken-after")
    head = STREAM.replace(b"\r\n\r\n", b"\r\ncontent-length: 100000\r\n\r\n")
    events = event("abcd") + STOP + event(choices=[], usage=usage(12, 7))
    world.hostile.answer = lambda writer: writer.write(head + events)
    stream = await subscriber.stream(chat(model="hostile", max_tokens=50))
    assert (stream.text, stream.finish_reasons, stream.done) == ("abcd", ["stop"], True)
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == ("normal", "vendor")
    assert await subscriber.consumed() == 12 + 7


# JSON counted as text


@pytest.mark.parametrize("quirks", [[], ["tool_index_missing"], ["tool_index_zero"]])
async def test_fragments_of_calls_are_counted_without_their_frames(world: World, quirks: list[str]) -> None:
    subscriber = await world.subscriber(f"fragments-{quirks}")
    made = {"output_tokens": 100, "tools": {"calls": 1, "argument_tokens": 96}, "usage": "none", "quirks": quirks}
    stream = await subscriber.stream(chat(max_tokens=200, simulate=made))
    assert stream.finish_reasons == ["tool_calls"]
    deltas = [choice["delta"] for each in stream.events for choice in each["choices"]]
    functions = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    text = "".join((function.get("name") or "") + (function.get("arguments") or "") for function in functions)
    output = (await _used(subscriber, stream.charging_id))["output"]
    # The text of the call, and the four tokens of its frame that no text shows.
    assert output == counted(stream.text + text) + 4
    assert output < 300


async def test_a_thought_in_two_fields_is_delivered_and_charged_once(world: World) -> None:
    subscriber = await world.subscriber("thought-twice")
    made = {"output_tokens": 50, "reasoning_tokens": 30, "reasoning": "both", "usage": "none"}
    stream = await subscriber.stream(chat(max_tokens=50, simulate=made))
    used = await _used(subscriber, stream.charging_id)
    assert (used["output"], used["reasoning"]) == (counted(stream.text), counted(_thought(stream)))
    assert len(_thought(stream)) == 4 * 30
    assert not any(choice["delta"].get("reasoning") for each in stream.events for choice in each["choices"])


# Whose fault it is

ARREARAGE = {
    "error": {
        "code": "Arrearage",
        "type": "Arrearage",
        "message": "Access denied, please make sure your account is in good standing.",
    }
}


def _refuses(world: World, status: int, body: dict[str, Any], *headers: bytes) -> None:
    content = msgspec.json.encode(body)
    head = b"".join(b"%b\r\n" % header for header in (b"content-length: %d" % len(content), *headers))
    world.hostile.answer = lambda writer: writer.write(b"HTTP/1.1 %d No\r\n%b\r\n%b" % (status, head, content))


@pytest.mark.parametrize("stream", [False, True])
async def test_the_operators_arrears_are_never_the_callers_and_another_route_is_tried(world: World, stream: bool) -> None:
    subscriber = await world.subscriber(f"arrears-{stream}")
    _refuses(world, 400, ARREARAGE)
    reply = await subscriber.call(chat(model="pair", max_tokens=20, stream=stream, simulate={"output_tokens": 5}))
    assert reply.status == 200
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert [(each["vendor_id"], each["outcome"], each["http_status"]) for each in receipt["attempts"]] == [
        ("other", "refused", 400),
        ("acme", "answered", 200),
    ]
    assert await subscriber.consumed() == 15
    alone = await subscriber.call(chat(model="hostile", max_tokens=20, stream=stream))
    assert (alone.status, alone.error["code"]) == (502, "vendor_error")
    assert b"standing" not in alone.body
    assert await subscriber.consumed() == 15


@pytest.mark.parametrize(
    "error",
    [
        *("insufficient_balance_402", "arrears_1113_429", "insufficient_balance_1008_200", "account_overdue_403"),
        *("insufficient_quota_429", "bad_key_401", "bad_key_403"),
    ],
)
async def test_trouble_of_the_operator_with_a_vendor_is_a_server_error(world: World, error: str) -> None:
    subscriber = await world.subscriber(f"trouble-{error}")
    reply = await subscriber.call(chat(max_tokens=20, simulate={"vendor_error": error}))
    assert reply.status in (502, 503)
    assert reply.error["type"] == "server_error"
    assert await subscriber.consumed() == 0


async def test_a_vendors_wait_is_told_as_it_is(world: World) -> None:
    subscriber = await world.subscriber("wait")
    # The route is left out until then, so no other test may need it.
    reply = await subscriber.call(chat(model="grok", max_tokens=20, simulate={"vendor_error": "retry_after_37_429"}))
    assert (reply.status, reply.headers["retry-after"], reply.headers["retry-after-ms"]) == (503, "37", "37000")


@pytest.mark.parametrize("part", [SECRET, SECRET[:12], SECRET[-9:]])
async def test_a_vendors_words_never_carry_our_secret(world: World, part: str) -> None:
    subscriber = await world.subscriber("secret")
    _refuses(world, 400, {"error": {"message": f"temperature is wrong for {part}", "param": part, "code": part}})
    reply = await subscriber.call(chat(model="hostile", max_tokens=20))
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert part.encode() not in reply.body
    _refuses(world, 400, {"error": {"message": "temperature must be at most 2", "param": "temperature"}})
    reply = await subscriber.call(chat(model="hostile", max_tokens=20))
    quoted = 'The model\'s vendor refused the request as malformed. The vendor says: "temperature must be at most 2"'
    assert (reply.error["message"], reply.error["param"]) == (quoted, "temperature")


# Relayed bytes


@pytest.mark.parametrize("quirk", ["control_lines", "comment_inside", "comments"])
async def test_a_vendors_lines_and_our_comments_never_meet_within_an_event(world: World, quirk: str) -> None:
    subscriber = await world.subscriber(f"lines-{quirk}")
    # Slow enough for our own comments between the events.
    body = chat(max_tokens=5, simulate={"output_tokens": 3, "tokens_per_second": 3, "quirks": [quirk]})
    stream = await subscriber.stream(body)
    assert b"\n\n: keep-alive\n\n" in stream.body
    assert all(line.startswith((b"data: ", b": keep-alive")) for line in stream.body.split(b"\n") if line)
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(base_url=world.services.base_url, api_key=subscriber.api_key, http_client=http) as client:
        chunks = await client.chat.completions.create(
            model="small", messages=body["messages"], max_tokens=5, stream=True, extra_body={"simulate": body["simulate"]}
        )
        said = [chunk.choices[0].delta.content or "" async for chunk in chunks]
    assert "".join(said) == plain(3)
    assert await subscriber.consumed() == 2 * 13
