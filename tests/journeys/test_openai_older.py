"""Embeddings against the whole system, through the official SDK: what its users see, and what they pay."""

import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from services.vendor_simulator.errors import vendor_error
from tests.edge.system import Cell, cell
from tests.journeys.subscriber import TOKEN, Subscriber
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
