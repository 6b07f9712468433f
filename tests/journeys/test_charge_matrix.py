"""The published promise of what a subscriber pays for what: one test a row, against the whole system."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.edge.call.usage import within_error
from services.runtime.clients import connect
from services.runtime.identifiers import uuid7
from tests.edge.counting import counted
from tests.edge.system import Cell, cell
from tests.journeys.subscriber import CATALOG, TOKEN, Stream, Subscriber, World, chat, eventually, plain, read_until
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_answer_is_charged_as_the_vendor_counted(world: World) -> None:
    subscriber = await world.subscriber("plain")
    reply = await subscriber.call(
        chat(max_tokens=50, simulate={"output_tokens": 20, "cached_input_tokens": 4, "reasoning_tokens": 5})
    )
    assert reply.status == 200
    assert reply.json["usage"]["total_tokens"] == 30
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert receipt["usage"] == {"input": 6, "cached_input": 4, "cache_write": 0, "output": 15, "reasoning": 5}
    assert (receipt["close_cause"], receipt["provenance"], receipt["charged_amount"]) == ("normal", "vendor", 30 * TOKEN)
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["answered"]
    assert await subscriber.consumed() == 30


async def test_a_stream_is_charged_as_the_vendor_counted(world: World) -> None:
    subscriber = await world.subscriber("stream")
    stream = await subscriber.stream(chat(max_tokens=50, simulate={"output_tokens": 20}))
    assert stream.status == 200
    assert stream.done
    assert stream.finish_reasons == ["stop"]
    assert len(stream.text) == 80
    assert all(event["choices"] for event in stream.events), "a client that did not ask for usage must not see its chunk"
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"], receipt["charged_amount"]) == ("normal", "vendor", 30 * TOKEN)
    assert await subscriber.consumed() == 30


async def test_usage_asked_for_comes_in_a_last_chunk_without_choices(world: World) -> None:
    subscriber = await world.subscriber("usage")
    stream = await subscriber.stream(chat(max_tokens=50, stream_options={"include_usage": True}, simulate={"output_tokens": 7}))
    assert stream.events[-1]["choices"] == []
    assert stream.events[-1]["usage"]["completion_tokens"] == 7
    assert await subscriber.consumed() == 17


@pytest.mark.parametrize("usage", ["every_chunk", "last_chunk_with_choices"])
async def test_usage_in_other_chunks_is_charged_once(world: World, usage: str) -> None:
    subscriber = await world.subscriber(f"usage-{usage}")
    stream = await subscriber.stream(chat(max_tokens=50, simulate={"output_tokens": 20, "usage": usage}))
    assert stream.done
    receipt = await subscriber.receipt(stream.charging_id)
    assert receipt["provenance"] == "vendor"
    assert await subscriber.consumed() == 30


@pytest.mark.parametrize("fields", [{"messages": []}, {"model": "nothing"}, {"max_tokens": 0}])
async def test_refused_before_the_vendor_was_called_costs_nothing(world: World, fields: dict[str, Any]) -> None:
    subscriber = await world.subscriber(f"refused-{next(iter(fields))}")
    reply = await subscriber.call({**chat(), "user": "refused", **fields})
    assert reply.status in (400, 404)
    assert await subscriber.served("refused") == {}
    assert await subscriber.consumed() == 0


async def test_no_quota_costs_nothing(world: World) -> None:
    subscriber = await world.subscriber("poor", tokens=20)
    reply = await subscriber.call(chat(max_tokens=5, user="poor"))
    assert (reply.status, reply.error["code"], reply.error["type"]) == (402, "insufficient_quota", "insufficient_quota")
    assert reply.headers["x-should-retry"] == "false"
    assert await subscriber.served("poor") == {}
    assert await subscriber.consumed() == 0
    receipt = await world.services.call("GET", f"/v1/me/receipts/{reply.headers['x-request-id']}", subscriber.api_key)
    assert receipt.status == 404


INPUT = counted("x" * 40)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "status", "outcome"),
    [
        ("refuse_400", 400, "refused"),
        ("unauthorized_401", 502, "refused"),
        ("rate_limit_429", 503, "refused"),
        ("error_500", 502, "refused"),
        ("overloaded_503", 503, "refused"),
        ("disconnect_before_first_byte", 502, "broken"),
    ],
)
async def test_a_vendor_that_fails_before_the_first_byte_costs_nothing(
    world: World, failure: str, status: int, outcome: str, stream: bool
) -> None:
    subscriber = await world.subscriber(f"{failure}-{stream}")
    reply = await subscriber.call(chat(max_tokens=20, stream=stream, simulate={"failure": failure}))
    assert reply.status == status
    assert reply.error["type"] == ("invalid_request_error" if status == 400 else "server_error")
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (receipt["close_cause"], receipt["charged_amount"]) == ("vendor_error", 0)
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == [outcome]
    assert await subscriber.consumed() == 0


async def test_a_vendor_that_never_answers_costs_nothing(world: World) -> None:
    subscriber = await world.subscriber("hanging")
    body = chat(max_tokens=20, simulate={"failure": "hang_before_first_byte"})
    reply = await subscriber.call(body)
    assert (reply.status, reply.error["code"]) == (503, "vendor_unavailable")
    # A stream was kept alive meanwhile: its error comes as its last event.
    stream = await subscriber.stream(body)
    assert (stream.status, stream.done, stream.text) == (200, False, "")
    assert stream.body.startswith(b": keep-alive\n\n")
    assert [event["error"]["code"] for event in stream.events] == ["vendor_unavailable"]
    for charging_id in (reply.headers["x-request-id"], stream.charging_id):
        receipt = await subscriber.receipt(charging_id)
        assert (receipt["close_cause"], receipt["charged_amount"]) == ("vendor_error", 0)
        assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["timeout"]
    assert await subscriber.consumed() == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_garbage_costs_nothing_where_nothing_was_answered(world: World, stream: bool) -> None:
    subscriber = await world.subscriber(f"garbage-{stream}")
    reply = await subscriber.call(chat(max_tokens=20, stream=stream, simulate={"failure": "garbage"}))
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert receipt["close_cause"] == "vendor_error"
    assert receipt["attempts"][0]["outcome"] == "garbage"
    assert reply.status == 502
    assert await subscriber.consumed() == 0


async def test_all_routes_tried_every_attempt_is_listed(world: World) -> None:
    subscriber = await world.subscriber("all-routes")
    world.hostile.answer = lambda writer: writer.close()
    reply = await subscriber.call(chat(model="pair", max_tokens=20, simulate={"failure": "error_500"}))
    assert reply.status == 502
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert [(each["vendor_id"], each["outcome"], each["http_status"]) for each in receipt["attempts"]] == [
        ("other", "broken", 0),
        ("acme", "refused", 500),
    ]
    assert await subscriber.consumed() == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_the_second_route_answers_and_is_charged_once(world: World, stream: bool) -> None:
    subscriber = await world.subscriber(f"second-{stream}")
    world.hostile.answer = lambda writer: writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
    reply = await subscriber.call(chat(model="pair", max_tokens=20, stream=stream, simulate={"output_tokens": 5}))
    assert reply.status == 200
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert receipt["model"] == "pair"
    assert [(each["vendor_id"], each["vendor_model_id"], each["outcome"]) for each in receipt["attempts"]] == [
        ("other", "other-pair", "refused"),
        ("acme", "acme-pair", "answered"),
    ]
    assert await subscriber.consumed() == 15


async def test_a_vendor_that_is_unreachable_costs_nothing(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        def prepare(services: Cell) -> None:
            services.environment["TOKENLINE_OTHER_BASE_URL"] = f"http://127.0.0.1:{port}/v1"

        async with cell(tmp_path, catalog=CATALOG, prepare=prepare) as services, aiohttp.ClientSession() as http:
            await services.ready()
            subscriber = await Subscriber.open(services, http, "unreachable")
            reply = await subscriber.call(chat(model="hostile", max_tokens=20))
            assert (reply.status, reply.error["code"]) == (503, "vendor_unavailable")
            assert (await subscriber.receipt(reply.headers["x-request-id"]))["attempts"][0]["outcome"] == "unreachable"
            assert await subscriber.consumed() == 0


@pytest.mark.parametrize("failure", ["break_mid_stream", "error_mid_stream", "hang_mid_stream"])
async def test_a_vendor_that_breaks_off_costs_the_input_and_what_arrived(world: World, failure: str) -> None:
    subscriber = await world.subscriber(failure)
    stream = await subscriber.stream(
        chat(max_tokens=50, simulate={"output_tokens": 40, "failure": failure, "failure_after_tokens": 12})
    )
    assert stream.status == 200
    assert not stream.done
    assert stream.events[-1]["error"]["type"] == "server_error"
    assert len(stream.text) == 48
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == ("vendor_error", "partial")
    output = counted(stream.text)
    assert receipt["usage"] == {"input": INPUT, "cached_input": 0, "cache_write": 0, "output": output, "reasoning": 0}
    assert await subscriber.consumed() == INPUT + output


async def test_a_client_that_goes_away_pays_the_input_and_what_it_was_sent(world: World) -> None:
    subscriber = await world.subscriber("gone")
    body = chat(stream=True, max_tokens=5_000, user="gone", simulate={"output_tokens": 5_000, "tokens_per_second": 40})
    async with subscriber.begin(body) as response:
        charging_id = response.headers["x-request-id"]
        received = await read_until(response, lambda received: received.count(b'"content":"') >= 6)
        response.close()
    read = Stream(200, {}, received[: received.rfind(b"\n\n") + 2]).text
    await eventually(lambda: _settled(subscriber, charging_id))
    receipt = await subscriber.receipt(charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == ("client_gone", "partial")
    assert receipt["usage"]["input"] == INPUT
    sent = (await subscriber.served("gone"))["output_tokens_sent"]
    # What it was sent by our count: all that it read, and at most what the vendor, stopped at once, had sent.
    assert counted(read) <= receipt["usage"]["output"] <= counted(plain(sent))
    assert sent < 200, "the vendor was stopped"
    assert await subscriber.consumed() == INPUT + receipt["usage"]["output"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("offering_id", "charged"), [("default", 0), ("charging", INPUT)])
async def test_a_client_that_goes_away_before_any_output_pays_what_its_offering_says(
    world: World, offering_id: str, charged: int, stream: bool
) -> None:
    subscriber = await world.subscriber(f"gone-early-{offering_id}-{stream}", offering_id=offering_id)
    user = f"early-{offering_id}-{stream}"
    body = chat(max_tokens=50, stream=stream, user=user, simulate={"first_token_delay_ms": 60_000})

    async def call() -> None:
        async with subscriber.begin(body) as response:
            await response.read()

    calling = asyncio.create_task(call())
    await eventually(lambda: _begun(subscriber, user))
    calling.cancel()
    await asyncio.wait([calling])
    assert calling.cancelled()
    await eventually(lambda: _closed(subscriber))
    assert await subscriber.consumed() == charged


async def test_the_quota_ends_in_mid_stream(world: World) -> None:
    subscriber = await world.subscriber("ends", tokens=400)
    stream = await subscriber.stream(chat(user="ends", simulate={"output_tokens": 3_000, "tokens_per_second": 2_000}))
    assert stream.status == 200
    assert stream.done
    assert stream.finish_reasons == ["length"]
    receipt = await subscriber.receipt(stream.charging_id)
    consumed = await subscriber.consumed()
    assert consumed == receipt["charged_amount"] // TOKEN <= 400
    # The vendor kept the limit that it was told, which is what the balance covers with our count's error.
    assert (receipt["close_cause"], receipt["provenance"], receipt["debt_amount"]) == ("quota_exhausted", "vendor", 0)
    assert receipt["usage"]["output"] == len(stream.text) // 4 == within_error(400 - 40 - 16, 1, exact=False)
    assert await subscriber.debt() == 0


async def test_the_quota_ends_while_others_still_wait_for_more_of_a_stream(world: World) -> None:
    # Enough for several windows, but not for all: Updates extend the grant until nothing is left, then the stream is cut. The
    # vendor keeps no limit, or it would end within the balance.
    subscriber = await world.subscriber("cut", tokens=9_000)
    made = {"output_tokens": 20_000, "usage": "none", "ignores_limit": True}
    stream = await subscriber.stream(chat(user="cut", stream_options={"include_usage": True}, simulate=made))
    assert stream.done
    assert stream.finish_reasons == ["length"]
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"], receipt["debt_amount"]) == ("quota_exhausted", "partial", 0)
    assert receipt["usage"]["output"] == counted(stream.text)
    assert stream.events[-1]["usage"]["completion_tokens"] == receipt["usage"]["output"]
    consumed = await subscriber.consumed()
    assert consumed == INPUT + receipt["usage"]["output"]
    assert 8_000 < consumed <= 9_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("usage", "counted_input"), [("none", INPUT), ("negative", 10), ("absurd", 10)])
async def test_a_vendor_without_a_usable_count_is_estimated(world: World, usage: str, counted_input: int, stream: bool) -> None:
    # A side that was counted holds, though the other can't be true.
    subscriber = await world.subscriber(f"estimated-{usage}-{stream}")
    reply = await subscriber.call(chat(max_tokens=50, stream=stream, simulate={"output_tokens": 20, "usage": usage}))
    assert reply.status == 200
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (receipt["close_cause"], receipt["provenance"]) == ("normal", "estimated")
    output = counted(plain(20))
    assert (receipt["usage"]["input"], receipt["usage"]["output"]) == (counted_input, output)
    assert await subscriber.consumed() == counted_input + output


async def test_usage_above_the_reservation_is_charged_once_and_the_debt_is_repaid_first(world: World) -> None:
    subscriber = await world.subscriber("above", tokens=100)
    message = {"role": "assistant", "content": "y" * 4_000}
    world.hostile.says(
        {
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 1_000, "total_tokens": 1_010},
        }
    )
    reply = await subscriber.call(chat(model="hostile", max_tokens=5))
    assert reply.status == 200
    assert b'"max_tokens":5' in world.hostile.requests[-1]
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (receipt["charged_amount"], receipt["debt_amount"]) == (1_010 * TOKEN, 910 * TOKEN)
    assert (await subscriber.consumed(), await subscriber.debt()) == (100, 910)
    bucket = await subscriber.top_up(1_000, "second")
    assert (bucket["repaid_amount"], bucket["remaining"]) == (910 * TOKEN, 90 * TOKEN)
    assert (await subscriber.consumed(), await subscriber.debt()) == (1_010, 0)


async def test_an_edge_that_died_is_swept_and_its_late_release_still_charges_once(tmp_path: Path) -> None:
    def prepare(services: Cell) -> None:
        services.validity_ms = 1_000

    async with cell(tmp_path, catalog=CATALOG, prepare=prepare) as services, aiohttp.ClientSession() as http:
        await services.ready()
        subscriber = await Subscriber.open(services, http, "swept", tokens=1_000)
        charging_id = uuid7(_now_us())
        async with connect(services.address("accounting")) as channel:
            call = accounting_pb2_grpc.AccountingServiceStub(channel).Charge()

            async def ask(number: int, **operation: Any) -> accounting_pb2.ChargeResult:
                message = accounting_pb2.ChargeOperation(
                    operation_id=number,
                    account_id=subscriber.account_id,
                    charging_id=charging_id,
                    invocation_sequence_number=number,
                    **operation,
                )
                await call.write(accounting_pb2.ChargeRequest(operations=[message]))
                response: Any = await call.read()
                result: accounting_pb2.ChargeResult = response.results[0]
                return result

            create = accounting_pb2.CreateSession(
                model_id="small", key_id="key", member_id="mem", input_tokens_bound=50, output_tokens_limit=100, output_metered=True
            )
            assert (await ask(1, create=create)).HasField("granted")
            used = accounting_pb2.TokenUsage(input=10, output=20)
            assert (await ask(2, update=accounting_pb2.UpdateSession(used=used))).HasField("granted")
            # Nothing more is heard of it: swept at Tcc, charged what was last reported.
            await eventually(lambda: _closed(subscriber))
            assert await subscriber.consumed() == 30
            swept = await subscriber.receipt(charging_id)
            assert (swept["close_cause"], swept["provenance"]) == ("swept", "partial")
            release = accounting_pb2.ReleaseSession(
                used=accounting_pb2.TokenUsage(input=10, output=55),
                provenance=accounting_pb2.USAGE_PROVENANCE_VENDOR,
                close_cause=accounting_pb2.CLOSE_CAUSE_NORMAL,
            )
            first = await ask(3, release=release)
            assert first.settled.charged_amount == 35 * TOKEN
            again = await ask(3, release=release)
            assert again.settled == first.settled
        assert await subscriber.consumed() == 65
        receipt = await subscriber.receipt(charging_id)
        assert receipt["charged_amount"] == 65 * TOKEN
        assert [record["record_sequence_number"] for record in receipt["records"]] == [1, 2]
        assert (await services.admin("POST", "/audit")).json["breaches"] == []
        assert (await services.admin("POST", "/reconcile")).json["differences"] == []


async def test_a_slow_stream_renews_its_grant_and_is_kept_alive(tmp_path: Path) -> None:
    def prepare(services: Cell) -> None:
        services.validity_ms = 1_000
        services.edge_changes = {"heartbeat_interval_ms": 200}

    async with cell(tmp_path, catalog=CATALOG, prepare=prepare) as services, aiohttp.ClientSession() as http:
        await services.ready()
        subscriber = await Subscriber.open(services, http, "slow", tokens=1_000)
        # Silent for longer than Tcc (2 s), then two tokens.
        stream = await subscriber.stream(chat(max_tokens=10, simulate={"output_tokens": 2, "first_token_delay_ms": 2_600}))
        assert stream.done
        receipt = await subscriber.receipt(stream.charging_id)
        assert receipt["close_cause"] == "normal"
        assert len(receipt["records"]) == 1
        assert await subscriber.consumed() == 12


def _now_us() -> int:
    import time

    return time.time_ns() // 1_000


async def _settled(subscriber: Subscriber, charging_id: str) -> bool:
    reply = await subscriber.services.call("GET", f"/v1/me/receipts/{charging_id}", subscriber.api_key)
    return bool(reply.status == 200)


async def _begun(subscriber: Subscriber, user: str) -> bool:
    return bool(await subscriber.served(user))


async def _closed(subscriber: Subscriber) -> bool:
    shown = (await subscriber.services.admin("GET", f"/accounts/{subscriber.account_id}")).json
    return not shown["sessions"]
