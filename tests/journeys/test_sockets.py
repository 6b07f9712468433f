"""Responses over WebSocket against the whole system, through a client of its own kind: events, and what they cost."""

import asyncio
import contextlib
import socket as socket_of_the_system
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import msgspec
import pytest
import pytest_asyncio
import websockets

from services.runtime.identifiers import uuid7_time_us
from tests.edge.system import Cell, cell
from tests.journeys.subscriber import CATALOG, TOKEN, Subscriber, eventually, plain
from tests.registry.catalogs import changed
from tests.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ADDRESS: Final = "    base_url_env: TOKENLINE_ACME_BASE_URL\n"
_ENDPOINTS: Final = "    endpoints:\n      openai_chat: {}\n      openai_responses: {}\n"
RESPONSES: Final = changed(_ADDRESS, _ADDRESS + _ENDPOINTS, CATALOG)
# 40 letters: 10 tokens of input.
HELLO: Final = "x" * 40
TWENTY: Final = {"output_tokens": 20}
# Far more than is made within a test's time.
LONG: Final = {"output_tokens": 5_000, "tokens_per_second": 100}
# Its vendor falls silent after a few words.
SILENT: Final = {**LONG, "failure": "hang_mid_stream", "failure_after_tokens": 20}
TOOL: Final = {"output_tokens": 30, "tools": {"calls": 1, "name": "weather", "arguments": {"city": "Oslo"}}}
WEATHER: Final = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
ENDS: Final = ("response.completed", "response.incomplete", "response.failed", "error")
# The bound of a body, a message and a conversation in the smaller cell.
BODY_BYTES_MAX: Final = 20_000
Running = tuple[Cell, aiohttp.ClientSession]


class Socket:
    """A client's socket."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection

    async def ask(self, input_: Any = HELLO, **fields: Any) -> None:
        """Asks for a response."""
        await self.send({"type": "response.create", "model": "small", "input": input_, "simulate": TWENTY, **fields})

    async def send(self, message: Any) -> None:
        await self.connection.send(msgspec.json.encode(message).decode())

    async def event(self) -> Any:
        """The next event."""
        async with asyncio.timeout(WAIT_S):
            message = await self.connection.recv()
        assert isinstance(message, str)
        return msgspec.json.decode(message)

    async def events(self) -> list[Any]:
        """The events of an answer to its last one."""
        events = [await self.event()]
        while events[-1]["type"] not in ENDS:
            events.append(await self.event())
        return events

    async def response(self, input_: Any = HELLO, **fields: Any) -> tuple[Any, str]:
        """A completed response, with the ID of its charge."""
        await self.ask(input_, **fields)
        events = await self.events()
        assert events[-1]["type"] == "response.completed", events[-1]
        return events[-1]["response"], events[0]["headers"]["x-request-id"]

    async def refused(self) -> Any:
        """An error, which is all that comes."""
        error = await self.event()
        assert list(error) == ["type", "status", "headers", "error"]
        assert error["type"] == "error"
        return error

    async def closed(self) -> tuple[int, str]:
        """The code and reason with which the server closes the socket, after whatever else it sends."""
        with contextlib.suppress(websockets.ConnectionClosed):
            async with asyncio.timeout(WAIT_S):
                while True:
                    await self.connection.recv()
        close = self.connection.protocol.close_rcvd
        assert close is not None
        return close.code, close.reason


@asynccontextmanager
async def socket(subscriber: Subscriber, **options: Any) -> AsyncIterator[Socket]:
    url = subscriber.services.base_url.replace("http://", "ws://") + "/responses"
    headers = {"authorization": f"Bearer {subscriber.api_key}"}
    async with websockets.connect(url, additional_headers=headers, proxy=None, max_size=None, **options) as connection:
        yield Socket(connection)


async def checked(services: Cell) -> None:
    audited = (await services.admin("POST", "/audit")).json
    assert (audited["breaches"], audited["open_sessions"]) == ([], 0)
    assert (await services.admin("POST", "/reconcile")).json["differences"] == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    def prepare(services: Cell) -> None:
        services.edge_changes = {"heartbeat_interval_ms": 100, "write_timeout_ms": 1_000}

    async with (
        cell(tmp_path_factory.mktemp("sockets"), catalog=RESPONSES, prepare=prepare) as services,
        aiohttp.ClientSession() as http,
    ):
        await services.ready()
        yield services, http
        await checked(services)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A cell with small bounds."""

    def prepare(services: Cell) -> None:
        services.edge_changes = {
            "body_bytes_max": BODY_BYTES_MAX,
            "answer_timeout_ms": 2_000,
            "account_bodies_bytes_max": 25_000,
            "bodies_bytes_max": 30_000,
        }

    async with (
        cell(tmp_path_factory.mktemp("small"), catalog=RESPONSES, prepare=prepare) as services,
        aiohttp.ClientSession() as http,
    ):
        await services.ready()
        yield services, http
        await checked(services)


