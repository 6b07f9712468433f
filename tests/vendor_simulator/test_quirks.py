import base64
import gzip
import json
from collections.abc import Callable
from typing import Any, get_args

import aiohttp
import msgspec
import pytest

from services.vendor_simulator.answer import Answer
from services.vendor_simulator.chat_request import ChatRequest, parse_request
from services.vendor_simulator.completion import plan
from services.vendor_simulator.errors import VENDOR_ERRORS
from services.vendor_simulator.rich_completion import plan_rich
from services.vendor_simulator.simulate import Quirk, ScriptName, VendorErrorName
from services.vendor_simulator.text import SCRIPTS


def request(**fields: Any) -> ChatRequest:
    return parse_request(msgspec.json.encode(body(**fields)))


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "abcd" * 10}], **fields}


def simulated(stream: bool = True, **simulate: Any) -> dict[str, Any]:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return body(simulate={"output_tokens": 6, **simulate}, **options)


async def post(http: aiohttp.ClientSession, base_url: str, json_body: Any, path: str = "chat/completions") -> bytes:
    async with http.post(f"{base_url}/{path}", json=json_body) as response:
        return await response.read()


def chunks_of(raw: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: {")]


def stream_bytes(answer: Answer) -> bytes:
    events = answer.events()
    visible = answer.visible_tokens
    return events.head() + b"".join(events.content(at, min(2, visible - at)) for at in range(0, visible, 2)) + events.end()


@pytest.mark.parametrize("usage", ["final", "none", "every_chunk", "last_chunk_with_choices", "negative", "absurd"])
@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"max_tokens": 3}, {"stream_options": {"include_usage": True}}])
def test_the_fast_and_the_rich_completion_say_the_same(usage: str, fields: dict[str, Any]) -> None:
    asked = request(**fields, simulate={"output_tokens": 6, "cached_input_tokens": 3, "reasoning_tokens": 2, "usage": usage})
    assert not asked.simulate.needs_more_than_plain
    fast, rich = plan(asked, "c", 7), plan_rich(asked, "c", 7)
    assert json.loads(rich.answer()) == json.loads(fast.answer())
    assert chunks_of(stream_bytes(rich)) == chunks_of(stream_bytes(fast))


def test_plain_calls_take_the_fast_way() -> None:
    assert not request(
        simulate={"output_tokens": 5, "usage": "every_chunk", "failure": "hang_mid_stream"}
    ).simulate.needs_more_than_plain
    for more in (
        {"tools": {"calls": 1}},
        {"text": {"script": "emoji"}},
        {"quirks": ["bom"]},
        {"usage": "x_groq"},
        {"reasoning": "both"},
    ):
        assert request(simulate=more).simulate.needs_more_than_plain


COUNTS = {"output_tokens": 6, "reasoning_tokens": 2, "cached_input_tokens": 4}


