"""Images against the whole system, through the official SDK: what its users see, and what they pay."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from tests.edge.system import Cell, cell
from tests.journeys.subscriber import TOKEN, Subscriber
from tests.journeys.test_openai_sdk import sdk
from tests.registry.catalogs import MEDIA

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Ten tokens for the simulator.
TEN = "x" * 40
# What an image costs, in whole tokens of quota.
IMAGE = 50_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Cell, Subscriber]]:
    async with cell(tmp_path_factory.mktemp("media"), catalog=MEDIA) as services, aiohttp.ClientSession() as http:
        await services.ready()
        yield services, await Subscriber.open(services, http, "media", tokens=10_000_000)
        assert (await services.admin("POST", "/audit")).json["breaches"] == []
        assert (await services.admin("POST", "/reconcile")).json["differences"] == []


def charged(receipt: Any) -> dict[str, int]:
    """The charged counts of a receipt, by class."""
    return {name: count for name, count in receipt["usage"].items() if count}


async def test_images_are_made_and_paid_by_the_piece(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.images.with_raw_response.generate(model="painter", prompt=TEN, n=3, size="1024x1024")
        made = raw.parse()
    assert made.data is not None
    assert (len(made.data), made.size, made.usage) == (3, "1024x1024", None)
    for each in made.data:
        assert each.b64_json is not None
        assert base64.b64decode(each.b64_json).startswith(b"\x89PNG")
        assert each.revised_prompt == TEN
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    assert charged(receipt) == {"input": 10, "generated_images": 3}
    assert (receipt["charged_amount"], receipt["provenance"]) == ((10 + 3 * IMAGE) * TOKEN, "vendor")


async def test_images_are_paid_by_their_tokens_where_the_model_is_priced_so(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.images.with_raw_response.generate(
            model="brush", prompt=TEN, n=2, response_format="url", extra_body={"simulate": {"output_tokens": 272}}
        )
        made = raw.parse()
    assert made.data is not None
    assert [each.url for each in made.data] == [f"https://images.simulator.test/{index}.png" for index in range(2)]
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.total_tokens) == (10, 544, 554)
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    assert charged(receipt) == {"input": 10, "image_output": 544}
    assert receipt["charged_amount"] == (10 + 2 * 544) * TOKEN


async def test_images_that_nobody_counted_are_charged_as_they_were_reserved(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.images.with_raw_response.generate(
            model="brush", prompt="a", n=2, extra_body={"simulate": {"usage": "none"}}
        )
    told = raw.parse().usage
    assert told is not None
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    assert charged(receipt) == {"input": told.input_tokens, "image_output": 1_200}
    assert (told.output_tokens, receipt["provenance"]) == (1_200, "estimated")


async def test_images_that_are_not_paid_for_are_not_made(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    poor = await Subscriber.open(services, subscriber.http, "poor", tokens=3 * IMAGE - 1)
    async with sdk(services, poor.api_key) as client:
        with pytest.raises(openai.APIStatusError) as used_up:
            await client.images.generate(model="painter", prompt="a", n=3, user="poor")
        assert (used_up.value.status_code, used_up.value.code) == (402, "insufficient_quota")
        assert await poor.served("poor") == {}
        made = await client.images.generate(model="painter", prompt="a", n=2, user="poor")
    assert made.data is not None
    assert len(made.data) == 2
    assert await poor.consumed() == 2 * IMAGE + 1
    assert await poor.debt() == 0


@pytest.mark.parametrize("images", [0, 3])
async def test_another_number_of_images_than_asked_for_is_no_answer_and_free(running: tuple[Cell, Subscriber], images: int) -> None:
    services, subscriber = running
    before = await subscriber.consumed()
    body = '{"created":1,"data":[' + ",".join(['{"url":"https://a"}'] * images) + "]}"
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            fields = {"simulate": {"body": body, "content_type": "application/json"}}
            await client.images.generate(model="painter", prompt="a", n=2, extra_body=fields)
    assert (failed.value.status_code, failed.value.code) == (502, "vendor_error")
    assert await subscriber.consumed() == before


async def test_a_model_says_in_what_it_is_charged_and_where_it_is_called(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    shown = (await services.call("GET", "/v1/models/painter", subscriber.api_key)).json
    assert shown["measures"] == {"input": "token", "output": "image"}
    assert shown["pricing"]["tiers"][0]["generated_images"] == IMAGE * 1_000_000 * TOKEN
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.BadRequestError, match="call it at /v1/images/generations"):
            await client.chat.completions.create(model="painter", messages=[{"role": "user", "content": "a"}])
        with pytest.raises(openai.BadRequestError, match="`small` is not served in this dialect"):
            await client.images.generate(model="small", prompt="a")