def item(text: str) -> dict[str, str]:
    return {"type": "message", "role": "user", "content": text}


async def test_each_message_is_a_call_with_its_own_charge(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "two-calls")
    async with socket(subscriber) as client:
        charging_ids = []
        for _ in range(2):
            await client.ask()
            events = await client.events()
            assert list(dict.fromkeys(event["type"] for event in events)) == [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.completed",
            ]
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == plain(20)
            assert events[-1]["response"]["usage"]["total_tokens"] == 30
            # The first event says under which ID the call is charged, as a header of an answer would.
            assert [event["type"] for event in events if "headers" in event] == ["response.created"]
            charging_ids.append(events[0]["headers"]["x-request-id"])
    assert len(set(charging_ids)) == 2
    for charging_id in charging_ids:
        assert uuid7_time_us(charging_id) is not None
        receipt = await subscriber.receipt(charging_id)
        assert (receipt["close_cause"], receipt["charged_amount"]) == ("normal", 30 * TOKEN)
    assert await subscriber.consumed() == 60


async def test_fields_that_no_vendor_gets_are_named_in_the_first_event(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "dropped")
    async with socket(subscriber) as client:
        await client.ask(client_metadata={"a": "b"}, stream=False)
        assert (await client.events())[0]["headers"]["x-dropped-fields"] == "client_metadata"


async def test_a_call_that_builds_on_the_last_one_pays_for_the_whole_conversation(running: Running) -> None:
    """Two tools' rounds in which each message has the new items alone, beside the same conversation sent whole."""
    services, http = running
    subscriber = await Subscriber.open(services, http, "rounds")
    alone = await Subscriber.open(services, http, "rounds-whole")
    whole: list[Any] = [item(HELLO)]
    usages: list[Any] = []
    async with socket(subscriber) as client, socket(alone) as other:
        previous: dict[str, str] = {}
        new: Any = [item(HELLO)]
        for number in range(3):
            made = TOOL if number < 2 else TWENTY
            response, _ = await client.response(new, tools=[WEATHER], simulate=made, **previous)
            same, _ = await other.response(whole, tools=[WEATHER], simulate=made)
            usages.append((response["usage"], same["usage"]))
            previous = {"previous_response_id": response["id"]}
            call = response["output"][-1]
            if number < 2:
                assert (call["type"], call["name"]) == ("function_call", "weather")
                result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain " * 40}
                new = [result]
                whole += [*response["output"], result]
    assert response["output"][-1]["content"][0]["text"] == plain(20)
    # The input grows by what was said and by the results, and is charged whole.
    assert [usage["input_tokens"] for usage, _ in usages] == sorted({usage["input_tokens"] for usage, _ in usages})
    assert usages[2][0]["input_tokens"] > usages[0][0]["input_tokens"] + 100
    for usage, same in usages:
        assert usage == same
    assert await subscriber.consumed() == await alone.consumed() == sum(usage["total_tokens"] for usage, _ in usages)


