"""Images and sound against the whole system, through the official SDK: what its users see, and what they pay."""

import base64
import io
import itertools
import json
import wave
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from tests.edge.system import Cell, cell
from tests.edge.tokens.pictures import data_url, in_base64, png
from tests.edge.tokens.sounds import mp3, wav
from tests.journeys.subscriber import TOKEN, Subscriber, eventually, plain
from tests.journeys.test_openai_sdk import sdk
from tests.registry.catalogs import SEEING

NUMBERS = itertools.count()
pytestmark = pytest.mark.asyncio(loop_scope="module")

# Ten tokens for the simulator.
TEN = "x" * 40
# What an image costs, in whole tokens of quota.
IMAGE = 50_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Cell, Subscriber]]:
    async with cell(tmp_path_factory.mktemp("media"), catalog=SEEING) as services, aiohttp.ClientSession() as http:
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


async def test_output_that_can_not_be_limited_is_paid_for_before_it_is_made(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    # An image has at most 600 tokens, of which each costs two; ten tokens are those of the prompt.
    poor = await Subscriber.open(services, subscriber.http, "unlimited", tokens=10 + 1_200)
    body = {"model": "brush", "prompt": TEN, "user": "unlimited", "simulate": {"output_tokens": 600}}
    refused = await services.call("POST", "/v1/images/generations", poor.api_key, {**body, "n": 10})
    assert (refused.status, refused.error["code"]) == (402, "insufficient_quota")
    assert "can make 6000 tokens or images of output, which can't be limited" in refused.error["message"]
    assert (await poor.served("unlimited"), await poor.consumed(), await poor.debt()) == ({}, 0, 0)
    listening = await Subscriber.open(services, subscriber.http, "half-heard", tokens=49_000)
    async with sdk(services, listening.api_key) as client:
        with pytest.raises(openai.APIStatusError, match="can make 2000 tokens or images of output"):
            await client.audio.transcriptions.create(model="scribe", file=("talk.wav", wav(1)), extra_body={"user": "half-heard"})
    assert await listening.served("half-heard") == {}


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


# Transcriptions

# The price of a second of sound, in whole tokens of quota.
SECOND = 2


async def test_sound_becomes_text_and_its_seconds_are_paid(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.audio.transcriptions.with_raw_response.create(
            model="listener", file=("talk.wav", wav(12.5)), language="en", prompt="Names: Ann"
        )
        made = raw.parse()
    assert (made.text, made.usage is not None and made.usage.type) == (plain(16), "duration")
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    # The vendor counts each begun second.
    assert charged(receipt) == {"audio_milliseconds": 13_000}
    assert (receipt["charged_amount"], receipt["provenance"]) == (13 * SECOND * TOKEN, "vendor")


async def test_sound_is_paid_by_its_tokens_where_the_model_is_priced_so(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    simulate = {"output_tokens": 20, "modalities": {"audio_input_tokens": 125}}
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.audio.transcriptions.with_raw_response.create(
            model="scribe", file=("talk.wav", wav(12.5)), prompt="x" * 40, extra_body={"simulate": json.dumps(simulate)}
        )
        made = raw.parse()
    assert made.usage is not None
    assert made.usage.type == "tokens"
    assert (made.usage.input_tokens, made.usage.output_tokens) == (135, 20)
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    assert charged(receipt) == {"input": 10, "audio_input": 125, "output": 20}
    assert receipt["charged_amount"] == (10 + 3 * 125 + 20) * TOKEN


@pytest.mark.parametrize("wanted", ["text", "srt", "vtt", "verbose_json"])
async def test_a_transcription_comes_in_the_form_that_was_asked_for(running: tuple[Cell, Subscriber], wanted: Any) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.audio.transcriptions.with_raw_response.create(
            model="listener", file=("talk.wav", wav(1.5)), response_format=wanted
        )
    body = raw.http_response.text
    if wanted == "verbose_json":
        whole = json.loads(body)
        assert (whole["duration"], whole["usage"]) == (1.5, {"type": "duration", "seconds": 2})
    else:
        begins = {"text": plain(16), "srt": "1\n00:00:00,000 --> 00:00:01,500\n", "vtt": "WEBVTT\n\n00:00:00.000 --> "}
        assert body.startswith(begins[wanted])
    assert charged(await subscriber.receipt(raw.headers["x-request-id"])) == {"audio_milliseconds": 2_000}


async def test_a_file_that_lies_about_its_length_is_paid_by_what_was_heard(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    lying = mp3(10, told_seconds=0.5)
    simulate = {"body": json.dumps({"text": "a", "usage": {"type": "duration", "seconds": 10}}), "content_type": "application/json"}
    async with sdk(services, subscriber.api_key) as client:
        heard = await client.audio.transcriptions.with_raw_response.create(
            model="listener", file=("talk.mp3", lying), extra_body={"simulate": json.dumps(simulate)}
        )
        uncounted = await client.audio.transcriptions.with_raw_response.create(
            model="listener", file=("talk.mp3", lying), extra_body={"simulate": json.dumps({"usage": "none"})}
        )
    assert charged(await subscriber.receipt(heard.headers["x-request-id"])) == {"audio_milliseconds": 10_000}
    # Where nobody counts, no less than the bytes can last.
    receipt = await subscriber.receipt(uncounted.headers["x-request-id"])
    assert charged(receipt) == {"audio_milliseconds": len(lying) * 1_000 // 40_000}
    assert receipt["provenance"] == "estimated"


async def test_a_length_that_the_bytes_can_not_have_is_not_believed(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    simulate = {
        "body": json.dumps({"text": "a", "usage": {"type": "duration", "seconds": 500}}),
        "content_type": "application/json",
    }
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.audio.transcriptions.with_raw_response.create(
            model="listener", file=("talk.wav", wav(2)), extra_body={"simulate": json.dumps(simulate)}
        )
    assert charged(await subscriber.receipt(raw.headers["x-request-id"])) == {"audio_milliseconds": 2_002}


async def test_a_form_that_is_sent_again_is_the_same_call(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = await speaking(running)
    named: dict[str, Any] = {"model": "listener", "extra_headers": {"Idempotency-Key": "talk-1"}}
    async with sdk(services, subscriber.api_key) as client:
        await client.audio.transcriptions.create(**named, file=("talk.wav", wav(1)))
        # Each form has a boundary of its own.
        with pytest.raises(openai.ConflictError, match="receipt"):
            await client.audio.transcriptions.create(**named, file=("talk.wav", wav(1)))
        with pytest.raises(openai.UnprocessableEntityError):
            await client.audio.transcriptions.create(**named, file=("talk.wav", wav(2)))
    assert await subscriber.consumed() == SECOND


async def test_sound_that_is_not_paid_for_is_not_heard(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    poor = await Subscriber.open(services, subscriber.http, "deaf", tokens=10 * SECOND)
    async with sdk(services, poor.api_key) as client:
        with pytest.raises(openai.APIStatusError) as used_up:
            await client.audio.transcriptions.create(model="listener", file=("talk.wav", wav(10.5)), extra_body={"user": "deaf"})
        assert (used_up.value.status_code, used_up.value.code) == (402, "insufficient_quota")
        with pytest.raises(openai.BadRequestError, match=r"lasts about 800 s; listener listens to at most 600 s\. Send parts\."):
            await client.audio.transcriptions.create(model="listener", file=("talk.wav", wav(800, 8_000)))
        assert await poor.served("deaf") == {}
        await client.audio.transcriptions.create(model="listener", file=("talk.wav", wav(9)), extra_body={"user": "deaf"})
    assert (await poor.consumed(), await poor.debt()) == (9 * SECOND, 0)


async def test_a_form_that_is_none_is_told_so(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    reply = await services.call("POST", "/v1/audio/transcriptions", subscriber.api_key, {"model": "listener"})
    assert (reply.status, reply.error["code"]) == (400, "invalid_content_type")
    # Bytes of sound are no values of JSON, however many brackets they have.
    async with sdk(services, subscriber.api_key) as client:
        loud = wav(1)[:44] + b'[{",' * 100_000
        await client.audio.transcriptions.create(model="listener", file=("talk.wav", loud))


# Ranks


async def test_documents_are_ranked_and_their_tokens_are_paid(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    body: dict[str, Any] = {
        "model": "ranker",
        "query": TEN,
        "documents": [TEN, "y" * 80, "z" * 40],
        "top_n": 2,
        "return_documents": True,
    }
    reply = await services.call("POST", "/v1/rerank", subscriber.api_key, body)
    assert reply.status == 200
    found = reply.json["results"]
    assert len(found) == 2
    assert found[0]["relevance_score"] > found[1]["relevance_score"]
    assert all(each["document"]["text"] == body["documents"][each["index"]] for each in found)
    # The query is read with each document.
    assert reply.json["usage"] == {"prompt_tokens": 70, "total_tokens": 70}
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (charged(receipt), receipt["provenance"]) == ({"input": 70}, "vendor")


async def test_ranks_that_nobody_counted_are_counted_here(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    body = {"model": "ranker", "query": "a", "documents": ["b"] * 5, "simulate": {"usage": "none"}}
    reply = await services.call("POST", "/v1/rerank", subscriber.api_key, body)
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert charged(receipt) == {"input": reply.json["usage"]["total_tokens"]}
    assert receipt["provenance"] == "estimated"
    wrong = await services.call("POST", "/v1/rerank", subscriber.api_key, {**body, "model": "small"})
    assert (wrong.status, wrong.error["code"]) == (400, "unsupported_dialect")


# Speech


async def speaking(running: tuple[Cell, Subscriber]) -> tuple[Cell, Subscriber]:
    """The cell, and an account of which nothing is consumed yet."""
    services, subscriber = running
    return services, await Subscriber.open(services, subscriber.http, f"speaking-{next(NUMBERS)}")


async def test_text_is_spoken_and_its_characters_are_paid(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = await speaking(running)
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.audio.speech.with_raw_response.create(
            model="speaker", input="Grüße " * 20, voice="v", response_format="wav"
        )
        sound = raw.content
    assert raw.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(sound)) as heard:
        assert heard.getnframes() == 120 * 400
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    assert charged(receipt) == {"spoken_characters": 120}
    assert (receipt["charged_amount"], receipt["provenance"]) == (120 * 2 * TOKEN, "tokenizer")


async def test_sound_is_heard_before_all_of_it_is_made(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = await speaking(running)
    body = {"model": "speaker", "input": "x" * 40, "voice": "v", "simulate": {"tokens_per_second": 80}}
    headers = {"authorization": f"Bearer {subscriber.api_key}"}
    async with subscriber.http.post(f"{services.base_url}/audio/speech", json=body, headers=headers) as response:
        # As its vendor has it, though MP3 was asked for.
        assert response.content_type == "audio/wav"
        pieces = [piece async for piece in response.content.iter_any()]
    assert len(pieces) > 3
    assert sum(map(len, pieces)) == 44 + 40 * 800


async def test_sound_that_breaks_off_is_cut_off_and_its_text_is_paid(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = await speaking(running)
    before = await subscriber.consumed()
    simulate = {"failure": "break_mid_stream", "failure_after_tokens": 10}
    body = {"model": "speaker", "input": "x" * 40, "voice": "v", "simulate": simulate}
    headers = {"authorization": f"Bearer {subscriber.api_key}"}
    async with subscriber.http.post(f"{services.base_url}/audio/speech", json=body, headers=headers) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    receipt = await subscriber.receipt(response.headers["x-request-id"])
    assert (charged(receipt), receipt["close_cause"]) == ({"spoken_characters": 40}, "vendor_error")
    assert await subscriber.consumed() - before == 80


async def test_who_leaves_pays_for_the_text(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = await speaking(running)
    before = await subscriber.consumed()
    body = {"model": "speaker", "input": "x" * 400, "voice": "v", "simulate": {"tokens_per_second": 40}}
    headers = {"authorization": f"Bearer {subscriber.api_key}"}
    async with subscriber.http.post(f"{services.base_url}/audio/speech", json=body, headers=headers) as response:
        await response.content.readany()
        response.close()

    async def paid() -> bool:
        return (await services.call("GET", f"/v1/me/receipts/{response.headers['x-request-id']}", subscriber.api_key)).status == 200

    await eventually(paid)
    assert await subscriber.consumed() - before == 800


@pytest.mark.parametrize(
    "simulate",
    [
        {"failure": "error_500"},
        {"failure": "disconnect_before_first_byte"},
        {"body": '{"error":{"message":"x"}}', "content_type": "application/json"},
        {"body": "<html>", "content_type": "text/html"},
        {"body": "", "content_type": "audio/mpeg"},
    ],
)
async def test_a_vendor_that_makes_no_sound_costs_nothing(running: tuple[Cell, Subscriber], simulate: dict[str, Any]) -> None:
    services, subscriber = await speaking(running)
    before = await subscriber.consumed()
    body = {"model": "speaker", "input": "x", "voice": "v", "simulate": simulate}
    reply = await services.call("POST", "/v1/audio/speech", subscriber.api_key, body)
    assert (reply.status, reply.error["type"]) in {(502, "server_error"), (503, "server_error")}
    assert await subscriber.consumed() == before


async def test_text_that_is_too_long_or_not_paid_for_is_not_spoken(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    poor = await Subscriber.open(services, subscriber.http, "mute", tokens=19)
    async with sdk(services, poor.api_key) as client:
        with pytest.raises(openai.BadRequestError, match="All texts have 4097 characters; speaker takes at most 4096"):
            await client.audio.speech.create(model="speaker", input="x" * 4_097, voice="v")
        with pytest.raises(openai.APIStatusError) as used_up:
            await client.audio.speech.create(model="speaker", input="x" * 10, voice="v")
        assert (used_up.value.status_code, used_up.value.code) == (402, "insufficient_quota")
        await client.audio.speech.create(model="speaker", input="x" * 9, voice="v")
    async with sdk(services, subscriber.api_key) as client:
        # More tokens than the model takes characters.
        await client.audio.speech.create(model="speaker", input="🙂" * 4_000, voice="v")
    assert (await poor.consumed(), await poor.debt()) == (18, 0)


# Images, sound and documents in messages


def seen(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


SMALL_PNG, LARGE_PNG = data_url(png(500, 500)), data_url(png(5_000, 5_000))
HEARD = {"type": "input_audio", "input_audio": {"data": in_base64(wav(2)), "format": "wav"}}
READ = {"type": "file", "file": {"file_data": in_base64(b"%PDF-1.7"), "filename": "a.pdf"}}


@pytest.mark.parametrize(
    ("part", "needed"),
    [
        # What is held beside the template and ten tokens of output: a tile, all tiles, those of any image, seconds.
        (seen(SMALL_PNG), 85 + 170),
        (seen(LARGE_PNG), 1_445),
        (seen("https://pictures.test/1.png"), 1_445),
        (HEARD, 21),
    ],
)
async def test_what_a_rule_bounds_is_sold_to_who_can_pay_for_the_bound(
    running: tuple[Cell, Subscriber], part: dict[str, Any], needed: int
) -> None:
    services, subscriber = running
    body = {"model": "seer", "messages": [{"role": "user", "content": [part]}], "max_tokens": 10}
    for tokens, status in ((needed + 16 + 9, 402), (needed + 16 + 10, 200)):
        account = await Subscriber.open(services, subscriber.http, f"seeing-{next(NUMBERS)}", tokens)
        reply = await services.call("POST", "/v1/chat/completions", account.api_key, body)
        assert reply.status == status, reply.body
        assert b"known bound" not in reply.body


@pytest.mark.parametrize(("part", "named"), [(seen(SMALL_PNG), "images"), (HEARD, "sound"), (READ, "documents")])
async def test_what_no_rule_bounds_is_sold_where_the_likely_cost_is_reserved(
    running: tuple[Cell, Subscriber], part: dict[str, Any], named: str
) -> None:
    services, subscriber = running
    body = {"model": "gazer", "messages": [{"role": "user", "content": [part]}], "max_tokens": 10}
    strict = await Subscriber.open(services, subscriber.http, f"seeing-{next(NUMBERS)}", 90_000)
    refused = await services.call("POST", "/v1/chat/completions", strict.api_key, body)
    assert refused.status == 402
    assert f"The tokens of {named} have no known bound for this model" in refused.error["message"]
    hopeful = await Subscriber.open(services, subscriber.http, f"seeing-{next(NUMBERS)}", 90_000, offering_id="hopeful")
    assert (await services.call("POST", "/v1/chat/completions", hopeful.api_key, body)).status == 200
    rich = await Subscriber.open(services, subscriber.http, f"seeing-{next(NUMBERS)}", 100_010)
    assert (await services.call("POST", "/v1/chat/completions", rich.api_key, body)).status == 200
