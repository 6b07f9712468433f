"""Amounts that a meter gets wrong most easily, each with its figure; and an account that leaves answers until it is refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from services.edge.tokens.estimate import estimate
from services.edge.tokens.size import NO_TEXT, size_of
from services.edge.tokens.tokenizers import tokenizer
from tests.edge.counting import counted
from tests.journeys.hostile_vendor import DONE, STREAM, event, usage
from tests.journeys.subscriber import CATALOG, Subscriber, World, chat, eventually, read_until
from tests.journeys.world import PATIENT_MS, running_world
from tests.registry.catalogs import changed

pytestmark = pytest.mark.asyncio(loop_scope="module")

YUAN = 1_000_000

# As DeepSeek and Kimi count what they took from their caches.
VENDORS = """\
vendors:
  - vendor_id: deepseek-like
    display_name: Counts hits and misses
    base_url: https://api.deepseek.test/v1
    api_key_env: TOKENLINE_DEEPSEEK_LIKE_API_KEY
    base_url_env: TOKENLINE_DEEPSEEK_LIKE_BASE_URL
    endpoints:
      openai_chat:
        usage: {paths: {cached_input: [prompt_cache_hit_tokens]}}
  - vendor_id: kimi-like
    display_name: Counts cached tokens beside
    base_url: https://api.kimi.test/v1
    api_key_env: TOKENLINE_KIMI_LIKE_API_KEY
    base_url_env: TOKENLINE_KIMI_LIKE_BASE_URL
    endpoints:
      openai_chat:
        usage: {paths: {cached_input: [cached_tokens]}, places: ["choices[].usage"]}
"""
EXACT = """\
tokenizer_families:
  - family_id: qwen3
    letters_per_token_milli: 4000
    tokens_per_cjk_character_milli: 1500
    template_tokens_per_message: 8
    template_tokens_per_request: 8
    tokenizer: qwen3
"""
# 2 yuan a million tokens of input, 0.4 from the cache, 3 of output; a left answer of the scripted vendor is soon worth a yuan.
TARIFFS = """\
tariffs:
  - tariff_id: list
    version: 1
    unit: CURRENCY
    currency: CNY
    rates:
      - {model_id: "*", input: 2, cached_input: 0.4, output: 3}
      - {model_id: hostile, input: 0, output: 1000}
"""
OFFERINGS = """\
offerings:
  - offering_id: money
    display_name: By use, in yuan
    tariff_id: list
    reservation_policy: worst_case
"""


def _model(model_id: str, vendor_id: str, family_id: str = "byte-bpe") -> str:
    return f"""\
  - model_id: {model_id}
    display_name: {model_id}
    owned_by: acme
    context_window_tokens: 1000000
    max_output_tokens: 400000
    family_id: {family_id}
    release_date: 2026-01-02
    routes:
      - {{vendor_id: {vendor_id}, vendor_model_id: {vendor_id}-{model_id}, priority: 0}}
