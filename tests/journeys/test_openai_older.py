"""Embeddings and completions against the whole system, through the official SDK: what its users see, and what they pay."""

import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import openai
import pytest
import pytest_asyncio

from services.vendor_simulator.errors import vendor_error
from tests.edge.system import Cell, cell
from tests.journeys.subscriber import TOKEN, Subscriber, plain
from tests.journeys.test_openai_sdk import sdk
from tests.registry.catalogs import OLDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Ten tokens for the simulator, each.
TEN = "x" * 40


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Cell, Subscriber]]:
    async with cell(tmp_path_factory.mktemp("older"), catalog=OLDER) as services, aiohttp.ClientSession() as http:
        await services.ready()
        yield services, await Subscriber.open(services, http, "older")
        assert (await services.admin("POST", "/audit")).json["breaches"] == []
        assert (await services.admin("POST", "/reconcile")).json["differences"] == []


@pytest.mark.parametrize("encoding", ["as the SDK asks by itself", "float", "base64"])
async def test_texts_become_vectors_and_their_tokens_are_paid(running: tuple[Cell, Subscriber], encoding: str) -> None:
    services, subscriber = running
    asked: dict[str, Any] = {} if encoding.startswith("as") else {"encoding_format": encoding}
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.embeddings.with_raw_response.create(model="vectors", input=[TEN, "y" * 80], dimensions=8, **asked)
        made = raw.parse()
    assert (made.object, made.model, [each.index for each in made.data]) == ("list", "acme-vectors", [0, 1])
    vectors: list[Any] = [each.embedding for each in made.data]
    if encoding == "base64":
        vectors = [list(struct.unpack("<8f", base64.b64decode(each))) for each in vectors]
    for vector in vectors:
        assert len(vector) == 8
        assert sum(number * number for number in vector) == pytest.approx(1, abs=1e-6)
    assert vectors[0] != vectors[1]
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (30, 30)
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    assert (receipt["charged_amount"], receipt["provenance"]) == (30 * TOKEN, "vendor")