async def test_a_text_as_input_can_be_built_on_and_nothing_new_need_come(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "texts")
    async with socket(subscriber) as client:
        first, _ = await client.response(HELLO)
        second, _ = await client.response("y" * 40, previous_response_id=first["id"])
        third, _ = await client.response([], previous_response_id=second["id"])
        inputs = [response["usage"]["input_tokens"] for response in (first, second, third)]
        # As one who sends it all would be charged.
        told = [item(HELLO), *first["output"], item("y" * 40), *second["output"]]
        again, _ = await client.response(told)
    assert inputs[0] == 10
    assert inputs[0] < inputs[1] < inputs[2] == again["usage"]["input_tokens"]


async def test_prewarming_costs_nothing_and_calls_no_vendor_and_can_be_built_on(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "warm")
    async with socket(subscriber) as client:
        await client.ask([item(HELLO)], generate=False, user="warm")
        created, completed = await client.events()
        assert (created["type"], completed["type"]) == ("response.created", "response.completed")
        warm = completed["response"]
        assert created["response"]["id"] == warm["id"]
        assert (warm["status"], warm["output"], warm["usage"]["total_tokens"]) == ("completed", [], 0)
        shown = (await services.admin("GET", f"/accounts/{subscriber.account_id}")).json
        assert (shown["sessions"], shown["buckets"][0]["consumed"]) == ([], 0)
        assert await subscriber.served("warm") == {}
        built, _ = await client.response([], previous_response_id=warm["id"], user="warm")
        assert built["usage"]["input_tokens"] == 10
    assert await subscriber.consumed() == 30
    assert (await subscriber.served("warm"))["calls"] == 1


async def test_a_call_cannot_build_on_another_than_the_last_response_of_its_socket(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "elsewhere")
    async with socket(subscriber) as client, socket(subscriber) as other:
        first, _ = await client.response()
        second, _ = await client.response()
        for asking, previous_id in ((client, first["id"]), (other, second["id"]), (client, "")):
            await asking.ask(previous_response_id=previous_id)
            refused = await asking.refused()
            assert (refused["status"], refused["error"]["code"]) == (400, "previous_response_not_found")
            assert refused["error"]["param"] == "previous_response_id"
        # After a refusal, and after an answer that failed, the last response is still there.
        fails = {"output_tokens": 50, "failure": "error_mid_stream", "failure_after_tokens": 10}
        await client.ask(previous_response_id=second["id"], simulate=fails)
        assert (await client.events())[-1]["type"] == "response.failed"
        third, _ = await client.response([], previous_response_id=second["id"])
        assert third["usage"]["input_tokens"] > 20


MALFORMED: Final[dict[str, tuple[bytes, str | None]]] = {
    "no JSON": (b"hello", "invalid_json"),
    "no object": (b"[]", "invalid_type"),
    "nothing": (b"", "invalid_json"),
    "no type": (b'{"model":"small","input":"x"}', "invalid_value"),
    "another type": (b'{"type":"session.update","model":"small","input":"x"}', "invalid_value"),
    "a type that is no text": (b'{"type":1}', "invalid_value"),
    "no model": (b'{"type":"response.create","input":"x"}', "missing_required_parameter"),
    "no input": (b'{"type":"response.create","model":"small"}', "missing_required_parameter"),
    "an input that is no list": (b'{"type":"response.create","model":"small","input":5}', "invalid_type"),
    "generate": (b'{"type":"response.create","model":"small","input":"x","generate":1}', "invalid_type"),
    "warming what is wrong": (b'{"type":"response.create","model":"small","input":5,"generate":false}', "invalid_type"),
    "a previous response of another type": (
        b'{"type":"response.create","model":"small","input":"x","previous_response_id":7}',
        "invalid_type",
    ),
    "several answers at once": (
        b'{"type":"response.create","model":"small","input":"x","stream_id":"a"}',
        "unsupported_parameter",
    ),
    "an answer in the background": (
        b'{"type":"response.create","model":"small","input":"x","background":true}',
        "unsupported_parameter",
    ),
    "too many values": (b'{"type":"response.create","input":[' + b"1," * 100_001 + b"1]}", "too_many_values"),
    "too many members of a note": (
        b'{"type":"response.processed"' + b"".join(b',"k%d":1' % number for number in range(100_001)) + b"}",
        "too_many_values",
    ),
    "too many levels": (b'{"type":"response.create","input":' + b"[" * 15_000 + b"]" * 15_000 + b"}", "invalid_json"),
    "an unknown model": (b'{"type":"response.create","model":"nobody","input":"x"}', "model_not_found"),
}


