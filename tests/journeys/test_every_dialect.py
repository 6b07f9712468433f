"""The attacks of docs/security/attacks.md in every dialect: what clients and vendors try is refused in the same way everywhere."""

import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
import msgspec
import pytest
import pytest_asyncio
import websockets

from tests.journeys.dialects import (
    BOUNDARY,
    CHAT,
    COMPLETIONS,
    DOORS,
    EMBEDDINGS,
    EVERY,
    IMAGES,
    MESSAGES,
    RESPONSES,
    SOCKET,
    SPEECH,
    TEN,
    TRANSCRIPTIONS,
    Door,
    Told,
    part,
    total_served,
)
from tests.journeys.subscriber import Subscriber, World
from tests.journeys.world import SECRET, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

_json: Final = msgspec.json.encode
JSON_DOORS: Final = tuple(door for door in DOORS if not door.is_form)
POSTS: Final = tuple(door for door in DOORS if not door.is_socket)
FORM_END: Final = f"--{BOUNDARY}--\r\n".encode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("every"), EVERY) as running:
        yield running


def every(doors: tuple[Door, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("door", doors, ids=lambda door: door.name)


async def caller(world: World, request: pytest.FixtureRequest, **more: Any) -> Subscriber:
    """A subscriber of the test's own."""
    return await world.subscriber(request.node.name[:120], **more)


async def assert_refused(world: World, subscriber: Subscriber, door: Door, body: bytes, status: int, code: str | None) -> Told:
    """It is refused in the dialect's words, no vendor is asked, and nothing is charged or held."""
    before = await total_served(world.http, world.services.simulator_base_url)
    told = await door.ask(subscriber, body)
    assert (told.status, told.error.get("code")) == (status, code if door.names_code else None), told
    assert told.says
    assert await total_served(world.http, world.services.simulator_base_url) == before
    assert await subscriber.consumed() == 0
    return told


@every(DOORS)
async def test_a_right_call_is_charged_as_the_vendor_counted(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    world.hostile.answer = says(door.answer, door.content_type)
    told = await door.ask(subscriber, door.body(door.hostile_id))
    assert (told.status, await subscriber.consumed()) == (200, door.input + door.output)


# Requests


def more(door: Door, member: bytes) -> bytes:
    """A right call with another member."""
    return door.body()[:-1] + b"," + member + b"}"


FOLDED: Final = (b'"Model":"dear"', b'"\\u004dodel":"dear"', '"mode\u017f":1,"MODEL":"dear"'.encode())


@pytest.mark.parametrize("member", FOLDED, ids=["large", "escaped", "long s"])
@every(JSON_DOORS)
async def test_a_name_that_a_vendor_may_fold_is_refused(
    world: World, request: pytest.FixtureRequest, door: Door, member: bytes
) -> None:
    told = await assert_refused(world, await caller(world, request), door, more(door, member), 400, "ambiguous_field")
    assert "write model, in exactly these letters" in told.says


async def test_a_name_in_a_form_that_a_vendor_may_fold_is_refused(world: World, request: pytest.FixtureRequest) -> None:
    body = TRANSCRIPTIONS.body(Model="dear")
    told = await assert_refused(world, await caller(world, request), TRANSCRIPTIONS, body, 400, "ambiguous_field")
    assert "write model, in exactly these letters" in told.says


@every(JSON_DOORS)
async def test_a_member_that_stands_twice_reaches_a_vendor_once(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    world.hostile.answer = says(door.answer, door.content_type)
    body = b'{"model":"dear",' + more(door, b'"user":"first","user":"last"')[1:].replace(
        _json(door.model_id), _json(door.hostile_id), 1
    )
    asked = len(world.hostile.requests)
    assert (await door.ask(subscriber, body)).status == 200
    (sent,) = world.hostile.requests[asked:]
    assert (sent.count(b'"model"'), sent.count(b"other-")) == (1, 1)
    assert (b"dear" in sent, b"first" in sent) == (False, False)
    assert await subscriber.consumed() == door.input + door.output


async def test_a_field_that_stands_twice_in_a_form_is_refused(world: World, request: pytest.FixtureRequest) -> None:
    body = part("model", "scribe") + TRANSCRIPTIONS.body()
    told = await assert_refused(world, await caller(world, request), TRANSCRIPTIONS, body, 400, None)
    assert "model stands 2 times in the form" in told.says


@every((CHAT, MESSAGES, RESPONSES, SOCKET, COMPLETIONS, IMAGES))
async def test_what_costs_extra_at_a_vendor_is_refused(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    body = door.body(service_tier="priority")
    told = await assert_refused(world, await caller(world, request), door, body, 400, "unsupported_value")
    assert "service_tier costs extra" in told.says


@every(DOORS)
async def test_another_limit_or_model_never_reaches_a_vendor(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    """Those of other dialects, which a vendor of this one may heed all the same."""
    subscriber = await caller(world, request)
    world.hostile.answer = says(door.answer, door.content_type)
    foreign = {"max_new_tokens": 50_000, "num_predict": 50_000, "best_of_all": 9, "fallback_models": ["dear"], "router": "dear"}
    asked = len(world.hostile.requests)
    told = await door.ask(subscriber, door.body(door.hostile_id, **foreign))
    assert (told.status, await subscriber.consumed()) == (200, door.input + door.output)
    assert set(told.headers["x-dropped-fields"].split(", ")) == foreign.keys()
    (sent,) = world.hostile.requests[asked:]
    assert not [name for name in foreign if name.encode() in sent]


BROKEN: Final[dict[str, Callable[[bytes], bytes]]] = {
    "empty": lambda body: b"",
    "half": lambda body: body[:-5],
    "a list": lambda body: b"[" + body + b"]",
    "a text": lambda body: b'"text"',
    "NUL": lambda body: body.replace(b"xxx", b"x\x00x", 1),
    "half a character": lambda body: body.replace(b"xxx", b"x\\ud800", 1),
    "NaN": lambda body: body[:-1] + b',"temperature":NaN}',
    "two": lambda body: body + body,
}


@pytest.mark.parametrize("how", BROKEN)
@every(JSON_DOORS)
async def test_what_is_no_json_object_is_refused(world: World, request: pytest.FixtureRequest, door: Door, how: str) -> None:
    code = "invalid_type" if how in ("a list", "a text") else "invalid_json"
    await assert_refused(world, await caller(world, request), door, BROKEN[how](door.body()), 400, code)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", TRANSCRIPTIONS.body()[:-5], TRANSCRIPTIONS.body().replace(FORM_END, b"")],
    ids=["empty", "JSON", "half", "endless"],
)
async def test_what_is_no_form_is_refused(world: World, request: pytest.FixtureRequest, body: bytes) -> None:
    await assert_refused(world, await caller(world, request), TRANSCRIPTIONS, body, 400, "invalid_body")


@every(tuple(door for door in JSON_DOORS if not door.is_socket))
async def test_what_is_no_utf_8_is_refused(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    body = door.body().replace(b"xxx", b"x\xff\xfe", 1)
    told = await assert_refused(world, await caller(world, request), door, body, 400, "invalid_json")
    assert "UTF-8" in told.says


async def test_what_is_no_utf_8_closes_a_socket(world: World, request: pytest.FixtureRequest) -> None:
    subscriber = await caller(world, request)
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await SOCKET.ask(subscriber, SOCKET.body().replace(b"xxx", b"x\xff\xfe", 1))
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, await subscriber.consumed()) == (1_007, 0)


@every(JSON_DOORS)
async def test_too_many_values_are_refused(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    await assert_refused(world, await caller(world, request), door, door.body(metadata=[0] * 100_001), 400, "too_many_values")


@every(JSON_DOORS)
async def test_lists_within_lists_are_refused(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    body = more(door, b'"metadata":' + b"[" * 20_000 + b"]" * 20_000)
    told = await assert_refused(world, await caller(world, request), door, body, 400, "invalid_json")
    assert "more than 500 lists and objects deep" in told.says


@every(DOORS)
async def test_models_that_are_not_there(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    await assert_refused(world, subscriber, door, door.body("nobody"), 404, "model_not_found")
    foreign = COMPLETIONS if door is not COMPLETIONS else EMBEDDINGS
    told = await assert_refused(world, subscriber, door, door.body(foreign.model_id), 400, "unsupported_dialect")
    assert f"call it at /v1{foreign.path}" in told.says


@every(DOORS)
async def test_a_model_of_any_length_is_told_in_short(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    body = door.body("m" * 100_000)
    told = await assert_refused(world, await caller(world, request), door, body, 404, "model_not_found")
    assert len(told.body) < 3_000


EMPTY: Final[dict[str, dict[str, Any]]] = {
    "chat": {"messages": []},
    "messages": {"messages": []},
    "completions": {"prompt": ""},
    "embeddings": {"input": ""},
    "rerank": {"documents": []},
    "images": {"prompt": ""},
    "speech": {"input": ""},
    "transcriptions": {"file": b""},
}


@every(tuple(door for door in DOORS if door.name in EMPTY))
async def test_nothing_to_answer_is_refused(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    told = await door.ask(subscriber, door.body(**EMPTY[door.name]))
    assert (told.status, await subscriber.consumed()) == (400, 0)
    assert next(iter(EMPTY[door.name])) in told.says


@every(DOORS)
async def test_a_quota_that_is_used_up_asks_no_vendor(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request, tokens=1)
    status = 429 if door.path == "/responses" else 402
    await assert_refused(world, subscriber, door, door.body(), status, "insufficient_quota")


@every(POSTS)
async def test_keys_that_must_not_pass(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    for key in ("", "sk-none", subscriber.api_key[:-1] + ("A" if subscriber.api_key[-1] != "A" else "B")):
        told = await door.ask(Subscriber(world.services, world.http, "", key), door.body())
        assert (told.status, told.error.get("code")) == (401, "invalid_api_key" if door.names_code else None)
    suspended = await world.services.admin("POST", f"/accounts/{subscriber.account_id}/suspend", {})
    assert suspended.status == 200, suspended.body
    while (told := await door.ask(subscriber, door.body())).status != 403:
        assert told.status == 200
    assert told.error.get("code") == ("account_suspended" if door.names_code else None)


@every(POSTS)
async def test_a_call_with_a_name_is_made_once(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    name = {"Idempotency_Key": "once"}
    first = await door.ask(subscriber, door.body(), **name)
    charged = await subscriber.consumed()
    second = await door.ask(subscriber, door.body(), **name)
    other = await door.ask(subscriber, door.body(user="another"), **name)
    assert [first.status, second.status, other.status] == [200, 409, 422]
    assert second.headers["location"] == f"/v1/me/receipts/{first.headers['x-request-id']}"
    assert await subscriber.consumed() == charged


@pytest.mark.parametrize(
    ("header", "value"), [("x_tokenline_run", "two words"), ("x_tokenline_fallback", "yes"), ("Idempotency_Key", "x" * 201)]
)
@every(POSTS)
async def test_a_wrong_header_is_refused_by_name(
    world: World, request: pytest.FixtureRequest, door: Door, header: str, value: str
) -> None:
    subscriber = await caller(world, request)
    told = await door.ask(subscriber, door.body(), **{header: value})
    assert (told.status, await subscriber.consumed()) == (400, 0)
    assert header.replace("_", "-") in told.says


@every(POSTS)
async def test_other_methods_are_told_the_right_one(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    for method in ("GET", "PUT", "DELETE"):
        reply = await world.services.call(method, f"/v1{door.path}", subscriber.api_key)
        assert (reply.status, reply.headers["allow"]) == (405, "POST")


# Vendors


def says(
    body: bytes, content_type: str = "application/json", status: str = "200 OK", more_headers: str = ""
) -> Callable[[Any], None]:
    """An answer of the scripted vendor."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{more_headers}content-length: {len(body)}\r\n\r\n"

    def answer(writer: Any) -> None:
        writer.write(head.encode() + body)

    return answer


def error(message: str, **fields: Any) -> bytes:
    return _json({"error": {"message": message, **fields}})


FAILURES: Final[dict[str, Callable[[Door], Callable[[Any], None]]]] = {
    "arrears": lambda door: says(error("Pay your account.", type="Arrearage", code="Arrearage"), status="400 Bad Request"),
    "a bad key": lambda door: says(error("Incorrect API key.", code="invalid_api_key"), status="401 Unauthorized"),
    "no balance": lambda door: says(error("Insufficient Balance"), status="402 Payment Required"),
    "a fault": lambda door: says(error("oops"), status="500 Internal Server Error"),
    "a page": lambda door: says(b"<html>Hello</html>", "text/html"),
    "nothing": lambda door: says(b""),
    "null": lambda door: says(b"null"),
    "an empty object": lambda door: says(b"{}"),
    "an error of status 200": lambda door: says(error("no", code="x")),
    "half": lambda door: (
        lambda writer: writer.write(
            f"HTTP/1.1 200 OK\r\ncontent-type: {door.content_type}\r\ncontent-length: 900000\r\n\r\n".encode() + door.answer[:1]
        )
    ),
    "a closed connection": lambda door: lambda writer: writer.close(),
    "another place": lambda door: says(b"", status="302 Found", more_headers="location: http://127.0.0.1:9/\r\n"),
    "no http": lambda door: lambda writer: writer.write(b"\x00\x01\r\n\r\n"),
}


async def assert_fails(world: World, subscriber: Subscriber, door: Door, answer: Callable[[Any], None], **fields: Any) -> None:
    """The vendor is asked once; its failure is no fault of the client, told without the vendor's words, and free."""
    # Two right answers for each failure, or the route would be left out.
    world.hostile.answer = says(door.answer, door.content_type)
    for _ in range(2):
        assert (await door.ask(subscriber, door.body(door.hostile_id))).status == 200
    asked, paid = len(world.hostile.requests), await subscriber.consumed()
    world.hostile.answer = answer
    told = await door.ask(subscriber, door.body(door.hostile_id, **fields))
    assert (told.status, told.says) == (502, "The model's vendor failed to answer."), told
    assert (len(world.hostile.requests) - asked, await subscriber.consumed() - paid) == (1, 0)


# Sound passes as it comes, and has no words: half of it is cut off.
@pytest.mark.parametrize(
    ("failure", "door"),
    [(failure, door) for failure in FAILURES for door in DOORS if (failure, door) != ("half", SPEECH)],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
async def test_a_vendor_that_fails_is_a_servers_error_and_free(
    world: World, request: pytest.FixtureRequest, door: Door, failure: str
) -> None:
    await assert_fails(world, await caller(world, request), door, FAILURES[failure](door))


FOREIGN: Final = [
    (door, other) for door in DOORS for other in POSTS if other.answer != door.answer and other.content_type == "application/json"
]


@pytest.mark.parametrize(("door", "other"), FOREIGN, ids=lambda door: door.name)
async def test_a_vendor_that_speaks_another_dialect_than_its_profile_says_has_not_answered(
    world: World, request: pytest.FixtureRequest, door: Door, other: Door
) -> None:
    await assert_fails(world, await caller(world, request), door, says(other.answer))


@pytest.mark.parametrize("form", ["gzip", "with a BOM", "after comments"])
@every(DOORS)
async def test_an_odd_form_of_an_answer_changes_nothing(
    world: World, request: pytest.FixtureRequest, door: Door, form: str
) -> None:
    subscriber = await caller(world, request)
    content, headers, before = door.answer, "", b""
    if form == "gzip":
        content, headers = gzip.compress(content), "content-encoding: gzip\r\n"
    elif form == "with a BOM" and door is not SPEECH:
        content = b"\xef\xbb\xbf" + content
    else:
        before = b"HTTP/1.1 100 Continue\r\n\r\n" * 5
    answering = says(content, door.content_type, more_headers=headers)

    def answer(writer: Any) -> None:
        writer.write(before)
        answering(writer)

    world.hostile.answer = answer
    told = await door.ask(subscriber, door.body(door.hostile_id))
    assert (told.status, await subscriber.consumed()) == (200, door.input + door.output)
    assert told.body == door.answer if door is SPEECH else told.body.startswith(b"{")


@every(DOORS)
async def test_a_vendors_words_never_carry_our_secret(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    world.hostile.answer = says(error(f"bad {SECRET}", code=SECRET, param=SECRET), status="400 Bad Request")
    told = await door.ask(subscriber, door.body(door.hostile_id))
    assert (told.status, await subscriber.consumed()) == (400, 0)
    assert SECRET.encode() not in told.body
    assert told.says == "The model's vendor refused the request as malformed."


@every(DOORS)
async def test_a_vendors_wait_is_told_as_it_is(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    world.hostile.answer = says(error("slow"), status="429 Too Many Requests", more_headers="retry-after: 37\r\n")
    told = await door.ask(subscriber, door.body(door.late_id))
    assert (told.status, told.headers["retry-after"]) == (529 if door is MESSAGES else 503, "37")
    assert await subscriber.consumed() == 0


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("audio/pcm; rate=24000", "audio/pcm; rate=24000"),
        ("audio/wav; name=\xe9", "audio/wav"),
        (f"audio/wav; name={'x' * 9_000}", "audio/wav"),
        ("application/octet-stream", "audio/mpeg"),
    ],
)
async def test_a_type_of_sound_is_told_without_what_no_header_takes(
    world: World, request: pytest.FixtureRequest, named: str, told: str
) -> None:
    subscriber = await caller(world, request)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {named}\r\ncontent-length: {len(SPEECH.answer)}\r\n\r\n"
    world.hostile.answer = lambda writer: writer.write(head.encode("latin-1") + SPEECH.answer)
    answered = await SPEECH.ask(subscriber, SPEECH.body(SPEECH.hostile_id))
    assert (answered.status, answered.headers["content-type"], answered.body) == (200, told, SPEECH.answer)
    assert await subscriber.consumed() == SPEECH.input


async def test_half_a_sound_is_cut_off_and_its_characters_are_paid(world: World, request: pytest.FixtureRequest) -> None:
    subscriber = await caller(world, request)
    world.hostile.answer = FAILURES["half"](SPEECH)
    with pytest.raises(aiohttp.ClientPayloadError):
        await SPEECH.ask(subscriber, SPEECH.body(SPEECH.hostile_id))
    assert await subscriber.consumed() == SPEECH.input


# Streams


STREAMING: Final = (CHAT, MESSAGES, RESPONSES, COMPLETIONS)


def events(door: Door) -> bytes:
    """The answer of a vendor in the dialect, as a stream."""
    whole = msgspec.json.decode(door.answer)
    match door.name:
        case "chat":
            delta = {"index": 0, "delta": {"role": "assistant", "content": "one two"}, "finish_reason": "stop"}
            told = [{**whole, "object": "chat.completion.chunk", "choices": [delta]}]
        case "completions":
            told = [whole]
        case "messages":
            begin = {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
            told = [
                begin,
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one two"}},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
                {"type": "message_stop"},
            ]
        case _:
            said = {"output_index": 0, "content_index": 0, "item_id": "i"}
            told = [
                {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
                {"type": "response.output_text.delta", **said, "delta": "one two"},
                {"type": "response.completed", "response": whole},
            ]
    names = [f"event: {each['type']}\n".encode() if door in (MESSAGES, RESPONSES) else b"" for each in told]
    written = b"".join(name + b"data: " + _json(each) + b"\n\n" for name, each in zip(names, told, strict=True))
    return written if door in (MESSAGES, RESPONSES) else written + b"data: [DONE]\n\n"


@pytest.mark.parametrize("other", STREAMING, ids=lambda other: f"as-{other.name}")
@every(STREAMING)
async def test_a_stream_in_another_dialect_than_the_vendors_profile_says_is_no_answer(
    world: World, request: pytest.FixtureRequest, door: Door, other: Door
) -> None:
    subscriber = await caller(world, request)
    answer = says(events(other), "text/event-stream")
    if door is not other:
        await assert_fails(world, subscriber, door, answer)
        await assert_fails(world, subscriber, door, answer, stream=True)
        return
    world.hostile.answer = answer
    for stream in (True, False):
        told = await door.ask(subscriber, door.body(door.hostile_id, stream=stream))
        assert (told.status, b"one two" in told.body) == (200, True)
    assert await subscriber.consumed() == 2 * (door.input + door.output)


# Tools


TOOLING: Final = (CHAT, MESSAGES, RESPONSES, SOCKET)
# A schema that refers to itself.
CIRCLE: Final = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}}}


def tool(door: Door, name: str) -> dict[str, Any]:
    """A tool as the dialect describes one."""
    match door.name:
        case "chat":
            return {"type": "function", "function": {"name": name, "parameters": CIRCLE}}
        case "messages":
            return {"name": name, "input_schema": CIRCLE}
        case _:
            return {"type": "function", "name": name, "parameters": CIRCLE, "strict": False}


@every(TOOLING)
async def test_tools_whose_schema_refers_to_itself_pass_as_they_are_and_ten_thousand_are_too_many(
    world: World, request: pytest.FixtureRequest, door: Door
) -> None:
    subscriber = await caller(world, request, tokens=10_000_000)
    await assert_refused(
        world, subscriber, door, door.body(tools=[tool(door, f"tool_{each}") for each in range(10_000)]), 400, "too_many_values"
    )
    world.hostile.answer = says(door.answer)
    told = await door.ask(subscriber, door.body(door.hostile_id, tools=[tool(door, f"tool_{each}") for each in range(600)]))
    assert (told.status, await subscriber.consumed()) == (200, door.input + door.output)
    assert world.hostile.requests[-1].count(_json(CIRCLE)) == 600


def lone_result(door: Door) -> dict[str, Any]:
    match door.name:
        case "chat":
            return {"messages": [{"role": "user", "content": TEN}, {"role": "tool", "tool_call_id": "none", "content": "x"}]}
        case "messages":
            result = {"type": "tool_result", "tool_use_id": "none", "content": "x"}
            return {"messages": [{"role": "user", "content": [result]}]}
        case _:
            return {"input": [{"type": "function_call_output", "call_id": "none", "output": "x"}]}


@every(TOOLING)
async def test_a_result_without_its_call_is_the_vendors_to_judge(world: World, request: pytest.FixtureRequest, door: Door) -> None:
    subscriber = await caller(world, request)
    body = door.body(door.hostile_id, **lone_result(door))
    world.hostile.answer = says(door.answer)
    assert ((await door.ask(subscriber, body)).status, await subscriber.consumed()) == (200, door.input + door.output)
    assert b'"none"' in world.hostile.requests[-1]
    world.hostile.answer = says(error("No call has this ID.", type="invalid_request_error"), status="400 Bad Request")
    told = await door.ask(subscriber, body)
    assert (told.status, await subscriber.consumed()) == (400, door.input + door.output)
    assert 'The vendor says: "No call has this ID."' in told.says


def half_call(door: Door) -> bytes:
    whole = msgspec.json.decode(door.answer)
    match door.name:
        case "chat":
            call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "shout", "arguments": '{"text": "one tw'}}
            delta = {"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}, "finish_reason": None}
            told = [{**whole, "usage": None, "object": "chat.completion.chunk", "choices": [delta]}]
        case "messages":
            told = [
                {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "tool_use", "id": "t", "name": "shout", "input": {}},
                },
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": '{"text": "one tw'},
                },
            ]
        case _:
            item = {"type": "function_call", "id": "i", "call_id": "c", "name": "shout", "arguments": "", "status": "in_progress"}
            told = [
                {"type": "response.created", "response": {**whole, "status": "in_progress", "output": [], "usage": None}},
                {"type": "response.output_item.added", "output_index": 0, "item": item},
                {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "i", "delta": '{"text": "one tw'},
            ]
    names = [f"event: {each['type']}\n".encode() if door.name != "chat" else b"" for each in told]
    return b"".join(name + b"data: " + _json(each) + b"\n\n" for name, each in zip(names, told, strict=True))


@pytest.mark.parametrize("stream", [True, False])
@every(TOOLING)
async def test_half_a_call_of_a_tool_is_told_as_broken_off(
    world: World, request: pytest.FixtureRequest, door: Door, stream: bool
) -> None:
    """What was sent of it is paid; a whole answer is not begun, and free."""
    subscriber = await caller(world, request)
    content = half_call(door)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 90000\r\n\r\n"
    world.hostile.answer = lambda writer: writer.write(head + content)
    told = await door.ask(subscriber, door.body(door.hostile_id, stream=stream, tools=[tool(door, "shout")]))
    if stream or door.is_socket:
        assert told.status == 200
        assert b"broke off in the middle of the answer" in told.body
        # The prompt has ten tokens, and the tool has some; the call has a few.
        assert door.input < await subscriber.consumed() < 100
    else:
        assert (told.status, told.says, await subscriber.consumed()) == (502, "The model's vendor failed to answer.", 0)