async def test_tokens_are_read_as_one_input_or_as_several(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        one = await client.embeddings.create(model="vectors", input=[1, 2, 3], dimensions=4)
        two = await client.embeddings.create(model="vectors", input=[[1, 2, 3], [4]], dimensions=4)
    assert (len(one.data), one.usage.prompt_tokens) == (1, 3)
    assert (len(two.data), two.usage.prompt_tokens) == (2, 4)
    assert one.data[0].embedding == two.data[0].embedding


async def test_inputs_side_by_side_have_a_context_window_each(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        made = await client.embeddings.create(model="vectors", input=["word " * 600] * 4, dimensions=1)
        assert made.usage.prompt_tokens == 3_000
        with pytest.raises(openai.BadRequestError) as long:
            await client.embeddings.create(model="vectors", input="word " * 2_400)
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "input")


async def test_without_a_count_of_the_vendors_ours_is_paid_and_told(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.embeddings.with_raw_response.create(
            model="vectors", input=list(range(25)), dimensions=4, extra_body={"simulate": {"usage": "none"}}
        )
    tokens = raw.parse().usage.prompt_tokens
    # Twenty-five, and what the family's template may add.
    assert 25 <= tokens <= 33
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    assert (receipt["charged_amount"], receipt["provenance"]) == (tokens * TOKEN, "estimated")


@pytest.mark.parametrize("vectors", ["[[0.5]]", "[[0.5],[0.5],[0.5]]", "[[0.5],[0.5,0.5]]"])
async def test_an_answer_with_other_vectors_than_inputs_is_no_answer_and_free(
    running: tuple[Cell, Subscriber], vectors: str
) -> None:
    services, subscriber = running
    before = await subscriber.consumed()
    data = ",".join(
        f'{{"object":"embedding","index":{index},"embedding":[{each}]}}'
        for index, each in enumerate(vectors.removeprefix("[[").removesuffix("]]").split("],["))
    )
    body = f'{{"object":"list","data":[{data}],"model":"m","usage":{{"prompt_tokens":9,"total_tokens":9}}}}'
    simulate = {"body": body, "content_type": "application/json"}
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await client.with_options(max_retries=0).embeddings.create(
                model="vectors", input=["a", "b"], extra_body={"simulate": simulate}
            )
    assert failed.value.status_code == 502
    assert await subscriber.consumed() == before


async def test_an_answer_larger_than_its_vectors_can_be_is_no_answer(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    before = await subscriber.consumed()
    body = '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m"}' + " " * 70_000
    async with sdk(services, subscriber.api_key) as client:
        asked = client.with_options(max_retries=0).embeddings
        fields: dict[str, Any] = {"simulate": {"body": body, "content_type": "application/json"}}
        assert (await asked.create(model="vectors", input="a", extra_body=fields)).data[0].embedding == [0.5]
        with pytest.raises(openai.InternalServerError):
            await asked.create(model="vectors", input="a", dimensions=1, extra_body=fields)
    assert await subscriber.consumed() - before <= 10


async def test_used_up_quota_is_402_and_no_vendor_is_called(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    poor = await Subscriber.open(services, subscriber.http, "poor", tokens=20)
    async with sdk(services, poor.api_key) as client:
        with pytest.raises(openai.APIStatusError) as used_up:
            await client.embeddings.create(model="vectors", input="word " * 100, user="poor")
    assert (used_up.value.status_code, used_up.value.code) == (402, "insufficient_quota")
    assert used_up.value.response.headers["x-should-retry"] == "false"
    assert (await poor.consumed(), await poor.served("poor")) == (0, {})


async def test_a_model_is_called_where_it_can_answer(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.BadRequestError, match="call it at /v1/chat/completions, /v1/messages"):
            await client.embeddings.create(model="small", input="a")
        with pytest.raises(openai.BadRequestError, match="`vectors` is not served in this dialect; call it at /v1/embeddings"):
            await client.chat.completions.create(model="vectors", messages=[{"role": "user", "content": "a"}])


async def test_a_vendors_refusal_names_the_input(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    _, _, told = vendor_error("context_length_400", "")
    refusal = {"status": 400, "body": told.decode().replace('"messages"', '"input"')}
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.embeddings.create(model="vectors", input="a", extra_body={"simulate": {"vendor_error": refusal}})
    assert refused.value.param == "input"


# Completions

TWENTY = {"simulate": {"output_tokens": 20}}


async def test_a_completion_goes_on_with_each_prompt(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.completions.with_raw_response.create(
            model="older", prompt=[TEN, "y" * 40], n=2, max_tokens=50, extra_body=TWENTY
        )
        completion = raw.parse()
    assert [(choice.index, choice.finish_reason, choice.text) for choice in completion.choices] == [
        (index, "stop", plain(20)) for index in range(4)
    ]
    assert (completion.object, completion.model) == ("text_completion", "acme-older")
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (20, 80)
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    assert (receipt["charged_amount"], receipt["provenance"]) == (100 * TOKEN, "vendor")


async def test_a_completion_without_a_limit_has_the_dialects_own(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        completion = await client.completions.create(model="older", prompt=[1, 2, 3], extra_body=TWENTY)
    assert (completion.choices[0].finish_reason, completion.choices[0].text) == ("length", plain(16))
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (3, 16)


async def test_a_streamed_completion_ends_with_usage_where_it_was_asked_for(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        asked: dict[str, Any] = {"model": "older", "prompt": TEN, "max_tokens": 400}
        more = {"simulate": {"output_tokens": 300}}
        stream = await client.completions.create(**asked, stream=True, stream_options={"include_usage": True}, extra_body=more)
        chunks = [chunk async for chunk in stream]
        plain_stream = await client.completions.create(**asked, stream=True, extra_body=more)
        finishes = [chunk.choices[0].finish_reason async for chunk in plain_stream]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == plain(300)
    assert (chunks[-1].choices, [chunk.usage for chunk in chunks[:-1]]) == ([], [None] * (len(chunks) - 1))
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (10, 300)
    assert finishes[-1] == "stop"
    body = {**asked, "stream": True, **more}
    reply = await services.call("POST", "/v1/completions", subscriber.api_key, body)
    assert reply.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_echo_and_probabilities_are_sent_and_not_paid(running: tuple[Cell, Subscriber], streamed: bool) -> None:
    services, subscriber = running
    before = await subscriber.consumed()
    # Without a vendor's count only what was made is counted.
    asked = {
        "model": "older",
        "prompt": "word " * 200,
        "echo": True,
        "logprobs": 2,
        "max_tokens": 400,
        "stream": streamed,
        "simulate": {"output_tokens": 300, "usage": "none"},
    }
    reply = await services.call("POST", "/v1/completions", subscriber.api_key, asked)
    assert reply.status == 200
    if streamed:
        chunks = [msgspec.json.decode(line[6:]) for line in reply.body.decode().split("\n\n")[:-2]]
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        assert "".join(choice["text"] for choice in choices) == "word " * 200 + plain(300)
    else:
        (choice,) = reply.json["choices"]
        assert choice["text"] == "word " * 200 + plain(300)
        assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
        assert choice["logprobs"]["text_offset"][-1] == len(choice["text"]) - 4
    paid = await subscriber.consumed() - before
    # About 200 words are read and about 300 written; paid twice, the echo would be 200 more, and its probabilities thousands.
    assert 400 <= paid <= 640


async def test_quota_that_ends_in_mid_stream_ends_the_completion_by_length(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    poor = await Subscriber.open(services, subscriber.http, "ends", tokens=150)
    asked = {"model": "older", "prompt": TEN, "max_tokens": 1_000, "stream": True, "simulate": {"output_tokens": 1_000}}
    reply = await services.call("POST", "/v1/completions", poor.api_key, asked)
    events = reply.body.decode().split("\n\n")
    assert events[-2] == "data: [DONE]"
    assert msgspec.json.decode(events[-3][6:])["choices"][0]["finish_reason"] == "length"
    assert 0 < await poor.consumed() <= 150


async def test_a_completion_with_used_up_quota_is_402(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    poor = await Subscriber.open(services, subscriber.http, "older-poor", tokens=5)
    async with sdk(services, poor.api_key) as client:
        with pytest.raises(openai.APIStatusError) as used_up:
            await client.completions.create(model="older", prompt="word " * 100)
        with pytest.raises(openai.BadRequestError) as best:
            await client.completions.create(model="older", prompt="a", best_of=4)
    assert (used_up.value.status_code, used_up.value.code) == (402, "insufficient_quota")
    assert best.value.param == "best_of"


async def test_a_chat_model_is_not_called_for_completions(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.BadRequestError, match="`small` is not served in this dialect"):
            await client.completions.create(model="small", prompt="a")