@pytest.mark.parametrize(("message", "code"), MALFORMED.values(), ids=MALFORMED)
async def test_a_wrong_message_is_refused_and_the_socket_goes_on(running: Running, message: bytes, code: str | None) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, f"wrong-{message[:60]!r}-{len(message)}")
    async with socket(subscriber) as client:
        await client.connection.send(message.decode())
        refused = await client.refused()
        assert refused["status"] == (404 if code == "model_not_found" else 400)
        assert refused["error"]["code"] == code
        assert uuid7_time_us(refused["headers"]["x-request-id"]) is not None
        await client.response()
    assert await subscriber.consumed() == 30


async def test_a_note_that_an_answer_was_read_is_no_request(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "processed")
    async with socket(subscriber) as client:
        first, _ = await client.response()
        await client.send({"type": "response.processed", "response_id": first["id"]})
        await client.response([], previous_response_id=first["id"])


async def test_a_second_request_while_one_runs_is_refused_and_costs_nothing(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "second")
    async with socket(subscriber) as client:
        await client.ask(simulate={"output_tokens": 40, "tokens_per_second": 100}, user="second")
        assert (await client.event())["type"] == "response.created"
        await client.ask(user="second")
        events = await client.events()
        assert [event["error"]["code"] for event in events if event["type"] == "error"] == ["response_already_in_flight"]
        assert events[-1]["status"] == 400
        assert (await client.events())[-1]["response"]["usage"]["output_tokens"] == 40
        assert await subscriber.consumed() == 50
        await client.response(user="second")
    assert await subscriber.consumed() == 80
    assert (await subscriber.served("second"))["calls"] == 2


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer sk-unknown"}, {"x-api-key": "sk-unknown"}])
async def test_a_key_is_asked_for_at_the_handshake(running: Running, header: dict[str, str]) -> None:
    services, _ = running
    url = services.base_url.replace("http://", "ws://") + "/responses"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(url, additional_headers=header, proxy=None)
    response = refused.value.response
    assert response.status_code == 401
    assert msgspec.json.decode(response.body)["error"]["code"] == "invalid_api_key"
    assert uuid7_time_us(response.headers["x-request-id"]) is not None


async def test_a_handshake_that_is_none_says_what_is_wrong(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "handshake")
    headers = {"authorization": f"Bearer {subscriber.api_key}", "connection": "upgrade", "upgrade": "websocket"}
    async with http.get(f"{services.base_url}/responses", headers=headers) as answer:
        assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")
        error = (await answer.json())["error"]
    assert error["code"] == "invalid_handshake"
    assert "Sec-WebSocket-Key" in error["message"]
    # Other calls have no sockets.
    async with http.get(f"{services.base_url}/chat/completions", headers=headers) as answer:
        assert answer.status == 426


async def end(subscriber: Subscriber, how: str) -> None:
    """Takes the right to go on away."""
    services = subscriber.services
    if how == "suspended":
        assert (await services.admin("POST", f"/accounts/{subscriber.account_id}/suspend")).status == 200
    else:
        key, *_ = (await services.admin("GET", f"/accounts/{subscriber.account_id}/keys")).json["data"]
        assert (await services.admin("DELETE", f"/keys/{key['key_id']}")).status == 200