@pytest.mark.parametrize(("shape", "usage"), [
    ("without_details", {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16}),
    ("top_level_cached", {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16, "cached_tokens": 4}),
    ("hit_and_miss", {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16, "prompt_cache_hit_tokens": 4,
                      "prompt_cache_miss_tokens": 6, "completion_tokens_details": {"reasoning_tokens": 2}}),
    ("reasoning_beside", {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 16,
                          "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}),
    ("thoughts_in_total", {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 16,
                           "prompt_tokens_details": {"cached_tokens": 4}}),
    ("completion_zero", {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 16,
                         "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 6}}),
    ("prompt_zero", {"prompt_tokens": 0, "completion_tokens": 6, "total_tokens": 6,
                     "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}),
])  # fmt: skip
def test_forms_of_usage(shape: str, usage: dict[str, Any]) -> None:
    assert json.loads(plan_rich(request(simulate=COUNTS | {"usage": shape}), "c", 0).answer())["usage"] == usage
    both = {"usage": {"shape": shape, "place": "in_choice"}}
    assert json.loads(plan_rich(request(simulate=COUNTS | both), "c", 0).answer())["choices"][0]["usage"] == usage


@pytest.mark.parametrize(("place", "seen"), [
    ("before_last", [0, 0, 0, 0, 6, 0, 0]), ("in_choice", [0, 0, 0, 0, 6]), ("x_groq", [0, 0, 0, 0, 6]),
    ("after_done", [0, 0, 0, 0, 0, "done", 6]), ("twice", [0, 0, 0, 0, 12, 6]), ("preview_first", [4, 0, 0, 0, 0, 0, 6]),
    ("zeros_until_end", [-1, -1, -1, -1, 6]),
])  # fmt: skip
def test_places_of_usage(place: str, seen: list[Any]) -> None:
    asked = request(stream_options={"include_usage": True}, simulate={"output_tokens": 6, "usage": place})
    raw = stream_bytes(plan_rich(asked, "c", 0))

    def tokens(usage: Any) -> int:
        return (usage["completion_tokens"] or -1) if usage else 0

    found: list[Any] = []
    for line in raw.removesuffix(b"data: [DONE]\n\n").split(b"\n\n")[:-1]:
        if line == b"data: [DONE]":
            found.append("done")
            continue
        chunk = json.loads(line[6:])
        in_choices = sum(tokens(choice.get("usage")) for choice in chunk["choices"])
        found.append(tokens(chunk["usage"]) + in_choices + tokens(chunk.get("x_groq", {}).get("usage")))
    assert found == seen


def test_details_of_usage_have_cache_writes_images_and_audio() -> None:
    modalities = {"image_input_tokens": 50, "audio_input_tokens": 7, "image_output_tokens": 2, "audio_output_tokens": 1}
    asked = request(
        simulate={"cache_write_tokens": 2, "cache_write_1h_tokens": 3, "modalities": modalities, "added_input_tokens": 100}
    )
    usage = json.loads(plan_rich(asked, "c", 0).answer())["usage"]
    assert usage["prompt_tokens"] == 10 + 57 + 100
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 5, "image_tokens": 50, "audio_tokens": 7}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0, "image_tokens": 2, "audio_tokens": 1}


@pytest.mark.parametrize("script", [name for name in get_args(ScriptName) if name != "json"])
@pytest.mark.parametrize("bytes_per_token", [0, 0.5, 3, 7.3])
def test_a_script_is_the_same_text_whatever_the_pieces(script: str, bytes_per_token: float) -> None:
    made = SCRIPTS[script]
    assert {len(character.encode()) for character in made.cycle} == {made.width}
    whole = made.passage(bytes_per_token, 0, 900)
    assert "".join(made.passage(bytes_per_token, token, 3) for token in range(0, 900, 3)) == whole
    wanted = 900 * (bytes_per_token or made.bytes_per_token)
    assert abs(len(whole.encode()) - wanted) <= made.width


def test_text_as_asked_for_and_counted() -> None:
    asked = request(simulate={"output_tokens": 100, "text": {"script": "chinese", "bytes_per_token": 3}})
    answer = json.loads(plan_rich(asked, "c", 0).answer())
    assert len(answer["choices"][0]["message"]["content"]) == 100
    assert answer["usage"]["completion_tokens"] == 100
    written = request(simulate={"output_tokens": 100, "text": {"script": "json"}})
    content = json.loads(plan_rich(written, "c", 0).answer())["choices"][0]["message"]["content"]
    assert len(content) == 400
    assert list(json.loads(content)) == ["texts"]


@pytest.mark.parametrize(("display", "names"), [
    ("reasoning_content", ["reasoning_content"]), ("reasoning", ["reasoning"]), ("both", ["reasoning", "reasoning_content"]),
])  # fmt: skip
def test_reasoning_that_can_be_read(display: str, names: list[str]) -> None:
    completion = plan_rich(request(simulate={"output_tokens": 6, "reasoning_tokens": 4, "reasoning": display}), "c", 0)
    message = json.loads(completion.answer())["choices"][0]["message"]
    assert {name: len(message[name]) for name in message if "reasoning" in name} == dict.fromkeys(names, 16)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of(stream_bytes(completion))]
    for name in names:
        assert "".join(delta.get(name, "") for delta in deltas) == message[name]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"]


def test_tool_calls_whole_and_in_fragments() -> None:
    asked = request(simulate={"output_tokens": 20, "tools": {"calls": 2, "argument_tokens": 7}})
    completion = plan_rich(asked, "c", 0)
    choice = json.loads(completion.answer())["choices"][0]
    assert (choice["finish_reason"], len(choice["message"]["content"])) == ("tool_calls", 24)
    calls = choice["message"]["tool_calls"]
    assert [len(call["function"]["arguments"]) for call in calls] == [28, 28]
    assert [list(json.loads(call["function"]["arguments"])) for call in calls] == [["texts"], ["texts"]]
    fragments = ["", ""]
    for chunk in chunks_of(stream_bytes(completion)):
        for piece in chunk["choices"][0]["delta"].get("tool_calls", []):
            fragments[piece["index"]] += piece["function"]["arguments"]
    assert fragments == [call["function"]["arguments"] for call in calls]
    cut = plan_rich(request(max_tokens=15, simulate={"output_tokens": 20, "tools": {"calls": 2, "argument_tokens": 7}}), "c", 0)
    choice = json.loads(cut.answer())["choices"][0]
    assert (choice["finish_reason"], [len(call["function"]["arguments"]) for call in choice["message"]["tool_calls"]]) == (
        "length",
        [28, 8],
    )


@pytest.mark.parametrize(("fields", "simulate", "output"), [
    ({"max_tokens": 5}, {"ignores_limit": True}, 50), ({"max_tokens": 5}, {"heeds": "max_completion_tokens"}, 50),
    ({"max_completion_tokens": 5}, {"heeds": "max_completion_tokens"}, 5),
    ({"max_completion_tokens": 5}, {"heeds": "max_tokens"}, 50),
    ({"max_tokens": 5}, {"limit_excludes_reasoning": True, "reasoning_tokens": 30}, 35), ({"max_tokens": 5}, {}, 5),
])  # fmt: skip
def test_how_a_limit_is_heeded(fields: dict[str, Any], simulate: dict[str, Any], output: int) -> None:
    asked = request(**fields, simulate={"output_tokens": 50, **simulate})
    assert plan(asked, "c", 0).output_tokens == plan_rich(asked, "c", 0).output_tokens == output


BYTES: dict[str, Callable[[bytes], bool]] = {
    "bom": lambda raw: raw.startswith(b"\xef\xbb\xbfdata:"),
    "crlf": lambda raw: raw.count(b"\r\n") == raw.count(b"\n") > 0,
    "cr": lambda raw: b"\n" not in raw and b"\r\r" in raw,
    "mixed_line_ends": lambda raw: 0 < raw.count(b"\r\n") < raw.count(b"\n"),
    "no_done": lambda raw: b"[DONE]" not in raw,
    "extra_done": lambda raw: raw.endswith(b"data: [DONE]\n\ndata: [DONE]\n\n"),
    "no_blank_at_end": lambda raw: raw.endswith(b"[DONE]"),
    "empty_data": lambda raw: b"\ndata:\n\n" in raw or b"\ndata: \n\n" in raw,
    "control_lines": lambda raw: b"retry: 3000\n\n" in raw and b"event: message\nid: 1\ndata: {" in raw,
    "comment_inside": lambda raw: b"id: 1\n: keep-alive\ndata: {" in raw,
    "comments": lambda raw: raw.startswith(b": keep-alive\n\n: keep-alive\n\ndata: {"),
    "no_space": lambda raw: b"data:{" in raw and b"data: {" not in raw,
    "multi_line_data": lambda raw: b',\ndata: "' in raw,
    "blank_lines_first": lambda raw: raw.startswith(b"\n\n\n\ndata: {"),
    "choices_null": lambda raw: b'"choices":null' in raw and b'"choices":[]' not in raw,
    "content_list": lambda raw: b'"content":[{"type":"text"' in raw and b'"content":[{"type":"thinking"' in raw,
    "unknown_delta_field": lambda raw: b'"answer_text":"' in raw and b'"content":"the' not in raw,
    "role_repeated": lambda raw: raw.count(b'"role":"assistant"') == raw.count(b'"delta"') > 2,
    "tool_index_missing": lambda raw: b'"tool_calls":[{"id"' in raw and b'"tool_calls":[{"index"' not in raw,
    "tool_index_zero": lambda raw: b'"tool_calls":[{"index":0' in raw and b'"tool_calls":[{"index":1' not in raw,
    "tool_finish_stop": lambda raw: b'"finish_reason":"stop"' in raw,
    "obfuscation": lambda raw: raw.count(b'"obfuscation":"') == raw.count(b"data: {"),
    "filter_first": lambda raw: b"prompt_filter_results" in raw.split(b"\n\n")[0],
    "unknown_event": lambda raw: b"event: weather_report\n" in raw,
}  # fmt: skip
MESSAGES_BYTES: dict[str, Callable[[bytes], bool]] = {
    "no_event_lines": lambda raw: b"event:" not in raw and b"data: {" in raw,
    "split_event_name": lambda raw: raw.startswith(b"event: message_start\n\ndata: {"),
    "no_done": lambda raw: b"message_stop" not in raw,
    "extra_done": lambda raw: raw.endswith(b"data: [DONE]\n\n"),
    "unknown_event": lambda raw: b"event: weather_report\n" in raw,
    "cr": lambda raw: b"\n" not in raw and b"\rdata: {" in raw,
    "control_lines": lambda raw: b"id: 1\nevent: message_start\ndata: {" in raw,
}


def test_every_quirk_has_a_test() -> None:
    assert set(BYTES) | set(MESSAGES_BYTES) | {"gzip"} == set(get_args(Quirk))
    assert set(VENDOR_ERRORS) == set(get_args(VendorErrorName))


@pytest.mark.parametrize("quirk", BYTES)
async def test_odd_streams(http: aiohttp.ClientSession, base_url: str, quirk: str) -> None:
    more: dict[str, Any] = {
        "output_tokens": 12,
        "reasoning_tokens": 2,
        "reasoning": "reasoning_content",
        "tools": {"calls": 2, "argument_tokens": 4},
    }
    plain = await post(http, base_url, simulated(**more))
    assert not BYTES[quirk](plain)
    raw = await post(http, base_url, simulated(**more, quirks=[quirk]))
    assert BYTES[quirk](raw), raw.decode()


@pytest.mark.parametrize("quirk", MESSAGES_BYTES)
async def test_odd_message_streams(http: aiohttp.ClientSession, base_url: str, quirk: str) -> None:
    asked = simulated() | {"max_tokens": 99}
    assert not MESSAGES_BYTES[quirk](await post(http, base_url, asked, "messages"))
    asked["simulate"]["quirks"] = [quirk]
    assert MESSAGES_BYTES[quirk](await post(http, base_url, asked, "messages"))


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_gzip_whatever_was_accepted(base_url: str, path: str, streamed: bool) -> None:
    async with aiohttp.ClientSession(auto_decompress=False, headers={"accept-encoding": "identity"}) as session:
        asked = simulated(streamed, quirks=["gzip"]) | {"max_tokens": 99}
        async with session.post(f"{base_url}/{path}", json=asked) as response:
            assert response.headers["content-encoding"] == "gzip"
            unpacked = gzip.decompress(await response.read())
    asked["simulate"]["quirks"] = []
    async with aiohttp.ClientSession() as session:
        plain = await post(session, base_url, asked, path)
    assert len(unpacked) == len(plain)
    assert unpacked.startswith(plain[:10])


RECORDED = "data: 天气\r\n\r\n🙂".encode()


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
@pytest.mark.parametrize("recorded", [{"body": RECORDED.decode()}, {"body_base64": base64.b64encode(RECORDED).decode()}])
async def test_a_recorded_body_is_sent_as_it_is(http: aiohttp.ClientSession, base_url: str, path: str, recorded: Any) -> None:
    assert await post(http, base_url, simulated(**recorded) | {"max_tokens": 9}, path) == RECORDED


async def test_a_recorded_body_has_the_headers_and_pieces_asked_for(base_url: str) -> None:
    packed = gzip.compress(RECORDED)
    recorded: dict[str, Any] = {
        "body_base64": base64.b64encode(packed).decode(),
        "content_type": "application/json",
        "content_encoding": "gzip",
        "pieces": [3, 1],
    }
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.post(f"{base_url}/chat/completions", json=simulated(**recorded)) as response,
    ):
        assert (response.headers["content-type"], response.headers["content-encoding"]) == ("application/json", "gzip")
        pieces, piece = [], b""
        async for data, ended in response.content.iter_chunks():
            piece += data
            if ended:
                pieces.append(piece)
                piece = b""
    assert [len(piece) for piece in pieces] == [3] + [1] * (len(packed) - 3)
    assert b"".join(pieces) == packed


async def test_a_recorded_body_can_break_off(http: aiohttp.ClientSession, base_url: str) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await post(http, base_url, simulated(body="data: x", failure="break_mid_stream"))


@pytest.mark.parametrize("streamed", [False, True])
async def test_pieces_of_any_answer(http: aiohttp.ClientSession, base_url: str, streamed: bool) -> None:
    raw = await post(http, base_url, simulated(streamed))
    cut = await post(http, base_url, simulated(streamed, pieces=[7, 1, 30]))
    assert len(cut) == len(raw)


async def test_a_body_beyond_the_bound_is_refused(http: aiohttp.ClientSession, base_url: str) -> None:
    async with http.post(f"{base_url}/chat/completions", json=simulated(body="x" * (4 * 1024 * 1024 + 1))) as response:
        assert response.status == 400


@pytest.mark.parametrize("name", get_args(VendorErrorName))
async def test_errors_of_real_vendors(http: aiohttp.ClientSession, base_url: str, name: str) -> None:
    async with http.post(f"{base_url}/chat/completions", json=simulated(vendor_error=name)) as response:
        raw = await response.text()
        assert response.status == int(name.rsplit("_", 1)[1])
        assert response.headers.get("Retry-After") == ("37" if name == "retry_after_37_429" else None)
    assert ("key-1" in raw) == name.startswith("bad_key")
    assert "{secret}" not in raw


async def test_an_error_of_ones_own(http: aiohttp.ClientSession, base_url: str) -> None:
    error = {"status": 418, "body": "tea for {secret}", "content_type": "text/plain", "headers": {"X-Key": "{secret}"}}
    async with http.post(f"{base_url}/chat/completions", json=simulated(vendor_error=error)) as response:
        assert (response.status, await response.text()) == (418, "tea for key-1")
        assert (response.content_type, response.headers["x-key"]) == ("text/plain", "key-1")


async def test_errors_with_status_200(http: aiohttp.ClientSession, base_url: str) -> None:
    raw = await post(http, base_url, simulated(failure="error_first"))
    assert list(chunks_of(raw)[0]) == ["error"]
    assert raw.endswith(b"\n\ndata: [DONE]\n\n")
    assert list(json.loads(await post(http, base_url, simulated(failure="error_body")))) == ["error"]
    raw = await post(http, base_url, simulated(failure="error_first") | {"max_tokens": 9}, "messages")
    assert raw.startswith(b'event: error\ndata: {"type":"error"')


async def test_a_stream_that_ends_in_mid_event(http: aiohttp.ClientSession, base_url: str) -> None:
    raw = await post(http, base_url, simulated(failure="cut_mid_event", failure_after_tokens=3))
    *whole, rest = raw.split(b"\n\n")
    assert len(whole) == 1 + 3
    assert rest.startswith(b'data: {"id"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(rest[6:])