"""


MODELS = (
    "models:\n"
    + _model("deep", "deepseek-like")
    + _model("kimi", "kimi-like")
    + _model("long", "other")
    + _model("qwen", "other", "qwen3")
)


def _catalog() -> str:
    text = CATALOG
    for more in (VENDORS, EXACT, MODELS, TARIFFS, OFFERINGS):
        text = changed(more.partition("\n")[0] + "\n", more, text)
    return text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("amounts"), _catalog(), vendor_timeout_ms=PATIENT_MS) as running:
        yield running


async def _with_money(world: World, name: str) -> Subscriber:
    """A subscriber who pays in yuan and has 100 of them."""
    subscriber = await world.subscriber(name, 0, "money")
    body = {"unit": "CURRENCY", "currency": "CNY", "amount": 100 * YUAN, "valid_days": 30, "idempotency_key": "first"}
    added = await world.services.admin("POST", f"/accounts/{subscriber.account_id}/buckets", body)
    assert added.status == 201, added.body
    return subscriber


async def _consumed(subscriber: Subscriber) -> int:
    shown = (await subscriber.services.admin("GET", f"/accounts/{subscriber.account_id}")).json
    [bucket] = shown["buckets"]
    return int(bucket["consumed"])


async def _is_closed(subscriber: Subscriber) -> bool:
    shown = (await subscriber.services.admin("GET", f"/accounts/{subscriber.account_id}")).json
    return not shown["sessions"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "shape"), [("kimi", "top_level_cached"), ("deep", "hit_and_miss")])
async def test_40_000_tokens_of_42_000_from_the_cache_cost_23_thousandths_of_a_yuan(
    world: World, model: str, shape: str, stream: bool
) -> None:
    subscriber = await _with_money(world, f"cached-{model}-{stream}")
    made = {"output_tokens": 1_000, "cached_input_tokens": 40_000, "usage": shape}
    reply = await subscriber.call(chat("x" * 168_000, model=model, stream=stream, simulate=made))
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert receipt["usage"] == {"input": 2_000, "cached_input": 40_000, "cache_write": 0, "output": 1_000, "reasoning": 0}
    assert (receipt["unit"], receipt["currency"]) == ("CURRENCY", "CNY")
    # Read as input like any other it would cost 0.087 yuan.
    assert receipt["charged_amount"] == 23_000
    assert await _consumed(subscriber) == 23_000


async def test_leaving_after_the_text_and_before_the_count_costs_the_282_000_tokens_that_were_counted(world: World) -> None:
    subscriber = await world.subscriber("leaves", 400_000)
    pieces = ["word " * 2_770] * 9 + ["word " * 2_771]
    left = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + b"".join(map(event, pieces)) + event(finish_reason="stop"))
        await writer.drain()
        await left.wait()
        writer.write(event(choices=[], usage=usage(12, 281_988)) + DONE)
        await writer.drain()

    world.hostile.answer = answer
    async with subscriber.begin(chat(model="long", stream=True)) as response:
        charging_id = response.headers["x-request-id"]
        await read_until(response, lambda received: b'"finish_reason":"stop"' in received)
        response.close()
    # By the time that this is answered the edge has seen that nobody is there.
    assert not await _is_closed(subscriber)
    left.set()
    await eventually(lambda: _is_closed(subscriber))
    receipt = await subscriber.receipt(charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == ("client_gone", "vendor")
    # What the edge itself would count.
    assert counted("x" * 40) + estimate(sum(map(size_of, pieces), NO_TEXT)) == 25_508
    assert await subscriber.consumed() == 282_000


def _fragment(*, named: bool, **function: str) -> bytes:
    name = {"id": "call_1", "type": "function"} if named else {}
    call = {"index": 0, **name, "function": function}
    choices = [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]
    return event(object="chat.completion.chunk", choices=choices)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("named", [False, True])
async def test_a_call_of_a_tool_of_100_tokens_in_95_fragments_costs_100_tokens(world: World, named: bool, stream: bool) -> None:
    found = tokenizer("qwen3")
    assert found is not None
    # The name has 2 tokens, the frame that nobody sees 4. Some vendors name a call in each of its fragments.
    assert found.count("search_files" + " the" * 94) == 96
    subscriber = await world.subscriber(f"fragments-{named}-{stream}")
    fragments = _fragment(named=True, name="search_files", arguments="") + _fragment(named=named, arguments=" the") * 94
    world.hostile.streams(fragments, event(finish_reason="tool_calls"), DONE)
    # By the tokenizer of the model's family; and where its tokenizer is not known, by an estimate of the same text.
    assert counted("search_files" + " the" * 94) + 4 == 76
    for model, output in (("qwen", 100), ("long", 76)):
        reply = await subscriber.call(chat(model=model, stream=stream, max_tokens=1_000))
        receipt = await subscriber.receipt(reply.headers["x-request-id"])
        assert (receipt["usage"]["output"], receipt["close_cause"]) == (output, "normal")


async def test_an_account_that_leaves_its_answers_is_refused_and_others_are_not(world: World) -> None:
    subscriber, other = [await _with_money(world, name) for name in ("leaves-all", "waits")]
    body = chat(model="hostile", max_tokens=2_000)

    async def leave() -> None:
        read = asyncio.Event()

        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(STREAM + event("word ", usage=usage(12, 400)))
            await writer.drain()
            read.set()
            await asyncio.Event().wait()

        world.hostile.answer = answer
        calling = asyncio.create_task(subscriber.call(body))
        await read.wait()
        # By the time that this is answered the edge has read what was made.
        assert not await _is_closed(subscriber)
        calling.cancel()
        await eventually(lambda: _is_closed(subscriber))

    async def call(caller: Subscriber) -> Any:
        world.hostile.streams(
            event("word "), event(finish_reason="stop"), event(choices=[], usage=usage(12, 100) | {"total_tokens": 112}), DONE
        )
        return await caller.call(body)

    # 0.4 yuan's worth each that nobody pays; below a yuan's worth, nothing is said of it.
    for _ in range(2):
        await leave()
    assert (await call(subscriber)).status == 200
    await leave()
    asked = len(world.hostile.requests)
    for _ in range(2):
        refused = await call(subscriber)
        assert (refused.status, refused.error["type"], refused.error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
        # Five minutes after it left an answer last.
        assert 280 < int(refused.headers["retry-after"]) <= 300
        assert 280_000 < int(refused.headers["retry-after-ms"]) <= 300_000
        assert refused.error["message"].startswith(
            "Too many answers of the last 24 hours were not waited for, or cost more than the budgets of their keys; wait for "
            "them, or stream them, and give minted keys larger budgets."
        )
    assert len(world.hostile.requests) == asked
    assert await _consumed(subscriber) == 100_000
    # Another account, with the same model at the same time.
    assert (await call(other)).status == 200
    assert await _consumed(other) == 100_000