async def ended(subscriber: Subscriber) -> None:
    """Returns once no call of the account is open."""

    async def none_is_open() -> bool:
        return bool((await subscriber.services.admin("GET", f"/accounts/{subscriber.account_id}")).json["sessions"] == [])

    await eventually(none_is_open)


async def check_bill(subscriber: Subscriber, charging_id: str, cause: str) -> None:
    """The call has ended with that cause, and paid for its input and a part of its output."""
    services = subscriber.services
    await ended(subscriber)
    await services.admin("POST", f"/accounts/{subscriber.account_id}/resume")
    subscriber.api_key = (await services.admin("POST", f"/accounts/{subscriber.account_id}/keys")).json["api_key"]
    receipt = await subscriber.receipt(charging_id)
    assert receipt["close_cause"] == cause
    assert 0 < receipt["usage"]["output"] < 1_000
    assert await subscriber.consumed() == receipt["usage"]["input"] + receipt["usage"]["output"]


@pytest.mark.parametrize(("how", "status", "code"), [("revoked", 401, "invalid_api_key"), ("suspended", 403, "account_suspended")])
async def test_an_idle_socket_ends_with_its_key(running: Running, how: str, status: int, code: str) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, f"idle-{how}")
    async with socket(subscriber) as client:
        await client.response()
        await end(subscriber, how)
        refused = await client.refused()
        assert (refused["status"], refused["error"]["code"]) == (status, code)
        assert (await client.closed())[0] == 1008
    with pytest.raises(websockets.InvalidStatus) as again:
        async with socket(subscriber):
            pass
    assert again.value.response.status_code == status


@pytest.mark.parametrize(("how", "code"), [("revoked", "invalid_api_key"), ("suspended", "account_suspended")])
async def test_an_answer_and_its_socket_end_with_the_key(running: Running, how: str, code: str) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, f"running-{how}")
    async with socket(subscriber) as client:
        await client.ask(simulate=SILENT)
        charging_id = (await client.event())["headers"]["x-request-id"]
        while (await client.event())["type"] != "response.output_text.delta":
            pass
        await end(subscriber, how)
        last = (await client.events())[-1]
        assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", code)
        assert (await client.closed())[0] == 1008
    await check_bill(subscriber, charging_id, "revoked")


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("how", ["revoked", "suspended"])
async def test_a_socket_ends_within_a_second(running: Running, how: str, busy: bool) -> None:
    services, http = running
    took_s: list[float] = []
    # A busy machine takes longer now and then; whoever looked now and then would take longer each time.
    while not took_s or (took_s[-1] >= 1 and len(took_s) < 5):
        subscriber = await Subscriber.open(services, http, f"within-{how}-{busy}-{len(took_s)}")
        async with socket(subscriber) as client:
            await client.response()
            if busy:
                await client.ask(simulate=SILENT)
                while (await client.event())["type"] != "response.output_text.delta":
                    pass
            at_s = time.monotonic()
            await end(subscriber, how)
            assert (await client.closed())[0] == 1008
            took_s.append(time.monotonic() - at_s)
        await ended(subscriber)
    assert took_s[-1] < 1, took_s


@pytest.mark.parametrize("busy", [False, True])
async def test_a_socket_ends_with_the_time_of_its_key(running: Running, busy: bool) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, f"key-ends-{busy}")
    at = datetime.fromtimestamp(time.time() + 1.5, UTC).isoformat().replace("+00:00", "Z")
    limits = {"subject": "account", "limits": [], "valid_until": at}
    assert (await services.admin("PUT", f"/accounts/{subscriber.account_id}/limits", limits)).status == 200
    async with socket(subscriber) as client:
        if busy:
            await client.ask(simulate=SILENT)
            last = (await client.events())[-1]
            assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "key_ended")
        else:
            await client.response()
            refused = await client.refused()
            assert (refused["status"], refused["error"]["code"]) == (403, "key_ended")
        assert (await client.closed())[0] == 1008


async def test_a_client_that_leaves_an_answer_pays_for_what_it_was_sent(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "leaves")
    async with socket(subscriber) as client:
        await client.ask(simulate=LONG)
        charging_id = (await client.event())["headers"]["x-request-id"]
        while (await client.event())["type"] != "response.output_text.delta":
            pass
    await check_bill(subscriber, charging_id, "client_gone")


async def test_a_client_that_stops_reading_an_answer_is_cut_off_and_pays_for_what_it_was_sent(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "stops-reading")
    host, port = services.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    # More than all buffers on the way hold, of which the client's is small.
    made = {"output_tokens": 50_000, "tokens_per_second": 20_000}
    with socket_of_the_system.socket() as buffer:
        buffer.setsockopt(socket_of_the_system.SOL_SOCKET, socket_of_the_system.SO_RCVBUF, 4_096)
        buffer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(buffer, (host, int(port)))
        async with socket(subscriber, sock=buffer, max_queue=1, ping_interval=None, close_timeout=0.1) as client:
            await client.ask(simulate=made)
            charging_id = (await client.event())["headers"]["x-request-id"]

            async def ended() -> bool:
                return bool((await services.admin("GET", f"/accounts/{subscriber.account_id}")).json["sessions"] == [])

            await eventually(ended)
    receipt = await subscriber.receipt(charging_id)
    assert receipt["close_cause"] == "client_gone"
    assert 0 < receipt["usage"]["output"] < 50_000


async def test_quota_that_is_used_up_is_told_and_a_top_up_goes_on_with_the_conversation(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "poor", tokens=1_000)
    async with socket(subscriber) as client:
        first, _ = await client.response()
        await client.ask("x" * 8_000, previous_response_id=first["id"])
        refused = await client.refused()
        assert (refused["status"], refused["error"]["code"]) == (429, "insufficient_quota")
        assert refused["headers"]["x-should-retry"] == "false"
        await subscriber.top_up(100_000, "more")
        second, _ = await client.response("x" * 8_000, previous_response_id=first["id"])
        assert second["usage"]["input_tokens"] > 2_000


async def test_an_answer_that_the_quota_cuts_can_be_built_on(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "cut", tokens=1_000)
    async with socket(subscriber) as client:
        await client.ask(simulate={"output_tokens": 5_000, "tokens_per_second": 20_000, "ignores_limit": True})
        last = (await client.events())[-1]
        assert last["type"] == "response.incomplete"
        await subscriber.top_up(100_000, "more")
        second, _ = await client.response([], previous_response_id=last["response"]["id"])
        assert second["usage"]["input_tokens"] > 400


async def test_while_a_vendor_thinks_pings_show_that_the_edge_is_there(running: Running) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "thinks")
    headers = {"authorization": f"Bearer {subscriber.api_key}"}
    async with http.ws_connect(f"{services.base_url}/responses", headers=headers, autoping=False) as client:
        asked = {"type": "response.create", "model": "small", "input": HELLO}
        await client.send_json({**asked, "simulate": {**TWENTY, "first_token_delay_ms": 500}})
        kinds: list[aiohttp.WSMsgType] = []
        while not kinds or kinds[-1] is not aiohttp.WSMsgType.TEXT:
            kinds.append((await client.receive(20)).type)
        assert kinds.count(aiohttp.WSMsgType.PING) >= 2
        await client.close()


# Bounds


async def test_a_conversation_that_is_too_large_to_keep_goes_on_over_a_new_socket(small: Running) -> None:
    services, http = small
    subscriber = await Subscriber.open(services, http, "large")
    async with socket(subscriber) as client, socket(subscriber) as other:
        # Half of all that may be kept is an account's.
        kept, _ = await client.response("x" * 12_000)
        lost, _ = await other.response("x" * 12_000)
        await other.ask([], previous_response_id=lost["id"])
        refused = await other.refused()
        assert (refused["status"], refused["error"]["code"]) == (400, "websocket_connection_limit_reached")
        await client.response([], previous_response_id=kept["id"])
        # A new conversation goes on there too.
        await client.response()
        first, _ = await other.response()
        await other.response([], previous_response_id=first["id"])


async def test_a_conversation_cannot_grow_beyond_a_body(small: Running) -> None:
    services, http = small
    subscriber = await Subscriber.open(services, http, "grows")
    async with socket(subscriber) as client:
        first, _ = await client.response("x" * 12_000)
        await client.ask("x" * 9_000, previous_response_id=first["id"])
        refused = await client.refused()
        assert (refused["status"], refused["error"]["code"]) == (413, "request_too_large")
        await client.ask("x" * 9_000, previous_response_id=first["id"], generate=False)
        assert (await client.refused())["error"]["code"] == "websocket_connection_limit_reached"


async def test_a_message_above_the_bound_of_a_body_ends_the_socket(small: Running) -> None:
    services, http = small
    subscriber = await Subscriber.open(services, http, "message")
    async with socket(subscriber) as client:
        await client.ask("x" * BODY_BYTES_MAX)
        assert (await client.closed())[0] == 1009
    assert await subscriber.consumed() == 0


async def test_messages_that_are_held_back_are_bounded_for_an_account(small: Running) -> None:
    services, http = small
    subscriber = await Subscriber.open(services, http, "held-back")
    other = await Subscriber.open(services, http, "beside-held-back")
    async with socket(subscriber) as first, socket(subscriber) as second, socket(other) as beside:

        async def half(client: Socket) -> None:
            async def pieces() -> AsyncIterator[str]:
                yield "x" * 15_000
                await asyncio.sleep(60)

            await client.connection.send(pieces())

        halves = [asyncio.create_task(half(first))]
        # The first half is on its way in by then.
        await asyncio.sleep(0.5)
        halves.append(asyncio.create_task(half(second)))
        refused = await second.refused()
        assert (refused["status"], refused["error"]["code"]) == (429, "rate_limit_exceeded")
        assert (await second.closed())[0] == 1013
        # Another account's requests come in.
        await beside.response("x" * 12_000)
        for each in halves:
            each.cancel()


async def test_an_answer_that_takes_the_longest_time_ends_and_so_does_the_socket(small: Running) -> None:
    services, http = small
    subscriber = await Subscriber.open(services, http, "longest")
    async with socket(subscriber) as client:
        await client.ask(simulate=LONG)
        charging_id = (await client.event())["headers"]["x-request-id"]
        last = (await client.events())[-1]
        assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "answer_too_long")
        await client.ask()
        refused = await client.refused()
        assert (refused["status"], refused["error"]["code"]) == (400, "websocket_connection_limit_reached")
        assert (await client.closed())[0] == 1008
    receipt = await subscriber.receipt(charging_id)
    assert receipt["close_cause"] == "client_gone"
    assert 10 < receipt["usage"]["output"] < 400


async def test_an_edge_that_stops_lets_answers_end_and_closes_sockets(small: Running) -> None:
    services, http = small
    subscriber = await Subscriber.open(services, http, "stops")
    async with socket(subscriber) as idle, socket(subscriber) as busy:
        await busy.ask(simulate={"output_tokens": 60, "tokens_per_second": 100})
        assert (await busy.event())["type"] == "response.created"
        stopping = asyncio.create_task(services.stop("edge"))
        assert (await idle.closed()) == (1001, "The server stops.")
        assert (await busy.events())[-1]["response"]["usage"]["output_tokens"] == 60
        assert (await busy.closed()) == (1001, "The server stops.")
        await stopping
    await services.start("edge")
    await services.ready()
    assert await subscriber.consumed() == 70
